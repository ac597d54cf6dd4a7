"""Streams against redis-server, by seeds: replies, digests, and payloads in both directions."""

# cost: 25
from families import FamilySource, FamilyTest
from harness import needs_redis, wait_until


CONSUMERS = ["c0", "c1", "c2", "c3"]


class StreamSource(FamilySource):
    """Every group has all consumers from the start: 7.0 makes them later than 7.2 does."""

    def __init__(self, seed):
        super().__init__(seed)
        self.last = {}
        self.queue = []

    def command(self):
        if self.queue:
            return self.queue.pop()
        command = super().command()
        if command[0] == "XGROUP" and len(command) > 3:
            self.queue = [
                ["XGROUP", "CREATECONSUMER", command[2], command[3], name] for name in CONSUMERS
            ]
        return command

    def key(self):
        return self.pick(["s0", "s1", "s2"])

    def group(self):
        return self.pick(["g0", "g1", "g2"])

    def consumer(self):
        return self.pick(CONSUMERS)

    def old_id(self):
        kind = self.random.randrange(20)
        if kind == 0:
            wrong = ["x", "", "1-", "-1", "1-1-1", "$", "+", "-", "1-*"]
            return self.pick(wrong + ["99999999999999999999"])
        if kind == 1:
            return self.pick(["0", "0-0", "18446744073709551615-18446744073709551615", "007-1"])
        return "%d-%d" % (self.random.randrange(1, 200), self.random.randrange(3))

    def bound(self):
        return self.pick(["-", "+", self.old_id(), self.old_id(), "(" + self.old_id()])

    def fields(self):
        count = self.pick([1, 1, 2, 3])
        names = ["a", "b", "c"] if self.chance(0.8) else ["12", "x" * 70, ""]
        words = []
        for index in range(count):
            words += [names[index], self.value()]
        return words

    def value(self):
        return self.pick(
            ["", "v", "-1", "127", "128", "4095", "4096", "-4097", "32768", "8388608"]
            + ["2147483648", "9223372036854775807", "text", "y" * 63, "y" * 64, "z" * 200]
        )

    def trim(self):
        rule = self.pick([["MAXLEN"], ["MINID"]])
        sign = self.pick([[], ["~"], ["="], ["~"]])
        if rule == ["MAXLEN"]:
            threshold = [self.pick(["0", "1", "3", "10", "25", "40", "-1", "x"])]
        else:
            threshold = [self.old_id()]
        limit = self.pick([[], [], ["LIMIT", self.pick(["0", "5", "30", "-1", "x"])]])
        return rule + sign + threshold + limit

    def do_add(self):
        key = self.key()
        top = self.last.get(key, 0) + self.pick([0, 0, 1, 1, 2, 5])
        self.last[key] = top
        automatic = "%d-*" % top
        number = self.pick([automatic, automatic, str(top + 1), "%d-1" % top, self.old_id()])
        options = self.trim() if self.chance(0.15) else []
        options = (["NOMKSTREAM"] if self.chance(0.1) else []) + options
        return ["XADD", key] + options + [number] + self.fields()

    do_add_again = do_add
    do_add_more = do_add

    def do_trim(self):
        if self.chance(0.6):
            return ["XLEN", self.key()]
        return ["XTRIM", self.key()] + self.trim()

    def do_del(self):
        return ["XDEL", self.key()] + [self.old_id() for _ in range(self.pick([1, 1, 2, 5]))]

    def do_range(self):
        words = [self.pick(["XRANGE", "XREVRANGE"]), self.key(), self.bound(), self.bound()]
        return words + self.pick([[], [], ["COUNT", self.pick(["0", "1", "3", "-1", "x"])]])

    def do_read(self):
        keys = [self.key() for _ in range(self.pick([1, 2, 3]))]
        options = self.pick([[], ["COUNT", self.pick(["1", "2", "0", "-5", "x"])], ["NOACK"]])
        return ["XREAD"] + options + ["STREAMS"] + keys + [
            self.pick([self.old_id(), "$", "0", ">"]) for _ in keys
        ]

    def do_group(self):
        return self.pick(
            [
                ["XGROUP", "CREATE", self.key(), self.group(), self.pick(["0", "$", self.old_id()])]
                + self.pick([[], ["MKSTREAM"], ["ENTRIESREAD", self.pick(["0", "3", "-1", "-2"])]]),
                ["XGROUP", "CREATECONSUMER", self.key(), self.group(), self.consumer()],
                ["XGROUP", "SETID", self.key(), self.group(), self.pick(["0", "$", self.old_id()])]
                + self.pick([[], ["ENTRIESREAD", "2"]]),
                ["XGROUP", "DELCONSUMER", self.key(), self.group(), self.consumer()]
                if self.chance(0.3)
                else ["XINFO", "GROUPS", self.key()],
                ["XGROUP", "DESTROY", self.key(), self.group()]
                if self.chance(0.2)
                else ["XINFO", "STREAM", self.key()],
            ]
        )

    def do_read_group(self):
        keys = [self.key() for _ in range(self.pick([1, 1, 2]))]
        options = self.pick([[], ["COUNT", self.pick(["1", "2", "3"])], ["NOACK"]])
        ids = [self.pick([">", ">", ">", "0", self.old_id(), "$"]) for _ in keys]
        words = ["XREADGROUP", "GROUP", self.group(), self.consumer()] + options
        return words + ["STREAMS"] + keys + ids

    do_read_group_again = do_read_group

    def do_ack(self):
        ids = [self.old_id() for _ in range(self.pick([1, 3]))]
        return ["XACK", self.key(), self.group()] + ids

    def do_claim(self):
        words = ["XCLAIM", self.key(), self.group(), self.consumer()]
        words += [self.pick(["0", "0", "100000000", "-1", "x"])]
        words += [self.old_id() for _ in range(self.pick([1, 2, 4]))]
        for _ in range(self.pick([0, 0, 1, 2])):
            words += self.pick(
                [
                    ["FORCE"],
                    ["JUSTID"],
                    ["RETRYCOUNT", self.pick(["5", "0", "-1", "x"])],
                    ["TIME", self.pick(["1000", "x"])],
                    ["IDLE", "5000"],
                    ["LASTID", self.old_id()],
                    ["WHAT"],
                ]
            )
        return words

    def do_autoclaim(self):
        words = ["XAUTOCLAIM", self.key(), self.group(), self.consumer()]
        words += [self.pick(["0", "0", "100000000", "x"]), self.pick(["0", "-", self.old_id()])]
        return words + self.pick(
            [[], ["COUNT", self.pick(["1", "3", "0", "x"])], ["JUSTID"], ["COUNT", "2", "JUSTID"]]
        )

    def do_pending(self):
        words = ["XPENDING", self.key(), self.group()]
        if self.chance(0.3):
            return words
        idle = ["IDLE", self.pick(["0", "100000000", "x"])] if self.chance(0.2) else []
        words += idle + [self.bound(), self.bound(), self.pick(["10", "1", "0", "-1", "x"])]
        return words + ([self.consumer()] if self.chance(0.4) else [])

    def do_info(self):
        return self.pick(
            [
                ["XINFO", "STREAM", self.key()],
                ["XINFO", "GROUPS", self.key()],
                ["XINFO", "CONSUMERS", self.key(), self.group()],
                ["XINFO", "STREAM", self.key(), "FULL"]
                + self.pick([[], ["COUNT", self.pick(["0", "1", "-1", "x"])]]),
                ["XINFO", "STREAM", self.key(), "HALF"],
                ["OBJECT", "ENCODING", self.key()],
            ]
        )

    def do_set_id(self):
        if self.chance(0.8):
            return ["COPY", self.key(), self.key(), "REPLACE"]
        # Only 7.2 refuses an ID below the highest that was deleted.
        return ["XSETID", self.key(), self.pick(["201-0", "x", "-"])] + self.pick(
            [[], ["ENTRIESADDED", self.pick(["5", "1000", "-1"]), "MAXDELETEDID", self.old_id()]]
        )

    def do_other(self):
        if self.chance(0.9):
            return ["TYPE", self.key()]
        return [self.pick(["DEL", "UNLINK"]), self.key()]


