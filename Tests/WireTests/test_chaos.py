"""`scripts/chaos` as a test: a short run of faults, and that its checker sees what it should."""

# cost: 60
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from harness import OURS, WireTest, only_for_martlet, wait_until
from martlet import tools
from martlet.chaos import network

try:
    from martlet.chaos import check, clients
    from martlet.chaos.world import Lane
except ImportError:  # redis-py is missing; scripts/test brings it
    check = None

TIMEOUT_MS = 1000


@unittest.skipUnless(check, "redis-py is not installed")
class ChaosScriptTests(WireTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-chaos-test-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def begin(self, *words):
        """Starts the script, whose servers have their folders in the test's."""
        return subprocess.Popen(
            [sys.executable, os.path.join(tools.ROOT, "scripts", "lib", "chaos.py"),
             "--server", OURS] + list(words),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=dict(os.environ, TMPDIR=self.folder, PYTHONUNBUFFERED="1"),
            # What a shell starts in the background ignores SIGINT, and would hand that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def chaos(self, *words):
        """Runs the script; its exit code, its output, and the rounds that it wrote down."""
        path = os.path.join(self.folder, "results.json")
        process = self.begin("--json", path, "--html", path + ".html", *words)
        timer = threading.Timer(240, process.kill)
        timer.start()
        output, _ = process.communicate()
        timer.cancel()
        rounds = []
        if os.path.exists(path):
            with open(path) as file:
                rounds = json.load(file)["rounds"]
            with open(path + ".html") as file:
                self.assertIn("<polyline", file.read())
        self.assert_nothing_left()
        return process.returncode, output, rounds

    def assert_nothing_left(self):
        """No folder and no process of a server that the script started."""
        self.assertEqual(glob.glob(os.path.join(self.folder, "martlet-chaos-*")), [])
        self.assertEqual(self.servers(), [])

    def servers(self):
        """By their folders: a server's command line is its title."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                folder = os.readlink("/proc/%s/cwd" % name)
                program = os.readlink("/proc/%s/exe" % name)
            except OSError:
                continue
            if folder.startswith(self.folder) and os.path.samefile(program, OURS):
                found.append(int(name))
        return found

    @only_for_martlet
    def test_a_short_run_loses_nothing_without_a_trace(self):
        reason = network.why_not()
        if reason:
            print("on loopback, without the partition: %s" % reason)
            faults, extra = ["kill", "stop"], ["--loopback"]
        else:
            faults, extra = ["kill", "partition-minority"], []
        code, output, rounds = self.chaos(
            "--rounds", "1", "--seed", "7", "--worlds", "cluster", "--timeout", str(TIMEOUT_MS),
            "--faults", ",".join(faults), *extra
        )
        self.assertEqual(code, 0, output)
        self.assertEqual([r["fault"] for r in rounds], faults, output)
        for result in rounds:
            self.assertIsNone(result["problem"], output)
            self.assertEqual(result["lost"], result["kept"], output)
            self.assertGreater(result["acknowledged"], 100, output)
            self.assertLess(result["unavailable"], TIMEOUT_MS / 1e3 + 4, output)
            self.assertLess(result["both"], TIMEOUT_MS / 1e3, output)

    def test_an_interrupted_run_ends_what_it_started(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)):
            process = self.begin("--faults", "stop", "--worlds", "cluster", "--seed", "1")
            for line in process.stdout:
                if re.search(r"SIGSTOP n\d", line):
                    break
            self.assertGreaterEqual(len(self.servers()), 6)
            process.send_signal(number)
            process.communicate(timeout=30)
            self.assertEqual(process.returncode, code)
            wait_until(lambda: not self.servers(), "the servers are gone", 10)
            if number != signal.SIGKILL:
                self.assert_nothing_left()

    def test_misuse_is_refused(self):
        for words in (["--faults", "earthquake"], ["--worlds", "flat"], ["--rounds", "0"],
                      ["--set", "appendfsync"]):
            code, output, _ = self.chaos(*words)
            self.assertEqual(code, 2, output)
            self.assertIn("usage: scripts/chaos", output)


class OneNode:
    """As much of a world as the checker looks at."""

    def __init__(self, server):
        server.name = "n1"
        self.nodes = [server]
        self.lanes = [Lane("s")]

    def owners(self):
        return [(0, 16383, self.nodes[0])]


@unittest.skipUnless(check, "redis-py is not installed")
class CheckerTests(WireTest):
    def write(self, number, begun=0.0, ended=0.0, node=0, fate=0, lane=0):
        plan = clients.Plan(clients.PLAIN, "p0", [], 0, node)
        return clients.Write(plan, (begun, ended, number, lane, fate, node))

    def test_what_is_missing_is_found(self):
        server = self.server()
        world = OneNode(server)
        writes = [self.write(number) for number in range(40)]
        for write in writes:
            server.call(*clients.command_of("p0", world.lanes[0], write.number))
        self.assertEqual(check.read_back(world, writes), [])
        gone, other, member = writes[7], writes[8], writes[10]
        server.call("DEL", clients.command_of("p0", world.lanes[0], 7)[1])
        server.call("SET", clients.command_of("p0", world.lanes[0], 8)[1], "else")
        server.call("SREM", *clients.command_of("p0", world.lanes[0], 10)[1:])
        missing = check.read_back(world, writes)
        self.assertEqual({w.number for w in missing}, {7, 8, 10})
        # What a demoted primary kept is recognised in its file.
        with open(os.path.join(server.folder, "lost-writes-1-2.aof"), "wb") as file:
            file.write(b"#lost-writes node=x replid=y offsets=1-2 successor=z saved-at=0\r\n")
            file.write(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
            name, key, value = clients.command_of("p0", world.lanes[0], 7)
            for word in (b"*3\r\n", name, key, value):
                file.write(word if isinstance(word, bytes)
                           else b"$%d\r\n%s\r\n" % (len(word), word.encode()))
        kept = check.set_aside(world)
        self.assertEqual(
            [check.is_set_aside(world, w, kept) for w in (gone, other, member)],
            [True, False, False])

    def test_times_without_writes(self):
        times = [1.0, 1.1, 3.0, 3.1]
        self.assertAlmostEqual(check.longest_gap(times, 1.05, 3.2), 1.9)
        self.assertAlmostEqual(check.longest_gap(times, 3.05, 9.0), 5.9)
        self.assertAlmostEqual(check.longest_gap([], 1.0, 4.0), 3.0)
        writes = [self.write(i, at, at) for i, at in enumerate(times)]
        self.assertAlmostEqual(check.unavailable(writes, [None], 1.05, 3.2), 1.9)
        self.assertAlmostEqual(
            check.unavailable(writes, [None], 1.05, 3.2, clients.CLUSTER_AWARE), 3.2 - 1.05)

    def test_two_nodes_that_acknowledge_for_one_shard(self):
        before = [self.write(i, at, at + 0.01, node=0) for i, at in enumerate((1.0, 2.0, 2.2))]
        after = [self.write(i, at, at + 0.01, node=1) for i, at in enumerate((2.5, 3.0), 10)]
        self.assertEqual(check.both_acknowledged(before + after, [None]), 0.0)
        # A reply that comes late is no proof; a write that begins late is.
        slow = self.write(20, 2.3, 9.0, node=0)
        self.assertEqual(check.both_acknowledged(before + after + [slow], [None]), 0.0)
        late = self.write(21, 2.9, 3.5, node=0)
        self.assertAlmostEqual(check.both_acknowledged(before + after + [late], [None]), 0.99)


if __name__ == "__main__":
    unittest.main()
