#!/usr/bin/env python3
"""Runs the wire tests: real processes, spoken to over sockets.

Each `test_*.py` beside this file is run in a process of its own, several side by side. A line per
test, then a closing summary. A skipped test is shown with its reason and counted.

  MARTLET_SERVER   the server under test (default: the release build)
  REDIS_SERVER     the reference (default: redis-server on PATH)
"""

import argparse
import os
import queue
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(os.path.dirname(HERE)), "scripts", "lib")]
MARK = "\x1e"  # begins a line meant for the runner, in a worker's output


class LineResult(unittest.TestResult):
    """Prints one machine-readable line per test."""

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()
        self.bad = False

    def emit(self, kind, test, detail=""):
        seconds = time.monotonic() - getattr(self, "begun", time.monotonic())
        text = detail.replace("\n", "\x1f")
        print(MARK + "\t".join([kind, short_name(test), "%.1f" % seconds, text]), flush=True)

    def addSuccess(self, test):
        self.emit("ok", test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.emit("FAILED", test, self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self.emit("FAILED", test, self.errors[-1][1])

    def addSkip(self, test, reason):
        self.emit("skipped", test, reason)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.emit("FAILED", subtest, (self.failures + self.errors)[-1][1])


def short_name(test):
    name = test.id() if hasattr(test, "id") else str(test)
    return name.replace("test_", "", 1)


def worker(module, pattern):
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    chosen = unittest.TestSuite(
        test for test in flatten(suite) if not pattern or matches(pattern, test.id())
    )
    chosen.run(LineResult())


def matches(pattern, name):
    import re

    return re.search(pattern, name) is not None


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def modules():
    """Test files, the slowest first (a `# cost: SECONDS` line), so that none is left to the end."""
    found = []
    for name in sorted(os.listdir(HERE)):
        if name.startswith("test_") and name.endswith(".py"):
            cost = 5
            with open(os.path.join(HERE, name)) as file:
                for line in file:
                    if line.startswith("# cost:"):
                        cost = int(line.split(":")[1])
                        break
            found.append((-cost, name[:-3]))
    return [name for _, name in sorted(found)]


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {"ok": 0, "FAILED": 0, "skipped": 0}

    def note(self, kind, name, seconds, detail):
        with self.lock:
            self.counts[kind] += 1
            print(
                "%-7s %s (%s s)%s"
                % (kind, name, seconds, ": " + detail if kind == "skipped" else ""),
                flush=True,
            )
            if kind == "FAILED":
                print("        " + detail.replace("\x1f", "\n        ").rstrip(), flush=True)


def run_module(module, pattern, limit, tally):
    command = [sys.executable, os.path.abspath(__file__), "--worker", module]
    if pattern:
        command += ["--filter", pattern]
    # Each test file has ports of its own, see `own_ports`.
    names = modules()
    share = 10000 // len(names)
    first = 11000 + names.index(module) * share
    environment = dict(os.environ, MARTLET_PORTS="%d-%d" % (first, first + share - 1))
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    timer = threading.Timer(limit, process.kill)
    timer.start()
    other = []
    for line in process.stdout:
        text = line.decode("utf-8", "replace").rstrip("\n")
        if text.startswith(MARK):
            kind, name, seconds, detail = text[1:].split("\t", 3)
            tally.note(kind, name, seconds, detail)
        else:
            other.append(text)
    code = process.wait()
    timer.cancel()
    if code != 0:
        tally.note(
            "FAILED",
            module.replace("test_", ""),
            "?",
            "the test process ended with %d%s\n%s"
            % (code, " (time limit)" if code == -9 else "", "\n".join(other[-30:])),
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="test files to run, such as protocol")
    parser.add_argument("--filter", metavar="REGEX", help="only tests whose name matches")
    parser.add_argument("--jobs", type=int, default=2, help="test files side by side (default 2)")
    parser.add_argument(
        "--limit", type=int, default=420, help="seconds for one file (default 420)"
    )
    parser.add_argument("--fuzz", type=float, metavar="SECONDS", help="run the fuzzers instead")
    parser.add_argument("--seed", type=int, help="with --fuzz: the seed of a failed run")
    parser.add_argument("--list", action="store_true", help="print the test files and end")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.filter)
        return 0
    if args.fuzz is not None:
        import fuzz

        return fuzz.main(args.fuzz, args.seed)
    chosen = modules()
    if args.list:
        print("\n".join(chosen))
        return 0
    if args.modules:
        wanted = {"test_" + name.replace("test_", "").replace(".py", "") for name in args.modules}
        unknown = wanted - set(chosen)
        if unknown:
            parser.error("no such test file: %s" % " ".join(sorted(unknown)))
        chosen = [name for name in chosen if name in wanted]
    begun = time.monotonic()
    tally = Tally()
    work = queue.SimpleQueue()
    for module in chosen:
        work.put(module)

    def loop():
        while True:
            try:
                module = work.get_nowait()
            except queue.Empty:
                return
            run_module(module, args.filter, args.limit, tally)

    threads = [threading.Thread(target=loop) for _ in range(max(1, args.jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = tally.counts
    print(
        "%d passed, %d failed, %d skipped in %.0f s"
        % (counts["ok"], counts["FAILED"], counts["skipped"], time.monotonic() - begun)
    )
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
