"""What the wire tests stand on: servers under test, the reference, and the test base class.

Servers are processes on free loopback ports with folders of their own. Nothing here sleeps to
synchronise: a test waits for a condition, with a limit.
"""

import os
import shutil
import unittest

from martlet import tools
from martlet.clusters import Cluster, agree, cluster_info, form  # noqa: F401 (for the tests)
from martlet.clusters import rows, take_over  # noqa: F401
from martlet.nodes import Server, free_port, wait_until  # noqa: F401
from martlet.resp import Closed, Connection, ReplyError, encode  # noqa: F401
from martlet.slots import key_slot  # noqa: F401

OURS = tools.server_path()
REDIS = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
REDIS_CLI = shutil.which("redis-cli")
IS_STAND_IN = "redis-server" in os.path.basename(OURS)
"""The server under test is redis-server itself: a check of the tests, not of the server."""


def only_for_martlet(test):
    """For behaviour that redis-server does not have."""
    return unittest.skipIf(IS_STAND_IN, "the server under test is redis-server")(test)


def needs_redis(test):
    return unittest.skipUnless(REDIS, "redis-server is not installed")(test)


def needs_cli(test):
    return unittest.skipUnless(REDIS_CLI, "redis-cli is not installed")(test)


def in_step(primary, replica):
    """The replica's link is up and it has everything that the primary has."""
    info = replica.info("replication")
    if info["master_link_status"] != "up":
        return False
    other = primary.info("replication")
    online = any("state=online" in value for key, value in other.items() if key[:5] == "slave")
    return online and info["slave_repl_offset"] == other["master_repl_offset"]


class WireTest(unittest.TestCase):
    """A test with servers that end when it does. `maxDiff` shows whole replies."""

    maxDiff = 4000

    def server(self, binary=None, **directives):
        server = Server(binary or OURS, **directives)
        self.addCleanup(self._finish, server)
        return server

    def redis(self, **directives):
        return self.server(REDIS, **directives)

    def cluster(self, *args, **options):
        cluster = Cluster(*args, **options)
        self.addCleanup(cluster.close)
        for server in cluster.servers:
            self.addCleanup(self._check_log, server)
        return cluster

    def _finish(self, server):
        try:
            self._check_log(server)
        finally:
            server.close()

    def _check_log(self, server):
        """A failed invariant or a crash is a failure of the test, whatever else it saw."""
        if not os.path.exists(server.log):
            return
        for line in server.output().splitlines():
            if (
                "INVARIANT FAILED" in line
                or "Fatal error: " in line
                or "crashed by signal" in line
            ):
                raise AssertionError("port %d: %s" % (server.port, line))

    def assert_error(self, reply, text):
        self.assertIsInstance(reply, ReplyError)
        self.assertEqual(str(reply), text)

    def assert_alive(self, server):
        self.assertTrue(server.alive, "the server ended:\n" + server.log_tail())
        self.assertEqual(server.call("PING"), "PONG")


class SharedServer(WireTest):
    """Tests that share one server per class; each begins with an empty keyspace."""

    directives = {}

    @classmethod
    def setUpClass(cls):
        cls.shared = Server(OURS, **cls.directives)

    @classmethod
    def tearDownClass(cls):
        cls.shared.close()

    def setUp(self):
        if not self.shared.alive:
            tail = self.shared.log_tail()
            type(self).shared = Server(OURS, **self.directives)
            self.fail("the server ended in an earlier test:\n" + tail)
        self.connection = self.shared.connect()
        self.addCleanup(self.connection.close)
        self.connection.call("FLUSHALL")

    def tearDown(self):
        self._check_log(self.shared)
