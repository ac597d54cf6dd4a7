"""Our nodes and redis-server 7.0.15 together: replication, DUMP, MIGRATE, one cluster of both.

Also sound with redis-server as the server under test.
"""

# cost: 70
import os
import subprocess
import threading

from harness import (
    OURS,
    REDIS,
    REDIS_CLI,
    ReplyError,
    WireTest,
    in_step,
    key_slot,
    needs_cli,
    needs_redis,
    rows,
    take_over,
    wait_until,
)
from martlet.writers import Writers

DIRECTIONS = [("ours to the reference", OURS, REDIS), ("the reference to ours", REDIS, OURS)]


def sample(connection, count=2000):
    """Keys of every shape that a string can have, some with a time to live."""
    commands = []
    for number in range(count):
        value = [
            str(number),
            "text-%d" % number,
            "x" * (number % 300),
            "1e%d" % (number % 30),
            str(-number * 10**12),
            "lzf" * (number % 100),
            "\x00\xff%d" % number,
        ][number % 7]
        expiry = ["PX", 10_000_000 + number] if number % 5 == 0 else []
        commands.append(["SET", "key:%d" % number, value] + expiry)
    replies = connection.pipeline(commands)
    assert replies == ["OK"] * count, replies[:3]


def dataset(server):
    with server.connect(timeout=30) as connection:
        keys = sorted(connection.call("KEYS", "*"))
        values = connection.pipeline([["GET", key] for key in keys])
        expiries = connection.pipeline([["PEXPIRETIME", key] for key in keys])
    return dict(zip(keys, zip(values, expiries)))


