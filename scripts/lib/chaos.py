"""`scripts/chaos`: breaks real servers while clients write, and reads everything back.

Servers run as processes on hosts of their own (network namespaces, made here and gone with this
process), or as the containers of the compose deployment. Each round begins and ends with all well.
"""

import argparse
import json
import os
import signal
import time

from martlet import tools
from martlet.chaos import faults, network
from martlet.console import MISUSE, Failure, Stopwatch, run_main, say, table

WORLDS = [faults.CLUSTER, faults.SENTINEL]

EPILOG = """"unavailable" is the longest time in which some shard's slots had no acknowledged write
from any client, from the fault until all was well again. "lost" are acknowledged writes that
cannot be read back; "aside" those among them that a demoted primary kept in a lost-writes file.
"both ms" is for how long two nodes acknowledged writes to one shard.

Partitions, loss and delay need network namespaces (root). Without, the rest runs on loopback.
Exit codes: 0 no problem and no write lost without a trace, 1 otherwise, 2 wrong usage or a missing
tool. MARTLET_SERVER=/path/to/binary tests that server."""


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Rounds of faults against real servers, with clients that check every write.",
        epilog=EPILOG,
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each fault (default 3)")
    parser.add_argument("--seed", type=int, help="of victims and times (default: drawn, printed)")
    parser.add_argument(
        "--faults", metavar="A,B", help="only these (default: all; --list shows them)"
    )
    parser.add_argument(
        "--worlds", metavar="A,B", default=",".join(WORLDS),
        help="cluster (six nodes), sentinel (a replication set, three sentinels); default both",
    )
    parser.add_argument("--server", metavar="PATH", help="the server to break (default: ours)")
    parser.add_argument(
        "--compare", action="store_true", help="the same faults with redis-server afterwards"
    )
    parser.add_argument(
        "--compose", action="store_true", help="break the running compose deployment instead"
    )
    parser.add_argument(
        "--timeout", type=int, default=2000, metavar="MS", help="node timeout (default 2000)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="directives",
        help="a directive for every node, such as appendfsync=always",
    )
    parser.add_argument("--html", metavar="FILE", help="write a report with plots there")
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--loopback", action="store_true", help="do not make namespaces")
    parser.add_argument("--no-shim", action="store_false", dest="shim",
                        help="preload nothing: no clock and slow disk faults")
    parser.add_argument("--keep-logs", metavar="FOLDER", help="copy the servers' logs there")
    parser.add_argument("--list", action="store_true", help="print the faults and end")
    args = parser.parse_args()
    if args.rounds < 1 or args.timeout < 1:
        parser.error("--rounds and --timeout must be positive")
    names = args.faults.split(",") if args.faults else list(faults.CATALOGUE)
    for name in names:
        if name not in faults.CATALOGUE:
            parser.error("no such fault: %s (--list shows them)" % name)
    args.faults = [faults.CATALOGUE[name] for name in names]
    args.worlds = args.worlds.split(",")
    if not set(args.worlds) <= set(WORLDS):
        parser.error("worlds are %s" % " and ".join(WORLDS))
    if not all("=" in text for text in args.directives):
        parser.error("--set takes NAME=VALUE")
    args.directives = dict(text.split("=", 1) for text in args.directives)
    if args.seed is None:
        args.seed = int.from_bytes(os.urandom(4), "big")
    return args


class Timeline:
    def __init__(self):
        self.begun = time.monotonic()
        self.label = ""
        self.lines = []

    def note(self, text):
        now = time.monotonic() - self.begun
        self.lines.append((now, self.label, text))
        say("[%7.2f s] %s%s" % (now, self.label + ": " if self.label else "", text))


def impossible(fault, world):
    """Why a fault cannot happen here, or None."""
    if "cut" in fault.needs and not world.wire.can_cut:
        return "links cannot be cut here"
    if "slow" in fault.needs and not world.wire.can_slow:
        return "packets cannot be held or lost here"
    if "levers" in fault.needs and not world.levers:
        return "the servers have no preloaded library here"
    if "disk" in fault.needs and not world.on_wire:
        return "the servers have no disks of their own here"
    return None


def break_world(make, chosen, args, timeline, part):
    """All rounds in one world, results and writes of which go into `part`. Returns the faults that
    are left to do when the world was broken for good."""
    from martlet.chaos.clients import Clients
    from martlet.chaos.rounds import Broken
    from martlet.chaos import world as worlds

    watch = Stopwatch()
    world = make()
    clients, left = None, list(chosen)
    results, writes = part
    try:
        timeline.note("%s: %d nodes, %d sentinels of %s, up in %s" % (
            world.kind, len(world.nodes), len(world.sentinels), world.binary, watch))
        clients = Clients(world, worlds.SET_NAME)
        clients.wait_steady()
        lost = set()
        while left:
            fault = left.pop(0)
            if world.kind not in fault.worlds:
                continue
            reason = impossible(fault, world)
            if reason:
                timeline.note("SKIPPED %s: %s" % (fault.name, reason))
                continue
            time.sleep(1)  # a second of ordinary writes, to be seen in the plot
            try:
                rounds_of(fault, world, clients, lost, results, args, timeline)
            except Broken:
                timeline.label = ""
                timeline.note("this world is broken for good: the rest goes on in a new one")
                break
        return left
    finally:
        timeline.label = ""
        if clients:
            writes += clients.poll()
            clients.stop()
        if args.keep_logs:
            keep_logs(world, args.keep_logs)
        world.close()


