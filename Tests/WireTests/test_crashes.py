"""kill -9 at random moments under mixed load: what was acknowledged is there after the restart.

A reply leaves when what it acknowledges is written, so a process that dies loses nothing, whatever
`appendfsync` says. MARTLET_CRASHES sets the number of rounds (default 12; 200 for the whole).
"""

# cost: 30
import os
import random
import shutil
import tempfile
import threading

from harness import Closed, Connection, ReplyError, WireTest, only_for_martlet, wait_until

ROUNDS = int(os.environ.get("MARTLET_CRASHES", "12"))
WRITERS = 4
POLICIES = ("everysec", "always", "no")
BESIDES = (None, "BGSAVE", "BGREWRITEAOF", None)


class Writer(threading.Thread):
    """One connection with pipelines of several kinds of writes, and what was acknowledged."""

    def __init__(self, port, number, counts):
        super().__init__()
        self.port = port
        self.number = number
        # Of each structure: how far the acknowledgements reach.
        self.counts = counts
        self.failure = None
        self.stopping = False

    def run(self):
        try:
            with Connection(self.port) as client:
                while not self.stopping:
                    self.batch(client)
        except (OSError, EOFError, Closed):
            pass
        except ReplyError as error:
            if not str(error).startswith(("LOADING", "MISCONF")):
                self.failure = error
        except Exception as error:
            self.failure = error

    def batch(self, client):
        n = self.number
        value = os.urandom(random.choice((8, 300, 5000))).hex()
        commands = [
            ("INCR", "counter%d" % n),
            ("RPUSH", "list%d" % n, self.counts["list"] + 1),
            ("HSET", "hash%d" % n, "f%d" % (self.counts["hash"] + 1), value),
            ("MULTI",),
            ("INCR", "multi%d" % n),
            ("INCR", "both%d" % n),
            ("EXEC",),
            ("SET", "noise%d:%d" % (n, random.randrange(500)), value, "PX", 100000),
            ("ZADD", "zset%d" % n, self.counts["zset"] + 1, "m%d" % (self.counts["zset"] + 1)),
            ("XADD", "stream%d" % n, "%d-1" % (self.counts["stream"] + 1), "f", value[:16]),
        ]
        client.send_raw(b"".join(self.encoded(command) for command in commands))
        for command in commands:
            reply = client.read()
            if isinstance(reply, ReplyError):
                raise reply
            self.note(command[0], reply)

    @staticmethod
    def encoded(command):
        from harness import encode

        return encode(command)

    def note(self, verb, reply):
        kinds = {"RPUSH": "list", "HSET": "hash", "ZADD": "zset", "XADD": "stream"}
        if verb in kinds:
            self.counts[kinds[verb]] += 1
        elif verb == "INCR" and isinstance(reply, int):
            self.counts["counter"] = reply
        elif verb == "EXEC":
            self.counts["multi"] = reply[0]


@only_for_martlet
class CrashTest(WireTest):
    def test_acknowledged_writes_survive_kill_9(self):
        folder = tempfile.mkdtemp(prefix="martlet-crash-")
        self.addCleanup(shutil.rmtree, folder, True)
        server = self.server(
            dir=folder, appendonly="yes", **{"aof-use-rdb-preamble": random.choice(("yes", "no"))})
        kinds = ("counter", "list", "hash", "multi", "zset", "stream")
        counts = [dict.fromkeys(kinds, 0) for _ in range(WRITERS)]
        for round in range(ROUNDS):
            policy = POLICIES[round % len(POLICIES)]
            beside = BESIDES[(round // len(POLICIES)) % len(BESIDES)]
            with self.subTest(round=round, policy=policy, beside=beside):
                server.call("CONFIG", "SET", "appendfsync", policy)
                self.crash(server, counts, beside)
                server.restart()
                wait_until(lambda: server.call("DBSIZE") >= 0, "loaded", 60)
                self.check(server, counts)

    def crash(self, server, counts, beside):
        writers = [Writer(server.port, n, counts[n]) for n in range(WRITERS)]
        before = [dict(count) for count in counts]
        for writer in writers:
            writer.start()
        wait_until(
            lambda: all(counts[n]["stream"] > before[n]["stream"] for n in range(WRITERS)),
            "every writer got answers")
        if beside:
            # As the data grows the server begins a rewrite by itself, and refuses another walk.
            reply = server.connect().ask(beside)
            if isinstance(reply, ReplyError):
                self.assertRegex(str(reply), "Another child process is active|in progress")
        # Not synchronisation: the random moment that this test is about.
        threading.Event().wait(random.random() * 0.25)
        server.kill()
        for writer in writers:
            writer.stopping = True
            writer.join()
            self.assertIsNone(writer.failure)

    def check(self, server, counts):
        with server.connect() as client:
            for n, count in enumerate(counts):
                found = {
                    "counter": int(client.call("GET", "counter%d" % n) or 0),
                    "multi": int(client.call("GET", "multi%d" % n) or 0),
                    "list": client.call("LLEN", "list%d" % n),
                    "hash": client.call("HLEN", "hash%d" % n),
                    "zset": client.call("ZCARD", "zset%d" % n),
                    "stream": client.call("XLEN", "stream%d" % n),
                }
                both = int(client.call("GET", "both%d" % n) or 0)
                self.assertEqual(found["multi"], both, "half of a transaction")
                for kind, value in found.items():
                    self.assertGreaterEqual(value, count[kind], "%s of writer %d" % (kind, n))
                    # One batch may have been carried out without an answer.
                    self.assertLessEqual(value, count[kind] + 1, "%s of writer %d" % (kind, n))
                count.update(found)
