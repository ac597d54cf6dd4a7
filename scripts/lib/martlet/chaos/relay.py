"""Carries the Ethernet frames of one host by hand, late or not at all.

The kernel's own tool for this (netem) is a module that not every machine has. The relay is a
process with a packet socket at either end: the host's plug, taken out of the bridge, and one that
was put in instead. It can carry some thousands of frames each second, which is enough for faults
and not for measuring speed.
"""

import heapq
import multiprocessing
import random
import select
import signal
import socket
import time

SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
ALL_PROTOCOLS = 0x0003

_context = multiprocessing.get_context("fork")


def _open(interface):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    end.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    end.bind((interface, 0))
    end.setblocking(False)
    return end


def _carry(prepare, one, other, delay, jitter, loss, seed, control):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    ends = [_open(one), _open(other)]
    peer = {ends[0]: ends[1], ends[1]: ends[0]}
    chance = random.Random(seed)
    held, seen, lost = [], 0, 0
    control.send("ready")
    while True:
        rest = max(0.0, held[0][0] - time.monotonic()) if held else None
        ready, _, _ = select.select(ends + [control], [], [], rest)
        if control in ready:
            break
        now = time.monotonic()
        for end in ready:
            for _ in range(64):
                try:
                    frame = end.recv(65536)
                except OSError:
                    break
                seen += 1
                if chance.random() < loss:
                    lost += 1
                    continue
                due = now + max(0.0, delay + chance.uniform(-jitter, jitter))
                heapq.heappush(held, (due, seen, peer[end], frame))
        now = time.monotonic()
        while held and held[0][0] <= now:
            _, _, end, frame = heapq.heappop(held)
            try:
                end.send(frame)
            except OSError:
                lost += 1
    control.send((seen, lost))


class Relay:
    def __init__(self, prepare, one, other, delay, jitter, loss, seed):
        self.control, theirs = _context.Pipe()
        self.process = _context.Process(
            target=_carry,
            args=(prepare, one, other, delay, jitter, loss, seed, theirs),
            daemon=True,
        )
        self.process.start()
        theirs.close()
        if not self.control.poll(10) or self.control.recv() != "ready":
            raise OSError("the relay did not start")

    def stop(self):
        """How many frames came and how many of them were lost."""
        figures = (0, 0)
        try:
            self.control.send("stop")
            if self.control.poll(5):
                figures = self.control.recv()
        except (OSError, EOFError):
            pass
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
        return figures
