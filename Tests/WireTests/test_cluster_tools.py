"""`redis-cli --cluster` against our nodes, while writers write: create, check, info, fix, add-node,
del-node, reshard, rebalance, call, backup, import. Also sound against redis-server."""

# cost: 60
import os
import re
import subprocess
import tempfile

from harness import (
    REDIS_CLI,
    Server,
    WireTest,
    agree,
    cluster_info,
    key_slot,
    needs_cli,
    rows,
    take_over,
    wait_until,
)
from martlet.writers import Writers


class ToolTest(WireTest):
    def tool(self, *args, expect=0, limit=120):
        done = subprocess.run(
            [REDIS_CLI, "--cluster"] + [str(arg) for arg in args],
            capture_output=True,
            text=True,
            timeout=limit,
            input="yes\n",
        )
        text = done.stdout + done.stderr
        if expect is not None:
            self.assertEqual(
                done.returncode,
                expect,
                "redis-cli --cluster %s:\n%s" % (" ".join(map(str, args)), text),
            )
        return text

    def address(self, port):
        return "127.0.0.1:%d" % port

    def id_of(self, port):
        return next(row.id for row in rows(port) if row.is_myself)

    def agreed(self, ports):
        agree(ports)


@needs_cli
class CreateTests(ToolTest):
    def test_create_check_info(self):
        cluster = self.cluster(nodes=6, formed=False)
        addresses = [self.address(port) for port in cluster.ports]
        text = self.tool("create", *addresses, "--cluster-replicas", 1, "--cluster-yes")
        self.assertIn("[OK] All 16384 slots covered.", text)
        cluster.settle()
        for port in cluster.ports:
            text = self.tool("check", self.address(port))
            self.assertIn("[OK] All nodes agree about slots configuration.", text)
            self.assertIn("[OK] All 16384 slots covered.", text)
        text = self.tool("info", addresses[2])
        self.assertIn("[OK] 0 keys in 3 masters.", text)

    def test_create_refuses_a_node_with_keys(self):
        cluster = self.cluster(nodes=3, formed=False)
        with cluster.servers[0].connect() as connection:
            connection.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
            connection.call("CLUSTER", "ADDSLOTS", key_slot("k"))
            wait_until(lambda: connection.ask("SET", "k", "v") == "OK", "it takes a key")
        addresses = [self.address(port) for port in cluster.ports]
        text = self.tool("create", *addresses, "--cluster-yes", expect=1)
        self.assertIn("is not empty", text)


