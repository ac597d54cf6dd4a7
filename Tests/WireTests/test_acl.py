"""Users and their rules, beside redis-server: how rules are read and shown, what they allow, the
file of users, the log of what was denied, and what becomes of clients."""

# cost: 30
import os
import unittest

from differential import Pair, agree, difference, show, start_pair
from harness import OURS, REDIS, ReplyError, Server, WireTest, needs_redis, only_for_martlet
from harness import wait_until
from martlet.resp import Closed

try:
    import redis
except ImportError:
    redis = None

RULES = """
on
on nopass
on >secret >secret >other
on >secret <secret
<secret
>secret nopass
>secret resetpass
#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
!2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
#2D711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
#abc
~a ~b ~a
~* ~a
~a ~*
allkeys ~a
allkeys resetkeys ~a
%R~a
%W~a
%RW~a
%wr~a %R~a
%R~a %W~a
%R~*
%R
%
%~a
%X~a
%RR~a
%R~a ~a
&a &b &a
&* &a
allchannels resetchannels &a
+get
+GET
+get +set -get
+config
+config -config|set
+config|get
+config|get -config
+config|nosuch
+config|
+config|get|x
+select|0 +select|1 +select|0
+select|0 +select
+select +select|0
+select|0 -select
+get|
+nosuch
-nosuch
+nosuch|x
-select|0
+
-
+@
+@nosuch
-@nosuch
+@all
-@all
+@all -get
+@all -config
+@all -config|get
+@all -@all
+@all -select +select|0
allcommands
nocommands
allcommands -get nocommands +set
(+get ~a)
(+get ~a) (+set ~b)
(+get ~a) clearselectors
(+get ~a) reset
( +get ~a )
(+get ~a
+get ~a)
(on)
(>x)
(nosuch)
(~a (b)
(+@all &c %R~x)
()
off on off
reset
on nopass ~* &* +@all reset
skip-sanitize-payload
sanitize-payload
skip-sanitize-payload sanitize-payload
ON NOPASS ~* +@ALL
nonsense
~
&
>
<
!
#
(
)
""".strip().splitlines()

COMMANDS = """
GET r:1
GET w:1
GET b:1
GET x
SET w:1 v
SET r:1 v
SET w:1 v GET
SET b:1 v GET
SETEX w:1 10 v
GETDEL w:1
GETEX r:1
INCR w:1
APPEND w:1 x
MGET r:1 b:1
MGET r:1 w:1
MSET w:1 a w:2 b
MSET w:1 a r:2 b
DEL w:1 b:1
DEL r:1
EXISTS w:1
TYPE w:1
OBJECT ENCODING r:1
OBJECT ENCODING w:1
COPY r:1 w:1
COPY w:1 r:1
RENAME b:1 w:1
RENAME w:1 b:1
LMOVE b:1 w:1 LEFT LEFT
LMPOP 1 b:1 LEFT
LMPOP 1 w:1 LEFT
ZUNIONSTORE w:1 1 r:1
ZUNIONSTORE r:1 1 w:1
ZUNION 2 r:1 x
BITOP AND w:1 r:1
BITFIELD r:1 GET u8 0
BITFIELD r:1 SET u8 0 1
BITFIELD w:1 SET u8 0 1
BITFIELD b:1 SET u8 0 1
GEORADIUS r:1 0 0 1 m STORE w:1
GEORADIUS r:1 0 0 1 m STORE r:2
SORT r:1 STORE w:1
SORT r:1 STORE r:2
SORT_RO r:1
XREAD STREAMS r:1 0
XREAD STREAMS w:1 0
XREADGROUP GROUP g c STREAMS b:1 0
XADD w:1 * a b
XRANGE w:1 - +
PFCOUNT r:1
PFCOUNT b:1
PFMERGE w:1 r:1
MIGRATE h 1 b:1 0 1
MIGRATE h 1 "" 0 1 KEYS b:1 x
WATCH w:1
WATCH x
PING
SUBSCRIBE ch:1
SUBSCRIBE ch:1 other
PSUBSCRIBE ch:*
PSUBSCRIBE ch:1
SSUBSCRIBE ch:1
SSUBSCRIBE other
SPUBLISH ch:1 m
PUBLISH ch:1 m
PUBLISH other m
UNSUBSCRIBE other
CONFIG GET x
CONFIG NOSUCH
CONFIG
NOSUCH
GET
AUTH x
HELLO
""".strip().splitlines()

