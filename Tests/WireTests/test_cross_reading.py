"""Files of each server are read by the other: snapshots and logs with every type and encoding."""

# cost: 25
import os
import random
import shutil
import subprocess
import tempfile

from harness import OURS, REDIS, WireTest, needs_redis, only_for_martlet, wait_until

CHECK_RDB = shutil.which("redis-check-rdb")
CHECK_AOF = shutil.which("redis-check-aof")


def data_set(seed):
    """Commands that make every type in every encoding, at the edges of each."""
    draw = random.Random(seed)
    text = lambda size: "".join(draw.choice("abcdefgh") for _ in range(size))  # noqa: E731
    yield ("SET", "empty", "")
    for n, value in enumerate(
        (0, -1, 127, -129, 32768, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63), "01", "1e5", "-0")
    ):
        yield ("SET", "int%d" % n, value)
    for size in (1, 19, 20, 21, 44, 45, 63, 64, 255, 16383, 16384, 70000):
        yield ("SET", "text%d" % size, text(size))
        yield ("SET", "same%d" % size, "x" * size)
    yield ("SET", b"binary\0key\r\n", bytes(range(256)) * 3)
    yield ("SETBIT", "bits", 9999, 1)
    for size in (1, 2, 127, 128, 129, 500, 600):
        yield ["RPUSH", "list%d" % size] + [draw.choice((n, text(n % 90))) for n in range(size)]
        yield ["SADD", "ints%d" % size] + [draw.choice((n, -n, n << 20)) for n in range(size)]
        yield ["SADD", "set%d" % size] + ["m%d" % n for n in range(size)]
        fields = []
        for n in range(size):
            fields += ["f%d" % n, draw.choice((n, text(n % 70)))]
        yield ["HSET", "hash%d" % size] + fields
        scores = []
        for n in range(size):
            scores += [draw.choice((n, -n, n / 7, "inf", "-inf", 1e300, 3.0)), "m%d" % n]
        yield ["ZADD", "zset%d" % size] + scores
    yield ("SADD", "wide", 1, 70000, 1 << 40)
    yield ("RPUSH", "long", text(9000), text(70000), 5)
    yield ("HSET", "longfield", "f", text(70))
    yield ("ZADD", "longmember", 1, text(70))
    yield ["PFADD", "sparse"] + ["e%d" % n for n in range(50)]
    yield ["PFADD", "dense"] + ["e%d" % n for n in range(5000)]
    yield ("GEOADD", "geo", 13.36, 38.11, "Palermo", 15.08, 37.5, "Catania")
    for n in range(1, 300):
        yield ("XADD", "stream", "%d-%d" % (n // 3 + 1, n), "f", n, "g%d" % (n % 4), text(n % 50))
    yield ("XDEL", "stream", "5-14", "40-119")
    yield ("XADD", "trimmed", "MAXLEN", 2, "1-1", "a", 1)
    yield ("XADD", "trimmed", "MAXLEN", 2, "9-1", "a", 1)
    yield ("XADD", "trimmed", "MAXLEN", 1, "9-2", "a", 1)
    yield ("XGROUP", "CREATE", "stream", "g1", 0)
    yield ("XGROUP", "CREATE", "stream", "g2", "50-149", "ENTRIESREAD", 10)
    yield ("XGROUP", "CREATE", "void", "g", "$", "MKSTREAM")
    yield ("XREADGROUP", "GROUP", "g1", "alice", "COUNT", 20, "STREAMS", "stream", ">")
    yield ("XREADGROUP", "GROUP", "g1", "bob", "COUNT", 5, "STREAMS", "stream", ">")
    yield ("XACK", "stream", "g1", "1-1", "1-2")
    yield ("XCLAIM", "stream", "g1", "bob", 0, "2-3")
    yield ("XGROUP", "CREATECONSUMER", "stream", "g2", "idle")
    for n in range(1, 7):
        yield ("EXPIRE", "list1", 100000)
        yield ("PEXPIREAT", "text44", 4102444800123)
        yield ("SELECT", n)
        yield ("SET", "db", n)
        yield ("RPUSH", "list1", n)
        yield ("HSET", "h", "a", n)


@needs_redis
class CrossReadingTest(WireTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-cross-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def fill(self, server, seed):
        with server.connect() as client:
            client.call("FLUSHALL")
            for command in data_set(seed):
                client.call(*command)
            return client.call("DEBUG", "DIGEST")

    def snapshot(self, writer, reader, seed, **directives):
        first = self.server(writer, dir=self.folder, **directives)
        digest = self.fill(first, seed)
        self.assertEqual(first.call("SAVE"), "OK")
        first.kill()
        second = self.server(reader, dir=self.folder)
        self.assertEqual(second.call("DEBUG", "DIGEST"), digest)
        with second.connect() as client:
            self.assertGreater(client.call("PTTL", "text44"), 0)
            self.assertEqual(client.call("XINFO", "STREAM", "stream")[7], b"100-299")
        second.kill()

    def test_snapshots_of_redis(self):
        for seed, compression in enumerate(("yes", "no")):
            self.snapshot(REDIS, OURS, seed, rdbcompression=compression)

    def test_snapshots_for_redis(self):
        for seed, compression in enumerate(("yes", "no")):
            self.snapshot(OURS, REDIS, seed, rdbcompression=compression)
            if CHECK_RDB:
                done = subprocess.run(
                    [CHECK_RDB, os.path.join(self.folder, "dump.rdb")], stdout=subprocess.PIPE)
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertIn(b"RDB looks OK", done.stdout)

    @only_for_martlet
    def test_ours_passes_our_own_examination(self):
        server = self.server(OURS, dir=self.folder, appendonly="yes")
        self.fill(server, 3)
        server.call("SAVE")
        server.call("BGREWRITEAOF")
        self.wait_rewritten(server)
        server.terminate()
        files = [os.path.join(self.folder, "dump.rdb"), self.manifest()]
        self.assertEqual(
            subprocess.call([OURS, "--check"] + files, stdout=subprocess.DEVNULL), 0)

    def manifest(self):
        return os.path.join(self.folder, "appendonlydir", "appendonly.aof.manifest")

    def wait_rewritten(self, server):
        def done():
            info = server.info("persistence")
            return (info["aof_rewrite_in_progress"], info["aof_rewrite_scheduled"]) == ("0", "0")

        wait_until(done, "rewritten", 30)

    def log(self, writer, reader, preamble, timestamps):
        shutil.rmtree(os.path.join(self.folder, "appendonlydir"), True)
        options = {
            "appendonly": "yes", "aof-use-rdb-preamble": preamble,
            "aof-timestamp-enabled": timestamps,
        }
        first = self.server(writer, dir=self.folder, **options)
        digests = []
        for rewrites in (False, True):
            digest = self.fill(first, 5 if rewrites else 4)
            if rewrites:
                first.call("BGREWRITEAOF")
                self.wait_rewritten(first)
            digests.append(digest)
        first.call("SELECT", 0)
        first.call("DEL", "list500")
        first.call("SPOP", "set128")
        digest = first.call("DEBUG", "DIGEST")
        first.terminate()
        if CHECK_AOF:
            done = subprocess.run([CHECK_AOF, self.manifest()], stdout=subprocess.PIPE)
            self.assertEqual(done.returncode, 0, done.stdout)
        second = self.server(reader, dir=self.folder, **options)
        wait_until(lambda: second.call("PING") == "PONG", "loaded")
        self.assertEqual(second.call("DEBUG", "DIGEST"), digest)
        second.terminate()

    def test_logs_of_redis(self):
        self.log(REDIS, OURS, "yes", "no")
        self.log(REDIS, OURS, "no", "yes")

    def test_logs_for_redis(self):
        self.log(OURS, REDIS, "yes", "yes")
        self.log(OURS, REDIS, "no", "no")
