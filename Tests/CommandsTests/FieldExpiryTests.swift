// Fields of hashes that expire: replies and refusals, what the stream gets, key events, where the
// times go when the key is renamed, copied, dumped, and what INFO and OBJECT say.
import Base
import Commands
import Engine
import HashSlots
import Storage
import Testing

private let start: Int64 = 1_700_000_000_000

@Suite struct FieldExpiryTests {
    private func words(_ text: String) -> [String] {
        text.split(separator: " ").map { $0 == "''" ? "" : String($0) }
    }

    /// h has a and b, b for 100 seconds; c is over. s is a string.
    private func prepared() -> CommandHarness {
        let server = CommandHarness()
        server.run("HSET", "h", "a", "1", "b", "2", "c", "3")
        server.run("HEXPIRE", "h", "100", "FIELDS", "1", "b")
        server.run("HPEXPIRE", "h", "1", "FIELDS", "1", "c")
        server.run("SET", "s", "v")
        server.advance(milliseconds: 2)
        return server
    }

    @Test func repliesOfTheFamily() {
        let cases: [(String, [Reply])] = [
            ("HTTL h FIELDS 4 a b c d", [-1, 100, -2, -2]), ("HTTL n FIELDS 2 a b", [-2, -2]),
            ("HPTTL h FIELDS 2 a b", [-1, 99_998]),
            ("HEXPIRETIME h FIELDS 1 b", [.integer(start / 1000 + 100)]),
            ("HPEXPIRETIME h FIELDS 1 b", [.integer(start + 100_000)]),
            ("HEXPIRE h 5 FIELDS 4 a b c d", [1, 1, -2, -2]), ("HEXPIRE h 0 FIELDS 1 a", [2]),
            ("HEXPIRE n 5 FIELDS 1 a", [-2]), ("HEXPIREAT h 1 FIELDS 2 a b", [2, 2]),
            ("HEXPIRE h 5 NX FIELDS 2 a b", [1, 0]), ("HEXPIRE h 5 xx FIELDS 2 a b", [0, 1]),
            ("HEXPIRE h 500 GT FIELDS 2 a b", [0, 1]), ("HEXPIRE h 5 GT FIELDS 2 a b", [0, 0]),
            ("HEXPIRE h 500 LT FIELDS 2 a b", [1, 0]), ("HEXPIRE h 5 lt FIELDS 2 a b", [1, 1]),
            ("HPERSIST h FIELDS 3 a b c", [-1, 1, -2]), ("HPERSIST n FIELDS 1 a", [-2]),
            ("HGETDEL h FIELDS 3 a c a", ["1", .null, .null]),
            ("HGETDEL n FIELDS 2 a b", [.null, .null]),
            ("HGETEX h FIELDS 2 b c", ["2", .null]), ("HGETEX h EX 5 FIELDS 1 a", ["1"]),
            ("HGETEX h PXAT 1 FIELDS 2 a a", ["1", .null]), ("HGETEX n FIELDS 1 a", [.null]),
        ]
        for (command, expected) in cases {
            #expect(prepared().run(words(command)) == .array(expected), "\(command)")
        }
    }

    @Test func repliesOfHsetex() {
        for (command, expected) in [
            ("HSETEX h FIELDS 1 a 2", 1), ("HSETEX h FNX FIELDS 2 a 2 d 4", 0),
            ("HSETEX h FNX EX 5 FIELDS 2 c 3 d 4", 1), ("HSETEX h FXX FIELDS 2 a 2 c 4", 0),
            ("HSETEX h PX 5 FXX FIELDS 2 a 2 b 4", 1), ("HSETEX n FXX FIELDS 1 a 1", 0),
            ("HSETEX n EX 0 FIELDS 1 a 1", 1),
        ] {
            let server = prepared()
            #expect(server.run(words(command)) == .integer(Int64(expected)), "\(command)")
            #expect(server.run("EXISTS", "n") == 0)
        }
        let server = prepared()
        server.run("HSETEX", "h", "KEEPTTL", "FIELDS", "2", "a", "x", "b", "y")
        #expect(server.run("HTTL", "h", "FIELDS", "2", "a", "b") == .array([-1, 100]))
        #expect(server.run("HMGET", "h", "a", "b") == .array(["x", "y"]))
        server.run("HSETEX", "h", "FIELDS", "1", "b", "z")
        #expect(server.run("HTTL", "h", "FIELDS", "1", "b") == .array([-1]))
    }