# What the reference has and we do not, and what only one of them puts into a category.
ABSENT = ("eval", "evalsha", "script", "function", "fcall", "module")


def decoded(value):
    """A reply with its bytes as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return value


def by_words(raw):
    """A raw reply whose rules may stand in any order, as single commands do in the reference's."""
    return sorted(raw.replace(b"\r\n", b" ").split(b" "))


def words(line):
    return ["" if word == '""' else word for word in line.split(" ")]


def is_absent(name):
    return name.split("|")[0].replace("_ro", "") in ABSENT


@needs_redis
class DifferentialTests(WireTest):
    def setUp(self):
        self.ours, self.reference = start_pair(self, OURS, REDIS)
        self.pair = Pair(self.ours, self.reference)
        self.addCleanup(self.pair.close)

    def compare(self, *command):
        ours, reference = self.pair.both(*command)
        if not agree(command, ours, reference) and by_words(ours) != by_words(reference):
            self.fail("%s:%s" % (show(command), difference(ours, reference)))
        return ours

    def test_rules_are_read_and_shown_alike(self):
        for line in RULES:
            with self.subTest(rules=line):
                self.compare("ACL", "DELUSER", "u")
                self.compare("ACL", "SETUSER", "u", *words(line))
                self.compare("ACL", "GETUSER", "u")
                self.compare("ACL", "LIST")
        # A rule may come in one word with its spaces, or with what no rule may have.
        for rule in ("(+get ~a)", "(+get", "~a b", "&a\tb", "~a\0b", "", " ", "+get|\xe9"):
            with self.subTest(rule=rule):
                self.compare("ACL", "SETUSER", "u", rule)
        for name in ("a b", "a\0", "", "ü", "default"):
            self.compare("ACL", "SETUSER", name, "on")
        self.compare("ACL", "USERS")

    def test_rules_follow_each_other(self):
        """One user that is changed again and again, as by hand."""
        for line in RULES:
            self.compare("ACL", "SETUSER", "u", *words(line))
            self.compare("ACL", "GETUSER", "u")

    def test_arguments_are_held_to_the_rules(self):
        self.compare(
            *words("ACL SETUSER u +@all %R~r:* %W~w:* ~b:* resetchannels &ch:*")
        )
        self.compare(*words("ACL SETUSER s +get ~r:* (+set ~w:*) (+@pubsub &ch:*) (+mget ~*)"))
        self.compare(*words("ACL SETUSER n +@all -@write -config|get"))
        for user in ("u", "s", "n", "default", "nosuch"):
            for line in COMMANDS:
                with self.subTest(user=user, command=line):
                    self.compare("ACL", "DRYRUN", user, *words(line))

    def test_categories_allow_the_same_commands(self):
        with self.ours.connect() as ours, self.reference.connect() as reference:
            known = set(decoded(ours.call("COMMAND", "LIST")))
            common = [n for n in decoded(reference.call("COMMAND", "LIST")) if n in known]
            facts = dict(zip(common, reference.call("COMMAND", "INFO", *common)))
            names = decoded(ours.call("ACL", "CAT"))
            self.assertEqual(names, decoded(reference.call("ACL", "CAT")))
            for category in names:
                first, second = (
                    set(decoded(c.call("ACL", "CAT", category))) for c in (ours, reference)
                )
                missing = {name for name in second - first if not is_absent(name)}
                self.assertEqual(missing, set(), category)
                self.assertEqual({name for name in first - second if name in facts}, set())
        for category in names:
            self.compare("ACL", "SETUSER", "more", "reset", "~*", "&*", "+@" + category)
            self.compare("ACL", "SETUSER", "less", "reset", "~*", "&*", "+@all", "-@" + category)
            tries = []
            for name in common:
                call = name.split("|")
                call += ["1"] * (abs(facts[name][1]) - len(call))
                tries += [["ACL", "DRYRUN", user] + call for user in ("more", "less")]
            for command, (ours, reference) in zip(tries, self.pair.batch(tries)):
                if ours != reference:
                    self.fail("@%s %s:%s" % (category, command, difference(ours, reference)))

    def test_commands_are_refused_alike(self):
        self.compare(*words("ACL SETUSER eve on >pw +get +multi +exec +acl|whoami ~k* +sort ~l"))
        self.compare("RPUSH", "l", "1")
        for line in """
            AUTH
            AUTH a b c
            AUTH nosuch pw
            AUTH eve wrong
            AUTH pw
            HELLO 2 AUTH eve wrong
            AUTH eve pw
            ACL WHOAMI
            GET k
            GET x
            SET k v
            CONFIG GET x
            CONFIG NOSUCH
            NOSUCH
            GET
            ACL LIST
            ACL NOSUCH
            MULTI
            GET k
            SET k v
            EXEC
            SORT l BY w_*
            SORT l GET #
            SORT l BY nosort
            AUTH default x
            ACL WHOAMI
        """.strip().splitlines():
            self.compare(*words(line.strip()))
        ours, reference = (
            [
                [entry[i] for i in (1, 3, 5, 7, 9)] for entry in server.call("ACL", "LOG", "100")
            ]
            for server in (self.ours, self.reference)
        )
        self.assertEqual(ours, reference)
        for line in """
            ACL LOG 1 2
            ACL LOG x
            ACL LOG -1
            ACL LOG RESET
            ACL LOG
            ACL GENPASS 0
            ACL GENPASS 4097
            ACL GENPASS x
            ACL CAT nosuch
            ACL CAT a b
            ACL SETUSER
            ACL GETUSER nosuch
            ACL DELUSER default
            ACL DELUSER nosuch eve
            ACL LOAD
            ACL SAVE
            ACL HELP
            ACL USERS x
            ACL DRYRUN eve
            CLIENT KILL USER nosuch
            CLIENT KILL USER default
        """.strip().splitlines():
            self.compare(*words(line.strip()))
        self.assertEqual(len(self.ours.call("ACL", "GENPASS")), 64)
        self.assertEqual(len(self.ours.call("ACL", "GENPASS", "5")), 2)

    def test_resp3_shapes(self):
        pair = Pair(self.ours, self.reference, protocol=3)
        self.addCleanup(pair.close)
        for line in ("ACL SETUSER u on +get ~a (+set)", "ACL GETUSER u", "ACL GETUSER x"):
            ours, reference = pair.both(*words(line))
            self.assertEqual(ours, reference)

    def test_files_are_judged_alike(self):
        """ACL LOAD of good and bad files."""
        files = [
            b"",
            b"\n\n",
            b"user bob on >x ~a +get\nuser eve off\n",
            b"user default on nopass +@all ~* &*\r\nuser bob on\r\n",
            b"user bob on (+get ~a) (%R~b +set)\n",
            b"user bob on (+get ~a)  (+set ~b)\n",
            b"user bob on +nosuch -alsono\nuser eve nonsense ~* ~a\n",
            b"user bob on\nuser bob on\n",
            b"user\n",
            b"user  on\n",
            b"bob on\n",
            b"# comment\n",
            b"USER bob on\n",
            b"   user bob on   \n",
            b"user bob on +get|x\n",
            b"user bob #abc\n",
            b'user bob on ~"a\n',
            b"user \xff on ~\xfe*\n",
            b"user bob on " + b"~key " * 500 + b"\n",
        ]
        ours, reference = (
            self.server(binary, aclfile="users.acl", wait=False) for binary in (OURS, REDIS)
        )
        for server in (ours, reference):
            wait_until(lambda: not server.alive, "ends without its file")
            self.assertIn("ACL errors: Error loading ACLs, opening file", server.output())
            put(server, b"user default on nopass ~* &* +@all\n")
            server.start()
        pair = Pair(ours, reference)
        self.addCleanup(pair.close)
        for contents in files:
            with self.subTest(contents=contents[:60]):
                for server in (ours, reference):
                    put(server, contents)
                self.assertEqual(*pair.both("ACL", "LOAD"))
                self.assertEqual(*pair.both("ACL", "LIST"))
        self.assertEqual(*pair.both("ACL", "SETUSER", "z", "on", ">x", "+get", "~k", "(+set ~l)"))
        self.assertEqual(*pair.both("ACL", "SAVE"))
        self.assertEqual(get(ours), get(reference))
        self.assertEqual(*pair.both("ACL", "LOAD"))
        self.assertEqual(*pair.both("ACL", "LIST"))
        for server in (ours, reference):
            os.unlink(os.path.join(server.folder, "users.acl"))
        self.assertEqual(*pair.both("ACL", "LOAD"))


