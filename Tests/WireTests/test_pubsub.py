"""Pub/sub against redis-server, with redis-py, and across the bus of a cluster."""

# cost: 20
import random

from harness import OURS, REDIS, WireTest, key_slot, needs_redis, only_for_martlet, wait_until

try:
    import redis
except ImportError:
    redis = None

SEEDS = range(1, 13)
STEPS = 250
NAMES = ["a", "b", "ab", "news.tech", "news", "", "\u00e4", "{x}1", "{x}2"]
PATTERNS = ["*", "a*", "news.*", "[ab]", "?", "x\\*", ""]
EVENTS = ["", "KEA", "K$g", "Elx$", "KEAmn", "Enm"]


class Client:
    """A connection to each server; what arrives is read up to a PING of our own."""

    def __init__(self, servers, protocol):
        self.protocol = protocol
        self.connections = [server.connect(protocol=protocol) for server in servers]
        self.fences = 0

    def close(self):
        for connection in self.connections:
            connection.close()

    def send(self, *args):
        for connection in self.connections:
            connection.send(*args)

    def arrived(self):
        self.fences += 1
        word = "fence:%d" % self.fences
        self.send("PING", word)
        return [self._until(connection, word.encode()) for connection in self.connections]

    @staticmethod
    def _until(connection, word):
        out = []
        while True:
            value = connection.read()
            if value == word or value == [b"pong", word]:
                return out
            out.append(connection.taken and b"".join(connection.taken))


@needs_redis
class DifferentialTests(WireTest):
    def command(self, dice):
        name = lambda: dice.choice(NAMES)  # noqa: E731
        pattern = lambda: dice.choice(PATTERNS)  # noqa: E731
        names = lambda pick: [pick() for _ in range(dice.randint(1, 3))]  # noqa: E731
        return dice.choice(
            [
                lambda: ["SUBSCRIBE"] + names(name),
                lambda: ["PSUBSCRIBE"] + names(pattern),
                lambda: ["SSUBSCRIBE"] + names(name),
                lambda: ["UNSUBSCRIBE"] + names(name),
                lambda: ["PUNSUBSCRIBE"] + names(pattern),
                lambda: ["SUNSUBSCRIBE"] + names(name),
                lambda: [dice.choice(["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"])],
                lambda: ["PUBLISH", name(), "m%d" % dice.randint(0, 99)],
                lambda: ["PUBLISH", name(), "m%d" % dice.randint(0, 99)],
                lambda: ["SPUBLISH", name(), "m%d" % dice.randint(0, 99)],
                lambda: ["SET", name(), "v"],
                lambda: ["DEL", name()],
                lambda: ["GET", name()],
                lambda: ["EXPIRE", name(), "-1"],
                lambda: ["RENAME", name(), name()],
                lambda: ["INCR", name()],
                lambda: ["COPY", name(), name()],
                lambda: ["CONFIG", "SET", "notify-keyspace-events", dice.choice(EVENTS)],
                lambda: ["CONFIG", "GET", "notify-keyspace-events"],
                lambda: ["PUBSUB", "NUMSUB"] + names(name),
                lambda: ["PUBSUB", "SHARDNUMSUB"] + names(name),
                lambda: ["PUBSUB", "NUMPAT"],
                lambda: ["PUBSUB", "CHANNELS", pattern()],
                lambda: ["PUBSUB", "SHARDCHANNELS"],
                lambda: ["RESET"],
                lambda: ["SUBSCRIBE"],
                lambda: ["PUBSUB", "CHANNELS", "a", "b"],
            ]
        )()

    def same(self, ours, reference):
        if ours == reference:
            return True
        # The order of channels in a table, or of patterns that match, is nobody's promise; a
        # client's own message follows the reply here and in 7.2, but not in 7.0.
        words = [sorted(b"".join(each).split(b"\r\n")) for each in (ours, reference)]
        return words[0] == words[1]

    def test_random_sessions(self):
        servers = [self.server(OURS), self.redis()]
        for seed in SEEDS:
            dice = random.Random(seed)
            clients = [Client(servers, protocol) for protocol in (2, 3, 2, 3)]
            clients[0].send("FLUSHALL")
            clients[0].send("CONFIG", "SET", "notify-keyspace-events", "")
            clients[0].arrived()
            history = []
            for _ in range(STEPS):
                client = dice.choice(clients)
                command = self.command(dice)
                history.append((clients.index(client), command))
                client.send(*command)
                # First whoever sent it: then the messages to the others are on their way.
                order = [client] + [each for each in clients if each is not client]
                for each in order:
                    ours, reference = each.arrived()
                    if not self.same(ours, reference):
                        self.fail(
                            "seed %d, client %d: %r\n  ours:      %r\n  reference: %r\n  %s"
                            % (
                                seed,
                                clients.index(each),
                                command,
                                ours,
                                reference,
                                "\n  ".join(map(repr, history[-10:])),
                            )
                        )
            for client in clients:
                client.close()


