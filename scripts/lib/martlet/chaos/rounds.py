"""A round: all is well, a fault, all is well again, everything read back."""

import random
import time

from ..nodes import wait_until
from . import check
from .clients import ACKNOWLEDGED, KINDS, REFUSED, UNKNOWN

SETTLE_LIMIT = 60
WRITABLE_FOR = 0.3
"""Writes must be acknowledged that long after the fault before a lane counts as going on."""


class Broken(Exception):
    """A server does not come up again: the world cannot be used any longer."""


class Result:
    """What one round showed."""

    def __init__(self, server, world, fault, number):
        self.server, self.world, self.fault, self.number = server, world, fault, number
        self.begun = self.hit = self.ended = 0.0
        self.unavailable = self.both = None
        self.by_kind = {}
        self.acknowledged = self.refused = self.unknown = 0
        self.lost = self.kept = 0
        self.problem = None

    def as_dictionary(self):
        return dict(self.__dict__)


class Round:
    def __init__(self, world, clients, fault, number, options, timeline):
        self.world, self.clients, self.fault = world, clients, fault
        self.options = options
        self.timeline = timeline
        words = (options.seed, world.kind, fault.name, number)
        self.chance = random.Random("%s/%s/%s/%s" % words)
        # Long enough for whoever waits for a node timeout or down-after to have acted.
        self.long = options.timeout / 1e3 + 3
        name = "redis-server" if world.is_redis else "martlet"
        self.result = Result(name, world.kind, fault.name, number)

    # What faults use

    def mark(self, text):
        self.timeline.note(text)

    def hit(self, text):
        """The moment from which the time without writes counts."""
        self.mark(text)
        self.result.hit = time.monotonic()

    def primary(self):
        return self.chance.choice(self.world.primaries())

    def others(self, servers):
        return [server.name for server in self.world.everyone() if server not in servers]

    def divide(self, side):
        rest = [name for name in self.world.names(self.world.everyone()) if name not in side]
        self.hit("cut %s | %s" % (" ".join(side), " ".join(rest)))
        self.world.wire.cut(side, rest)

    def heal(self):
        self.mark("healed")
        self.world.wire.heal()

    def hold(self, seconds):
        time.sleep(seconds)

    def finish(self, process, limit):
        """Waits for a tool that a fault started, and ends it at the limit."""
        try:
            process.wait(limit)
        except Exception:
            process.kill()
            process.wait(5)
            self.mark("the tool did not end within %d s" % limit)

    def until_writable(self, limit):
        """Until every lane has writes again; False when that takes longer."""
        since = self.result.hit + WRITABLE_FOR

        def all_lanes():
            seen = set()
            for write in reversed(self.clients.poll()):
                if write.ended < since:
                    continue
                if write.fate == ACKNOWLEDGED and write.begun > since:
                    seen.add(write.lane)
                if len(seen) == len(self.world.lanes):
                    return True
            return False

        try:
            wait_until(all_lanes, "every lane can be written", limit, every=0.05)
        except AssertionError:
            return False
        gap = self._unavailable(time.monotonic())
        self.mark("all slots can be written; the longest pause was %.0f ms" % (gap * 1e3))
        return True

    def _unavailable(self, until, kind=None):
        since = self.result.hit
        recent = [w for w in self.clients.poll() if w.ended > since - 5]
        return check.unavailable(recent, self.world.lanes, since, until, kind)

    # The whole of it

    def run(self):
        result = self.result
        result.begun = result.hit = time.monotonic()
        try:
            self.fault.run(self)
        except AssertionError as error:
            self._problem(str(error))
        try:
            self.world.revive()
            self.world.settle(SETTLE_LIMIT)
        except AssertionError as error:
            self._problem(str(error))
            result.ended = time.monotonic()
            result.unavailable = self._unavailable(result.ended)
            raise Broken(str(error))
        self.until_writable(15)
        result.ended = time.monotonic()
        self._account()
        return result

    def _problem(self, text):
        self.result.problem = text
        self.mark("PROBLEM: %s" % text)

    def _account(self):
        result = self.result
        mine = [w for w in self.clients.poll() if result.begun <= w.ended <= result.ended]
        count = {ACKNOWLEDGED: 0, REFUSED: 0, UNKNOWN: 0}
        for write in mine:
            count[write.fate] += 1
        result.acknowledged, result.refused = count[ACKNOWLEDGED], count[REFUSED]
        result.unknown = count[UNKNOWN]
        result.unavailable = self._unavailable(result.ended)
        for kind in sorted({write.client.kind for write in mine}):
            result.by_kind[KINDS[kind]] = self._unavailable(result.ended, kind)
        if not self.fault.takes_turns:
            result.both = check.both_acknowledged(
                [w for w in mine if w.ended > result.hit], self.world.lanes)
        acknowledged = [w for w in mine if w.fate == ACKNOWLEDGED]
        self.lost = check.read_back(self.world, acknowledged)
        kept = check.set_aside(self.world) if self.lost else set()
        result.lost = len(self.lost)
        result.kept = sum(check.is_set_aside(self.world, write, kept) for write in self.lost)
        self.mark(
            "settled: %d acknowledged, %d lost%s, %.0f ms without writes" % (
                result.acknowledged, result.lost,
                " (%d of them set aside in a file)" % result.kept if result.kept else "",
                result.unavailable * 1e3,
            )
        )
