"""The compose deployment as a world to break: containers are killed, paused and restarted, and
packets between them dropped by the packet filter that Docker offers for it (DOCKER-USER).

The deployment must be running (`docker compose -f deploy/docker-compose.yml up -d`), and is left
running. Clients are on the host and reach every container. Needs root.
"""

import os
import signal
import subprocess
import time

from ..console import MISUSE, Failure
from ..nodes import Server, wait_until
from ..resp import Connection
from ..sentinels import SentinelServer
from ..slots import shares
from .world import PORT, SENTINEL_PORT, SHARDS, ClusterWorld, Lane

NET = os.environ.get("MARTLET_NET", "172.28.7")


def docker(*words, check=True):
    done = subprocess.run(("docker",) + words, capture_output=True, text=True, timeout=60)
    if done.returncode and check:
        raise Failure("docker %s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout.strip()


class Process:
    """The part of `processes.Handle` that faults use, for a container."""

    def __init__(self, container):
        self.container = container

    @property
    def state(self):
        return docker("inspect", "--format", "{{.State.Status}}", self.container, check=False)

    @property
    def alive(self):
        return self.state in ("running", "paused", "restarting")

    def send(self, number):
        docker("kill", "--signal", signal.Signals(number).name, self.container, check=False)

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.state == "running" and time.monotonic() < end:
            time.sleep(0.05)
        return self.state != "running"


class Container(Server):
    def __init__(self, name, number, port):
        self.name, self.port = name, port
        self.binary = "martlet in the container martlet-%s" % name
        self.host = "%s.%d" % (NET, number)
        self.process = Process("martlet-" + name)
        if not self.process.alive:
            raise Failure("martlet-%s does not run: start the deployment first" % name, MISUSE)
        mounts = "{{range .Mounts}}{{if eq .Destination \"/data\"}}{{.Source}}{{end}}{{end}}"
        self.folder = docker("inspect", "--format", mounts, "martlet-" + name)

    def start(self, wait=True):
        docker("start", "martlet-" + self.name)
        if wait:
            self.wait_ready()
        return self

    def kill(self):
        self.process.send(signal.SIGKILL)
        self.process.wait(10)

    def pause(self):
        docker("pause", "martlet-" + self.name)

    def resume(self):
        if self.process.state == "paused":
            docker("unpause", "martlet-" + self.name)

    def output(self):
        done = subprocess.run(
            ["docker", "logs", "martlet-" + self.name], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=60,
        )
        return done.stdout


class SentinelContainer(Container, SentinelServer):
    pass


class PacketFilter:
    """Cuts between containers; what the host sends passes another chain."""

    can_cut, can_slow = True, False

    def __init__(self):
        self.rules = []
        self.addresses = {}

    def cut(self, senders, receivers, both=True):
        pairs = {(a, b) for a in senders for b in receivers if a != b}
        if both:
            pairs |= {(b, a) for a, b in pairs}
        for sender, receiver in sorted(pairs):
            rule = ["DOCKER-USER", "-s", self.addresses[sender], "-d", self.addresses[receiver],
                    "-j", "DROP"]
            self._iptables("-I", rule)
            self.rules.append(rule)

    def heal(self):
        while self.rules:
            self._iptables("-D", self.rules.pop())

    def _iptables(self, action, rule):
        subprocess.run(["iptables", action] + rule, check=True, capture_output=True)


class ComposeWorld(ClusterWorld):
    def __init__(self, options, note):
        self.options, self.note = options, note
        self.wire = PacketFilter()
        self.binary = "martlet:local"
        self.on_wire = False
        self.library, self.levers, self.disks = None, {}, []
        self.lanes = [Lane("abc"[i], slots) for i, slots in enumerate(shares(SHARDS))]
        self.nodes = [Container("n%d" % i, 10 + i, PORT) for i in range(1, 7)]
        self.sentinels = [SentinelContainer("s%d" % i, 20 + i, SENTINEL_PORT) for i in range(1, 4)]
        self.wire.addresses = {server.name: server.host for server in self.everyone()}
        self._make_folder()
        with Connection(PORT, host=self.nodes[0].host, timeout=5) as connection:
            reply = connection.call("CONFIG", "GET", "cluster-node-timeout")
        options.timeout = int(reply[1])
        wait_until(self.is_settled, "the deployment is whole", 60, every=0.1)

    def close(self):
        self.wire.heal()
        self.revive()
        self._remove_folder()
