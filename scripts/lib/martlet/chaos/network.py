"""A network of network namespaces, to be cut, slowed down and mended: needs root, nothing else.

Each host is a namespace with one interface, and all are joined by a bridge in a namespace of its
own, where no packet filter of the machine sees them. None has a route out. A namespace has no name
and no process: an open file of this process keeps it, so it is gone when this process is, however
that ends.

A link is cut by pointing the sender's neighbour entry at an address that nobody has: packets leave
and arrive nowhere, as behind a broken switch. That is one-way by nature and needs no packet filter.
Loss and delay are put in by a process that carries a host's frames by hand (see `relay`).
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess

from .relay import Relay

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
NOBODY = "02:00:de:ad:00:00"
SUBNET = "172.29.77"
# Frames that are carried by hand must be whole: no checksums or cutting left to the hardware.
SIOCETHTOOL = 0x8946
OFFLOADS = {"ETHTOOL_STXCSUM": 0x17, "ETHTOOL_STSO": 0x1F, "ETHTOOL_SGSO": 0x24}

_libc = ctypes.CDLL(None, use_errno=True)


def _system(name, *args):
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (name, os.strerror(number)))


def in_child(work):
    """Runs `work` in a child process and waits: what it does to its namespaces stays there."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except OSError as error:
            os.write(2, ("%s\n" % error).encode())
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        raise OSError("a step in a child process failed")


def enter(namespace):
    _system("setns", namespace, CLONE_NEWNET)


def new_namespace():
    """An open file that keeps a new network namespace."""
    ready, tell = os.pipe()
    wait, release = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _system("unshare", CLONE_NEWNET)
            os.write(tell, b"1")
            os.read(wait, 1)
        except OSError:
            os.write(tell, b"0")
        finally:
            os._exit(0)
    try:
        if os.read(ready, 1) != b"1":
            raise PermissionError("this process may not make network namespaces (it needs root)")
        return os.open("/proc/%d/ns/net" % child, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.write(release, b"1")
        os.waitpid(child, 0)
        for end in (ready, tell, wait, release):
            os.close(end)


def private_mounts():
    """Mounts made from now on are this process's and its children's only, and end with them."""
    _system("unshare", CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)


def small_disk(folder, megabytes):
    os.makedirs(folder, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=%dm" % megabytes, "chaos", folder]
    subprocess.run(command, check=True, capture_output=True)


def remove_disk(folder):
    subprocess.run(["umount", "--lazy", folder], capture_output=True)


def why_not():
    """Why there can be no namespaces here, or None."""
    try:
        network = Namespaces(["probe"])
        network.close()
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return None


class Host:
    def __init__(self, name, number):
        self.name = name
        self.number = number
        self.address = "%s.%d" % (SUBNET, number)
        self.namespace = new_namespace()

    @property
    def path(self):
        return "/proc/%d/fd/%d" % (os.getpid(), self.namespace)

    @property
    def prefix(self):
        """What begins a command line that is to run on this host."""
        return ["nsenter", "--net=" + self.path]

    @property
    def port_name(self):
        """Its plug in the bridge."""
        return "h%d" % self.number


class Namespaces:
    """Hosts by name; the process that makes it can move to one of them (`move_to`)."""

    can_cut = can_slow = True

    def __init__(self, names):
        self.switch = new_namespace()
        self.hosts = {}
        self.cuts = set()
        self.relays = {}
        self._ip(self.switch, ["link add br0 type bridge forward_delay 0", "link set br0 up"])
        for number, name in enumerate(names, 11):
            self._join(Host(name, number))

    def _join(self, host):
        self.hosts[host.name] = host
        plug = host.port_name
        self._ip(
            self.switch,
            [
                "link add %s type veth peer name eth0 netns %s" % (plug, host.path),
                "link set %s master br0 up" % plug,
            ],
        )
        self._ip(
            host.namespace,
            ["addr add %s/24 dev eth0" % host.address, "link set lo up", "link set eth0 up"],
        )
        in_child(lambda: (enter(host.namespace), whole_frames("eth0")))

    def _ip(self, namespace, lines):
        path = "/proc/%d/fd/%d" % (os.getpid(), namespace)
        done = subprocess.run(
            ["nsenter", "--net=" + path, "ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise OSError("ip: %s" % done.stderr.strip())

    def move_to(self, name):
        enter(self.hosts[name].namespace)

    def address(self, name):
        return self.hosts[name].address

    def prefix(self, name):
        return self.hosts[name].prefix

    # Cutting

    def cut(self, senders, receivers, both=True):
        """What `senders` send to `receivers` is lost; with `both`, the other way as well."""
        pairs = {(a, b) for a in senders for b in receivers if a != b}
        if both:
            pairs |= {(b, a) for a, b in pairs}
        self._neighbours(pairs - self.cuts, "replace %%s lladdr %s dev eth0 nud permanent" % NOBODY)
        self.cuts |= pairs

    def heal(self):
        self._neighbours(self.cuts, "del %s dev eth0")
        self.cuts = set()
        for name in list(self.relays):
            self.restore(name)

    def _neighbours(self, pairs, action):
        for sender in sorted({a for a, _ in pairs}):
            targets = sorted(b for a, b in pairs if a == sender)
            lines = ["neigh " + action % self.address(b) for b in targets]
            self._ip(self.hosts[sender].namespace, lines)

    # Slowing down

    def slow(self, name, delay=0.0, jitter=0.0, loss=0.0, seed=0):
        """Every frame to and from a host is held for `delay` seconds, or lost."""
        host = self.hosts[name]
        near, far = "r%d" % host.number, "q%d" % host.number
        self._ip(
            self.switch,
            [
                "link add %s type veth peer name %s" % (near, far),
                "link set %s up" % near,
                "link set %s nomaster" % host.port_name,
                "link set %s master br0 up" % far,
            ],
        )

        def prepare():
            enter(self.switch)
            whole_frames(near)
            whole_frames(far)

        self.relays[name] = Relay(prepare, host.port_name, near, delay, jitter, loss, seed)

    def restore(self, name):
        """The host is plugged into the bridge again; returns how many frames were carried, lost."""
        host = self.hosts[name]
        figures = self.relays.pop(name).stop()
        self._ip(
            self.switch,
            ["link del r%d" % host.number, "link set %s master br0" % host.port_name],
        )
        return figures

    def close(self):
        for relay in self.relays.values():
            relay.stop()
        self.relays = {}
        for host in self.hosts.values():
            os.close(host.namespace)
        self.hosts = {}
        os.close(self.switch)


def whole_frames(interface):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in OFFLOADS.values():
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
            fcntl.ioctl(control, SIOCETHTOOL, request)


class Loopback:
    """One host for all: processes can be broken, links cannot."""

    can_cut = can_slow = False

    def address(self, _):
        return "127.0.0.1"

    def prefix(self, _):
        return []

    def heal(self):
        pass

    def close(self):
        pass
