"""The library that is preloaded into the servers (shim.c), and the levers it gives."""

import os
import shutil
import struct
import subprocess

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shim.c")


def build(folder):
    """The compiled library, or None without a C compiler (a Swift toolchain brings one)."""
    compiler = next(filter(None, map(shutil.which, ("cc", "clang", "gcc"))), None)
    if compiler is None:
        return None
    library = os.path.join(folder, "shim.so")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError("compiling %s: %s" % (SOURCE, done.stderr.strip()))
    return library


class Levers:
    """Moves the wall clock and slows down the disk of one server."""

    def __init__(self, folder, name):
        self.path = os.path.join(folder, name + ".control")
        self.offset_us = self.delay_us = 0
        self._write()

    def prefix(self, library):
        return ["env", "LD_PRELOAD=" + library, "CHAOS_CONTROL=" + self.path]

    def step_clock(self, seconds):
        self.offset_us = int(seconds * 1e6)
        self._write()

    def slow_disk(self, seconds):
        self.delay_us = int(seconds * 1e6)
        self._write()

    def reset(self):
        if self.offset_us or self.delay_us:
            self.offset_us = self.delay_us = 0
            self._write()

    def _write(self):
        mode = "r+b" if os.path.exists(self.path) else "wb"
        with open(self.path, mode) as file:
            file.write(struct.pack("=qq", self.offset_us, self.delay_us))
