"""Random commands of the sorted-set and geo groups, from a seed: mostly sensible, some wrong."""

from random_commands import CommandSource

SCORES = ["0", "-0", "1", "2", "3", "-1", "10", "1.5", "0.1", "-2.25", "3.14159", "1e3", "1e17"]
SCORES += ["inf", "-inf", "+inf", "4503599627370496", "9007199254740993", "1e-7", "0x10", "1e300"]
WRONG_SCORES = ["nan", "abc", "", " 1", "1 ", "1e400", "--1"]
UNITS = ["m", "km", "ft", "mi", "KM", "yd"]


class SortedSetSource(CommandSource):
    def __init__(self, seed):
        super().__init__(seed)
        names = sorted(name for name in dir(self) if name.startswith(("zset_", "geo_")))
        self.makers = [getattr(self, name) for name in names]
        self.makers += [self.zset_zadd] * 10 + [self.geo_add] * 3

    # Words

    def key(self):
        if self.random.random() < 0.02:
            return self.pick(["text", "missing"])
        return self.pick(["z0", "z1", "z2", "z3", "z4"])

    def places(self):
        return self.pick(["g0", "g1", "g2"])

    def member(self):
        kind = self.random.randrange(12)
        if kind == 0:
            return "long" * self.pick([4, 5, 6, 20])
        if kind == 1:
            return self.pick(["", "12", "-7", "01", "9223372036854775807", "\x00\xff", "a b"])
        return "m%d" % self.random.randrange(30)

    def score(self):
        if self.random.random() < 0.01:
            return self.pick(WRONG_SCORES)
        if self.random.random() < 0.5:
            return self.pick(SCORES)
        return str(self.random.randrange(-20, 20))

    def score_end(self):
        word = self.score()
        return "(" + word if self.random.random() < 0.3 else word

    def name_end(self):
        if self.random.random() < 0.3:
            return self.pick(["-", "+", "x", "", "(", "["])
        return self.pick(["[", "("]) + self.member()

    def rank(self):
        return self.pick(["0", "1", "-1", "2", "-3", "5", "-100", "100", "x"])

    def options(self, words, chance=0.3):
        chosen = []
        for word in words:
            if self.random.random() < chance:
                chosen += word if isinstance(word, list) else [word]
        return chosen

    def limit(self):
        return ["LIMIT", self.pick(["0", "1", "3", "-1", "50"]), self.pick(["-1", "0", "2", "9"])]

    # Changes

    def zset_zadd(self):
        words = self.options(["NX", "XX", "GT", "LT", "CH", "INCR"], 0.08)
        pairs = [self.score(), self.member()]
        # Never as many pairs as make a small set large at once, which they do in 7.2 only.
        while self.random.random() < 0.5 and "INCR" not in words and len(pairs) < 18:
            pairs += [self.score(), self.member()]
        if len(pairs) > 2:
            # A small set takes the sign off a zero, and 7.2 makes fewer sets small than 7.0.
            pairs = ["0" if word == "-0" else word for word in pairs]
        return ["ZADD", self.key()] + words + pairs

    def zset_equal_scores(self):
        pairs = []
        for _ in range(self.random.randrange(1, 12)):
            pairs += ["0", self.member()]
        return ["ZADD", "zlex"] + pairs

    def zset_lex(self):
        name = self.pick(["ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZLEXCOUNT"])
        limit = self.limit() if name != "ZLEXCOUNT" and self.random.random() < 0.5 else []
        return [name, "zlex", self.name_end(), self.name_end()] + limit

    def zset_zremrangebylex(self):
        return ["ZREMRANGEBYLEX", "zlex", self.name_end(), self.name_end()]

    def zset_zincrby(self):
        return ["ZINCRBY", self.key(), self.score(), self.member()]

    def zset_zrem(self):
        members = [self.member() for _ in range(self.random.randrange(1, 4))]
        return ["ZREM", self.key()] + members

    def zset_zremrangebyrank(self):
        return ["ZREMRANGEBYRANK", self.key(), self.rank(), self.rank()]

    def zset_zremrangebyscore(self):
        return ["ZREMRANGEBYSCORE", self.key(), self.score_end(), self.score_end()]

    def zset_zpop(self):
        count = self.options([["1"], ["3"], ["0"], ["-1"], ["x"]], 0.15)
        return [self.pick(["ZPOPMIN", "ZPOPMAX"]), self.key()] + count

    def zset_zmpop(self):
        keys = self.some_keys()
        number = self.pick([str(len(keys))] * 8 + ["0", "x", "9"])
        words = self.options([["COUNT", self.pick(["1", "3", "100", "0", "x"])], "COUNT"], 0.3)
        return ["ZMPOP", number] + keys + [self.pick(["MIN", "MAX", "max", "MID"])] + words

    def zset_bzpop(self):
        timeout = self.pick(["0.01", "0.01", "x", "-1"])
        return [self.pick(["BZPOPMIN", "BZPOPMAX"])] + self.some_keys() + [timeout]

    def zset_bzmpop(self):
        keys = self.some_keys()
        end = [str(len(keys))] + keys + [self.pick(["MIN", "MAX", "x"])]
        return ["BZMPOP", self.pick(["0.01", "x"])] + end + self.options([["COUNT", "2"]])

    def zset_key(self):
        if self.random.random() < 0.5:
            return ["DEL", self.key()]
        return self.pick(
            [
                ["COPY", self.key(), self.key(), "REPLACE"],
                ["RENAME", self.key(), self.key()],
                ["EXPIRE", self.key(), "100000"],
                ["PERSIST", self.key()],
            ]
        )

    # Questions

    def zset_member(self):
        name = self.pick(["ZSCORE", "ZRANK", "ZREVRANK"])
        return [name, self.key(), self.member()]

    def zset_zmscore(self):
        return ["ZMSCORE", self.key()] + [self.member() for _ in range(3)]

    def zset_size(self):
        return [self.pick(["ZCARD", "TYPE"]), self.key()]

    def zset_encoding(self):
        return ["OBJECT", "ENCODING", self.key()]

    def zset_digest(self):
        return ["DEBUG", "DIGEST-VALUE", self.pick(["z0", "z1", "z2", "g0", "zlex"])]

    def zset_zcount(self):
        return ["ZCOUNT", self.key(), self.score_end(), self.score_end()]

    def zset_zrange(self):
        kind = self.pick(["", "BYSCORE", "BYSCORE", "BYLEX"])
        key = self.key()
        if kind == "BYLEX":
            key, ends = "zlex", [self.name_end(), self.name_end()]
        elif kind == "BYSCORE":
            ends = [self.score_end(), self.score_end()]
        else:
            ends = [self.rank(), self.rank()]
        words = [kind] if kind else []
        words += self.options(["REV", "WITHSCORES"])
        words += self.limit() if self.random.random() < (0.4 if kind else 0.05) else []
        if self.random.random() < 0.3:
            words = [word for word in words if word != "WITHSCORES"]
            return ["ZRANGESTORE", self.pick(["z5", "z1"]), key] + ends + words
        return ["ZRANGE", key] + ends + words

    def zset_zrevrange(self):
        return ["ZREVRANGE", self.key(), self.rank(), self.rank()] + self.options(["WITHSCORES"])

    def zset_zrangebyscore(self):
        name = self.pick(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"])
        words = self.options(["WITHSCORES", self.limit()])
        return [name, self.key(), self.score_end(), self.score_end()] + words

    def zset_zrandmember(self):
        counts = [[], ["100"], ["100", "WITHSCORES"], ["-5"], ["0"], ["2", "withscores"], ["x"]]
        return ["ZRANDMEMBER", self.key()] + self.pick(counts + [["1", "x"]])

    def zset_zscan(self):
        words = self.options([["MATCH", self.pick(["m1*", "*", "[a-l]*"])]])
        return ["ZSCAN", self.key(), "0", "COUNT", "10000"] + words

    def zset_combine(self):
        plain = self.pick(["set", "numbers", "large"])
        keys = [self.pick([self.key(), self.places(), plain]) for _ in self.some_keys()]
        name = self.pick(["ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD"])
        number = self.pick([str(len(keys))] * 9 + ["0", "x", "7"])
        words = []
        if name != "ZDIFF" and self.random.random() < 0.3:
            words += ["WEIGHTS"] + [self.score() for _ in keys]
        words += self.options([["AGGREGATE", self.pick(["SUM", "MIN", "max", "AVG"])]])
        if name == "ZINTERCARD":
            words = self.options([["LIMIT", self.pick(["0", "1", "3", "-1"])], *words], 0.3)
            return [name, number] + keys + words
        if self.random.random() < 0.5:
            return [name + "STORE", self.pick(["z5", "z2"]), number] + keys + words
        return [name, number] + keys + words + self.options(["WITHSCORES"])

    # Positions

    def longitude(self):
        if self.random.random() < 0.03:
            return self.pick(["181", "-180", "180", "x", "1e300", "inf"])
        return repr(round(self.random.uniform(-180, 180), self.random.randrange(7)))

    def latitude(self):
        if self.random.random() < 0.03:
            return self.pick(["86", "-85.05112878", "85.05112878", "", "nan"])
        return repr(round(self.random.uniform(-85, 85), self.random.randrange(7)))

    def place(self):
        return "p%d" % self.random.randrange(40)

    def geo_add(self):
        words = self.options(["NX", "XX", "CH"], 0.1)
        triples = []
        for _ in range(self.random.randrange(1, 4)):
            triples += [self.longitude(), self.latitude(), self.place()]
        return ["GEOADD", self.places()] + words + triples

    def geo_member(self):
        name = self.pick(["GEOPOS", "GEOHASH"])
        return [name, self.places()] + [self.place() for _ in range(self.random.randrange(4))]

    def geo_dist(self):
        return ["GEODIST", self.places(), self.place(), self.place()] + self.options(
            [self.pick(UNITS)]
        )

    def length(self):
        if self.random.random() < 0.03:
            return self.pick(["-1", "x", "0", "1e-9"])
        return self.pick(["10", "500", "2000.5", "5000", "1500000", "300000"])

    def search_options(self):
        words = self.options(["WITHDIST", "WITHHASH", "WITHCOORD"])
        words += self.options([self.pick(["ASC", "DESC"])], 0.6)
        if self.random.random() < 0.3:
            words += ["COUNT", self.pick(["1", "3", "100", "0", "x"])] + self.options(["ANY"], 0.3)
        return words

    def geo_search(self):
        center = self.pick(
            [["FROMMEMBER", self.place()], ["FROMLONLAT", self.longitude(), self.latitude()]]
        )
        shape = self.pick(
            [
                ["BYRADIUS", self.length(), self.pick(UNITS)],
                ["BYBOX", self.length(), self.length(), self.pick(UNITS)],
            ]
        )
        words = center + shape
        if self.random.random() < 0.03:
            words = words[: self.random.randrange(len(words))]
        if self.random.random() < 0.3:
            words += self.options(["ASC", ["COUNT", "4"], "STOREDIST"])
            return ["GEOSEARCHSTORE", "z5", self.places()] + words
        return ["GEOSEARCH", self.places()] + words + self.search_options()

    def geo_radius(self):
        ending = self.pick(["", "", "_RO"])
        end = [self.length(), self.pick(UNITS)] + self.search_options()
        if self.random.random() < 0.2:
            end += [self.pick(["STORE", "STOREDIST"]), self.pick(["z5", "z3"])]
        if self.random.random() < 0.5:
            return ["GEORADIUSBYMEMBER" + ending, self.places(), self.place()] + end
        return ["GEORADIUS" + ending, self.places(), self.longitude(), self.latitude()] + end
