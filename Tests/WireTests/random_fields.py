"""Random commands of the hash and set groups, from a seed: mostly sensible, some wrong."""

from random_commands import FLOATS, INTEGERS, CommandSource

LARGE = ["x" * length for length in (63, 64, 65, 300, 1200)]
COUNTS = ["0", "1", "2", "5", "600", "x", "-1", "-9223372036854775808", ""]


class FieldSource(CommandSource):
    """Only what is declared here, and a few commands on whole keys."""

    def __init__(self, seed, families=("hash", "set", "key")):
        super().__init__(seed)
        prefixes = tuple(family + "_" for family in families)
        names = [name for name in sorted(dir(self)) if name.startswith(prefixes)]
        self.makers = [getattr(self, name) for name in names]

    def spoil(self, command):
        """What is left to chance must not be asked by mistake."""
        chancy = command[0] in ("SPOP", "SRANDMEMBER", "HRANDFIELD")
        return command if chancy else super().spoil(command)

    def key(self):
        return self.random.choice(["h1", "h2", "h3", "s1", "s2", "s3", "str", "none"])

    def a_hash(self):
        return self.random.choice(["h1", "h2", "h3", "h1", "h2", "h3", "s1", "str", "none"])

    def a_set(self):
        return self.random.choice(["s1", "s2", "s3", "s1", "s2", "s3", "h1", "str", "none"])

    def field(self):
        kind = self.random.randrange(12)
        if kind == 0:
            return self.pick(INTEGERS)
        if kind == 1:
            return self.pick(LARGE)
        if kind < 4:
            return str(self.random.randrange(-40, 40))
        return "f%d" % self.random.randrange(30)

    def value(self):
        kind = self.random.randrange(8)
        if kind == 0:
            return self.pick(INTEGERS)
        if kind == 1:
            return self.pick(FLOATS)
        if kind == 2:
            return self.pick(LARGE)
        return "value-%d" % self.random.randrange(100)

    def fields(self, most=5):
        return [self.field() for _ in range(self.random.randrange(1, most))]

    def pairs(self):
        count = self.pick([1, 1, 1, 2, 3, 40])
        return [word for _ in range(count) for word in (self.field(), self.value())]

    def scan_options(self):
        return self.pick(
            [
                [],
                ["COUNT", self.pick(COUNTS)],
                ["MATCH", "f*"],
                ["MATCH", "1*", "COUNT", "5000"],
                ["what"],
            ]
        )

    # Hashes

    def hash_set(self):
        return [self.pick(["HSET", "HMSET"]), self.a_hash()] + self.pairs()

    def hash_setnx(self):
        return ["HSETNX", self.a_hash(), self.field(), self.value()]

    def hash_get(self):
        return [self.pick(["HGET", "HEXISTS", "HSTRLEN"]), self.a_hash(), self.field()]

    def hash_mget(self):
        return ["HMGET", self.a_hash()] + self.fields()

    def hash_delete(self):
        return ["HDEL", self.a_hash()] + self.fields(self.pick([3, 3, 30]))

    def hash_walk(self):
        return [self.pick(["HKEYS", "HVALS", "HGETALL", "HLEN"]), self.a_hash()]

    def hash_increment(self):
        field = self.pick(["n1", "n2", self.field()])
        return ["HINCRBY", self.a_hash(), field, self.pick(INTEGERS)]

    def hash_increment_float(self):
        field = self.pick(["n1", "n2", self.field()])
        return ["HINCRBYFLOAT", self.a_hash(), field, self.pick(FLOATS[:9] + ["abc", ""])]

    def hash_random(self):
        options = self.maybe("WITHVALUES", "what")
        return ["HRANDFIELD", self.pick(["void", "text"]), self.pick(COUNTS), *options]

    def hash_scan(self):
        return ["HSCAN", self.a_hash(), self.pick(["0", "0", "0", "x"]), *self.scan_options()]

    # Sets

    def set_add(self):
        return ["SADD", self.a_set()] + self.fields(self.pick([3, 3, 6, 60]))

    def set_add_numbers(self):
        high = self.pick([10, 40000, 3000000000, 1 << 60])
        count = self.pick([1, 3, 300])
        numbers = [str(self.random.randrange(-high, high)) for _ in range(count)]
        return ["SADD", self.a_set()] + numbers

    def set_remove(self):
        return ["SREM", self.a_set()] + self.fields(self.pick([3, 3, 60]))

    def set_move(self):
        return ["SMOVE", self.a_set(), self.a_set(), self.field()]

    def set_test(self):
        single = ["SISMEMBER", self.a_set(), self.field()]
        return self.pick([single, ["SMISMEMBER", self.a_set()] + self.fields()])

    def set_walk(self):
        return [self.pick(["SCARD", "SMEMBERS"]), self.a_set()]

    def set_random(self):
        name = self.pick(["SPOP", "SRANDMEMBER"])
        return [name, self.pick(["void", "text"]), *self.maybe(*COUNTS)]

    def set_pop_all(self):
        return ["SPOP", self.a_set(), self.pick(["0", "100000"])]

    def set_combine(self):
        sets = [self.a_set() for _ in range(self.random.randrange(1, 4))]
        name = self.pick(["SINTER", "SUNION", "SDIFF"])
        return self.pick([[name] + sets, [name + "STORE", self.a_set()] + sets])

    def set_card(self):
        sets = [self.a_set() for _ in range(self.random.randrange(1, 4))]
        count = self.pick([str(len(sets))] * 4 + ["0", "-1", "x", "9"])
        options = self.pick([[], [], ["LIMIT", self.pick(COUNTS)], ["what"]])
        return ["SINTERCARD", count] + sets + options

    def set_scan(self):
        return ["SSCAN", self.a_set(), self.pick(["0", "0", "0", "x"]), *self.scan_options()]

    # Whole keys

    def key_delete(self):
        return ["DEL", self.key()] if self.random.random() < 0.3 else ["EXISTS", self.key()]

    def key_string(self):
        return ["MSET", "str", "text", "text", "text"]

    def key_look(self):
        return [self.pick(["TYPE", "PTTL"]), self.key()]

    def key_encoding(self):
        return ["OBJECT", "ENCODING", self.key()]

    def key_copy(self):
        kind = self.pick(["h", "s"])
        one, other = (kind + self.pick("123") for _ in range(2))
        return self.pick([["COPY", one, other, "REPLACE"], ["RENAME", one, other]])

    def key_digest(self):
        return ["DEBUG", "DIGEST-VALUE", self.key()]

    def key_expire(self):
        return self.pick([["EXPIRE", self.key(), "10000"], ["PERSIST", self.key()]])

    def key_limits(self):
        name, values = self.pick(
            [
                ("hash-max-listpack-entries", ["512", "16"]),
                ("hash-max-listpack-value", ["64", "10"]),
                ("set-max-intset-entries", ["512", "16"]),
            ]
        )
        return ["CONFIG", "SET", name, self.pick(values)]
