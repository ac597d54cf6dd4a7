"""Ready-made clients against a node and a cluster: redis-cli and redis-py, RESP2 and RESP3."""

# cost: 15
import subprocess
import unittest

from harness import REDIS_CLI, WireTest, needs_cli

try:
    import redis
    from redis.cluster import RedisCluster
except ImportError:
    redis = None

PROTOCOLS = (2, 3)


def supports_protocol_option():
    return redis is not None and tuple(map(int, redis.__version__.split(".")[:1])) >= (5,)


def options(protocol):
    return {"protocol": protocol} if supports_protocol_option() else {}


def redis_cli(port, *args, stdin=None, cluster=False):
    command = [REDIS_CLI] + (["-c"] if cluster else []) + ["-p", str(port)] + list(args)
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30)
    return done.stdout


@needs_cli
class RedisCliTests(WireTest):
    def test_commands_from_arguments_and_standard_input(self):
        port = self.server().port
        self.assertEqual(redis_cli(port, "SET", "greeting", "hello"), "OK\n")
        self.assertEqual(redis_cli(port, "GET", "greeting"), "hello\n")
        self.assertEqual(redis_cli(port, stdin="INCR n\nINCR n\nGET n\n"), "1\n2\n2\n")

    def test_resp3(self):
        port = self.server().port
        self.assertIn("# Server", redis_cli(port, "-3", "INFO", "server"))

    def test_scan_and_big_keys(self):
        server = self.server()
        with server.connect() as connection:
            connection.pipeline([("SET", "key:%d" % i, "v" * i) for i in range(200)])
        keys = redis_cli(server.port, "--scan", "--pattern", "key:1*").split()
        self.assertEqual(len(keys), 1 + 10 + 100)
        self.assertIn("Biggest string found", redis_cli(server.port, "--bigkeys"))
        self.assertIn("Sampled 200 keys", redis_cli(server.port, "--memkeys"))

    def test_pipe_mode_loads_many_commands(self):
        port = self.server().port
        text = "".join("SET pipe:%d %d\r\n" % (i, i) for i in range(5000))
        self.assertIn("errors: 0, replies: 5000", redis_cli(port, "--pipe", stdin=text))
        self.assertEqual(redis_cli(port, "DBSIZE"), "5000\n")

    def test_follows_redirects(self):
        cluster = self.cluster(nodes=3, replicas=0)
        for server in cluster.servers:
            self.assertEqual(
                redis_cli(server.port, "SET", "k:%d" % server.port, "v", cluster=True), "OK\n"
            )
        for server in cluster.servers:
            for other in cluster.servers:
                self.assertEqual(
                    redis_cli(other.port, "GET", "k:%d" % server.port, cluster=True), "v\n"
                )


