"""`scripts/bench`: a node beside redis-server, in one run on one machine.

What is compared is the CPU time that the server process spends on a request, from the scheduler's
account of its threads: on a shared machine requests per second measure the neighbours. Runs of the
two servers alternate and the median counts. The server is pinned to CPU 0 and the load to CPU 1.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import time

from martlet import tools
from martlet.console import Failure, Stopwatch, run_main, say, table
from martlet.load import fill, fill_counters
from martlet.nodes import Server, wait_until
from martlet.sync_bench import measure_sync

CPU_BARS = {1: 1.0, 16: 1.5, 100: 3.0}
INSTRUCTION_BARS = {"GET": 1000, "SET": 1200}
MEMORY_BARS = {"without TTL": 68, "with TTL": 84}
IDLE_BAR = 10_000_000
MANY = 1_000_000
COMMANDS = ["GET", "SET", "INCR", "MSET(10)"]

EPILOG = """CPU bars are redis / ours, higher is better: 1.0 at P=1, 1.5 at P=16, 3.0 at P=100.
Exit codes: 0 every bar is met, 1 one is not, 2 wrong usage or a missing tool.
MARTLET_SERVER=/path/to/binary measures that server; REDIS_SERVER that reference."""


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures a node beside redis-server: CPU per request, unless told otherwise.",
        epilog=EPILOG,
    )
    parser.add_argument("--cpu", action="store_true", help="CPU per request (the default)")
    parser.add_argument(
        "--instructions", action="store_true", help="instructions per command at P=16, by valgrind"
    )
    parser.add_argument("--memory", action="store_true", help="RSS per key and when idle")
    parser.add_argument(
        "--sync",
        action="store_true",
        help="memory and latency during a full synchronisation under load",
    )
    parser.add_argument("--all", action="store_true", help="all four")
    parser.add_argument(
        "--quick", action="store_true", help="fewer requests and rounds: rougher figures"
    )
    parser.add_argument("--rounds", type=int, help="runs of each server per cell (default 5)")
    parser.add_argument("--pipeline", type=int, nargs="+", default=[1, 16, 100], metavar="P")
    parser.add_argument(
        "--keys",
        type=int,
        nargs="+",
        default=[1, MANY],
        metavar="K",
        help="key counts (default 1 and 1000000)",
    )
    parser.add_argument("--mode", choices=["standalone", "cluster", "both"], default="both")
    parser.add_argument(
        "--commands",
        nargs="+",
        default=COMMANDS,
        choices=COMMANDS,
        metavar="C",
        help="of GET SET INCR MSET(10)",
    )
    parser.add_argument(
        "--sync-size",
        type=int,
        default=1000,
        metavar="MB",
        help="dataset of --sync (default 1000)",
    )
    args = parser.parse_args()
    if not (args.instructions or args.memory or args.sync):
        args.cpu = True
    if args.all:
        args.cpu = args.instructions = args.memory = args.sync = True
    return args


class Pinning:
    """Prefixes that pin the server and the load to a CPU each, where there are two."""

    def __init__(self):
        cpus = sorted(os.sched_getaffinity(0))
        able = len(cpus) >= 2 and shutil.which("taskset")
        self.server = ["taskset", "-c", str(cpus[0])] if able else []
        self.load = ["taskset", "-c", str(cpus[1])] if able else []
        if not able:
            say("one CPU, or no taskset: server and load are not pinned")


def start(binary, pinning, mode="standalone", prefix=(), **directives):
    """A server without persistence; in cluster mode one that owns every slot."""
    options = {"appendonly": "no"} if binary != tools.server_path() else {}
    options.update(directives)
    if mode == "cluster":
        options["cluster_enabled"] = "yes"
    server = Server(binary, prefix=list(prefix) or pinning.server, **options)
    if mode == "cluster":
        server.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in server.call("CLUSTER", "INFO"), "slots served")
    return server


def load_command(pinning, port, command, pipeline, keys, requests, clients=50):
    """The redis-benchmark line of one run."""
    line = pinning.load + [
        "redis-benchmark",
        "-p",
        str(port),
        "-n",
        str(requests),
        "-P",
        str(pipeline),
        "-c",
        str(clients),
        "-q",
    ]
    if keys > 1:
        line += ["-r", str(keys)]
    if command != "MSET(10)":
        return line + ["-t", command.lower()]
    # One hash tag, so that the ten keys share a slot in cluster mode as well.
    pairs = [word for _ in range(10) for word in ("{t}:__rand_int__", "xxx")]
    return line + ["MSET"] + pairs


def run_load(line):
    begun = time.monotonic()
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0 or "rror" in text:
        raise Failure("redis-benchmark failed: %s\n%s" % (" ".join(line), text[-500:]))
    return time.monotonic() - begun


# CPU per request


def measure_cpu(args, pinning, redis, ours):
    rounds = args.rounds or (3 if args.quick else 5)
    base = {1: 100_000, 16: 500_000, 100: 1_000_000}
    scale = 0.3 if args.quick else 1.0
    rows, met = [], True
    modes = ["standalone", "cluster"] if args.mode == "both" else [args.mode]
    for mode in modes:
        for keys in args.keys:
            pair = [start(binary, pinning, mode) for binary in (redis, ours)]
            try:
                if keys > 1:
                    say("filling both with %d keys (%s)" % (keys, mode))
                    for server in pair:
                        fill(server.port, keys, 12)
                        if "INCR" in args.commands:
                            fill_counters(server.port, keys)
                else:
                    # The one key of redis-benchmark without -r: GET is to find it.
                    for server in pair:
                        server.call("SET", "key:__rand_int__", "xxx")
                for command in args.commands:
                    for pipeline in args.pipeline:
                        requests = int(base.get(pipeline, 500_000) * scale)
                        if command == "MSET(10)":
                            requests //= 4
                        row, good = cpu_cell(
                            pinning, pair, mode, keys, command, pipeline, requests, rounds
                        )
                        rows.append(row)
                        met = met and good
                        say("  " + "  ".join(row))
            finally:
                for server in pair:
                    server.close()
    say()
    say("server CPU per request, median of %d alternated runs" % rounds)
    for line in table(
        rows,
        [
            "command",
            "P",
            "keys",
            "mode",
            "redis ns",
            "ours ns",
            "redis/ours",
            "bar",
            "met",
            "redis rps",
            "ours rps",
        ],
        "<>><>>>>>>>",
    ):
        say(line)
    return met


def cpu_cell(pinning, pair, mode, keys, command, pipeline, requests, rounds):
    cost = [[], []]
    rate = [[], []]
    for index in range(rounds + 1):
        for which, server in enumerate(pair):
            line = load_command(pinning, server.port, command, pipeline, keys, requests)
            before = server.cpu_nanoseconds()
            seconds = run_load(line)
            spent = server.cpu_nanoseconds() - before
            if index > 0:  # the first run warms up
                cost[which].append(spent / requests)
                rate[which].append(requests / seconds)
    theirs, ours = (statistics.median(values) for values in cost)
    bar = CPU_BARS.get(pipeline)
    ratio = theirs / ours
    good = bar is None or ratio >= bar
    return [
        command,
        str(pipeline),
        "1M" if keys == MANY else str(keys),
        mode,
        "%.0f" % theirs,
        "%.0f" % ours,
        "%.2f" % ratio,
        "-" if bar is None else "%.1f" % bar,
        "yes" if good else "NO",
    ] + ["%.0fk" % (statistics.median(r) / 1e3) for r in rate], good


# Instructions per command


def measure_instructions(args, pinning, redis, ours):
    tools.need_tool("valgrind", "valgrind", "it counts instructions")
    low, high = (5_000, 25_000) if args.quick else (20_000, 100_000)
    rows, met = [], True
    for command in ("GET", "SET"):
        counts = []
        for binary in (redis, ours):
            first = instructions(binary, pinning, command, low)
            second = instructions(binary, pinning, command, high)
            counts.append((second - first) / (high - low))
            say("  %s %s: %.0f" % (command, os.path.basename(binary), counts[-1]))
        good = counts[1] <= INSTRUCTION_BARS[command]
        met = met and good
        rows.append(
            [
                command,
                "%.0f" % counts[0],
                "%.0f" % counts[1],
                "%.2f" % (counts[0] / counts[1]),
                "%d" % INSTRUCTION_BARS[command],
                "yes" if good else "NO",
            ]
        )
    say()
    say(
        "user-space instructions per command at P=16 (callgrind, (%d - %d) / %d requests)"
        % (high, low, high - low)
    )
    for line in table(rows, ["command", "redis", "ours", "redis/ours", "bar", "met"]):
        say(line)
    return met


def instructions(binary, pinning, command, requests):
    """Instructions of a whole server run that serves `requests` requests."""
    prefix = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--trace-children=no",
    ]
    server = start(binary, pinning, prefix=prefix)
    try:
        server.call("SET", "key:__rand_int__", "xxx", timeout=60)
        run_load(load_command(pinning, server.port, command, 16, 1, requests))
        server.process.send(signal.SIGTERM)
        if not server.process.wait(60):
            raise Failure("the server under valgrind did not end within 60 s of SIGTERM")
        found = re.search(r"Collected\s*:\s*(\d+)", server.output())
        if not found:
            raise Failure("no count in valgrind's output:\n" + server.log_tail())
        return int(found.group(1))
    finally:
        server.close()


# Memory


def measure_memory(args, pinning, redis, ours):
    count = 200_000 if args.quick else MANY
    rows, met = [], True
    idle = {}
    for label, ttl in (("without TTL", None), ("with TTL", 1_000_000)):
        per_key = []
        for binary in (redis, ours):
            server = start(binary, pinning)
            try:
                idle[binary] = server.resident_bytes()
                fill(server.port, count, 16, ttl=ttl)
                wait_until(lambda: server.call("DBSIZE") == count, "all keys are there")
                per_key.append((server.resident_bytes() - idle[binary]) / count)
            finally:
                server.close()
        good = per_key[1] <= MEMORY_BARS[label]
        met = met and good
        rows.append(
            [
                "bytes per key, " + label,
                "%.1f" % per_key[0],
                "%.1f" % per_key[1],
                "%.2f" % (per_key[0] / per_key[1]),
                str(MEMORY_BARS[label]),
                "yes" if good else "NO",
            ]
        )
    good = idle[ours] <= IDLE_BAR
    rows.append(
        [
            "idle, MB",
            "%.1f" % (idle[redis] / 1e6),
            "%.1f" % (idle[ours] / 1e6),
            "%.2f" % (idle[redis] / idle[ours]),
            "10",
            "yes" if good else "NO",
        ]
    )
    say()
    say("resident memory, %d keys of 16 bytes with values of 16 bytes" % count)
    for line in table(rows, ["RSS", "redis", "ours", "redis/ours", "bar", "met"]):
        say(line)
    return met and good


def main():
    args = parse()
    watch = Stopwatch()
    redis = tools.redis_server("the reference to measure beside")
    tools.need_tool("redis-benchmark", "redis-tools", "it makes the load")
    ours = tools.build_server()
    pinning = Pinning()
    say("redis: %s    ours: %s" % (redis, ours))
    results = []
    if args.memory:
        results.append(measure_memory(args, pinning, redis, ours))
    if args.instructions:
        results.append(measure_instructions(args, pinning, redis, ours))
    if args.sync:
        results.append(measure_sync(args.sync_size, args.quick, redis, ours, pinning))
    if args.cpu:
        results.append(measure_cpu(args, pinning, redis, ours))
    say()
    say("%s; %s" % ("every bar is met" if all(results) else "NOT every bar is met", watch))
    return 0 if all(results) else 1


run_main(main)
