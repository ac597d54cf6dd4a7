// The string group, in process: replies in both protocols, options, errors, the limits.
import Base
import Engine
import Storage
import Testing

/// One command line and its reply; lines of a table run in order on one engine.
typealias Line = (String, Reply)

/// Runs lines whose words are separated by spaces; `''` is an empty word.
func check(
    _ lines: [Line], on server: CommandHarness = CommandHarness(),
    sourceLocation: SourceLocation = #_sourceLocation
) {
    for (text, expected) in lines {
        let words = text.split(separator: " ").map { $0 == "''" ? "" : String($0) }
        let reply = server.run(words)
        #expect(reply == expected, "\(text)", sourceLocation: sourceLocation)
    }
}

let wrongType = Reply.error("WRONGTYPE Operation against a key holding the wrong kind of value")
let syntaxError = Reply.error("ERR syntax error")
let notInteger = Reply.error("ERR value is not an integer or out of range")
let notFloat = Reply.error("ERR value is not a valid float")

func invalidExpire(_ command: String) -> Reply {
    .error("ERR invalid expire time in '\(command)' command")
}

func wrongArity(_ command: String) -> Reply {
    .error("ERR wrong number of arguments for '\(command)' command")
}

@Suite struct StringTests {
    @Test func setAndGet() {
        check([
            ("GET k", .null), ("SET k v", .ok), ("GET k", "v"), ("SET k 12345", .ok),
            ("GET k", "12345"), ("SET k -9223372036854775808", .ok),
            ("GET k", "-9223372036854775808"), ("SET k ''", .ok), ("GET k", ""),
            ("SET k 007", .ok), ("GET k", "007"), ("set K w", .ok), ("GET k", "007"),
            ("GET", wrongArity("get")), ("SET k", wrongArity("set")),
            ("STRLEN k", 3), ("STRLEN none", 0), ("SET k 100", .ok), ("STRLEN k", 3),
        ])
    }

    @Test func nullsOfTheThirdProtocol() {
        let server = CommandHarness()
        server.session.pointee.protocolVersion = 3
        server.feed(CommandHarness.encode([Array("GET".utf8), Array("k".utf8)]))
        #expect(server.session.pointee.output.pointee.bytes.string == "_\r\n")
        server.session.pointee.output.pointee.removeAll()
        server.session.pointee.protocolVersion = 2
        server.feed(CommandHarness.encode([Array("GET".utf8), Array("k".utf8)]))
        #expect(server.session.pointee.output.pointee.bytes.string == "$-1\r\n")
    }

    @Test(arguments: [0, 1, 44, 45, 255, 999, 1000, 1001, 5000, 70_000])
    func valuesOfAllSizes(size: Int) {
        let server = CommandHarness()
        let value = (0..<size).map { UInt8(truncatingIfNeeded: 97 + $0 % 26) }
        let key = Array("key".utf8)
        #expect(server.run(bytes: [Array("SET".utf8), key, value]) == .ok)
        #expect(server.run("GET", "key") == .bulk(String(decoding: value, as: UTF8.self)))
        #expect(server.run("STRLEN", "key") == .integer(Int64(size)))
        #expect(server.run("APPEND", "key", "tail") == .integer(Int64(size + 4)))
        #expect(server.run("GETRANGE", "key", "-4", "-1") == "tail")
    }

    @Test func conditionsOfSet() {
        check([
            ("SET k v XX", .null), ("SET k v NX", .ok), ("SET k w NX", .null), ("GET k", "v"),
            ("SET k w xx", .ok), ("SET k x GET", "w"), ("SET new x GET", .null),
            ("SET k y NX GET", "x"), ("GET k", "x"), ("SET n2 y NX GET", .null),
            ("GET n2", "y"), ("SET n3 y XX GET", .null), ("EXISTS n3", 0),
            ("SET k y XX GET", "x"), ("SET k v NX XX", syntaxError),
            ("SET k v XX NX", syntaxError), ("SET k v NX NX", .null), ("SET k v nope", syntaxError),
            ("SET k v PERSIST", syntaxError), ("SET k v GET GET", "y"),
        ])
    }

