"""A small synchronous RESP2/RESP3 client that also gives replies as raw bytes.

The ready-made clients hide what the tests have to see: the exact bytes, the error texts, a
connection closed half-way. Errors inside aggregates are values; `call` raises a top-level one.
"""

import socket


class ReplyError(Exception):
    """An error reply; compares by its text."""

    def __eq__(self, other):
        return isinstance(other, ReplyError) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Closed(ConnectionError):
    """The server ended the connection."""


class Push(list):
    """A RESP3 push message."""


def encode(args):
    """One request as a RESP array of bulk strings."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        if isinstance(arg, str):
            arg = arg.encode()
        elif not isinstance(arg, (bytes, bytearray)):
            arg = str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(arg), arg))
    return b"".join(parts)


class Connection:
    def __init__(self, port, host="127.0.0.1", timeout=10.0):
        self.port = port
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)
        self.taken = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.file.close()
            self.socket.close()
        except OSError:
            pass

    def settimeout(self, seconds):
        self.socket.settimeout(seconds)

    def send(self, *args):
        self.socket.sendall(encode(args))

    def send_raw(self, data):
        self.socket.sendall(data)

    def call(self, *args):
        """The reply to one command; an error reply is raised."""
        reply = self.ask(*args)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def ask(self, *args):
        """The reply to one command; an error reply is a value."""
        self.send(*args)
        return self.read()

    def ask_raw(self, *args):
        """The bytes of the reply to one command."""
        self.send(*args)
        return self.read_raw()

    def pipeline(self, commands):
        """The replies to many commands sent at once."""
        self.socket.sendall(b"".join(encode(command) for command in commands))
        return [self.read() for _ in commands]

    def text(self, *args):
        return self.call(*args).decode("utf-8", "replace")

    def info(self, section="everything"):
        """INFO as a dictionary of strings."""
        return fields(self.text("INFO", section))

    # Reading

    def read(self):
        self.taken = []
        return self._value()

    def read_raw(self):
        self.taken = []
        self._value()
        return b"".join(self.taken)

    def read_until_closed(self, limit=1 << 24):
        """Everything the server still sends until it closes the connection."""
        data = b""
        try:
            while len(data) < limit:
                piece = self.file.read1(65536)
                if not piece:
                    return data
                data += piece
        except ConnectionError:
            return data
        raise AssertionError("more than %d bytes without an end" % limit)

    def _line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Closed("connection to port %d closed by the server" % self.port)
        self.taken.append(line)
        return line[:-2]

    def _bytes(self, count):
        data = self.file.read(count + 2)
        if len(data) != count + 2:
            raise Closed("connection to port %d closed by the server" % self.port)
        self.taken.append(data)
        return data[:-2]

    def _value(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode("utf-8", "replace")
        if kind == b"-":
            return ReplyError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bytes(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self._value() for _ in range(int(rest))]
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"(":
            return int(rest)
        if kind == b"=":
            return self._bytes(int(rest))[4:]
        if kind == b"!":
            return ReplyError(self._bytes(int(rest)).decode("utf-8", "replace"))
        if kind == b"~":
            return [self._value() for _ in range(int(rest))]
        if kind == b">":
            return Push(self._value() for _ in range(int(rest)))
        if kind == b"%":
            pairs = [(self._value(), self._value()) for _ in range(int(rest))]
            return {_hashable(key): value for key, value in pairs}
        if kind == b"|":
            for _ in range(2 * int(rest)):
                self._value()
            return self._value()
        raise AssertionError("not a reply: %r" % line[:80])


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def fields(text):
    """`name:value` lines, as INFO and CLUSTER INFO print them."""
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
