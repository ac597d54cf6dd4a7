// Active defragmentation moves blocks under the feet of every structure: after it the data is the
// same, everything is still found, and sparse slabs are gone.
import Base
import Engine
import Storage
import Testing

@Suite struct DefragTests {
    /// The digest of each key's value.
    private func digests(_ harness: CommandHarness) -> [String: [UInt8]] {
        var out: [String: [UInt8]] = [:]
        harness.keyspace.forEach(database: 0) { entry in
            var digest = [UInt8](repeating: 0, count: 20)
            digest.withUnsafeMutableBufferPointer { room in
                if let start = room.baseAddress { harness.keyspace.digestValue(entry, to: start) }
            }
            out[entry.key.string] = digest
        }
        return out
    }

    private func fill(_ harness: CommandHarness) {
        for index in 0..<6000 {
            harness.run("SET", "string:\(index)", String(repeating: "s", count: index % 60))
            if index % 3 == 0 { harness.run("PEXPIRE", "string:\(index)", "100000000") }
            harness.run("HSET", "hash", "field:\(index)", String(repeating: "v", count: index % 90))
            harness.run("SADD", "set", "member:\(index)")
            harness.run("ZADD", "zset", "\(index % 977)", "member:\(index)")
            harness.run("RPUSH", "list", "element:\(index)")
            if index % 10 == 0 {
                harness.run("HSET", "small:\(index)", "a", "\(index)", "b", "text \(index)")
                harness.run("SADD", "numbers:\(index)", "1", "2", "\(index)")
                harness.run("XADD", "stream", "*", "a", "\(index)")
            }
        }
    }

    private func thin(_ harness: CommandHarness, _ prng: inout Prng) {
        for index in 0..<6000 where prng.below(8) != 0 {
            harness.run("DEL", "string:\(index)", "small:\(index)", "numbers:\(index)")
            harness.run("HDEL", "hash", "field:\(index)")
            harness.run("SREM", "set", "member:\(index)")
            harness.run("ZREM", "zset", "member:\(index)")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func theDataStays(seed: UInt64) {
        let harness = CommandHarness(slotted: seed == 3, seed: seed)
        var prng = Prng(seed: seed)
        fill(harness)
        thin(harness, &prng)
        let before = digests(harness)
        let memory = harness.keyspace.memory
        let (used, wasted) = (memory.used, memory.wasted)
        var slices = 0
        for _ in 0..<4 {
            while !harness.keyspace.defragSlice(effort: 1 + prng.below(200)) {
                slices += 1
                // Changes in between.
                harness.run("SET", "between", "\(slices)")
                harness.run("HSET", "hash", "between", "\(slices)")
                harness.run("ZADD", "zset", "\(slices % 1000)", "between")
            }
        }
        harness.run("DEL", "between")
        harness.run("HDEL", "hash", "between")
        harness.run("ZREM", "zset", "between")
        #expect(digests(harness) == before)
        #expect(memory.used <= used + 65_536)
        #expect(harness.keyspace.defragCounts.hits > 1000 && slices > 10)
        // Each of the 57 classes keeps a slab that is not full: some megabytes at any size.
        #expect(memory.wasted + 500_000 < wasted, "\(wasted) bytes became \(memory.wasted)")
        // Everything is still found by its name, its order and its time.
        for index in 0..<6000 {
            let score = harness.run("ZSCORE", "zset", "member:\(index)")
            guard score != .null else { continue }
            #expect(harness.run("ZRANK", "zset", "member:\(index)").integer != nil)
        }
        let all = harness.run("ZCOUNT", "zset", "-inf", "+inf")
        #expect(harness.run("ZCARD", "zset") == all)
    }

    @Test func nothingToGainMovesLittle() {
        let harness = CommandHarness(seed: 9)
        fill(harness)
        while !harness.keyspace.defragSlice(effort: 100) {}
        let counts = harness.keyspace.defragCounts
        #expect(counts.hits * 5 < counts.misses)
        #expect(counts.keyHits + counts.keyMisses == harness.keyspace.count(database: 0))
    }
}
