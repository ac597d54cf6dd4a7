"""COMMAND, COMMAND INFO and COMMAND DOCS equal the reference's, for the commands that we have."""

# cost: 5
from differential import difference, start_pair
from harness import OURS, REDIS, ReplyError, WireTest, needs_redis

# What these are told of came after the reference's version.
NEWER = {
    "zrank": "WITHSCORE, since 7.2",
    "zrevrank": "WITHSCORE, since 7.2",
    "hscan": "NOVALUES, since 7.4",
}


def tidy(info):
    """A COMMAND INFO entry whose unordered parts are sorted and whose subcommands are by name."""
    if info is None:
        return None
    entry = list(info)
    for index in (2, 6):
        entry[index] = sorted(entry[index])
    entry[8] = [sorted_spec(spec) for spec in entry[8]]
    entry[9] = {sub[0]: tidy(sub) for sub in entry[9]}
    return entry


def sorted_spec(spec):
    if isinstance(spec, dict):
        spec = [part for pair in spec.items() for part in pair]
    named = dict(zip(spec[::2], spec[1::2]))
    return {key: sorted(value) if key == b"flags" else value for key, value in named.items()}


def names(connection):
    return {name.decode() for name in connection.call("COMMAND", "LIST")}


@needs_redis
class CommandTableTests(WireTest):
    def setUp(self):
        self.ours, self.reference = start_pair(self, OURS, REDIS)

    def each_protocol(self):
        for protocol in (2, 3):
            ours = self.ours.connect(protocol=protocol)
            reference = self.reference.connect(protocol=protocol)
            self.addCleanup(ours.close)
            self.addCleanup(reference.close)
            yield ours, reference

    def shared_names(self, ours, reference):
        shared = sorted((names(ours) & names(reference)) - set(NEWER))
        self.assertGreater(len(shared), 50)
        return shared

    def test_info(self):
        for ours, reference in self.each_protocol():
            differing = []
            for name in self.shared_names(ours, reference):
                mine = tidy(ours.call("COMMAND", "INFO", name)[0])
                theirs = tidy(reference.call("COMMAND", "INFO", name)[0])
                theirs[9] = {k: v for k, v in theirs[9].items() if k in mine[9]}
                mine[9] = {k: v for k, v in mine[9].items() if k in theirs[9]}
                if mine != theirs:
                    differing.append(name + difference(mine, theirs))
            self.assertFalse(
                differing, "%d differ:\n    %s" % (len(differing), "\n    ".join(differing[:20]))
            )

    def test_docs(self):
        for ours, reference in self.each_protocol():
            differing = []
            for name in self.shared_names(ours, reference):
                mine = documents(ours.call("COMMAND", "DOCS", name))
                theirs = documents(reference.call("COMMAND", "DOCS", name))
                for key in set(mine) | set(theirs):
                    only_shared_subcommands(mine.get(key), theirs.get(key))
                if mine != theirs:
                    differing.append(name + difference(mine, theirs))
            self.assertFalse(
                differing, "%d differ:\n    %s" % (len(differing), "\n    ".join(differing[:20]))
            )

    def test_count_and_list_agree(self):
        for ours, _ in self.each_protocol():
            top = {name for name in names(ours) if "|" not in name}
            self.assertEqual(ours.call("COMMAND", "COUNT"), len(top))
            self.assertEqual(len(ours.call("COMMAND")), len(top))
            self.assertEqual({entry[0].decode() for entry in ours.call("COMMAND")}, top)

    def test_list_filters(self):
        for ours, reference in self.each_protocol():
            shared = names(ours) & names(reference)
            for words in (
                ["ACLCAT", "string"],
                ["ACLCAT", "read"],
                ["PATTERN", "g*"],
                ["PATTERN", "*|get"],
                ["ACLCAT", "nonsense"],
                ["MODULE", "none"],
            ):
                replies = [
                    {name.decode() for name in side.call("COMMAND", "LIST", "FILTERBY", *words)}
                    for side in (ours, reference)
                ]
                self.assertEqual(replies[0] & shared, replies[1] & shared, words)

    def test_keys_of_commands(self):
        lines = [
            "GET a",
            "SET a b",
            "MSET a 1 b 2",
            "DEL a b c",
            "RENAME a b",
            "COPY a b DB 1",
            "OBJECT ENCODING a",
            "MIGRATE h 1 a 0 10",
            "MIGRATE h 1 '' 0 10 KEYS a b",
            "GETEX a",
            "SET a b GET",
            "LCS a b",
            "TOUCH a b",
            "RESTORE a 0 x",
            "MEMORY USAGE a",
            "PING",
        ]
        for ours, reference in self.each_protocol():
            known = names(ours)
            for line in lines:
                words = [word.replace("''", "") for word in line.split()]
                if words[0].lower() not in known:
                    continue
                for sub in ("GETKEYS", "GETKEYSANDFLAGS"):
                    mine, theirs = (
                        sorted_flags(side.ask("COMMAND", sub, *words))
                        for side in (ours, reference)
                    )
                    self.assertEqual(mine, theirs, (sub, line))


def sorted_flags(reply):
    if isinstance(reply, ReplyError) or not reply or not isinstance(reply[0], list):
        return reply
    return [[key, sorted(flags)] for key, flags in reply]


def documents(reply):
    """COMMAND DOCS as nested dictionaries in either protocol."""
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2]))
    return {name: document(body) for name, body in sorted(reply.items())}


def document(body):
    if isinstance(body, list):
        body = dict(zip(body[::2], body[1::2]))
    body = dict(body)
    if b"subcommands" in body:
        body[b"subcommands"] = documents(body[b"subcommands"])
    if b"doc_flags" in body:
        body[b"doc_flags"] = sorted(body[b"doc_flags"])
    return body


def only_shared_subcommands(mine, theirs):
    if not mine or not theirs or b"subcommands" not in mine or b"subcommands" not in theirs:
        return
    shared = set(mine[b"subcommands"]) & set(theirs[b"subcommands"])
    for side in (mine, theirs):
        side[b"subcommands"] = {k: side[b"subcommands"][k] for k in sorted(shared)}
