// The generic group, in process.
import Base
import Engine
import HashSlots
import Storage
import Testing

@Suite struct KeyTests {
    @Test func presenceAndRemoval() {
        check([
            ("DEL k", 0), ("SET k v", .ok), ("EXISTS k k none", 2), ("TYPE k", .simple("string")),
            ("TYPE none", .simple("none")), ("TOUCH k none k", 2), ("DEL k none", 1),
            ("MSET a 1 b 2", .ok), ("UNLINK a b c", 2), ("EXISTS a b", 0),
            ("DEL", wrongArity("del")),
        ])
    }

    @Test func renaming() {
        check([
            ("RENAME none k", .error("ERR no such key")),
            ("RENAMENX none k", .error("ERR no such key")),
            ("RENAME none none", .error("ERR no such key")), ("SET a 1 EX 100", .ok),
            ("RENAME a b", .ok), ("EXISTS a", 0), ("GET b", "1"), ("TTL b", 100),
            ("RENAME b b", .ok), ("RENAMENX b b", 0), ("SET c 3", .ok), ("RENAMENX b c", 0),
            ("RENAME b c", .ok), ("GET c", "1"), ("TTL c", 100), ("RENAMENX c d", 1),
            ("GET d", "1"),
        ])
    }

    @Test func otherDatabases() {
        let server = CommandHarness(databases: 4)
        let other = server.connect()
        other.pointee.database = 2
        check(
            [
                ("SET k v EX 100", .ok), ("MOVE k 2", 1), ("EXISTS k", 0), ("MOVE k 2", 0),
                ("MOVE k 4", .error("ERR DB index is out of range")),
                ("MOVE k -1", .error("ERR DB index is out of range")), ("MOVE k x", notInteger),
                (
                    "MOVE k 4294967296",
                    .error(
                        "ERR value is out of range, value must between -2147483648 and 2147483647")
                ),
                ("MOVE k 0", .error("ERR source and destination objects are the same")),
                ("SET k w", .ok), ("MOVE k 2", 0), ("COPY k k DB 2", 0),
                ("COPY k k DB 2 REPLACE", 1), ("COPY k k", .error(
                    "ERR source and destination objects are the same")),
                ("COPY k j DB", syntaxError),
                ("COPY k j DB 9", .error("ERR DB index is out of range")),
                ("COPY none j", 0), ("COPY k j", 1), ("GET j", "w"), ("COPY k j", 0),
                ("SET k x EX 50", .ok), ("COPY k j REPLACE", 1), ("TTL j", 50), ("GET j", "x"),
            ], on: server)
        #expect(server.run(["GET", "k"], on: other) == "w")
        #expect(server.run(["TTL", "k"], on: other) == -1)
    }

    @Test func clusterKeepsOneDatabase() {
        let server = CommandHarness(slotted: true)
        let routing = UnsafeMutablePointer<RoutingTable>.allocate(capacity: 1)
        routing.initialize(to: RoutingTable())
        routing.pointee.begin(nodes: [RoutingEndpoint(text: [], otherText: [])], myself: 0)
        for index in 0..<Slot.count {
            routing.pointee.setOwner(of: Slot(hash: UInt16(index)), to: 0)
        }
        var facts = RoutingFacts()
        facts.clusterIsUp = true
        routing.pointee.finish(facts)
        server.executor.pointee.routing = routing
        defer {
            server.executor.pointee.routing = nil
            routing.deinitialize(count: 1)
            routing.deallocate()
        }
        let crossSlot = Reply.error("CROSSSLOT Keys in request don't hash to the same slot")
        check(
            [
                ("SET k v", .ok), ("GET k", "v"), ("MSET {a}1 x {a}2 y", .ok),
                ("MGET {a}1 {a}2 {a}3", ["x", "y", .null]), ("MSET a 1 b 2", crossSlot),
                ("DEL a b", crossSlot), ("RENAME a b", crossSlot), ("RENAME {a}1 {a}3", .ok),
                ("MOVE k 1", .error("ERR MOVE is not allowed in cluster mode")),
                (
                    "COPY {a}2 {a}4 DB 1",
                    .error("ERR Copying to another database is not allowed in cluster mode")
                ), ("COPY {a}2 {a}4 DB 0", 1), ("MULTI", .ok), ("SET a 1", .simple("QUEUED")),
                ("SET b 1", .simple("QUEUED")), ("EXEC", crossSlot),
                ("EXEC", .error("ERR EXEC without MULTI")),
            ], on: server)
    }

