"""`scripts/failover-bench`: how long the slots of a failing primary cannot be written.

Six real processes, a write load over all slots, and a probe that writes one key of the victim's
slots as fast as it can, to every node of that shard. The outage is the longest time between two
acknowledged writes of the probe around the fault. Afterwards every write that was acknowledged to
the load must be readable.
"""

import argparse
import math
import os
import signal
import statistics

import threading
import time

from martlet import tools
from martlet.clusters import Cluster, Voter, rows, wait_for_voters
from martlet.console import Stopwatch, run_main, say, table
from martlet.nodes import wait_until
from martlet.resp import Connection
from martlet.slots import key_slot
from martlet.writers import Writers

KINDS = {
    "kill": (signal.SIGKILL, "kill -9", 500, 1000),
    "stop": (signal.SIGSTOP, "SIGSTOP", None, 2700),
    "term": (signal.SIGTERM, "SIGTERM", None, 200),
    # Two of three primaries at once, with three sentinels as voters of last resort.
    "majority": (signal.SIGKILL, "two of three", None, None),
}

EPILOG = """Bars, in ms, at a node timeout of 2000 ms: kill -9 median 500 and worst 1000,
SIGSTOP worst 2700, SIGTERM worst 200, two of three primaries killed at once worst node
timeout + 3000; no acknowledged write lost in the kill -9 and SIGTERM rounds.
With --sentinel: down-after + 700.
Exit codes: 0 every bar is met, 1 one is not, 2 wrong usage or a missing tool."""


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/failover-bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures how long slots cannot be written when their primary fails.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--server",
        choices=["ours", "redis"],
        default="ours",
        help="what to measure (default ours)",
    )
    parser.add_argument("--rounds", type=int, default=10, help="rounds of each kind (default 10)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=sorted(KINDS),
        default=list(KINDS),
        help="kill, stop, term, majority (default: all)",
    )
    parser.add_argument(
        "--timeout", type=int, default=2000, metavar="MS", help="node timeout (default 2000)"
    )
    parser.add_argument("--writers", type=int, default=2, help="writer processes (default 2)")
    parser.add_argument(
        "--sentinel",
        action="store_true",
        help="instead: a replication set with sentinels, ours and redis-sentinel beside it",
    )
    parser.add_argument(
        "--down-after", type=int, default=1000, metavar="MS", help="of sentinels (default 1000)"
    )
    parser.add_argument("--keep-logs", metavar="FOLDER", help="copy the nodes' logs there")
    return parser.parse_args()


class Probe(threading.Thread):
    """Writes one key as fast as it can, to whichever node of the shard takes it."""

    def __init__(self, ports, key):
        super().__init__(daemon=True)
        self.ports = list(ports)
        self.key = key
        self.acknowledged = []
        self.stopped = threading.Event()

    def run(self):
        connections = {}
        current = self.ports[0]
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                if current not in connections:
                    connections[current] = Connection(current, timeout=0.05)
                reply = connections[current].ask("SET", self.key, number)
            except OSError:
                if current in connections:
                    connections.pop(current).close()
                reply = None
            if reply == "OK":
                self.acknowledged.append(time.monotonic())
                time.sleep(0.001)
                continue
            # Round about the shard: what a redirect says is old news just then.
            current = self.ports[(self.ports.index(current) + 1) % len(self.ports)]
            time.sleep(0.001)
        for connection in connections.values():
            connection.close()

    def longest_gap(self, since):
        """The longest time without an acknowledged write from `since` on."""
        times = [moment for moment in self.acknowledged if moment >= since]
        before = [moment for moment in self.acknowledged if moment < since]
        times = before[-1:] + times
        gaps = [b - a for a, b in zip(times, times[1:])]
        return max(gaps) if gaps else None


def key_for(port):
    """A key whose slot the node at `port` owns."""
    mine = next(row for row in rows(port) if row.is_myself)
    number = 0
    while True:
        key = "probe:%d" % number
        if any(first <= key_slot(key) <= last for first, last in mine.slots):
            return key
        number += 1


def one_round(cluster, kind, number, writer_count):
    """(outage in seconds, acknowledged writes, lost writes)"""
    signal_number = KINDS[kind][0]
    table_now = rows(cluster.ports[0])
    primaries = sorted(row.port for row in table_now if row.is_primary and row.slots)
    victim = cluster.server(primaries[number % len(primaries)])
    shard = [victim.port] + cluster.replicas_of(victim.port)
    probe = Probe(shard, key_for(victim.port))
    writers = Writers(cluster.ports, writer_count, "%s%d-" % (kind, number))
    probe.start()
    wait_until(lambda: len(probe.acknowledged) > 200, "the probe writes", 20)

    begun = time.monotonic()
    victim.process.send(signal_number)
    if kind == "stop":
        outage_over = lambda: probe.acknowledged and probe.acknowledged[-1] > begun + 0.3
    else:
        outage_over = lambda: not victim.alive and probe.acknowledged[-1] > begun + 0.3
    wait_until(outage_over, "the slots of node %d can be written again" % victim.port, 60)
    # Some writes more, so that the load has passed through the change as well.
    enough = len(probe.acknowledged) + 200
    wait_until(lambda: len(probe.acknowledged) > enough, "writes go on", 30)
    if kind == "stop":
        victim.resume()
    else:
        wait_until(lambda: not victim.alive, "the process is gone", 30)
        victim.start(wait=True)
    cluster.settle(60)
    probe.stopped.set()
    probe.join()
    writers.stop()
    outage = probe.longest_gap(begun)
    return outage, writers.total, len(writers.lost())


