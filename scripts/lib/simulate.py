"""`scripts/simulate`: the simulator over many seeds, several processes side by side.

Each seed is a process of its own, so one that hangs or crashes is one failed seed. The simulator
prints why a seed fails; the same seed shows it again.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time

from martlet import tools
from martlet.console import Failure, Stopwatch, run_main, say

EPILOG = """SEEDS is a count (100: seeds 1 to 100), a range (500-600), or seeds (7,12,99).
Anything after `--` goes to the simulator as it is.
Exit codes: 0 no seed failed, 1 one failed, 2 wrong usage."""


def parse():
    arguments = sys.argv[1:]
    extra = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, extra = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs simulated clusters with faults, one per seed.",
        epilog=EPILOG,
    )
    parser.add_argument("seeds", metavar="SEEDS", help="a count, a range a-b, or seeds a,b,c")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="processes side by side (default: one per CPU)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=300,
        metavar="S",
        help="seconds after which a seed counts as hung (default 300)",
    )
    parser.add_argument("--stop", action="store_true", help="end at the first failing seed")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print the simulator's output of every seed"
    )
    args = parser.parse_args(arguments)
    args.extra = extra
    try:
        args.list = seed_list(args.seeds)
    except ValueError:
        parser.error("SEEDS must be a count, a range a-b, or seeds a,b,c, not %r" % args.seeds)
    return args


def seed_list(text):
    if re.fullmatch(r"\d+-\d+", text):
        first, last = map(int, text.split("-"))
        if last < first:
            raise ValueError
        return range(first, last + 1)
    if "," in text:
        return [int(word) for word in text.split(",") if word]
    if int(text) < 1:
        raise ValueError
    return range(1, int(text) + 1)


def run_seed(binary, seed, extra, limit):
    """(seed, exit code or 'hung', output, seconds)"""
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [binary, str(seed)] + extra,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
        )
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as expired:
        code, output = "hung", expired.stdout or b""
    return seed, code, output.decode("utf-8", "replace"), time.monotonic() - begun


class Totals:
    """Sums what the runs say of themselves: `total: name=number ...` and `lost to REASON: N`."""

    def __init__(self):
        self.counts = {}
        self.lost = {}

    def add(self, output):
        for line in output.splitlines():
            if line.startswith("total: "):
                for name, number in re.findall(r"([\w-]+)=([\d.]+)", line):
                    value = float(number) if "." in number else int(number)
                    self.counts[name] = self.counts.get(name, 0) + value
            match = re.match(r"lost to (.*): (\d+)$", line)
            if match:
                self.lost[match[1]] = self.lost.get(match[1], 0) + int(match[2])

    def lines(self):
        if self.counts:
            yield ", ".join("%s %s" % (name, round(n, 2)) for name, n in self.counts.items())
        for reason, count in sorted(self.lost.items(), key=lambda item: -item[1]):
            yield "acknowledged writes lost to %s: %d" % (reason, count)


def main():
    args = parse()
    binary = tools.build_product("simulate")
    watch = Stopwatch()
    failed = []
    totals = Totals()
    slowest = (0.0, None)
    total = len(args.list)
    done = 0
    said = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = [
            pool.submit(run_seed, binary, seed, args.extra, args.limit) for seed in args.list
        ]
        for future in concurrent.futures.as_completed(futures):
            seed, code, output, seconds = future.result()
            done += 1
            totals.add(output)
            slowest = max(slowest, (seconds, seed), key=lambda item: item[0])
            if args.verbose and output:
                say(output.rstrip())
            if code != 0:
                failed.append(seed)
                say(
                    "seed %d FAILED (%s, %.1f s)"
                    % (seed, code if code == "hung" else "exit code %d" % code, seconds)
                )
                say("    " + "\n    ".join(output.rstrip().splitlines()[-20:]))
                if args.stop:
                    for other in futures:
                        other.cancel()
                    break
            if time.monotonic() - said > 5:
                said = time.monotonic()
                say("%d of %d seeds, %d failed, %s" % (done, total, len(failed), watch))
    if done == 0:
        raise Failure("no seed was run")
    for line in totals.lines():
        say(line)
    say("%d seeds in %s, slowest %.1f s (seed %s)" % (done, watch, slowest[0], slowest[1]))
    if failed:
        failed.sort()
        say("failing seeds: %s" % " ".join(map(str, failed)))
        say("again: scripts/simulate %s, -v" % ",".join(map(str, failed[:5])))
    say("%d passed, %d failed" % (done - len(failed), len(failed)))
    return 1 if failed else 0


run_main(main)