@needs_redis
class ReplicationTests(WireTest):
    def each_direction(self, **directives):
        """A primary of either kind, and what its replica is to be."""
        for name, first, second in DIRECTIONS:
            print("replication from", name)
            yield self.server(first, **directives), second

    def follow(self, primary, binary, **directives):
        replica = self.server(binary, replicaof="127.0.0.1 %d" % primary.port, **directives)
        wait_until(lambda: in_step(primary, replica), "the replica is in step", 30)
        return replica

    def test_full_synchronisation(self):
        for primary, other in self.each_direction():
            with primary.connect() as connection:
                sample(connection)
                connection.call("SELECT", 3)
                connection.call("SET", "elsewhere", "x")
            replica = self.follow(primary, other)
            self.assertEqual(dataset(replica), dataset(primary))
            with replica.connect() as connection:
                connection.call("SELECT", 3)
                self.assertEqual(connection.call("GET", "elsewhere"), b"x")
                self.assert_error(
                    connection.ask("SET", "a", "b"),
                    "READONLY You can't write against a read only replica.",
                )

    def test_full_synchronisation_over_disk_and_socket(self):
        for diskless in ("yes", "no"):
            for load in ("disabled", "on-empty-db", "swapdb"):
                for primary, other in self.each_direction(repl_diskless_sync=diskless):
                    with primary.connect() as connection:
                        sample(connection, 500)
                    replica = self.follow(primary, other, repl_diskless_load=load)
                    self.assertEqual(dataset(replica), dataset(primary), (diskless, load))

    def test_the_stream(self):
        """Every command that changes something arrives with the same effect."""
        from random_commands import CommandSource

        for primary, other in self.each_direction():
            replica = self.follow(primary, other)
            source = CommandSource(77)
            with primary.connect() as connection:
                connection.pipeline([source.command() for _ in range(3000)])
                for extra in (
                    ["SET", "a", "1", "EX", "1000"],
                    ["INCRBYFLOAT", "a", "1.25"],
                    ["GETDEL", "a"],
                    ["FLUSHDB"],
                    ["SET", "b", "2"],
                    ["EXPIRE", "b", "-1"],
                    ["SET", "c", "3", "PXAT", "4000000000000"],
                    ["GETEX", "c", "PERSIST"],
                    ["SWAPDB", "0", "5"],
                    ["COPY", "c", "d", "DB", "5"],
                ):
                    connection.ask(*extra)
            wait_until(lambda: in_step(primary, replica), "the replica is in step")
            for number in range(6):
                states = []
                for server in (primary, replica):
                    with server.connect() as connection:
                        connection.call("SELECT", number)
                        states.append(
                            {
                                key: connection.call("GET", key)
                                for key in connection.call("KEYS", "*")
                            }
                        )
                self.assertEqual(states[1], states[0], "database %d" % number)

    def test_partial_resynchronisation(self):
        for primary, other in self.each_direction():
            replica = self.follow(primary, other)
            for round_number in range(3):
                primary.call("CLIENT", "KILL", "TYPE", "replica")
                with primary.connect() as connection:
                    connection.pipeline(
                        [["SET", "r%d:%d" % (round_number, i), i] for i in range(200)]
                    )
                wait_until(lambda: in_step(primary, replica), "it is in step again", 30)
                self.assertEqual(dataset(replica), dataset(primary))
            stats = primary.info("stats")
            self.assertEqual(stats["sync_full"], "1")
            self.assertGreaterEqual(int(stats["sync_partial_ok"]), 3)

    def test_a_restarted_replica_goes_on_where_its_file_ends(self):
        for primary, other in self.each_direction():
            replica = self.follow(primary, other, save="300 100", dbfilename="dump.rdb")
            with primary.connect() as connection:
                sample(connection, 100)
                connection.call("SELECT", 3)
                connection.call("SET", "elsewhere", "x")
            wait_until(lambda: in_step(primary, replica), "the replica is in step", 10)
            replica.terminate()
            with primary.connect() as connection:
                connection.call("SELECT", 3)
                connection.call("APPEND", "elsewhere", "y")
            replica.start()
            wait_until(lambda: in_step(primary, replica), "the replica is in step again", 10)
            stats = primary.info("stats")
            self.assertEqual((stats["sync_full"], stats["sync_partial_ok"]), ("1", "1"))
            self.assertEqual(dataset(replica), dataset(primary))
            with replica.connect() as connection:
                connection.call("SELECT", 3)
                self.assertEqual(connection.call("GET", "elsewhere"), b"xy")

    def test_a_backlog_that_is_too_small_means_a_full_synchronisation(self):
        for primary, other in self.each_direction(repl_backlog_size="16kb"):
            replica = self.follow(primary, other)
            replica.pause()
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            with primary.connect() as connection:
                connection.pipeline([["SET", "big:%d" % i, "x" * 1000] for i in range(200)])
            replica.resume()
            wait_until(lambda: in_step(primary, replica), "it is in step again", 30)
            self.assertEqual(dataset(replica), dataset(primary))
            self.assertEqual(primary.info("stats")["sync_full"], "2")

    def test_a_replica_that_takes_writes_expires_what_was_written_to_it(self):
        """No DEL of the primary will come for those; for the primary's own keys one will."""
        for primary, other in self.each_direction():
            primary.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
            replica = self.follow(primary, other)
            primary.call("SET", "theirs", "x", "PX", 60)
            wait_until(lambda: in_step(primary, replica), "the replica is in step", 10)
            replica.call("CONFIG", "SET", "replica-read-only", "no")
            replica.call("SET", "own", "x", "PX", 60)
            replica.call("SET", "kept", "x", "PX", 60)
            replica.call("PERSIST", "kept")
            wait_until(lambda: replica.call("DBSIZE") == 2, "the replica's own key is gone", 10)
            self.assertEqual(replica.call("EXISTS", "own", "theirs", "kept"), 1)

    def test_promotion_lets_the_others_resynchronise_partially(self):
        """Replication IDs survive: a replica's replica becomes the primary of its old primary."""
        for primary, other in self.each_direction():
            replica = self.follow(primary, other)
            with primary.connect() as connection:
                sample(connection, 300)
            wait_until(lambda: in_step(primary, replica), "in step")
            replica.call("REPLICAOF", "NO", "ONE")
            replica.call("SET", "after", "promotion")
            primary.call("REPLICAOF", "127.0.0.1", replica.port)
            wait_until(lambda: in_step(replica, primary), "the old primary follows", 30)
            self.assertEqual(dataset(primary), dataset(replica))
            self.assertEqual(replica.info("stats")["sync_full"], "0")
            self.assertGreaterEqual(int(replica.info("stats")["sync_partial_ok"]), 1)

    def test_chains(self):
        for primary, other in self.each_direction():
            middle = self.follow(primary, other)
            last = self.server(primary.binary, replicaof="127.0.0.1 %d" % middle.port)
            with primary.connect() as connection:
                sample(connection, 500)
            wait_until(
                lambda: in_step(primary, middle) and in_step(primary, last), "both are in step", 30
            )
            self.assertEqual(dataset(last), dataset(primary))

    def test_wait_and_min_replicas(self):
        for primary, other in self.each_direction():
            replica = self.follow(primary, other)
            with primary.connect() as connection:
                connection.call("SET", "a", "b")
                self.assertEqual(connection.call("WAIT", 1, 5000), 1)
                self.assertEqual(connection.call("WAIT", 2, 50), 1)
                connection.call(
                    "CONFIG", "SET", "min-replicas-to-write", 1, "min-replicas-max-lag", 2
                )
                self.assertEqual(connection.call("SET", "a", "c"), "OK")
                replica.kill()
                wait_until(
                    lambda: isinstance(connection.ask("SET", "a", "d"), ReplyError),
                    "writes stop without the replica",
                )
                self.assert_error(
                    connection.ask("SET", "a", "d"),
                    "NOREPLICAS Not enough good replicas to write.",
                )

    def test_role_and_info(self):
        for primary, other in self.each_direction():
            replica = self.follow(primary, other)
            role = primary.call("ROLE")
            self.assertEqual((role[0], role[2][0][1]), (b"master", b"%d" % replica.port))
            self.assertEqual(
                replica.call("ROLE")[:4], [b"slave", b"127.0.0.1", primary.port, b"connected"]
            )
            line = primary.info("replication")["slave0"]
            self.assertIn("port=%d,state=online" % replica.port, line)

    def test_failover_command(self):
        for primary, other in self.each_direction():
            replica = self.follow(primary, other)
            with primary.connect() as connection:
                sample(connection, 100)
            self.assertEqual(primary.call("FAILOVER", "TO", "127.0.0.1", replica.port), "OK")
            wait_until(lambda: replica.info("replication")["role"] == "master", "promoted", 20)
            wait_until(lambda: in_step(replica, primary), "the old primary follows", 20)
            self.assertEqual(dataset(primary), dataset(replica))

    def test_a_synchronisation_under_writes(self):
        for primary, other in self.each_direction():
            with primary.connect() as connection:
                sample(connection, 20_000)
            stop = threading.Event()

            def write():
                with primary.connect() as connection:
                    number = 0
                    while not stop.is_set():
                        connection.pipeline(
                            [["INCR", "key:%d" % (7 * ((number + i) % 2000))] for i in range(50)]
                        )
                        number += 50

            writer = threading.Thread(target=write)
            writer.start()
            try:
                replica = self.server(other, replicaof="127.0.0.1 %d" % primary.port)
                wait_until(
                    lambda: replica.info("replication")["master_link_status"] == "up",
                    "the link is up",
                    30,
                )
            finally:
                stop.set()
                writer.join()
            wait_until(lambda: in_step(primary, replica), "in step", 30)
            self.assertEqual(dataset(replica), dataset(primary))


