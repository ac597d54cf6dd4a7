// The bitmap group, in process: replies, errors, limits, what is propagated; counting, finding and
// fields of any width against the naive way, bit by bit.
import Base
import Commands
import Engine
import Storage
import Testing

/// Bits as plainly as can be.
private struct NaiveBits {
    var bits: [Bool] = []

    init(_ bytes: [UInt8]) {
        for byte in bytes {
            for shift in (0..<8).reversed() { bits.append((byte >> shift) & 1 == 1) }
        }
    }

    subscript(_ index: Int) -> Bool { index < bits.count && bits[index] }

    func field(_ offset: Int, _ width: Int, isSigned: Bool) -> Int64 {
        var value: UInt64 = 0
        for index in 0..<width { value = (value << 1) | (self[offset + index] ? 1 : 0) }
        if isSigned, width < 64, value >> UInt64(width - 1) == 1 {
            value |= UInt64.max << UInt64(width)
        }
        return Int64(bitPattern: value)
    }
}

@Suite struct BitmapTests {
    @Test func singleBits() {
        check([
            ("GETBIT k 0", 0), ("SETBIT k 7 1", 0), ("GETBIT k 7", 1), ("GETBIT k 6", 0),
            ("GET k", "\u{1}"), ("SETBIT k 7 0", 1), ("STRLEN k", 1), ("SETBIT k 17 1", 0),
            ("STRLEN k", 3), ("GETBIT k 1000000", 0), ("OBJECT ENCODING k", "raw"),
            ("SET n 1", .ok), ("GETBIT n 2", 1), ("SETBIT n 6 1", 0), ("GET n", "3"),
            ("SETBIT k -1 1", .error("ERR bit offset is not an integer or out of range")),
            ("SETBIT k 4294967296 1", .error("ERR bit offset is not an integer or out of range")),
            ("GETBIT k x", .error("ERR bit offset is not an integer or out of range")),
            ("SETBIT k 1 2", .error("ERR bit is not an integer or out of range")),
            ("SETBIT k 1 x", .error("ERR bit is not an integer or out of range")),
            ("SETBIT k", wrongArity("setbit")),
        ])
    }

