"""Faults of real processes under load: killed, frozen and ended primaries, empty restarts, writes
that a demoted primary alone has, nodes.conf that is damaged, disks that are full."""

# cost: 110
import glob
import os
import re
import signal
import subprocess
import tempfile
import threading
import time

from harness import (
    OURS,
    Connection,
    ReplyError,
    Server,
    WireTest,
    cluster_info,
    key_slot,
    only_for_martlet,
    rows,
    wait_until,
)
from martlet.clusters import form
from martlet.writers import Writers


def shard(cluster, slot=0):
    """(primary, replica) servers of the shard that owns a slot."""
    port = cluster.primary_of(slot)
    return cluster.server(port), cluster.server(cluster.replicas_of(port)[0])


def key_in(first, last, count=1, prefix="key"):
    """Names of keys whose slots lie in a range."""
    found, number = [], 0
    while len(found) < count:
        if first <= key_slot("%s:%d" % (prefix, number)) <= last:
            found.append("%s:%d" % (prefix, number))
        number += 1
    return found


class ChaosTests(WireTest):
    """Also sound against redis-server, which takes longer."""

    def setUp(self):
        self.one = self.cluster(nodes=6, replicas=1, timeout_ms=1500)

    def rounds(self, fault, mend, count=3):
        writers = Writers(self.one.ports, 3, pause=0.0005)
        try:
            for number in range(count):
                primary, replica = shard(self.one, (0, 8000, 16000)[number])
                fault(primary)
                wait_until(
                    lambda: replica.info("replication")["role"] == "master",
                    "node %d takes over from %d" % (replica.port, primary.port),
                    20,
                )
                mend(primary)
                self.one.settle(40)
                self.assertEqual(primary.info("replication")["role"], "slave")
        finally:
            counts = writers.stop()
        # How many it is depends on the machine; that each went on is what counts.
        self.assertTrue(all(value > 10 * count for value in counts.values()), counts)
        return writers

    def test_killed_primaries_lose_nothing(self):
        writers = self.rounds(lambda node: node.kill(), lambda node: node.start())
        self.assertEqual(writers.lost(), [])

    def test_orderly_ended_primaries_lose_nothing(self):
        writers = self.rounds(
            lambda node: node.process.send(signal.SIGTERM),
            lambda node: (node.process.wait(15), node.start()),
        )
        self.assertEqual(writers.lost(), [])

    def test_frozen_primaries_are_replaced(self):
        writers = self.rounds(lambda node: node.pause(), lambda node: node.resume())
        # What a frozen node had acknowledged and not sent is all that may be missing.
        self.assertLess(len(writers.lost()), 50)

    def test_killed_replicas_disturb_nobody(self):
        writers = Writers(self.one.ports, 3, pause=0.0005)
        for number in range(3):
            _, replica = shard(self.one, (0, 8000, 16000)[number])
            replica.kill()
            replica.start()
        self.one.settle(40)
        writers.stop()
        self.assertLess(writers.longest_gap, 1.5)
        self.assertEqual(writers.lost(), [])

    def test_all_nodes_killed_at_once_find_each_other_again(self):
        before = {(row.id, tuple(row.slots)) for row in rows(self.one.ports[0])}
        for server in self.one.servers:
            server.kill()
        for server in self.one.servers:
            server.start()
        self.one.settle(60)
        after = {(row.id, tuple(row.slots)) for row in rows(self.one.ports[0])}
        self.assertEqual({row[0] for row in after}, {row[0] for row in before})
        self.assertEqual(sum(b - a + 1 for _, slots in after for a, b in slots), 16384)