@needs_redis
class DumpTests(WireTest):
    VALUES = [
        b"",
        b"0",
        b"-1",
        b"127",
        b"128",
        b"-32769",
        b"2147483648",
        b"9223372036854775807",
        b"01",
        b"text",
        b"a" * 63,
        b"a" * 64,
        b"a" * 16383,
        b"a" * 16384,
        b"a" * 100_000,
        bytes(range(256)) * 10,
        b"abcabcabc" * 500,
    ]

    def test_payloads_both_ways(self):
        ours, reference = self.server(), self.redis()
        for value in self.VALUES:
            for source, target in ((ours, reference), (reference, ours)):
                source.call("SET", "k", value)
                payload = source.call("DUMP", "k")
                target.call("FLUSHALL")
                self.assertEqual(target.call("RESTORE", "k", 5_000_000, payload), "OK")
                self.assertEqual(target.call("GET", "k"), value)
                self.assertGreater(target.call("PTTL", "k"), 4_000_000)
                self.assert_error(
                    target.connect().ask("RESTORE", "k", 0, payload),
                    "BUSYKEY Target key name already exists.",
                )
                self.assertEqual(
                    target.call("RESTORE", "k", 4000000000000, payload, "REPLACE", "ABSTTL"), "OK"
                )
                self.assertEqual(target.call("PEXPIRETIME", "k"), 4000000000000)
                self.assertEqual(
                    source.call("OBJECT", "ENCODING", "k"), target.call("OBJECT", "ENCODING", "k")
                )

    def test_damaged_payloads(self):
        ours, reference = self.server(), self.redis()
        reference.call("SET", "k", b"abcabcabc" * 50)
        payload = reference.call("DUMP", "k")
        with ours.connect() as connection:
            for at in range(len(payload)):
                damaged = bytearray(payload)
                damaged[at] ^= 0x41
                self.assert_error(
                    connection.ask("RESTORE", "d", 0, bytes(damaged)),
                    "ERR DUMP payload version or checksum are wrong",
                )
            for length in range(len(payload)):
                self.assert_error(
                    connection.ask("RESTORE", "d", 0, payload[:length]),
                    "ERR DUMP payload version or checksum are wrong",
                )
            self.assertIsNone(connection.call("GET", "d"))

    def test_migrate_both_ways(self):
        ours, reference = self.server(), self.redis()
        for source, target in ((ours, reference), (reference, ours)):
            for server in (ours, reference):
                server.call("FLUSHALL")
            with source.connect() as connection:
                sample(connection, 200)
                before = dataset(source)
                where = ["MIGRATE", "127.0.0.1", target.port]
                self.assertEqual(connection.call(*where, "key:1", 0, 5000), "OK")
                self.assertEqual(connection.call(*where, "key:1", 0, 5000), "NOKEY")
                keys = ["key:%d" % i for i in range(2, 200)]
                self.assertEqual(connection.call(*where, "", 0, 5000, "KEYS", *keys), "OK")
                self.assertEqual(connection.call("DBSIZE"), 1)
                self.assertEqual(connection.call(*where, "key:0", 0, 5000, "COPY"), "OK")
                self.assertEqual(connection.call("DBSIZE"), 1)
                reply = connection.ask(*where, "key:0", 0, 5000)
                self.assertIn("BUSYKEY", str(reply))
                self.assertEqual(connection.call(*where, "key:0", 0, 5000, "REPLACE"), "OK")
            after = dataset(target)
            self.assertEqual(set(after), set(before))
            for key, (value, expiry) in before.items():
                self.assertEqual(after[key][0], value)
                self.assertLess(abs(after[key][1] - expiry), 1000)

    def test_migrate_with_a_password_and_to_nobody(self):
        source = self.server()
        target = self.redis()
        target.call("CONFIG", "SET", "requirepass", "secret")
        source.call("SET", "k", "v")
        with source.connect() as connection:
            where = ["MIGRATE", "127.0.0.1", target.port, "k", 0, 5000]
            self.assertIn("NOAUTH", str(connection.ask(*where)))
            self.assertIn("WRONGPASS", str(connection.ask(*where, "AUTH", "wrong")))
            self.assertEqual(connection.ask(*where, "AUTH2", "default", "secret"), "OK")
            connection.call("SET", "k", "v")
            self.assertEqual(connection.ask("MIGRATE", "127.0.0.1", 1, "k", 0, 500).code, "IOERR")
            self.assertEqual(connection.call("GET", "k"), b"v")

    def test_rdb_files(self):
        """`redis-cli --rdb` writes what our server sends; redis-server starts from it, and back."""
        if not REDIS_CLI:
            self.skipTest("redis-cli is not installed")
        for first, second in ((OURS, REDIS), (REDIS, OURS)):
            source = self.server(first)
            with source.connect() as connection:
                sample(connection, 300)
            target = self.server(second, dbfilename="dump.rdb")
            target.terminate()
            done = subprocess.run(
                [
                    REDIS_CLI,
                    "-p",
                    str(source.port),
                    "--rdb",
                    os.path.join(target.folder, "dump.rdb"),
                ],
                capture_output=True,
                text=True,
                timeout=30,
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            target.start()
            self.assertEqual(dataset(target), dataset(source))


@needs_redis
@needs_cli
class MixedClusterTests(WireTest):
    """Three of our nodes and three of the reference's: they fail over and reshard to each other."""

    def setUp(self):
        # Primaries ours, the reference, ours; replicas the reference, ours, the reference.
        self.one = self.cluster(nodes=6, replicas=1, binaries=[OURS, REDIS])
        table = rows(self.one.ports[0])
        ids = {row.id: row.port for row in table}
        self.pairs = []
        for row in table:
            if row.primary:
                self.pairs.append((ids[row.primary], row.port))

    def kinds(self, pair):
        return tuple(os.path.basename(self.one.server(port).binary) for port in pair)

    def test_fail_over_in_both_directions(self):
        mixed = [
            pair
            for pair in self.pairs
            if self.one.server(pair[0]).binary != self.one.server(pair[1]).binary
        ]
        if OURS != REDIS:
            self.assertGreaterEqual(len({self.kinds(pair) for pair in mixed}), 2, self.pairs)
        for primary, replica in mixed or self.pairs:
            writers = Writers(self.one.ports, 2, "f%d-" % primary, pause=0.001)
            victim = self.one.server(primary)
            victim.kill()
            heir = self.one.server(replica)
            wait_until(
                lambda: heir.info("replication")["role"] == "master",
                "node %d takes over from %d" % (replica, primary),
                20,
            )
            victim.start()
            self.one.settle(40)
            self.assertEqual(victim.info("replication")["role"], "slave")
            counts = writers.stop()
            self.assertTrue(all(counts.values()), counts)
            self.assertEqual(writers.lost(), [])

    def test_manual_failover_in_both_directions(self):
        for primary, replica in self.pairs:
            writers = Writers(self.one.ports, 2, "m%d-" % primary, pause=0.001)
            take_over(self.one.server(replica))
            wait_until(
                lambda: in_step(self.one.server(replica), self.one.server(primary)),
                "the old primary follows",
                20,
            )
            writers.stop()
            self.assertEqual(writers.lost(), [])
            self.assertEqual(
                int(self.one.server(replica).info("stats")["sync_full"]), 0, "a partial one does"
            )

    def test_reshard_between_each_other(self):
        table = [row for row in rows(self.one.ports[0]) if row.is_primary]
        writers = Writers(self.one.ports, 4, "s", pause=0.001)
        for source, target in ((table[0], table[1]), (table[1], table[2])):
            self.one.agree()
            done = subprocess.run(
                [
                    REDIS_CLI,
                    "--cluster",
                    "reshard",
                    "127.0.0.1:%d" % table[0].port,
                    "--cluster-from",
                    source.id,
                    "--cluster-to",
                    target.id,
                    "--cluster-slots",
                    "150",
                    "--cluster-yes",
                    "--cluster-pipeline",
                    "20",
                ],
                capture_output=True,
                text=True,
                timeout=120,
            )
            self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr)
        self.one.settle()
        writers.stop()
        self.assertEqual(writers.lost(), [])
        done = subprocess.run(
            [REDIS_CLI, "--cluster", "check", "127.0.0.1:%d" % table[0].port],
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_what_each_says_of_the_cluster(self):
        """CLUSTER SLOTS and SHARDS, told by either kind of node, name the same nodes."""
        told = []
        for server in self.one.servers:
            slots = server.call("CLUSTER", "SLOTS")
            told.append(sorted((row[0], row[1], row[2][1], row[2][2]) for row in slots))
            keys = server.call("CLUSTER", "COUNTKEYSINSLOT", key_slot("x"))
            self.assertEqual(keys, 0)
        self.assertTrue(all(each == told[0] for each in told), told)
