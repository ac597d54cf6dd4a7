"""The same seeded random commands to our server and to redis-server, raw replies compared."""

# cost: 40
from differential import Pair, agree, keyspace, show, start_pair
from harness import OURS, REDIS, WireTest, needs_redis
from random_commands import CommandSource

SEEDS = range(1, 31)
COMMANDS_PER_SEED = 2500
BATCH = 25


@needs_redis
class DifferentialTests(WireTest):
    """Also sound with redis-server on both sides: then it checks the comparison."""

    def setUp(self):
        self.ours, self.reference = start_pair(self, OURS, REDIS)

    def run_seed(self, seed, protocol):
        pair = Pair(self.ours, self.reference, protocol)
        self.addCleanup(pair.close)
        pair.both("FLUSHALL")
        pair.both("SELECT", "0")
        source = CommandSource(seed)
        history = []
        for _ in range(COMMANDS_PER_SEED // BATCH):
            commands = [source.command() for _ in range(BATCH)]
            for command, (ours, reference) in zip(commands, pair.batch(commands)):
                history.append(command)
                if not agree(command, ours, reference):
                    self.fail(
                        "seed %d, RESP%d, command %d: %s\n  ours:      %r\n  reference: %r\n"
                        "  before it:\n    %s"
                        % (
                            seed,
                            protocol,
                            len(history),
                            show(command),
                            ours[:300],
                            reference[:300],
                            "\n    ".join(map(show, history[-12:-1])),
                        )
                    )
        ours, reference = keyspace_resp2(self.ours), keyspace_resp2(self.reference)
        self.assertEqual(ours, reference, "seed %d: the keyspaces differ" % seed)

    def test_random_commands_resp2(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self.run_seed(seed, 2)

    def test_random_commands_resp3(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self.run_seed(1000 + seed, 3)


def keyspace_resp2(server):
    with server.connect() as connection:
        return keyspace(connection)
