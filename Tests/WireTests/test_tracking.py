"""Client-side caching, compared with redis-server: the same invalidations to the same clients."""

# cost: 10
import random

from harness import OURS, REDIS, WireTest, needs_redis, wait_until
from test_pubsub import Client

KEYS = ["a", "b", "ab", "abc", "k:1", "k:2", "x"]
SEEDS = range(1, 11)
STEPS = 250


@needs_redis
class DifferentialTests(WireTest):
    def command(self, dice):
        key = lambda: dice.choice(KEYS)  # noqa: E731
        flags = ["BCAST", "OPTIN", "OPTOUT", "NOLOOP"]
        some = lambda: [flag for flag in flags if dice.random() < 0.25]  # noqa: E731
        prefix = lambda: ["PREFIX", dice.choice(KEYS)]  # noqa: E731
        return dice.choice(
            [
                lambda: ["CLIENT", "TRACKING", "ON"] + some(),
                lambda: ["CLIENT", "TRACKING", "ON", "BCAST"] + prefix() + some()[:1],
                lambda: ["CLIENT", "TRACKING", "ON"] + prefix(),
                lambda: ["CLIENT", "TRACKING", "OFF"],
                lambda: ["CLIENT", "TRACKING", "ON", "NONSENSE"],
                lambda: ["CLIENT", "TRACKINGINFO"],
                lambda: ["CLIENT", "GETREDIR"],
                lambda: ["CLIENT", "CACHING", dice.choice(["YES", "NO", "MAYBE"])],
                lambda: ["GET", key()],
                lambda: ["GET", key()],
                lambda: ["MGET", key(), key()],
                lambda: ["EXISTS", key()],
                lambda: ["STRLEN", key()],
                lambda: ["SET", key(), str(dice.random())],
                lambda: ["SET", key(), str(dice.random())],
                lambda: ["APPEND", key(), "x"],
                lambda: ["DEL", key()],
                lambda: ["MSET", key(), "1", key(), "2"],
                lambda: ["GETSET", key(), "v"],
                lambda: ["GETEX", key(), "EX", "100"],
                lambda: ["EXPIRE", key(), dice.choice(["100", "-1"])],
                lambda: ["RENAME", key(), key()],
                lambda: ["COPY", key(), key(), "REPLACE"],
                lambda: ["FLUSHDB"],
                lambda: ["RPUSH", "list", "a"],
                lambda: ["LRANGE", "list", "0", "-1"],
                lambda: ["RESET"],
                lambda: ["HELLO", dice.choice(["2", "3"])],
                lambda: ["SETRANGE", key(), "1", "abc"],
                lambda: ["PERSIST", key()],
                lambda: ["TOUCH", key()],
            ]
        )()

    def test_random_sessions(self):
        servers = [self.server(OURS), self.redis()]
        for seed in SEEDS:
            dice = random.Random(seed)
            clients = [Client(servers, protocol) for protocol in (3, 3, 3, 2)]
            clients[0].send("FLUSHALL")
            clients[0].arrived()
            history = []
            for _ in range(STEPS):
                client = dice.choice(clients)
                command = self.command(dice)
                history.append((clients.index(client), command))
                client.send(*command)
                # Twice: broadcasts come at the end of an iteration.
                client.arrived_before = client.arrived()
                for each in clients:
                    ours, reference = each.arrived()
                    if each is client:
                        ours = client.arrived_before[0] + ours
                        reference = client.arrived_before[1] + reference
                    if command[0] == "HELLO" and each is client:
                        ours, reference = ours[1:], reference[1:]  # it tells the client's ID
                    if sorted(ours) != sorted(reference):
                        self.fail(
                            "seed %d, client %d: %r\n  ours:      %r\n  reference: %r\n  %s"
                            % (
                                seed,
                                clients.index(each),
                                command,
                                ours,
                                reference,
                                "\n  ".join(map(repr, history[-15:])),
                            )
                        )
            for client in clients:
                client.close()


class LifeTests(WireTest):
    def test_redirection_to_a_subscriber(self):
        server = self.server()
        with server.connect() as reader, server.connect() as receiver, server.connect() as writer:
            number = receiver.call("CLIENT", "ID")
            receiver.call("SUBSCRIBE", "__redis__:invalidate")
            reader.call("CLIENT", "TRACKING", "ON", "REDIRECT", number)
            reader.call("GET", "key")
            writer.call("SET", "key", "value")
            self.assertEqual(receiver.read(), [b"message", b"__redis__:invalidate", [b"key"]])
            self.assertEqual(writer.info("clients")["tracking_clients"], "1")
            reader.close()
            wait_until(
                lambda: writer.info("clients")["tracking_clients"] == "0", "the client is gone"
            )

    def test_keys_of_an_overfull_table_are_invalidated(self):
        server = self.server(tracking_table_max_keys=10)
        with server.connect(protocol=3) as reader, server.connect() as writer:
            reader.call("CLIENT", "TRACKING", "ON")
            reader.pipeline([("CLIENT", "ID")])
            for index in range(200):
                reader.send("GET", "key:%d" % index)
            wait_until(
                lambda: writer.info("stats")["tracking_total_keys"] == "10", "the limit is kept"
            )
