"""One server process of a test or a measurement: free port, own folder, ended by pid."""

import os
import random
import shutil
import signal
import socket
import tempfile
import time

from .processes import Handle, cpu_nanoseconds, launch, resident_bytes, state
from .resp import Connection, ReplyError
from .tools import server_path

BUS_OFFSET = 10000
_given = set()


def wait_until(condition, what, timeout=15.0, every=0.01):
    """Polls until `condition()` is true and returns its value; connection errors count as false."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (OSError, ReplyError, ValueError, KeyError, IndexError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s (last: %r)" % (timeout, what, last))
        time.sleep(every)


def own_ports():
    """The ports to choose from: below the range of outgoing connections, bus ports apart.

    MARTLET_PORTS (`11000-11500`) narrows them. Test processes that run side by side get parts of
    their own: one could else take the port of a server that another has just killed to restart.
    """
    first, last = os.environ.get("MARTLET_PORTS", "11000-20999").split("-")
    return int(first), int(last)


def free_port(cluster=True):
    """A loopback port whose bus port is free as well."""
    for _ in range(2000):
        port = random.randint(*own_ports())
        if port in _given:
            continue
        ports = [port, port + BUS_OFFSET] if cluster else [port]
        try:
            for number in ports:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        _given.add(port)
        return port
    raise AssertionError("no free port found")


def quote(value):
    """A value as one word of a configuration file."""
    text = str(value)
    plain = text and all(c.isalnum() or c in "._-/:@%+," for c in text)
    return text if plain else '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


class Server:
    """A server process. Directives are keyword arguments, `_` for `-`; a list value repeats one."""

    def __init__(
        self,
        binary=None,
        port=None,
        folder=None,
        wait=True,
        prefix=(),
        host="127.0.0.1",
        **directives
    ):
        self.binary = binary or server_path()
        self.prefix = list(prefix)
        self.host = host
        self.port = port or free_port()
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="martlet-%d-" % self.port)
        self.log = os.path.join(self.folder, "output.log")
        self.config = os.path.join(self.folder, "node.conf")
        self.process = None
        settings = {
            "bind": self.host,
            "port": self.port,
            "dir": self.folder,
            "save": '""',
            "daemonize": "no",
            "protected-mode": "no",
            "enable-debug-command": "yes",
            "enable-protected-configs": "yes",
            "repl-diskless-sync-delay": 0,
        }
        settings.update({name.replace("_", "-"): value for name, value in directives.items()})
        lines = []
        for name, value in settings.items():
            for item in value if isinstance(value, list) else [value]:
                text = str(item)
                lines.append("%s %s" % (name, text if " " in text or '"' in text else quote(text)))
        with open(self.config, "w") as file:
            file.write("\n".join(lines) + "\n")
        self.start(wait)

    @property
    def is_redis(self):
        return "redis-server" in os.path.basename(self.binary)

    @property
    def pid(self):
        return self.process.pid

    def start(self, wait=True):
        child = launch(self.prefix + [self.binary, self.config], self.folder, self.log)
        self.process = Handle.of(child.pid)
        self.child = child
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=20.0):
        """Until it answers PING (an error such as LOADING does not count)."""

        def answers():
            if not self.alive:
                raise AssertionError(
                    "%s on port %d ended at start:\n%s" % (self.binary, self.port, self.log_tail())
                )
            with self.connect(timeout=2) as connection:
                return connection.call("PING") == "PONG"

        wait_until(answers, "port %d answers" % self.port, timeout)

    @property
    def alive(self):
        return self.process is not None and self.process.alive

    def connect(self, timeout=10.0, protocol=2):
        connection = Connection(self.port, host=self.host, timeout=timeout)
        if protocol == 3:
            connection.call("HELLO", "3")
        return connection

    def call(self, *args, timeout=10.0):
        """One command on a connection of its own."""
        with self.connect(timeout) as connection:
            return connection.call(*args)

    def info(self, section="everything"):
        with self.connect() as connection:
            return connection.info(section)

    def kill(self):
        """kill -9, and wait until it is gone."""
        self.process.send(signal.SIGKILL)
        self.process.wait(10)

    def pause(self):
        self.process.send(signal.SIGSTOP)
        wait_until(lambda: state(self.pid) == "T", "stopped", 5, every=0.001)

    def resume(self):
        self.process.send(signal.SIGCONT)

    def terminate(self, timeout=15.0):
        """SIGTERM and wait; False if it had to be killed."""
        return self.process.end(timeout)

    def restart(self, wait=True):
        if self.alive:
            self.terminate()
        return self.start(wait)

    def close(self):
        """Ends the process and removes its folder."""
        if self.process is not None and self.alive:
            self.resume()
            self.kill()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def output(self):
        with open(self.log, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def log_tail(self, lines=15):
        return "\n".join(self.output().splitlines()[-lines:])

    def cpu_nanoseconds(self):
        return cpu_nanoseconds(self.pid)

    def resident_bytes(self):
        return resident_bytes(self.pid)
