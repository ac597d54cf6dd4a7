"""The list group against redis-server, by seeds; payloads of either in the other."""

# cost: 25
import random

from families import FamilySource, FamilyTest
from harness import OURS, REDIS, WireTest, needs_redis
from differential import start_pair


class ListSource(FamilySource):
    def key(self):
        return self.pick(["l0", "l1", "l2", "l3", "{t}a", "string" if self.chance(0.05) else "l4"])

    def element(self):
        kind = self.random.randrange(10)
        if kind < 4:
            return self.pick("abcdefg")
        if kind == 4:
            return self.pick(["0", "-1", "127", "128", "-4097", "70000", "9223372036854775807"])
        if kind == 5:
            return self.pick(["", "01", "+1", "-0", "1.5", "99999999999999999999"])
        if kind == 6:
            return "x" * self.pick([62, 63, 64, 126, 127, 128, 500, 4095, 4096])
        if kind == 7 and self.chance(0.2):
            return "y" * self.pick([8000, 9000, 20000])
        return bytes(self.random.randrange(256) for _ in range(self.random.randrange(12)))

    def elements(self):
        most = self.pick([1, 2, 5, 40])
        return [self.element() for _ in range(self.random.randrange(1, most + 1))]

    def index(self):
        if self.chance(0.07):
            return self.pick(
                ["x", "", "9223372036854775807", "-9223372036854775808", "1.5"]
            )
        return str(self.random.randrange(-60, 60) if self.chance(0.5) else self.pick([0, 1, -1, 2]))

    def count(self):
        return self.pick(["0", "1", "2", "5", "30", "1000", "-1", "x", "9223372036854775807"])

    def end(self):
        return self.pick(["LEFT", "RIGHT", "left", "Right", "LEFT", "RIGHT", "MIDDLE"])

    def do_push(self):
        return [self.pick(["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]), self.key()] + self.elements()

    do_push2 = do_push
    do_push3 = do_push

    def do_string(self):
        return ["SET", "string", "value"]

    def do_pop(self):
        return [self.pick(["LPOP", "RPOP"]), self.key(), self.count() if self.chance(0.4) else None]

    def do_llen(self):
        return ["LLEN", self.key()]

    def do_lindex(self):
        return ["LINDEX", self.key(), self.index()]

    def do_lset(self):
        return ["LSET", self.key(), self.index(), self.element()]

    def do_linsert(self):
        where = self.pick(["BEFORE", "AFTER", "before", "BESIDE"])
        return ["LINSERT", self.key(), where, self.element(), self.element()]

    def do_lrange(self):
        if self.chance(0.5):
            return ["LRANGE", self.key(), "0", "-1"]
        return ["LRANGE", self.key(), self.index(), self.index()]

    def do_ltrim(self):
        if self.chance(0.6):
            return ["LTRIM", self.key(), self.pick(["0", "1", "2"]), self.pick(["-1", "-2", "-3"])]
        return ["LTRIM", self.key(), self.index(), self.index()]

    def do_lrem(self):
        count = self.pick(["0", "1", "-1", "2", "-2", "x", "-9223372036854775807"])
        return ["LREM", self.key(), count, self.element()]

    def do_lpos(self):
        words = ["LPOS", self.key(), self.element()]
        for option in ("RANK", "COUNT", "MAXLEN"):
            if self.chance(0.4):
                words += [option, self.pick(["0", "1", "2", "-1", "-3", "10", "x"])]
        return words + (["BAD"] if self.chance(0.05) else [])

    def do_move(self):
        if self.chance(0.3):
            return ["RPOPLPUSH", self.key(), self.key()]
        return ["LMOVE", self.key(), self.key(), self.end(), self.end()]

    def timeout(self):
        return self.pick(["0.01", "0.001", "0.01", "-1", "x", "nan"])

    def do_blocking(self):
        if self.chance(0.5):
            name = self.pick(["BLPOP", "BRPOP"])
            keys = [self.key() for _ in range(self.random.randrange(1, 4))]
            return [name] + keys + [self.timeout()]
        if self.chance(0.5):
            return ["BRPOPLPUSH", self.key(), self.key(), self.timeout()]
        return ["BLMOVE", self.key(), self.key(), self.end(), self.end(), self.timeout()]

    def do_lmpop(self):
        keys = [self.key() for _ in range(self.random.randrange(1, 4))]
        words = [self.pick([str(len(keys)), str(len(keys)), "0", "x", "9"])] + keys + [self.end()]
        if self.chance(0.5):
            words += ["COUNT", self.count()]
        if self.chance(0.5):
            return ["LMPOP"] + words
        return ["BLMPOP", self.timeout()] + words

    def do_other(self):
        return self.pick(
            [
                ["TYPE", self.key()],
                ["EXISTS", self.key()],
                ["DEL", self.key()],
                ["RENAME", self.key(), self.key()],
                ["COPY", self.key(), self.key(), "REPLACE"],
                ["DEBUG", "DIGEST-VALUE", self.key()],
                ["SORT_MISSING" if self.chance(0.01) else "TTL", self.key()],
            ]
        )


class _ListTests(FamilyTest):
    source = ListSource
    commands_per_seed = 1200

    def agree(self, command, ours, reference):
        if command[0] == "LPOS" and b"must be between" in reference:
            return ours[:1] == reference[:1]
        return ours == reference


@needs_redis
class SmallChunkTests(_ListTests):
    """Chunks of three elements: splits, merges and neighbours all the time."""

    directives = {"list-max-listpack-size": "3"}

    def test_random_commands(self):
        self.run_seeds(range(1, 11))


@needs_redis
class SizedChunkTests(_ListTests):
    """Chunks of 4 KB, which long elements exceed."""

    directives = {"list-max-listpack-size": "-1", "list-compress-depth": "1"}

    def test_random_commands(self):
        self.run_seeds(range(11, 21))


@needs_redis
class ListPayloadTests(WireTest):
    """DUMP of either server restored in the other, also with large lists."""

    def test_payloads_cross(self):
        ours, reference = start_pair(self, OURS, REDIS)
        source = ListSource(7)
        rng = random.Random(7)
        with ours.connect() as a, reference.connect() as b:
            for number in range(60):
                key = "list:%d" % number
                elements = [source.element() for _ in range(rng.choice([1, 3, 100, 2000]))]
                for at in range(0, len(elements), 100):
                    a.call("RPUSH", key, *elements[at : at + 100])
                    b.call("RPUSH", key, *elements[at : at + 100])
                self.assertEqual(b.call("RESTORE", "from:" + key, 0, a.call("DUMP", key)), "OK")
                self.assertEqual(a.call("RESTORE", "from:" + key, 0, b.call("DUMP", key)), "OK")
                for connection in (a, b):
                    self.assertEqual(
                        connection.call("LRANGE", "from:" + key, 0, -1),
                        connection.call("LRANGE", key, 0, -1),
                    )
            self.assertEqual(a.call("DEBUG", "DIGEST"), b.call("DEBUG", "DIGEST"))
            a.call("DEBUG", "RELOAD")
            self.assertEqual(a.call("DEBUG", "DIGEST"), b.call("DEBUG", "DIGEST"))