def majority_round(cluster, number, writer_count, limit):
    """The same for two of three primaries; the outage is None when the time was up before."""
    table_now = rows(cluster.alive()[0].port)
    primaries = sorted(row.port for row in table_now if row.is_primary and row.slots)
    victims = [
        cluster.server(port) for at, port in enumerate(primaries) if at != number % len(primaries)
    ]
    probes = [
        Probe([victim.port] + cluster.replicas_of(victim.port), key_for(victim.port))
        for victim in victims
    ]
    writers = Writers(cluster.ports, writer_count, "majority%d-" % number)
    for probe in probes:
        probe.start()
    wait_until(
        lambda: all(len(probe.acknowledged) > 200 for probe in probes), "the probes write", 20
    )
    begun = time.monotonic()
    for victim in victims:
        victim.process.send(signal.SIGKILL)

    def over():
        return all(probe.acknowledged[-1] > begun + 0.3 for probe in probes)

    while not over() and time.monotonic() < begun + limit:
        time.sleep(0.01)
    outage = max(probe.longest_gap(begun) for probe in probes) if over() else None
    for victim in victims:
        wait_until(lambda: not victim.alive, "the process is gone", 30)
        victim.start(wait=True)
    cluster.settle(60)
    for probe in probes:
        probe.stopped.set()
        probe.join()
    writers.stop()
    return outage, writers.total, len(writers.lost())


def measure_majority(args, cluster, binary):
    limit = args.timeout / 1e3 + 3
    voters = []
    outages, acknowledged, lost = [], 0, 0
    try:
        if args.server == "ours":
            voters = [Voter(cluster.ports[0], binary) for _ in range(3)]
            wait_for_voters(cluster.ports, 3)
        for number in range(args.rounds):
            # What has not come back by three times the bound does not.
            outage, wrote, missing = majority_round(cluster, number, args.writers, 3 * limit)
            outages.append(float("inf") if outage is None else outage * 1e3)
            acknowledged += wrote
            lost += missing
            shown = "never" if outage is None else "%.0f ms" % outages[-1]
            say(
                "two of three, round %d: %s, %d writes acknowledged, %d lost"
                % (number + 1, shown, wrote, missing)
            )
            if voters:
                wait_for_voters(cluster.ports, 3)
    finally:
        for voter in voters:
            voter.close()
    return outages, acknowledged, lost


def measure(args, binary):
    results = {}
    cluster = Cluster(6, 1, [binary], timeout_ms=args.timeout)
    try:
        kinds = [kind for kind in args.kinds if kind != "majority"]
        for kind in kinds:
            outages, acknowledged, lost = [], 0, 0
            for number in range(args.rounds):
                outage, wrote, missing = one_round(cluster, kind, number, args.writers)
                outages.append(outage * 1e3)
                acknowledged += wrote
                lost += missing
                say(
                    "%s round %d: %.0f ms, %d writes acknowledged, %d lost"
                    % (KINDS[kind][1], number + 1, outages[-1], wrote, missing)
                )
            results[kind] = (outages, acknowledged, lost)
        if "majority" in args.kinds:
            results["majority"] = measure_majority(args, cluster, binary)
    finally:
        if args.keep_logs:
            save_logs(cluster, args.keep_logs)
        cluster.close()
    return results


def save_logs(cluster, folder):
    os.makedirs(folder, exist_ok=True)
    for server in cluster.servers:
        with open(os.path.join(folder, "%d.log" % server.port), "w") as file:
            file.write(server.output())


def with_sentinels(args):
    tools.need_redis_py()
    tools.redis_cli("to follow the sentinels")
    from martlet import sentinel_bench

    servers = [("ours", tools.build_server()), ("redis", tools.redis_server("to measure it"))]
    watch = Stopwatch()
    met = sentinel_bench.measure(servers, args.rounds, args.down_after)
    say("%s; %s" % ("the bar is met" if met else "the bar is NOT met", watch))
    return 0 if met else 1


def main():
    args = parse()
    if args.sentinel:
        return with_sentinels(args)
    binary = (
        tools.redis_server("to measure it") if args.server == "redis" else tools.build_server()
    )
    watch = Stopwatch()
    say("six nodes of %s, node timeout %d ms, %d writers" % (binary, args.timeout, args.writers))
    results = measure(args, binary)
    met = True
    lines = []
    for kind, (outages, acknowledged, lost) in results.items():
        _, name, median_bar, worst_bar = KINDS[kind]
        worst_bar = worst_bar or args.timeout + 3000
        median, worst = statistics.median(outages), max(outages)
        good = worst <= worst_bar and (median_bar is None or median <= median_bar)
        good = good and (kind in ("stop", "majority") or lost == 0)
        met = met and good
        bar = "%s%d worst" % ("" if median_bar is None else "%d median, " % median_bar, worst_bar)
        lines.append(
            [
                name,
                str(len(outages)),
                "never" if math.isinf(median) else "%.0f" % median,
                "never" if math.isinf(worst) else "%.0f" % worst,
                str(acknowledged),
                str(lost),
                bar,
                "yes" if good else "NO",
            ]
        )
    say()
    for line in table(
        lines, ["fault", "rounds", "median ms", "worst ms", "acknowledged", "lost", "bar", "met"]
    ):
        say(line)
    say("%s; %s" % ("every bar is met" if met else "NOT every bar is met", watch))
    return 0 if met or args.server == "redis" else 1


run_main(main)