@needs_redis
class StreamTests(FamilyTest):
    source = StreamSource
    directives = {"stream-node-max-entries": 7}

    def test_random_commands(self):
        self.run_seeds(range(1, 31))

    def agree(self, command, ours, reference):
        if ours == reference:
            return True
        if ours.startswith(b"-ERR Unbalanced") and reference.startswith(b"-ERR Unbalanced"):
            return True  # other words since 7.2
        name = str(command[0]).upper()
        if name == "XINFO":
            return plain(ours) == plain(reference)
        if name == "XPENDING":
            return without_idle(plain(ours)) == without_idle(plain(reference))
        return False

    def digest(self, connection):
        """Also what goes through a payload of the one into the other."""
        found = {}
        is_ours = connection.port == self.ours.port
        with (self.reference if is_ours else self.ours).connect() as peer:
            for key in sorted(connection.call("KEYS", "*")):
                payload = connection.ask_raw("DUMP", key).split(b"\r\n", 1)[1][:-2]
                self.assertEqual(peer.call("RESTORE", "copy", 0, payload, "REPLACE"), "OK")
                found[key] = (
                    connection.call("DEBUG", "DIGEST-VALUE", key),
                    peer.call("DEBUG", "DIGEST-VALUE", "copy"),
                    plain(peer.ask_raw("XINFO", "STREAM", "copy", "FULL", "COUNT", "0")),
                )
                peer.call("DEL", "copy")
        return found


