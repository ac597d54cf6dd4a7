"""A full synchronisation while clients write at full speed: what it costs in memory and latency.

The primary has one CPU for itself; the load, the probe, the replica and whatever the primary forks
share the other, as far as there are two. The probe writes once a millisecond and runs before
everything else on its CPU where that is allowed, so that what it times is the primary and not the
competition with the load. What measures keeps to that CPU too: it looks into `/proc` for a
millisecond twenty times a second. And the primary's CPU never halts, because a virtual one takes up
to a millisecond to wake, which is the machine's time and not the server's.
"""

import multiprocessing
import os
import signal
import subprocess
import time

from .console import Stopwatch, say, table
from .load import fill
from .nodes import Server
from .resp import Connection

GROWTH_BAR = 1.10
LATENCY_BAR = 3.0
VALUE_BYTES = 1000
_context = multiprocessing.get_context("fork")


def memory_bytes(pid):
    """Memory of a process and of its children, pages that they share counted once.

    Of the process itself only the counter is read: a walk through its page tables, which
    `smaps` does, would keep it from allocating for milliseconds and so spoil the latencies.
    """
    with open("/proc/%d/statm" % pid) as file:
        total = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    for child in children_of(pid):
        try:
            with open("/proc/%d/smaps_rollup" % child) as file:
                for line in file:
                    if line.startswith("Private_"):
                        total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def children_of(pid):
    found = []
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return found


def _spin(cpus):
    os.sched_setaffinity(0, cpus)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        pass


def idle_class_yields():
    """Whether an idle-class process gives way to processes of other sessions.

    Where the kernel shares a CPU out among sessions first, it takes its share like any other.
    """
    try:
        with open("/proc/sys/kernel/sched_autogroup_enabled") as setting:
            return setting.read().strip() == "0"
    except OSError:
        return True


class Awake:
    """Keeps CPUs from halting: a process that runs when nothing else there wants to."""

    def __init__(self, cpus):
        self.process = None
        if cpus and not idle_class_yields():
            say("kernel.sched_autogroup_enabled is 1: CPUs may halt, the tails are rougher")
        elif cpus:
            self.process = _context.Process(target=_spin, args=(cpus,), daemon=True)
            self.process.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.kill()
            self.process.join()


PROBE_PAUSE = 0.001


def _probe(port, cpus, stop, results):
    """Times single writes, one each millisecond, until told to stop."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        pass  # without the privilege the figures are rougher
    times = []
    value = "p" * VALUE_BYTES
    with Connection(port, timeout=60) as connection:
        number = 0
        while not stop.is_set():
            number = (number + 7919) % 100_000
            begun = time.perf_counter()
            connection.call("SET", "key:%012d" % number, value)
            times.append(time.perf_counter() - begun)
            time.sleep(PROBE_PAUSE)
    results.put(times)


class Probe:
    def __init__(self, port, cpus):
        self.stop_event = _context.Event()
        self.results = _context.Queue()
        self.process = _context.Process(
            target=_probe, args=(port, cpus, self.stop_event, self.results), daemon=True
        )
        self.process.start()

    def finish(self):
        """Latencies in milliseconds, sorted."""
        self.stop_event.set()
        times = self.results.get(timeout=120)
        self.process.join(10)
        return sorted(seconds * 1e3 for seconds in times)


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def move_children(pid, cpus):
    """A forked child leaves its parent's CPU, as bgsave_cpulist would have it do."""
    for child in children_of(pid) if cpus else []:
        try:
            os.sched_setaffinity(child, cpus)
        except OSError:
            continue