    @Test func expiryOfSet() {
        let server = CommandHarness()
        check(
            [
                ("SET k v EX 10", .ok), ("PTTL k", 10_000), ("SET k v", .ok), ("TTL k", -1),
                ("SET k v px 1500", .ok), ("PTTL k", 1500), ("TTL k", 2),
                ("SET k v KEEPTTL", .ok), ("PTTL k", 1500),
                ("SET k v EXAT 1700000100", .ok), ("TTL k", 100),
                ("SET k v PXAT 1700000000123", .ok), ("PTTL k", 123),
                ("SET k v EX 1 EX 2", .ok), ("TTL k", 2),
                ("SET k v NX GET EX 9", "v"), ("TTL k", 2),
                ("SET k v XX GET EX 9", "v"), ("TTL k", 9),
                ("SET gone v EXAT 1", .ok), ("GET gone", .null),
            ], on: server)
        server.advance(milliseconds: 9000)
        #expect(server.run("GET", "k") == "v")
        server.advance(milliseconds: 1)
        #expect(server.run("GET", "k") == .null)
        #expect(server.executor.pointee.stats.expiredKeys == 2)
    }

    @Test func timesThatAreNone() {
        check([
            ("SET k v EX", syntaxError), ("SET k v EX 0", invalidExpire("set")),
            ("SET k v EX -1", invalidExpire("set")), ("SET k v PX 0", invalidExpire("set")),
            ("SET k v EX 9223372036854775807", invalidExpire("set")),
            ("SET k v PX 9223372036854775807", invalidExpire("set")),
            ("SET k v EXAT 9223372036854776", invalidExpire("set")),
            ("SET k v EX 1.5", notInteger), ("SET k v EX x", notInteger),
            ("SET k v EX 1 PX 1", syntaxError), ("SET k v EX 1 KEEPTTL", syntaxError),
            ("SET k v KEEPTTL PXAT 1", syntaxError), ("SET k v EXAT 5 PXAT 5", syntaxError),
            ("SETEX k 0 v", invalidExpire("setex")), ("SETEX k -5 v", invalidExpire("setex")),
            ("PSETEX k 0 v", invalidExpire("psetex")), ("SETEX k x v", notInteger),
            ("EXISTS k", 0), ("SETEX k 10 v", .ok), ("TTL k", 10), ("PSETEX k 1 v", .ok),
            ("PTTL k", 1),
        ])
    }

    @Test func olderForms() {
        check([
            ("SETNX k v", 1), ("SETNX k w", 0), ("GET k", "v"), ("GETSET k w", "v"),
            ("GETSET new x", .null), ("GET new", "x"), ("GETDEL new", "x"), ("GETDEL new", .null),
            ("EXISTS new", 0), ("SET k v EX 10", .ok), ("GETSET k w", "v"), ("TTL k", -1),
        ])
    }

    @Test func getAndExpire() {
        let server = CommandHarness()
        check(
            [
                ("GETEX k", .null), ("SET k v", .ok), ("GETEX k", "v"), ("TTL k", -1),
                ("GETEX k EX 10", "v"), ("TTL k", 10), ("GETEX k", "v"), ("TTL k", 10),
                ("GETEX k PX 2500", "v"), ("PTTL k", 2500), ("GETEX k PERSIST", "v"),
                ("TTL k", -1), ("GETEX k EXAT 1700000005", "v"), ("TTL k", 5),
                ("GETEX k EX 0", invalidExpire("getex")), ("GETEX k KEEPTTL", syntaxError),
                ("GETEX k EX 5 PERSIST", syntaxError), ("GETEX k EX", syntaxError),
                ("GETEX none EX 0", .null), ("GETEX k PXAT 5", "v"), ("EXISTS k", 0),
            ], on: server)
    }

