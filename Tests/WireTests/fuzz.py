"""Fuzzers against real processes, bounded in time: request parser, bus, nodes.conf, RESTORE
payloads, snapshots, append-only files and configuration files. Each input comes from a seed, so a
failure can be shown again.

The server may refuse, close, or end with a message; it may not crash, hang or fail an invariant.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing

from harness import OURS, Server, wait_until
from test_config import REFUSED
from test_protocol import random_request

CRASHES = ("INVARIANT FAILED", "Fatal error: ", "crashed by signal", "Segmentation fault")


class Found(Exception):
    """An input that the server did not stand."""


def mutate(source, data, times=None):
    """Bytes changed, lost, doubled, or moved."""
    data = bytearray(data)
    for _ in range(times or source.randrange(1, 8)):
        if not data:
            return b""
        at, size = source.randrange(len(data)), source.choice([1, 1, 2, 4, 8, 40])
        kind = source.randrange(5)
        if kind == 0:
            data[at] ^= 1 << source.randrange(8)
        elif kind == 1:
            data[at : at + size] = bytes(source.randrange(256) for _ in range(size))
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size] * source.randrange(1, 4)
        else:
            data[at : at + size] = bytes([source.choice([0, 0x7F, 0x80, 0xFF])]) * size
    return bytes(data)


class ServerFuzzer:
    """Inputs for one long-lived server, which must go on living."""

    directives = {}

    def __enter__(self):
        self.server = Server(OURS, **self.directives)
        return self

    def __exit__(self, *_):
        self.server.close()

    def check(self):
        if not self.server.alive:
            raise Found("the server ended:\n" + self.server.log_tail())
        try:
            self.server.call("PING", timeout=20)
        except OSError as error:
            raise Found("the server does not answer: %s" % error)


def fill(connection):
    """Keys of every type, in their small and their large form; returns their names."""
    noise = random.Random(0).randbytes(50)
    for name, value in enumerate(
        [b"", b"12", b"-70000", b"text", b"abc" * 400, noise, b"x" * 20000]
    ):
        connection.call("SET", "string:%d" % name, value)
    numbers = [str(value) for value in (1, -7, 300, 70000, 1 << 40)]
    words = ["w%d" % value for value in range(12)] + [noise, "y" * 100]
    for name, values in (
        ("numbers", numbers), ("words", words), ("many", ["m%d" % value for value in range(700)])
    ):
        connection.call("RPUSH", "list:" + name, *values)
        connection.call("SADD", "set:" + name, *values)
        connection.call("HSET", "hash:" + name, *[word for each in values for word in (each, each)])
        scores = [word for place, each in enumerate(values) for word in (place / 3 - 1, each)]
        connection.call("ZADD", "zset:" + name, *scores)
        connection.call("HSET", "fields:" + name, *[w for each in values for w in (each, "v")])
        connection.call("HPEXPIRE", "fields:" + name, 9000000, "FIELDS", 2, *values[:2])
    for place in range(1, 151):
        connection.call("XADD", "stream", "%d-1" % place, "field", place, "other", "z" * place)
    connection.call("XDEL", "stream", "7-1")
    connection.call("XGROUP", "CREATE", "stream", "group", "3-1")
    connection.call("XREADGROUP", "GROUP", "group", "me", "COUNT", 5, "STREAMS", "stream", ">")
    connection.call("PFADD", "hll", *words)
    connection.call("PEXPIRE", "zset:words", 9000000)
    return connection.call("KEYS", "*")


# What looks at all of a value, whatever its type turns out to be.
READS = [
    ("GET", "f"), ("LRANGE", "f", 0, -1), ("SMEMBERS", "f"), ("HGETALL", "f"),
    ("HTTL", "f", "FIELDS", 1, "w0"), ("ZRANGE", "f", 0, -1, "WITHSCORES"),
    ("XRANGE", "f", "-", "+"), ("XINFO", "STREAM", "f", "FULL"), ("PFCOUNT", "f"),
    ("OBJECT", "ENCODING", "f"), ("MEMORY", "USAGE", "f", "SAMPLES", 0), ("DUMP", "f"),
    ("COPY", "f", "g", "REPLACE"), ("SORT", "f", "BY", "nosort"),
]
# What changes one, at both ends or in the middle.
WRITES = [
    ("APPEND", "f", "tail"), ("LPOP", "f"), ("LSET", "f", -1, "v"),
    ("LINSERT", "f", "BEFORE", "w3", "v"), ("SPOP", "f"), ("SADD", "f", "new", 5),
    ("HSET", "f", "w1", "v", "new", "v"), ("HDEL", "f", "w2"), ("ZADD", "f", 1, "new"),
    ("ZPOPMIN", "f"), ("ZREMRANGEBYRANK", "f", 0, 3), ("XADD", "f", "*", "a", 1),
    ("XTRIM", "f", "MAXLEN", 3), ("XGROUP", "DESTROY", "f", "group"), ("PFADD", "f", "new"),
]


class RequestFuzzer(ServerFuzzer):
    name = "requests"

    def run(self, seed):
        source = random.Random(seed)
        for _ in range(20):
            with self.server.connect(timeout=20) as connection:
                try:
                    connection.send_raw(random_request(source))
                    connection.socket.shutdown(socket.SHUT_WR)
                    connection.read_until_closed(limit=1 << 26)
                except TimeoutError:
                    raise Found("no answer and no end within 20 s")
                except OSError:
                    pass
        self.check()


class RestoreFuzzer(ServerFuzzer):
    name = "RESTORE payloads"

    def __enter__(self):
        super().__enter__()
        with self.server.connect() as connection:
            self.good = [connection.call("DUMP", name) for name in sorted(fill(connection))]
        return self

    def run(self, seed):
        source = random.Random(seed)
        with self.server.connect(timeout=20) as connection:
            try:
                for _ in range(50):
                    body = mutate(source, source.choice(self.good)[:-8])
                    if source.random() < 0.3 and body:
                        body = bytes([source.randrange(32)]) + body[1:]
                    payload = body + crc64(body).to_bytes(8, "little")
                    connection.ask("RESTORE", "f", source.choice([0, 1000]), payload, "REPLACE")
                    for request in READS + source.sample(WRITES, 3) + READS[-4:]:
                        connection.ask(*request)
            except OSError as error:
                raise Found("seed %d: %s\n%s" % (seed, error, self.server.log_tail()))
        self.check()


class BusFuzzer(ServerFuzzer):
    name = "bus packets"
    directives = {"cluster_enabled": "yes", "cluster_node_timeout": 2000}

    def __enter__(self):
        super().__enter__()
        self.other = Server(OURS, **self.directives)
        self.server.call("CLUSTER", "ADDSLOTSRANGE", 0, 8000)
        self.other.call("CLUSTER", "ADDSLOTSRANGE", 8001, 16383)
        self.server.call("CLUSTER", "MEET", "127.0.0.1", self.other.port)
        wait_until(lambda: b"cluster_state:ok" in self.server.call("CLUSTER", "INFO"), "joined")
        self.names = [node.call("CLUSTER", "MYID") for node in (self.other, self.server)]
        return self

    def __exit__(self, *rest):
        self.other.close()
        super().__exit__(*rest)

    def run(self, seed):
        source = random.Random(seed)
        for _ in range(10):
            data = b"".join(self.packet(source) for _ in range(source.randrange(1, 4)))
            if source.random() < 0.6:
                data = mutate(source, data)
            try:
                with socket.create_connection(("127.0.0.1", self.server.port + 10000), 5) as link:
                    link.settimeout(5)
                    link.sendall(data)
                    link.shutdown(socket.SHUT_WR)
                    while link.recv(65536):
                        pass
            except OSError:
                pass
        self.check()

    def packet(self, source):
        """A well-formed message of any type from a known or unknown sender."""
        kind = source.randrange(12)
        sender = source.choice(self.names + [b"%040x" % source.getrandbits(160)])
        body, count = self.body(source, kind, sender)
        slots = bytes(source.choice([0, 0, 0, 255]) for _ in range(64)) * 32
        header = b"RCmb" + (2256 + len(body)).to_bytes(4, "big")
        header += b"".join(
            value.to_bytes(2, "big") for value in (1, source.randrange(65536), kind, count)
        )
        header += b"".join(source.choice([0, 1, 5, 2**40]).to_bytes(8, "big") for _ in range(3))
        header += sender + slots + source.choice([bytes(40), self.names[0]])
        header += b"127.0.0.1".ljust(46, b"\0") + source.choice([0, 1, 3]).to_bytes(2, "big")
        header += bytes(30) + b"".join(
            value.to_bytes(2, "big")
            for value in (0, source.randrange(65536), source.choice([1, 2, 3, 9, 1024, 65535]))
        )
        header += bytes([source.randrange(3)]) + bytes([source.choice([0, 1, 2, 4])]) + bytes(2)
        assert len(header) == 2256
        return header + body

    def body(self, source, kind, sender):
        if kind in (0, 1, 2):
            count = source.randrange(4)
            entries = b""
            for _ in range(count):
                name = source.choice(self.names + [b"%040x" % source.getrandbits(160), sender])
                entries += name + source.getrandbits(64).to_bytes(8, "big")
                entries += source.choice([b"127.0.0.1", b"", b"no-address"]).ljust(46, b"\0")
                entries += b"".join(source.randrange(65536).to_bytes(2, "big") for _ in range(5))
            if source.random() < 0.4:
                # Ping extensions: length, type, two unused bytes, then what the type says.
                text = bytes(source.randrange(256) for _ in range(8 * source.randrange(8)))
                length = source.choice([8 + len(text), 0, 7, 2**31])
                entries += length.to_bytes(4, "big") + source.randrange(5).to_bytes(2, "big")
                entries += bytes(2) + text
            return entries, count
        if kind == 3:
            return source.choice(self.names) if source.random() < 0.2 else b"f" * 40, 0
        if kind in (4, 10):
            sizes = [source.choice([3, 0, 2**31, 2**32 - 1]) for _ in range(2)]
            return b"".join(size.to_bytes(4, "big") for size in sizes) + b"channelmessage", 0
        if kind == 7:
            return (
                source.getrandbits(64).to_bytes(8, "big")
                + source.choice(self.names)
                + bytes(source.randrange(256) for _ in range(64)) * 32
            ), 0
        if kind == 9:
            return bytes(source.randrange(256) for _ in range(40)), 0
        return b"", 0


class StartFuzzer:
    """Inputs that a server reads when it starts: it runs, or it ends with a message."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-fuzz-")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *args, seconds=0.25):
        """Runs the server for a moment; raises for a crash."""
        log = os.path.join(self.folder, "output.log")
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [OURS] + list(args),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                code = 0
        with open(log, "rb") as file:
            text = file.read().decode("utf-8", "replace")
        # The reference's words for a refusal to start, in the log's form.
        text = text.replace(" # Fatal error: ", " # ")
        if code < 0 or any(word in text for word in CRASHES):
            raise Found("exit code %d\n%s" % (code, "\n".join(text.splitlines()[-10:])))
        if code > 0 and not text.strip():
            raise Found("it ended with code %d and no message" % code)


