"""Random commands of the string and generic groups, from a seed: mostly sensible, some wrong."""

import random

INTEGERS = [
    "0",
    "1",
    "-1",
    "7",
    "10",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775806",
    "4611686018427387904",
    "-0",
    "+1",
    "01",
    " 1",
    "1 ",
    "1.0",
    "1e3",
    "",
    "x",
    "99999999999999999999",
]
FLOATS = [
    "0",
    "1.5",
    "-2.25",
    "0.1",
    "1e10",
    "1e-10",
    "3.0",
    "5e-324",
    "1e308",
    "inf",
    "-inf",
    "nan",
    "1e400",
    "0x10",
    "abc",
    "",
    "1.0000000000000001",
    "123456789.123456789",
]
# Nothing that passes while the test runs: both servers must see a key, or both must not.
TIMES = [
    "100",
    "1000",
    "100000",
    "-1",
    "0",
    "-10",
    "9223372036854775807",
    "-9223372036854775808",
    "x",
    "",
    "9223372036854775",
    "3.5",
]
FUTURE = ["4000000000", "4102444800", "5000000000"]
PATTERNS = ["*", "k*", "k?", "k[0-4]", "k[^0-4]", "[", "\\*", "k\\1", "{t}*", "", "k[5-1]", "**1"]


