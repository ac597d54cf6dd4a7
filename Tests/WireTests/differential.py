"""Comparing two servers: the same commands to both, and the raw replies side by side."""

import re

from harness import Server, Connection

SAME = object()


class Pair:
    """A connection to each of two servers, spoken to in step."""

    def __init__(self, ours, reference, protocol=2):
        self.ours = ours.connect(protocol=protocol, timeout=20)
        self.reference = reference.connect(protocol=protocol, timeout=20)

    def close(self):
        self.ours.close()
        self.reference.close()

    def both(self, *args):
        """Raw replies (ours, reference) to one command."""
        self.ours.send(*args)
        self.reference.send(*args)
        return self.ours.read_raw(), self.reference.read_raw()

    def batch(self, commands):
        """Raw replies to a pipeline of commands, as pairs."""
        from harness import encode

        data = b"".join(encode(command) for command in commands)
        self.ours.send_raw(data)
        self.reference.send_raw(data)
        return [(self.ours.read_raw(), self.reference.read_raw()) for _ in commands]


UNORDERED = {"KEYS", "SCAN", "RANDOMKEY"}
NEAR = {"TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"}


def agree(command, ours, reference):
    """Whether two raw replies mean the same, given what may differ for this command."""
    if ours == reference:
        return True
    name = str(command[0]).upper()
    if name in NEAR:
        numbers = [re.fullmatch(rb":(-?\d+)\r\n", raw) for raw in (ours, reference)]
        if all(numbers):
            first, second = (int(found.group(1)) for found in numbers)
            slack = 2 if name in ("TTL", "EXPIRETIME") else 1500
            return first > 0 and second > 0 and abs(first - second) <= slack
    if ours[:1] == reference[:1] == b"-" and b"\0" in ours:
        return reference.startswith(ours[: ours.index(b"\0")])  # where a C string ends
    if name == "OBJECT" and (ours, reference) == (b"$3\r\nint\r\n", b"$6\r\nembstr\r\n"):
        return True  # a whole number that INCRBYFLOAT left is a number here, a text there
    if name == "SCAN" and "10000" not in command and ours[:2] == reference[:2] == b"*2":
        return True  # a partial scan: where it stops is the table's own business
    if name in UNORDERED and ours[:1] == reference[:1] != b"-":
        return name == "RANDOMKEY" or sorted(ours.split(b"\r\n")) == sorted(
            reference.split(b"\r\n")
        )
    return False


def show(command):
    words = []
    for word in command:
        text = word.decode("latin-1") if isinstance(word, bytes) else str(word)
        words.append(repr(text) if len(text) <= 60 else repr(text[:40]) + "…(%d)" % len(text))
    return " ".join(words)


def difference(ours, reference, around=70):
    """The two values from shortly before the place where they part."""
    ours, reference = (x if isinstance(x, bytes) else repr(x) for x in (ours, reference))
    at = next(
        (i for i, (a, b) in enumerate(zip(ours, reference)) if a != b),
        min(len(ours), len(reference)),
    )
    begin = max(0, at - around)
    return "\n      ours:      %s%r\n      reference: %s%r" % (
        "…" if begin else "",
        ours[begin : at + around],
        "…" if begin else "",
        reference[begin : at + around],
    )


def start_pair(test, ours, reference, **directives):
    """Two fresh servers that end with the test."""
    pair = []
    for binary in (ours, reference):
        server = Server(binary, **directives)
        test.addCleanup(server.close)
        pair.append(server)
    return pair


def keyspace(connection: Connection, databases=4):
    """Every key with its type, value and expiry time, by database."""
    found = {}
    for number in range(databases):
        connection.call("SELECT", number)
        for key in connection.call("KEYS", "*"):
            found[number, key] = (
                connection.call("TYPE", key),
                connection.call("GET", key),
                connection.call("PEXPIRETIME", key) // 4000,
            )
    connection.call("SELECT", 0)
    return found