    @Test func refusals() {
        let mandatory = "ERR Mandatory argument FIELDS is missing or not at the right position"
        let mismatch = "ERR The `numfields` parameter must match the number of arguments"
        let positive = "ERR Number of fields must be a positive integer"
        let negative = "ERR invalid expire time, must be >= 0"
        let wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value"
        let onlyOne = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"
        for (command, expected) in [
            ("HEXPIRE h 5 FIELDS 1", "ERR wrong number of arguments for 'hexpire' command"),
            ("HEXPIRE h x FIELDS 1 a", "ERR value is not an integer or out of range"),
            ("HEXPIRE h -1 FIELDS 1 a", negative), ("HEXPIRE s 1 FIELDS 1 a", wrongType),
            ("HEXPIRE h 70368744178 FIELDS 1 a", "ERR invalid expire time in 'hexpire' command"),
            ("HPEXPIREAT h 70368744177664 FIELDS 1 a",
                "ERR invalid expire time in 'hpexpireat' command"),
            ("HPEXPIRE h 70368744177663 FIELDS 1 a",
                "ERR invalid expire time in 'hpexpire' command"),
            ("HEXPIRE h 5 WHAT 1 a", mandatory), ("HEXPIRE h 5 NX 1 a b", mandatory),
            ("HEXPIRE h 5 FIELDS 2 a", mismatch), ("HEXPIRE h 5 FIELDS 1 a b", mismatch),
            ("HEXPIRE h 5 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
            ("HEXPIRE h 5 FIELDS x a", "ERR Parameter `numFields` should be greater than 0"),
            ("HTTL h FIELDS 0 a", positive), ("HTTL h WHAT 1 a", mandatory),
            ("HTTL h FIELDS 2 a", mismatch), ("HTTL s FIELDS 1 a", wrongType),
            ("HPERSIST h FIELDS -1 a", positive), ("HPERSIST s FIELDS 1 a", wrongType),
            ("HGETDEL h FIELDS 9223372036854775808 a", positive),
            ("HGETEX h EX 5 PERSIST FIELDS 1 a", mandatory), ("HGETEX h KEEPTTL 1 a", mandatory),
            ("HGETEX h EX -5 FIELDS 1 a", negative), ("HGETEX h FIELDS 2 a", mismatch),
            ("HGETEX h EXAT 99999999999 FIELDS 1 a",
                "ERR invalid expire time in 'hgetex' command"),
            ("HSETEX h WHAT FIELDS 1 a 1", "ERR unknown argument: WHAT"),
            ("HSETEX h FNX FXX FIELDS 1 a 1",
                "ERR Only one of FXX or FNX arguments can be specified"),
            ("HSETEX h EX 5 KEEPTTL FIELDS 1 a 1", onlyOne),
            ("HSETEX h EX 5 PX 5 FIELDS 1 a 1", onlyOne),
            ("HSETEX h FIELDS 0 a 1", "ERR invalid number of fields"),
            ("HSETEX h FIELDS 2 a 1", "ERR wrong number of arguments for 'hsetex' command"),
            ("HSETEX h EX -5 FIELDS 1 a 1", negative), ("HSETEX s FIELDS 1 a 1", wrongType),
        ] {
            let server = prepared()
            #expect(server.run(words(command)) == .error(expected), "\(command)")
            #expect(server.run("HTTL", "h", "FIELDS", "2", "a", "b") == .array([-1, 100]))
        }
    }

    /// What the stream gets, the deletion of what is over first.
    @Test func formsInTheStream() {
        for (command, expected) in [
            ("HEXPIRE h 5 FIELDS 2 a d", "HPEXPIREAT h \(start + 5002) FIELDS 1 a"),
            ("HEXPIRE h 5 NX FIELDS 2 a b", "HPEXPIREAT h \(start + 5002) FIELDS 1 a"),
            ("HEXPIRE h 5 XX FIELDS 1 a", ""), ("HPEXPIREAT h 1 FIELDS 2 a d", "HDEL h a"),
            ("HPERSIST h FIELDS 2 a b", "HPERSIST h FIELDS 2 a b"),
            ("HPERSIST h FIELDS 1 a", ""), ("HGETDEL h FIELDS 2 a d", "HDEL h a"),
            ("HGETEX h FIELDS 1 a", ""), ("HGETEX h PERSIST FIELDS 2 a b", "HPERSIST h FIELDS 1 b"),
            ("HGETEX h PX 5 FIELDS 1 a", "HPEXPIREAT h \(start + 7) FIELDS 1 a"),
            ("HSETEX h FXX PX 5 FIELDS 1 a 1", "HSETEX h PXAT \(start + 7) FIELDS 1 a 1"),
            ("HSETEX h FNX KEEPTTL FIELDS 1 d 1", "HSETEX h KEEPTTL FIELDS 1 d 1"),
            ("HSETEX h FIELDS 1 a 1", "HSETEX h FIELDS 1 a 1"),
            ("HSETEX h EX 0 FIELDS 2 a 1 d 2", "HDEL h a"),
            ("HGET h a", ""), ("HTTL h FIELDS 1 c", ""),
        ] {
            let server = prepared()
            let end = server.streamEnd
            server.run(words(command))
            let stream = server.stream(from: end).map { $0.joined(separator: " ") }
            let whole = expected.isEmpty ? ["HDEL h c"] : ["HDEL h c", expected]
            #expect(stream == whole, "\(command)")
        }
    }

    /// Events that the hook has seen. Tests run side by side, so the executor finds its own.
    private final class Events {
        var names: [String] = []
    }

    private func events(_ command: String) -> String {
        let server = prepared()
        let events = Events()
        server.executor.pointee.host = Unmanaged.passUnretained(events).toOpaque()
        server.executor.pointee.keyEvent = { executor, event in
            let executor = executor.assumingMemoryBound(to: Executor.self)
            guard let host = executor.pointee.host else { return }
            Unmanaged<Events>.fromOpaque(host).takeUnretainedValue().names.append(
                "\(event.assumingMemoryBound(to: KeyEvent.self).pointee.name)")
        }
        server.run(words(command))
        return withExtendedLifetime(events) { events.names.joined(separator: " ") }
    }

    @Test(arguments: [
        ("HGET h a", "hexpired"), ("HEXPIRE h 5 FIELDS 1 a", "hexpired hexpire"),
        ("HEXPIRE h 0 FIELDS 1 a", "hexpired hdel"),
        ("HEXPIRE h 0 FIELDS 2 a b", "hexpired hdel del"),
        ("HPERSIST h FIELDS 1 b", "hexpired hpersist"),
        ("HGETDEL h FIELDS 2 a b", "hexpired hdel del"),
        ("HGETEX h EX 5 FIELDS 1 a", "hexpired hexpire"),
        ("HGETEX h PERSIST FIELDS 1 b", "hexpired hpersist"),
        ("HSETEX h EX 5 FIELDS 1 a 1", "hexpired hset hexpire"),
        ("HSETEX n EX 5 FIELDS 1 a 1", "new hset hexpire"),
        ("HSETEX h EX 0 FIELDS 1 a 1", "hexpired hdel"), ("HSETEX n EX 0 FIELDS 1 a 1", ""),
    ])
    func eventsOfCommands(command: String, expected: String) {
        #expect(events(command) == expected)
    }

    @Test func theLastFieldTakesTheKeyAlong() {
        let server = CommandHarness()
        server.run("HSETEX", "h", "PX", "5", "FIELDS", "2", "a", "1", "b", "2")
        #expect(server.keyspace.expiringHashes(database: 0) == 1)
        server.advance(milliseconds: 6)
        let end = server.streamEnd
        #expect(server.run("HGETALL", "h").elements.isEmpty)
        #expect(server.run("EXISTS", "h") == 0)
        #expect(server.stream(from: end).map { Set($0) } == [["HDEL", "h", "a", "b"]])
        #expect(server.keyspace.expiringHashes(database: 0) == 0)
        #expect(server.executor.pointee.stats.expiredFields == 2)
    }

    @Test func aReplicaHidesAndKeeps() {
        let server = prepared()
        server.executor.pointee.alerts.insert(.isReplica)
        #expect(server.run("HGET", "h", "c") == .null)
        #expect(server.run("HGETALL", "h").elements.count == 4)
        #expect(server.run("HRANDFIELD", "h", "5").elements.count == 2)
        #expect(server.run("HLEN", "h") == 3)
        let link = server.connect()
        link.pointee.flags.insert([.fromPrimary, .authenticated])
        server.run(["HINCRBY", "h", "c", "4"], on: link)
        #expect(server.run("HGET", "h", "c") == .null)
        server.executor.pointee.alerts.remove(.isReplica)
        #expect(server.run("HLEN", "h") == 2)
    }

    @Test func timesGoWithTheValue() {
        let server = CommandHarness()
        server.run("HSETEX", "h", "EX", "50", "FIELDS", "1", "a", "1")
        server.run("HSET", "h", "b", "2")
        let times = Reply.array([50, -1])
        server.run("RENAME", "h", "i")
        #expect(server.run("HTTL", "i", "FIELDS", "2", "a", "b") == times)
        server.run("COPY", "i", "j")
        server.run("COPY", "i", "k", "DB", "3")
        server.run("MOVE", "i", "5")
        #expect(server.run("HTTL", "j", "FIELDS", "2", "a", "b") == times)
        #expect(server.keyspace.expiringHashes(database: 0) == 1)
        #expect(server.keyspace.expiringHashes(database: 3) == 1)
        #expect(server.keyspace.expiringHashes(database: 5) == 1)
        server.keyspace.checkInvariants()
        server.run("SET", "j", "over")
        #expect(server.keyspace.expiringHashes(database: 0) == 0)
        server.run("FLUSHALL")
        #expect(server.keyspace.expiringHashes(database: 5) == 0)
        server.keyspace.checkInvariants()
    }

    @Test func whatOverwritesAFieldTakesItsTime() {
        let server = prepared()
        server.run("HINCRBY", "h", "b", "3")
        #expect(server.run("HTTL", "h", "FIELDS", "1", "b") == .array([100]))
        server.run("HINCRBYFLOAT", "h", "b", "0.5")
        #expect(server.run("HTTL", "h", "FIELDS", "1", "b") == .array([100]))
        server.run("HSET", "h", "b", "9")
        #expect(server.run("HTTL", "h", "FIELDS", "1", "b") == .array([-1]))
        #expect(server.keyspace.expiringHashes(database: 0) == 0)
    }

    @Test func formsAsReported() {
        let server = prepared()
        #expect(server.run("OBJECT", "ENCODING", "h") == "listpackex")
        server.run("HSET", "h", "long", String(repeating: "x", count: 65))
        #expect(server.run("OBJECT", "ENCODING", "h") == "hashtable")
        server.run(["HSET", "g"] + (0..<600).flatMap { ["f\($0)", "v"] })
        server.run("HEXPIRE", "g", "5", "FIELDS", "1", "f1")
        #expect(server.run("OBJECT", "ENCODING", "g") == "hashtable")
        let plain = server.run("MEMORY", "USAGE", "g", "SAMPLES", "0").integer ?? 0
        server.run(["HEXPIRE", "g", "5", "FIELDS", "500"] + (0..<500).map { "f\($0)" })
        let timed = server.run("MEMORY", "USAGE", "g", "SAMPLES", "0").integer ?? 0
        #expect(timed > plain + 499 * 16 || timed == 0)
    }

    @Test func slotsTakeTheirTimesAlong() {
        let server = CommandHarness(slotted: true)
        for index in 0..<50 {
            server.run("HSETEX", "{t}\(index)", "EX", "50", "FIELDS", "1", "a", "1")
        }
        #expect(server.keyspace.expiringHashes(database: 0) == 50)
        let slot = Bytes("t")
        server.keyspace.removeSlot(Slot(hash: server.keyspace.slot(of: slot)))
        #expect(server.keyspace.expiringHashes(database: 0) == 0)
        server.keyspace.checkInvariants()
    }
}