def put(server, contents):
    with open(os.path.join(server.folder, "users.acl"), "wb") as file:
        file.write(contents)


def get(server):
    with open(os.path.join(server.folder, "users.acl"), "rb") as file:
        return file.read()


class StoredUserTests(WireTest):
    def wait_listening(self, server):
        """Until it answers, if only that it wants a password."""

        def answers():
            with server.connect(timeout=2) as connection:
                return connection.ask("PING") is not None

        wait_until(answers, "listens")

    def test_configuration_lines_and_their_rewriting(self):
        server = self.server(
            user=["eve on >x +get ~k* (+set ~l)", '"bob" off "~a\\xff"', "default on >pw ~* +@all"],
            wait=False,
        )
        self.wait_listening(server)
        with server.connect() as connection:
            self.assert_error(connection.ask("PING"), "NOAUTH Authentication required.")
            self.assertEqual(connection.call("AUTH", "pw"), "OK")
            before = connection.call("ACL", "LIST")
            self.assertEqual(len(before), 3)
            self.assertEqual(connection.call("ACL", "SETUSER", "new", "on", "nopass"), "OK")
            self.assertEqual(connection.call("ACL", "DELUSER", "eve"), 1)
            self.assertEqual(connection.call("CONFIG", "REWRITE"), "OK")
            before = connection.call("ACL", "LIST")
        server.terminate()
        server.start(wait=False)
        self.wait_listening(server)
        with server.connect() as connection:
            self.assertEqual(connection.call("AUTH", "pw"), "OK")
            self.assertEqual(connection.call("ACL", "LIST"), before)
        with open(server.config) as file:
            lines = [line for line in file.read().splitlines() if line.startswith("user ")]
        self.assertEqual(len(lines), 3)

    def test_mistakes_stop_the_start(self):
        for directives, text in (
            ({"user": "eve on nonsense"}, "Error in user declaration"),
            ({"user": ["eve on", "eve on"]}, "Duplicate user found"),
            ({"user": "eve on +nosuch"}, "Error loading ACL rule '+nosuch' for the user named"),
            ({"user": "eve on", "aclfile": "users.acl"}, "but not both"),
            ({"user": '"a b" on'}, "Spaces not allowed in ACL usernames"),
        ):
            with self.subTest(text=text):
                server = Server(OURS, wait=False, **directives)
                self.addCleanup(server.close)
                wait_until(lambda: not server.alive, "ends")
                self.assertIn(text, server.output())

    def test_a_file_that_cannot_be_written(self):
        server = self.server(wait=False, aclfile="here/users.acl")
        wait_until(lambda: not server.alive, "ends without its file")
        folder = os.path.join(server.folder, "here")
        os.mkdir(folder)
        with open(os.path.join(folder, "users.acl"), "w") as file:
            file.write("user bob on\n")
        server.start()
        self.assertEqual(decoded(server.call("ACL", "USERS")), ["bob", "default"])
        self.assertEqual(server.call("ACL", "SAVE"), "OK")
        self.assertEqual(os.listdir(folder), ["users.acl"])
        os.unlink(os.path.join(folder, "users.acl"))
        os.rmdir(folder)
        reply = server.connect().ask("ACL", "SAVE")
        self.assertIsInstance(reply, ReplyError)
        self.assertIn("error trying to save the ACLs", str(reply))
        with server.connect() as connection:
            connection.call("MULTI")
            connection.call("ACL", "USERS")
            connection.call("PING")
            self.assertEqual(decoded(connection.call("EXEC"))[1], "PONG")

    def test_requirepass_is_the_default_users_password(self):
        server = self.server(requirepass="one", wait=False)
        self.wait_listening(server)
        connection = server.connect()
        self.addCleanup(connection.close)
        self.assertEqual(connection.call("AUTH", "default", "one"), "OK")
        self.assertEqual(connection.call("CONFIG", "SET", "requirepass", "two"), "OK")
        self.assertEqual(connection.call("PING"), "PONG")
        self.assertIn("WRONGPASS", str(connection.ask("AUTH", "one")))
        self.assertEqual(connection.call("AUTH", "two"), "OK")
        self.assertEqual(connection.call("ACL", "SETUSER", "default", ">three"), "OK")
        self.assertEqual(connection.call("AUTH", "three"), "OK")
        self.assertEqual(connection.call("CONFIG", "SET", "requirepass", ""), "OK")
        self.assertIn("nopass", decoded(connection.call("ACL", "LIST"))[0])


