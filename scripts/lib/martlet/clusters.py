"""Forming and inspecting a cluster through its commands alone: it works without redis-cli."""

import time

from .nodes import Server, wait_until
from .processes import Handle, launch
from .resp import Connection, fields
from .slots import shares


class Row:
    """One line of CLUSTER NODES."""

    def __init__(self, line):
        words = line.split()
        self.id = words[0]
        self.host, port = words[1].split("@")[0].split(",")[0].rsplit(":", 1)
        self.port = int(port)
        self.flags = words[2].split(",")
        self.primary = None if words[3] == "-" else words[3]
        self.epoch = int(words[6])
        self.link = words[7]
        self.slots = []
        self.moving = []
        for word in words[8:]:
            if word.startswith("["):
                self.moving.append(word)
            else:
                ends = word.split("-")
                self.slots.append((int(ends[0]), int(ends[-1])))

    @property
    def is_primary(self):
        return "master" in self.flags

    @property
    def is_myself(self):
        return "myself" in self.flags

    @property
    def failed(self):
        return "fail" in self.flags or "fail?" in self.flags

    @property
    def slot_count(self):
        return sum(last - first + 1 for first, last in self.slots)


def rows(port, timeout=5.0, host="127.0.0.1"):
    """CLUSTER NODES as seen by the node at `port`."""
    with Connection(port, host=host, timeout=timeout) as connection:
        text = connection.text("CLUSTER", "NODES")
    return [Row(line) for line in text.splitlines() if line.strip()]


def cluster_info(port, timeout=5.0):
    with Connection(port, timeout=timeout) as connection:
        return fields(connection.text("CLUSTER", "INFO"))


def is_settled(ports):
    """Every node says ok, knows every other, and every replica follows a live link."""
    for port in ports:
        with Connection(port, timeout=2) as connection:
            info = fields(connection.text("CLUSTER", "INFO"))
            if info["cluster_state"] != "ok" or int(info["cluster_known_nodes"]) != len(ports):
                return False
            if int(info["cluster_slots_ok"]) != 16384:
                return False
            replication = connection.info("replication")
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
    return True


def form(ports, replicas=1, progress=None, timeout=25.0):
    """Makes one cluster of empty nodes: shares out the slots, introduces all, assigns replicas."""
    primary_count = len(ports) // (replicas + 1)
    if primary_count < 1:
        raise ValueError("%d nodes are too few for %d replicas each" % (len(ports), replicas))
    note = progress or (lambda text: None)
    primaries, others = ports[:primary_count], ports[primary_count:]
    ids = {}
    for index, port in enumerate(ports):
        with Connection(port) as connection:
            ids[port] = connection.text("CLUSTER", "MYID")
            connection.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
    for port, (first, last) in zip(primaries, shares(primary_count)):
        with Connection(port) as connection:
            connection.call("CLUSTER", "ADDSLOTSRANGE", first, last)
    with Connection(ports[0]) as connection:
        for port in ports[1:]:
            connection.call("CLUSTER", "MEET", "127.0.0.1", port)
    note("introduced %d nodes to each other" % len(ports))
    for port in ports:
        wait_until(
            lambda: len([row for row in rows(port) if "handshake" not in row.flags]) == len(ports),
            "node %d knows all the others" % port,
            timeout,
        )
    for index, port in enumerate(others):
        primary = primaries[index % primary_count]
        with Connection(port) as connection:
            connection.call("CLUSTER", "REPLICATE", ids[primary])
    note("assigned %d replicas" % len(others))
    wait_until(lambda: is_settled(ports), "cluster_state:ok on all nodes", timeout, every=0.05)
    for port in ports:
        wait_until(
            lambda: len([row for row in rows(port) if row.primary]) == len(others),
            "node %d knows who replicates whom" % port,
            timeout,
        )


