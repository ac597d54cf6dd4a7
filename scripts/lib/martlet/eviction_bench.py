"""How good the choice of keys to give up is: the hit rate of a cache that holds a tenth of what is
asked for, under requests that follow Zipf's law, beside redis-server's.

Each server gets as much memory as a tenth of the keys takes it, so that both hold as many keys. A
request is a GET, and after a miss a SET, as applications use a cache. Requests are the same for
both, and go to both in turns.
"""

import bisect
import itertools
import random

from .console import say, table
from .nodes import Server
from .resp import Connection

BATCH = 100
VALUE = b"v" * 100
POLICIES = ["allkeys-lru", "allkeys-lfu"]


def zipf_keys(count, skew, requests, seed):
    """Numbers of keys; which are the popular ones is the same each time for one seed."""
    sums = list(itertools.accumulate(1.0 / (rank + 1) ** skew for rank in range(count)))
    chance = random.Random(seed)
    names = list(range(count))
    chance.shuffle(names)
    total = sums[-1]
    return [names[bisect.bisect_left(sums, chance.random() * total)] for _ in range(requests)]


class Cache:
    def __init__(self, binary, policy, keys, pinning):
        self.server = Server(binary, prefix=pinning.server, appendonly="no", save="")
        self.connection = Connection(self.server.port, timeout=60)
        self.hits = 0
        room = keys // 10
        for first in range(0, room, BATCH):
            self.set(range(first, min(first + BATCH, room)))
        limit = self.figure("memory", "used_memory")
        self.connection.call("CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", policy)

    def set(self, numbers):
        numbers = list(numbers)
        if numbers:
            self.connection.pipeline([("SET", b"key:%08d" % n, VALUE) for n in numbers])

    def ask(self, numbers):
        found = self.connection.pipeline([("GET", b"key:%08d" % n) for n in numbers])
        missed = [n for n, value in zip(numbers, found) if value is None]
        self.hits += len(numbers) - len(missed)
        self.set(dict.fromkeys(missed))

    def figure(self, section, name):
        text = self.connection.call("INFO", section).decode()
        for line in text.split("\r\n"):
            if line.startswith(name + ":"):
                return int(line.split(":")[1])
        raise KeyError(name)

    def close(self):
        self.connection.close()
        self.server.close()


def measure_eviction(args, redis, ours, pinning):
    keys, requests = (50_000, 300_000) if args.quick else (100_000, 1_500_000)
    rows, met = [], True
    for policy in POLICIES:
        for skew in (0.8, 1.0):
            numbers = zipf_keys(keys, skew, requests, seed=7)
            caches = [Cache(binary, policy, keys, pinning) for binary in (redis, ours)]
            try:
                warm = requests // 3
                for first in range(0, requests, BATCH):
                    if first == warm - warm % BATCH:
                        for cache in caches:
                            cache.hits = 0
                    for cache in caches:
                        cache.ask(numbers[first : first + BATCH])
                counted = requests - (warm - warm % BATCH)
                rates = [cache.hits / counted for cache in caches]
                held = [cache.connection.call("DBSIZE") for cache in caches]
            finally:
                for cache in caches:
                    cache.close()
            # What two runs of one server differ by is no difference.
            good = rates[1] >= rates[0] - 0.001
            met = met and good
            row = [policy, "%.1f" % skew] + ["%.2f %%" % (100 * rate) for rate in rates]
            rows.append(row + [str(n) for n in held] + ["yes" if good else "NO"])
            say("  " + "  ".join(rows[-1]))
    say()
    say("hit rate of a cache for a tenth of %d keys, %d requests" % (keys, requests))
    titles = ["policy", "skew", "redis", "ours", "redis keys", "our keys", "met"]
    for line in table(rows, titles, "<>>>>>>"):
        say(line)
    return met
