"""How long clients that ask sentinels cannot write when the primary of a replication set is killed.

Three nodes, three sentinels. Two clients follow: redis-py's Sentinel class, which writes as fast as
it can, and redis-cli, which asks a sentinel for the address and writes there. The outage is the
time from kill -9 until each has a write acknowledged again.
"""

import statistics
import subprocess
import threading
import time

from .console import say, table
from .nodes import Server, wait_until
from .sentinels import SentinelServer

NAME = "bench"
ALLOWANCE_MS = 700


class Set:
    """A primary with two replicas and their sentinels, until all know each other."""

    def __init__(self, binary, down_after):
        self.nodes, self.sentinels = [], []
        try:
            self.nodes.append(Server(binary))
            for _ in range(2):
                self.nodes.append(Server(binary, replicaof="127.0.0.1 %d" % self.nodes[0].port))
            lines = [
                "monitor %s 127.0.0.1 %d 2" % (NAME, self.nodes[0].port),
                "down-after-milliseconds %s %d" % (NAME, down_after),
                "failover-timeout %s 10000" % NAME,
            ]
            self.sentinels = [SentinelServer(binary, sentinel=lines) for _ in range(3)]
            self.settle()
        except BaseException:
            self.close()
            raise

    @property
    def primary(self):
        port = self.sentinels[0].primary_address(NAME)[1]
        return next(node for node in self.nodes if node.port == port)

    def is_settled(self):
        if len({s.primary_address(NAME) for s in self.sentinels}) != 1:
            return False
        primary = self.primary
        replicas = [node for node in self.nodes if node is not primary]
        links = [node.info("replication") for node in replicas]
        return primary.info("replication")["role"] == "master" and all(
            link.get("master_port") == str(primary.port) and link["master_link_status"] == "up"
            for link in links
        ) and all(s.knows(NAME, 2, 2) for s in self.sentinels)

    def settle(self):
        wait_until(self.is_settled, "the set and its sentinels are settled", 90, every=0.05)

    def close(self):
        for server in self.sentinels + self.nodes:
            server.close()


class RedisPy(threading.Thread):
    """Writes by way of the Sentinel class until told to stop."""

    def __init__(self, sentinels):
        super().__init__(daemon=True)
        from redis.sentinel import Sentinel

        addresses = [("127.0.0.1", s.port) for s in sentinels]
        finder = Sentinel(addresses, socket_timeout=0.3)
        self.client = finder.master_for(NAME, socket_timeout=0.3)
        #: When each acknowledged write was sent and answered: the answer to one that was sent
        #: before a kill may be read after it.
        self.acknowledged = []
        self.stopped = threading.Event()

    def run(self):
        import redis

        while not self.stopped.is_set():
            sent = time.monotonic()
            try:
                self.client.set("py", len(self.acknowledged))
                self.acknowledged.append((sent, time.monotonic()))
            except redis.RedisError:
                pass
            time.sleep(0.002)


def cli(port, *words):
    done = subprocess.run(
        ["redis-cli", "-p", str(port)] + list(words), capture_output=True, text=True, timeout=5
    )
    return done.stdout.split()


def cli_writes(sentinels, dead):
    """True once a person with redis-cli can write where a sentinel sends them."""
    for sentinel in sentinels:
        address = cli(sentinel.port, "sentinel", "get-master-addr-by-name", NAME)
        if len(address) == 2 and int(address[1]) != dead:
            return cli(int(address[1]), "set", "cli", "value") == ["OK"]
    return False


def one_round(group):
    """Milliseconds until redis-py, and redis-cli, can write again."""
    client = RedisPy(group.sentinels)
    client.start()
    try:
        wait_until(lambda: len(client.acknowledged) > 50, "redis-py writes", 20)
        victim = group.primary
        begun = time.monotonic()
        victim.kill()
        killed = time.monotonic()
        by_cli = None
        end = killed + 60
        while by_cli is None or client.acknowledged[-1][0] <= killed:
            if by_cli is None and cli_writes(group.sentinels, victim.port):
                by_cli = time.monotonic() - begun
            if time.monotonic() > end:
                raise AssertionError("no failover within 60 s")
            time.sleep(0.005)
        by_py = next(at for sent, at in client.acknowledged if sent > killed) - begun
    finally:
        client.stopped.set()
        client.join(5)
    victim.start()
    group.settle()
    return by_py * 1e3, by_cli * 1e3


def measure(names_and_binaries, rounds, down_after):
    """Prints the rounds and the table; true if ours met the bar."""
    lines, met = [], True
    bar = down_after + ALLOWANCE_MS
    for name, binary in names_and_binaries:
        group = Set(binary, down_after)
        found = []
        try:
            for number in range(rounds):
                found.append(one_round(group))
                say("%s round %d: redis-py %.0f ms, redis-cli %.0f ms"
                    % ((name, number + 1) + found[-1]))
        finally:
            group.close()
        for client, values in zip(("redis-py", "redis-cli"), zip(*found)):
            good = max(values) <= bar
            met = met and (good or name != "ours")
            lines.append([name, client, len(values), "%.0f" % statistics.median(values),
                          "%.0f" % max(values), bar, "yes" if good else "NO"])
    say()
    say("writable again after kill -9 of the primary, down-after %d ms" % down_after)
    header = ["server", "client", "rounds", "median ms", "worst ms", "bar", "met"]
    say("\n".join(table(lines, header, "<<>>>>>")))
    return met