@only_for_martlet
class QuickFailoverTests(WireTest):
    """A process that is gone is known by its refused connections, not by the node timeout."""

    def test_a_killed_primary_is_replaced_long_before_the_timeout(self):
        one = self.cluster(nodes=6, replicas=1, timeout_ms=15_000)
        primary, replica = shard(one)
        begun = time.monotonic()
        primary.kill()
        wait_until(lambda: replica.info("replication")["role"] == "master", "taken over", 10)
        self.assertLess(time.monotonic() - begun, 3.0)

    def test_an_ended_primary_hands_over_first(self):
        one = self.cluster(nodes=6, replicas=1, timeout_ms=15_000)
        primary, replica = shard(one)
        with primary.connect() as connection:
            for key in key_in(0, 5460, 50):
                connection.call("SET", key, "v")
        primary.process.send(signal.SIGTERM)
        wait_until(lambda: replica.info("replication")["role"] == "master", "handed over", 5)
        self.assertTrue(primary.process.wait(10))
        self.assertEqual(replica.call("DBSIZE"), 50)


@only_for_martlet
class RestartedPrimaryTests(WireTest):
    def test_what_a_replaced_primary_takes_after_its_restart_is_kept(self):
        primary = self.server(appendonly="yes", appendfsync="always")
        replica = self.server(replicaof="127.0.0.1 %d" % primary.port)
        primary.call("SET", "before", "1")
        wait_until(lambda: replica.call("GET", "before") == b"1", "replicated")
        primary.kill()
        replica.call("REPLICAOF", "NO", "ONE")
        # It comes back as what its configuration says, and takes writes until it is told better.
        primary.start()
        primary.call("SET", "doomed", "value")
        primary.call("REPLICAOF", "127.0.0.1", str(replica.port))
        pattern = os.path.join(primary.folder, "lost-writes-*.aof")
        wait_until(lambda: glob.glob(pattern), "a file with the lost writes", 15)
        with open(glob.glob(pattern)[0], "rb") as file:
            self.assertIn(b"$6\r\ndoomed\r\n$5\r\nvalue\r\n", file.read())
        wait_until(
            lambda: primary.info("replication")["master_link_status"] == "up", "it follows"
        )
        self.assertEqual(primary.call("MGET", "before", "doomed"), [b"1", None])


class MinorityTests(WireTest):
    """Also sound against redis-server."""

    def test_a_minority_stops_taking_writes_and_goes_on_when_healed(self):
        one = self.cluster(nodes=3, replicas=0, timeout_ms=1000)
        keys = key_in(0, 5461)
        owner = one.server(one.primary_of(0))
        self.assertEqual(owner.call("SET", keys[0], "v"), "OK")
        others = [server for server in one.servers if server is not owner]
        for server in others:
            server.pause()
        wait_until(lambda: cluster_info(owner.port)["cluster_state"] == "fail", "it stops", 10)
        with owner.connect() as connection:
            self.assertEqual(connection.ask("SET", keys[0], "w").code, "CLUSTERDOWN")
        for server in others:
            server.resume()
        one.settle()
        self.assertEqual(owner.call("GET", keys[0]), b"v")

    def test_partial_coverage(self):
        one = self.cluster(
            nodes=3, replicas=0, timeout_ms=1000, cluster_require_full_coverage="no"
        )
        victim = one.server(one.primary_of(16383))
        keys = key_in(0, 5460)
        victim.kill()
        alive = one.alive()
        wait_until(
            lambda: any(
                row.port == victim.port and "fail" in row.flags for row in rows(alive[0].port)
            ),
            "known as failed",
            15,
        )
        owner = one.server(one.primary_of(0, alive[0].port))
        self.assertEqual(owner.call("SET", keys[0], "v"), "OK")


