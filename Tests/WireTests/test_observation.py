"""What MONITOR and SLOWLOG show of random commands, compared with redis-server."""

# cost: 10
import re

from harness import OURS, REDIS, WireTest, needs_redis, wait_until
from random_commands import CommandSource

SEEDS = range(1, 6)
COMMANDS = 400


def command_part(line):
    """A monitor's line without the time and the client."""
    return re.sub(rb"^\d+\.\d{6} \[(\d+) [^\]]*\]", rb"[\1]", line)


@needs_redis
class DifferentialTests(WireTest):
    def setUp(self):
        self.servers = [self.server(OURS), self.redis()]

    def seen(self, server, commands):
        with server.connect() as client, server.connect() as monitor:
            client.pipeline([("FLUSHALL",), ("CONFIG", "SET", "slowlog-log-slower-than", "0")])
            client.call("SLOWLOG", "RESET")
            monitor.call("MONITOR")
            for command in commands:
                client.ask(*command)
            client.call("ECHO", "the end")
            lines = []
            while not lines or not lines[-1].endswith(b'"ECHO" "the end"'):
                lines.append(command_part(monitor.read_raw().strip()[1:]))
            slow = [(entry[0], entry[3]) for entry in client.call("SLOWLOG", "GET", "-1")]
            return lines, slow

    def test_random_commands(self):
        for seed in SEEDS:
            source = CommandSource(seed)
            commands = [source.command() for _ in range(COMMANDS)]
            (lines, slow), (expected, expected_slow) = (
                self.seen(server, commands) for server in self.servers
            )
            self.assertEqual(lines, expected, "seed %d" % seed)
            self.assertEqual([each[1] for each in slow], [each[1] for each in expected_slow])
            numbers = [each[0] for each in slow]
            self.assertEqual(numbers, sorted(numbers, reverse=True))

    def test_transactions_and_secrets(self):
        commands = [
            ("MULTI",),
            ("SET", "k", "v"),
            ("NONSENSE",),
            ("EXEC",),
            ("MULTI",),
            ("SET", "k", 'quote " and \\ and \n and \x07'),
            ("GET", "k"),
            ("EXEC",),
            ("AUTH", "default", "secret"),
            ("AUTH", "secret"),
            ("HELLO", "2", "AUTH", "default", "secret", "SETNAME", "me"),
            ("CONFIG", "SET", "requirepass", ""),
            ("PUBLISH", "a", "b"),
            ("DEL",) + tuple("key:%d" % i for i in range(40)),
            ("SET", "long", "x" * 500),
            ("SELECT", "3"),
            ("GET", "k"),
            ("SELECT", "0"),
        ]
        (lines, slow), (expected, expected_slow) = (
            self.seen(server, commands) for server in self.servers
        )
        self.assertEqual(lines, expected)
        self.assertEqual([each[1] for each in slow], [each[1] for each in expected_slow])


class LatencyTests(WireTest):
    def test_slow_commands_are_recorded(self):
        server = self.server(latency_monitor_threshold=10, slowlog_log_slower_than=10000)
        with server.connect() as client:
            client.call("DEBUG", "SLEEP", "0.03")
            (event, _, latest, worst), = client.call("LATENCY", "LATEST")
            self.assertEqual(event, b"command")
            self.assertTrue(20 <= latest <= 300 and worst == latest, (latest, worst))
            self.assertIn(b"all time high", client.call("LATENCY", "GRAPH", "command"))
            self.assertIn(b"SLOWLOG", client.call("LATENCY", "DOCTOR"))
            entry = client.call("SLOWLOG", "GET")[0]
            self.assertEqual(entry[3], [b"DEBUG", b"SLEEP", b"0.03"])
            self.assertTrue(20000 <= entry[2] <= 300000, entry)
            self.assertEqual(client.call("LATENCY", "RESET"), 1)

    def test_a_fast_command_is_told_in_nanoseconds(self):
        server = self.server()
        with server.connect() as client:
            wait_until(lambda: float(client.info("server")["uptime_in_seconds"]) >= 1, "calibrated")
            client.call("CONFIG", "RESETSTAT")
            for _ in range(1000):
                client.call("SET", "k", "v")
            line = client.info("commandstats")["cmdstat_set"]
            each = float(re.search(r"usec_per_call=([\d.]+)", line).group(1))
            self.assertTrue(0.01 < each < 100, line)
