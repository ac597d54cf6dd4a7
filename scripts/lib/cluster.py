"""`scripts/cluster`: a local cluster of real processes, to try things out on.

Everything a node has is in one folder (.cluster/PORT): its configuration, data, log, and a pid file
that names the process by pid and start time, so that only processes started here are ever ended.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess

from martlet import clusters, tools
from martlet.console import Failure, run_main, say
from martlet.nodes import quote, wait_until
from martlet.processes import Handle, launch, resident_bytes
from martlet.resp import Connection, ReplyError

EPILOG = """N is a node's number (1, 2, …) or its port.
Exit codes: 0 done, 1 failed, 2 wrong usage or a missing tool.
MARTLET_SERVER=/path/to/binary uses that server instead of building ours."""


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/cluster",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Starts, stops, watches and breaks a local cluster.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--dir", default=None, help="data folder (default: .cluster in the project)"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    up = actions.add_parser("up", help="build if needed, start the nodes, form the cluster")
    up.add_argument("--nodes", type=int, help="number of nodes (default 6)")
    up.add_argument("--port", type=int, help="port of the first node (default 7001)")
    up.add_argument("--replicas", type=int, help="replicas of each primary (default 1)")
    up.add_argument("--timeout", type=int, metavar="MS", help="node timeout in ms (default 5000)")
    down = actions.add_parser("down", help="end all nodes; their data stays")
    down.add_argument("--wipe", action="store_true", help="remove the data folder as well")
    actions.add_parser("status", help="what runs, with its role, slots and memory")
    for name, text in (
        ("kill", "kill -9 a node, as a crash would"),
        ("stop", "end a node in an orderly way (SIGTERM)"),
        ("pause", "freeze a node (SIGSTOP), as a hang would"),
        ("resume", "let a frozen node run again (SIGCONT)"),
        ("restart", "start a node again, ending it first if it runs"),
        ("logs", "print a node's log"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("node", metavar="N", help="node number or port")
        if name == "logs":
            action.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    cli = actions.add_parser("cli", help="redis-cli -c to the first running node")
    cli.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS", help="passed to redis-cli")
    for action in actions.choices.values():
        action.add_argument("--dir", default=argparse.SUPPRESS, help="data folder")
    return parser.parse_args()


class LocalCluster:
    DEFAULTS = {"nodes": 6, "port": 7001, "replicas": 1, "timeout": 5000}

    def __init__(self, folder):
        self.folder = folder
        self.settings_path = os.path.join(folder, "settings.json")
        self.settings = None
        if os.path.exists(self.settings_path):
            try:
                with open(self.settings_path) as file:
                    self.settings = dict(self.DEFAULTS, **json.load(file))
            except ValueError as error:
                raise Failure(
                    "%s is damaged (%s); `scripts/cluster down --wipe` clears it"
                    % (self.settings_path, error)
                )

    @property
    def ports(self):
        return [self.settings["port"] + i for i in range(self.settings["nodes"])]

    def need(self):
        if self.settings is None:
            raise Failure(
                "there is no cluster in %s; `scripts/cluster up` makes one" % self.folder
            )

    def node_folder(self, port):
        return os.path.join(self.folder, str(port))

    def log_path(self, port):
        return os.path.join(self.node_folder(port), "node.log")

    def pid_path(self, port):
        return os.path.join(self.node_folder(port), "node.pid")

    def handle(self, port):
        """The running process of a node, or None."""
        found = Handle.read(self.pid_path(port))
        return found if found is not None and found.alive else None

    def running(self):
        return [port for port in self.ports if self.handle(port)]

    def port_of(self, text):
        self.need()
        number = int(text) if text.isdigit() else -1
        if 1 <= number <= len(self.ports):
            return self.ports[number - 1]
        if number in self.ports:
            return number
        raise Failure(
            "there is no node %s: nodes are 1 to %d, on ports %d to %d"
            % (text, len(self.ports), self.ports[0], self.ports[-1]),
            2,
        )

    # Starting

    def choose_settings(self, wanted):
        given = {k: v for k, v in wanted.items() if v is not None}
        if self.settings is not None:
            differing = {k: v for k, v in given.items() if self.settings[k] != v}
            if differing:
                raise Failure(
                    "%s already holds a cluster with other settings (%s); end and remove it with "
                    "`scripts/cluster down --wipe`, or choose another --dir"
                    % (
                        self.folder,
                        ", ".join(
                            "%s %s, not %s" % (k, self.settings[k], v)
                            for k, v in differing.items()
                        ),
                    )
                )
            return
        settings = dict(self.DEFAULTS, **given)
        if settings["nodes"] < 1 or settings["replicas"] < 0 or settings["timeout"] < 1:
            raise Failure("--nodes and --timeout must be positive and --replicas at least 0", 2)
        if not 1 <= settings["port"] <= 65535 - 10000 - settings["nodes"]:
            raise Failure("--port must leave room for the bus ports at +10000 (at most 55000)", 2)
        if settings["nodes"] // (settings["replicas"] + 1) < 3:
            raise Failure(
                "a cluster needs at least 3 primaries: %d nodes with %d replicas each give %d"
                % (
                    settings["nodes"],
                    settings["replicas"],
                    settings["nodes"] // (settings["replicas"] + 1),
                ),
                2,
            )
        self.settings = settings
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, ".gitignore"), "w") as file:
            file.write("*\n")
        with open(self.settings_path, "w") as file:
            json.dump(settings, file, indent=2)

    def start_node(self, port, binary):
        folder = self.node_folder(port)
        os.makedirs(folder, exist_ok=True)
        try:
            Connection(port, timeout=1).close()
            raise Failure("port %d is in use by a process that this script did not start" % port)
        except OSError:
            pass
        config = os.path.join(folder, "node.conf")
        if not os.path.exists(config):
            lines = [
                "bind 127.0.0.1",
                "port %d" % port,
                "dir %s" % quote(folder),
                "cluster-enabled yes",
                "cluster-config-file nodes.conf",
                "cluster-node-timeout %d" % self.settings["timeout"],
            ]
            with open(config, "w") as file:
                file.write("\n".join(lines) + "\n")
        child = launch([binary, config], folder, self.log_path(port), outlives_us=True)
        Handle.of(child.pid).write(self.pid_path(port))

        def answers():
            if not self.handle(port):
                raise Failure(
                    "node %d ended at start; the end of %s:\n%s"
                    % (port, self.log_path(port), last_lines(self.log_path(port), 10))
                )
            with Connection(port, timeout=2) as connection:
                return connection.call("PING") == "PONG"

        return answers

    def start(self, ports, binary):
        checks = [(port, self.start_node(port, binary)) for port in ports]
        for port, answers in checks:
            waiting(answers, "node %d answers" % port, 60)

    def has_slots(self):
        info = clusters.cluster_info(self.ports[0])
        return int(info["cluster_slots_assigned"]) > 0 or int(info["cluster_known_nodes"]) > 1


def waiting(condition, what, timeout):
    try:
        return wait_until(condition, what, timeout, every=0.05)
    except AssertionError as error:
        raise Failure(str(error))


def last_lines(path, count):
    try:
        with open(path, errors="replace") as file:
            return "".join(file.readlines()[-count:]).rstrip()
    except OSError as error:
        return str(error)


def create(local):
    settings = local.settings
    cli = shutil.which("redis-cli")
    if not cli:
        clusters.form(local.ports, settings["replicas"], say)
        return
    command = (
        [cli, "--cluster", "create"]
        + ["127.0.0.1:%d" % port for port in local.ports]
        + ["--cluster-replicas", str(settings["replicas"]), "--cluster-yes"]
    )
    say(
        "forming the cluster: redis-cli --cluster create … --cluster-replicas %d"
        % settings["replicas"]
    )
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    if done.returncode != 0:
        raise Failure(
            "redis-cli --cluster create failed:\n" + done.stdout.decode("utf-8", "replace")
        )


def up(local, args):
    local.choose_settings({k: getattr(args, k) for k in LocalCluster.DEFAULTS})
    if not shutil.which("redis-cli"):
        try:
            tools.redis_cli("to talk to the cluster")
        except Failure as failure:
            say("going on without redis-cli: %s" % failure)
    dead = [port for port in local.ports if not local.handle(port)]
    if dead:
        binary = tools.build_server()
        again = len(dead) < len(local.ports)
        say(
            "%s %d node%s on 127.0.0.1, ports %s, data in %s"
            % (
                "restarting" if again else "starting",
                len(dead),
                "s" if len(dead) > 1 else "",
                ", ".join(map(str, dead)),
                local.folder,
            )
        )
        local.start(dead, binary)
    else:
        say("all %d nodes are running" % len(local.ports))
    if not local.has_slots():
        create(local)
    waiting(lambda: clusters.is_settled(local.ports), "cluster_state:ok on every node", 90)
    say(
        "cluster_state:ok on all %d nodes; node timeout %d ms; data and logs in %s"
        % (len(local.ports), local.settings["timeout"], local.folder)
    )
    say("connect with:")
    say("  redis-cli -c -p %d" % local.ports[0])


def down(local, args):
    if local.settings is None:
        say("no cluster in %s: nothing to end" % local.folder)
        return
    ended = 0
    handles = [(port, local.handle(port)) for port in local.ports]
    for _, handle in handles:
        if handle:
            handle.send(signal.SIGCONT)
            handle.send(signal.SIGTERM)
    for port, handle in handles:
        if handle:
            if not handle.wait(15):
                say("node %d did not end within 15 s of SIGTERM: killing it" % port)
                handle.send(signal.SIGKILL)
                handle.wait(10)
            ended += 1
        if os.path.exists(local.pid_path(port)):
            os.unlink(local.pid_path(port))
    say("ended %d of %d nodes" % (ended, len(handles)))
    if args.wipe:
        shutil.rmtree(local.folder)
        say("removed %s" % local.folder)
    else:
        say("data kept in %s (`scripts/cluster down --wipe` removes it)" % local.folder)


def status(local):
    local.need()
    bad = 0
    say(
        "%-5s %-6s %-8s %-8s %-6s %9s  %s"
        % ("node", "port", "pid", "role", "state", "RSS", "slots or primary")
    )
    for number, port in enumerate(local.ports, 1):
        handle = local.handle(port)
        if not handle:
            bad += 1
            say("%-5d %-6d %-8s dead (`scripts/cluster restart %d`)" % (number, port, "-", number))
            continue
        try:
            table = clusters.rows(port, timeout=2)
            state = clusters.cluster_info(port, timeout=2)["cluster_state"]
        except (OSError, ReplyError) as error:
            bad += 1
            say("%-5d %-6d %-8d not answering: %s" % (number, port, handle.pid, error))
            continue
        me = next(row for row in table if row.is_myself)
        if me.is_primary:
            role = "primary"
            detail = " ".join("%d-%d" % ends for ends in me.slots) or "no slots"
        else:
            role = "replica"
            detail = "of %s" % next((str(row.port) for row in table if row.id == me.primary), "?")
        bad += state != "ok"
        say(
            "%-5d %-6d %-8d %-8s %-6s %6.1f MB  %s"
            % (number, port, handle.pid, role, state, resident_bytes(handle.pid) / 1e6, detail)
        )
    return 1 if bad else 0


def signal_node(local, args):
    port = local.port_of(args.node)
    handle = local.handle(port)
    if not handle:
        raise Failure("node %d is not running" % port)
    if args.action in ("pause", "resume"):
        handle.send(signal.SIGSTOP if args.action == "pause" else signal.SIGCONT)
        say("%sd node %d (pid %d)" % (args.action, port, handle.pid))
        return
    if args.action == "kill":
        handle.send(signal.SIGKILL)
        handle.wait(10)
        say(
            "killed node %d (pid %d); `scripts/cluster restart %d` brings it back"
            % (port, handle.pid, port)
        )
    else:
        orderly = handle.end(15)
        say("node %d %s" % (port, "ended" if orderly else "had to be killed after 15 s"))


def restart(local, args):
    port = local.port_of(args.node)
    handle = local.handle(port)
    binary = tools.build_server()
    if handle:
        handle.end(15)
    local.start([port], binary)
    say("node %d runs again (pid %d)" % (port, local.handle(port).pid))


def cli(local, args):
    local.need()
    alive = local.running()
    if not alive:
        raise Failure("no node runs; `scripts/cluster up` starts them")
    path = tools.redis_cli("to talk to the cluster")
    os.execv(path, [path, "-c", "-p", str(alive[0])] + args.args)


def logs(local, args):
    path = local.log_path(local.port_of(args.node))
    if not os.path.exists(path):
        raise Failure("there is no log at %s" % path)
    os.execvp("tail", ["tail", "-n", "200"] + (["-f"] if args.follow else []) + [path])


def main():
    args = parse()
    local = LocalCluster(os.path.abspath(args.dir or os.path.join(tools.ROOT, ".cluster")))
    if args.action == "up":
        return up(local, args)
    if args.action == "down":
        return down(local, args)
    if args.action == "status":
        return status(local)
    if args.action in ("kill", "stop", "pause", "resume"):
        return signal_node(local, args)
    return {"restart": restart, "cli": cli, "logs": logs}[args.action](local, args)


run_main(main)
