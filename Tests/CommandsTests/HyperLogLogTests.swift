// HyperLogLogs, in process: replies and errors, both encodings against each other and against plain
// registers, known bytes, what is propagated, and strings that only look like HyperLogLogs.
import Base
import Commands
import Engine
import Storage
import Testing

private let damaged = Reply.error("INVALIDOBJ Corrupted HLL object detected")
private let notValid = Reply.error("WRONGTYPE Key is not a valid HyperLogLog string value.")

@Suite struct HyperLogLogTests {
    @Test func addingAndCounting() {
        check([
            ("PFADD h a b c", 1), ("PFCOUNT h", 3), ("PFADD h a b c", 0), ("PFADD h d", 1),
            ("PFCOUNT h", 4), ("PFADD e", 1), ("PFADD e", 0), ("PFCOUNT e", 0),
            ("PFCOUNT none", 0), ("PFCOUNT h e none", 4), ("PFADD g d x y", 1),
            ("PFCOUNT h g", 6), ("PFMERGE m h g none", .ok), ("PFCOUNT m", 6),
            ("PFMERGE new", .ok), ("PFCOUNT new", 0), ("OBJECT ENCODING h", "raw"),
            ("SET s text", .ok), ("PFADD s a", notValid), ("PFCOUNT s", notValid),
            ("PFCOUNT h s", notValid), ("PFMERGE h s", notValid), ("SET s 12345678901234567", .ok),
            ("PFADD s a", notValid), ("PFCOUNT", wrongArity("pfcount")),
        ])
    }