class CommandSource:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.makers = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]

    def command(self):
        chosen = self.random.choice(self.makers)()
        command = [word for word in chosen if word is not None]
        if self.random.random() < 0.03:
            command = self.spoil(command)
        if self.random.random() < 0.1:
            command[0] = command[0].lower()
        return command

    def spoil(self, command):
        """Wrong in number: a word lost, doubled or added."""
        command = list(command)
        kind = self.random.randrange(3)
        at = self.random.randrange(1, len(command)) if len(command) > 1 else 0
        if kind == 0 and len(command) > 1:
            del command[at]
        elif kind == 1 and at > 0:
            command.insert(at, command[at])
        else:
            command.append(self.random.choice(["extra", "NX", "10", "GET"]))
        return command

    # Words

    def key(self):
        return self.random.choice(
            ["k0", "k1", "k2", "k3", "k4", "k5", "{t}a", "{t}b", "", "k\x00z"]
        )

    def value(self):
        kind = self.random.randrange(8)
        if kind < 2:
            return self.random.choice(INTEGERS)
        if kind == 2:
            return self.random.choice(FLOATS)
        if kind == 3:
            return bytes(self.random.randrange(256) for _ in range(self.random.randrange(20)))
        if kind == 4:
            return "v" * self.random.choice([43, 44, 45, 63, 64, 65, 127, 128, 1000, 20000])
        return "value-%d" % self.random.randrange(100)

    def index(self):
        return self.random.choice(
            [
                "0",
                "1",
                "2",
                "-1",
                "-3",
                "5",
                "100",
                "-100",
                "x",
                "2147483648",
                "-9223372036854775808",
                "536870911",
            ]
        )

    def some_keys(self):
        return [self.key() for _ in range(self.random.randrange(1, 5))]

    def maybe(self, *words):
        return [self.random.choice(words)] if self.random.random() < 0.3 else []

    def pick(self, words):
        return self.random.choice(words)

    def expiry(self):
        kind = self.pick(["EX", "PX", "EXAT", "PXAT", "ex"])
        if kind in ("EXAT",):
            return [kind, self.pick(FUTURE)]
        if kind == "PXAT":
            return [kind, self.pick(FUTURE) + "000"]
        return [kind, self.pick(TIMES[:3] + TIMES) + ("0000" if kind == "PX" else "")]

    # Strings

    def do_set(self):
        options = []
        for _ in range(self.random.choice([0, 0, 0, 1, 1, 2, 3])):
            options += self.pick(
                [
                    ["NX"],
                    ["XX"],
                    ["GET"],
                    ["KEEPTTL"],
                    self.expiry(),
                    ["nonsense"],
                    self.expiry(),
                    ["EX"],
                ]
            )
        return ["SET", self.key(), self.value()] + options

    def do_get(self):
        return ["GET", self.key()]

    def do_getset(self):
        return ["GETSET", self.key(), self.value()]

    def do_getdel(self):
        return ["GETDEL", self.key()]

    def do_getex(self):
        return ["GETEX", self.key()] + self.pick(
            [[], ["PERSIST"], self.expiry(), self.expiry(), ["PERSIST", "EX", "10"], ["what"]]
        )

    def do_setnx(self):
        return ["SETNX", self.key(), self.value()]

    def do_setex(self):
        return ["SETEX", self.key(), self.pick(TIMES), self.value()]

    def do_psetex(self):
        return ["PSETEX", self.key(), self.pick(["1000000", "5000000"] + TIMES[3:]), self.value()]

    def do_mset(self):
        return [self.pick(["MSET", "MSET", "MSETNX"])] + [
            word for key in self.some_keys() for word in (key, self.value())
        ]

    def do_mget(self):
        return ["MGET"] + self.some_keys()

    def do_append(self):
        return ["APPEND", self.key(), self.value()]

    def do_strlen(self):
        return ["STRLEN", self.key()]

    def do_setrange(self):
        return [
            "SETRANGE",
            self.key(),
            self.pick(["0", "1", "5", "100", "-1", "x", "536870912"]),
            self.value(),
        ]

    def do_getrange(self):
        return [self.pick(["GETRANGE", "SUBSTR"]), self.key(), self.index(), self.index()]

    def do_incr(self):
        return [self.pick(["INCR", "DECR"]), self.key()]

    def do_incrby(self):
        return [self.pick(["INCRBY", "DECRBY"]), self.key(), self.pick(INTEGERS)]

    def do_incrbyfloat(self):
        return ["INCRBYFLOAT", self.key(), self.pick(FLOATS)]

    def do_integer(self):
        return ["SET", self.key(), self.pick(INTEGERS)]

    def do_float(self):
        return ["SET", self.key(), self.pick(FLOATS)]

    def do_lcs(self):
        return ["LCS", self.key(), self.key()] + self.pick(
            [
                [],
                ["LEN"],
                ["IDX"],
                ["IDX", "MINMATCHLEN", "2"],
                ["IDX", "WITHMATCHLEN"],
                ["LEN", "IDX"],
                ["MINMATCHLEN", "x"],
                ["bad"],
            ]
        )

    # Keys

    def do_del(self):
        return [self.pick(["DEL", "UNLINK"])] + self.some_keys()

    def do_exists(self):
        return [self.pick(["EXISTS", "TOUCH"])] + self.some_keys()

    def do_type(self):
        return ["TYPE", self.key()]

    def do_expire(self):
        name = self.pick(["EXPIRE", "PEXPIRE"])
        time = self.pick(TIMES + ["1000", "100000"]) + ("0000" if name == "PEXPIRE" else "")
        return [name, self.key(), time] + self.maybe("NX", "XX", "GT", "LT", "nx", "BAD")

    def do_expireat(self):
        name = self.pick(["EXPIREAT", "PEXPIREAT"])
        time = self.pick(FUTURE + ["1", "x"]) + ("000" if name == "PEXPIREAT" else "")
        options = self.maybe("NX", "XX", "GT", "LT") + self.maybe("NX", "XX", "GT", "LT")
        return [name, self.key(), time] + options

    def do_ttl(self):
        return [self.pick(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]), self.key()]

    def do_persist(self):
        return ["PERSIST", self.key()]

    def do_rename(self):
        return [self.pick(["RENAME", "RENAMENX"]), self.key(), self.key()]

    def do_copy(self):
        options = self.pick(
            [
                [],
                ["REPLACE"],
                ["DB", self.pick(["1", "2", "0", "99", "x"])],
                ["DB", "1", "REPLACE"],
                ["BAD"],
            ]
        )
        return ["COPY", self.key(), self.key()] + options

    def do_move(self):
        return ["MOVE", self.key(), self.pick(["1", "2", "0", "16", "-1", "x"])]

    def do_select(self):
        return ["SELECT", self.pick(["0", "0", "0", "1", "2", "16", "x"])]

    def do_swapdb(self):
        if self.random.random() < 0.8:
            return ["PING"]
        return ["SWAPDB", self.pick(["0", "1", "2", "x"]), self.pick(["0", "1", "2", "99", "x"])]

    def do_keys(self):
        return ["KEYS", self.pick(PATTERNS)]

    def do_scan(self):
        return ["SCAN", "0", "COUNT", "10000"] + self.pick(
            [[], ["MATCH", self.pick(PATTERNS)], ["TYPE", "string"], ["TYPE", "hash"]]
        )

    def do_scan_wrong(self):
        return ["SCAN"] + self.pick(
            [
                ["x"],
                ["0", "COUNT", "0"],
                ["0", "COUNT", "x"],
                ["0", "BAD"],
                ["0", "MATCH"],
                ["0", "COUNT"],
                ["0x1"],
                ["1 "],
            ]
        )

    def do_object(self):
        return self.pick(
            [
                ["OBJECT", "ENCODING", self.key()],
                ["OBJECT", "REFCOUNT", "nothing"],
                ["OBJECT", "FREQ", self.key()],
                ["OBJECT", "nonsense", self.key()],
            ]
        )

    def do_connection(self):
        return self.pick(
            [
                ["PING"],
                ["PING", self.value()],
                ["ECHO", self.value()],
                # No DBSIZE: it counts keys that are expired and not yet removed, which the
                # reference samples and we remove at once.
                ["RANDOMKEY"],
                ["NOSUCHCOMMAND", self.pick(INTEGERS), "k1"],
                ["WAIT", "0", "0"],
                ["WAIT", "x", "0"],
                ["ECHO"],
            ]
        )

    def do_restore(self):
        return [
            "RESTORE",
            self.key(),
            self.pick(["0", "-1", "x", "100000000"]),
            self.pick([b"", b"x", b"\x00\x01a\x0a\x00" + b"\x00" * 8]),
        ] + self.pick([[], ["REPLACE"], ["ABSTTL"], ["IDLETIME", "x"], ["FREQ", "256"], ["BAD"]])
