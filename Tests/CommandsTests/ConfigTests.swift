// The configuration: reading text, CONFIG GET and SET on the table, rewriting a file.
import Base
import Engine
import Testing

@Suite struct ConfigTests {
    private func load(_ text: String) throws(ConfigError) -> Settings {
        var settings = Settings()
        try ConfigTable.load(text: text, file: "redis.conf", into: &settings)
        return settings
    }

    private func reason(_ text: String) -> String? {
        do {
            _ = try load(text)
            return nil
        } catch {
            return error.reason
        }
    }

    private func get(_ name: String, _ settings: Settings) -> String? {
        ConfigTable.get([name], settings).first?.1
    }

    private let context = ConfigContext(isLoading: false, allowsProtected: false)

    @Test func directivesAreRead() throws {
        let settings = try load(
            """
            # a comment
            PORT 7001
              maxmemory 100mb
            slave-read-only no
            requirepass "a \\"b\\" \\x41"
            bind 127.0.0.1 ::1
            replicaof 10.0.0.1 6380
            save 60 5
            save 10 1
            client-output-buffer-limit replica 1mb 512kb 30
            logfile ''
            """)
        #expect(settings.port == 7001)
        #expect(settings.maxMemory == 100 << 20)
        #expect(!settings.replicaReadOnly)
        #expect(settings.requirePassword == "a \"b\" A")
        #expect(settings.bind == ["127.0.0.1", "::1"])
        #expect(settings.replicaOf?.port == 6380)
        #expect(get("save", settings) == "60 5 10 1")
        let limit = OutputLimit(hard: 1 << 20, soft: 1 << 19, softSeconds: 30)
        #expect(settings.replicaOutputLimit == limit)
    }

    @Test func savesAddUpAndEmptyForgets() throws {
        #expect(get("save", try load("")) == "3600 1 300 100 60 10000")
        #expect(get("save", try load("save \"\"")) == "")
        #expect(get("save", try load("save 1 2\nsave ''\nsave \"3 4 5 6\"")) == "3 4 5 6")
    }

