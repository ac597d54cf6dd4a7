"""HyperLogLogs against redis-server, by seeds: replies, and the bytes of every string."""

# cost: 12
from families import FamilySource, FamilyTest
from harness import needs_redis


class SketchSource(FamilySource):
    def key(self):
        return self.pick(["h0", "h1", "h2", "h3", "h4"])

    def elements(self):
        count = self.pick([0, 1, 1, 3, 20, 200 if self.chance(0.3) else 5])
        return ["e%d" % self.random.randrange(4000) for _ in range(count)]

    def do_add(self):
        return ["PFADD", self.key()] + self.elements()

    def do_add_more(self):
        return ["PFADD", self.key()] + self.elements() + ["", b"\x00\xff" * 9]

    def do_count(self):
        return ["PFCOUNT"] + [self.key() for _ in range(self.pick([1, 1, 1, 2, 3]))]

    def do_merge(self):
        return ["PFMERGE"] + [self.key() for _ in range(self.pick([1, 2, 3]))]

    def do_debug(self):
        return ["PFDEBUG", self.pick(["ENCODING", "DECODE", "GETREG", "WHAT"]), self.key()]

    def do_dense(self):
        if self.chance(0.7):
            return ["STRLEN", self.key()]
        return ["PFDEBUG", "TODENSE", self.key()]

    def do_get(self):
        return ["GET", self.key()]

    def do_damage(self):
        key = self.key()
        return self.pick(
            [
                ["DEL", key],
                ["DEL", key],
                ["APPEND", key, "x"],
                ["SETRANGE", key, "16", self.pick([b"\x00", b"\x80", b"\xff", b"\x7f\xff"])],
                ["SETRANGE", key, "15", b"\x00"],
                ["SETRANGE", key, "0", "h"],
                ["SET", key, "12"],
            ]
        )

    def do_limit(self):
        if self.chance(0.8):
            return ["OBJECT", "ENCODING", self.key()]
        return ["CONFIG", "SET", "hll-sparse-max-bytes", self.pick(["50", "300", "3000", "9000"])]


@needs_redis
class SketchTests(FamilyTest):
    source = SketchSource

    def test_random_commands(self):
        self.run_seeds(range(1, 21))
