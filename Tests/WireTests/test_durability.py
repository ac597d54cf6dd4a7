"""The append-only file on real processes: kill -9 under load, damaged ends, exchange with Redis."""

# cost: 40
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time

from harness import OURS, REDIS, Connection, Server, WireTest, needs_redis, wait_until

MANIFEST = "appendonlydir/appendonly.aof.manifest"
UNFINISHED = b"*3\r\n$3\r\nSET\r\n$1\r\nq"


class DurabilityTest(WireTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-log-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def logged(self, binary=None, **directives):
        directives.setdefault("appendonly", "yes")
        return self.server(binary, dir=self.folder, **directives)

    def filled(self):
        """A server that has ended, with twenty keys in its log."""
        server = self.logged()
        for n in range(20):
            server.call("SET", "k%d" % n, "v")
        server.terminate()
        return server

    @staticmethod
    def append(path, data):
        with open(path, "ab") as file:
            file.write(data)

    @staticmethod
    def serves(server):
        """Not even while it loads does a server refuse connections."""
        with server.connect() as client:
            return client.ask("PING") == "PONG"

    def increment(self):
        """The path of the file that is written to."""
        with open(os.path.join(self.folder, MANIFEST)) as manifest:
            name = manifest.read().split("\n")[-2].split()[1]
        return os.path.join(self.folder, "appendonlydir", name)

    def test_nothing_acknowledged_is_lost(self):
        server = self.logged(appendfsync="always")
        acknowledged = [0] * 4
        for round in range(6):
            stop = threading.Event()
            writers = [
                threading.Thread(target=self.write, args=(server, n, acknowledged, stop))
                for n in range(4)
            ]
            for writer in writers:
                writer.start()
            wait_until(lambda: all(acknowledged), "writes")
            if round % 2:
                with server.connect() as client:
                    client.call("BGREWRITEAOF")
            threading.Event().wait(random.random() * 0.1)
            server.kill()
            stop.set()
            for writer in writers:
                writer.join()
            server.restart()
            wait_until(lambda: self.serves(server), "loaded")
            for n in range(4):
                kept = int(server.call("GET", "w%d" % n))
                self.assertGreaterEqual(kept, acknowledged[n])
                acknowledged[n] = kept

    def test_nothing_is_acknowledged_before_the_log_is_open(self):
        """A client that asks from the first moment is told to wait, until its write is kept."""
        server = self.logged()
        for round in range(8):
            server.kill()
            server.start(wait=False)
            # No wait between the looks: what comes before the first turn of the loop counts.
            with self.first_connection(server) as client:
                while client.ask("SET", "key%d" % round, round) != "OK":
                    pass
            server.kill()
            server.start()
            self.assertEqual(server.call("DBSIZE"), round + 1)

    def first_connection(self, server):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                return server.connect()
            except ConnectionRefusedError:
                continue
        raise AssertionError("the server does not listen")

    @staticmethod
    def write(server, n, acknowledged, stop):
        try:
            with Connection(server.port) as client:
                while not stop.is_set():
                    acknowledged[n] = client.call("INCR", "w%d" % n)
        except (OSError, EOFError):
            pass
        except Exception as error:
            if type(error).__name__ != "Closed":
                raise

    def test_an_end_that_is_not_whole_is_cut_and_kept(self):
        server = self.filled()
        path = self.increment()
        size = os.path.getsize(path)
        for end in (UNFINISHED, b"\0" * 4096, b"*2\r\n$3\r\nDEL\0\0\0\0\0torn"):
            self.append(path, end)
            checked = subprocess.run([OURS, "--check", path], stdout=subprocess.PIPE)
            self.assertEqual(checked.returncode, 1)
            server.restart()
            wait_until(lambda: self.serves(server), "loaded")
            self.assertEqual(server.call("DBSIZE"), 20)
            self.assertEqual(
                server.info("persistence")["aof_last_load_cut_bytes"], str(len(end)))
            server.terminate()
            self.assertEqual(os.path.getsize(path), size)
            kept = [name for name in os.listdir(os.path.dirname(path)) if ".cut-" in name]
            self.assertEqual(len(kept), 1)
            os.remove(os.path.join(os.path.dirname(path), kept[0]))

    def test_an_end_that_is_not_whole_may_have_an_empty_file_behind(self):
        """A power cut between the manifest that names the next file and the first byte in it."""
        server = self.filled()
        path = self.increment()
        following = os.path.join(os.path.dirname(path), "appendonly.aof.2.incr.aof")
        self.assertNotEqual(path, following)
        manifest = os.path.join(self.folder, MANIFEST)
        self.append(manifest, b"file appendonly.aof.2.incr.aof seq 2 type i\n")
        self.append(path, UNFINISHED)
        open(following, "w").close()
        checked = subprocess.run([OURS, "--check", manifest], stdout=subprocess.PIPE)
        self.assertIn(b"repairable yes", checked.stdout)
        server.restart()
        wait_until(lambda: self.serves(server), "loaded")
        self.assertEqual(server.call("DBSIZE"), 20)
        server.call("SET", "behind", "v")
        server.terminate()
        self.assertGreater(os.path.getsize(following), 0)
        # With something behind, commands are missing in between: that is not for us to decide.
        self.append(path, UNFINISHED)
        refusing = Server(OURS, wait=False, appendonly="yes", dir=self.folder)
        self.addCleanup(refusing.close)
        wait_until(lambda: not refusing.alive, "the refusal")
        self.assertIn("the truncated file is not the last file", refusing.output())

    @needs_redis
    def test_folders_go_both_ways(self):
        for first, second in ((OURS, REDIS), (REDIS, OURS)):
            for preamble in ("yes", "no"):
                shutil.rmtree(os.path.join(self.folder, "appendonlydir"), True)
                options = {"aof-use-rdb-preamble": preamble}
                writer = self.logged(first, **options)
                with writer.connect() as client:
                    for n in range(50):
                        client.call("SELECT", n % 3)
                        client.call("SET", "s%d" % n, "x" * n)
                        fields = ["f%d" % (i // 2) for i in range(n * 2 + 2)]
                        client.call("HSET", "h%d" % n, *fields)
                        if n == 25:
                            client.call("BGREWRITEAOF")
                    client.call("EXPIRE", "s4", 10000)
                    wait_until(
                        lambda: client.info("persistence")["aof_rewrite_in_progress"] == "0",
                        "the rewrite")
                    digest = client.call("DEBUG", "DIGEST")
                writer.terminate()
                reader = self.logged(second, **options)
                wait_until(lambda: self.serves(reader), "loaded")
                self.assertEqual(reader.call("DEBUG", "DIGEST"), digest)
                reader.terminate()
