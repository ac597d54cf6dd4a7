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
