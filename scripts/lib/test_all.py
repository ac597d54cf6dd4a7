"""`scripts/test`: builds everything and runs every test, stage by stage.

A failed stage does not stop the later ones; the last line is the plain sum `N passed, N failed`.
A stage that fails without naming a test (a build error, a crashed test process) counts as one
failure.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess

from martlet import tools
from martlet.console import Failure, Stopwatch, run_main, say, warn

DESCRIPTION = "Builds everything and runs every test; ends with the line `N passed, N failed`."
EPILOG = """stages, in order:
  packages   installs missing Debian packages and redis-py
  build      debug build of everything, with tests
  swift      Swift tests
  release    release build of the server, which the next stages test; begun beside the Swift tests
  wire       tests of real processes beside redis-server
  fuzz       random and hostile input to a real process, bounded in time

Exit codes: 0 all passed, 1 a failure, 2 wrong usage or a missing tool.
MARTLET_SERVER=/path/to/binary tests that server in the wire and fuzz stages."""
STAGES = ["packages", "build", "swift", "release", "wire", "fuzz"]
DEBIAN_PACKAGES = {  # program or file looked for: package
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    "redis-benchmark": "redis-tools",
}


class Result:
    def __init__(self, passed=0, failed=0, notes=()):
        self.passed, self.failed, self.notes = passed, failed, list(notes)


def run_streamed(command, on_line, environment=None):
    """Runs a command in the package root, passing each line of its output to `on_line`."""
    process = subprocess.Popen(
        command,
        cwd=tools.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=dict(os.environ, **(environment or {})),
    )
    for line in process.stdout:
        on_line(line.decode("utf-8", "replace").rstrip("\n"))
    return process.wait()


# Stages


def packages(_):
    missing = sorted(
        {package for program, package in DEBIAN_PACKAGES.items() if not shutil.which(program)}
    )
    if missing:
        tools.install(missing, "the wire tests compare with and talk through them")
    python = tools.python_with_redis()
    say("python with redis-py: %s" % python)
    return Result()


def build(_):
    tools.need_build()
    code = run_streamed(["swift", "build", "--build-tests"], show_build_line)
    return Result(
        failed=0 if code == 0 else 1, notes=[] if code == 0 else ["the debug build failed"]
    )


def show_build_line(line):
    if re.search(r"error:|warning:|^Build complete|^Building for", line):
        say("  " + line)


def swift(args):
    tools.need_swift()
    # Not by `swift test`, which keeps SwiftPM locked while the tests run: the release build is
    # made beside them.
    binary = os.path.join(tools.ROOT, ".build", "debug", "martletPackageTests.xctest")
    if not os.access(binary, os.X_OK):
        raise Failure("there are no Swift tests at %s (the build stage builds them)" % binary)
    command = [binary, "--testing-library", "swift-testing"]
    if args.filter:
        command += ["--filter", args.filter]
    counter = SwiftOutput(args.verbose)
    code = run_streamed(command, counter.line, {"NO_COLOR": "1"})
    if counter.total is None:
        # A crash ends the run without a summary: the tests that passed until then still count.
        return Result(counter.passed, counter.failed + 1, ["the Swift test process ended early"])
    failed = max(counter.failed, 1 if code != 0 else 0)
    return Result(counter.total - min(failed, counter.total), failed)


class SwiftOutput:
    """Counts tests in the console output of Swift Testing and shows what is worth seeing."""

    VERDICT = re.compile(r"^\S+ +Test (?!run |case )(.*?) (passed|failed) after ")
    SUMMARY = re.compile(r"Test run with (\d+) tests? ")

    def __init__(self, verbose):
        self.verbose = verbose
        self.passed = self.failed = 0
        self.total = None

    def line(self, line):
        verdict = self.VERDICT.match(line)
        if verdict:
            self.passed += verdict.group(2) == "passed"
            self.failed += verdict.group(2) == "failed"
        summary = self.SUMMARY.search(line)
        if summary and (" passed " in line or " failed " in line):
            self.total = int(summary.group(1))
        ordinary = re.match(r"^\S+ +(Test|Suite) .*( started\.| passed after )", line)
        if self.verbose or summary or not ordinary:
            say("  " + line)


def release(_):
    if os.environ.get("MARTLET_SERVER"):
        say("not built: MARTLET_SERVER=%s" % os.environ["MARTLET_SERVER"])
        return Result()
    tools.build_product(tools.PRODUCT)
    return Result()


def wire(args):
    return wire_runner(
        args, ["--jobs", str(args.jobs)] + (["--filter", args.filter] if args.filter else [])
    )


def fuzz(args):
    return wire_runner(args, ["--fuzz", str(args.fuzz_seconds)])


def wire_runner(args, options):
    if not os.access(tools.server_path(), os.X_OK):
        raise Failure(
            "there is no server at %s (the release stage builds it)" % tools.server_path()
        )
    found = {}

    def line(text):
        summary = re.match(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", text)
        if summary:
            found["sum"] = Result(int(summary.group(1)), int(summary.group(2)))
        if summary or args.verbose or not text.startswith("ok "):
            say("  " + text)

    command = [tools.python_with_redis(), os.path.join("Tests", "WireTests", "run.py")] + options
    code = run_streamed(command, line, {"MARTLET_SERVER": tools.server_path()})
    result = found.get("sum") or Result(failed=1, notes=["the runner ended without a summary"])
    if code != 0 and result.failed == 0:
        result.failed = 1
    return result


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "stage", nargs="*", metavar="STAGE", help="only these stages (default: all)"
    )
    parser.add_argument("--filter", metavar="REGEX", help="only Swift and wire tests that match")
    parser.add_argument(
        "--fuzz-seconds",
        type=int,
        default=60,
        metavar="S",
        help="time for the fuzz stage (default 60)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        metavar="N",
        help="wire test files that run side by side (default 2)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show every passed test")
    args = parser.parse_args()
    unknown = [stage for stage in args.stage if stage not in STAGES]
    if unknown:
        parser.error("no such stage: %s (stages: %s)" % (" ".join(unknown), " ".join(STAGES)))
    return args


def main():
    args = parse()
    total = Stopwatch()
    passed = failed = 0
    summary = []
    chosen = [stage for stage in STAGES if not args.stage or stage in args.stage]
    runs = {stage: globals()[stage] for stage in chosen}
    for stage in chosen:
        say("== %s" % stage)
        watch = Stopwatch()
        if stage == "swift" and "release" in runs:
            # One processor is all that it uses for most of its time.
            ahead = concurrent.futures.ThreadPoolExecutor(1).submit(release, args)
            runs["release"] = lambda _: ahead.result()
        try:
            result = runs[stage](args)
        except Failure as failure:
            result = Result(failed=1, notes=[str(failure)])
        for note in result.notes:
            warn(note)
        passed += result.passed
        failed += result.failed
        summary.append(
            "%-9s %6d passed %4d failed   %s" % (stage, result.passed, result.failed, watch)
        )
        say("-- %s" % summary[-1])
    say("== all stages, %s" % total)
    for line in summary:
        say("   " + line)
    say("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


run_main(main)
