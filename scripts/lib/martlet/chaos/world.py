"""The servers that are to be broken: a cluster, or a replication set with its sentinels.

A world knows who is who (primaries, replicas), waits until all is well again, and names the lanes:
parts of the keyspace that fail and recover on their own, one for each shard.
"""

import os
import shutil
import subprocess
import tempfile

from ..clusters import rows
from ..nodes import Server, wait_until
from ..resp import ReplyError, fields
from ..sentinels import SentinelServer
from ..slots import key_slot, shares
from . import network, shim

PORT = 6379
SENTINEL_PORT = 26379
SHARDS = 3
TAGS_PER_LANE = 48
DISK_MEGABYTES = 96
SET_NAME = "chaos"
DOWN_AFTER_MS = 1000


class Lane:
    """Keys of one shard's slots, reached by a list of hash tags."""

    def __init__(self, name, slots=None):
        self.name = name
        first, last = slots or (0, 16383)
        step = (last - first + 1) / TAGS_PER_LANE
        wanted = [(int(first + i * step), int(first + (i + 1) * step) - 1)
                  for i in range(TAGS_PER_LANE)]
        self.tags = []
        for low, high in wanted:
            number = 0
            while not low <= key_slot("%s%d" % (name, number)) <= high:
                number += 1
            self.tags.append("%s%d" % (name, number))


