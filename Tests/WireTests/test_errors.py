"""Error texts: every command with wrong numbers of arguments, and what options may not say."""

# cost: 10
from differential import Pair, difference, show, start_pair
from harness import OURS, REDIS, WireTest, needs_redis

# Commands that block, change the connection, end the server or say something about its inside.
LEFT_OUT = {
    "shutdown",
    "monitor",
    "sync",
    "psync",
    "quit",
    "debug",
    "replconf",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "wait",
    "failover",
    "reset",
    "blpop",
    "brpop",
    "hello",
    "slaveof",
    "replicaof",
    "module",
    "time",
    "info",
    "lolwut",
    "role",
    "lastsave",
    "client",
    "randomkey",
    "command",
    "dump",
    "restore-asking",
    "cluster",
    "latency",
    "memory",
    "bgsave",
    "save",
    "bgrewriteaof",
    "pfselftest",
    "pfdebug",
    "slowlog",
    "acl",
    "config",
    "multi",
    "exec",
    "discard",
    "watch",
}

OPTIONS = """
SET k v EX
SET k v EX 0
SET k v EX -5
SET k v EX abc
SET k v PX 0
SET k v EX 9223372036854775807
SET k v EXAT -1
SET k v NX XX
SET k v XX NX
SET k v EX 10 PX 10
SET k v EX 10 KEEPTTL
SET k v KEEPTTL EX 10
SET k v NX GET
SET k v GET NX EX 100
SET k v FOO
GETEX k EX
GETEX k EX 0
GETEX k PERSIST EX 10
GETEX k KEEPTTL
SETEX k 0 v
SETEX k -1 v
SETEX k x v
PSETEX k 0 v
PSETEX k 9223372036854775807 v
SETRANGE k -1 v
SETRANGE k 536870912 v
SETRANGE k 536870911 vv
SETRANGE k x v
GETRANGE k x 1
GETRANGE k 1
INCRBY k x
DECRBY k -9223372036854775808
INCRBYFLOAT k nan
INCRBYFLOAT k inf
MSET a
MSET a b c
MSETNX a
LCS a
LCS a b LEN IDX
LCS a b MINMATCHLEN
LCS a b FOO
EXPIRE k
EXPIRE k x
EXPIRE k 10 NX XX
EXPIRE k 10 NX GT
EXPIRE k 10 GT LT
EXPIRE k 10 FOO
EXPIRE k 9223372036854775807
EXPIRE k -9223372036854775808
PEXPIRE k 9223372036854775807
PEXPIREAT k x
COPY a b DB
COPY a b DB x
COPY a b DB 99
COPY a a
COPY a b FOO
COPY a b REPLACE DB 0
MOVE a 0
MOVE a 99
MOVE a x
RENAME nokey a
RENAMENX nokey a
SELECT 16
SELECT -1
SELECT x
SWAPDB 0 16
SWAPDB x 0
SWAPDB 0 x
SCAN x
SCAN 0 COUNT x
SCAN 0 COUNT 0
SCAN 0 FOO
SCAN 0 MATCH
SCAN 18446744073709551616
KEYS
OBJECT
OBJECT HELP
OBJECT FREQ k
OBJECT FREQ nokey
OBJECT ENCODING nokey
OBJECT FOO
OBJECT ENCODING
RESTORE k 0 x
RESTORE k -1 x
RESTORE k x x
RESTORE k 0 x FOO
RESTORE k 0 x IDLETIME -1
RESTORE k 0 x IDLETIME x
RESTORE k 0 x FREQ -1
RESTORE k 0 x FREQ 256
MIGRATE 127.0.0.1 1 nokey 0 10
MIGRATE 127.0.0.1 1 k x 10
MIGRATE 127.0.0.1 1 k 0 x
MIGRATE 127.0.0.1 1 k 0 10 KEYS a
MIGRATE 127.0.0.1 1 k 0 10 FOO
WAIT 0
WAIT x 0
WAIT 0 x
WAIT 0 -1
FLUSHALL FOO
FLUSHDB FOO
FLUSHALL SYNC FOO
PING a b
ECHO
ECHO a b
HELLO 1
HELLO 4
HELLO x
HELLO 2 AUTH
HELLO 2 AUTH x
HELLO 2 SETNAME
HELLO 2 FOO
HELLO 2 SETNAME a\x20b
AUTH
AUTH x
AUTH x y
AUTH x y z
CLIENT
CLIENT FOO
CLIENT KILL
CLIENT KILL 1.2.3.4:5
CLIENT KILL ID x
CLIENT KILL TYPE foo
CLIENT KILL FOO bar
CLIENT KILL ID
CLIENT LIST TYPE foo
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST FOO
CLIENT SETNAME
CLIENT SETNAME a\x20b
CLIENT REPLY FOO
CLIENT PAUSE
CLIENT PAUSE x
CLIENT PAUSE -1
CLIENT PAUSE 10 FOO
CLIENT NO-EVICT
CLIENT NO-EVICT foo
CLIENT UNBLOCK x
CLIENT INFO x
CLIENT GETNAME x
CONFIG
CONFIG FOO
CONFIG GET
CONFIG SET
CONFIG SET foo
CONFIG SET foo bar
CONFIG SET maxmemory
CONFIG SET maxmemory x
CONFIG SET maxmemory -1
CONFIG SET maxmemory-policy x
CONFIG SET timeout -1
CONFIG SET timeout x
CONFIG SET hz 10 hz 20
CONFIG SET port 99999
CONFIG SET loglevel foo
CONFIG SET save x
CONFIG SET daemonize yes
CONFIG SET databases 3
CONFIG SET appendonly maybe
CONFIG SET client-output-buffer-limit foo
CONFIG SET client-output-buffer-limit normal\x201\x202
CONFIG SET notify-keyspace-events z
CONFIG SET maxmemory 10foo
CONFIG SET repl-backlog-size 0
CONFIG SET cluster-node-timeout -1
CONFIG SET maxclients 0
CONFIG RESETSTAT x
CONFIG HELP
COMMAND FOO
COMMAND GETKEYS
COMMAND GETKEYS FOO
COMMAND GETKEYS GET
COMMAND GETKEYS PING
COMMAND GETKEYS SET a b
COMMAND GETKEYS MSET a b c d
COMMAND GETKEYSANDFLAGS SET a b
COMMAND GETKEYSANDFLAGS COPY a b
COMMAND LIST FILTERBY
COMMAND LIST FILTERBY FOO x
COMMAND LIST FILTERBY MODULE x
COMMAND COUNT x
COMMAND INFO nosuch
COMMAND HELP
DEBUG
DEBUG FOO
DEBUG OBJECT nokey
DEBUG SLEEP x
CLUSTER
CLUSTER INFO
CLUSTER FOO
READONLY
READWRITE
ASKING
REPLICAOF
REPLICAOF x
REPLICAOF 127.0.0.1 x
FAILOVER
FAILOVER ABORT
FAILOVER TO
FAILOVER TIMEOUT
FAILOVER FOO
SHUTDOWN FOO
SHUTDOWN ABORT
SHUTDOWN SAVE NOSAVE
REPLCONF x
PSYNC x
INFO nosuchsection
ROLE x
TIME x
LASTSAVE x
DBSIZE x
""".strip().splitlines()