class NodesConfFuzzer(StartFuzzer):
    name = "nodes.conf"
    GOOD = (
        b"%040x 127.0.0.1:7001@17001,host-1,shard-id=%040x myself,master - 0 0 3 connected 0-5460 "
        b"[93-<-%040x] [77->-%040x]\n"
        b"%040x 127.0.0.1:7002@17002 master - 0 1700000000000 2 connected 5461-10922 16000\n"
        b"%040x :0@0 slave,fail,noaddr %040x 1700000000000 1700000000000 3 disconnected\n"
        b"vars currentEpoch 6 lastVoteEpoch 5\n" % (1, 9, 2, 2, 2, 3, 1)
    )

    def run(self, seed):
        source = random.Random(seed)
        data = self.GOOD if seed == 0 else mutate(source, self.GOOD)
        with open(os.path.join(self.folder, "nodes.conf"), "wb") as file:
            file.write(data)
        self.start(
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--cluster-enabled",
            "yes",
            "--save",
            "",
            "--cluster-port",
            str(25000 + os.getpid() % 5000),
        )


class SnapshotFuzzer(StartFuzzer):
    name = "snapshots"

    def __enter__(self):
        super().__enter__()
        with closing(Server(OURS)) as server:
            with server.connect() as connection:
                fill(connection)
            server.call("SAVE")
            with open(os.path.join(server.folder, "dump.rdb"), "rb") as file:
                self.good = file.read()
        return self

    def run(self, seed):
        source = random.Random(seed)
        data = self.good if seed == 0 else mutate(source, self.good[:-8])
        if seed and source.random() < 0.8:
            data += crc64(data).to_bytes(8, "little")
        with open(os.path.join(self.folder, "dump.rdb"), "wb") as file:
            file.write(data)
        self.start("--port", "0", "--unixsocket", "s", "--save", "")