class World:
    """Common to both: processes on hosts of a network, in one folder, all ended by `close`."""

    replicas_each = 1

    def __init__(self, binary, wire, options, seen_by):
        self.binary = binary
        self.wire = wire
        self.options = options
        self.on_wire = isinstance(wire, network.Namespaces)
        self._make_folder()
        self.nodes, self.sentinels, self.levers, self.disks = [], [], {}, []
        self.library = shim.build(self.folder) if options.shim else None
        self.note = seen_by

    @property
    def is_redis(self):
        return "redis-server" in os.path.basename(self.binary)

    def _make_folder(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-chaos-")

    def _remove_folder(self):
        for folder in self.disks:
            network.remove_disk(folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name, kind, port, **directives):
        folder = os.path.join(self.folder, name)
        if self.on_wire:
            network.small_disk(folder, DISK_MEGABYTES)
            self.disks.append(folder)
        os.makedirs(folder, exist_ok=True)
        prefix = list(self.wire.prefix(name))
        if self.library:
            self.levers[name] = shim.Levers(self.folder, name)
            prefix += self.levers[name].prefix(self.library)
        server = kind(
            self.binary,
            port=port if self.on_wire else None,
            host=self.wire.address(name),
            folder=folder,
            prefix=prefix,
            wait=False,
            **directives
        )
        server.name = name
        return server

    def start_nodes(self, count, **directives):
        settings = dict(appendonly="yes", appendfsync="everysec", repl_backlog_size="16mb")
        settings.update(directives)
        settings.update(self.options.directives)
        for number in range(1, count + 1):
            self.nodes.append(self._start("n%d" % number, Server, PORT, **settings))
        for node in self.nodes:
            node.wait_ready()

    def node_at(self, host, port):
        return next(n for n in self.nodes if (n.host, n.port) == (host, port))

    def alive(self):
        return [node for node in self.nodes if node.alive]

    def names(self, servers=None):
        return [server.name for server in (self.nodes if servers is None else servers)]

    def everyone(self):
        return self.nodes + self.sentinels

    def revive(self):
        """Whatever a fault left behind is undone: cuts, levers, stopped and dead processes."""
        self.wire.heal()
        for lever in self.levers.values():
            lever.reset()
        for server in self.everyone():
            filler = os.path.join(server.folder, "filler")
            if os.path.exists(filler):
                os.unlink(filler)
            if server.alive:
                server.resume()
            else:
                server.start(wait=False)
        for server in self.everyone():
            server.wait_ready(30)

    def settle(self, timeout):
        wait_until(self.is_settled, "all is well again", timeout, every=0.05)

    def close(self):
        for server in self.everyone():
            server.close()
        self._remove_folder()


class ClusterWorld(World):
    kind = "cluster"

    def __init__(self, *args):
        super().__init__(*args)
        self.lanes = [Lane("abc"[i], slots) for i, slots in enumerate(shares(SHARDS))]
        count = SHARDS * (1 + self.replicas_each)
        self.start_nodes(
            count, cluster_enabled="yes", cluster_node_timeout=self.options.timeout
        )
        self._form()
        self.settle(30)
        if not self.is_redis:
            self._register_voters()

    def _form(self):
        hosts = ["%s:%d" % (node.host, node.port) for node in self.nodes]
        self.cli("--cluster", "create", *hosts, "--cluster-replicas", str(self.replicas_each),
                 "--cluster-yes")

    def _register_voters(self):
        """Three sentinels as voters of last resort, where the server knows such."""
        first = self.nodes[0]
        line = "monitor-cluster %s %s %d 2" % (SET_NAME, first.host, first.port)
        for number in range(1, 4):
            sentinel = self._start("s%d" % number, SentinelServer, SENTINEL_PORT, sentinel=[line])
            self.sentinels.append(sentinel)
            try:
                sentinel.wait_ready()
            except AssertionError:
                if number > 1 or "Unrecognized sentinel" not in sentinel.output():
                    raise
                self.note("this server has no monitor-cluster: no sentinels vote in this cluster")
                self.sentinels = []
                return
        if "cluster_voters" not in self.info(first):
            self.note("the sentinels follow the cluster; they have no vote in this version")
            return
        wait_until(self._voters_known, "three voters are registered", 30, every=0.1)

    def _voters_known(self):
        return all(int(self.info(node).get("cluster_voters", 0)) == 3 for node in self.nodes)

    def cli(self, *words, limit=120, check=True):
        done = subprocess.run(
            ["redis-cli"] + list(words), capture_output=True, text=True, timeout=limit
        )
        if done.returncode and check:
            raise AssertionError("redis-cli %s failed:\n%s" % (words[1], done.stdout[-1500:]))
        return done

    def info(self, node):
        with node.connect(2) as connection:
            return fields(connection.text("CLUSTER", "INFO"))

    def table(self, node=None):
        """CLUSTER NODES as the first node that answers sees it (or the one that is given)."""
        for candidate in [node] if node else self.alive():
            try:
                return rows(candidate.port, 1.0, candidate.host)
            except (OSError, ReplyError):
                continue
        raise AssertionError("no node answers")

    def primaries(self):
        found = [r for r in self.table() if r.is_primary and r.slots and not r.failed]
        return sorted((self.node_at(r.host, r.port) for r in found), key=lambda node: node.name)

    def replicas_of(self, primary):
        table = self.table()
        mine = next(r.id for r in table if (r.host, r.port) == (primary.host, primary.port))
        return [self.node_at(r.host, r.port) for r in table if r.primary == mine]

    def owners(self):
        """(first slot, last slot, node) of every range."""
        return [
            (first, last, self.node_at(row.host, row.port))
            for row in self.table()
            if row.is_primary and not row.failed
            for first, last in row.slots
        ]

    def is_settled(self):
        views = set()
        for node in self.nodes:
            info = self.info(node)
            if info["cluster_state"] != "ok" or info["cluster_slots_ok"] != "16384":
                return False
            table = rows(node.port, 2, node.host)
            if any(row.failed or row.moving for row in table):
                return False
            views.add(tuple(sorted((r.id, r.primary or "", tuple(r.slots)) for r in table)))
            replication = node.info("replication")
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
        return len(views) == 1


class SentinelWorld(World):
    kind = "sentinel"

    def __init__(self, *args):
        super().__init__(*args)
        self.lanes = [Lane("s")]
        self.start_nodes(1)
        first = self.nodes[0]
        for name in ("n2", "n3"):
            settings = dict(appendonly="yes", replicaof="%s %d" % (first.host, first.port))
            settings.update(self.options.directives)
            node = self._start(name, Server, PORT, repl_backlog_size="16mb", **settings)
            node.wait_ready()
            self.nodes.append(node)
        lines = [
            "monitor %s %s %d 2" % (SET_NAME, first.host, first.port),
            "down-after-milliseconds %s %d" % (SET_NAME, DOWN_AFTER_MS),
            "failover-timeout %s 10000" % SET_NAME,
        ]
        for number in range(1, 4):
            sentinel = self._start("s%d" % number, SentinelServer, SENTINEL_PORT, sentinel=lines)
            sentinel.wait_ready()
            self.sentinels.append(sentinel)
        self.settle(60)

    def primaries(self):
        """Who the sentinels say it is, as most of them do."""
        said = [s.primary_address(SET_NAME) for s in self.sentinels if s.alive]
        return [self.node_at(*max(set(said), key=said.count))]

    def replicas_of(self, primary):
        return [node for node in self.nodes if node is not primary]

    def owners(self):
        return [(0, 16383, self.primaries()[0])]

    def is_settled(self):
        addresses = {s.primary_address(SET_NAME) for s in self.sentinels}
        if len(addresses) != 1:
            return False
        primary = self.node_at(*addresses.pop())
        if primary.info("replication")["role"] != "master":
            return False
        for node in self.replicas_of(primary):
            info = node.info("replication")
            follows = (info.get("master_host"), info.get("master_port"))
            if follows != (primary.host, str(primary.port)) or info["master_link_status"] != "up":
                return False
        return all(s.knows(SET_NAME, 2, 2) for s in self.sentinels)