def one_server(binary, megabytes, seconds, pinning):
    """Figures of one server as a dictionary."""
    count = megabytes * 1_000_000 // (VALUE_BYTES + 16)
    watch = Stopwatch()
    unlimited = "replica 0 0 0"
    primary = Server(
        binary, prefix=pinning.server, client_output_buffer_limit=unlimited, repl_timeout=600
    )
    others = {int(pinning.load[-1])} if pinning.load else set()
    replica = None
    hammer = None
    try:
        fill(primary.port, count, VALUE_BYTES)
        say("  filled with %d keys, %d MB, in %s" % (count, primary.resident_bytes() / 1e6, watch))
        hammer = subprocess.Popen(
            pinning.load
            + [
                "redis-benchmark",
                "-p",
                str(primary.port),
                "-t",
                "set",
                "-l",
                "-c",
                "10",
                "-d",
                str(VALUE_BYTES),
                "-r",
                str(count),
                "-q",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(1)  # the load comes up; nothing is measured yet
        probe = Probe(primary.port, others)
        before = int(primary.info("stats")["total_commands_processed"])
        time.sleep(seconds)
        alone_rate = (int(primary.info("stats")["total_commands_processed"]) - before) / seconds
        alone = probe.finish()

        memory_before = memory_most = memory_bytes(primary.pid)
        probe = Probe(primary.port, others)
        before = int(primary.info("stats")["total_commands_processed"])
        watch = Stopwatch()
        replica = Server(
            binary,
            prefix=pinning.load,
            replicaof="127.0.0.1 %d" % primary.port,
            repl_timeout=600,
        )
        synced = False
        while not synced and watch.seconds < 300:
            move_children(primary.pid, others)
            memory_most = max(memory_most, memory_bytes(primary.pid))
            synced = replica.info("replication")["master_link_status"] == "up"
            time.sleep(0.05)
        sync_seconds = watch.seconds
        during_rate = (
            int(primary.info("stats")["total_commands_processed"]) - before
        ) / sync_seconds
        during = probe.finish()
        if not synced:
            say("  the synchronisation did not end within 300 s")
        return {
            "synced": synced,
            "seconds": sync_seconds,
            "growth": memory_most / memory_before,
            "before": memory_before,
            "most": memory_most,
            "alone": percentile(alone, 0.99),
            "during": percentile(during, 0.99),
            "alone_median": percentile(alone, 0.5),
            "during_median": percentile(during, 0.5),
            "worst": during[-1],
            "alone_rate": alone_rate,
            "during_rate": during_rate,
        }
    finally:
        if hammer is not None:
            os.kill(hammer.pid, signal.SIGKILL)
            hammer.wait()
        for server in (replica, primary):
            if server is not None:
                server.close()


def measure_sync(megabytes, quick, redis, ours, pinning):
    megabytes = min(megabytes, 200) if quick else megabytes
    rows, met = [], True
    allowed = os.sched_getaffinity(0)
    if pinning.load:
        os.sched_setaffinity(0, {int(pinning.load[-1])})
    for name, binary in (("redis", redis), ("ours", ours)):
        say("full synchronisation of %d MB under load: %s" % (megabytes, name))
        with Awake({int(pinning.server[-1])} if pinning.server else set()):
            found = one_server(binary, megabytes, 5 if quick else 10, pinning)
        ratio = found["during"] / found["alone"]
        good = found["synced"] and found["growth"] <= GROWTH_BAR and ratio <= LATENCY_BAR
        if name == "ours":
            met = good
        rows.append(
            [
                name,
                "%.1f" % found["seconds"],
                "%.0f" % (found["before"] / 1e6),
                "%.0f" % (found["most"] / 1e6),
                "%+.0f %%" % (100 * (found["growth"] - 1)),
                "%.2f" % found["alone_median"],
                "%.2f" % found["during_median"],
                "%.2f" % found["alone"],
                "%.2f" % found["during"],
                "%.1f" % ratio,
                "%.0f" % found["worst"],
                "%.0f" % found["alone_rate"],
                "%.0f" % found["during_rate"],
                "yes" if good else "NO",
            ]
        )
    os.sched_setaffinity(0, allowed)
    say()
    say("full synchronisation while clients write at full speed (bars: memory +10 %, p99 3 times)")
    for line in table(
        rows,
        [
            "server",
            "sync s",
            "MB before",
            "MB most",
            "growth",
            "p50 ms alone",
            "during",
            "p99 ms alone",
            "during",
            "ratio",
            "worst ms",
            "writes/s alone",
            "during",
            "met",
        ],
    ):
        say(line)
    return met
