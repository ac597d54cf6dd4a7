"""Configuration: files, standard input, arguments, include, what is refused and how, REWRITE."""

# cost: 15
import os
import re
import shutil
import signal
import subprocess
import tempfile

from differential import difference
from harness import (
    OURS,
    REDIS,
    Connection,
    Server,
    SharedServer,
    WireTest,
    free_port,
    needs_redis,
    wait_until,
)
from martlet.processes import Handle


class StartTests(WireTest):
    """Also sound against redis-server."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="martlet-config-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.port = free_port()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start(self, *args, stdin=None):
        """Starts the server with these arguments and waits for its port."""
        log = open(os.path.join(self.folder, "output.log"), "ab")
        process = subprocess.Popen(
            [OURS] + [str(arg) for arg in args],
            cwd=self.folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        )
        log.close()
        if stdin:
            process.stdin.write(stdin.encode())
            process.stdin.close()
        self.addCleanup(self.finish, process)
        try:
            wait_until(lambda: self.get("port"), "the server answers", 10)
        except AssertionError as error:
            with open(os.path.join(self.folder, "output.log")) as file:
                self.fail("%s\n%s" % (error, file.read()[-2000:]))
        return process

    def finish(self, process):
        if process.poll() is None:
            process.kill()
        process.wait(10)

    def get(self, name):
        with Connection(self.port, timeout=5) as connection:
            return [word.decode() for word in connection.call("CONFIG", "GET", name)][1]

    def test_arguments_alone(self):
        self.start(
            "--port", self.port, "--save", "", "--maxmemory", "10mb", "--loglevel", "verbose"
        )
        self.assertEqual(self.get("maxmemory"), "10485760")
        self.assertEqual(self.get("loglevel"), "verbose")
        self.assertEqual(self.get("save"), "")

    def test_file_then_arguments(self):
        path = self.write(
            "a.conf",
            "# a comment\n\n  PORT %d\nmaxmemory 5mb\ntimeout 7\n"
            'proc-title-template "{title} {listen-addr}"\n' % self.port,
        )
        self.start(path, "--maxmemory", "6mb", "--save", "100", "1")
        self.assertEqual(self.get("maxmemory"), "6291456")
        self.assertEqual(self.get("timeout"), "7")
        self.assertEqual(self.get("save"), "100 1")

    def test_standard_input(self):
        path = self.write("a.conf", "port %d\nmaxmemory 5mb\ntimeout 7\n" % self.port)
        self.start(path, "--hz", "20", "-", stdin="maxmemory 7mb\nmaxmemory-samples 9\n")
        self.assertEqual(self.get("maxmemory"), "7340032")
        self.assertEqual(self.get("maxmemory-samples"), "9")
        self.assertEqual(self.get("hz"), "20")

    def test_include(self):
        self.write("more.conf", "maxmemory 3mb\ninclude %s/deep.conf\n" % self.folder)
        self.write("deep.conf", "timeout 11\n")
        path = self.write("a.conf", "port %d\nmaxmemory 1mb\ninclude more.conf\n" % self.port)
        self.start(path)
        self.assertEqual(self.get("maxmemory"), "3145728")
        self.assertEqual(self.get("timeout"), "11")

    def test_quoting(self):
        path = self.write(
            "a.conf",
            'port %d\nrequirepass ""\nnotify-keyspace-events \'\'\nmasterauth "a\\x62\\n\\"c"\n'
            "masteruser 'it\\'s'\n" % self.port,
        )
        self.start(path)
        self.assertEqual(self.get("masterauth"), 'ab\n"c')
        self.assertEqual(self.get("masteruser"), "it's")

    def test_sizes(self):
        for text, number in [
            ("1", 1),
            ("1k", 1000),
            ("1kb", 1024),
            ("2M", 2_000_000),
            ("2mb", 2 << 20),
            ("1GB", 1 << 30),
            ("1g", 10**9),
            ("100B", 100),
        ]:
            with self.subTest(text=text):
                if not os.path.exists(os.path.join(self.folder, "output.log")):
                    self.start("--port", self.port)
                with Connection(self.port) as connection:
                    connection.call("CONFIG", "SET", "maxmemory", text)
                self.assertEqual(self.get("maxmemory"), str(number))

    def test_pid_file_log_file_and_daemon(self):
        pid_path = os.path.join(self.folder, "server.pid")
        path = self.write(
            "a.conf",
            "port %d\ndaemonize yes\npidfile %s\nlogfile %s/the.log\ndir %s\n"
            % (self.port, pid_path, self.folder, self.folder),
        )
        process = self.start(path)
        self.assertEqual(process.wait(10), 0)
        pid = int(wait_until(lambda: open(pid_path).read().strip(), "the pid file"))
        handle = Handle.of(pid)
        self.addCleanup(handle.end)
        with Connection(self.port) as connection:
            self.assertEqual(connection.info("server")["process_id"], str(pid))
        log = os.path.join(self.folder, "the.log")
        wait_until(lambda: "Ready to accept connections" in open(log).read(), "the log says ready")
        line = open(log).read().splitlines()[-1]
        self.assertRegex(line, r"^%d:M \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} [.*#-] " % pid)
        handle.send(signal.SIGTERM)
        self.assertTrue(handle.wait(10))
        self.assertFalse(os.path.exists(pid_path))

    def test_version_and_help(self):
        done = subprocess.run([OURS, "--version"], capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^\S+ server v=\d+\.\d+\.\d+ sha=")
        done = subprocess.run([OURS, "--help"], capture_output=True, text=True, timeout=10)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Usage:", done.stdout + done.stderr)

    def test_a_port_in_use(self):
        self.start("--port", self.port)
        done = subprocess.run(
            [OURS, "--port", str(self.port)],
            capture_output=True,
            text=True,
            timeout=10,
            cwd=self.folder,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("Failed listening on port %d" % self.port, done.stdout + done.stderr)


REFUSED = [
    "port",
    "port x",
    "port 70000",
    "port 1 2",
    "port -1",
    "loglevel loud",
    "maxmemory x",
    "maxmemory -5",
    "maxmemory-policy sometimes",
    "timeout -1",
    "timeout 1.5",
    "databases 0",
    "save x",
    "save 10",
    "save -1 5",
    "appendonly maybe",
    "appendfsync never",
    "hz x",
    "nonsense",
    "nonsense 1 2 3",
    "replicaof 127.0.0.1",
    "replicaof 127.0.0.1 abc",
    "replicaof 127.0.0.1 0 1",
    "client-output-buffer-limit normal 1 2",
    "client-output-buffer-limit pets 1 2 3",
    "client-output-buffer-limit normal x 2 3",
    "bind",
    'unbalanced "quote',
    'requirepass "a" b',
    "shutdown-on-sigint",
    "tcp-backlog -1",
    "shutdown-on-sigint maybe",
    "cluster-node-timeout -1",
    "cluster-enabled maybe",
    "cluster-preferred-endpoint-type x",
    "cluster-announce-port 99999",
    "maxclients 0",
    "notify-keyspace-events z",
    "unixsocketperm 9999",
    "supervised maybe",
    "daemonize 1",
    "include /nonexistent/file.conf",
    "repl-backlog-size 0",
    "repl-timeout x",
    "proto-max-bulk-len 1",
    "io-threads 0",
    "min-replicas-to-write -1",
    "latency-tracking-info-percentiles 200",
    "oom-score-adj x",
]


@needs_redis
class RefusalTests(WireTest):
    """A wrong configuration ends the start at once, with the reference's words on stderr."""

    def words(self, binary, path, stdin=None):
        done = subprocess.run(
            [binary, path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            cwd=os.path.dirname(path),
        )
        text = re.sub(r"\(Redis [\d.]+\)", "(Redis)", done.stderr.decode("utf-8", "replace"))
        # Ours also names the file, which matters with `include`.
        return done.returncode, re.sub(r"(?m)(at line \d+) \(.*\)$", r"\1", text)

    def test_wrong_lines(self):
        folder = tempfile.mkdtemp(prefix="martlet-refused-")
        self.addCleanup(shutil.rmtree, folder, True)
        differing = []
        for number, line in enumerate(REFUSED):
            path = os.path.join(folder, "%d.conf" % number)
            with open(path, "w") as file:
                # A port that nobody can have, so that a line that is taken still ends the start.
                file.write("# first\nbind 127.0.0.1\nport 1\n%s\nbind 192.0.2.1\nport 1\n" % line)
            replies = []
            for binary in (OURS, REDIS):
                try:
                    replies.append(self.words(binary, path))
                except subprocess.TimeoutExpired:
                    replies.append("(did not end)")
            if replies[0] != replies[1]:
                differing.append(line + difference(replies[0], replies[1]))
        if differing:
            self.fail(
                "%d of %d differ:\n    %s"
                % (len(differing), len(REFUSED), "\n    ".join(differing))
            )

    def test_wrong_arguments(self):
        lines = [
            ["--port"],
            ["--port", "x"],
            ["--port", "--bla", "--loglevel", "verbose"],
            ["--port", "1", "--loglevel", "--bla"],
            ["--shutdown-on-sigint"],
            ["--nonsense", "1"],
            ["--port", "6379", "6380"],
            ["--replicaof", "127.0.0.1", "abc"],
            ["/nonexistent/file.conf"],
            ["--maxmemory", "1zb"],
        ]
        folder = tempfile.mkdtemp(prefix="martlet-refused-")
        self.addCleanup(shutil.rmtree, folder, True)
        for words in lines:
            with self.subTest(words=words):
                replies = []
                for binary in (OURS, REDIS):
                    done = subprocess.run(
                        [binary] + words,
                        capture_output=True,
                        timeout=10,
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                    )
                    text = done.stderr.decode("utf-8", "replace")
                    text = re.sub(r"\(Redis [\d.]+\)", "", text)
                    # The line: the reference counts it in a text that nobody wrote.
                    text = re.sub(r"at line \d+( \(.*\))?", "at a line", text)
                    replies.append((done.returncode, text))
                self.assertEqual(replies[0], replies[1])


class SettingTests(SharedServer):
    """Also sound against redis-server."""

    def get(self, *names):
        words = self.connection.call("CONFIG", "GET", *names)
        return {k.decode(): v.decode() for k, v in zip(words[::2], words[1::2])}

    def test_get_patterns(self):
        self.assertEqual(set(self.get("max*-policy")), {"maxmemory-policy"})
        self.assertEqual(set(self.get("timeout", "hz", "nothing")), {"timeout", "hz"})
        self.assertGreater(len(self.get("*")), 60)

    def test_set_several_at_once_or_none(self):
        self.connection.call("CONFIG", "SET", "timeout", 5, "hz", 15)
        self.assertEqual(self.get("timeout", "hz"), {"timeout": "5", "hz": "15"})
        reply = self.connection.ask("CONFIG", "SET", "timeout", 6, "hz", "x")
        self.assertEqual(reply.code, "ERR")
        self.assertEqual(self.get("timeout", "hz"), {"timeout": "5", "hz": "15"})
        self.connection.call("CONFIG", "SET", "timeout", 0)

    def test_resetstat(self):
        self.connection.call("PING")
        self.connection.call("CONFIG", "RESETSTAT")
        self.assertLess(int(self.connection.info("stats")["total_commands_processed"]), 5)

    @needs_redis
    def test_names_and_defaults_equal_the_reference(self):
        """Every setting that we have has the reference's name and default."""
        ours = self.server_defaults(OURS)
        reference = self.server_defaults(REDIS)
        left_out = {"dir", "logfile", "pidfile", "port", "bind", "save", "maxclients"}
        differing = {
            name: (value, reference[name])
            for name, value in ours.items()
            if name in reference and name not in left_out and value != reference[name]
        }
        self.assertEqual(differing, {})

    def server_defaults(self, binary):
        server = Server(binary)
        self.addCleanup(server.close)
        words = server.call("CONFIG", "GET", "*")
        return {k.decode(): v.decode() for k, v in zip(words[::2], words[1::2])}


def directives(text):
    """The lines that say something; the reference adds a flag to `user` each time."""
    return [line for line in text.splitlines() if line and not line.startswith("user ")]


class RewriteTests(WireTest):
    """Also sound against redis-server."""

    def test_round_trip(self):
        server = self.server(maxmemory="5mb", client_output_buffer_limit="replica 1mb 2mb 3")
        with open(server.config, "a") as file:
            file.write("# a comment that stays\n\nhz 12\n")
        server.restart()
        changes = {
            "maxmemory": "12582912",
            "timeout": "33",
            "masterauth": 'pass "word"\\',
            "save": "900 1 300 10",
            "loglevel": "verbose",
            "hz": "25",
            "appendfsync": "always",
            "notify-keyspace-events": "AKE",
            "client-output-buffer-limit": "normal 1000000 0 0",
            "maxmemory-policy": "allkeys-lfu",
        }
        for name, value in changes.items():
            server.call("CONFIG", "SET", name, value)
        before = self.settings(server)
        self.assertEqual(server.call("CONFIG", "REWRITE"), "OK")
        with open(server.config) as file:
            text = file.read()
        self.assertIn("# a comment that stays", text)
        self.assertEqual(len(re.findall(r"(?m)^maxmemory ", text)), 1)
        server.restart()
        self.assertEqual(self.settings(server), before)
        server.call("CONFIG", "REWRITE")
        with open(server.config) as file:
            self.assertEqual(
                directives(file.read()), directives(text), "a second rewrite changes nothing"
            )

    def settings(self, server):
        words = [word.decode() for word in server.call("CONFIG", "GET", "*")]
        return dict(zip(words[::2], words[1::2]))

    def test_rewrite_without_a_file(self):
        folder = tempfile.mkdtemp(prefix="martlet-config-")
        self.addCleanup(shutil.rmtree, folder, True)
        port = free_port()
        process = subprocess.Popen(
            [OURS, "--port", str(port)],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.kill)

        def ask():
            with Connection(port) as connection:
                return connection.ask("CONFIG", "REWRITE")

        reply = wait_until(ask, "it answers")
        self.assert_error(reply, "ERR The server is running without a config file")

    def test_a_config_file_that_cannot_be_written(self):
        server = self.server()
        os.unlink(server.config)
        os.mkdir(server.config)
        reply = server.connect().ask("CONFIG", "REWRITE")
        self.assertIn("ERR Rewriting config file:", str(reply))
        self.assert_alive(server)
