"""`scripts/compose-check`: the deployment in deploy/, started, broken and read back.

Builds the image, brings the cluster and its sentinels up, and kills each primary in turn with
`docker kill` while a writer writes to its slots through the addresses of the private network. The
outage is the longest time between two acknowledged writes; afterwards every acknowledged write must
be readable, and every sentinel must name the primaries that the cluster has.
"""

import argparse
import os
import shutil
import subprocess
import threading
import time

from martlet.console import MISUSE, Failure, Stopwatch, run_main, say, table
from martlet.nodes import wait_until
from martlet.resp import Connection
from martlet.slots import key_slot

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILE = os.path.join(ROOT, "deploy", "docker-compose.yml")
NODES = 6
SENTINELS = 3
SENTINEL_PORT = 26379
WRITES = 2000

EPILOG = """Needs a running Docker engine with `docker compose` or `docker-compose`.
MARTLET_NET moves the addresses (first three numbers of a /24, default 172.28.7).
Exit codes: 0 every check passed, 1 one did not, 2 wrong usage or a missing tool."""


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/compose-check",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Starts the compose deployment, kills each primary, checks the data.",
        epilog=EPILOG,
    )
    parser.add_argument("--v1", action="store_true", help="use docker-compose 1.29")
    parser.add_argument("--no-build", action="store_true", help="use the image as it is")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    return parser.parse_args()


def address(number, kind=1):
    return "%s.%d%d" % (os.environ.get("MARTLET_NET", "172.28.7"), kind, number)


def sentinel_address(number):
    return address(number, 2)


class Compose:
    def __init__(self, v1):
        name = "docker-compose" if v1 else "docker"
        if shutil.which(name) is None:
            raise Failure("%s is not installed" % name, MISUSE)
        self.command = [name] if v1 else [name, "compose"]
        self.v1 = v1

    def run(self, *words):
        done = subprocess.run(
            self.command + ["-f", FILE] + list(words), capture_output=True, text=True
        )
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()[-12:]
            raise Failure("%s failed:\n%s" % (" ".join(words), "\n".join(lines)))

    def up(self):
        self.run("up", "-d", *([] if self.v1 else ["--wait"]))