class EmptyRestartTests(WireTest):
    @only_for_martlet
    def test_an_empty_primary_does_not_wipe_its_replicas(self):
        """Killed and back within the node timeout, without its data: its replica takes over."""
        one = self.cluster(nodes=6, replicas=1, timeout_ms=5000)
        primary, replica = shard(one)
        keys = key_in(0, 5460, 200)
        with primary.connect() as connection:
            connection.pipeline([["SET", key, "v"] for key in keys])
            self.assertEqual(connection.call("WAIT", 1, 5000), 1)
        primary.kill()
        primary.start()  # save is off: nothing is on disk
        one.settle(60)
        owner = one.server(one.primary_of(0))
        self.assertEqual(owner.call("DBSIZE"), len(keys))
        self.assertEqual(replica.call("DBSIZE"), len(keys))

    def test_an_empty_shard_starts_without_ado(self):
        """With nothing to lose, a restarted primary just goes on."""
        one = self.cluster(nodes=6, replicas=1, timeout_ms=2000)
        primary, _ = shard(one)
        primary.kill()
        primary.start()
        one.settle(60)
        self.assertEqual(sum(row.slot_count for row in rows(primary.port)), 16384)


class LostWritesTests(WireTest):
    @only_for_martlet
    def test_a_demoted_primary_saves_what_its_successor_lacks(self):
        one = self.cluster(nodes=6, replicas=1, timeout_ms=1000)
        primary, replica = shard(one)
        keys = key_in(0, 5460, 20, "lost")
        with primary.connect() as connection:
            connection.call("SET", key_in(0, 5460)[0], "shared")
            connection.call("WAIT", 1, 2000)
            # The replica is cut off: it hears nothing of the next writes. What its socket already
            # holds it would still read, so the link goes as well.
            replica.pause()
            connection.call("CLIENT", "KILL", "TYPE", "replica")
            for key in keys:
                self.assertEqual(connection.call("SET", key, "only here"), "OK")
        primary.pause()
        replica.resume()
        wait_until(lambda: replica.info("replication")["role"] == "master", "taken over", 20)
        primary.resume()
        wait_until(lambda: primary.info("replication")["role"] == "slave", "demoted", 20)
        one.settle(40)
        files = wait_until(
            lambda: glob.glob(os.path.join(primary.folder, "lost-writes-*.aof")),
            "a file with the lost writes",
            10,
        )
        with open(files[0], "rb") as file:
            text = file.read()
        for key in keys:
            self.assertIn(key.encode(), text)
        self.assertRegex(primary.output(), r"(?i)lost-writes-.*\.aof")
        info = primary.info("everything")
        counted = [value for name, value in info.items() if "lost" in name]
        self.assertTrue(any(value not in ("0", "") for value in counted), counted)


class NodesConfTests(WireTest):
    """A damaged nodes.conf is refused by name, and nothing is overwritten."""

    def setUp(self):
        self.one = self.cluster(nodes=3, replicas=0)
        self.node = self.one.servers[0]
        self.path = os.path.join(self.node.folder, "nodes.conf")
        self.node.terminate()
        with open(self.path, "rb") as file:
            self.good = file.read()

    def start_with(self, data):
        with open(self.path, "wb") as file:
            file.write(data)
        self.node.start(wait=False)
        try:
            wait_until(lambda: not self.node.alive, "the start ends", 5)
            return self.node.log_tail()
        except AssertionError:
            self.node.kill()
            return None

    def test_it_survives_a_restart(self):
        self.node.start()
        self.one.settle()

    @only_for_martlet
    def test_damage_is_refused(self):
        lines = self.good.splitlines(keepends=True)
        damaged = {
            "noise": os.urandom(500),
            "a line cut short": lines[0][:30] + b"\n" + b"".join(lines[1:]),
            "a wrong slot": self.good.replace(b" connected ", b" connected 99999 ", 1),
            "a wrong flag": self.good.replace(b"myself,master", b"myself,emperor"),
            "a wrong port": re.sub(rb":\d+@", b":x@", self.good, count=1),
        }
        for name, data in damaged.items():
            with self.subTest(damage=name):
                text = self.start_with(data)
                self.assertIsNotNone(text, "it started with a damaged nodes.conf")
                with open(self.path, "rb") as file:
                    self.assertEqual(file.read(), data, "the damaged file was overwritten")

    @only_for_martlet
    def test_the_refusal_names_the_file_and_line(self):
        lines = self.good.splitlines(keepends=True)
        text = self.start_with(lines[0] + b"garbage in the second line\n" + b"".join(lines[2:]))
        self.assertIsNotNone(text)
        self.assertIn("nodes.conf", text)
        self.assertRegex(text, r"line 2|:2\b")

    def test_two_servers_cannot_share_it(self):
        self.node.start()
        other = Server(
            OURS,
            folder=tempfile.mkdtemp(prefix="martlet-second-"),
            wait=False,
            cluster_enabled="yes",
            cluster_config_file=self.path,
        )
        self.addCleanup(other.close)
        wait_until(lambda: not other.alive, "the second one gives up", 10)
        self.assertIn("nodes.conf", other.output())

    def test_a_file_of_the_other_kind_of_server(self):
        """What redis-server wrote is read, and what we wrote it can read."""
        self.assertRegex(self.good, rb"(?m)^[0-9a-f]{40} 127\.0\.0\.1:\d+@\d+.* myself,master ")
        self.assertRegex(self.good, rb"(?m)^vars currentEpoch \d+ lastVoteEpoch \d+$")