class ClientTests(WireTest):
    def setUp(self):
        self.shared = self.server()
        self.admin = self.shared.connect()
        self.addCleanup(self.admin.close)

    def login(self, name):
        connection = self.shared.connect()
        self.addCleanup(connection.close)
        self.assertEqual(connection.call("AUTH", name, "x"), "OK")
        return connection

    def assert_closed(self, connection):
        with self.assertRaises((Closed, OSError)):
            connection.settimeout(5)
            while True:  # past the messages that it got before
                connection.read_raw()

    def test_deleted_users_lose_their_connections(self):
        self.admin.call("ACL", "SETUSER", "eve", "on", "nopass", "+@all", "~*")
        eve, other = self.login("eve"), self.login("eve")
        self.assertIn(" user=eve ", self.admin.text("CLIENT", "LIST"))
        self.assertEqual(eve.call("ACL", "DELUSER", "eve"), 1)
        self.assert_closed(eve)
        self.assert_closed(other)
        self.assertEqual(self.admin.call("PING"), "PONG")

    def test_blocked_clients_of_deleted_users(self):
        self.admin.call("ACL", "SETUSER", "eve", "on", "nopass", "+@all", "~*")
        eve = self.login("eve")
        eve.send("BLPOP", "l", "0")
        wait_until(lambda: self.admin.info("clients")["blocked_clients"] == "1", "blocks")
        self.admin.call("ACL", "DELUSER", "eve")
        self.assert_closed(eve)
        self.assertEqual(self.admin.call("RPUSH", "l", "1"), 1)
        self.assertEqual(self.admin.call("LLEN", "l"), 1)

    def test_channels_are_revoked(self):
        self.admin.call("ACL", "SETUSER", "eve", "on", "nopass", "+@all", "&a*", "&s")
        listeners = {}
        for command, name in (("SUBSCRIBE", "abc"), ("PSUBSCRIBE", "a*"), ("SSUBSCRIBE", "s")):
            listeners[name] = self.login("eve")
            listeners[name].call(command, name)
        self.admin.call("ACL", "SETUSER", "eve", "&more")
        self.admin.call("ACL", "SETUSER", "eve", "resetchannels", "&a*")
        self.assert_closed(listeners["s"])
        self.assertEqual(self.admin.call("PUBLISH", "abc", "m"), 2)
        self.admin.call("ACL", "SETUSER", "eve", "resetchannels", "&abc")
        self.assert_closed(listeners["a*"])
        self.assertEqual(self.admin.call("PUBLISH", "abc", "m"), 1)
        self.admin.call("ACL", "SETUSER", "eve", "allchannels")
        self.admin.call("ACL", "SETUSER", "eve", "resetchannels")
        self.assert_closed(listeners["abc"])

    def test_new_users_may_have_all_channels(self):
        self.admin.call("CONFIG", "SET", "acl-pubsub-default", "allchannels")
        self.admin.call("ACL", "SETUSER", "eve", "(+get)")
        line = decoded(self.admin.call("ACL", "LIST"))[1]
        self.assertEqual(line, "user eve off &* -@all (&* -@all +get)")

    def test_the_log_has_a_length(self):
        self.admin.call("CONFIG", "SET", "acllog-max-len", "2")
        for name in ("a", "b", "c"):
            self.admin.ask("AUTH", name, "x")
        entries = self.admin.call("ACL", "LOG")
        self.assertEqual([decoded(entry[9]) for entry in entries], ["c", "b"])
        if not self.shared.is_redis:
            self.assertEqual(self.admin.info("stats")["acl_access_denied_auth"], "3")

    def test_secrets_are_in_no_log(self):
        self.admin.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
        self.admin.call("ACL", "SETUSER", "eve", ">hidden")
        self.admin.ask("AUTH", "eve", "hidden")
        self.admin.ask("HELLO", "2", "AUTH", "eve", "hidden")
        self.assertNotIn("hidden", repr(self.admin.call("SLOWLOG", "GET", "100")))

    def test_cluster_nodes_ask_who_before_where(self):
        cluster = self.cluster(nodes=3, replicas=0)
        server = cluster.servers[0]
        with server.connect() as connection:
            connection.call("ACL", "SETUSER", "eve", "on", "nopass", "+get", "~mine:*")
            connection.call("AUTH", "eve", "x")
            for number in range(50):
                self.assertIn("NOPERM", str(connection.ask("GET", "other:%d" % number)))
            replies = {str(connection.ask("GET", "mine:%d" % n)).split(" ")[0] for n in range(50)}
            self.assertEqual(replies, {"None", "MOVED"})

    def test_replicas_log_in_as_users(self):
        self.admin.call("ACL", "SETUSER", "rep", "on", ">pw", "+psync", "+replconf", "+ping")
        self.admin.call("ACL", "SETUSER", "default", "resetpass", ">secret")
        replica = self.server(
            masteruser="rep", masterauth="pw", replicaof="127.0.0.1 %d" % self.shared.port
        )
        with replica.connect() as connection:
            wait_until(
                lambda: connection.info("replication")["master_link_status"] == "up", "follows"
            )
            self.admin.call("SET", "k", "v")
            wait_until(lambda: connection.call("GET", "k") == b"v", "gets it")
            # What the stream does is asked of nobody.
            connection.call("ACL", "SETUSER", "default", "-set")
            self.admin.call("SET", "k", "w")
            wait_until(lambda: connection.call("GET", "k") == b"w", "gets it")

    def test_migrate_logs_in_as_a_user(self):
        target = self.server()
        with target.connect() as connection:
            connection.call("ACL", "SETUSER", "mover", "on", ">pw", "~*", "+restore", "+select")
            connection.call("ACL", "SETUSER", "default", "resetpass", ">secret")
        self.admin.call("SET", "k", "v")
        where = ("127.0.0.1", target.port, "k", 0, 5000)
        self.assertIn("WRONGPASS", str(self.admin.ask("MIGRATE", *where, "AUTH2", "mover", "no")))
        self.assertEqual(self.admin.ask("MIGRATE", *where, "AUTH2", "mover", "pw"), "OK")

    @only_for_martlet
    def test_commands_of_the_server_under_other_names(self):
        """Rules know commands by the names that they had before any renaming."""
        server = self.server(rename_command="GET FETCH")
        with server.connect() as connection:
            connection.call("ACL", "SETUSER", "eve", "on", "nopass", "~*", "+get")
            connection.call("AUTH", "eve", "x")
            self.assertIsNone(connection.call("FETCH", "k"))

    @unittest.skipUnless(redis, "redis-py is not installed")
    def test_redis_py(self):
        client = redis.Redis(port=self.shared.port, decode_responses=True)
        self.addCleanup(client.close)
        self.assertEqual(client.acl_whoami(), "default")
        self.assertIn("keyspace", client.acl_cat())
        self.assertIn("get", client.acl_cat("read"))
        self.assertTrue(
            client.acl_setuser(
                "eve",
                enabled=True,
                passwords=["+x"],
                commands=["+get", "-set"],
                keys=["k*"],
                channels=["c*"],
                selectors=[("+set", "~l*")],
            )
        )
        user = client.acl_getuser("eve")
        self.assertIn("+get", user["commands"])
        self.assertIn("~k*", user["keys"])
        self.assertIn("on", user["flags"])
        self.assertEqual(sorted(client.acl_users()), ["default", "eve"])
        self.assertEqual(len(client.acl_genpass(128)), 32)
        self.assertEqual(client.acl_dryrun("eve", "get", "k1"), "OK")
        as_eve = redis.Redis(port=self.shared.port, username="eve", password="x")
        self.addCleanup(as_eve.close)
        with self.assertRaises(redis.exceptions.NoPermissionError):
            as_eve.get("other")
        log = client.acl_log()
        self.assertEqual(log[0]["username"], "eve")
        self.assertTrue(client.acl_log_reset())
        self.assertEqual(client.acl_deluser("eve"), 1)
        self.assertEqual(len(client.acl_list()), 1)
        self.assertIn("WHOAMI", " ".join(client.acl_help()))
