"""Filling a server quickly, and a client of a whole cluster that goes on through failovers."""

import random
import time

from .resp import Connection, ReplyError, encode
from .slots import SLOTS, key_slot


def fill_counters(port, count):
    """SETs the numbers that redis-benchmark increments."""
    with Connection(port, timeout=60) as connection:
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            connection.send_raw(
                b"".join(encode(("SET", "counter:%012d" % n, str(n))) for n in numbers)
            )
            for _ in numbers:
                connection.read()


def fill(port, count, value_bytes, first=0, ttl=None, progress=None):
    """SETs `key:000000000000` and so on, the names that redis-benchmark uses, in pipelines."""
    value = "v" * max(0, value_bytes - 12)
    extra = ("EX", ttl) if ttl else ()
    with Connection(port, timeout=60) as connection:
        for start in range(first, first + count, 1000):
            numbers = range(start, min(start + 1000, first + count))
            connection.send_raw(
                b"".join(
                    encode(("SET", "key:%012d" % n, "%012d%s" % (n, value), *extra))
                    for n in numbers
                )
            )
            for _ in numbers:
                reply = connection.read()
                if reply != "OK":
                    raise ReplyError("filling port %d: %s" % (port, reply))
            if progress and start % 100_000 == 0:
                progress(start)


class Unavailable(Exception):
    """No node took the command within its time."""


class ClusterClient:
    """Follows redirects and outlives nodes: on any trouble it asks another node for the map.

    A command whose connection broke may have been executed: `call` raises `Unavailable` for it
    rather than sending it twice, unless told that twice is as good as once.
    """

    def __init__(self, ports, timeout=0.3):
        self.ports = list(ports)
        self.timeout = timeout
        self.connections = {}
        self.owner = [None] * SLOTS

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections = {}

    def connection(self, port):
        if port not in self.connections:
            self.connections[port] = Connection(port, timeout=self.timeout)
        return self.connections[port]

    def drop(self, port):
        if port in self.connections:
            self.connections.pop(port).close()

    def refresh(self):
        """Learns the slot map from the first node that answers."""
        for port in random.sample(self.ports, len(self.ports)):
            try:
                ranges = self.connection(port).call("CLUSTER", "SLOTS")
            except (OSError, ReplyError):
                self.drop(port)
                continue
            for row in ranges:
                for slot in range(row[0], row[1] + 1):
                    self.owner[slot] = row[2][1]
            return True
        return False

    def call(self, *args, key=None, give_up=30.0, repeatable=True):
        """Runs a command on the owner of `key` (default: the second word)."""
        slot = key_slot(args[1] if key is None else key)
        end = time.monotonic() + give_up
        asking = None
        while time.monotonic() < end:
            port = asking or self.owner[slot] or random.choice(self.ports)
            try:
                connection = self.connection(port)
                if asking:
                    connection.ask("ASKING")
                reply = connection.ask(*args)
            except OSError:
                self.drop(port)
                if not repeatable:
                    raise Unavailable("connection to port %d broke" % port)
                self.refresh()
                asking = None
                time.sleep(0.002)
                continue
            asking = None
            if not isinstance(reply, ReplyError):
                return reply
            words = str(reply).split()
            if words[0] == "MOVED":
                target = int(words[2].rsplit(":", 1)[1])
                if target == port or target not in self.ports:
                    time.sleep(0.002)
                self.owner[slot] = target
            elif words[0] == "ASK":
                asking = int(words[2].rsplit(":", 1)[1])
            elif words[0] in ("CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "NOREPLICAS"):
                time.sleep(0.002)
                self.refresh()
            elif words[0] == "READONLY":
                time.sleep(0.002)
                self.refresh()
            else:
                raise reply
        raise Unavailable("no answer to %s within %g s" % (args[0], give_up))
