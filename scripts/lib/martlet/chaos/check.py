"""What became of the writes: read back, counted, and the time without any of them measured."""

import bisect
import glob
import os

from ..slots import key_slot
from .clients import ACKNOWLEDGED, PLAIN, command_of

BATCH = 500


def read_back(world, writes):
    """The acknowledged writes that are not there (or hold something else)."""
    owners = world.owners()
    slots = {tag: key_slot(tag) for lane in world.lanes for tag in lane.tags}
    shares = {}
    for write in writes:
        lane = world.lanes[write.lane]
        slot = slots[lane.tags[write.number % len(lane.tags)]]
        owner = next((n for first, last, n in owners if first <= slot <= last), None)
        shares.setdefault(owner, []).append(write)
    missing = shares.pop(None, [])
    for owner, share in shares.items():
        with owner.connect(20) as connection:
            for start in range(0, len(share), BATCH):
                part = share[start : start + BATCH]
                words = [command_of(w.client.name, world.lanes[w.lane], w.number) for w in part]
                questions = [
                    ("GET", key) if name == "SET" else ("SISMEMBER", key, value)
                    for name, key, value in words
                ]
                replies = connection.pipeline(questions)
                for write, (name, _, value), reply in zip(part, words, replies):
                    if reply != (value.encode() if name == "SET" else 1):
                        missing.append(write)
    return missing


def set_aside(world):
    """(key, value) of every write in the files in which demoted primaries keep what they had to
    discard."""
    kept = set()
    for node in world.nodes:
        for path in glob.glob(os.path.join(node.folder, "lost-writes-*.aof")):
            with open(path, "rb") as file:
                for words in commands(file.read()):
                    kept.add(tuple(words[1:3]))
    return kept


def commands(data):
    """The commands of an append-only file, annotations left out; ends where it is torn."""
    at = 0
    while at < len(data):
        end = data.find(b"\r\n", at)
        if end < 0:
            return
        if data[at : at + 1] != b"*":
            at = end + 2
            continue
        words, count = [], int(data[at + 1 : end])
        at = end + 2
        for _ in range(count):
            end = data.find(b"\r\n", at)
            if end < 0:
                return
            length = int(data[at + 1 : end])
            words.append(data[end + 2 : end + 2 + length])
            at = end + 4 + length
        yield words


def is_set_aside(world, write, kept):
    _, key, value = command_of(write.client.name, world.lanes[write.lane], write.number)
    return (key.encode(), value.encode()) in kept


def longest_gap(times, since, until):
    """The longest time without any of these moments, from the last before `since` to `until`."""
    first = bisect.bisect_left(times, since)
    moments = [times[first - 1] if first else since] + times[first:] + [until]
    return max(b - a for a, b in zip(moments, moments[1:]))


def unavailable(writes, lanes, since, until, kind=None):
    """The longest time that any lane went without an acknowledged write (of one kind of client)."""
    worst = 0.0
    for lane in range(len(lanes)):
        times = sorted(
            w.ended
            for w in writes
            if w.fate == ACKNOWLEDGED
            and w.lane == lane
            and (kind is None or w.client.kind == kind)
        )
        worst = max(worst, longest_gap(times, since, until))
    return worst


def both_acknowledged(writes, lanes):
    """For how long two nodes took writes of one lane: by the clients that stay with a node.

    A write counts that began at one node after another had begun to acknowledge, so a reply that
    was late is no proof; nor is a node that took the lane back afterwards.
    """
    worst = 0.0
    for lane in range(len(lanes)):
        spans = {}
        for write in writes:
            if write.fate == ACKNOWLEDGED and write.lane == lane and write.client.kind == PLAIN:
                spans.setdefault(write.node, []).append(write)
        nodes = sorted(spans, key=lambda node: min(w.ended for w in spans[node]))
        for before, after in zip(nodes, nodes[1:]):
            taken_over = min(w.ended for w in spans[after])
            later = [w.ended for w in spans[before] if w.begun > taken_over]
            if later:
                worst = max(worst, max(later) - taken_over)
    return worst
