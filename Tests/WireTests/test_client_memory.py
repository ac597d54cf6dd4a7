"""Clients that hold too much, and what the process shows of itself: title, score."""

# cost: 10
import os
import unittest

from harness import Closed, WireTest, only_for_martlet, wait_until

LIMIT = 3_000_000


def names(server):
    rows = server.call("CLIENT", "LIST").decode().split("\n")
    return {field[5:] for row in rows for field in row.split(" ") if field.startswith("name=")}


def field(server, name, wanted):
    for row in server.call("CLIENT", "LIST").decode().split("\n"):
        fields = dict(part.split("=", 1) for part in row.split(" ") if "=" in part)
        if fields.get("name") == name:
            return int(fields[wanted])
    return None


class EvictionTests(WireTest):
    def client(self, server, name):
        connection = server.connect()
        self.addCleanup(connection.close)
        connection.call("CLIENT", "SETNAME", name)
        return connection

    def assert_evicted(self, server, connection, name):
        with self.assertRaises((Closed, ConnectionError)):
            while True:
                connection.read()
        wait_until(lambda: name not in names(server), "evicted")
        self.assertGreater(int(server.info()["evicted_clients"]), 0)

    def test_arguments_and_unfinished_requests(self):
        server = self.server(maxmemory_clients=str(LIMIT))
        large = self.client(server, "arguments")
        self.assertEqual(large.call("MSET", "k", "v", "k2", "v" * 1_000_000), "OK")
        large.send("MSET", "k", "v", "k2", "v" * LIMIT)
        self.assert_evicted(server, large, "arguments")
        self.assertEqual(server.call("STRLEN", "k2"), 1_000_000)
        unfinished = self.client(server, "unfinished")
        # The room for what follows counts as well: as much again, at least a megabyte.
        part = LIMIT // 4
        unfinished.send_raw(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % LIMIT + b"v" * part)
        wait_until(lambda: field(server, "unfinished", "qbuf") == part, "a part is there")
        self.assertEqual(field(server, "unfinished", "argv-mem"), 4)
        unfinished.send_raw(b"v" * part)
        self.assert_evicted(server, unfinished, "unfinished")

    def test_queued_watched_subscribed_tracked(self):
        server = self.server(maxmemory_clients="60000")
        cases = {
            "multi": lambda number: ("SET", "k", "v" * 10_000),
            "watch": lambda number: ("WATCH", "key:%d" % number),
            "patterns": lambda number: ("PSUBSCRIBE", "pattern:%d" % number),
            "channels": lambda number: ("SUBSCRIBE", "channel:%d" % number),
            "prefixes": lambda number: (
                "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "%012d" % number,
            ),
        }
        for name, command in cases.items():
            with self.subTest(name):
                connection = self.client(server, name)
                if name == "multi":
                    connection.call("MULTI")
                with self.assertRaises((Closed, ConnectionError)):
                    for number in range(20_000):
                        connection.call(*command(number))
                wait_until(lambda: name not in names(server), "evicted")

    def test_the_largest_first_and_no_more_than_needed(self):
        server = self.server()
        control = self.client(server, "control")
        control.call("CLIENT", "NO-EVICT", "ON")
        sizes = {"small": 128 << 10, "middle": 1 << 20, "large": 3 << 20}
        for name, size in sizes.items():
            for number in range(3):
                connection = self.client(server, "%s-%d" % (name, number))
                connection.send_raw(b"*2\r\n$%d\r\n" % (size + 10) + b"v" * size)
                wait_until(
                    lambda: field(server, "%s-%d" % (name, number), "qbuf") == size, "sent"
                )
        held = {name: field(server, name + "-0", "tot-mem") for name in sizes}
        # A buffer whose need is known is no larger than that, or than one read's room.
        for name, size in sizes.items():
            self.assertLess(held[name], max(size * 1.1, 256 << 10) + 70_000)
        left = 3 * sum(held.values()) + 100_000
        for name in ("large", "middle", "small"):
            left -= 3 * held[name]
            control.call("CONFIG", "SET", "maxmemory-clients", str(left))
            wait_until(lambda: name + "-0" not in names(server), "evicted")
            there = {each.split("-")[0] for each in names(server)}
            self.assertFalse(there & set(list(sizes)[list(sizes).index(name):]))
            self.assertTrue(set(list(sizes)[: list(sizes).index(name)]) <= there)

    def test_percentages_and_those_that_are_spared(self):
        server = self.server(maxmemory="6mb", maxmemory_clients="7%")
        self.assertEqual(
            server.call("CONFIG", "GET", "maxmemory-clients"), [b"maxmemory-clients", b"7%"]
        )
        self.assert_error(
            server.connect().ask("CONFIG", "SET", "maxmemory-clients", "101%"),
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - "
            "percentage argument must be less or equal to 100",
        )
        spared = self.client(server, "spared")
        spared.call("CLIENT", "NO-EVICT", "ON")
        for connection in (spared, self.client(server, "other")):
            connection.send_raw(b"*2\r\n$1000000\r\n" + b"v" * 500_000)
        wait_until(lambda: "other" not in names(server), "evicted")
        wait_until(lambda: field(server, "spared", "qbuf") == 500_000, "all is there")