    @Test func objectReports() {
        let server = CommandHarness()
        let big = String(repeating: "x", count: 45)
        check(
            [
                ("OBJECT ENCODING none", .null), ("SET k 1", .ok), ("OBJECT ENCODING k", "int"),
                ("OBJECT REFCOUNT k", 2_147_483_647), ("SET k abc", .ok),
                ("OBJECT ENCODING k", "embstr"), ("OBJECT REFCOUNT k", 1),
                ("SET k \(big)", .ok), ("OBJECT ENCODING k", "raw"), ("OBJECT IDLETIME k", 0),
                ("OBJECT REFCOUNT none", .null),
                (
                    "OBJECT nope k",
                    .error("ERR unknown subcommand 'nope'. Try OBJECT HELP.")
                ),
                ("OBJECT ENCODING", wrongArity("object|encoding")),
                ("OBJECT", wrongArity("object")),
            ], on: server)
        #expect(server.run("OBJECT", "FREQ", "k").isError)
        #expect(server.run("OBJECT", "HELP").elements.count == 15)
        #expect(
            server.run("OBJECT", "HELP").elements.first
                == .simple("OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"))
        server.executor.pointee.settings.evictionPolicy = .allKeysLFU
        server.keyspace.configureAccess(usesFrequency: true, logFactor: 10, decayMinutes: 1)
        server.run("SET", "fresh", "v")
        #expect(server.run("OBJECT", "FREQ", "fresh") == 5)
        #expect(server.run("OBJECT", "IDLETIME", "fresh").isError)
    }

    @Test func accessIsMarkedByUseOnly() {
        let server = CommandHarness()
        server.keyspace.advanceClock(milliseconds: 1_700_000_000_000)
        server.run("SET", "k", "v")
        server.keyspace.advanceClock(milliseconds: 1_700_000_010_000)
        for line in [["EXISTS", "k"], ["TYPE", "k"], ["TTL", "k"], ["OBJECT", "ENCODING", "k"]] {
            server.run(line)
            #expect(server.run("OBJECT", "IDLETIME", "k") == 10, "\(line)")
        }
        server.session.pointee.flags.insert(.noTouch)
        server.run("GET", "k")
        #expect(server.run("OBJECT", "IDLETIME", "k") == 10)
        server.run("TOUCH", "k")
        #expect(server.run("OBJECT", "IDLETIME", "k") == 0)
    }

    @Test func statisticsOfReads() {
        let server = CommandHarness()
        server.run("SET", "k", "v")
        for line in [["GET", "k"], ["EXISTS", "k", "none"], ["MGET", "k", "none"], ["TTL", "k"]] {
            server.run(line)
        }
        server.run("DEL", "none")
        server.run("INCR", "n")
        #expect(server.executor.pointee.stats.keyspaceHits == 4)
        #expect(server.executor.pointee.stats.keyspaceMisses == 2)
    }

    // MARK: Finding keys

    @Test func keysByPattern() {
        let server = CommandHarness()
        check([("MSET foo 1 bar 2 foobar 3 f 4", .ok), ("SET old v PXAT 1", .ok)], on: server)
        func found(_ pattern: String) -> [String] {
            server.run("KEYS", pattern).elements.compactMap(\.text).sorted()
        }
        #expect(found("*") == ["bar", "f", "foo", "foobar"])
        #expect(found("foo*") == ["foo", "foobar"])
        #expect(found("[fb]?[or]") == ["bar", "foo"])
        #expect(found("none") == [])
        #expect(server.keyspace.count(database: 0) == 5)
    }

    @Test(arguments: [1, 2, 10, 1000]) func scanFindsAll(budget: Int) {
        for slotted in [false, true] {
            let server = CommandHarness(slotted: slotted)
            for number in 0..<500 { server.run("SET", "key:\(number)", "v") }
            var cursor = "0"
            var seen: Set<String> = []
            repeat {
                let reply = server.run("SCAN", cursor, "COUNT", "\(budget)").elements
                cursor = reply.first?.text ?? "0"
                for key in reply.last?.elements ?? [] { seen.insert(key.text ?? "") }
            } while cursor != "0"
            #expect(seen.count == 500)
        }
    }

    @Test func scanOptions() {
        let server = CommandHarness()
        check([("MSET a1 1 a2 2 b1 3", .ok), ("SET a3 v PXAT 1", .ok)], on: server)
        func found(_ words: String...) -> [String] {
            let reply = server.run(["SCAN", "0", "COUNT", "100"] + words).elements
            return (reply.last?.elements ?? []).compactMap(\.text).sorted()
        }
        #expect(found("MATCH", "a*") == ["a1", "a2"])
        #expect(found("TYPE", "string", "MATCH", "*1") == ["a1", "b1"])
        #expect(found("TYPE", "STRING") == ["a1", "a2", "b1"])
        #expect(found("TYPE", "list") == [])
        #expect(found("TYPE", "nonsense") == [])
        #expect(server.keyspace.count(database: 0) == 3, "the expired key was deleted")
        let invalid = Reply.error("ERR invalid cursor")
        check(
            [
                ("SCAN x", invalid), ("SCAN 1x", invalid), ("SCAN -", invalid),
                ("SCAN 99999999999999999999", invalid), ("SCAN 0 COUNT 0", syntaxError),
                ("SCAN 0 COUNT -1", syntaxError), ("SCAN 0 COUNT x", notInteger),
                ("SCAN 0 COUNT", syntaxError), ("SCAN 0 nope", syntaxError),
                ("SCAN 0 MATCH", syntaxError), ("SCAN 0 nope x", syntaxError),
            ], on: server)
        #expect(server.run("SCAN", "18446744073709551615").elements.count == 2)
        #expect(server.run("SCAN", "0", "COUNT", "9223372036854775807").elements.count == 2)
    }

    @Test func randomKeys() {
        let server = CommandHarness()
        #expect(server.run("RANDOMKEY") == .null)
        check([("MSET a 1 b 2", .ok), ("SET old v PXAT 1", .ok)], on: server)
        var seen: Set<String> = []
        for _ in 0..<100 { seen.insert(server.run("RANDOMKEY").text ?? "") }
        #expect(seen == ["a", "b"])
        check([("DEL a b", 2), ("SET old v PXAT 1", .ok), ("RANDOMKEY", .null)], on: server)
        // A replica may not delete, and must not search for ever.
        check([("SET old v PXAT 1", .ok)], on: server)
        server.executor.pointee.alerts.insert(.isReplica)
        #expect(server.run("RANDOMKEY") == "old")
        #expect(server.run("GET", "old") == .null)
    }

    // MARK: DUMP and RESTORE

    private func word(_ text: String) -> [UInt8] { Array(text.utf8) }

    private func dump(_ server: CommandHarness, _ key: String) -> [UInt8] {
        server.feed(CommandHarness.encode([word("DUMP"), word(key)]))
        let bytes = server.session.pointee.output.pointee.bytes.array
        server.session.pointee.output.pointee.removeAll()
        guard let end = bytes.firstIndex(of: 10) else { return [] }
        return Array(bytes[(end + 1)...].dropLast(2))
    }

    @Test(arguments: ["12", "-70000", "4000000000", "text", String(repeating: "ab", count: 3000)])
    func dumpAndRestore(value: String) {
        let server = CommandHarness()
        server.run("SET", "k", value)
        let payload = dump(server, "k")
        func restore(_ key: String, _ ttl: String, _ options: String...) -> Reply {
            server.run(bytes: [word("RESTORE"), word(key), word(ttl), payload] + options.map(word))
        }
        #expect(restore("new", "0") == .ok)
        #expect(server.run("GET", "new") == .bulk(value))
        #expect(restore("new", "0") == .error("BUSYKEY Target key name already exists."))
        #expect(restore("new", "5000", "REPLACE") == .ok)
        #expect(server.run("PTTL", "new") == 5000)
        #expect(restore("new", "1700000009000", "REPLACE", "ABSTTL") == .ok)
        #expect(server.run("PTTL", "new") == 9000)
        #expect(restore("new", "1", "REPLACE", "ABSTTL") == .ok)
        #expect(server.run("EXISTS", "new") == 0)
        #expect(restore("new", "-1") == .error("ERR Invalid TTL value, must be >= 0"))
        #expect(restore("new", "x") == notInteger)
        #expect(restore("new", "0", "nope") == syntaxError)
        #expect(restore("new", "0", "FREQ", "256").isError)
        #expect(restore("new", "0", "IDLETIME", "-1").isError)
        #expect(restore("new", "0", "IDLETIME", "1", "FREQ", "1") == syntaxError)
        #expect(restore("new", "0", "IDLETIME", "1000") == .ok)
        #expect(server.run("OBJECT", "IDLETIME", "new").integer != nil)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func damagedPayloads(seed: UInt64) {
        let server = CommandHarness()
        var prng = Prng(seed: seed)
        server.run("SET", "k", String(repeating: "abc", count: 100))
        let payload = dump(server, "k")
        let wrong = Reply.error("ERR DUMP payload version or checksum are wrong")
        for _ in 0..<300 {
            var damaged = payload
            damaged[prng.below(damaged.count)] ^= UInt8(1 + prng.below(255))
            if prng.chance(1, in: 3) { damaged.removeLast(prng.below(damaged.count) + 1) }
            #expect(server.run(bytes: [word("RESTORE"), word("n"), word("0"), damaged]) == wrong)
        }
        // Without the checksum the value itself has to be looked at.
        server.executor.pointee.checksDumpPayloads = false
        for _ in 0..<2000 {
            var damaged = payload
            damaged[prng.below(damaged.count - 10)] ^= UInt8(1 + prng.below(255))
            let reply = server.run(
                bytes: [word("RESTORE"), word("n"), word("0"), damaged, word("REPLACE")])
            #expect(reply == .ok || reply.text?.hasPrefix("ERR Bad data format") == true)
        }
        #expect(server.run("DUMP", "none") == .null)
    }
}
