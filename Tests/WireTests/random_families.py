"""Random commands of all families on one keyspace, from a seed, with what may differ for each.

Beside what the families' own sources make there are commands across families (a list gets the name
of a stream, and the next command for streams is refused), absolute expiry, and transactions."""

import random

import differential
import test_bitmaps
import test_fields
import test_hyperloglog
import test_lists
import test_sort
import test_sorted_sets
import test_streams
from random_commands import FUTURE, CommandSource
from random_fields import FieldSource
from random_sorted_sets import SortedSetSource


def agree_lists(command, ours, reference):
    return test_lists._ListTests.agree(None, command, ours, reference)


def agree_streams(command, ours, reference):
    return test_streams.StreamTests.agree(None, command, ours, reference)


def agree_bitmaps(command, ours, reference):
    return test_bitmaps.BitmapTests.agree(None, command, ours, reference)


def agree_sort(command, ours, reference):
    return test_sort.SortTests.agree(None, command, ours, reference)


def agree_scores(command, ours, reference):
    """ZSCAN writes a large whole score in one way or another, by the form of the set."""
    if test_sorted_sets.same(command, ours, reference):
        return True
    if ours[:1] != b"*" or reference[:1] != b"*":
        return False
    return scored(ours) == scored(reference)


def scored(raw):
    flat = test_fields.parse(elements(raw)[1])
    return sorted(zip(flat[::2], map(float, flat[1::2])))


def agree_across(command, ours, reference):
    if differential.agree(command, ours, reference):
        return True
    # Texts are compared up to a zero byte by the reference, which leaves their order to chance.
    return command[0] == "SORT" and b"\0" in ours and ours[:1] == reference[:1] == b"*"


class SortSource(test_sort.SortSource):
    """Without a key that holds sets here: they have no order that SORT could keep."""

    def source_key(self):
        key = super().source_key()
        return "nothing" if key == "none" else key


# What 7.2 keeps compact, and 7.0 does not.
FORMS = {
    (b"listpack", b"hashtable"),
    (b"listpack", b"quicklist"),
    (b"listpack", b"skiplist"),
}


def agree_forms(command, ours, reference):
    """Any family's key may have come to hold a value of any type."""
    if differential.agree(command, ours, reference):
        return True
    return (ours.split(b"\r\n")[1], reference.split(b"\r\n")[1]) in FORMS


# Source, what may differ, and how often it is asked.
FAMILIES = [
    (CommandSource, differential.agree, 4),
    (FieldSource, test_fields.agree, 4),
    (SortedSetSource, test_sorted_sets.same, 4),
    (test_lists.ListSource, agree_lists, 3),
    (test_streams.StreamSource, agree_streams, 3),
    (test_bitmaps.BitmapSource, agree_bitmaps, 2),
    (SortSource, agree_sort, 2),
    (test_hyperloglog.SketchSource, differential.agree, 1),
]

# Keys of all families, without those whose elements come in no order where order shows (SORT).
KEYS = "k0 k1 k2 h1 h2 h3 s1 s2 s3 z0 z1 z2 g0 l0 l1 l2 s0 {t}a".split()
# These wait, which a pipeline of thousands cannot afford; inside a transaction they do not.
WAITING = {"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP"}


class AnySource:
    """`steps` gives commands with the function that compares their replies."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.sources = []
        for number, (kind, agree, weight) in enumerate(FAMILIES):
            self.sources += [(kind(seed * 100 + number), agree)] * weight

    def steps(self):
        """A command, or all commands of a transaction."""
        if self.random.random() < 0.02:
            return self.transaction()
        while True:
            step = self.single()
            if not waits(step[0]):
                return [step]

    def single(self):
        if self.random.random() < 0.08:
            return self.across(), agree_across
        source, agree = self.random.choice(self.sources)
        command = source.command()
        if str(command[0]).upper() == "OBJECT":
            agree = agree_forms
        if str(command[0]).upper() == "ZSCAN":
            agree = agree_scores
        return command, agree

    def across(self):
        """A command on keys of any family."""
        one, other = self.random.choice(KEYS), self.random.choice(KEYS)
        return self.random.choice(
            [
                ["RENAME", one, other],
                ["RENAMENX", one, other],
                ["COPY", one, other, "REPLACE"],
                ["DEL", one, other],
                ["UNLINK", one],
                ["TYPE", one],
                ["EXISTS", one, other, one],
                ["TOUCH", one, other],
                ["EXPIREAT", one, self.random.choice(FUTURE)],
                ["PEXPIREAT", one, self.random.choice(FUTURE) + "123", "GT"],
                ["EXPIREAT", one, "1"],
                ["PEXPIRETIME", one],
                ["PERSIST", one],
                ["DEBUG", "DIGEST-VALUE", one, other],
                ["OBJECT", "HELP", one],
                ["SORT", one, "ALPHA", "LIMIT", "0", "3"],
                ["GETEX", one, "PXAT", self.random.choice(FUTURE) + "000"],
            ]
        )

    def transaction(self):
        """MULTI to EXEC; the replies inside are compared one by one."""
        inner = [self.single() for _ in range(self.random.randrange(1, 6))]
        inner = [step for step in inner if step[0] and nests(step[0])]
        opening = [(["MULTI"], same)]
        if self.random.random() < 0.3:
            opening = [(["WATCH", self.random.choice(KEYS)], same)] + opening
            if self.random.random() < 0.4:
                opening.insert(1, (["DEL", self.random.choice(KEYS)], same))
        queued = [(command, same) for command, _ in inner]
        if self.random.random() < 0.1:
            return opening + queued + [(["DISCARD"], same)]
        return opening + queued + [(["EXEC"], Transaction(inner))]


def same(_command, ours, reference):
    return ours == reference


def waits(command):
    name = str(command[0]).upper()
    return name in WAITING or "BLOCK" in [str(word).upper() for word in command]


def nests(command):
    """What a transaction may hold; CONFIG and DEBUG are for its outside."""
    return str(command[0]).upper() not in ("CONFIG", "DEBUG", "SELECT", "WAIT", "PFDEBUG")


class Transaction:
    """Compares the replies to EXEC, each as its own command is compared."""

    def __init__(self, steps):
        self.steps = steps

    def __call__(self, _command, ours, reference):
        if ours == reference:
            return True
        if ours[:1] != b"*" or reference[:1] != b"*" or b"*-1" in (ours[:3], reference[:3]):
            return False
        pairs = list(zip(elements(ours), elements(reference)))
        # What was refused when it was queued is not among them: then all is refused.
        if len(pairs) != len(self.steps):
            return False
        return all(
            agree(command, mine, theirs)
            for (command, agree), (mine, theirs) in zip(self.steps, pairs)
        )


def elements(raw):
    """The raw elements of a raw array."""
    at = raw.index(b"\r\n") + 2
    found = []
    while at < len(raw):
        end = value_end(raw, at)
        found.append(raw[at:end])
        at = end
    return found


def value_end(raw, at):
    line = raw.index(b"\r\n", at)
    kind, head, end = raw[at : at + 1], raw[at + 1 : line], line + 2
    if kind in b"$=!" and head != b"-1":
        return end + int(head) + 2
    if kind in b"*~>%" and head != b"-1":
        for _ in range(int(head) * (2 if kind == b"%" else 1)):
            end = value_end(raw, end)
    return end