@needs_redis
class WaitingTests(FamilyTest):
    """Readers that wait, on both servers: who is answered, with what, and who goes on waiting."""

    def play(self, server, steps):
        """Runs `(client, command)` steps; the raw replies of each client in the end."""
        clients = {}
        with server.connect() as admin:
            admin.call("FLUSHALL")
            waiting = 0
            for name, *command in steps:
                if name not in clients:
                    clients[name] = server.connect(timeout=20)
                    self.addCleanup(clients[name].close)
                clients[name].send(*command)
                if "BLOCK" in command:
                    waiting += 1
                    expected = waiting
                    wait_until(
                        lambda: int(admin.info("clients")["blocked_clients"]) >= expected,
                        "client %s waits" % name,
                    )
                elif name == "writer":
                    clients[name].read()
                    waiting = int(admin.info("clients")["blocked_clients"])
        return {name: c.read_raw() for name, c in clients.items() if name != "writer"}

    def test_who_is_served(self):
        read = ["XREAD", "BLOCK", "0", "STREAMS"]
        group = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"]
        other = ["XREADGROUP", "GROUP", "g", "d", "COUNT", "1", "BLOCK", "0", "STREAMS", "s", ">"]
        create = ("writer", "XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        add = ("writer", "XADD", "s", "5-1", "a", "b")
        more = ("writer", "XADD", "s", "5-2", "c", "d")
        plays = [
            [("a", *read, "s", "$"), ("b", *read, "s", "0"), add],
            [add, ("a", *read, "t", "s", "$", "$"), more],
            [create, ("a", *group), ("b", *other), add, more],
            [create, ("a", *group), ("b", *read, "s", "$"), add],
            [add, ("a", *read, "s", "9-9"), more, ("writer", "XADD", "s", "10-1", "e", "f")],
            [("a", *read, "s", "$"), ("writer", "SET", "s", "v"), ("writer", "DEL", "s"), add],
            [("a", *read, "u", "$"), add, ("writer", "RENAME", "s", "u")],
        ]
        for number, steps in enumerate(plays):
            with self.subTest(play=number):
                self.assertEqual(self.play(self.ours, steps), self.play(self.reference, steps))


def without_idle(reply):
    """Entries of XPENDING without the time since they were delivered."""
    if isinstance(reply, list):
        return [item[:2] + item[3:] if len(item) == 4 else item for item in reply]
    return reply


NEW = {b"active-time", b"inactive"}
CHANGING = {b"radix-tree-nodes", b"idle", b"seen-time"}


def plain(raw):
    """A reply without clock times, sizes of the index, and what only 7.2 answers."""
    lines = iter(raw.split(b"\r\n"))

    def value():
        line = next(lines)
        if line[:1] == b"$" and line != b"$-1":
            return next(lines)
        if line[:1] in b"*%" and line != b"*-1":
            count = int(line[1:]) * (2 if line[:1] == b"%" else 1)
            return scrub([value() for _ in range(count)])
        return b":t" if len(line) == 14 and line[:2] == b":1" else line

    return value()


def scrub(items):
    out = []
    for index, item in enumerate(items):
        before = items[index - 1] if index % 2 and isinstance(items[index - 1], bytes) else b""
        if before in CHANGING:
            item = b"changes"
        if before in NEW or (index % 2 == 0 and isinstance(item, bytes) and item in NEW):
            continue
        out.append(item)
    return out