class LogFuzzer(StartFuzzer):
    name = "append-only files"

    def __enter__(self):
        super().__enter__()
        self.files = {}
        with closing(Server(OURS, appendonly="yes")) as server:
            with server.connect() as connection:
                fill(connection)
                connection.call("BGREWRITEAOF")
                wait_until(
                    lambda: server.info("persistence")["aof_rewrite_in_progress"] == "0",
                    "rewritten")
                connection.call("FLUSHALL")
                fill(connection)
            folder = os.path.join(server.folder, "appendonlydir")
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "rb") as file:
                    self.files[name] = file.read()
        return self

    def run(self, seed):
        source = random.Random(seed)
        folder = os.path.join(self.folder, "appendonlydir")
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        victim = source.choice(sorted(self.files)) if seed else None
        for name, data in self.files.items():
            if name == victim:
                data = mutate(source, data)
                if name.endswith(".rdb") and source.random() < 0.8:
                    data = data[:-8] + crc64(data[:-8]).to_bytes(8, "little")
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        self.start("--port", "0", "--unixsocket", "s", "--save", "", "--appendonly", "yes")


class ConfigFuzzer(StartFuzzer):
    name = "configuration files"
    LINES = REFUSED + [
        "maxmemory 5mb",
        "hz 20",
        "timeout 3",
        "loglevel verbose",
        "save 900 1",
        "# comment",
        "",
        "client-output-buffer-limit replica 256mb 64mb 60",
        "tcp-keepalive 10",
        'requirepass "a b\\x41"',
        "masterauth 'x'",
        "notify-keyspace-events AKE",
        "dynamic-hz no",
        "bind 127.0.0.1",
        "cluster-node-timeout 100",
        "maxmemory-policy allkeys-lfu",
        "latency-tracking-info-percentiles 50 99",
        "rename-command GET G",
        "include more.conf",
    ]

    def run(self, seed):
        source = random.Random(seed)
        text = "\n".join(source.choice(self.LINES) for _ in range(source.randrange(1, 12)))
        data = text.encode() + b"\n"
        if source.random() < 0.7:
            data = mutate(source, data)
        path = os.path.join(self.folder, "fuzz.conf")
        with open(path, "wb") as file:
            file.write(data)
        with open(os.path.join(self.folder, "more.conf"), "wb") as file:
            file.write(mutate(source, b"hz 10\ninclude nothing.conf\n"))
        # Last words win: whatever the file says, no port is opened and nothing is forked.
        self.start(
            path,
            "--port",
            "0",
            "--daemonize",
            "no",
            "--supervised",
            "no",
            "--logfile",
            "",
            "--cluster-enabled",
            "no",
            "--replicaof",
            "no",
            "one",
            "--syslog-enabled",
            "no",
        )


