"""`min-replicas-ack`: a write is answered when replicas have it, or with an error that says so."""

# cost: 12
import time

from harness import OURS, REDIS, ReplyError, WireTest, needs_redis, only_for_martlet, wait_until


@only_for_martlet
class AckTest(WireTest):
    def pair(self, replica=None, **directives):
        directives.setdefault("min-replicas-ack-timeout", 400)
        primary = self.server(**directives)
        replica = self.server(replica or OURS, replicaof="127.0.0.1 %d" % primary.port)
        wait_until(
            lambda: replica.info("replication")["master_link_status"] == "up", "follows")
        wait_until(lambda: primary.call("WAIT", 1, 100) == 1, "acknowledges")
        return primary, replica

    def assert_unacked(self, reply):
        self.assertIsInstance(reply, ReplyError)
        self.assertTrue(str(reply).startswith("UNACKED The write is applied here"), reply)

    def assert_rests_on_unacked(self, reply):
        self.assertIsInstance(reply, ReplyError)
        self.assertTrue(str(reply).startswith("UNACKED Nothing was changed"), reply)

    def test_what_a_second_attempt_finds_is_not_safe_either(self):
        primary, replica = self.pair(**{"min-replicas-ack": 1})
        with primary.connect() as client:
            self.assertEqual(client.call("SADD", "s", "first"), 1)
            self.assertEqual(client.call("SADD", "s", "first"), 0)
            replica.pause()
            self.assert_unacked(client.ask("SADD", "s", "m"))
            self.assert_rests_on_unacked(client.ask("SADD", "s", "m"))
            self.assert_rests_on_unacked(client.ask("SET", "s", "v", "NX"))
            for words in (("MULTI",), ("SADD", "s", "m"), ("GET", "none")):
                client.call(*words)
            self.assert_rests_on_unacked(client.ask("EXEC"))
            self.assert_rests_on_unacked(
                client.ask("EVAL", "return redis.call('SADD', 's', 'm')", "0"))
            # Errors, reads, and transactions of reads wait for nobody.
            self.assertTrue(str(client.ask("INCR", "s")).startswith("WRONGTYPE"))
            self.assertEqual(client.call("SISMEMBER", "s", "m"), 1)
            client.call("MULTI")
            client.call("SISMEMBER", "s", "m")
            self.assertEqual(client.call("EXEC"), [1])
            replica.resume()
            wait_until(lambda: primary.call("WAIT", 1, 100) == 1, "acknowledges")
            self.assertEqual(client.call("SADD", "s", "m"), 0)

    def test_without_replicas_the_error_says_what_happened(self):
        server = self.server(**{"min-replicas-ack": 1, "min-replicas-ack-timeout": 100})
        with server.connect() as client:
            self.assert_unacked(client.ask("SET", "k", "v"))
            # Applied, and reads do not wait.
            self.assertEqual(client.call("GET", "k"), b"v")
            self.assertEqual(client.call("CLIENT", "MIN-REPLICAS-ACK"), 1)
            self.assertEqual(client.call("CLIENT", "MIN-REPLICAS-ACK", 0), "OK")
            self.assertEqual(client.call("SET", "k", "w"), "OK")
            self.assertEqual(client.call("CLIENT", "MIN-REPLICAS-ACK", "DEFAULT"), "OK")
            self.assert_unacked(client.ask("SET", "k", "x"))
            self.assert_rests_on_unacked(client.ask("DEL", "none"))
            server.call("CONFIG", "SET", "min-replicas-ack", "0")
            self.assertEqual(client.call("SET", "k", "y"), "OK")
            self.assertIsInstance(client.ask("CLIENT", "MIN-REPLICAS-ACK", -1), ReplyError)

    def acknowledged(self, binary):
        primary, replica = self.pair(
            binary, **{"min-replicas-ack": 1, "min-replicas-ack-timeout": 900})
        with primary.connect() as client:
            # Within the limit, which is shorter than the period of a replica's own reports.
            for n in range(50):
                self.assertEqual(client.call("SET", "k%d" % n, n), "OK")
                # Whoever was answered finds it on the replica.
                self.assertEqual(replica.call("GET", "k%d" % n), b"%d" % n)
            replies = client.pipeline([("INCR", "n") for _ in range(500)])
            self.assertEqual(replies, list(range(1, 501)))

    def test_replicas_acknowledge_at_once(self):
        self.acknowledged(OURS)

    @needs_redis
    def test_redis_replicas_acknowledge_at_once(self):
        self.acknowledged(REDIS)

    def test_replies_stay_in_order(self):
        primary, replica = self.pair(**{"min-replicas-ack": 1})
        primary.call("SET", "k", "old")
        replica.pause()
        with primary.connect() as client:
            commands = [
                ("PING",), ("GET", "k"), ("SET", "k", "new"), ("GET", "k"), ("MULTI",),
                ("SET", "a", "1"), ("INCR", "n"), ("EXEC",), ("RPUSH", "l", "x"),
                ("BLPOP", "l", "0"), ("ECHO", "end"),
            ]
            from harness import encode

            client.send_raw(b"".join(encode(command) for command in commands))
            # What was answered before the first write does not wait.
            self.assertEqual([client.read(), client.read()], ["PONG", b"old"])
            begun = time.monotonic()
            self.assert_unacked(client.read())
            self.assertGreater(time.monotonic() - begun, 0.2)
            self.assertEqual(client.read(), b"new")
            self.assertEqual([client.read() for _ in range(3)], ["OK", "QUEUED", "QUEUED"])
            for _ in range(3):
                self.assert_unacked(client.read())
            self.assertEqual(client.read(), b"end")
            client.send("SET", "k", "newer")
            replica.resume()
            self.assertEqual(client.read(), "OK")
            self.assertEqual(replica.call("GET", "k"), b"newer")

    def test_blocked_clients_wait_too(self):
        primary, replica = self.pair(**{"min-replicas-ack": 1, "min-replicas-ack-timeout": 5000})
        with primary.connect() as waiting, primary.connect() as pushing:
            waiting.send("BLPOP", "queue", "0")
            wait_until(lambda: primary.info("clients")["blocked_clients"] == "1", "blocked")
            replica.pause()
            pushing.send("RPUSH", "queue", "x")
            wait_until(lambda: primary.call("LLEN", "queue") == 0, "served")
            waiting.settimeout(0.2)
            with self.assertRaises(OSError):
                waiting.socket.recv(1)
            waiting.settimeout(10)
            replica.resume()
            self.assertEqual(pushing.read(), 1)
            self.assertEqual(waiting.read(), [b"queue", b"x"])

    def test_two_of_two(self):
        primary, first = self.pair(**{"min-replicas-ack": 2, "min-replicas-ack-timeout": 300})
        self.assert_unacked(primary.connect().ask("SET", "k", "1"))
        second = self.server(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(lambda: primary.call("WAIT", 2, 100) == 2, "both acknowledge")
        self.assertEqual(primary.call("SET", "k", "2"), "OK")
        self.assertEqual(first.call("GET", "k"), b"2")
        self.assertEqual(second.call("GET", "k"), b"2")

    def test_a_primary_that_is_demoted_tells_who_waits(self):
        primary, replica = self.pair(**{"min-replicas-ack": 1, "min-replicas-ack-timeout": 0})
        replica.pause()
        with primary.connect() as client:
            client.send("SET", "k", "v")
            wait_until(lambda: primary.call("GET", "k") == b"v", "applied")
            other = self.server()
            primary.call("REPLICAOF", "127.0.0.1", other.port)
            reply = client.read()
            self.assertIsInstance(reply, ReplyError)
            self.assertTrue(str(reply).startswith("UNACKED"), reply)
        replica.resume()

    def test_clients_that_go_are_forgotten(self):
        server = self.server(**{"min-replicas-ack": 1, "min-replicas-ack-timeout": 0})
        for _ in range(5):
            client = server.connect()
            client.send("SET", "k", "v")
            client.close()
        wait_until(lambda: server.info("clients")["connected_clients"] == "1", "gone")
        self.assert_alive(server)