def docker(*words):
    done = subprocess.run(("docker",) + words, capture_output=True, text=True)
    if done.returncode:
        raise Failure("docker %s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout.strip()


def nodes(host):
    """CLUSTER NODES as (address, flags, slots) of each."""
    with Connection(6379, host=host, timeout=2) as connection:
        lines = connection.text("CLUSTER", "NODES").splitlines()
    words = [line.split() for line in lines]
    return [(w[1].split(":")[0], w[2].split(","), w[8:]) for w in words]


def is_whole():
    for number in range(1, NODES + 1):
        with Connection(6379, host=address(number), timeout=2) as connection:
            if "cluster_state:ok" not in connection.text("CLUSTER", "INFO"):
                return False
            replication = connection.info("replication")
        if replication["role"] == "slave" and replication["master_link_status"] != "up":
            return False
    return not any("fail" in flags for _, flags, _ in nodes(address(1)))


def shards_seen(number):
    """{address of the primary: flags} of every shard, as a sentinel tells its clients."""
    with Connection(SENTINEL_PORT, host=sentinel_address(number), timeout=2) as connection:
        reply = connection.call("SENTINEL", "MASTERS")
    shards = [dict(zip(fields[::2], fields[1::2])) for fields in reply]
    return {shard[b"ip"].decode(): shard[b"flags"].decode() for shard in shards}


def sentinels_agree():
    """All sentinels see the primaries that the cluster itself has, and none of them down."""
    primaries = {host for host, flags, slots in nodes(address(1)) if "master" in flags and slots}
    expected = {host: "master" for host in primaries}
    return all(shards_seen(number) == expected for number in range(1, SENTINELS + 1))


class Writer(threading.Thread):
    """Writes keys of one shard to whichever of its nodes takes them."""

    def __init__(self, shard, slots):
        super().__init__(daemon=True)
        self.hosts = shard
        self.slots = slots
        self.acknowledged = []
        self.stopped = threading.Event()
        self.longest = 0.0

    def keys(self):
        number = 0
        while True:
            key = "compose:%d" % number
            if any(first <= key_slot(key) <= last for first, last in self.slots):
                yield key
            number += 1

    def run(self):
        keys = self.keys()
        key, at, connection, last = next(keys), 0, None, None
        while not self.stopped.is_set():
            try:
                if connection is None:
                    connection = Connection(6379, host=self.hosts[at], timeout=0.2)
                reply = connection.ask("SET", key, len(self.acknowledged))
            except OSError:
                reply = None
            if reply == "OK":
                now = time.monotonic()
                self.longest = max(self.longest, now - (last or now))
                last = now
                self.acknowledged.append((key, str(len(self.acknowledged)).encode()))
                key = next(keys)
                continue
            if connection is not None:
                connection.close()
            connection, at = None, (at + 1) % len(self.hosts)
            time.sleep(0.002)


def kill_primary(number):
    """One round: the row of the table, and the writes to check at the end."""
    victim = "martlet-n%d" % number
    table_now = nodes(address(number))
    mine = next(row for row in table_now if "myself" in row[1])
    with Connection(6379, host=address(number)) as connection:
        replicas = connection.info("replication")
    heirs = [
        dict(part.split("=") for part in value.split(","))["ip"]
        for name, value in replicas.items()
        if name.startswith("slave") and name[5:].isdigit()
    ]
    slots = [tuple(int(end) for end in (s.split("-") * 2)[:2]) for s in mine[2] if "[" not in s]
    writer = Writer([address(number)] + heirs, slots)
    writer.start()
    wait_until(lambda: len(writer.acknowledged) > WRITES, "the writer writes", 20)
    docker("kill", victim)
    before = len(writer.acknowledged)
    wait_until(lambda: len(writer.acknowledged) > before + WRITES, "writes go on", 30)
    docker("start", victim)
    clock = Stopwatch()
    wait_until(is_whole, "the cluster is whole again after the kill of %s" % victim, 60)
    back = clock.seconds
    wait_until(sentinels_agree, "the sentinels follow after the kill of %s" % victim, 30)
    writer.stopped.set()
    writer.join()
    row = [victim, "%.0f" % (writer.longest * 1000), "%.1f" % back, len(writer.acknowledged)]
    return row, writer.acknowledged


def lost(writes):
    """The acknowledged writes that cannot be read back."""
    owners = []
    for host, flags, slots in nodes(address(1)):
        if "master" in flags and "fail" not in flags:
            for part in slots:
                first, last = (int(end) for end in (part.split("-") * 2)[:2])
                owners.append((first, last, host))
    connections = {host: Connection(6379, host=host) for _, _, host in owners}
    missing = 0
    for key, value in writes:
        host = next(h for first, last, h in owners if first <= key_slot(key) <= last)
        reply = connections[host].ask("GET", key)
        # The same key may have been written again by a later round.
        missing += not isinstance(reply, bytes) or int(reply) < 0
    for connection in connections.values():
        connection.close()
    return missing


def all_healthy():
    names = ["martlet-n%d" % i for i in range(1, NODES + 1)]
    names += ["martlet-s%d" % i for i in range(1, SENTINELS + 1)] + ["martlet-cli"]
    states = docker("inspect", "--format", "{{.State.Health.Status}}", *names).split()
    return states == ["healthy"] * len(names)


def main():
    args = parse()
    compose = Compose(args.v1)
    compose.run("down", "-v", "--remove-orphans")
    if not args.no_build:
        clock = Stopwatch()
        compose.run("build")
        say("image built in %s" % clock)
    size = int(docker("image", "inspect", "--format", "{{.Size}}", "martlet:local"))
    clock = Stopwatch()
    compose.up()
    wait_until(is_whole, "six nodes say cluster_state:ok", 90)
    say("up in %s; image %d MB" % (clock, size // 1000000))
    try:
        wait_until(sentinels_agree, "three sentinels see the three shards", 60)
        wait_until(all_healthy, "ten containers are healthy", 60, every=0.2)
        say("ten containers healthy after %s" % clock)
        rounds, writes = [], []
        for number in range(1, 4):
            row, acknowledged = kill_primary(number)
            text = "%s killed: %s ms without a write, whole again %s s after its start"
            say(text % tuple(row[:3]))
            rounds.append(row)
            writes += acknowledged
        missing = lost(writes)
        # Stopped and started as a whole: everything is still there.
        compose.run("stop")
        compose.up()
        wait_until(is_whole, "the cluster is whole after a stop and a start", 90)
        wait_until(sentinels_agree, "the sentinels follow after a stop and a start", 60)
        after = lost(writes)
    finally:
        if not args.keep:
            compose.run("down", "-v", "--remove-orphans")
    say()
    say("\n".join(table(rounds, ["killed", "outage ms", "whole after s", "acknowledged"])))
    say("lost after the kills: %d; after a stop and a start of all: %d" % (missing, after))
    return 1 if missing or after else 0


run_main(main)
