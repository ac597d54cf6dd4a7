"""The examples in deploy/: every directive is one that our servers know and take, and what the
systemd units rely on is really said."""

# cost: 10
import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

from harness import OURS, Connection, WireTest, free_port, only_for_martlet, wait_until
from martlet import tools

DEPLOY = os.path.join(tools.ROOT, "deploy")


def directives(path):
    """(line, is a suggestion) of every directive of an example: `#name value` is a suggestion."""
    found = []
    with open(path) as file:
        for line in file.read().splitlines():
            if re.match(r"#?[a-z]", line):
                found.append((line.lstrip("#"), line.startswith("#")))
    return found


@only_for_martlet
class ExampleTests(WireTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-deploy-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.port = free_port()
        self.log = os.path.join(self.folder, "output.log")

    def start(self, lines, *options, environment=None, limit=10):
        path = os.path.join(self.folder, "example.conf")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                [OURS, path] + list(options), cwd=self.folder, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=dict(os.environ, **(environment or {})),
            )

        def finish():
            process.kill()
            process.wait(10)

        self.addCleanup(finish)

        def answers():
            if process.poll() is not None:
                with open(self.log) as file:
                    self.fail("it ended at start:\n" + file.read()[-2000:])
            with Connection(self.port, timeout=2) as connection:
                return connection.ask("PING")

        wait_until(answers, "the server answers", limit)
        return process

    def known(self):
        with Connection(self.port) as connection:
            reply = connection.call("CONFIG", "GET", "*")
        return {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2])}

    def own(self, lines, replaced=("port", "dir", "unixsocket", "include", "pidfile")):
        """The lines with this test's port and folder instead of those of an installation."""
        kept = [line for line in lines if line.split()[0] not in replaced]
        return kept + ["port %d" % self.port, "dir %s" % self.folder]

    def test_the_server_takes_its_example(self):
        found = directives(os.path.join(DEPLOY, "conf", "martlet.conf"))
        active = [line for line, suggestion in found if not suggestion]
        self.assertGreater(len(active), 40)
        self.start(self.own(active))
        known = self.known()
        for line in active:
            name = line.split()[0]
            self.assertIn(name, known)
        self.assertEqual(known["appendonly"], "yes")
        for line, _ in found:
            name = line.split()[0]
            if name != "include":
                self.assertIn(name, known, "CONFIG GET does not know it")

    def test_the_server_takes_what_the_example_suggests(self):
        found = directives(os.path.join(DEPLOY, "conf", "martlet.conf"))
        # A cluster's node cannot be made a replica by its configuration, and the bus port is ours.
        left_out = ("port", "dir", "unixsocket", "include", "pidfile", "replicaof", "cluster-port",
                    "requirepass", "unixsocketperm")
        self.start(self.own([line for line, _ in found], left_out))
        known = self.known()
        for line, _ in found:
            words = line.split(None, 1)
            if words[0] in left_out or words[0] in ("bind", "save", "client-output-buffer-limit"):
                continue
            value = words[1].strip('"')
            if not re.match(r"\d+[a-z]+$", value):
                self.assertEqual(known[words[0]], value, words[0])
        self.assertEqual(known["cluster-enabled"], "yes")
        self.assertEqual(known["maxmemory"], str(4 << 30))

    def test_the_node_of_the_compose_file(self):
        for name in ("node.conf",):
            found = directives(os.path.join(DEPLOY, name))
            self.start(self.own([line for line, _ in found]))
            self.assertEqual(self.known()["cluster-enabled"], "yes")

    def test_a_sentinel_takes_its_example(self):
        found = directives(os.path.join(DEPLOY, "conf", "sentinel.conf"))
        for suggestions in (False, True):
            lines = [line for line, is_suggestion in found if suggestions or not is_suggestion]
            lines = [re.sub(r"/etc/martlet/\w+", "/bin/true", line) for line in lines
                     if not line.startswith("requirepass")]
            process = self.start(self.own(lines), "--sentinel")
            with Connection(self.port) as connection:
                reply = connection.call("SENTINEL", "MASTER", "mymaster")
                fields = dict(zip(reply[::2], reply[1::2]))
                self.assertEqual(fields[b"down-after-milliseconds"], b"5000")
                self.assertEqual(fields[b"quorum"], b"2")
            process.terminate()
            process.wait(10)

    def test_systemd_is_told(self):
        unit_lines = {}
        for name in ("martlet", "martlet@", "martlet-sentinel"):
            with open(os.path.join(DEPLOY, "systemd", name + ".service")) as file:
                unit_lines[name] = file.read().splitlines()
            self.assertIn("Type=notify", unit_lines[name])
            command = next(line for line in unit_lines[name] if line.startswith("ExecStart="))
            self.assertIn("--supervised systemd --daemonize no", command)
        sentinel = ["sentinel monitor mymaster 127.0.0.1 6379 2"]
        for lines, options in (([], []), (sentinel, ["--sentinel"])):
            path = os.path.join(self.folder, "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
                systemd.bind(path)
                systemd.settimeout(10)
                process = self.start(
                    self.own(lines), *options, "--supervised", "systemd", "--daemonize", "no",
                    environment={"NOTIFY_SOCKET": path}
                )
                said = b""
                while b"READY=1" not in said:
                    said += systemd.recv(4096)
                process.terminate()
                process.wait(15)
            os.unlink(path)


if __name__ == "__main__":
    unittest.main()
