// Hashes and sets: what is propagated, which events are sent, and arguments that mean harm. What
// the commands answer is compared with the reference by the wire tests.
import Base
import Commands
import Engine
import Storage
import Testing

@Suite struct FieldTests {
    @Test func whatRandomCommandsTookIsPropagated() {
        let harness = CommandHarness()
        harness.run("SADD", "s", "a", "b", "c", "d")
        let start = harness.streamEnd
        let popped = harness.run("SPOP", "s").text ?? ""
        #expect(harness.stream(from: start) == [["SREM", "s", popped]])
        let middle = harness.streamEnd
        let two = harness.run("SPOP", "s", "2").elements.compactMap(\.text)
        #expect(harness.stream(from: middle) == [["SREM", "s"] + two])
        let end = harness.streamEnd
        harness.run("SPOP", "s", "5")
        #expect(harness.stream(from: end) == [["DEL", "s"]])
        #expect(harness.run("EXISTS", "s") == 0)
    }

    @Test func longPopsArePropagatedInParts() {
        let harness = CommandHarness()
        harness.run(["SADD", "s"] + (0..<3000).map(String.init))
        let start = harness.streamEnd
        harness.run("SPOP", "s", "2500")
        let sizes = harness.stream(from: start).map(\.count)
        // A transaction holds them together.
        #expect(sizes.filter { $0 > 2 } == [1026, 1026, 454])
        #expect(harness.run("SCARD", "s") == 500)
    }

    @Test func sumsArePropagatedAsValues() {
        let harness = CommandHarness()
        let start = harness.streamEnd
        harness.run("HINCRBYFLOAT", "h", "f", "1.5")
        #expect(harness.stream(from: start).last == ["HSET", "h", "f", "1.5"])
    }

    @Test func formsChangeWhereTheReferenceChangesThem() {
        let harness = CommandHarness()
        harness.run("HSET", "h", "f", String(repeating: "x", count: 64))
        #expect(harness.run("OBJECT", "ENCODING", "h") == "listpack")
        harness.run("HSET", "h", "f", String(repeating: "x", count: 65))
        #expect(harness.run("OBJECT", "ENCODING", "h") == "hashtable")
        harness.run(["SADD", "s"] + (0..<512).map(String.init))
        #expect(harness.run("OBJECT", "ENCODING", "s") == "intset")
        harness.run("SADD", "s", "512")
        #expect(harness.run("OBJECT", "ENCODING", "s") == "hashtable")
        harness.run("SADD", "t", "1", "x")
        #expect(harness.run("OBJECT", "ENCODING", "t") == "listpack")
    }

    @Test func hostileCountsAreErrorsOrBounded() {
        let harness = CommandHarness()
        harness.run("SADD", "s", "a")
        harness.run("HSET", "h", "f", "v")
        let least = "-9223372036854775808"
        #expect(harness.run("SPOP", "s", least).isError)
        #expect(harness.run("SRANDMEMBER", "s", least).isError)
        #expect(harness.run("HRANDFIELD", "h", least).isError)
        #expect(harness.run("HRANDFIELD", "h", "9223372036854775807").elements.count == 1)
        #expect(harness.run("SINTERCARD", "9223372036854775807", "s").isError)
        #expect(harness.run("HSCAN", "h", "0", "COUNT", "9223372036854775807").elements.count == 2)
        #expect(harness.run("SSCAN", "s", "18446744073709551615").elements.count == 2)
        #expect(harness.run("SORT", "s", "ALPHA", "LIMIT", least, least) == .array(["a"]))
    }

    /// Valid checksums around damaged values: refused, and nothing leaks (the harness checks that
    /// when its keyspace ends).
    @Test(arguments: Array(1...30) as [UInt64])
    func damagedPayloadsAreRefused(seed: UInt64) {
        var prng = Prng(seed: seed)
        let harness = CommandHarness()
        harness.executor.pointee.checksDumpPayloads = false
        harness.run("HSET", "h", "f1", "v1", "f2", "12345")
        harness.run("SADD", "s", "1", "2", "300000")
        harness.run("SADD", "t", "1", "b", "c")
        harness.run(["HSET", "big"] + (0..<1200).map { "x\($0)" })
        for key in ["h", "s", "t", "big"] {
            harness.feed(CommandHarness.encode([Array("DUMP".utf8), Array(key.utf8)]))
            let raw = harness.session.pointee.output.pointee.bytes.array
            _ = harness.replies()
            guard let head = raw.firstIndex(of: 10) else { continue }
            let payload = Array(raw[(head + 1)..<(raw.count - 2)])
            for _ in 0..<60 {
                var damaged = payload
                let body = damaged.count - 10
                for _ in 0..<(1 + prng.below(3)) {
                    damaged[prng.below(body)] = UInt8(prng.below(256))
                }
                let words = ["RESTORE", "copy", "0"].map { Array($0.utf8) }
                let reply = harness.run(bytes: words + [damaged, Array("REPLACE".utf8)])
                if !reply.isError { harness.run("DEBUG", "DIGEST-VALUE", "copy") }
            }
        }
        harness.keyspace.checkInvariants()
    }

    /// What a batch asks for ahead may be gone, or of another type, when its turn comes.
    @Test func pipelinesOnLargeCollections() {
        let harness = CommandHarness()
        let names = (0..<6000).map { "m\($0)" }
        harness.run(["SADD", "s"] + names)
        harness.run(["HSET", "h"] + names.flatMap { [$0, "v"] })
        harness.run(["ZADD", "z"] + names.flatMap { ["1", $0] })
        let requests: [[String]] = [
            ["SADD", "s", "m1"], ["SADD", "s", "new"], ["SREM", "s", "m2"],
            ["SISMEMBER", "s", "m2"], ["HGET", "h", "m5"], ["HSET", "h", "m5", "w"],
            ["HGET", "h", "m5"], ["HDEL", "h", "m5"], ["HGET", "h", "m5"], ["ZSCORE", "z", "m9"],
            ["ZADD", "z", "2", "m9"], ["ZSCORE", "z", "m9"], ["ZREM", "z", "m9"],
            ["ZRANK", "z", "m9"], ["DEL", "h"], ["HGET", "h", "m7"], ["SADD", "h", "m7"],
            ["HGET", "h", "m7"], ["SISMEMBER", "h", "m7"], ["ZADD", "z", "nan", "m8"],
        ]
        let bytes = requests.flatMap { words in
            CommandHarness.encode(words.map { Array($0.utf8) })
        }
        harness.feed(bytes)
        let together = harness.replies()
        #expect(together.count == requests.count)
        let expected: [Reply] = [
            0, 1, 1, 0, "v", 0, "w", 1, .null, "1", 0, "2", 1, .null, 1, .null, 1,
        ]
        #expect(Array(together.prefix(expected.count)) == expected)
        #expect(together[18] == 1)
    }
}
