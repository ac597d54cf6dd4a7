"""Hashes and sets: seeded random commands to our server and to redis-server, and values handed
from one to the other."""

# cost: 30
import os

from differential import Pair, show, start_pair
from harness import OURS, REDIS, WireTest, needs_redis
from random_fields import FieldSource

SEEDS = range(1, int(os.environ.get("FIELD_SEEDS", "8")) + 1)
COMMANDS_PER_SEED = 2500
BATCH = 25
UNORDERED = {"HKEYS", "HVALS", "SMEMBERS", "SINTER", "SUNION", "SDIFF", "SPOP", "SSCAN"}
PAIRS = {"HGETALL", "HSCAN"}


def parse(raw):
    """The elements of a flat reply, in order."""
    found = []
    at = raw.index(b"\r\n") + 2
    while at < len(raw):
        end = raw.index(b"\r\n", at)
        if raw[at : at + 1] == b"$" and raw[at + 1 : end] != b"-1":
            start, end = end + 2, end + 2 + int(raw[at + 1 : end])
            found.append(raw[start:end])
        else:
            found.append(raw[at:end])
        at = end + 2
    return found


def elements(raw):
    return sorted(parse(raw))


def pairs(raw):
    flat = parse(raw)
    return sorted(zip(flat[::2], flat[1::2]))


def agree(command, ours, reference):
    if ours == reference:
        return True
    name = str(command[0]).upper()
    if name == "OBJECT" and (ours, reference) == (b"$8\r\nlistpack\r\n", b"$9\r\nhashtable\r\n"):
        return True  # 7.2 keeps small sets in a listpack, 7.0 does not
    if name == "PTTL":
        return ours[:2] != b":-" and reference[:2] != b":-"
    if ours[:1] != reference[:1] or ours[:1] == b"-":
        return False
    if name in ("SSCAN", "HSCAN"):
        end = b"*2\r\n$1\r\n0\r\n"
        if not (ours.startswith(end) and reference.startswith(end)):
            return True  # a partial scan: where it stops is the table's own business
        ours, reference = ours[len(end) :], reference[len(end) :]
    if name in UNORDERED:
        return elements(ours) == elements(reference)
    if name in PAIRS:
        return pairs(ours) == pairs(reference)
    return False


@needs_redis
class FieldTests(WireTest):
    def setUp(self):
        options = {"enable-debug-command": "yes"}
        self.ours, self.reference = start_pair(self, OURS, REDIS, **options)

    def run_seed(self, seed, protocol):
        pair = Pair(self.ours, self.reference, protocol)
        self.addCleanup(pair.close)
        pair.both("FLUSHALL")
        source = FieldSource(seed)
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
                            ours[:1500],
                            reference[:1500],
                            "\n    ".join(map(show, history[-12:-1])),
                        )
                    )
            self.hand_over(pair)
        self.assertEqual(*pair.both("DEBUG", "DIGEST"))
        self.assertEqual(self.ours_reload(pair), b"+OK\r\n")
        self.assertEqual(*pair.both("DEBUG", "DIGEST"))

    def ours_reload(self, pair):
        pair.ours.send("DEBUG", "RELOAD")
        return pair.ours.read_raw()

    def hand_over(self, pair):
        """Values dumped by either server are the same values in the other."""
        for key in ("h1", "s1"):
            ours, reference = (side.call("DUMP", key) for side in (pair.ours, pair.reference))
            if reference is None:
                continue
            pair.ours.call("RESTORE", "copy", "0", reference, "REPLACE")
            pair.reference.call("RESTORE", "copy", "0", ours, "REPLACE")
            digests = pair.both("DEBUG", "DIGEST-VALUE", "copy", key)
            self.assertEqual(*digests)
            pair.both("DEL", "copy")

    def test_random_commands_resp2(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self.run_seed(seed, 2)

    def test_random_commands_resp3(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self.run_seed(1000 + seed, 3)
