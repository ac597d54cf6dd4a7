"""Writers in processes of their own, which write down what was acknowledged, to be checked later.

Each write has a key of its own and is sent until it is acknowledged; afterwards every acknowledged
key must be there. What a writer was told is kept in its own memory, so a server cannot lose both.
"""

import multiprocessing
import queue
import time

from .load import ClusterClient, Unavailable

_context = multiprocessing.get_context("fork")


def _write(name, ports, stop, results, pause):
    client = ClusterClient(ports)
    acknowledged = 0
    longest = 0.0
    last = time.monotonic()
    while not stop.is_set():
        try:
            client.call("SET", "%s:%d" % (name, acknowledged), acknowledged, give_up=60)
        except Unavailable:
            continue
        acknowledged += 1
        now = time.monotonic()
        longest = max(longest, now - last)
        last = now
        if pause:
            time.sleep(pause)
    client.close()
    results.put((name, acknowledged, longest))


class Writers:
    """`count` writers on a cluster; `stop` returns how many writes each had acknowledged."""

    def __init__(self, ports, count=2, name="w", pause=0.0):
        self.ports = list(ports)
        self.event = _context.Event()
        self.results = _context.Queue()
        self.processes = [
            _context.Process(
                target=_write,
                args=("%s%d" % (name, i), self.ports, self.event, self.results, pause),
                daemon=True,
            )
            for i in range(count)
        ]
        self.counts = None
        for process in self.processes:
            process.start()

    def stop(self, timeout=60):
        if self.counts is not None:
            return self.counts
        self.event.set()
        self.counts = {}
        self.longest_gap = 0.0
        for _ in self.processes:
            try:
                name, count, longest = self.results.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError("a writer did not end: some slot stays without a primary")
            self.counts[name] = count
            self.longest_gap = max(self.longest_gap, longest)
        for process in self.processes:
            process.join(10)
        return self.counts

    @property
    def total(self):
        return sum(self.stop().values())

    def lost(self, ports=None):
        """Keys that were acknowledged and are not there, with the value they had."""
        client = ClusterClient(ports or self.ports, timeout=10)
        missing = []
        for name, count in self.stop().items():
            for number in range(count):
                key = "%s:%d" % (name, number)
                if client.call("GET", key) != str(number).encode():
                    missing.append(key)
        client.close()
        return missing