    @Test func ranges() {
        check([
            ("GETRANGE k 0 -1", ""), ("SET k HelloWorld", .ok), ("GETRANGE k 0 4", "Hello"),
            ("GETRANGE k -5 -1", "World"), ("GETRANGE k 0 100", "HelloWorld"),
            ("GETRANGE k 5 3", ""), ("GETRANGE k -1 -5", ""), ("GETRANGE k -100 2", "Hel"),
            ("GETRANGE k 20 30", ""), ("SUBSTR k 1 2", "el"), ("GETRANGE k -100 -100", "H"),
            ("GETRANGE k 0 9223372036854775807", "HelloWorld"),
            ("GETRANGE k -9223372036854775808 1", "He"), ("GETRANGE k x 1", notInteger),
            ("SET n 123456", .ok), ("GETRANGE n 1 2", "23"), ("SET e ''", .ok),
            ("GETRANGE e 0 0", ""), ("GETRANGE e -1 -1", ""),
        ])
    }

    @Test func patches() {
        check([
            ("SETRANGE k 0 ''", 0), ("EXISTS k", 0), ("SETRANGE k 3 abc", 6),
            ("GET k", "\0\0\0abc"), ("SETRANGE k 0 xyz", 6), ("GET k", "xyzabc"),
            ("SETRANGE k 4 12345", 9), ("GET k", "xyza12345"), ("SETRANGE k 2 ''", 9),
            ("SETRANGE k -1 a", .error("ERR offset is out of range")),
            ("SETRANGE k x a", notInteger), ("SET n 1234", .ok), ("SETRANGE n 1 9", 4),
            ("GET n", "1934"), ("OBJECT ENCODING n", "raw"),
            (
                "SETRANGE k 536870912 x",
                .error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            ),
            (
                "SETRANGE k 9223372036854775807 x",
                .error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            ),
            ("APPEND a 12", 2), ("OBJECT ENCODING a", "int"), ("APPEND a 34", 4),
            ("GET a", "1234"), ("OBJECT ENCODING a", "raw"), ("INCR a", 1235),
            ("OBJECT ENCODING a", "int"), ("APPEND a ''", 4), ("SET t v EX 100", .ok),
            ("APPEND t w", 2), ("SETRANGE t 0 x", 2), ("TTL t", 100),
        ])
    }

    @Test func lengthLimitIsForClientsOnly() {
        let server = CommandHarness()
        server.executor.pointee.settings.maxBulkLength = 10
        let tooLong = Reply.error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        check(
            [
                ("SET k 123456789", .ok), ("APPEND k 0", 10), ("APPEND k x", tooLong),
                ("SETRANGE k 9 ab", tooLong), ("STRLEN k", 10),
            ], on: server)
        server.session.pointee.flags.insert(.fromPrimary)
        server.run("APPEND", "k", "x")
        server.session.pointee.flags.remove(.fromPrimary)
        #expect(server.run("STRLEN", "k") == 11)
    }

    @Test func counters() {
        check([
            ("INCR n", 1), ("INCR n", 2), ("DECR n", 1), ("INCRBY n 41", 42), ("DECRBY n 50", -8),
            ("GET n", "-8"), ("SET n 9223372036854775806", .ok), ("INCR n", .integer(.max)),
            ("INCR n", .error("ERR increment or decrement would overflow")),
            ("SET n -9223372036854775808", .ok),
            ("DECR n", .error("ERR increment or decrement would overflow")),
            ("DECRBY n -9223372036854775808", .error("ERR decrement would overflow")),
            ("INCRBY n 1.5", notInteger), ("INCRBY n x", notInteger), ("SET s abc", .ok),
            ("INCR s", notInteger), ("SET s 007", .ok), ("INCR s", notInteger),
            ("SET s 5 EX 100", .ok), ("INCR s", 6), ("TTL s", 100), ("INCRBY n 0", .integer(.min)),
            ("SET big 99999999999999999999", .ok), ("INCR big", notInteger), ("DECR new", -1),
        ])
        let server = CommandHarness()
        server.run("SET", "s", " 1")
        #expect(server.run("INCR", "s") == notInteger)
    }