    @Test func mistakesAreNamed() {
        #expect(reason("port") == "wrong number of arguments")
        #expect(reason("port \"6379\" \"6380\"") == "wrong number of arguments")
        #expect(reason("port \"--bla\"") == "argument couldn't be parsed into an integer")
        #expect(reason("port 70000") == "argument must be between 0 and 65535 inclusive")
        #expect(
            reason("loglevel \"--bla\"")
                == "argument(s) must be one of the following: debug, verbose, notice, warning")
        #expect(
            reason("shutdown-on-sigint")?.hasPrefix("argument(s) must be one of the following")
                == true)
        #expect(reason("replicaof \"127.0.0.1\" \"abc\"") == "Invalid master port")
        #expect(reason("nonsense 1") == "Bad directive or wrong number of arguments")
        #expect(reason("dir \"x") == "Unbalanced quotes in configuration line")
        #expect(reason("maxmemory 1zb") == "argument must be a memory value")
        #expect(reason("dbfilename a/b") == "dbfilename can't be a path, just a filename")
        #expect(reason("user default on\nuser default on")?.hasSuffix("in config files") == true)
        #expect(
            reason("cluster-enabled yes\nreplicaof a 1")
                == "replicaof directive not allowed in cluster mode")
    }

    @Test func errorsCarryTheLine() {
        do {
            _ = try load("port 1\n\n  hz many  \n")
            Issue.record("hz many is no configuration")
        } catch {
            #expect(error.line == 3)
            #expect(error.text == "hz many")
        }
    }

    @Test func promisesAreNotIgnored() {
        #expect(reason("appendonly no") == nil)
        #expect(reason("appendonly yes") == nil)
        #expect(reason("appendfsync sometimes") != nil)
        #expect(reason("appenddirname a/b") == "appenddirname can't be a path, just a dirname")
        #expect(reason("tls-port 7000")?.contains("not supported") == true)
        #expect(reason("aclfile users.acl") == nil)
        #expect(reason("user default on nopass ~* &* +@all") == nil)
        #expect(reason("user eve on +nosuch") == nil)
        #expect(
            reason("user eve on >x yes")
                == "Error in user declaration 'yes': Syntax error")
        #expect(
            reason("user eve on (+get ~x")
                == "Error in user declaration '(+get': Syntax error")
    }

    @Test func inertDirectivesAreShown() throws {
        let settings = try load("notify-keyspace-events KEA\nhash-max-ziplist-entries 5")
        #expect(get("notify-keyspace-events", settings) == "AKE")
        #expect(get("hash-max-listpack-entries", settings) == "5")
        for (name, reason) in ConfigTable.inertDirectives {
            #expect(ConfigTable.entry(name) != nil, "\(name) is listed but unknown")
            #expect(!reason.isEmpty)
        }
        #expect(reason("notify-keyspace-events KQ")?.hasPrefix("Invalid event class") == true)
    }

    @Test func renamesAreChecked() {
        var settings = Settings()
        let known: (String) -> Bool = { ["get", "set"].contains($0.lowercased()) }
        func take(_ text: String) -> String? {
            do {
                try ConfigTable.load(text: text, file: "", into: &settings, isCommand: known)
                return nil
            } catch {
                return error.reason
            }
        }
        #expect(take("rename-command GET fetch") == nil)
        #expect(take("rename-command GET again") == "No such command in rename-command")
        #expect(take("rename-command nope x") == "No such command in rename-command")
        #expect(take("rename-command SET fetch") == "Target command name already exists")
        #expect(take("rename-command SET \"\"") == nil)
        #expect(settings.renamedCommands.count == 2)
    }

    @Test func setIsAllOrNothing() throws {
        var settings = Settings()
        let changed = try ConfigTable.set(
            [("maxmemory", "1gb"), ("timeout", "0")], in: &settings, context)
        #expect(changed == ["maxmemory"])
        #expect(throws: ConfigSetFailure.refused(
            argument: "timeout", reason: "argument couldn't be parsed into an integer")
        ) {
            _ = try ConfigTable.set(
                [("maxmemory", "2gb"), ("timeout", "x")], in: &settings, context)
        }
        #expect(settings.maxMemory == 1 << 30)
        #expect(throws: ConfigSetFailure.unknown("what")) {
            _ = try ConfigTable.set([("what", "1")], in: &settings, context)
        }
        #expect(throws: ConfigSetFailure.refused(
            argument: "dbfilename", reason: "can't set protected config")
        ) { _ = try ConfigTable.set([("dbfilename", "x")], in: &settings, context) }
        #expect(throws: ConfigSetFailure.refused(
            argument: "databases", reason: "can't set immutable config")
        ) { _ = try ConfigTable.set([("databases", "2")], in: &settings, context) }
        #expect(throws: ConfigSetFailure.refused(argument: "hz", reason: "duplicate parameter")) {
            _ = try ConfigTable.set([("hz", "2"), ("hz", "3")], in: &settings, context)
        }
    }

    /// Whatever CONFIG GET shows can be set and read again, and changes nothing.
    @Test func everyValueReadsBack() throws {
        let settings = Settings()
        for entry in ConfigTable.entries {
            var copy = settings
            let value = entry.get(settings)
            let words =
                entry.flags.contains(.multiple)
                ? value.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
                : [value]
            if entry.name == "replicaof" { continue }
            #expect(entry.set(&copy, words) == nil, "\(entry.name) '\(value)'")
            #expect(entry.get(copy) == value, "\(entry.name)")
        }
    }

    @Test func rewriteKeepsTheFile() throws {
        let old = """
            # my server
            port 7000
            unknown-thing 1

            slave-read-only yes


            save 60 1
            save 30 2
            rename-command GET fetch
            """
        var settings = Settings()
        settings.port = 7005
        settings.maxMemory = 100 << 20
        settings.requirePassword = "se\"cret"
        settings.savePoints = [(10, 3)]
        settings.directory = "/data"
        let text = ConfigTable.rewrite(old, settings)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        #expect(lines[0] == "# my server")
        #expect(lines[1] == "port 7005")
        #expect(lines[2] == "# ??? unknown-thing 1")
        #expect(lines.contains("replica-read-only yes"))
        #expect(lines.contains("save 10 3") && !text.contains("save 30 2"))
        #expect(lines.contains("rename-command GET fetch"))
        #expect(lines.contains("maxmemory 100mb"))
        #expect(lines.contains("requirepass \"se\\\"cret\""))
        #expect(lines.contains("# Generated by CONFIG REWRITE"))
        #expect(!text.contains("hz "))
        let again = try load(text)
        #expect(again.port == 7005 && again.requirePassword == "se\"cret")
        #expect(ConfigTable.rewrite(text, again) == text)
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func randomTextNeverTraps(seed: UInt64) {
        var prng = Prng(seed: seed)
        var text = ""
        for _ in 0..<20 {
            let entry = ConfigTable.entries[prng.below(ConfigTable.entries.count)]
            text += prng.chance(1, in: 4) ? prng.hex(5) : entry.name
            for _ in 0..<prng.below(4) {
                let odd = ["\"", "'", "yes", "-1", "99999999999999999999", "1gb", "\\x", "", "%"]
                text += " " + odd[prng.below(odd.count)]
            }
            text += prng.chance(1, in: 3) ? "\r\n" : "\n"
        }
        for line in text.split(separator: "\n") {
            var settings = Settings()
            try? ConfigTable.load(text: String(line), file: "", into: &settings)
        }
        _ = ConfigTable.rewrite(text, Settings())
    }

    @Test func clientMemoryIsAnAmountOrAPercentage() throws {
        #expect(get("maxmemory-clients", try load("")) == "0")
        #expect(get("maxmemory-clients", try load("maxmemory-clients 5%")) == "5%")
        #expect(get("maxmemory-clients", try load("maxmemory-clients 1kb")) == "1024")
        #expect(
            reason("maxmemory-clients 101%")
                == "percentage argument must be less or equal to 100")
        for word in ["x", "-1%", "%"] {
            #expect(
                reason("maxmemory-clients \(word)")
                    == "argument must be a memory or percent value")
        }
        let text = ConfigTable.rewrite("", try load("maxmemory-clients 7%"))
        #expect(text.contains("maxmemory-clients 7%"))
    }

    @Test func titlesOfTheProcess() {
        let facts = ["title": "x", "port": "7", "server-mode": ""]
        #expect(ProcessTitleText.expand("{title} *:{port} {server-mode}") { facts[$0] } == "x *:7")
        #expect(ProcessTitleText.expand("{other}") { facts[$0] } == nil)
        #expect(ProcessTitleText.expand("{title") { facts[$0] } == nil)
        #expect(reason("proc-title-template \"{nonsense}\"")?.contains("invalid") == true)
    }
}
