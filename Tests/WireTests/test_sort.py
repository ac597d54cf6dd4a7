"""SORT and SORT_RO against redis-server, by seeds."""

# cost: 12
from families import FamilySource, FamilyTest
from harness import needs_redis


class SortSource(FamilySource):
    def source_key(self):
        return self.pick(["list", "list2", "zset", "none", "string", "stored"])

    def element(self):
        if self.chance(0.7):
            return str(self.random.randrange(-5, 20))
        return self.pick(["1.5", "-2e3", "a", "b", "B", "", "10", "9", "x y", "inf"])

    def do_fill(self):
        if self.chance(0.3):
            return ["DEL", self.source_key()]
        elements = [self.element() for _ in range(self.random.randrange(1, 12))]
        if self.chance(0.6):
            numbers = [str(self.random.randrange(100)) for _ in elements]
            return ["RPUSH", self.pick(["list", "list2"])] + self.pick([numbers, elements])
        words = ["ZADD", "zset"]
        for element in elements:
            words += [str(self.random.randrange(10)), element]
        return words

    def do_weight(self):
        return ["SET", "w_" + self.element(), self.element()]

    def do_field(self):
        return ["HSET", "h_" + self.element(), "f", self.element(), "->", self.element()]

    def do_string(self):
        return ["SET", "string", "v"]

    def pattern(self):
        return self.pick(
            ["w_*", "w_*", "h_*->f", "h_*->", "h_*->->", "h_*->none"]
            + ["*", "#", "const", "w_**", "list"]
        )

    def do_sort(self):
        words = [self.pick(["SORT", "SORT", "SORT_RO"]), self.source_key()]
        if self.chance(0.4):
            words += ["BY", self.pattern()]
        if self.chance(0.4):
            words += ["LIMIT", self.pick(["0", "1", "-1", "3", "100", "x"]), self.limit()]
        for _ in range(self.pick([0, 0, 1, 2])):
            words += ["GET", self.pattern()]
        words += [self.pick(["ASC", "DESC", "desc", None]), self.pick(["ALPHA", None, "alpha"])]
        # What compares as equal by a pattern has no order; nothing of it must stay.
        by_text = "BY" in words and ("ALPHA" in words or "alpha" in words)
        if self.chance(0.3) and not by_text:
            words += ["STORE", self.pick(["stored", "list", "string"])]
        return words + (["BAD"] if self.chance(0.03) else [])

    do_sort2 = do_sort3 = do_sort4 = do_sort

    def limit(self):
        return self.pick(["0", "1", "2", "-1", "-5", "100", "9223372036854775807"])

    def do_look(self):
        return ["LRANGE", self.pick(["stored", "list"]), "0", "-1"]


@needs_redis
class SortTests(FamilyTest):
    source = SortSource

    def agree(self, command, ours, reference):
        words = [str(word).upper() for word in command if word is not None]
        if words[0].startswith("SORT") and "BY" in words and "ALPHA" in words:
            return sorted(ours.split(b"\r\n")) == sorted(reference.split(b"\r\n")) or (
                ours[:1] == reference[:1]
            )
        return ours == reference

    def test_random_commands(self):
        self.run_seeds(range(1, 21))