FUZZERS = [
    RequestFuzzer, BusFuzzer, RestoreFuzzer, SnapshotFuzzer, LogFuzzer, NodesConfFuzzer,
    ConfigFuzzer,
]


def main(seconds, seed=None):
    """Gives each fuzzer its share of the time; with a seed, runs each once with that seed."""
    passed = failed = 0
    for kind in FUZZERS:
        begun = time.monotonic()
        count = 0
        first = 0 if seed is None else seed
        try:
            with kind() as fuzzer:
                while seed is None or count == 0:
                    if time.monotonic() - begun > seconds / len(FUZZERS):
                        break
                    fuzzer.run(first + count)
                    count += 1
        except Found as found:
            failed += 1
            print("FAILED  fuzz %s, seed %d: %s" % (kind.name, first + count, found), flush=True)
            continue
        passed += 1
        print(
            "ok      fuzz %s: %d seeds in %.1f s" % (kind.name, count, time.monotonic() - begun),
            flush=True,
        )
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


def _crc64_table():
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ 0x95AC9329AC4BC9B5 if value & 1 else value >> 1
        table.append(value)
    return table


_TABLE = _crc64_table()


def crc64(data):
    """CRC-64 (Jones polynomial, reflected), as at the end of a DUMP payload."""
    value = 0
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value