@needs_redis
class ErrorTextTests(WireTest):
    def setUp(self):
        self.ours, self.reference = start_pair(self, OURS, REDIS)
        self.pair = Pair(self.ours, self.reference)
        self.addCleanup(self.pair.close)

    def compare(self, commands):
        differing = []
        for command in commands:
            ours, reference = self.pair.both(*command)
            if ours != reference:
                differing.append(show(command) + difference(ours, reference))
        if differing:
            self.fail(
                "%d of %d replies differ:\n    %s"
                % (len(differing), len(commands), "\n    ".join(differing))
            )

    def test_wrong_numbers_of_arguments(self):
        names = sorted(name.decode() for name in self.ours.call("COMMAND", "LIST"))
        known = {name.decode() for name in self.reference.call("COMMAND", "LIST")}
        commands = []
        for name in names:
            if name in LEFT_OUT or name not in known or "|" in name:
                continue
            for count in range(7):
                # WITHSCORE came with 7.2.
                if name in ("zrank", "zrevrank") and count == 3:
                    continue
                commands.append([name] + ["x"] * count)
        self.compare(commands)

    def test_wrong_numbers_of_arguments_of_subcommands(self):
        """One argument too few and many too many are refused before anything happens."""
        known = {name.decode() for name in self.reference.call("COMMAND", "LIST")}
        commands = []
        for name in sorted(name.decode() for name in self.ours.call("COMMAND", "LIST")):
            if "|" not in name or name not in known:
                continue
            container, sub = name.split("|")
            arity = self.reference.call("COMMAND", "INFO", name)[0][1]
            if abs(arity) > 2:
                commands.append([container, sub])
            if arity > 0:
                commands.append([container, sub] + ["x"] * arity)
        self.compare(commands)

    def test_options(self):
        commands = [[word.replace("\\x20", " ") for word in line.split(" ")] for line in OPTIONS]
        self.compare([["SET", "k", "v"]])
        self.compare(commands)

    def test_wrong_case_and_unknown_commands(self):
        self.compare(
            [
                ["get"],
                ["GeT", "a", "b"],
                ["nosuch"],
                ["nosuch", "a", "b", "c"],
                ["nosuch"] + ["argument"] * 50,
                ["nosuch", "x" * 200],
                ["no\r\nsuch", "a\r\nb"],
                ["x" * 300],
                [""],
                ["config|get", "x"],
                ["object|encoding", "k"],
            ]
        )
