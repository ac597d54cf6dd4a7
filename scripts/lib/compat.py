"""`scripts/compat`: the Tcl test suite of Redis against our server, file by file.

Works on a copy of the suite's tests. In external mode each file gets a fresh server of ours to talk
to; with --own the suite starts our binary itself, under the names that it looks for. A file that
prints nothing for a while is ended, and the test that it hung in is named.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from martlet import tools
from martlet.console import Failure, Stopwatch, run_main, say
from martlet.nodes import Server, wait_until
from martlet.processes import start_ticks

EPILOG = """FOLDER is a source tree of Redis (7.0 or later), for example from
https://github.com/redis/redis; it is never written to.
UNITS are names as `--list` prints them; * matches. sentinel/NAME and cluster/NAME are files of
tests/sentinel and tests/cluster, where the suite starts our binary itself. The default is every
other unit.
Exit codes: 0 all tests passed, 1 one did not, 2 wrong usage or a missing tool."""
STAMP = re.compile(r"^\d\d:\d\d:\d\d> (.*)$")
INSTANCES = ("sentinel", "cluster")
MARK = re.compile(r"^\[(ok|err|skip|ignore|exception|testing|\d+/\d+ done)\]: ?(.*)$")


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/compat",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs Redis's own test suite against our server.",
        epilog=EPILOG,
    )
    parser.add_argument("suite", metavar="FOLDER", help="source tree of Redis")
    parser.add_argument(
        "units", nargs="*", metavar="UNITS", help="unit files, such as unit/expire"
    )
    parser.add_argument(
        "--own",
        action="store_true",
        help="the suite starts our binary itself (integration/* needs this)",
    )
    parser.add_argument(
        "--cluster-mode",
        action="store_true",
        help="external mode against one cluster node that owns every slot",
    )
    parser.add_argument(
        "--server", choices=["ours", "redis"], default="ours", help="what to test (default ours)"
    )
    parser.add_argument("--tags", default="-slow", help="tags for the suite (default -slow)")
    parser.add_argument(
        "--stall",
        type=int,
        default=120,
        metavar="S",
        help="seconds of silence after which a file has hung (default 120)",
    )
    parser.add_argument("--logs", metavar="FOLDER", help="keep the output of each file there")
    parser.add_argument("--json", metavar="FILE", help="write every test's outcome there")
    parser.add_argument(
        "--baseline", metavar="FILE", help="a --json result: count only what passed there"
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="TEST", help="leave a test out, by its name"
    )
    parser.add_argument(
        "--ignore-encoding",
        action="store_true",
        help="do not ask for the names of encodings: those here are 7.2's",
    )
    parser.add_argument("--list", action="store_true", help="print the units and end")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every failed test")
    return parser.parse_args()


class Outcome:
    """What one unit file printed."""

    def __init__(self, unit):
        self.unit = unit
        self.tests = []  # (name, outcome, detail)
        self.note = ""
        self.seconds = 0.0
        self.finished = False
        self.running = None

    def line(self, text):
        found = MARK.match(text)
        if not found:
            if self.tests and self.tests[-1][1] == "err" and len(self.tests[-1][2]) < 2000:
                self.tests[-1][2] += text + "\n"
            return
        kind, rest = found.groups()
        if kind == "testing":
            self.running = rest
        elif kind == "ok":
            self.tests.append([re.sub(r" \(\d+ ms\)$", "", rest), "ok", ""])
            self.running = None
        elif kind == "err":
            self.tests.append([re.sub(r" in tests/\S+\.tcl$", "", rest), "err", ""])
            self.running = None
        elif kind == "exception":
            self.note = "broke off: " + rest[:120]
        elif kind.endswith("done"):
            self.finished = True

    def instance_line(self, text):
        """A line of tests/sentinel/run.tcl or tests/cluster/run.tcl: `12:00:00> name: OK`."""
        found = STAMP.match(text)
        if found:
            name, _, rest = found.group(1).partition(": ")
            self.tests.append([name, "err", rest])
        if self.tests and text.endswith("OK") and not self.note:
            self.tests[-1][1] = "ok"
            self.tests[-1][0] = self.tests[-1][0].removesuffix(": OK")
        elif text.startswith("FAILED: ") and self.tests:
            self.tests[-1][1:] = ["err", text]
            self.note = "broke off"
        if text.startswith("GOOD! No errors") or text.startswith("WARNING "):
            self.finished = True

    def count(self, outcome):
        return sum(1 for test in self.tests if test[1] == outcome)


def unit_names(suite):
    done = subprocess.run(
        ["tclsh", "tests/test_helper.tcl", "--list-tests"],
        cwd=suite,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if done.returncode != 0:
        raise Failure(
            "%s does not look like a source tree of Redis:\n%s"
            % (suite, done.stderr.decode("utf-8", "replace")[-500:]),
            2,
        )
    names = done.stdout.decode().split()
    for kind in INSTANCES:
        folder = os.path.join(suite, "tests", kind, "tests")
        if os.path.isdir(folder):
            names += [kind + "/" + f[:-4] for f in os.listdir(folder) if f.endswith(".tcl")]
    return sorted(names)


def choose(names, wanted):
    if not wanted:
        return names
    chosen = []
    for pattern in wanted:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise Failure("the suite has no unit %s (see --list)" % pattern, 2)
        chosen += [name for name in found if name not in chosen]
    return chosen


def copy_tree(suite, folder, binary, own):
    """A tree as the suite wants it: its tests copied, the rest linked, src with our binaries."""
    for name in os.listdir(suite):
        if name not in ("src", "tests", ".git"):
            os.symlink(os.path.join(suite, name), os.path.join(folder, name))
    shutil.copytree(
        os.path.join(suite, "tests"),
        os.path.join(folder, "tests"),
        symlinks=True,
        ignore=lambda where, names: names if os.path.basename(where) == "tmp" else [],
    )
    os.makedirs(os.path.join(folder, "tests", "tmp"), exist_ok=True)
    source = os.path.join(folder, "src")
    os.makedirs(source)
    for name in ("redis-cli", "redis-benchmark"):
        path = tools.need_tool(name, "redis-tools", "the suite runs it")
        os.symlink(path, os.path.join(source, name))
    if own:
        for name in ("redis-server", "redis-sentinel", "redis-check-aof", "redis-check-rdb"):
            os.symlink(os.path.abspath(binary), os.path.join(source, name))


def end_group(process):
    """Ends a process, which leads a session, and what it left running in its group."""
    for number, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end and start_ticks(process.pid):
            process.poll()
            time.sleep(0.05)


def run_unit(tree, unit, flags, stall, log):
    outcome = Outcome(unit)
    watch = Stopwatch()
    kind, _, name = unit.partition("/")
    command = ["tclsh", "tests/test_helper.tcl", "--single", unit, "--dont-clean"] + flags
    if kind in INSTANCES:
        command = ["tclsh", "tests/%s/run.tcl" % kind, "--single", "/%s.tcl" % name]
        command += ["--config", "bind", "127.0.0.1"]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=tree,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, TERM="dumb"),
            start_new_session=True,
        )
    size, changed = -1, time.monotonic()
    hung = False
    try:
        while process.poll() is None and not hung:
            time.sleep(0.1)
            now = os.path.getsize(log)
            if now != size:
                size, changed = now, time.monotonic()
            hung = time.monotonic() - changed > stall
    finally:
        end_group(process)
        process.wait()
    with open(log, errors="replace") as file:
        for text in file.read().splitlines():
            if kind in INSTANCES:
                outcome.instance_line(text)
            else:
                outcome.line(text)
    outcome.seconds = watch.seconds
    if hung:
        name = outcome.running or "(unknown test)"
        outcome.tests.append([name, "hang", ""])
        outcome.note = "hung in: " + name
    elif not outcome.finished and not outcome.note:
        outcome.note = "ended early"
    return outcome


def test_unit(args, tree, binary, unit, log):
    flags = ["--tags", args.tags]
    for name in args.skip:
        flags += ["--skiptest", name]
    if args.ignore_encoding:
        flags.append("--ignore-encoding")
    if unit.partition("/")[0] in INSTANCES:
        return run_unit(tree, unit, [], max(args.stall, 240), log)
    if args.own:
        return run_unit(tree, unit, flags, args.stall, log)
    options = {"enable_module_command": "yes"}
    if args.cluster_mode:
        options["cluster_enabled"] = "yes"
        flags.append("--cluster-mode")
    server = Server(binary, **options)
    try:
        if args.cluster_mode:
            server.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(
                lambda: b"cluster_state:ok" in server.call("CLUSTER", "INFO"), "slots served"
            )
        flags += ["--host", "127.0.0.1", "--port", str(server.port)]
        outcome = run_unit(tree, unit, flags, args.stall, log)
        if not server.alive:
            outcome.note += " (the server ended: %s)" % server.log_tail(1)
        return outcome
    finally:
        server.close()


def report(outcome, expected, verbose):
    """Prints the line of a unit and returns (passed, total)."""
    passed = {test[0] for test in outcome.tests if test[1] == "ok"}
    if expected is None:
        good, total = outcome.count("ok"), len(outcome.tests)
        missing = [test[0] for test in outcome.tests if test[1] != "ok"]
    else:
        good, total = len(expected & passed), len(expected)
        missing = sorted(expected - passed)
    say("%-42s %5d/%-5d %6.1f s  %s" % (outcome.unit, good, total, outcome.seconds, outcome.note))
    if verbose:
        details = {test[0]: test[2] for test in outcome.tests if test[1] != "ok"}
        for name in missing:
            say("    failed: %s" % name)
            for text in details.get(name, "").splitlines()[:3]:
                say("        " + text[:200])
    return good, total


def main():
    args = parse()
    tools.need_tool("tclsh", "tcl", "the suite is written in it")
    suite = os.path.abspath(args.suite)
    if not os.path.exists(os.path.join(suite, "tests", "test_helper.tcl")):
        raise Failure("%s has no tests/test_helper.tcl: not a source tree of Redis" % suite, 2)
    names = unit_names(suite)
    if args.list:
        say("\n".join(names))
        return 0
    if not args.units:
        args.units = [name for name in names if name.partition("/")[0] not in INSTANCES]
    units = choose(names, args.units)
    baseline = {}
    if args.baseline:
        with open(args.baseline) as file:
            baseline = json.load(file)
    binary = tools.redis_server("to test it") if args.server == "redis" else tools.build_server()
    say(
        "%d units against %s, %s"
        % (
            len(units),
            binary,
            "the suite starts the servers" if args.own else "a fresh server for each",
        )
    )
    folder = tempfile.mkdtemp(prefix="martlet-compat-")
    good = total = 0
    results = {}
    watch = Stopwatch()
    try:
        own = args.own or any(unit.partition("/")[0] in INSTANCES for unit in units)
        copy_tree(suite, folder, binary, own)
        if args.logs:
            os.makedirs(args.logs, exist_ok=True)
        for unit in units:
            log = os.path.join(
                os.path.abspath(args.logs or folder), unit.replace("/", "_") + ".log"
            )
            outcome = test_unit(args, folder, binary, unit, log)
            results[unit] = [test[:2] for test in outcome.tests]
            expected = None
            if args.baseline:
                expected = {name for name, kind in baseline.get(unit, []) if kind == "ok"}
            one, all_of = report(outcome, expected, args.verbose)
            good, total = good + one, total + all_of
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if args.json:
            with open(args.json, "w") as file:
                json.dump(results, file, indent=1)
    say("%-42s %5d/%-5d %s" % ("TOTAL", good, total, watch))
    say("%d passed, %d failed" % (good, total - good))
    return 0 if good == total else 1


run_main(main)
