"""Disks that are full, fail, or are slow: what a server answers, keeps, and how it recovers."""

# cost: 20
import errno
import os
import resource
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import OURS, ReplyError, WireTest, free_port, only_for_martlet, wait_until
from martlet.tools import server_path  # noqa: F401

HERE = os.path.dirname(os.path.abspath(__file__))
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@only_for_martlet
class DiskFaultTest(WireTest):
    @classmethod
    def setUpClass(cls):
        if COMPILER is None:
            raise unittest.SkipTest("no C compiler for the fault library")
        cls.tools = tempfile.mkdtemp(prefix="martlet-faults-")
        cls.library = os.path.join(cls.tools, "faults.so")
        subprocess.check_call(
            [COMPILER, "-shared", "-fPIC", "-O1", "-o", cls.library,
             os.path.join(HERE, "disk_faults.c"), "-ldl"])

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.tools, True)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-disk-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.rules = os.path.join(self.folder, "faults")

    def faulty(self, **directives):
        directives.setdefault("appendonly", "yes")
        return self.server(
            dir=self.folder,
            prefix=["env", "LD_PRELOAD=" + self.library, "DISK_FAULTS=" + self.rules],
            **directives)

    def faults(self, *rules):
        """Each rule: call, errno, milliseconds, part of the path."""
        with open(self.rules + ".new", "w") as file:
            for rule in rules:
                file.write("%s %d %d %s\n" % rule)
        os.rename(self.rules + ".new", self.rules)

    def recovers(self, server):
        return server.call("SET", "probe", "x") == "OK"

    def check_restart(self, server, **expected):
        self.faults()
        server.kill()
        server.restart()
        for key, value in expected.items():
            self.assertEqual(server.call("GET", key), value)

    # Appending

    def test_full_disk_while_appending(self):
        server = self.faulty(appendfsync="everysec")
        server.call("SET", "before", "1")
        self.faults(("write", errno.ENOSPC, 0, "incr.aof"))
        # This one is applied and not written: its reply waits.
        client = server.connect()
        self.addCleanup(client.close)
        client.send("SET", "during", "1")
        wait_until(
            lambda: isinstance(server.connect().ask("SET", "x", "1"), ReplyError), "refused")
        with server.connect() as other:
            reply = other.ask("SET", "x", "1")
            self.assertIn("MISCONF", str(reply))
            self.assertIn("No space left on device", str(reply))
            self.assertEqual(other.call("GET", "before"), b"1")
        self.assertEqual(server.info("persistence")["aof_last_write_status"], "err")
        self.faults()
        self.assertEqual(client.read(), "OK")
        wait_until(lambda: self.recovers(server), "recovered")
        self.assertEqual(server.info("persistence")["aof_last_write_status"], "ok")
        self.check_restart(server, before=b"1", during=b"1", probe=b"x")

    def test_a_file_that_may_not_grow(self):
        server = self.faulty(appendfsync="always")
        server.call("SET", "before", "1")
        path = self.increment()
        limits = (os.path.getsize(path) + 40, resource.RLIM_INFINITY)
        pid = self.server_pid(server)
        old = resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        client = server.connect()
        self.addCleanup(client.close)
        client.send("SET", "during", "x" * 1000)
        wait_until(
            lambda: isinstance(server.connect().ask("SET", "x", "1"), ReplyError), "refused")
        # What the system took of it was cut off again: the file is whole.
        self.assertEqual(subprocess.call([OURS, "--check", path], stdout=subprocess.DEVNULL), 0)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
        self.assertEqual(client.read(), "OK")
        wait_until(lambda: self.recovers(server), "recovered")
        self.check_restart(server, before=b"1", during=b"x" * 1000)

    @staticmethod
    def server_pid(server):
        """`env` became the server."""
        return server.pid

    def increment(self):
        folder = os.path.join(self.folder, "appendonlydir")
        with open(os.path.join(folder, "appendonly.aof.manifest")) as manifest:
            return os.path.join(folder, manifest.read().split("\n")[-2].split()[1])

    # Syncing

    def test_a_sync_that_fails_is_not_believed(self):
        for policy in ("always", "everysec"):
            with self.subTest(policy=policy):
                server = self.faulty(appendfsync=policy)
                server.call("SET", "before", policy)
                self.faults(("fsync", errno.EIO, 0, "incr.aof"))
                client = server.connect()
                client.send("SET", "during", policy)
                # What was answered by then is safe in a new base, which the fault does not touch.
                wait_until(lambda: "can no longer be trusted" in server.output(), "noticed")
                self.faults()
                wait_until(lambda: self.recovers(server), "recovered")
                self.assertEqual(client.read(), "OK")
                client.close()
                self.assertIn("can no longer be trusted", server.output())
                # A new base took the place of the files that nobody can judge.
                wait_until(self.rewrite_ended(server), "rewritten")
                self.check_restart(
                    server, before=policy.encode(), during=policy.encode(), probe=b"x")
                server.terminate()

    def test_a_slow_sync_does_not_stop_the_loop(self):
        server = self.faulty(appendfsync="everysec")
        self.faults(("fsync", 0, 1500, "incr.aof"))
        longest = 0.0
        with server.connect() as writer, server.connect() as reader:
            end = time.monotonic() + 4
            while time.monotonic() < end:
                begun = time.monotonic()
                reader.call("GET", "x")
                longest = max(longest, time.monotonic() - begun)
                writer.call("SET", "x", "1")
        self.assertLess(longest, 0.5)

    def test_writers_wait_when_nothing_gets_safe(self):
        server = self.faulty(appendfsync="everysec")
        server.call("SET", "warm", "1")
        self.faults(("fsync", 0, 3000, "incr.aof"))
        with server.connect() as writer, server.connect() as reader:
            longest = 0.0
            end = time.monotonic() + 7
            while time.monotonic() < end:
                begun = time.monotonic()
                writer.call("SET", "x", "1")
                longest = max(longest, time.monotonic() - begun)
                reader.call("GET", "x")
            # From two seconds after the oldest write that is not safe to the end of the sync.
            self.assertGreater(longest, 2.0)
        self.assertNotEqual(server.info("persistence")["aof_delayed_fsync"], "0")

    # Snapshots and rewrites

    def test_full_disk_while_saving(self):
        server = self.faulty(appendonly="no", save="3600 1")
        server.call("SET", "k", "1")
        self.assertEqual(server.call("SAVE"), "OK")
        dump = os.path.join(self.folder, "dump.rdb")
        with open(dump, "rb") as file:
            good = file.read()
        server.call("SET", "k", "2")
        for rule in (
            ("write", errno.ENOSPC, 0, "temp-"), ("fsync", errno.EIO, 0, "temp-"),
            ("rename", errno.EACCES, 0, "dump.rdb"),
        ):
            with self.subTest(rule=rule):
                self.faults(rule)
                self.assertIsInstance(server.connect().ask("SAVE"), ReplyError)
                # Who asked was told; it is no reason to refuse the others' writes.
                self.assertEqual(server.call("SET", "k", "2"), "OK")
                server.call("BGSAVE")
                wait_until(
                    lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0", "ended")
                self.assertEqual(server.info("persistence")["rdb_last_bgsave_status"], "err")
                self.assertIn("MISCONF", str(server.connect().ask("SET", "k", "3")))
                with open(dump, "rb") as file:
                    self.assertEqual(file.read(), good, "the old snapshot is untouched")
                left = [name for name in os.listdir(self.folder) if name.startswith("temp-")]
                self.assertEqual(left, [])
                self.faults()
                self.assertEqual(server.call("SAVE"), "OK")
                self.assertEqual(server.call("SET", "k", "2"), "OK")
                server.call("SAVE")
                with open(dump, "rb") as file:
                    good = file.read()

    def test_rewrites_that_fail_change_nothing(self):
        server = self.faulty(appendfsync="everysec")
        for n in range(20):
            server.call("SET", "k%d" % n, "v")
        for rule in (
            ("write", errno.ENOSPC, 0, "base"), ("fsync", errno.EIO, 0, "base"),
            ("write", errno.ENOSPC, 0, "temp-"), ("rename", errno.EIO, 0, "base"),
            ("rename", errno.EIO, 0, "manifest"), ("fsync", errno.EIO, 0, "manifest"),
        ):
            with self.subTest(rule=rule):
                self.faults(rule)
                server.call("BGREWRITEAOF")
                wait_until(self.rewrite_ended(server), "ended")
                self.assertEqual(server.call("SET", "after", str(rule[0])), "OK")
                self.check_restart(server, k7=b"v", after=str(rule[0]).encode())
                self.assertEqual(server.call("DBSIZE"), 21)
                server.call("BGREWRITEAOF")
                wait_until(self.rewrite_ended(server), "ended")
                self.assertEqual(
                    server.info("persistence")["aof_last_bgrewrite_status"], "ok")

    @staticmethod
    def rewrite_ended(server):
        def ended():
            info = server.info("persistence")
            return (info["aof_rewrite_in_progress"] == "0"
                    and info["aof_rewrite_scheduled"] == "0")

        return ended

    def test_an_unreadable_folder(self):
        if os.geteuid() == 0:
            # Root may read everything: a file in the folder's place is as unreadable.
            with open(os.path.join(self.folder, "appendonlydir"), "w"):
                pass
        else:
            os.mkdir(os.path.join(self.folder, "appendonlydir"), 0)
        done = subprocess.run(
            [OURS, "--port", str(free_port()), "--dir", self.folder, "--appendonly", "yes"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"appendonlydir", done.stdout)