def rounds_of(fault, world, clients, lost, results, args, timeline):
    """The rounds of one fault, and what they lost in the end."""
    from martlet.chaos import check
    from martlet.chaos.clients import ACKNOWLEDGED
    from martlet.chaos.rounds import Round

    for number in range(1, args.rounds + 1):
        timeline.label = "%s %s %d/%d" % (world.kind, fault.name, number, args.rounds)
        one = Round(world, clients, fault, number, args, timeline)
        results.append(one.result)
        one.run()
        lost |= set(one.lost)
    # What an earlier round had found may be gone by now.
    every = [w for w in clients.poll() if w.fate == ACKNOWLEDGED and w not in lost]
    late = [w for w in check.read_back(world, every) if w.ended <= results[-1].ended]
    if late:
        results[-1].lost += len(late)
        lost |= set(late)
        timeline.note("%d older writes are gone as well" % len(late))
    timeline.label = ""


def keep_logs(world, folder):
    folder = os.path.join(folder, world.kind + ("-redis" if world.is_redis else ""))
    os.makedirs(folder, exist_ok=True)
    for server in world.everyone():
        with open(os.path.join(folder, server.name + ".log"), "w") as file:
            file.write(server.output())


def makers(args, wires, timeline):
    """What makes the worlds that are to be broken, in order."""
    from martlet.chaos import world as worlds

    kinds = {faults.CLUSTER: worlds.ClusterWorld, faults.SENTINEL: worlds.SentinelWorld}
    binaries = [args.server or tools.build_server()]
    if args.compare:
        binaries.append(tools.redis_server("to be compared with"))
    for binary in binaries:
        for kind in args.worlds:
            yield lambda binary=binary, kind=kind: kinds[kind](
                binary, wires(), args, timeline.note)


def choose_wires(args, timeline):
    """Namespaces if they can be had; else loopback, and it says so."""
    reason = "--loopback was given" if args.loopback else network.why_not()
    if reason:
        timeline.note("on loopback, without partitions: %s" % reason)
        return network.Loopback
    network.private_mounts()
    names = ["n%d" % i for i in range(1, 7)] + ["s%d" % i for i in range(1, 4)] + ["client"]

    def fresh():
        wire = network.Namespaces(names)
        wire.move_to("client")
        return wire

    return fresh


HEADER = ["fault", "world", "server", "rounds", "unavailable ms", "worst", "acknowledged", "lost",
          "aside", "errors", "both ms", "problems"]


def summary(results):
    from statistics import median

    groups = {}
    for result in results:
        groups.setdefault((result.fault, result.world, result.server), []).append(result)
    rows = []
    for (fault, world, server), group in groups.items():
        gaps = [r.unavailable * 1e3 for r in group]
        both = [r.both * 1e3 for r in group if r.both is not None]
        rows.append([
            fault, world, server, len(group), "%.0f" % median(gaps), "%.0f" % max(gaps),
            sum(r.acknowledged for r in group), sum(r.lost for r in group),
            sum(r.kept for r in group), sum(r.refused + r.unknown for r in group),
            "%.0f" % max(both) if both else "-", sum(r.problem is not None for r in group),
        ])
    return rows


def by_client(results):
    from statistics import median

    groups = {}
    for result in results:
        for kind, gap in result.by_kind.items():
            key = (result.fault, result.world, result.server)
            groups.setdefault(key, {}).setdefault(kind, []).append(gap * 1e3)
    kinds = sorted({kind for group in groups.values() for kind in group})
    rows = []
    for key, group in groups.items():
        cells = ["%.0f / %.0f" % (median(group[k]), max(group[k])) if k in group else "-"
                 for k in kinds]
        rows.append(list(key) + cells)
    return rows, ["fault", "world", "server"] + kinds


def main():
    args = parse()
    if args.list:
        for fault in faults.CATALOGUE.values():
            say("%-20s %-17s %s" % (fault.name, ", ".join(fault.worlds), fault.about))
        return 0
    tools.need_redis_py()
    tools.redis_cli("to form the cluster and to move slots")
    from martlet.chaos import report

    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    timeline = Timeline()
    say("seed %d (--seed repeats victims and times)" % args.seed)
    if args.compose:
        from martlet.chaos import compose

        makes = [lambda: compose.ComposeWorld(args, timeline.note)]
    else:
        makes = makers(args, choose_wires(args, timeline), timeline)
    parts, interrupted = [], False
    try:
        for make in makes:
            left = args.faults
            while left:
                parts.append(([], []))
                left = break_world(make, left, args, timeline, parts[-1])
    except KeyboardInterrupt:
        # What was seen until then is worth its table.
        interrupted = True
        timeline.note("interrupted")
    results = [result for found, _ in parts for result in found if result.unavailable is not None]
    if not results and interrupted:
        return 130
    if not results:
        raise Failure("none of these faults can happen here", MISUSE)
    rows = summary(results)
    say()
    say("\n".join(table(rows, HEADER, "<<<" + ">" * (len(HEADER) - 3))))
    clients_rows, clients_header = by_client(results)
    say()
    say("longest time without an acknowledged write, by kind of client: median / worst ms")
    say("\n".join(table(clients_rows, clients_header, "<<<" + ">" * (len(clients_header) - 3))))
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"seed": args.seed, "rounds": [r.as_dictionary() for r in results]}, file)
    if args.html:
        report.write(args.html, args, timeline, parts, (rows, HEADER),
                     (clients_rows, clients_header))
        say("report: %s" % args.html)
    ours = [r for r in results if r.server != "redis-server" or args.server]
    bad = [r for r in ours if r.problem or r.lost > r.kept]
    return 130 if interrupted else 1 if bad else 0


run_main(main)
