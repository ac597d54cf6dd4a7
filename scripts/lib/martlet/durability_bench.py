"""What durability costs, beside redis-server: a snapshot under load, loading, the append-only file.

The server has one CPU for itself; the load, the probe and whatever the server forks share the
other, as far as there are two.
"""

import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from .console import Stopwatch, say, table
from .load import fill
from .nodes import Server, wait_until
from .sync_bench import VALUE_BYTES, Probe, memory_bytes, move_children, percentile

SAVE_GROWTH_BAR = 1.10
LOAD_BAR = 0.5
LOG_COST_BAR = 1.15


def hammer(pinning, port, keys, pipeline=1, clients=10):
    """redis-benchmark writing without end."""
    return subprocess.Popen(
        pinning.load
        + ["redis-benchmark", "-p", str(port), "-t", "set", "-l", "-c", str(clients)]
        + ["-P", str(pipeline), "-d", str(VALUE_BYTES), "-r", str(keys), "-q"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def commands(server):
    return int(server.info("stats")["total_commands_processed"])


# A snapshot while clients write


def save_under_load(binary, megabytes, seconds, pinning, folder):
    count = megabytes * 1_000_000 // (VALUE_BYTES + 16)
    others = {int(pinning.load[-1])} if pinning.load else set()
    server = Server(binary, prefix=pinning.server, dir=folder, appendonly="no")
    load = None
    try:
        fill(server.port, count, VALUE_BYTES)
        load = hammer(pinning, server.port, count)
        time.sleep(1)  # the load comes up; nothing is measured yet
        probe = Probe(server.port, others)
        before = commands(server)
        time.sleep(seconds)
        alone_rate = (commands(server) - before) / seconds
        alone = probe.finish()
        resting = most = memory_bytes(server.pid)
        probe = Probe(server.port, others)
        before = commands(server)
        watch = Stopwatch()
        server.call("BGSAVE")
        while server.info("persistence")["rdb_bgsave_in_progress"] == "1" and watch.seconds < 600:
            move_children(server.pid, others)
            most = max(most, memory_bytes(server.pid))
            time.sleep(0.05)
        took = watch.seconds
        during_rate = (commands(server) - before) / took
        during = probe.finish()
        status = server.info("persistence")["rdb_last_bgsave_status"]
        return {
            "ok": status == "ok", "seconds": took, "growth": most / resting,
            "alone": percentile(alone, 0.99), "during": percentile(during, 0.99),
            "worst": during[-1], "alone_rate": alone_rate, "during_rate": during_rate,
        }
    finally:
        if load is not None:
            os.kill(load.pid, signal.SIGKILL)
            load.wait()
        server.close()


def measure_saving(megabytes, quick, redis, ours, pinning):
    megabytes = min(megabytes, 200) if quick else megabytes
    rows, met = [], True
    for name, binary in (("redis", redis), ("ours", ours)):
        folder = tempfile.mkdtemp(prefix="martlet-save-")
        try:
            found = save_under_load(binary, megabytes, 3 if quick else 10, pinning, folder)
        finally:
            shutil.rmtree(folder, True)
        good = found["ok"] and found["growth"] <= SAVE_GROWTH_BAR
        met = good if name == "ours" else met
        rows.append(
            [name, "%.1f" % found["seconds"], "%+.0f %%" % (100 * (found["growth"] - 1))]
            + ["%.2f" % found[key] for key in ("alone", "during", "worst")]
            + ["%.0f" % found[key] for key in ("alone_rate", "during_rate")]
            + ["yes" if good else "NO"]
        )
    say()
    say("BGSAVE of %d MB while clients write at full speed (bar: memory +10 %%)" % megabytes)
    heads = ["server", "save s", "growth", "p99 ms alone", "during", "worst ms", "writes/s alone"]
    for line in table(rows, heads + ["during", "met"]):
        say(line)
    return met


# Loading


def load_seconds(binary, folder, pinning, keys, options):
    watch = Stopwatch()
    server = Server(binary, prefix=pinning.server, dir=folder, **options)
    try:
        wait_until(lambda: server.call("DBSIZE") >= keys, "everything is loaded", 600, every=0.02)
        return watch.seconds, server.cpu_nanoseconds() / 1e9
    finally:
        server.kill()
        server.close()


def measure_loading(keys, quick, redis, ours, pinning):
    keys = min(keys, 500_000) if quick else keys
    rows, met = [], True
    kinds = (("RDB", {"appendonly": "no"}), ("AOF with preamble", {"appendonly": "yes"}))
    for kind, options in kinds:
        folder = tempfile.mkdtemp(prefix="martlet-load-")
        try:
            writer = Server(redis, dir=folder, **options)
            fill(writer.port, keys, 16)
            if options["appendonly"] == "yes":
                writer.call("BGREWRITEAOF")
                wait_until(
                    lambda: writer.info("persistence")["aof_rewrite_in_progress"] == "0",
                    "rewritten", 600)
            else:
                writer.call("SAVE", timeout=600)
            writer.close()
            times = {redis: [], ours: []}
            for _ in range(1 if quick else 3):
                for binary in (redis, ours):
                    times[binary].append(load_seconds(binary, folder, pinning, keys, options))
        finally:
            shutil.rmtree(folder, True)
        theirs, mine = (
            [statistics.median(pair[i] for pair in times[binary]) for i in (0, 1)]
            for binary in (redis, ours)
        )
        good = mine[0] / theirs[0] <= LOAD_BAR
        met = met and good
        rows.append(
            [kind, "%.2f" % theirs[0], "%.2f" % mine[0], "%.2f" % (mine[0] / theirs[0])]
            + ["%.2f" % theirs[1], "%.2f" % mine[1], str(LOAD_BAR), "yes" if good else "NO"])
    say()
    say("start with %d keys of 16 bytes with values of 16 bytes" % keys)
    heads = ["file", "redis s", "ours s", "ours/redis", "redis CPU s", "ours CPU s", "bar", "met"]
    for line in table(rows, heads):
        say(line)
    return met


# The append-only file


def server_with_log(binary, pinning, folder, appendonly):
    """Writes nothing but the log: no snapshot and no rewrite comes in between."""
    os.makedirs(folder)
    return Server(
        binary, prefix=pinning.server, dir=folder, appendonly=appendonly,
        auto_aof_rewrite_percentage=0)


def measure_log(quick, redis, ours, pinning, run):
    """`run(port, pipeline, requests)` makes the load: SET of random keys.

    What the file costs is less than what one run differs from the next. So all four servers
    live at once and take turns, and the median is taken of the ratios of neighbours.
    """
    rows, met = [], True
    rounds = 5 if quick else 15
    folder = tempfile.mkdtemp(prefix="martlet-cost-")
    servers = []
    try:
        for name, binary in (("redis", redis), ("ours", ours)):
            for kind in ("no", "yes"):
                place = os.path.join(folder, name + kind)
                servers.append(server_with_log(binary, pinning, place, kind))
        for pipeline in (1, 16):
            requests = 100_000 if pipeline == 1 else 500_000
            costs = [[] for _ in servers]
            for turn in range(rounds + 1):
                for server, spent in zip(servers, costs):
                    before = server.cpu_nanoseconds()
                    run(server.port, pipeline, requests)
                    # The first turn fills the table.
                    if turn > 0:
                        spent.append((server.cpu_nanoseconds() - before) / requests)
            ratios = [
                statistics.median(w / b for b, w in zip(costs[at], costs[at + 1])) for at in (0, 2)
            ]
            good = pipeline == 1 or ratios[1] <= LOG_COST_BAR
            met = met and good
            rows.append(
                ["P=%d" % pipeline]
                + ["%.0f" % statistics.median(spent) for spent in costs]
                + ["%+.0f %%" % (100 * (ratio - 1)) for ratio in ratios]
                + ["+15 %" if pipeline > 1 else "", "yes" if good else "NO"])
    finally:
        for server in servers:
            server.close()
        shutil.rmtree(folder, True)
    say()
    say("CPU ns per SET without and with appendonly, appendfsync everysec")
    heads = ["", "redis", "with file", "ours", "with file", "redis cost", "ours cost", "bar", "met"]
    for line in table(rows, heads):
        say(line)
    return met
