"""`scripts/bench`: a node beside redis-server, in one run on one machine.

What is compared is the CPU time that the server process spends on a request, from the scheduler's
account of its threads: on a shared machine requests per second measure the neighbours. Runs of the
two servers alternate and the median counts. The server is pinned to CPU 0 and the load to CPU 1,
and both run before whatever else the machine does, where that is allowed: how often a server sleeps
and how many clients it finds when it wakes is to be its own doing, not that of a load that waits.
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
from martlet.collection_bench import ITEM_SHARE_BAR, ITEMS, WORKLOADS, send
from martlet.console import Failure, Stopwatch, run_main, say, table
from martlet.eviction_bench import measure_eviction
from martlet.durability_bench import measure_loading, measure_log, measure_saving
from martlet.load import fill, fill_counters
from martlet.nodes import Server, wait_until
from martlet.stall_bench import TYPES, measure_stalls
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
    parser.add_argument(
        "--collections", action="store_true", help="CPU per request of the collection commands"
    )
    parser.add_argument("--memory", action="store_true", help="RSS per key and when idle")
    parser.add_argument(
        "--items", action="store_true", help="RSS per item of small and big collections"
    )
    parser.add_argument(
        "--sync",
        action="store_true",
        help="memory and latency during a full synchronisation under load",
    )
    parser.add_argument(
        "--stalls",
        action="store_true",
        help="longest stall of a PING loop while huge keys are built and given up",
    )
    parser.add_argument(
        "--eviction", action="store_true", help="hit rate of a cache under Zipf's law"
    )
    parser.add_argument(
        "--durability",
        action="store_true",
        help="a snapshot under load, loading, and the append-only file's CPU",
    )
    parser.add_argument(
        "--only", choices=["save", "load", "log"], help="one part of --durability"
    )
    parser.add_argument("--all", action="store_true", help="all of these")
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
        metavar="C",
        help="only these: of GET SET INCR MSET(10), or of the collection rows",
    )
    parser.add_argument(
        "--sync-size",
        type=int,
        default=1000,
        metavar="MB",
        help="dataset of --sync and of the snapshot of --durability (default 1000)",
    )
    parser.add_argument(
        "--load-keys", type=int, default=5_000_000, metavar="N", help="default 5000000"
    )
    parser.add_argument("--stall-types", nargs="+", default=TYPES, choices=TYPES, metavar="T")
    parser.add_argument("--stall-elements", type=int, default=10_000_000, metavar="N")
    args = parser.parse_args()
    names = COMMANDS + [workload.name for workload in WORKLOADS]
    for name in args.commands or []:
        if name not in names:
            parser.error("no row is called %s; there are %s" % (name, ", ".join(names)))
    kinds = ["instructions", "collections", "memory", "items", "sync", "stalls", "eviction"]
    kinds.append("durability")
    if not any(getattr(args, kind) for kind in kinds):
        args.cpu = True
    if args.all:
        args.cpu = True
        for kind in kinds:
            setattr(args, kind, True)
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
        if not prefer(0):
            say("not allowed to run before others: a busy machine shows in the figures")

    def start(self, *args, **keywords):
        """A server that is preferred as the load is."""
        server = Server(*args, **keywords)
        prefer(server.pid)
        return server


def prefer(pid):
    """Lets a process and what it starts run before all else; 0 is ourselves."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -15)
        # Where each session is scheduled as one, its weight counts and not the process's.
        path = "/proc/%s/autogroup" % (pid or "self")
        if os.path.exists(path):
            with open(path, "w") as file:
                file.write("-20")
    except OSError:
        return False
    return True


def start(binary, pinning, mode="standalone", prefix=(), **directives):
    """A server without persistence; in cluster mode one that owns every slot."""
    options = {"appendonly": "no"} if binary != tools.server_path() else {}
    options.update(directives)
    if mode == "cluster":
        options["cluster_enabled"] = "yes"
    server = pinning.start(binary, prefix=list(prefix) or pinning.server, **options)
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
    if command is None:
        return line
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
    commands = [name for name in args.commands or COMMANDS if name in COMMANDS]
    for mode in modes:
        for keys in args.keys:
            pair = [start(binary, pinning, mode) for binary in (redis, ours)]
            try:
                if keys > 1:
                    say("filling both with %d keys (%s)" % (keys, mode))
                    for server in pair:
                        fill(server.port, keys, 12)
                        if "INCR" in commands:
                            fill_counters(server.port, keys)
                else:
                    # The one key of redis-benchmark without -r: GET is to find it.
                    for server in pair:
                        server.call("SET", "key:__rand_int__", "xxx")
                for command in commands:
                    for pipeline in args.pipeline:
                        requests = int(base.get(pipeline, 500_000) * scale)
                        if command == "MSET(10)":
                            requests //= 4
                        costs, good = cpu_cell(
                            pair,
                            lambda port: load_command(
                                pinning, port, command, pipeline, keys, requests
                            ),
                            requests,
                            rounds,
                            CPU_BARS.get(pipeline),
                        )
                        shown = "1M" if keys == MANY else str(keys)
                        row = [command, str(pipeline), shown, mode] + costs
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