def agree(ports, timeout=20.0):
    """Waits until all these nodes have the same slot map."""

    def same():
        maps = {
            tuple(sorted((row.id, tuple(row.slots)) for row in rows(port) if row.slots))
            for port in ports
        }
        return len(maps) == 1

    wait_until(same, "all nodes have the same slot map", timeout, every=0.05)


def take_over(server, timeout=30.0):
    """CLUSTER FAILOVER at a replica until it is a primary: the attempt may expire, and says so."""
    end = time.monotonic() + timeout
    asked = 0.0
    while server.info("replication")["role"] != "master":
        now = time.monotonic()
        if now > end:
            raise AssertionError("node %d did not take over within %g s" % (server.port, timeout))
        if now - asked > 6.0:
            asked = now
            server.call("CLUSTER", "FAILOVER")
        time.sleep(0.01)


class Voter(Server):
    """A sentinel of ours that monitors a cluster, and so becomes one of its voters."""

    def __init__(self, node_port, binary=None, name="bench"):
        super().__init__(
            binary, sentinel=["monitor-cluster %s 127.0.0.1 %d 2" % (name, node_port)]
        )

    def start(self, wait=True):
        child = launch([self.binary, self.config, "--sentinel"], self.folder, self.log)
        self.process = Handle.of(child.pid)
        self.child = child
        if wait:
            self.wait_ready()
        return self


def wait_for_voters(ports, count, timeout=30.0):
    """Until every node counts so many voters, and reaches them."""

    def registered():
        for port in ports:
            info = cluster_info(port, 2)
            if info.get("cluster_voters") != str(count):
                return False
            if info["cluster_voters_reachable"] != str(count):
                return False
        return True

    wait_until(registered, "%d voters at all nodes" % count, timeout)


class Cluster:
    """A cluster of test servers; `binaries` may mix servers, cycled over the nodes."""

    def __init__(
        self, nodes=6, replicas=1, binaries=None, timeout_ms=2000, formed=True, **directives
    ):
        directives.setdefault("cluster_node_timeout", timeout_ms)
        binaries = binaries or [None]
        self.servers = []
        try:
            for index in range(nodes):
                self.servers.append(
                    Server(
                        binaries[index % len(binaries)],
                        cluster_enabled="yes",
                        wait=False,
                        **directives
                    )
                )
            for server in self.servers:
                server.wait_ready()
            if formed:
                form(self.ports, replicas)
        except BaseException:
            self.close()
            raise

    @property
    def ports(self):
        return [server.port for server in self.servers]

    def server(self, port):
        return next(server for server in self.servers if server.port == port)

    def alive(self):
        return [server for server in self.servers if server.alive]

    def primary_of(self, slot, seen_by=None):
        """The port that owns a slot, in the eyes of one node."""
        for row in rows(seen_by or self.alive()[0].port):
            if row.is_primary and not row.failed:
                if any(first <= slot <= last for first, last in row.slots):
                    return row.port
        return None

    def replicas_of(self, port):
        table = rows(port)
        mine = next(row.id for row in table if row.is_myself)
        return [row.port for row in table if row.primary == mine]

    def agree(self):
        agree([server.port for server in self.alive()])

    def settle(self, timeout=30.0):
        ports = [server.port for server in self.alive()]
        wait_until(
            lambda: self._settled(ports), "the cluster is settled again", timeout, every=0.02
        )

    def _settled(self, ports):
        """All say ok, agree on who is what, see nobody fail, and every replica has its data.

        Without the agreement a primary that has just come back, and does not know yet that it was
        replaced, would count as settled.
        """
        views = set()
        for port in ports:
            info = cluster_info(port, 2)
            if info["cluster_state"] != "ok" or info["cluster_slots_ok"] != "16384":
                return False
            table = rows(port, 2)
            if any(row.port in ports and row.failed for row in table):
                return False
            views.add(
                tuple(sorted((row.id, row.primary or "", tuple(row.slots)) for row in table))
            )
            with Connection(port, timeout=2) as connection:
                replication = connection.info("replication")
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
        return len(views) == 1

    def close(self):
        for server in self.servers:
            server.close()
