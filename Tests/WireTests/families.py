"""Random commands of one family to our server and to redis-server: replies, then data, compared."""

import random

from differential import Pair, show, start_pair
from harness import OURS, REDIS, WireTest


class FamilySource:
    """Commands from a seed: every method `do_…` makes one. Words that are None are left out."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.makers = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]

    def command(self):
        command = [word for word in self.random.choice(self.makers)() if word is not None]
        if self.random.random() < 0.02 and len(command) > 1:
            at = self.random.randrange(1, len(command))
            if self.random.random() < 0.5:
                del command[at]
            else:
                command.insert(at, self.pick([command[at], "extra", "-1", ""]))
        return command

    def pick(self, words):
        return self.random.choice(words)

    def chance(self, share):
        return self.random.random() < share


class FamilyTest(WireTest):
    """Subclasses give a source, and say what may differ."""

    source = FamilySource
    commands_per_seed = 1500
    batch = 25
    directives = {}

    def setUp(self):
        self.ours, self.reference = start_pair(self, OURS, REDIS, **self.directives)

    def agree(self, command, ours, reference):
        return ours == reference

    def digest(self, connection):
        """What both servers must hold in the end, by key."""
        keys = sorted(connection.call("KEYS", "*"))
        return {key: connection.call("DEBUG", "DIGEST-VALUE", key) for key in keys}

    def run_seed(self, seed, protocol):
        pair = Pair(self.ours, self.reference, protocol)
        self.addCleanup(pair.close)
        pair.both("FLUSHALL")
        source = self.source(seed)
        history = []
        for _ in range(self.commands_per_seed // self.batch):
            commands = [source.command() for _ in range(self.batch)]
            for command, (ours, reference) in zip(commands, pair.batch(commands)):
                history.append(command)
                if not self.agree(command, ours, reference):
                    self.fail(
                        "seed %d, RESP%d, command %d: %s\n  ours:      %r\n  reference: %r\n"
                        "  before it:\n    %s"
                        % (
                            seed,
                            protocol,
                            len(history),
                            show(command),
                            ours[:600],
                            reference[:600],
                            "\n    ".join(map(show, history[-25:-1])),
                        )
                    )
        with self.ours.connect() as ours, self.reference.connect() as reference:
            self.assertEqual(self.digest(ours), self.digest(reference), "seed %d: data" % seed)

    def run_seeds(self, seeds):
        for seed in seeds:
            with self.subTest(seed=seed):
                self.run_seed(seed, 2 + seed % 2)