def mount_small_disk(size="2m"):
    """A tmpfs of its own, or None where that is not allowed."""
    folder = tempfile.mkdtemp(prefix="martlet-disk-")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", folder], capture_output=True
    )
    if done.returncode != 0:
        os.rmdir(folder)
        return None
    return folder


class DiskTests(WireTest):
    """Also sound against redis-server, but for the read-only folder of a cluster node."""

    def disk(self, size="2m"):
        folder = mount_small_disk(size)
        if folder is None:
            self.skipTest("NOTE: a full disk needs a tmpfs mount, which takes root")
        self.addCleanup(self.unmount, folder)
        return folder

    def unmount(self, folder):
        subprocess.run(["umount", "-l", folder], capture_output=True)
        if not os.listdir(folder):
            os.rmdir(folder)

    def fill(self, folder):
        with open(os.path.join(folder, "filler"), "wb") as file:
            try:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            except OSError:
                pass

    @staticmethod
    def nodes_conf(folder):
        try:
            with open(os.path.join(folder, "nodes.conf"), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    def test_a_full_disk_under_a_node(self):
        """A cluster node that cannot write nodes.conf says so; it does not go on with votes."""
        folder = self.disk()
        server = Server(OURS, folder=folder, cluster_enabled="yes")
        self.addCleanup(server.close)
        with server.connect() as connection:
            self.assertEqual(connection.call("CLUSTER", "ADDSLOTSRANGE", 0, 100), "OK")
            # A thread writes the file.
            wait_until(lambda: b" 0-100" in self.nodes_conf(folder), "saved")
            self.fill(folder)
            try:
                connection.ask("CLUSTER", "ADDSLOTSRANGE", 200, 300)
                connection.ask("CLUSTER", "BUMPEPOCH")
                connection.ask("CLUSTER", "SAVECONFIG")
            except OSError:
                pass
        if server.alive:
            server.kill()
        os.unlink(os.path.join(folder, "filler"))
        server.start()
        mine = next(row for row in rows(server.port) if row.is_myself)
        self.assertIn(mine.slots[0], [(0, 100)], "what was saved before is still there")

    def test_a_full_disk_under_a_replica_that_synchronises(self):
        folder = self.disk("4m")
        primary = self.server(repl_diskless_sync="yes")
        with primary.connect() as connection:
            connection.pipeline([["SET", "k:%d" % i, os.urandom(4000)] for i in range(2000)])
        replica = Server(OURS, folder=folder, replicaof="127.0.0.1 %d" % primary.port)
        self.addCleanup(replica.close)
        time_limit = time.monotonic() + 4
        wait_until(
            lambda: time.monotonic() > time_limit
            or replica.info("replication")["master_link_status"] == "up",
            "tried",
            10,
        )
        self.assert_alive(replica)
        self.assert_alive(primary)

    def test_a_read_only_folder(self):
        folder = self.disk()
        config = os.path.join(folder, "node.conf")
        server = Server(OURS, folder=folder, cluster_enabled="yes")
        self.addCleanup(server.close)
        server.terminate()
        os.unlink(os.path.join(folder, "nodes.conf"))
        log = tempfile.NamedTemporaryFile(suffix=".log")
        self.addCleanup(log.close)
        server.log = log.name
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True, capture_output=True)
        self.addCleanup(subprocess.run, ["mount", "-o", "remount,rw", folder], capture_output=True)
        server.start(wait=False)
        wait_until(lambda: not server.alive, "it refuses to start", 10)
        self.assertIn("nodes.conf", server.output())
        self.assertTrue(os.path.exists(config))


