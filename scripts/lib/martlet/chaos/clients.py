"""Clients that write, as applications do, and keep a record of every write and its fate.

Three kinds: a plain client that stays with its node, a cluster-aware and a sentinel-aware client
of redis-py. They run in processes of their own; each write is appended to a file at once, so that
what a client was told survives everything that happens to the servers.

A fate is one of: acknowledged; refused (an error reply: not executed); unknown (the connection
broke or was silent: executed or not).
"""

import ctypes
import multiprocessing
import os
import signal
import struct
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from ..nodes import wait_until

RECORD = struct.Struct("=ddIBBBx")
ACKNOWLEDGED, REFUSED, UNKNOWN = range(3)
PLAIN, CLUSTER_AWARE, SENTINEL_AWARE = range(3)
KINDS = ["plain", "cluster-aware", "sentinel-aware"]
SILENCE = 0.3
PAUSE = 0.004
IDLE_PAUSE = 0.01
# Every fifth write adds to a set: another type, other code in the servers.
SET_EVERY = 5

_context = multiprocessing.get_context("fork")


class Write:
    """One record of a client's file."""

    __slots__ = ("client", "begun", "ended", "number", "lane", "fate", "node")

    def __init__(self, client, fields):
        self.client = client
        self.begun, self.ended, self.number, self.lane, self.fate, self.node = fields


def command_of(client, lane, number):
    """The words of a write: they follow from who wrote it and which it was."""
    tag = lane.tags[number % len(lane.tags)]
    if number % SET_EVERY == 0:
        return ("SADD", "{%s}members:%s" % (tag, client), str(number))
    return ("SET", "{%s}%s:%d" % (tag, client, number), str(number))


class Client:
    """A thread's worth of writing: `attempt` is what the kinds differ in."""

    def __init__(self, name, kind, node, lanes, file):
        self.name, self.kind, self.node = name, kind, node
        self.lanes = lanes
        self.file = file
        self.number = 0

    def loop(self, write, at, follow, stop):
        """`write(*words)` sends a command; `follow` says whether to go to another lane."""
        while not stop.is_set():
            words = command_of(self.name, self.lanes[at], self.number)
            begun = time.monotonic()
            fate = attempt(write, words)
            ended = time.monotonic()
            if fate == REFUSED and follow:
                # A replica refuses everything: not worth a record. The slot may have moved alone.
                at = (at + 1) % len(self.lanes)
                self.number += 1
                time.sleep(IDLE_PAUSE)
                continue
            record = RECORD.pack(begun, ended, self.number, at, fate, self.node)
            os.write(self.file, record)
            self.number += 1
            time.sleep(PAUSE if fate == ACKNOWLEDGED else IDLE_PAUSE)


def attempt(write, words):
    try:
        write(*words)
        return ACKNOWLEDGED
    except redis.exceptions.ConnectionError:
        return UNKNOWN
    except redis.exceptions.ResponseError:
        return REFUSED
    except (redis.RedisError, OSError, ValueError, KeyError, IndexError, AttributeError):
        # Whatever a client library comes to when a cluster changes under it.
        return UNKNOWN


def no_retries():
    return Retry(NoBackoff(), 0)


def plain(address):
    client = redis.Redis(
        host=address[0], port=address[1], socket_timeout=SILENCE,
        socket_connect_timeout=SILENCE, retry=no_retries(),
    )
    return client.execute_command


class ClusterAware:
    """A RedisCluster, made anew when the old one is beyond help."""

    def __init__(self, addresses):
        self.nodes = [ClusterNode(host, port) for host, port in addresses]
        self.client = None

    def __call__(self, *words):
        if self.client is None:
            self.client = RedisCluster(
                startup_nodes=self.nodes, socket_timeout=SILENCE, socket_connect_timeout=SILENCE
            )
        try:
            return self.client.execute_command(*words)
        except redis.exceptions.RedisClusterException:
            self.client.close()
            self.client = None
            raise


def sentinel_aware(addresses, name):
    sentinel = Sentinel(addresses, socket_timeout=SILENCE)
    client = sentinel.master_for(name, socket_timeout=SILENCE, retry=no_retries())
    return client.execute_command


class Plan:
    """Who writes: `kind`, a name, the addresses it is given, and the lane it begins with."""

    def __init__(self, kind, name, addresses, lane, node=255, monitored=None):
        self.kind, self.name, self.addresses, self.lane = kind, name, addresses, lane
        self.node, self.monitored = node, monitored

    def writer(self):
        if self.kind == PLAIN:
            return plain(self.addresses[0])
        if self.kind == CLUSTER_AWARE:
            return ClusterAware(self.addresses)
        return sentinel_aware(self.addresses, self.monitored)


def plans_for(world, monitored):
    addresses = [(node.host, node.port) for node in world.nodes]
    plans = [
        Plan(PLAIN, "p%d" % i, [address], i % len(world.lanes), i)
        for i, address in enumerate(addresses)
    ]
    if world.kind == "cluster":
        plans += [
            Plan(CLUSTER_AWARE, "c%d" % lane, addresses, lane) for lane in range(len(world.lanes))
        ]
    else:
        sentinels = [(sentinel.host, sentinel.port) for sentinel in world.sentinels]
        plans += [
            Plan(SENTINEL_AWARE, "t%d" % i, sentinels, 0, monitored=monitored) for i in range(2)
        ]
    return plans


def _run(plans, lanes, folder, stop):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threads = []
    for plan in plans:
        file = os.open(path_of(folder, plan), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        client = Client(plan.name, plan.kind, plan.node, lanes, file)
        follow = plan.kind == PLAIN
        arguments = (plan.writer(), plan.lane, follow, stop)
        threads.append(threading.Thread(target=client.loop, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(2)
    os._exit(0)


def path_of(folder, plan):
    return os.path.join(folder, "writes-" + plan.name)


class Clients:
    """All clients of a world, and what they have written down so far."""

    def __init__(self, world, monitored):
        self.plans = plans_for(world, monitored)
        self.lanes = world.lanes
        self.writes = []
        self.stop_event = _context.Event()
        self.files = {}
        for plan in self.plans:
            open(path_of(world.folder, plan), "wb").close()
            self.files[plan] = open(path_of(world.folder, plan), "rb")
        kinds = sorted({plan.kind for plan in self.plans})
        self.processes = [
            _context.Process(
                target=_run,
                args=([p for p in self.plans if p.kind == kind], self.lanes, world.folder,
                      self.stop_event),
                daemon=True,
            )
            for kind in kinds
        ]
        for process in self.processes:
            process.start()

    def poll(self):
        """Reads what was written down since the last call; returns all, in the order of reading."""
        for plan, file in self.files.items():
            data = file.read()
            whole = len(data) - len(data) % RECORD.size
            file.seek(whole - len(data), os.SEEK_CUR)
            for fields in RECORD.iter_unpack(data[:whole]):
                self.writes.append(Write(plan, fields))
        return self.writes

    def wait_steady(self):
        """Until every lane is written and no client is still finding its way."""

        def steady():
            done = {}
            for write in self.poll():
                if write.fate == ACKNOWLEDGED:
                    key = (write.client.kind, write.lane)
                    done[key] = done.get(key, 0) + 1
            kinds = {plan.kind for plan in self.plans}
            return all(
                done.get((kind, lane), 0) > 50 for kind in kinds for lane in range(len(self.lanes))
            )

        wait_until(steady, "all clients write", 30, every=0.05)

    def stop(self):
        self.stop_event.set()
        for process in self.processes:
            process.join(4)
            if process.is_alive():
                process.kill()
        for file in self.files.values():
            file.close()
