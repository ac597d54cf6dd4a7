"""Sentinels that monitor a cluster: its shards as primaries, and what they do when the primaries
that are left cannot decide alone."""

# cost: 60
import time

from harness import WireTest, only_for_martlet, wait_until
from test_sentinel import SentinelServer, pairs

NAME = "west"
TIMEOUT = 1500


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
        server.start()
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
