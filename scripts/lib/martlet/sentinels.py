"""A server binary in sentinel mode, as a process of a test or a measurement."""

from .nodes import Server
from .processes import Handle, launch


def plain(value):
    """A reply with its texts as strings."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def pairs(reply):
    return dict(zip(reply[::2], reply[1::2]))


class SentinelServer(Server):
    """Texts of replies are strings, errors are values."""

    def call(self, *args, timeout=10.0):
        with self.connect(timeout) as connection:
            return plain(connection.ask(*args))

    def start(self, wait=True):
        command = self.prefix + [self.binary, self.config, "--sentinel"]
        child = launch(command, self.folder, self.log)
        self.process = Handle.of(child.pid)
        self.child = child
        if wait:
            self.wait_ready()
        return self

    def primary_address(self, name):
        """(host, port) of the primary of that name, or None."""
        reply = self.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name, timeout=2)
        return (reply[0], int(reply[1])) if reply else None

    def fields(self, name):
        return pairs(self.call("SENTINEL", "MASTER", name))

    def knows(self, name, replicas, others):
        """Whether it sees all of them, and is connected to the other sentinels."""
        fields = self.fields(name)
        peers = [pairs(peer) for peer in self.call("SENTINEL", "SENTINELS", name)]
        return (
            fields["num-slaves"] == str(replicas)
            and fields["num-other-sentinels"] == str(others)
            and fields["flags"] == "master"
            and all(peer["flags"] == "sentinel" for peer in peers)
        )