@unittest.skipIf(redis is None, "redis-py is not installed")
class RedisPyTests(WireTest):
    def each_protocol(self):
        server = self.server()
        for protocol in PROTOCOLS if supports_protocol_option() else (2,):
            client = redis.Redis(port=server.port, decode_responses=True, **options(protocol))
            client.flushall()
            yield client
            client.close()

    def test_strings(self):
        for client in self.each_protocol():
            self.assertTrue(client.set("a", "1", ex=100, nx=True))
            self.assertIsNone(client.set("a", "2", nx=True))
            self.assertEqual(client.set("a", "5", xx=True, get=True, keepttl=True), "1")
            self.assertGreater(client.ttl("a"), 90)
            self.assertEqual(client.incrby("a", 5), 10)
            self.assertAlmostEqual(client.incrbyfloat("a", 0.5), 10.5)
            self.assertEqual(client.append("s", "hello"), 5)
            self.assertEqual(client.setrange("s", 1, "ipp"), 5)
            self.assertEqual(client.getrange("s", 0, 3), "hipp")
            self.assertEqual(client.mset({"x": "1", "y": "2"}), True)
            self.assertEqual(client.mget("x", "nothing", "y"), ["1", None, "2"])
            self.assertEqual(client.getex("x", px=50_000), "1")
            self.assertGreater(client.pttl("x"), 1000)
            self.assertEqual(client.getdel("x"), "1")
            self.assertIsNone(client.get("x"))

    def test_keys(self):
        for client in self.each_protocol():
            client.mset({"key:%d" % i: str(i) for i in range(100)})
            self.assertEqual(len(list(client.scan_iter(match="key:*", count=7))), 100)
            self.assertEqual(len(client.keys("key:?")), 10)
            self.assertEqual(client.type("key:1"), "string")
            self.assertTrue(client.rename("key:1", "renamed"))
            self.assertTrue(client.copy("renamed", "copied"))
            self.assertEqual(client.exists("renamed", "copied", "key:1"), 2)
            self.assertEqual(client.unlink("renamed", "copied"), 2)
            self.assertEqual(client.dbsize(), 99)
            self.assertEqual(client.object("encoding", "key:2"), "int")
            payload = redis.Redis(port=client.connection_pool.connection_kwargs["port"]).dump(
                "key:2"
            )
            self.assertTrue(client.restore("restored", 0, payload))
            self.assertEqual(client.get("restored"), "2")

    def test_pipelines_and_errors(self):
        for client in self.each_protocol():
            pipeline = client.pipeline(transaction=False)
            for number in range(1000):
                pipeline.set("p:%d" % number, number)
            self.assertEqual(pipeline.execute(), [True] * 1000)
            client.set("text", "abc")
            with self.assertRaisesRegex(redis.ResponseError, "value is not an integer"):
                client.incr("text")
            with self.assertRaisesRegex(redis.ResponseError, "unknown command"):
                client.execute_command("NOSUCH")

    def test_server_and_client_commands(self):
        for client in self.each_protocol():
            self.assertTrue(client.client_setname("tester"))
            self.assertEqual(client.client_getname(), "tester")
            self.assertIn(client.client_id(), [int(row["id"]) for row in client.client_list()])
            self.assertEqual(client.config_set("maxmemory-policy", "allkeys-lru"), True)
            self.assertEqual(
                client.config_get("maxmemory-policy"), {"maxmemory-policy": "allkeys-lru"}
            )
            self.assertEqual(client.info("server")["redis_mode"], "standalone")
            self.assertGreater(client.command_count(), 50)
            self.assertEqual(len(client.time()), 2)


@unittest.skipIf(redis is None, "redis-py is not installed")
class RedisPyClusterTests(WireTest):
    def test_cluster_client(self):
        cluster = self.cluster(nodes=6, replicas=1)
        for protocol in PROTOCOLS if supports_protocol_option() else (2,):
            with self.subTest(protocol=protocol):
                client = RedisCluster(
                    host="127.0.0.1",
                    port=cluster.ports[-1],
                    decode_responses=True,
                    **options(protocol),
                )
                for number in range(300):
                    self.assertTrue(client.set("key:%d" % number, number))
                for number in range(300):
                    self.assertEqual(client.get("key:%d" % number), str(number))
                self.assertTrue(client.mset_nonatomic({"a": "1", "b": "2", "c": "3"}))
                self.assertEqual(client.mget_nonatomic("a", "b", "c"), ["1", "2", "3"])
                self.assertEqual(client.mget("{t}a", "{t}b"), [None, None])
                self.assertEqual(
                    (
                        sum(client.dbsize(target_nodes="primaries").values())
                        if isinstance(client.dbsize(target_nodes="primaries"), dict)
                        else client.dbsize(target_nodes="primaries")
                    ),
                    303,
                )
                self.assertTrue(client.flushall(target_nodes="primaries"))
                client.close()

    def test_reads_from_replicas(self):
        cluster = self.cluster(nodes=6, replicas=1)
        client = RedisCluster(
            host="127.0.0.1",
            port=cluster.ports[0],
            read_from_replicas=True,
            decode_responses=True,
        )
        for number in range(100):
            client.set("key:%d" % number, number)
        client.wait(1, 2000, target_nodes="primaries")
        for _ in range(3):
            for number in range(100):
                self.assertEqual(client.get("key:%d" % number), str(number))
        client.close()