class SignalTests(WireTest):
    """Also sound against redis-server."""

    def test_sigterm_and_sigint_end_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.server()
            server.process.send(number)
            self.assertTrue(server.process.wait(10))
            self.assertIn("ready to exit, bye bye", server.output())

    def test_shutdown_command(self):
        server = self.server()
        with server.connect() as connection:
            connection.send("SHUTDOWN", "NOSAVE")
            self.assertEqual(connection.read_until_closed(), b"")
        self.assertTrue(server.process.wait(10))

    def test_shutdown_waits_for_a_lagging_replica(self):
        primary = self.server(shutdown_timeout=10)
        replica = self.server(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "linked")
        wait_until(lambda: "state=online" in primary.info("replication").get("slave0", ""), "on")
        replica.pause()
        primary.call("SET", "a", "b")
        primary.process.send(signal.SIGTERM)
        wait_until(lambda: "shutdown_in_milliseconds" in primary.info("server"), "it waits")
        replica.resume()
        self.assertTrue(primary.process.wait(10))
        self.assertEqual(replica.call("GET", "a"), b"b")

    def test_a_client_pause_holds_writes(self):
        server = self.server()
        with server.connect() as first, server.connect() as second:
            first.call("CLIENT", "PAUSE", 100_000, "WRITE")
            self.assertIsNone(second.call("GET", "k"))
            done = threading.Event()

            def write():
                second.call("SET", "k", "v")
                done.set()

            thread = threading.Thread(target=write)
            thread.start()
            wait_until(lambda: first.info("clients")["blocked_clients"] == "1", "it is held")
            self.assertFalse(done.is_set())
            first.call("CLIENT", "UNPAUSE")
            thread.join(5)
            self.assertTrue(done.is_set())


