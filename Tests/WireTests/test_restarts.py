"""What happens while a server saves, loads or ends, slowed down by the directives for that."""

# cost: 15
import os
import signal

from harness import OURS, REDIS, ReplyError, WireTest, needs_redis, wait_until


class SavingTests(WireTest):
    def test_flushall_ends_a_save_and_saves_the_empty_data(self):
        server = self.server(save="3600 1")
        server.call("DEBUG", "POPULATE", "500")
        server.call("SET", "k", "v")
        server.call("CONFIG", "SET", "rdb-key-save-delay", "100000")
        server.call("BGSAVE")
        self.assertEqual(server.info()["rdb_bgsave_in_progress"], "1")
        server.call("FLUSHALL")
        self.assertEqual(server.info()["rdb_changes_since_last_save"], "0")
        dump = os.path.join(server.folder, "dump.rdb")
        wait_until(lambda: os.path.exists(dump), "saved")
        wait_until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "done")
        self.assertEqual(server.info()["rdb_last_bgsave_status"], "ok")
        server.call("SET", "k", "v")
        server.kill()
        server.start()
        self.assertEqual(server.call("DBSIZE"), 0)

    def test_a_slow_save_takes_its_time_and_writes_what_was_there(self):
        server = self.server()
        for key in "abcde":
            server.call("SET", key, "old")
        server.call("CONFIG", "SET", "rdb-key-save-delay", "100000")
        server.call("BGSAVE")
        server.call("SET", "e", "new")
        self.assertEqual(server.info()["rdb_bgsave_in_progress"], "1")
        wait_until(lambda: server.info()["rdb_bgsave_in_progress"] == "0", "saved")
        server.kill()
        server.start()
        self.assertEqual(server.call("MGET", *"abcde"), [b"old"] * 5)


class LoadingTests(WireTest):
    def test_clients_hear_that_it_loads(self):
        server = self.server(save="3600 1")
        server.call("DEBUG", "POPULATE", "1000")
        server.call("SAVE")
        server.kill()
        with open(server.config, "a") as file:
            file.write("key-load-delay 2000\nloading-process-events-interval-bytes 1024\n")
        server.start(wait=False)

        def loads():
            try:
                return isinstance(server.connect().ask("GET", "k"), ReplyError)
            except ConnectionError:
                return False

        wait_until(loads, "LOADING")
        server.wait_ready()
        self.assertEqual(server.call("DBSIZE"), 1000)

    def test_a_wrong_checksum_ends_the_start(self):
        server = self.server()
        server.call("SET", "k", "v")
        server.call("SAVE")
        server.kill()
        path = os.path.join(server.folder, "dump.rdb")
        with open(path, "r+b") as file:
            file.seek(-8, os.SEEK_END)
            file.write(b"foobar00")
        server.start(wait=False)
        wait_until(lambda: not server.alive, "ended")
        self.assertIn("CRC error", server.log_tail(10))

    def test_replicas_go_on_although_keys_expired_meanwhile(self):
        primary = self.server(save="3600 1")
        replica = self.server(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(lambda: replica.info()["master_link_status"] == "up", "linked")
        primary.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        with primary.connect() as connection:
            for database in (0, 3):
                connection.call("SELECT", database)
                connection.pipeline([("SET", "e:%d" % i, "v", "PX", "1") for i in range(50)])
                connection.call("SET", "kept", "v")
        wait_until(
            lambda: primary.info()["master_repl_offset"] == replica.info()["slave_repl_offset"],
            "caught up",
        )
        replica.call("CONFIG", "RESETSTAT")
        primary.restart()
        wait_until(lambda: replica.info()["master_link_status"] == "up", "linked again")
        info = primary.info()
        self.assertEqual(info["rdb_last_load_keys_expired"], "100")
        self.assertEqual((info["sync_full"], info["sync_partial_ok"]), ("0", "1"))
        wait_until(lambda: replica.call("DBSIZE") == 1, "told of the expired keys")
        self.assertEqual(primary.call("DEBUG", "DIGEST"), replica.call("DEBUG", "DIGEST"))


class EndingTests(WireTest):
    def test_a_signal_waits_for_the_cron_and_can_be_taken_back(self):
        server = self.server()
        server.call("DEBUG", "PAUSE-CRON", "1")
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: "SIGTERM scheduling shutdown" in server.output(), "received")
        self.assertEqual(server.call("SHUTDOWN", "ABORT"), "OK")
        wait_until(lambda: "Shutdown manually aborted" in server.output(), "logged")
        server.call("DEBUG", "PAUSE-CRON", "0")
        self.assert_alive(server)


class PausedReplicaTests(WireTest):
    def check(self, primary):
        replica = self.server(replicaof="127.0.0.1 %d" % primary.port)
        wait_until(lambda: replica.info()["master_link_status"] == "up", "linked")
        primary.call("SET", "k", "1")
        wait_until(lambda: replica.call("GET", "k") == b"1", "applied")
        replica.call("CLIENT", "PAUSE", "100000", "WRITE")
        before = replica.info()["slave_repl_offset"]
        primary.call("SET", "k", "2")

        def received():
            return int(replica.info()["slave_read_repl_offset"]) > int(before)

        wait_until(received, "received")
        self.assertEqual(replica.info()["slave_repl_offset"], before)
        self.assertEqual(replica.call("GET", "k"), b"1")
        replica.call("CLIENT", "UNPAUSE")
        wait_until(lambda: replica.call("GET", "k") == b"2", "applied after all")
        wait_until(
            lambda: replica.info()["slave_repl_offset"] == primary.info()["master_repl_offset"],
            "caught up",
        )

    def test_the_stream_of_the_primary_waits(self):
        self.check(self.server(OURS))

    @needs_redis
    def test_the_stream_of_a_redis_primary_waits(self):
        self.check(self.server(REDIS))