    /// The bytes that the reference has after the same commands.
    @Test func bytesOfTheSparseEncoding() {
        let server = CommandHarness()
        server.run("PFADD", "h", "a", "b", "c")
        let header = Array("HYLL".utf8) + [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]
        let bytes = server.bytes(of: "h")
        #expect(Array(bytes.prefix(16)) == header)
        #expect(server.run("PFDEBUG", "ENCODING", "h") == .simple("sparse"))
        server.run("PFCOUNT", "h")
        #expect(Array(server.bytes(of: "h")[8..<16]) == [3, 0, 0, 0, 0, 0, 0, 0])
        #expect(server.run("PFDEBUG", "TODENSE", "h") == 1)
        #expect(server.run("PFDEBUG", "TODENSE", "h") == 0)
        #expect(server.bytes(of: "h").count == 12304)
        #expect(server.run("PFDEBUG", "DECODE", "h") == .error("ERR HLL encoding is not sparse"))
        #expect(server.run("PFDEBUG", "X", "h") == .error("ERR Unknown PFDEBUG subcommand 'X'"))
        #expect(
            server.run("PFDEBUG", "DECODE", "no")
                == .error("ERR The specified key does not exist"))
    }

    @Test func emptyIsOneRun() {
        let server = CommandHarness()
        server.run("PFADD", "h")
        #expect(server.run("PFDEBUG", "DECODE", "h") == "Z:16384")
        let registers = server.run("PFDEBUG", "GETREG", "h").elements
        #expect(registers == [Reply](repeating: 0, count: 16384))
    }

    @Test func theCachedCountIsPropagatedOnce() {
        let server = CommandHarness()
        server.run("PFADD", "h", "a")
        let offset = server.streamEnd
        server.run("PFCOUNT", "h")
        server.run("PFCOUNT", "h")
        server.run("PFADD", "h", "a")
        #expect(server.stream(from: offset) == [["PFCOUNT", "h"]])
    }

    @Test(arguments: [0, 100, 3000, 100_000])
    func theLimitOfTheSparseEncodingIsLive(limit: Int) {
        let server = CommandHarness()
        server.executor.pointee.settings.limits.hllSparseBytes = limit
        var isDense = false
        for number in 0..<2000 {
            server.run("PFADD", "h", "element-\(number)")
            let dense = server.run("PFDEBUG", "ENCODING", "h") == .simple("dense")
            #expect(dense || !isDense, "never back to sparse")
            isDense = dense
            if !dense { #expect(server.bytes(of: "h").count <= max(limit, 18)) }
        }
        #expect(isDense == (limit < 4000))
    }

    @Test(arguments: 1...6)
    func encodingsAgree(seed: UInt64) {
        let server = CommandHarness()
        var random = Prng(seed: seed)
        server.run("PFADD", "dense")
        server.run("PFDEBUG", "TODENSE", "dense")
        server.executor.pointee.settings.limits.hllSparseBytes = 1 << 20
        for round in 1...20 {
            let words = (0..<50).map { _ in "w\(random.next() % 5000)" }
            server.run(["PFADD", "sparse"] + words)
            server.run(["PFADD", "dense"] + words)
            server.run(["PFADD", "part\(round % 4)"] + words)
            let count = server.run("PFCOUNT", "dense")
            #expect(server.run("PFCOUNT", "sparse") == count)
            #expect(server.run("PFCOUNT", "part0", "part1", "part2", "part3") == count)
        }
        #expect(server.run("PFDEBUG", "ENCODING", "sparse") == .simple("sparse"))
        server.run("PFMERGE", "merged", "part0", "part1", "part2", "part3")
        let registers = server.run("PFDEBUG", "GETREG", "merged")
        #expect(server.run("PFDEBUG", "GETREG", "dense") == registers)
        #expect(server.run("PFDEBUG", "GETREG", "sparse") == registers)
    }

    @Test func estimatesAreNearTheTruth() {
        let server = CommandHarness()
        for hundred in 0..<100 {
            server.run(["PFADD", "h"] + (0..<100).map { "e\(hundred)-\($0)" })
        }
        let count = server.run("PFCOUNT", "h").integer ?? 0
        #expect(abs(count - 10_000) < 300)
    }

    @Test func selfTest() {
        #expect(CommandHarness().run("PFSELFTEST") == .ok)
    }

    @Test func damageIsReported() {
        let server = CommandHarness()
        server.run("PFADD", "h", "a", "b", "c")
        server.run("APPEND", "h", "hello")
        #expect(server.run("PFCOUNT", "h") == damaged)
        #expect(server.run("PFCOUNT", "h", "g") == damaged)
        #expect(server.run("PFMERGE", "g", "h") == damaged)
        #expect(server.run("PFDEBUG", "GETREG", "h") == damaged)
        let unknown = Array("HYLL".utf8) + [2] + [UInt8](repeating: 0, count: 11)
        server.run(bytes: [Array("SET".utf8), [103], unknown])
        #expect(server.run("PFCOUNT", "g") == notValid)
    }

    /// Any string that a client can store: an error or a number, and the server goes on.
    @Test(arguments: 1...40)
    func hostileStrings(seed: UInt64) {
        let server = CommandHarness()
        var random = Prng(seed: seed)
        server.run(["PFADD", "h"] + (0..<40).map { "e\($0)" })
        if seed % 4 == 0 { server.run("PFDEBUG", "TODENSE", "h") }
        let sound = server.bytes(of: "h")
        for _ in 0..<60 {
            var bytes = sound
            for _ in 0..<(random.next() % 6 + 1) {
                let at = Int(random.next() % UInt64(bytes.count))
                bytes[at] = UInt8(truncatingIfNeeded: random.next())
            }
            if random.next() % 4 == 0 {
                bytes.removeLast(Int(random.next() % UInt64(min(bytes.count, 9))))
            }
            server.run(bytes: [Array("SET".utf8), [107], bytes])
            server.run("SET", "copy", "x")
            for words in [
                ["PFCOUNT", "k"], ["PFCOUNT", "k", "h"], ["PFDEBUG", "DECODE", "k"],
                ["PFADD", "k"] + (0..<30).map { "n\($0 &* Int(seed))" },
                ["PFMERGE", "m", "k", "h"], ["PFMERGE", "k", "h"], ["PFDEBUG", "GETREG", "k"],
            ] {
                #expect(server.run(words) != .error("NOREPLY"))
            }
        }
        server.keyspace.checkInvariants()
    }
}
