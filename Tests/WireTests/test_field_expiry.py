"""Fields of hashes that expire, on real processes: by the clock, on replicas, over restarts, and
through a ready-made client. What each command answers is the model test's business."""

# cost: 12
import time
import unittest

from harness import SharedServer, WireTest, only_for_martlet, wait_until

try:
    import redis
except ImportError:
    redis = None


def fields_of(connection, key):
    flat = connection.call("HGETALL", key)
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2]))


@only_for_martlet
class ExpiryTests(SharedServer):
    directives = {"enable_debug_command": "yes"}

    def test_fields_go_without_being_looked_at(self):
        call = self.connection.call
        before = int(self.connection.info("stats")["expired_subkeys"])
        call("HSET", "h", *[word for n in range(500) for word in ("f%d" % n, "v")])
        call("MULTI")
        call("HPEXPIRE", "h", 50, "FIELDS", 400, *["f%d" % n for n in range(400)])
        call("HSETEX", "gone", "PX", 50, "FIELDS", 2, "a", "1", "b", "2")
        call("INFO", "keyspace")
        self.assertIn(b"subexpiry=2", call("EXEC")[2])
        wait_until(lambda: call("HLEN", "h") == 100, "the fields are gone")
        wait_until(lambda: call("DBSIZE") == 1, "the hash without fields is gone")
        self.assertIn("subexpiry=0", self.connection.info("keyspace")["db0"])
        self.assertEqual(int(self.connection.info("stats")["expired_subkeys"]) - before, 402)

    def test_events(self):
        call = self.connection.call
        call("CONFIG", "SET", "notify-keyspace-events", "EA")
        self.addCleanup(call, "CONFIG", "SET", "notify-keyspace-events", "")
        with self.shared.connect() as listener:
            listener.call("PSUBSCRIBE", "__keyevent@0__:*")
            call("HSETEX", "h", "PX", 60, "FIELDS", 1, "a", "1")
            heard = [listener.read()[2].split(b":")[1] for _ in range(4)]
        self.assertEqual(heard, [b"hset", b"hexpire", b"hexpired", b"del"])

    def test_payloads_reload_and_sort(self):
        call = self.connection.call
        far = int(time.time() * 1000) + 5_000_000
        for number in range(3):
            key = "h%d" % number
            call("HSET", key, *[word for n in range(10**number) for word in ("f%d" % n, n)])
            call("HPEXPIREAT", key, far + number, "FIELDS", 1, "f0")
        digest = call("DEBUG", "DIGEST")
        call("DEBUG", "RELOAD")
        self.assertEqual(call("DEBUG", "DIGEST"), digest)
        call("RESTORE", "copy", 0, call("DUMP", "h1"))
        times = call("HPEXPIRETIME", "copy", "FIELDS", 2, "f0", "f1")
        self.assertEqual(times, [far + 1, -1])
        self.assertEqual(call("OBJECT", "ENCODING", "copy"), b"listpackex")
        call("HPERSIST", "copy", "FIELDS", 1, "f0")
        plain = call("DUMP", "copy")
        self.assertNotEqual(plain[0], 24)
        call("RPUSH", "l", "1", "0")
        self.assertEqual(call("SORT", "l", "BY", "h*->f0", "GET", "h*->f0"), [b"0", b"0"])


@only_for_martlet
class ReplicaTests(WireTest):
    def test_times_and_deletions_reach_replicas_and_files(self):
        primary = self.server(appendonly="yes")
        replica = self.server(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(
            lambda: replica.connect().info("replication")["master_link_status"] == "up", "linked"
        )
        with primary.connect() as ours, replica.connect() as theirs:
            ours.call("HSET", "h", "a", 1, "b", 2, "c", 3, "d", 4)
            ours.call("HEXPIRE", "h", 1000, "FIELDS", 1, "a")
            ours.call("HPEXPIRE", "h", 50, "FIELDS", 1, "b")
            ours.call("HGETEX", "h", "EX", 2000, "FIELDS", 1, "c")
            ours.call("HSETEX", "h", "EX", 3000, "FIELDS", 1, "e", 5)
            ours.call("HGETDEL", "h", "FIELDS", 1, "d")
            wait_until(lambda: ours.call("HLEN", "h") == 3, "b is gone")
            ours.call("WAIT", 1, 5000)
            question = ["HPEXPIRETIME", "h", "FIELDS", 4, "a", "b", "c", "e"]
            times = ours.call(*question)
            self.assertEqual(times[1], -2)
            self.assertEqual(theirs.call(*question), times)
            self.assertEqual(fields_of(theirs, "h"), fields_of(ours, "h"))
        self.assertEqual(self.after_restart(primary, question), times)
        with primary.connect() as ours:
            ours.call("BGREWRITEAOF")
            wait_until(
                lambda: ours.info("persistence")["aof_rewrite_in_progress"] == "0", "rewritten"
            )
        self.assertEqual(self.after_restart(primary, question), times)

    def after_restart(self, server, question):
        server.restart()
        with server.connect(timeout=30) as connection:
            wait_until(
                lambda: connection.info("persistence")["loading"] == "0", "the data is loaded"
            )
            return connection.call(*question)


@only_for_martlet
@unittest.skipUnless(redis and hasattr(redis.Redis, "hexpire"), "no redis-py that knows HEXPIRE")
class ClientTests(SharedServer):
    def each_protocol(self):
        for protocol in (2, 3):
            client = redis.Redis(
                port=self.shared.port, decode_responses=True, protocol=protocol
            )
            self.addCleanup(client.close)
            client.flushall()
            yield client

    def test_redis_py(self):
        for client in self.each_protocol():
            client.hset("h", mapping={"a": 1, "b": 2, "c": 3})
            self.assertEqual(client.hexpire("h", 100, "a", "none"), [1, -2])
            self.assertEqual(client.hpexpire("h", 100_000, "b", nx=True), [1])
            self.assertEqual(client.httl("h", "a", "c", "none"), [100, -1, -2])
            self.assertEqual(client.hpersist("h", "a", "c"), [1, -1])
            self.assertEqual(client.hexpireat("h", int(time.time()) + 50, "a"), [1])
            self.assertGreater(client.hexpiretime("h", "a")[0], time.time())
            self.assertGreater(client.hpexpiretime("h", "a")[0], time.time() * 1000)
            if not hasattr(client, "hsetex"):
                continue
            self.assertEqual(client.hsetex("h", "d", "4", ex=50), 1)
            self.assertEqual(client.hgetex("h", "d", "none", persist=True), ["4", None])
            self.assertEqual(client.httl("h", "d"), [-1])
            self.assertEqual(client.hgetdel("h", "d"), ["4"])
            self.assertEqual(client.hlen("h"), 3)