class LifeTests(WireTest):
    def test_a_subscriber_that_does_not_read_is_closed(self):
        server = self.server(client_output_buffer_limit="pubsub 100kb 0 0")
        with server.connect() as slow, server.connect() as fast:
            slow.call("SUBSCRIBE", "flood")
            self.assertIn("sub=1 psub=0 ssub=0", fast.text("CLIENT", "LIST"))

            def closed():
                fast.call("PUBLISH", "flood", "x" * 50000)
                return fast.info("stats")["pubsub_channels"] == "0"

            wait_until(closed, "the subscriber is closed")

    def test_replicas_hear_messages(self):
        primary = self.server()
        replica = self.server(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(
            lambda: replica.info("replication")["master_link_status"] == "up", "the link is up"
        )
        with replica.connect() as reader:
            reader.call("SUBSCRIBE", "c")
            primary.call("PUBLISH", "c", "hello")
            self.assertEqual(reader.read(), [b"message", b"c", b"hello"])

    def test_redis_py(self):
        if redis is None:
            self.skipTest("redis-py is not installed")
        server = self.server()
        for protocol in (2, 3):
            client = redis.Redis(port=server.port, protocol=protocol)
            with client.pubsub() as listener:
                listener.subscribe("one")
                listener.psubscribe("t*")
                kinds = [listener.get_message(timeout=5)["type"] for _ in range(2)]
                self.assertEqual(kinds, ["subscribe", "psubscribe"])
                client.publish("one", "1")
                client.publish("two", "2")
                texts = [listener.get_message(timeout=5)["data"] for _ in range(2)]
                self.assertEqual(texts, [b"1", b"2"])
            client.close()


class ClusterTests(WireTest):
    def test_messages_cross_the_bus(self):
        cluster = self.cluster(nodes=3, replicas=0)
        cluster.settle()
        readers = [server.connect() for server in cluster.servers]
        for reader in readers:
            self.addCleanup(reader.close)
            reader.call("SUBSCRIBE", "everywhere")
        with cluster.servers[1].connect() as writer:
            self.assertEqual(writer.call("PUBLISH", "everywhere", "x" * 3000), 1)
        for reader in readers:
            self.assertEqual(reader.read()[2], b"x" * 3000)

    def test_shard_channels_stay_with_their_slot(self):
        cluster = self.cluster(nodes=4, replicas=1)
        cluster.settle()
        slot = key_slot("ch")
        owner = cluster.server(cluster.primary_of(slot))
        others = (each for each in cluster.servers if each is not owner)
        other = next(each for each in others if each.call("ROLE")[0] == b"master")
        replica = cluster.server(cluster.replicas_of(owner.port)[0])
        with owner.connect() as at_owner, replica.connect() as at_replica:
            self.assertEqual(at_owner.call("SSUBSCRIBE", "ch"), [b"ssubscribe", b"ch", 1])
            self.assertEqual(at_replica.call("SSUBSCRIBE", "ch"), [b"ssubscribe", b"ch", 1])
            with other.connect() as stranger:
                reply = stranger.ask("SSUBSCRIBE", "ch")
                self.assert_error(reply, "MOVED %d 127.0.0.1:%d" % (slot, owner.port))
                crossed = stranger.ask("SSUBSCRIBE", "ch", "another")
                self.assertEqual(crossed.code, "CROSSSLOT")
            self.assertEqual(owner.call("SPUBLISH", "ch", "m"), 1)
            for reader in (at_owner, at_replica):
                self.assertEqual(reader.read(), [b"smessage", b"ch", b"m"])
            new = other.call("CLUSTER", "MYID")
            for server in (other, owner):
                server.call("CLUSTER", "SETSLOT", slot, "NODE", new)
            for reader in (at_owner, at_replica):
                self.assertEqual(reader.read(), [b"sunsubscribe", b"ch", 0])

    @needs_redis
    @only_for_martlet
    def test_messages_cross_between_our_nodes_and_redis(self):
        cluster = self.cluster(nodes=3, replicas=0, binaries=[OURS, REDIS, OURS])
        cluster.settle()
        readers = [server.connect() for server in cluster.servers]
        for reader in readers:
            self.addCleanup(reader.close)
            reader.call("SUBSCRIBE", "c")
        for index, server in enumerate(cluster.servers):
            server.call("PUBLISH", "c", str(index))
            for reader in readers:
                self.assertEqual(reader.read()[2], str(index).encode())
