"""What commands weigh, on real processes: CLUSTER SLOT-STATS, COMMANDLOG, HOTKEYS, percentiles."""

# cost: 6
from harness import SharedServer, key_slot, only_for_martlet, wait_until


def stats(reply):
    """CLUSTER SLOT-STATS by slot."""
    found = {}
    for slot, values in reply:
        pairs = values if isinstance(values, dict) else dict(zip(values[::2], values[1::2]))
        found[slot] = {name.decode(): value for name, value in pairs.items()}
    return found


@only_for_martlet
class SlotStatsTests(SharedServer):
    directives = {"cluster_enabled": "yes"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        cls.shared.call("CLUSTER", "ADDSLOTSRANGE", 0, 16000)
        with cls.shared.connect() as connection:
            wait_until(
                lambda: b"cluster_state:ok" in connection.call("CLUSTER", "INFO"), "it serves"
            )

    def setUp(self):
        super().setUp()
        self.call, self.ask = self.connection.call, self.connection.ask
        self.call("CONFIG", "SET", "cluster-slot-stats-enabled", "no")

    def test_only_keys_are_counted_unless_asked(self):
        self.call("SET", "a", 1)
        slot = key_slot("a")
        found = stats(self.call("CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot))
        self.assertEqual(found, {slot: {"key-count": 1}})
        self.assertEqual(
            str(self.ask("CLUSTER", "SLOT-STATS", "ORDERBY", "cpu-usec")),
            "ERR Unrecognized sort metric for ORDERBY.",
        )

    def test_usage(self):
        self.call("CONFIG", "SET", "cluster-slot-stats-enabled", "yes")
        self.call("SET", "a", "x" * 100)
        self.connection.pipeline([("GET", "a")] * 50 + [("GET", "b")])
        slot, other = key_slot("a"), key_slot("b")
        found = stats(self.call("CLUSTER", "SLOT-STATS", "SLOTSRANGE", 0, 16383))
        self.assertEqual(len(found), 16001)
        request = len(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
        written = len(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100\r\n") + 102
        self.assertEqual(found[slot]["network-bytes-in"], written + 50 * request)
        self.assertEqual(found[slot]["network-bytes-out"], 5 + 50 * (6 + 102))
        self.assertEqual(found[other]["network-bytes-in"], request)
        self.assertGreater(found[slot]["cpu-usec"], 0)
        order = ["CLUSTER", "SLOT-STATS", "ORDERBY", "network-bytes-out"]
        top = stats(self.call(*order, "LIMIT", 2))
        self.assertEqual(list(top)[0], slot)
        self.assertEqual(len(top), 2)
        least = stats(self.call(*order, "ASC", "LIMIT", 1))
        self.assertEqual(list(least.values())[0]["network-bytes-out"], 0)
        self.call("CONFIG", "RESETSTAT")
        found = stats(self.call("CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot))
        self.assertEqual(found[slot]["network-bytes-in"], 0)

    def test_a_slot_that_left_begins_anew(self):
        self.call("CONFIG", "SET", "cluster-slot-stats-enabled", "yes")
        self.call("SET", "a", 1)
        slot = key_slot("a")
        self.call("DEL", "a")
        self.call("CLUSTER", "DELSLOTS", slot)
        found = stats(self.call("CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot))
        self.assertEqual(found, {})
        self.call("CLUSTER", "ADDSLOTS", slot)
        found = stats(self.call("CLUSTER", "SLOT-STATS", "SLOTSRANGE", slot, slot))
        self.assertEqual(found[slot]["network-bytes-in"], 0)

    def test_refusals(self):
        for words, text in (
            (["SLOTSRANGE", 5, 4], "ERR Start slot number 5 is greater than end slot number 4"),
            (["SLOTSRANGE", 0, 16384], "ERR Invalid or out of range slot"),
            (["ORDERBY", "size"], "ERR Unrecognized sort metric for ORDERBY."),
            (["ORDERBY", "key-count", "up"], "ERR syntax error"),
            (
                ["ORDERBY", "key-count", "LIMIT", 0],
                "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
            ),
            (
                ["ORDERBY", "key-count", "ASC", "DESC"],
                "ERR Multiple filters of the same type are disallowed.",
            ),
        ):
            self.assert_error(self.ask("CLUSTER", "SLOT-STATS", *words), text)


@only_for_martlet
class WeightTests(SharedServer):
    def test_large_requests_and_replies(self):
        call = self.connection.call
        call("SET", "k", "x" * 2_000_000)
        call("GET", "k")
        for kind in ("large-request", "large-reply"):
            self.assertEqual(call("COMMANDLOG", "LEN", kind), 1)
            entry = call("COMMANDLOG", "GET", -1, kind)[0]
            self.assertGreater(entry[2], 2_000_000)
            self.assertEqual(entry[3][1], b"k")
            call("COMMANDLOG", "RESET", kind)
        call("CONFIG", "SET", "commandlog-execution-slower-than", 12345)
        names = call("CONFIG", "GET", "slowlog-log-slower-than")
        self.assertIn(b"12345", list(names) + list(getattr(names, "values", list)()))

    def test_hot_keys(self):
        def hottest():
            # One interruption while a cold key is read makes that key look expensive: ask again
            # until there is more to weigh it against.
            for _ in range(50):
                self.connection.pipeline([("GET", "hot"), ("GET", "cold:%d" % _)] * 40)
            found = self.connection.call("HOTKEYS", "BY", "CPU", "COUNT", 1)[0]
            pairs = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2]))
            return pairs[b"key"] == b"hot" and float(pairs[b"share-percent"]) > 20

        wait_until(hottest, "the hot key leads with a share above 20 %")

    def test_percentiles_have_two_digits(self):
        self.connection.pipeline([("PING",)] * 200)
        line = self.connection.info("latencystats")["latency_percentiles_usec_ping"]
        first, last = (float(part.split("=")[1]) for part in line.split(",")[::2])
        self.assertGreater(last, 0)
        self.assertLessEqual(first, last)