class OutputLimitTests(WireTest):
    def test_a_reply_over_the_limit_is_not_begun(self):
        server = self.server(client_output_buffer_limit="normal 100000 0 0")
        server.call("SET", "k", "v" * 150_000)
        server.call("HSET", "h", "f", "v")
        for command in (("GET", "k"), ("HRANDFIELD", "h", "-999999999")):
            connection = server.connect()
            connection.send(*command)
            with self.assertRaises((Closed, ConnectionError)):
                connection.read()
            connection.close()
        self.assertIn("for overcoming of output buffer limits", server.output())
        with server.connect() as connection:
            connection.pipeline([("MULTI",), ("SET", "a", "1"), ("GET", "k"), ("SET", "b", "2")])
            connection.send("EXEC")
            with self.assertRaises((Closed, ConnectionError)):
                connection.read()
        self.assertEqual(server.call("MGET", "a", "b"), [b"1", b"2"])


@only_for_martlet
class ProcessTests(WireTest):
    def text(self, server, name):
        with open("/proc/%d/%s" % (server.pid, name), "rb") as file:
            return file.read()

    def score(self, server):
        return int(self.text(server, "oom_score_adj"))

    def test_title(self):
        server = self.server()
        title = self.text(server, "cmdline").split(b"\0")[0].split(b" ")
        self.assertEqual(title[1], b"127.0.0.1:%d" % server.port)
        server.call("CONFIG", "SET", "proc-title-template", "T {port} {server-mode} {tls-port}")
        title = self.text(server, "cmdline").split(b"\0")[0]
        self.assertEqual(title, b"T %d  0" % server.port)
        reply = server.connect().ask("CONFIG", "SET", "proc-title-template", "{nonsense}")
        self.assertIn("template format is invalid", str(reply))

    @unittest.skipUnless(os.geteuid() == 0, "lowering a score takes root")
    def test_out_of_memory_score_follows_the_role(self):
        server = self.server()
        before = self.score(server)
        server.call("CONFIG", "SET", "oom-score-adj-values", "10 20 30")
        server.call("CONFIG", "SET", "oom-score-adj", "yes")
        self.assertEqual(self.score(server), before + 10)
        server.call("REPLICAOF", "127.0.0.1", "1")
        self.assertEqual(self.score(server), before + 20)
        server.call("REPLICAOF", "NO", "ONE")
        server.call("CONFIG", "SET", "oom-score-adj", "absolute")
        self.assertEqual(self.score(server), 10)
        server.call("CONFIG", "SET", "oom-score-adj", "no")
        self.assertEqual(self.score(server), before)