class AnnounceTests(WireTest):
    """Also sound against redis-server (7.0 has no human node names)."""

    def test_announced_addresses(self):
        one = self.cluster(nodes=3, replicas=0, formed=False)
        first = one.servers[0]
        with first.connect() as connection:
            connection.call("CONFIG", "SET", "cluster-announce-hostname", "node-one.example")
        form(one.ports, 0)

        def named():
            return all(
                "node-one.example" in Connection(port).text("CLUSTER", "NODES")
                for port in one.ports
            )

        wait_until(named, "the hostname is known everywhere", 20)
        other = one.servers[1]
        with other.connect() as connection:
            connection.call("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
            slot_row = next(
                row for row in connection.call("CLUSTER", "SLOTS") if row[2][1] == first.port
            )
            self.assertEqual(slot_row[2][0], b"node-one.example")
            key = key_in(slot_row[0], slot_row[1])[0]
            reply = connection.ask("GET", key)
            self.assertEqual(
                str(reply), "MOVED %d node-one.example:%d" % (key_slot(key), first.port)
            )
            connection.call("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
            self.assertEqual(
                str(connection.ask("GET", key)), "MOVED %d :%d" % (key_slot(key), first.port)
            )

    def test_announced_ip_and_ports(self):
        one = self.cluster(nodes=2, replicas=0, formed=False)
        first, second = one.servers
        with first.connect() as connection:
            connection.call("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
            connection.call("CONFIG", "SET", "cluster-announce-port", 7777)
        second.call("CLUSTER", "MEET", "127.0.0.1", first.port)
        wait_until(
            lambda: b"127.0.0.1:7777@%d" % (first.port + 10000) in second.call("CLUSTER", "NODES"),
            "the announced port is known",
            15,
        )


class SlotCommandTests(WireTest):
    """Redirects, and what may be done in a slot that is moving. Also sound against redis-server."""

    def test_moved_crossslot_ask_tryagain(self):
        one = self.cluster(nodes=3, replicas=0)
        source, target = one.server(one.primary_of(0)), one.server(one.primary_of(16383))
        key = key_in(0, 5000, prefix="x")[0]
        slot = key_slot(key)
        tag = next("{%s}" % name for name in key_in(slot, slot, prefix="t"))
        slot = key_slot(tag)
        ids = {row.port: row.id for row in rows(source.port)}
        with source.connect() as here, target.connect() as there:
            self.assertEqual(
                str(there.ask("GET", tag)), "MOVED %d 127.0.0.1:%d" % (slot, source.port)
            )
            self.assert_error(
                here.ask("MGET", tag + "a", key_in(6000, 7000)[0]),
                "CROSSSLOT Keys in request don't hash to the same slot",
            )
            here.call("MSET", tag + "a", 1, tag + "b", 2)
            there.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
            here.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
            self.assertEqual(here.call("GET", tag + "a"), b"1")
            self.assertEqual(
                str(here.ask("GET", tag + "gone")), "ASK %d 127.0.0.1:%d" % (slot, target.port)
            )
            here.call("MIGRATE", "127.0.0.1", target.port, tag + "a", 0, 5000)
            self.assertEqual(here.ask("MGET", tag + "a", tag + "b").code, "TRYAGAIN")
            self.assertEqual(
                str(there.ask("GET", tag + "a")), "MOVED %d 127.0.0.1:%d" % (slot, source.port)
            )
            there.call("ASKING")
            self.assertEqual(there.call("GET", tag + "a"), b"1")
            self.assertEqual(there.ask("GET", tag + "a").code, "MOVED", "ASKING counts once")
            there.call("ASKING")
            self.assertEqual(there.ask("MGET", tag + "a", tag + "b").code, "TRYAGAIN")
            self.assertEqual(here.call("CLUSTER", "COUNTKEYSINSLOT", slot), 1)
            self.assertEqual(
                here.call("CLUSTER", "GETKEYSINSLOT", slot, 10), [(tag + "b").encode()]
            )
            here.call("MIGRATE", "127.0.0.1", target.port, tag + "b", 0, 5000)
            for connection in (there, here):
                connection.call("CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])
            self.assertEqual(there.call("MGET", tag + "a", tag + "b"), [b"1", b"2"])
        one.agree()

    def test_replicas_redirect_unless_readonly(self):
        one = self.cluster(nodes=6, replicas=1)
        primary, replica = shard(one)
        key = key_in(0, 5460)[0]
        primary.call("SET", key, "v")
        wait_until(
            lambda: replica.info("replication")["slave_repl_offset"]
            == primary.info("replication")["master_repl_offset"],
            "in step",
        )
        with replica.connect() as connection:
            self.assertEqual(connection.ask("GET", key).code, "MOVED")
            connection.call("READONLY")
            self.assertEqual(connection.call("GET", key), b"v")
            self.assertEqual(connection.ask("SET", key, "w").code, "MOVED")
            # A script counts as what it declares; without a declaration it is asked when it writes.
            text = "return redis.call(ARGV[1],KEYS[1])"
            reading = "#!lua flags=no-writes\n" + text
            self.assertEqual(connection.ask("EVAL", "#!lua\n" + text, 1, key, "del").code, "MOVED")
            self.assertEqual(connection.call("EVAL", reading, 1, key, "get"), b"v")
            self.assertEqual(connection.call("EVAL", text, 1, key, "get"), b"v")
            connection.call("READWRITE")
            self.assertIsInstance(connection.ask("GET", key), ReplyError)
