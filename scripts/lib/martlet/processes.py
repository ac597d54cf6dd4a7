"""Processes by identity: a pid may have been given to somebody else since it was written down.

Every process is known by its pid and its start time in clock ticks (field 22 of /proc/PID/stat);
a signal goes out only when both still agree.
"""

import ctypes
import os
import signal
import subprocess
import time


def start_ticks(pid):
    """When `pid` was started, or None if there is no such live process."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            rest = stat.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    # A killed process is a zombie from the end of its first thread on; the others may hold its
    # ports and files for a moment longer.
    is_gone = rest[0] in "ZX" and int(rest[17]) <= 1
    return None if is_gone else int(rest[19])


def state(pid):
    """The state letter of the scheduler: R, S, D, T…, or None."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return None


def _end_with_parent():
    """Asks the kernel to kill this process when the one that started it ends, however it ends."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def launch(argv, folder, log, outlives_us=False):
    """Starts a program in a session of its own, its output appended to `log`.

    Unless it is to outlive the script, it ends with it: a test that is killed leaves nothing.
    """
    with open(log, "ab") as output:
        return subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            preexec_fn=None if outlives_us else _end_with_parent,
        )


class Handle:
    """A process that one of our scripts started, perhaps in an earlier run."""

    def __init__(self, pid, ticks):
        self.pid = pid
        self.ticks = ticks

    @classmethod
    def of(cls, pid):
        return cls(pid, start_ticks(pid))

    @classmethod
    def read(cls, path):
        """The process named in a pid file, or None if the file is missing or unreadable."""
        try:
            with open(path) as file:
                pid, ticks = file.read().split()
            return cls(int(pid), int(ticks))
        except (OSError, ValueError):
            return None

    def write(self, path):
        with open(path, "w") as file:
            file.write("%d %d\n" % (self.pid, self.ticks or 0))

    @property
    def alive(self):
        try:
            os.waitpid(self.pid, os.WNOHANG)  # collects it if it was our child
        except OSError:
            pass
        return self.ticks is not None and start_ticks(self.pid) == self.ticks

    def send(self, number):
        """Sends a signal; False when the process is gone."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while self.alive:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def end(self, timeout=10.0):
        """SIGTERM, then SIGKILL after `timeout`; True if the first was enough."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self.wait(timeout):
            return True
        self.send(signal.SIGKILL)
        self.wait(10.0)
        return False


def cpu_nanoseconds(pid):
    """Time that all threads of a process have run, from the scheduler's own account."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
                total += int(file.read().split()[0])
        except OSError:
            continue
    return total


def resident_bytes(pid):
    with open("/proc/%d/status" % pid) as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
