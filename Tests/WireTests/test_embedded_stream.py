"""Full copies between our nodes: what is written meanwhile comes along with the copy."""

# cost: 25
from harness import WireTest, in_step, only_for_martlet, wait_until

VALUE = "v" * 1000


@only_for_martlet
class EmbeddedStreamTests(WireTest):
    def fill(self, primary, keys=3000):
        """Makes a copy take a few seconds, whatever the machine."""
        primary.call("DEBUG", "POPULATE", str(keys), "old", "20")
        primary.call("CONFIG", "SET", "rdb-key-save-delay", "1000")

    def begin_copy(self, primary, **directives):
        replica = self.server(
            replicaof="127.0.0.1 %d" % primary.port, **{"repl-timeout": "30", **directives}
        )
        wait_until(lambda: "Snapshot for SYNC started" in primary.output(), "the copy began", 20)
        return replica

    def write(self, connection, rounds):
        """About 100 KB each, some of it not twice the same: twice applied would be seen."""
        for number in range(rounds):
            commands = [["SET", "new:%d" % (number * 100 + i), VALUE] for i in range(95)]
            commands += [["INCR", "old:%d" % (100000 + i)] for i in range(3)]
            commands += [["APPEND", "old:%d" % (number * 7 % 3000), "+"], ["RPUSH", "list", "x"]]
            connection.pipeline(commands)

    def copying(self, primary):
        return primary.info("replication")["slave0"].find("state=wait_bgsave") >= 0

    def digest(self, server):
        return server.call("DEBUG", "DIGEST", timeout=60)

    def test_the_primary_need_not_keep_what_came_meanwhile(self):
        primary = self.server(**{"repl-diskless-sync-delay": "0"})
        self.fill(primary)
        replica = self.begin_copy(primary)
        kept = 0
        with primary.connect(timeout=30) as connection:
            while self.copying(primary):
                self.write(connection, 5)
                memory = primary.info("memory")
                kept = max(kept, int(memory["mem_total_replication_buffers"]))
        written = int(primary.info("replication")["master_repl_offset"])
        self.assertGreater(written, 12 << 20)
        # The configured backlog, and what is on its way.
        self.assertLess(kept, 10 << 20)
        wait_until(lambda: in_step(primary, replica), "in step", 30)
        self.assertIn("bytes of changes came with the copy", replica.output())
        self.assertEqual(self.digest(primary), self.digest(replica))

    def up_with_all(self, primary):
        """A replica that has just loaded its copy, and that need not hear anything else."""
        self.fill(primary, 6000)
        replica = self.begin_copy(primary, **{"repl-diskless-load": "swapdb"})
        with primary.connect(timeout=30) as connection:
            self.write(connection, 40)
        expected = self.digest(primary)
        self.assertTrue(self.copying(primary))
        wait_until(
            lambda: replica.info("replication")["master_link_status"] == "up", "loaded", 30
        )
        return replica, expected

    def test_a_promoted_replica_has_all_that_came(self):
        primary = self.server(**{"repl-diskless-sync-delay": "0"})
        replica, expected = self.up_with_all(primary)
        self.assertEqual(replica.call("REPLICAOF", "NO", "ONE"), "OK")
        self.assertEqual(self.digest(replica), expected)

    def test_a_replica_whose_primary_died_has_all_that_came(self):
        primary = self.server(**{"repl-diskless-sync-delay": "0"})
        replica, expected = self.up_with_all(primary)
        primary.kill()
        wait_until(
            lambda: replica.info("replication")["master_link_status"] == "down", "noticed", 30
        )
        self.assertEqual(self.digest(replica), expected)

    def test_a_copy_for_redis_as_well_carries_none(self):
        primary = self.server(**{"repl-diskless-sync-delay": "2"})
        self.fill(primary, 1500)
        ours = self.server(replicaof="127.0.0.1 %d" % primary.port)
        redis = self.redis(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(lambda: "Snapshot for SYNC started" in primary.output(), "the copy began", 20)
        with primary.connect(timeout=30) as connection:
            self.write(connection, 20)
        for replica in ours, redis:
            wait_until(lambda: in_step(primary, replica), "in step", 30)
            self.assertEqual(primary.call("DBSIZE"), replica.call("DBSIZE"))
            self.assertEqual(
                primary.call("LRANGE", "list", "0", "-1"), replica.call("LRANGE", "list", "0", "-1")
            )
        self.assertNotIn("came with the copy", ours.output())
