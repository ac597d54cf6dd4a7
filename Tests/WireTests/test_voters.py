"""Sentinels that monitor a cluster: its shards as primaries, and what they do when the primaries
that are left cannot decide alone."""

# cost: 60
import time

from harness import Connection, WireTest, cluster_info, only_for_martlet, wait_until
from martlet.clusters import wait_for_voters
from test_sentinel import SentinelServer, pairs

NAME = "west"
TIMEOUT = 1500
# A key in each shard, and its slot.
KEYS = {"v0": 5292, "v3": 9423, "v6": 13418}


class ClusterSentinelTest(WireTest):
    def setUp(self):
        self.one = self.cluster(nodes=6, replicas=1, timeout_ms=TIMEOUT)

    def sentinel(self, lines=(), port=None):
        directives = [
            "monitor-cluster %s 127.0.0.1 %d 2" % (NAME, port or self.one.ports[0]),
            "down-after-milliseconds %s 1000" % NAME,
        ]
        server = SentinelServer(sentinel=directives + list(lines))
        self.addCleanup(self._finish, server)
        return server

    def shards(self, sentinel):
        """Port of the primary by first slot, as the sentinel tells clients."""
        found = {}
        for fields in map(pairs, sentinel.call("SENTINEL", "MASTERS")):
            name, slot = fields["name"].split("/shard-")
            self.assertEqual(name, NAME)
            found[int(slot)] = int(fields["port"])
        return found

    def real(self):
        return {slot: self.one.primary_of(slot) for slot in (0, 5461, 10923)}


class DiscoveryTests(ClusterSentinelTest):
    @only_for_martlet
    def test_shards_are_primaries_to_clients(self):
        sentinel = self.sentinel(port=self.one.ports[4])
        wait_until(lambda: self.shards(sentinel) == self.real(), "all shards")
        for slot, port in self.real().items():
            name = "%s/shard-%d" % (NAME, slot)
            self.assertEqual(sentinel.primary(name), port)
            replicas = self.one.replicas_of(port)
            wait_until(
                lambda: [
                    int(pairs(row)["port"])
                    for row in sentinel.call("SENTINEL", "REPLICAS", name)
                ] == replicas,
                "its replicas",
            )
            self.assertEqual(sentinel.fields(name)["cluster"], NAME)
        reply = sentinel.call("SENTINEL", "SET", NAME + "/shard-0", "quorum", "3")
        self.assertIn("belongs to the monitored cluster", str(reply))
        self.assertEqual(sentinel.call("SENTINEL", "SET", NAME, "quorum", "3"), "OK")
        self.assertEqual(sentinel.fields(NAME + "/shard-0")["quorum"], "3")

        # A failover that the cluster does by itself.
        old = self.one.primary_of(0)
        self.one.server(old).kill()
        wait_until(
            lambda: sentinel.primary(NAME + "/shard-0") not in (None, old), "the new primary"
        )
        self.assertIn("+switch-master %s/shard-0 127.0.0.1 %d" % (NAME, old), sentinel.output())

        # The file has what a restart needs, also when the first node is gone.
        sentinel.terminate()
        self.one.server(self.one.ports[4]).kill()
        sentinel.start()
        wait_until(lambda: len(self.shards(sentinel)) == 3, "all shards again")

    @only_for_martlet
    def test_sentinels_of_one_cluster_find_each_other(self):
        sentinels = [self.sentinel() for _ in range(3)]
        for sentinel in sentinels:
            wait_until(
                lambda: len(self.shards(sentinel)) == 3
                and sentinel.fields(NAME + "/shard-0")["num-other-sentinels"] == "2",
                "the others",
                20,
            )
        # Ordinary failovers are the cluster's: the sentinels only follow.
        old = self.one.primary_of(0)
        self.one.server(old).kill()
        wait_until(
            lambda: all(
                sentinel.primary(NAME + "/shard-0") not in (None, old) for sentinel in sentinels
            ),
            "all follow",
        )
        for sentinel in sentinels:
            self.assertNotIn("+try-failover", sentinel.output())


class LastResortTests(ClusterSentinelTest):
    def voters(self, count=3):
        sentinels = [self.sentinel() for _ in range(count)]
        wait_for_voters(self.one.ports, count)
        return sentinels

    def writable(self, slot):
        """The owner of a slot takes a write."""
        for server in self.one.alive():
            with Connection(server.port, timeout=1) as connection:
                key = next(key for key in KEYS if KEYS[key] == slot)
                if connection.ask("SET", key, "value") == "OK":
                    return True
        return False

    @only_for_martlet
    def test_two_of_three_primaries_killed_at_once(self):
        self.voters()
        info = cluster_info(self.one.ports[0])
        self.assertEqual((info["cluster_electorate_size"], info["cluster_majority"]), ("6", "4"))
        victims = [self.one.server(self.one.primary_of(slot)) for slot in (0, 16383)]
        begin = time.monotonic()
        for victim in victims:
            victim.kill()
        wait_until(lambda: all(self.writable(slot) for slot in KEYS.values()), "writable again")
        taken = (time.monotonic() - begin) * 1000
        print("two of three primaries: writable after %.0f ms, timeout %d" % (taken, TIMEOUT))
        self.assertLessEqual(taken, TIMEOUT + 3000)
        for victim in victims:
            victim.start()
        self.one.settle()
        for victim in victims:
            self.assertEqual(victim.info("replication")["role"], "slave")

    @only_for_martlet
    def test_a_cluster_outlives_its_voters_and_they_come_and_go(self):
        sentinels = self.voters()
        for sentinel in sentinels:
            sentinel.kill()
        time.sleep(2 * TIMEOUT / 1000)
        self.assertTrue(all(self.writable(slot) for slot in KEYS.values()))
        for sentinel in sentinels:
            sentinel.start()
        wait_for_voters(self.one.ports, 3)
        # One leaves in order; one is gone for good and is forgotten.
        self.assertEqual(sentinels[0].call("SENTINEL", "REMOVE", NAME), "OK")
        wait_for_voters(self.one.ports, 2)
        wait_until(lambda: not sentinels[0].call("SENTINEL", "MASTERS"), "forgotten")
        wait_until(lambda: "-monitor-cluster" in sentinels[0].output(), "has left")
        lost = sentinels[1].call("SENTINEL", "MYID")
        sentinels[1].kill()
        with Connection(self.one.primary_of(0)) as connection:
            self.assertEqual(connection.ask("CLUSTER", "VOTER", "FORGET", lost), "OK")
        wait_for_voters(self.one.ports, 1)
        with Connection(self.one.primary_of(0)) as connection:
            self.assertIn("Unknown voter", str(connection.ask("CLUSTER", "VOTER", "FORGET", lost)))
            self.assertEqual(connection.ask("CLUSTER", "VOTER", "RESET"), "OK")

    @only_for_martlet
    def test_a_restarted_cluster_remembers_its_voters(self):
        self.voters(2)
        for server in self.one.servers:
            server.kill()
        for server in self.one.servers:
            server.start()
        wait_for_voters(self.one.ports, 2)
        self.one.settle()
