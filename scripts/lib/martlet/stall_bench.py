"""The longest stall of a PING loop while a key of millions of elements is built and given up.

Each server is alone while it is measured. The loop runs before everything else on its CPU where
that is allowed, and so does the server: what it times is the server, not its neighbours. The key is
built by redis-benchmark, fifty elements per command, and then given up in each of the ways there
are. A stall counts by how far it exceeds that of the same loop beside an idle server.
"""

import multiprocessing
import os
import subprocess
import time

from .console import Failure, say, table
from .nodes import Server
from .resp import Connection

STALL_BAR = 20.0
PROBE_PAUSE = 0.0005
IDLE_SECONDS = 3
PER_COMMAND = 50
STRING_BYTES = 512 << 20
_context = multiprocessing.get_context("fork")

TYPES = ["list", "hash", "set", "zset", "stream", "string"]


def real_time(priority):
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        pass  # without the privilege the figures are rougher


def _probe(port, cpus, stop, results):
    """Times PINGs until told to stop; the longest of each phase, by the phase's number."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    real_time(2)
    worst = {}
    with Connection(port, timeout=120) as connection:
        while stop.value >= 0:
            phase = stop.value
            begun = time.perf_counter()
            connection.call("PING")
            elapsed = time.perf_counter() - begun
            # What spans two phases counts for the first: that is where it began.
            worst[phase] = max(worst.get(phase, 0.0), elapsed)
            time.sleep(PROBE_PAUSE)
    results.put(worst)


class Probe:
    def __init__(self, port, cpus):
        self.phase = _context.Value("i", 0)
        self.results = _context.Queue()
        self.process = _context.Process(
            target=_probe, args=(port, cpus, self.phase, self.results), daemon=True
        )
        self.process.start()

    def enter(self, phase):
        self.phase.value = phase

    def finish(self):
        """Milliseconds of the longest PING of each phase."""
        self.phase.value = -1
        worst = self.results.get(timeout=180)
        self.process.join(10)
        return {phase: seconds * 1e3 for phase, seconds in worst.items()}


def element_words(kind):
    """A command that adds elements, as redis-benchmark takes it, and how many it adds."""
    value = "__rand_int__"
    if kind == "list":
        return ["RPUSH", "big"] + [value] * PER_COMMAND, PER_COMMAND
    if kind == "set":
        return ["SADD", "big"] + ["m:" + value] * PER_COMMAND, PER_COMMAND
    if kind == "hash":
        return ["HSET", "big"] + ["f:" + value, "v"] * PER_COMMAND, PER_COMMAND
    if kind == "zset":
        return ["ZADD", "big"] + [value, "m:" + value] * PER_COMMAND, PER_COMMAND
    return ["XADD", "big", "*", "f", value], 1


def build(port, kind, elements, pinning):
    if kind == "string":
        with Connection(port, timeout=120) as connection:
            connection.call("SETRANGE", "big", STRING_BYTES - 1, "x")
        return
    words, each = element_words(kind)
    line = pinning.load + ["redis-benchmark", "-p", str(port), "-q", "-c", "4", "-P", "4"]
    line += ["-n", str(max(1, elements // each)), "-r", "999999999999"] + words
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failure("redis-benchmark failed: %s" % done.stdout.decode("utf-8", "replace")[-300:])


def give_up(connection, way):
    if way == "SET over":
        connection.call("SET", "big", "small")
    elif way == "RENAME over":
        connection.call("SET", "small", "x")
        connection.call("RENAME", "small", "big")
    elif way == "expiry":
        connection.call("PEXPIRE", "big", 1)
        time.sleep(0.3)
        connection.call("EXISTS", "big")
    elif way == "FLUSHALL":
        connection.call("FLUSHALL")
    elif way == "FLUSHALL ASYNC":
        connection.call("FLUSHALL", "ASYNC")
    else:
        connection.call(way, "big")


def settle(connection):
    """Waits until what was given up lazily is gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = connection.call("INFO", "memory").decode()
        if "lazyfree_pending_objects:0" in text:
            break
        time.sleep(0.1)
    time.sleep(0.3)


def one_server(binary, kind, elements, ways, pinning):
    """The longest stalls: idle, then one for building and one for each way of giving up."""
    prefix = list(pinning.server)
    server = Server(binary, prefix=prefix, appendonly="no", save="")
    try:
        try:
            os.sched_setscheduler(server.pid, os.SCHED_FIFO, os.sched_param(1))
        except OSError:
            pass
        others = {int(pinning.load[-1])} if pinning.load else set()
        probe = Probe(server.port, others)
        time.sleep(IDLE_SECONDS)
        with Connection(server.port, timeout=180) as connection:
            for index, way in enumerate(ways):
                probe.enter(1 + 2 * index)
                connection.call("DEL", "big")  # what was set over the key before
                build(server.port, kind, elements, pinning)
                probe.enter(2 + 2 * index)
                give_up(connection, way)
                settle(connection)
        worst = probe.finish()
        idle = worst.get(0, 0.0)
        building = max(worst.get(1 + 2 * index, 0.0) for index in range(len(ways)))
        return idle, building, [worst.get(2 + 2 * index, 0.0) for index in range(len(ways))]
    finally:
        server.close()


def measure_stalls(args, redis, ours, pinning):
    elements = args.stall_elements
    ways = ["UNLINK"] if args.quick else ["DEL", "UNLINK", "SET over", "FLUSHALL ASYNC"]
    rows, met = [], True
    for kind in args.stall_types:
        theirs = one_server(redis, kind, elements, ways, pinning)
        mine = one_server(ours, kind, elements, ways, pinning)
        for what, a, b in [("build", theirs[1], mine[1])] + [
            (way, theirs[2][index], mine[2][index]) for index, way in enumerate(ways)
        ]:
            # The bar is for both halves of the life of a key.
            good = b - mine[0] <= STALL_BAR
            met = met and good
            row = [kind, what, "%.1f" % theirs[0], "%.1f" % a, "%.1f" % mine[0], "%.1f" % b]
            rows.append(row + ["%.0f" % STALL_BAR, "yes" if good else "NO"])
            say("  " + "  ".join(rows[-1]))
    say()
    size = STRING_BYTES >> 20
    say("longest PING in ms, keys of %d elements (strings of %d MB)" % (elements, size))
    titles = ["type", "phase", "redis idle", "redis", "ours idle", "ours", "bar", "met"]
    for line in table(rows, titles, "<<>>>>>>"):
        say(line)
    return met
