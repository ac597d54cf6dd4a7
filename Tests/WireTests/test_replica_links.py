"""What may not happen on the links between primary and replica, and what a replica may ask for."""

# cost: 5
import os
import subprocess

from harness import WireTest, in_step, needs_cli, wait_until


class ReplicaLinkTests(WireTest):
    def pair(self):
        primary = self.server()
        replica = self.server(replicaof="127.0.0.1 %d" % primary.port)
        self.wait_synced(primary, replica)
        return primary, replica

    def wait_synced(self, primary, replica):
        wait_until(lambda: in_step(primary, replica), "the replica is in step", 20)

    def ended(self, connection):
        """Reads what still comes of the snapshot, until the link ends."""
        try:
            while connection.socket.recv(65536):
                pass
        except ConnectionError:
            pass

    def test_a_reply_to_a_replica_ends_the_link(self):
        server = self.server()
        for first, command, name in (
            ("SYNC", "PING", "ping"),
            ("SYNC", "XINFO HELP", "xinfo|help"),
            ("PSYNC ? -1", "SLOWLOG GET", "slowlog|get"),
            ("PSYNC ? -1", "GET foo", "get"),
            ("PSYNC ? -1", "NONSENSE", "<unknown>"),
        ):
            with self.subTest(first + ", " + command), server.connect() as connection:
                connection.send_raw(("%s\r\n%s\r\n" % (first, command)).encode())
                self.ended(connection)
                wait_until(
                    lambda: "Replica generated a reply to command '%s', disconnecting it: id="
                    % name in server.output(),
                    "the log says why", 10,
                )
        self.assertIn(
            "== CRITICAL == This master is sending an error to its replica: "
            "'ERR Replica can't interact with the keyspace' after processing the command 'get'",
            server.output(),
        )
        self.assert_alive(server)

    def test_a_write_that_fails_on_the_replica_does_not_go_unnoticed(self):
        primary, replica = self.pair()
        replica.call("CONFIG", "SET", "replica-read-only", "no")
        replica.call("SET", "number", "foo")
        primary.call("INCRBY", "number", "1")
        self.wait_synced(primary, replica)
        self.assertEqual(replica.call("GET", "number"), b"foo")
        self.assertIn(
            "== CRITICAL == This replica is sending an error to its master: 'ERR value is not an "
            "integer or out of range' after processing the command 'incrby'",
            replica.output(),
        )
        self.assertEqual(replica.info("stats")["unexpected_error_replies"], "1")
        self.assertEqual(primary.info("stats")["unexpected_error_replies"], "0")
        replica.call("CONFIG", "RESETSTAT")
        self.assertEqual(replica.info("stats")["unexpected_error_replies"], "0")

    def test_a_killed_link_is_taken_up_again_at_once(self):
        primary, replica = self.pair()
        for count in range(1, 4):
            self.assertEqual(replica.call("CLIENT", "KILL", "TYPE", "master"), 1)
            wait_until(
                lambda: primary.info("stats")["sync_partial_ok"] == str(count),
                "the replica is back", 5,
            )
        primary.call("SET", "key", "value")
        self.wait_synced(primary, replica)
        self.assertEqual(replica.call("GET", "key"), b"value")
        self.assertEqual(primary.info("stats")["sync_full"], "1")
        self.assertIn("Connection with master lost.", replica.output())
        self.assertNotIn("Protocol error", replica.output())

    def test_a_link_that_was_killed_is_gone_before_the_process_stands_still(self):
        primary, replica = self.pair()
        with replica.connect() as connection:
            commands = ("MULTI", "CLIENT KILL TYPE master", "DEBUG SLEEP 2", "EXEC", "")
            connection.send_raw("\r\n".join(commands).encode())
            wait_until(
                lambda: primary.info("replication")["connected_slaves"] == "0",
                "the primary sees that the link is gone", 10,
            )
            connection.socket.setblocking(False)
            with self.assertRaises(BlockingIOError):  # the transaction is still asleep
                connection.socket.recv(65536)
            connection.socket.settimeout(20)
            replies = b""
            while not replies.endswith(b"*2\r\n:1\r\n+OK\r\n"):
                replies += connection.socket.recv(65536)
        self.wait_synced(primary, replica)

    def test_an_offset_that_is_no_number(self):
        server = self.server()
        with server.connect() as connection:
            self.assert_error(
                connection.ask("PSYNC", "?", "offset"),
                "ERR value is not an integer or out of range",
            )
            self.assertEqual(connection.call("PING"), "PONG")
        self.assertIn("asks for synchronization but with a wrong offset", server.output())

    def test_filters_of_a_snapshot(self):
        server = self.server()
        with server.connect() as connection:
            self.assert_error(
                connection.ask("REPLCONF", "rdb-filter-only", "data"),
                "ERR Unsupported rdb-filter-only option: data",
            )
            self.assertEqual(connection.call("REPLCONF", "rdb-filter-only", "functions"), "OK")
            self.assert_error(
                connection.ask("PSYNC", "?", "-1"), "ERR Filtered replica requires EOF capability"
            )

    @needs_cli
    def test_a_dump_of_the_functions_alone(self):
        server = self.server()
        server.call("DEBUG", "POPULATE", "1000", "key", "20")
        library = (
            "#!lua name=lib\nredis.register_function{function_name='one', "
            "callback=function() return 1 end, flags={'no-writes'}}"
        )
        server.call("FUNCTION", "LOAD", library)
        for delay in ("0", "50"):
            # What the walk would take does not matter: there is none.
            server.call("CONFIG", "SET", "rdb-key-save-delay", delay)
            path = os.path.join(server.folder, "functions.rdb")
            found = subprocess.run(
                ["redis-cli", "-p", str(server.port), "--functions-rdb", path],
                capture_output=True, text=True, timeout=30,
            )
            self.assertEqual(found.returncode, 0, found.stderr + found.stdout)
            with open(path, "rb") as file:
                dump = file.read()
            self.assertIn(b"name=lib", dump)
            self.assertNotIn(b"key:", dump)
        replica = self.server(replicaof="127.0.0.1 %d" % server.port)
        self.wait_synced(server, replica)
        self.assertEqual(replica.call("DBSIZE"), 1000)
        self.assertEqual(replica.call("FCALL_RO", "one", "0"), 1)