def cpu_cell(pair, line_of, requests, rounds, bar, refill=None):
    """Runs `line_of(port)` on both servers in turn; what they spent, and whether the bar is met."""
    cost = [[], []]
    rate = [[], []]
    for index in range(rounds + 1):
        for which, server in enumerate(pair):
            if refill:
                refill(server.port, requests)
            before = server.cpu_nanoseconds()
            seconds = run_load(line_of(server.port))
            spent = server.cpu_nanoseconds() - before
            if index > 0:  # the first run warms up
                cost[which].append(spent / requests)
                rate[which].append(requests / seconds)
    theirs, ours = (statistics.median(values) for values in cost)
    ratio = theirs / ours
    good = bar is None or ratio >= bar
    return [
        "%.0f" % theirs,
        "%.0f" % ours,
        "%.2f" % ratio,
        "-" if bar is None else "%.1f" % bar,
        "yes" if good else "NO",
    ] + ["%.0fk" % (statistics.median(r) / 1e3) for r in rate], good


# CPU per request of the collection commands


def measure_collections(args, pinning, redis, ours):
    rounds = args.rounds or (3 if args.quick else 5)
    base = {1: 50_000, 16: 250_000, 100: 500_000}
    scale = 0.3 if args.quick else 1.0
    rows, met = [], True
    pair = [start(binary, pinning) for binary in (redis, ours)]
    wanted = args.commands or [workload.name for workload in WORKLOADS]
    try:
        for workload in WORKLOADS:
            needed = [w for w in WORKLOADS if w.name in wanted and w.words[1] == workload.words[1]]
            if workload.fill and needed:
                for server in pair:
                    workload.fill(server.port)
            if workload.name not in wanted:
                continue
            for pipeline in args.pipeline:
                requests = max(int(base.get(pipeline, 250_000) * scale * workload.share), 2000)

                def line_of(port):
                    line = load_command(
                        pinning, port, None, pipeline, workload.random, requests
                    )
                    return line + workload.words

                costs, good = cpu_cell(
                    pair,
                    line_of,
                    requests,
                    rounds,
                    workload.bars.get(pipeline),
                    workload.refill,
                )
                rows.append([workload.name, str(pipeline)] + costs)
                met = met and good
                say("  " + "  ".join(rows[-1]))
    finally:
        for server in pair:
            server.close()
    say()
    say("server CPU per request of collection commands, median of %d alternated runs" % rounds)
    header = ["command", "P", "redis ns", "ours ns", "redis/ours", "bar", "met"]
    for line in table(rows, header + ["redis rps", "ours rps"]):
        say(line)
    return met


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


# Memory per item of a collection


def measure_items(args, pinning, redis, ours):
    rows, met = [], True
    for name, count, bar, commands in ITEMS:
        per_item = []
        for binary in (redis, ours):
            server = start(binary, pinning)
            try:
                idle = server.resident_bytes()
                send(server.port, commands())
                per_item.append((server.resident_bytes() - idle) / count)
            finally:
                server.close()
        share = per_item[1] / per_item[0]
        good = share <= ITEM_SHARE_BAR if bar is None else per_item[1] <= bar
        met = met and good
        shown = "%.1f x" % ITEM_SHARE_BAR if bar is None else str(bar)
        figures = ["%.1f" % per_item[0], "%.1f" % per_item[1], "%.2f" % share]
        rows.append([name] + figures + [shown, "yes" if good else "NO"])
        say("  " + "  ".join(rows[-1]))
    say()
    say("resident bytes per item: 16-byte strings, ten to a small key, a million to a big one")
    for line in table(rows, ["item", "redis", "ours", "ours/redis", "bar", "met"]):
        say(line)
    return met
def measure_durability(args, redis, ours, pinning):
    def run(port, pipeline, requests):
        run_load(load_command(pinning, port, "SET", pipeline, 100_000, requests))

    parts = {
        "log": lambda: measure_log(args.quick, redis, ours, pinning, run),
        "load": lambda: measure_loading(args.load_keys, args.quick, redis, ours, pinning),
        "save": lambda: measure_saving(args.sync_size, args.quick, redis, ours, pinning),
    }
    return [part() for name, part in parts.items() if args.only in (None, name)]


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
    if args.items:
        results.append(measure_items(args, pinning, redis, ours))
    if args.instructions:
        results.append(measure_instructions(args, pinning, redis, ours))
    if args.sync:
        results.append(measure_sync(args.sync_size, args.quick, redis, ours, pinning))
    if args.stalls:
        results.append(measure_stalls(args, redis, ours, pinning))
    if args.eviction:
        results.append(measure_eviction(args, redis, ours, pinning))
    if args.durability:
        results += measure_durability(args, redis, ours, pinning)
    if args.cpu:
        results.append(measure_cpu(args, pinning, redis, ours))
    if args.collections:
        results.append(measure_collections(args, pinning, redis, ours))
    say()
    say("%s; %s" % ("every bar is met" if all(results) else "NOT every bar is met", watch))
    return 0 if all(results) else 1


run_main(main)