@needs_cli
class ChangeUnderLoadTests(ToolTest):
    """Slots and nodes move while four writers write; nothing acknowledged is lost."""

    def setUp(self):
        self.one = self.cluster(nodes=6, replicas=1)
        self.writers = None

    def tearDown(self):
        if self.writers:
            self.writers.stop()

    def write(self, count=4, pause=0.001):
        self.writers = Writers(self.one.ports, count, pause=pause)

    def finish(self, ports=None):
        counts = self.writers.stop()
        self.assertTrue(all(count > 10 for count in counts.values()), counts)
        lost = self.writers.lost(ports)
        self.assertEqual(lost[:10], [], "%d lost of %d" % (len(lost), self.writers.total))

    def test_reshard(self):
        first, second = self.one.ports[:2]
        self.write()
        text = self.tool(
            "reshard",
            self.address(first),
            "--cluster-from",
            self.id_of(first),
            "--cluster-to",
            self.id_of(second),
            "--cluster-slots",
            400,
            "--cluster-yes",
            "--cluster-pipeline",
            50,
        )
        self.assertNotIn("ERR", text)
        self.finish()
        self.agreed(self.one.ports)
        counts = {row.port: row.slot_count for row in rows(first) if row.is_primary}
        self.assertEqual(counts[first], 5461 - 400)
        self.assertEqual(counts[second], 5461 + 400 + (counts[second] - 5861))
        self.assertIn("[OK] All 16384 slots covered.", self.tool("check", self.address(first)))

    def test_add_node_rebalance_del_node(self):
        first = self.one.ports[0]
        newcomer = Server(cluster_enabled="yes", cluster_node_timeout=2000)
        self.addCleanup(newcomer.close)
        self.write()
        self.tool("add-node", self.address(newcomer.port), self.address(first))
        ports = self.one.ports + [newcomer.port]
        for port in ports:
            wait_until(lambda: len(rows(port)) == 7, "node %d knows the newcomer" % port)
        self.agreed(ports)
        wait_until(lambda: cluster_info(newcomer.port)["cluster_state"] == "ok", "it is ready")
        self.tool(
            "rebalance",
            self.address(first),
            "--cluster-use-empty-masters",
            "--cluster-threshold",
            1,
            "--cluster-weight",
            "%s=0.2" % self.id_of(newcomer.port),
            "--cluster-pipeline",
            50,
        )
        self.agreed(ports)
        mine = next(row for row in rows(newcomer.port) if row.is_myself)
        self.assertGreater(mine.slot_count, 500)
        # Its slots go back, then the node goes.
        self.tool(
            "rebalance",
            self.address(first),
            "--cluster-weight",
            "%s=0" % mine.id,
            "--cluster-pipeline",
            50,
        )
        self.agreed(ports)
        self.tool("del-node", self.address(first), mine.id)
        for port in self.one.ports:
            wait_until(lambda: len(rows(port)) == 6, "node %d forgot it" % port)
        self.finish()
        self.assertIn("[OK] All 16384 slots covered.", self.tool("check", self.address(first)))

    def test_add_replica_and_failover_to_it(self):
        first = self.one.ports[0]
        newcomer = Server(cluster_enabled="yes", cluster_node_timeout=2000)
        self.addCleanup(newcomer.close)
        self.write()
        self.tool(
            "add-node",
            self.address(newcomer.port),
            self.address(first),
            "--cluster-slave",
            "--cluster-master-id",
            self.id_of(first),
        )
        wait_until(
            lambda: newcomer.info("replication")["master_link_status"] == "up",
            "the new replica follows",
            20,
        )
        take_over(newcomer)
        self.agreed(self.one.ports + [newcomer.port])
        self.writers.ports.append(newcomer.port)
        self.finish()

    def test_call_and_backup(self):
        first = self.one.ports[0]
        self.write()
        text = self.tool("call", self.address(first), "PING")
        self.assertEqual(text.count("PONG"), 6)
        text = self.tool("call", self.address(first), "DBSIZE", "--cluster-only-masters")
        self.assertEqual(len(re.findall(r"(?m)^127.0.0.1:", text)), 3, text)
        with tempfile.TemporaryDirectory() as folder:
            self.tool("backup", self.address(first), folder)
            names = os.listdir(folder)
            self.assertEqual(len([name for name in names if name.endswith(".rdb")]), 3, names)
            self.assertIn("nodes.json", names)
            for name in names:
                self.assertGreater(os.path.getsize(os.path.join(folder, name)), 50)
        self.tool("set-timeout", self.address(first), 3000)
        for port in self.one.ports:
            self.assertEqual(
                self.one.server(port).call("CONFIG", "GET", "cluster-node-timeout")[1], b"3000"
            )
        self.finish()

    def test_fix_closes_open_slots(self):
        """As after a reshard that was interrupted at each of its steps."""
        first, second = self.one.ports[:2]
        source, target = self.one.server(first), self.one.server(second)
        slots = [100, 200, 300]
        keys = {slot: [] for slot in slots}
        number = 0
        while any(len(keys[slot]) < 5 for slot in slots):
            slot = key_slot("fix:%d" % number)
            if slot in keys and len(keys[slot]) < 5:
                keys[slot].append("fix:%d" % number)
                source.call("SET", "fix:%d" % number, number)
            number += 1
        # Migrating only; importing only; both, with some keys moved already.
        source.call("CLUSTER", "SETSLOT", 100, "MIGRATING", self.id_of(second))
        target.call("CLUSTER", "SETSLOT", 200, "IMPORTING", self.id_of(first))
        source.call("CLUSTER", "SETSLOT", 300, "MIGRATING", self.id_of(second))
        target.call("CLUSTER", "SETSLOT", 300, "IMPORTING", self.id_of(first))
        source.call("MIGRATE", "127.0.0.1", second, "", 0, 5000, "KEYS", *keys[300][:3])
        self.write()
        text = self.tool("check", self.address(first), expect=1)
        self.assertIn("slots in migrating state", text)
        self.assertIn("slots in importing state", text)
        self.tool("fix", self.address(first))
        self.agreed(self.one.ports)
        self.assertIn("[OK] All 16384 slots covered.", self.tool("check", self.address(first)))
        for slot in slots:
            owner = self.one.server(self.one.primary_of(slot))
            for key in keys[slot]:
                self.assertEqual(owner.call("GET", key), key.split(":")[1].encode())
        self.finish()

    def test_fix_covers_slots_that_nobody_owns(self):
        first, second = self.one.ports[:2]
        owner = self.one.primary_of(16000)
        # The owner first: the others would learn it again from its next message.
        for port in [owner] + [port for port in self.one.ports if port != owner]:
            self.one.server(port).call("CLUSTER", "DELSLOTS", 16000, 16001)
        wait_until(
            lambda: not any(
                low <= 16000 <= high
                for port in self.one.ports
                for row in rows(port)
                for low, high in row.slots
            ),
            "nobody owns slot 16000",
            20,
        )
        self.tool("fix", self.address(second))
        self.agreed(self.one.ports)
        self.assertIn("[OK] All 16384 slots covered.", self.tool("check", self.address(first)))


@needs_cli
class ImportTests(ToolTest):
    def test_import_from_a_single_server(self):
        single = self.server()
        with single.connect() as connection:
            connection.pipeline([("SET", "key:%d" % i, i) for i in range(500)])
        cluster = self.cluster(nodes=3, replicas=0)
        self.tool(
            "import",
            self.address(cluster.ports[0]),
            "--cluster-from",
            self.address(single.port),
            "--cluster-copy",
        )
        found = sum(server.call("DBSIZE") for server in cluster.servers)
        self.assertEqual(found, 500)
        self.assertEqual(single.call("DBSIZE"), 500)