    @Test func whatChangesNothingIsNotPropagated() {
        let server = CommandHarness()
        server.run("SETBIT", "k", "9", "0")
        let offset = server.streamEnd
        server.run("SETBIT", "k", "9", "0")
        server.run("BITFIELD", "k", "SET", "u4", "0", "0")
        #expect(server.streamEnd == offset)
        server.run("SETBIT", "k", "9", "1")
        server.run("BITFIELD", "k", "OVERFLOW", "FAIL", "SET", "u1", "100", "2")
        #expect(
            server.stream(from: offset) == [
                ["SETBIT", "k", "9", "1"],
                ["BITFIELD", "k", "OVERFLOW", "FAIL", "SET", "u1", "100", "2"],
            ])
    }

    @Test func countsAndPositions() {
        check([
            ("SET k foobar", .ok), ("BITCOUNT k", 26), ("BITCOUNT k 0 0", 4),
            ("BITCOUNT k 1 1", 6), ("BITCOUNT k 0 -5", 10), ("BITCOUNT k 5 30 BIT", 17),
            ("BITCOUNT k 0 0 BYTE", 4), ("BITCOUNT k 9 8 BIT", 0), ("BITCOUNT none", 0),
            ("BITCOUNT none x", 0), ("BITCOUNT k 1", syntaxError), ("BITCOUNT k x 1", notInteger),
            ("BITCOUNT k 1 2 WHAT", syntaxError), ("BITCOUNT k -1 -2 WHAT", 0),
            ("BITPOS k 1", 1), ("BITPOS k 0", 0), ("BITPOS k 1 1", 9), ("BITPOS k 0 10", -1),
            ("BITPOS none 0", 0), ("BITPOS none 1", -1), ("BITPOS k 2", bitArgument),
            ("BITPOS k 1 0 -1 BIT", 1), ("BITPOS k 1 8 15 BIT", 9),
            ("BITPOS k 1 0 0 0 0", syntaxError),
            ("SETBIT z 100000 0", 0), ("BITPOS z 1", -1), ("BITPOS z 1 0 -1", -1),
            ("SETBIT z 100000 1", 0), ("BITPOS z 1", 100000),
            ("SETRANGE f 0 \u{7f}", 1), ("BITPOS f 0", 0),
        ])
    }

    private var bitArgument: Reply { .error("ERR The bit argument must be 1 or 0.") }

    @Test func operations() {
        check([
            ("SET a abc", .ok), ("SET b ab", .ok), ("BITOP AND d a b", 3), ("GET d", "ab\0"),
            ("BITOP OR d a b none", 3), ("GET d", "abc"), ("BITOP XOR d a b", 3),
            ("GET d", "\0\0c"), ("BITOP NOT d a", 3), ("BITOP NOT d d", 3), ("GET d", "abc"),
            ("BITOP and d none", 0), ("EXISTS d", 0), ("BITOP NOT d a b", notAlone),
            ("BITOP NAND d a", syntaxError), ("SET i 123", .ok), ("BITOP AND i i i", 3),
            ("OBJECT ENCODING i", "raw"), ("GET i", "123"),
            ("SETEX i 100 a", .ok), ("BITOP OR i a", 3), ("TTL i", -1),
        ])
    }

    private var notAlone: Reply {
        .error("ERR BITOP NOT must be called with a single source key.")
    }

    @Test func fields() {
        check([
            ("BITFIELD k INCRBY i5 100 1 GET u4 0", [1, 0]),
            ("BITFIELD b SET u8 0 255 GET u8 0", [0, 255]),
            ("BITFIELD b INCRBY u8 0 10", [9]), ("BITFIELD b SET i8 0 127", [9]),
            ("BITFIELD b OVERFLOW SAT INCRBY i8 0 100", [127]),
            ("BITFIELD b OVERFLOW FAIL INCRBY i8 0 1", .array([.null])),
            ("BITFIELD b OVERFLOW WRAP INCRBY i8 0 1", [-128]),
            ("BITFIELD b OVERFLOW SAT SET u8 0 -1 GET u8 0", [128, 255]),
            ("BITFIELD b OVERFLOW SAT INCRBY u8 0 -300", [0]),
            ("BITFIELD b SET i64 0 -9223372036854775808", [0]),
            ("BITFIELD b OVERFLOW SAT INCRBY i64 0 -1", [Reply.integer(.min)]),
            ("BITFIELD b INCRBY i64 0 -1", [Reply.integer(.max)]),
            ("BITFIELD b GET u8 #1", [255]),
            ("BITFIELD_RO b GET u63 0", [Reply.integer(.max >> 1)]),
            ("BITFIELD_RO b SET u8 0 1", onlyGet),
            ("BITFIELD b GET u64 0", badType), ("BITFIELD b GET i65 0", badType),
            ("BITFIELD b GET x 0", badType), ("BITFIELD b GET u0 0", badType),
            ("BITFIELD b GET u8", syntaxError),
            ("BITFIELD b OVERFLOW X", .error("ERR Invalid OVERFLOW type specified")),
            ("BITFIELD b", []), ("BITFIELD none GET u8 0", [0]), ("EXISTS none", 0),
            ("BITFIELD b GET u8 #9223372036854775807", badOffset),
        ])
    }

    private var onlyGet: Reply { .error("ERR BITFIELD_RO only supports the GET subcommand") }
    private var badOffset: Reply { .error("ERR bit offset is not an integer or out of range") }
    private var badType: Reply {
        .error(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not "
                + "supported but i64 is.")
    }

    @Test(arguments: 1...8)
    func againstTheNaiveWay(seed: UInt64) {
        let server = CommandHarness()
        var random = Prng(seed: seed)
        for _ in 0..<60 {
            let length = Int(random.next() % 80)
            let fill = random.next() % 3
            let bytes = (0..<length).map { _ -> UInt8 in
                fill == 0 ? 0 : fill == 1 ? 0xFF : UInt8(truncatingIfNeeded: random.next())
            }
            server.run(bytes: [Array("SET".utf8), [107], bytes])
            let naive = NaiveBits(bytes)
            let first = Int(random.next() % UInt64(length * 8 + 8))
            let last = Int(random.next() % UInt64(length * 8 + 8))
            let range = first <= last ? first..<min(last + 1, max(length * 8, first)) : 0..<0
            #expect(
                server.run("BITCOUNT", "k", "\(first)", "\(last)", "BIT")
                    == .integer(Int64(range.filter { naive[$0] }.count)))
            for bit in [true, false] {
                let found = range.first { naive[$0] == bit } ?? -1
                #expect(
                    server.run("BITPOS", "k", bit ? "1" : "0", "\(first)", "\(last)", "BIT")
                        == .integer(Int64(found)), "\(bytes) \(first) \(last)")
            }
            let width = Int(random.next() % 63) + 1
            for isSigned in [true, false] {
                let type = (isSigned ? "i" : "u") + "\(width)"
                #expect(
                    server.run("BITFIELD", "k", "GET", type, "\(first)")
                        == [.integer(naive.field(first, width, isSigned: isSigned))])
            }
        }
    }

    @Test(arguments: 1...8)
    func whatIsWrittenIsReadAndNothingElse(seed: UInt64) {
        let server = CommandHarness()
        var random = Prng(seed: seed)
        server.run("SETBIT", "k", "799", "0")
        for _ in 0..<200 {
            let before = NaiveBits(server.bytes(of: "k"))
            let width = Int(random.next() % 64) + 1
            let offset = Int(random.next() % UInt64(800 - width))
            let spare = UInt64(64 - width)
            let value = (Int64(bitPattern: random.next()) << spare) >> spare
            server.run("BITFIELD", "k", "SET", "i\(width)", "\(offset)", "\(value)")
            let after = NaiveBits(server.bytes(of: "k"))
            #expect(after.field(offset, width, isSigned: true) == value)
            for index in 0..<800 where index < offset || index >= offset + width {
                #expect(after[index] == before[index])
            }
        }
    }
}

extension CommandHarness {
    /// The bytes of a string, which need not be text.
    func bytes(of key: String) -> [UInt8] {
        key.withBytes { name in
            guard let entry = keyspace.find(keyspace.key(name, database: 0)) else { return [] }
            return entry.storedBytes?.array ?? []
        }
    }
}
