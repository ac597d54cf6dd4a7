"""200,000 random commands over all families, pipelined, to our server and to redis-server: every
reply compared, and the digests of both data sets in the end.

MARTLET_SEEDS gives other seeds (`40-60`), for hunts that take longer than a check may."""

# cost: 80
import os

from differential import Pair, show, start_pair
from harness import OURS, REDIS, WireTest, needs_redis
from random_families import AnySource

SEEDS = os.environ.get("MARTLET_SEEDS", "1-20")
COMMANDS_PER_SEED = 10_000
BATCH = 200
# Small collections change their form early, so that both forms are met often.
LIMITS = ["zset-max-listpack-entries", 10, "zset-max-listpack-value", 18]


@needs_redis
class AllFamiliesTests(WireTest):
    def setUp(self):
        options = {"enable-debug-command": "yes", "stream-node-max-entries": 7}
        self.ours, self.reference = start_pair(self, OURS, REDIS, **options)

    def prepare(self, pair):
        """What the sources of some families count on."""
        for words in (
            ["FLUSHALL"],
            ["SELECT", "0"],
            ["CONFIG", "SET", *LIMITS],
            ["SET", "text", "x"],
            ["SADD", "numbers", "1", "2", "12", "-7"],
            ["SADD", "set", "m1", "m2", "m3", "m4", "12", "p1", "01"],
            ["SADD", "large", *["m%d" % number for number in range(0, 1200, 2)]],
        ):
            ours, reference = pair.both(*words)
            self.assertEqual(ours, reference)

    def run_seed(self, seed, protocol):
        pair = Pair(self.ours, self.reference, protocol)
        self.addCleanup(pair.close)
        self.prepare(pair)
        source = AnySource(seed)
        history = []
        while len(history) < COMMANDS_PER_SEED:
            steps = []
            while len(steps) < BATCH:
                steps += source.steps()
            replies = pair.batch([command for command, _ in steps])
            for (command, agree), (ours, reference) in zip(steps, replies):
                history.append(command)
                if not agree(command, ours, reference):
                    self.report(seed, protocol, history, ours, reference)
        self.compare_data(pair, seed)
        return len(history)

    def report(self, seed, protocol, history, ours, reference):
        command = history[-1]
        words = {str(word) for word in command[1:]}
        related = [past for past in history[-3000:-1] if words & set(map(str, past[1:]))]
        self.fail(
            "seed %d, RESP%d, command %d: %s\n  ours:      %r\n  reference: %r\n"
            "  related before it:\n    %s"
            % (
                seed,
                protocol,
                len(history),
                show(command),
                ours[:900],
                reference[:900],
                "\n    ".join(map(show, related[-20:])),
            )
        )

    def compare_data(self, pair, seed):
        ours, reference = pair.both("DEBUG", "DIGEST")
        if ours == reference:
            return
        differing = []
        for database in range(16):
            pair.both("SELECT", database)
            keys = set(pair.ours.call("KEYS", "*")) | set(pair.reference.call("KEYS", "*"))
            for key in sorted(keys):
                values = pair.both("DEBUG", "DIGEST-VALUE", key)
                if values[0] != values[1]:
                    kinds = pair.both("TYPE", key)
                    differing.append((database, key, *kinds))
        self.fail("seed %d: the data differ: %r" % (seed, differing[:20]))

    def test_replies_and_data(self):
        first, last = (int(part) for part in (SEEDS + "-" + SEEDS).split("-")[:2])
        total = 0
        for seed in range(first, last + 1):
            with self.subTest(seed=seed):
                total += self.run_seed(seed, 2 + seed % 2)
        self.assertGreaterEqual(total, COMMANDS_PER_SEED * (last - first + 1))