class ReplicaChainTests(WireTest):
    """A primary, a replica of it, and a replica of that replica."""

    def chain(self):
        primary = self.server()
        middle = self.server(replicaof="127.0.0.1 %d" % primary.port)
        last = self.server(replicaof="127.0.0.1 %d" % middle.port)
        primary.call("SET", "key", "first")
        self.wait_whole(primary, middle, last)
        return primary, middle, last

    def wait_whole(self, primary, middle, last):
        wait_until(
            lambda: in_step(primary, middle) and in_step(middle, last), "the chain is in step", 30
        )

    def copies(self, server):
        return server.info("stats")["sync_full"]

    def test_a_promotion_in_the_middle_costs_no_copy(self):
        """The last one learns the new ID, so it resumes behind the offset of the promotion."""
        _, middle, last = self.chain()
        middle.call("REPLICAOF", "NO", "ONE")
        middle.call("SET", "key", "second")
        wait_until(lambda: in_step(middle, last), "the last one follows on", 30)
        self.assertEqual(last.call("GET", "key"), b"second")
        self.assertEqual(
            last.info("replication")["master_replid"], middle.info("replication")["master_replid"]
        )
        self.assertEqual(middle.call("CLIENT", "KILL", "TYPE", "replica"), 1)
        middle.call("SET", "key", "third")
        wait_until(lambda: last.call("GET", "key") == b"third", "the link is back", 30)
        self.assertEqual(self.copies(middle), "1")
        self.assertEqual(middle.info("stats")["sync_partial_ok"], "2")

    def test_a_way_to_the_same_history_keeps_the_last_link(self):
        primary, middle, last = self.chain()
        fellow = self.server(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(lambda: in_step(primary, fellow), "the fellow is in step", 30)
        for other in (fellow, primary):
            middle.call("REPLICAOF", "127.0.0.1", other.port)
            self.wait_whole(other, middle, last)
            primary.call("SET", "key", "over %d" % other.port)
            wait_until(
                lambda: last.call("GET", "key") == b"over %d" % other.port, "the stream goes on", 30
            )
        self.assertEqual(self.copies(middle), "1")
        self.assertEqual(middle.info("stats")["sync_partial_ok"], "0")
        self.assertNotIn("Connection with master lost", last.output())

    def test_a_way_to_other_data_takes_the_last_one_along(self):
        primary, middle, last = self.chain()
        other = self.server()
        other.call("SET", "key", "of another")
        middle.call("REPLICAOF", "127.0.0.1", other.port)
        self.wait_whole(other, middle, last)
        self.assertEqual(last.call("GET", "key"), b"of another")
        self.assertEqual(self.copies(middle), "2")
        # And an old primary that others follow takes them along as well.
        last.call("REPLICAOF", "127.0.0.1", primary.port)
        wait_until(lambda: in_step(primary, last), "the last one moved", 30)
        primary.call("SET", "only", "here")
        primary.call("REPLICAOF", "127.0.0.1", other.port)
        self.wait_whole(other, primary, last)
        self.assertEqual(last.call("GET", "key"), b"of another")
        self.assertEqual(last.call("EXISTS", "only"), 0)