    @Test func floats() {
        check([
            ("INCRBYFLOAT f 1.5", "1.5"), ("INCRBYFLOAT f 1.5", "3"), ("GET f", "3"),
            ("INCRBYFLOAT f -3", "0"), ("SET f 10.50", .ok), ("INCRBYFLOAT f 0.1", "10.6"),
            ("SET f 3.0e3", .ok), ("INCRBYFLOAT f 200", "3200"), ("SET f abc", .ok),
            ("INCRBYFLOAT f 1", notFloat), ("INCRBYFLOAT n x", notFloat),
            ("INCRBYFLOAT n nan", notFloat), ("EXISTS n", 0), ("SET f 5", .ok),
            ("INCRBYFLOAT f +inf", .error("ERR increment would produce NaN or Infinity")),
            ("INCRBYFLOAT f 1e400", .bulk(Self.tenToThe400Plus5)), ("SET t 1 EX 50", .ok),
            ("INCRBYFLOAT t 1", "2"), ("TTL t", 50), ("INCR t", 3),
        ])
    }

    /// Long doubles have a larger range than doubles; only the length is worth a test.
    private static var tenToThe400Plus5: String {
        let server = CommandHarness()
        server.run("SET", "f", "5")
        let text = server.run("INCRBYFLOAT", "f", "1e400").text ?? ""
        #expect(text.count == 401)
        return text
    }

    @Test func severalKeys() {
        check([
            ("MSET a 1 b 2 c 3", .ok), ("MGET a b c d", ["1", "2", "3", .null]),
            ("MSET a 1 b", wrongArity("mset")), ("MSETNX x 1 a 2", 0), ("EXISTS x", 0),
            ("MSETNX x 1 y 2", 1), ("MGET x y", ["1", "2"]), ("MSETNX x 1 y", wrongArity("msetnx")),
            ("MSET a 9 a 8", .ok), ("GET a", "8"), ("MGET a a", ["8", "8"]),
            ("MSETNX z 1 z 2", 1), ("GET z", "2"), ("SET t v EX 9", .ok), ("MSET t w", .ok),
            ("TTL t", -1),
        ])
    }

    /// More keys than one prefetch group holds.
    @Test(arguments: [15, 16, 17, 32, 33, 100]) func manyKeys(count: Int) {
        let server = CommandHarness()
        let pairs = (0..<count).flatMap { ["key:\($0)", "value:\($0)"] }
        let keys = (0..<count).map { "key:\($0)" }
        #expect(server.run(["MSET"] + pairs) == .ok)
        #expect(server.run(["MGET"] + keys) == .array((0..<count).map { .bulk("value:\($0)") }))
        #expect(server.run(["EXISTS"] + keys + ["none"]) == .integer(Int64(count)))
        #expect(server.run(["MSETNX"] + pairs) == 0)
        #expect(server.run(["DEL", "none"] + keys) == .integer(Int64(count)))
        #expect(server.run("DBSIZE").isError || server.keyspace.count(database: 0) == 0)
    }

    @Test func longestCommonSubsequence() {
        let runs: Reply = [
            "matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len", 6,
        ]
        let withLengths: Reply = ["matches", [[[4, 7], [5, 8], 4]], "len", 6]
        check([
            ("MSET a ohmytext b mynewtext", .ok), ("LCS a b", "mytext"), ("LCS a b LEN", 6),
            ("LCS a b IDX", runs), ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", withLengths),
            ("LCS a none", ""), ("LCS a none LEN", 0),
            ("LCS none none2 IDX", ["matches", [], "len", 0]),
            ("LCS a b MINMATCHLEN", syntaxError), ("LCS a b MINMATCHLEN x", notInteger),
            ("LCS a b nope", syntaxError),
            (
                "LCS a b IDX LEN",
                .error("ERR If you want both the length and indexes, please just use IDX.")
            ),
            ("MSET n 123456 m 3456", .ok), ("LCS n m", "3456"), ("LCS a a LEN", 8),
        ])
        let server = CommandHarness()
        server.executor.pointee.settings.maxBulkLength = 100
        check(
            [
                ("MSET a aaaaaaaaaa b bbbbbbbbbb", .ok),
                (
                    "LCS a b",
                    .error(
                        "ERR Insufficient memory, transient memory for LCS exceeds "
                            + "proto-max-bulk-len")
                ),
            ], on: server)
    }
}

extension Reply: ExpressibleByArrayLiteral {
    init(arrayLiteral elements: Reply...) { self = .array(elements) }
}
