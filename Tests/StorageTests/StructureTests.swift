// Layouts, scanning, the expiry index, eviction, slots, lazy freeing: each against a plain model.
import Base
import HashSlots
import Storage
import Testing

private func filled(
    _ count: Int,
    slotted: Bool = false,
    seed: UInt64 = 3,
    databases: Int = 1
) -> Keyspace {
    let keyspace = Keyspace(
        databases: databases,
        slotted: slotted,
        sipKey: SipKey(seed, 5),
        seed: seed
    )
    for number in 0..<count { set(keyspace, number) }
    return keyspace
}

private func set(_ keyspace: Keyspace, _ number: Int, at time: Int64? = nil) {
    Array("key:\(number)".utf8).withBytes { bytes in
        let key = keyspace.key(bytes, database: 0)
        keyspace.setString(
            key,
            Bytes("value"),
            expiry: time.map { ExpiryChange.at($0) } ?? .clear
        )
    }
}

private func remove(_ keyspace: Keyspace, _ number: Int) {
    Array("key:\(number)".utf8).withBytes { bytes in
        _ = keyspace.remove(keyspace.key(bytes, database: 0))
    }
}

private func number(_ entry: Entry) -> Int { Int(entry.key.string.dropFirst(4)) ?? -1 }

@Suite struct StructureTests {
    @Test func handlesAreSmall() {
        #expect(MemoryLayout<Keyspace>.size == 8)
        #expect(MemoryLayout<Entry>.size == 8)
        #expect(MemoryLayout<Memory>.size == 8)
        #expect(MemoryLayout<KeyRef>.size <= 32)
    }

    @Test func everySmallEntryKeepsItsParts() {
        let keyspace = filled(0)
        for keyLength in Array(0...40) + [254, 255, 256, 257, 900, 1100, 70_000] {
            for valueLength in Array(0...40) + [44, 45, 900, 1000, 1001, 1100, 70_000] {
                let name = [UInt8](repeating: 65, count: keyLength)
                let value = [UInt8](repeating: 66, count: valueLength)
                for time in [nil, 5, Int64.max] as [Int64?] {
                    name.withBytes { bytes in
                        let key = keyspace.key(bytes, database: 0)
                        let entry = value.withBytes {
                            keyspace.setString(
                                key,
                                $0,
                                expiry: time.map { .at($0) } ?? .clear
                            )
                        }
                        #expect(entry.key == bytes && entry.stringLength == valueLength)
                        #expect(read(entry) == ModelValue(value: value, expiry: time))
                        #expect(keyspace.find(key) == entry)
                        let name = keyspace.stringEncodingName(entry)
                        #expect(Bytes(name) == (valueLength <= 44 ? "embstr" : "raw"))
                    }
                }
            }
        }
        keyspace.destroy()
    }

    @Test func encodingNamesFollowTheReference() {
        let keyspace = filled(0)
        let key = keyspace.key(Bytes("k"), database: 0)
        func name(_ entry: Entry?) -> String {
            entry.map { Bytes(keyspace.stringEncodingName($0)).string } ?? "none"
        }
        #expect(name(keyspace.setString(key, Bytes("12"), expiry: .clear)) == "int")
        #expect(name(keyspace.setString(key, Bytes("012"), expiry: .clear)) == "embstr")
        #expect(
            name(keyspace.setString(key, Bytes("3.5"), expiry: .clear, asBytes: true)) == "embstr"
        )
        keyspace.resizeString(key, to: 4)[3] = 65
        #expect(name(keyspace.find(key)) == "raw")
        #expect(name(keyspace.setInteger(key, -5, expiry: .clear)) == "int")
        keyspace.destroy()
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func scanMeetsAllThatStays(seed: UInt64) {
        let slotted = seed > 2
        let keyspace = filled(3000, slotted: slotted, seed: seed)
        var prng = Prng(seed: seed)
        var high = 3000
        for round in 0..<12 {
            // Keys below 500 stay; above them the table grows and shrinks many times over.
            var seen: Set<Int> = []
            var cursor: UInt64 = 0
            repeat {
                cursor = keyspace.scan(database: 0, cursor: cursor, budget: 10) {
                    seen.insert(number($0))
                }
                let grows = round % 2 == 0
                for _ in 0..<prng.below(60) {
                    if grows {
                        set(keyspace, high)
                        high += 1
                    } else if high > 500 {
                        high -= 1
                        remove(keyspace, high)
                    }
                }
            } while cursor != 0
            #expect(seen.isSuperset(of: 0..<500), "seed \(seed) round \(round)")
            keyspace.checkInvariants()
        }
        keyspace.destroy()
    }

    @Test func scanWithoutChangesIsExact() {
        for count in [0, 1, 6, 7, 8, 100, 5000] {
            for slotted in [false, true] {
                let keyspace = filled(count, slotted: slotted)
                while keyspace.rehashSlice(buckets: 1000) {}
                var seen: [Int] = []
                var cursor: UInt64 = 0
                repeat {
                    cursor = keyspace.scan(database: 0, cursor: cursor, budget: 7) {
                        seen.append(number($0))
                    }
                } while cursor != 0
                #expect(seen.sorted() == Array(0..<count))
                keyspace.destroy()
            }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func keysExpireInOrder(seed: UInt64) {
        let keyspace = filled(0, slotted: seed == 5, seed: seed)
        var prng = Prng(seed: seed)
        var times: [Int: Int64] = [:]
        let spread = [1, 100, 1 << 40, 20, 1000][Int(seed) - 1]
        for step in 0..<20_000 {
            let id = prng.below(6000)
            if prng.below(4) == 0 {
                remove(keyspace, id)
                times[id] = nil
            } else {
                // Seed 4: times that only grow, as with a fixed time to live.
                let time = seed == 4 ? Int64(step / 5) : Int64(prng.below(spread))
                set(keyspace, id, at: time)
                times[id] = time
            }
            if step % 4000 == 0 { keyspace.checkInvariants() }
        }
        keyspace.checkInvariants()
        #expect(keyspace.earliestExpiry(database: 0) == times.values.min())
        let mean = times.values.reduce(Int128(0)) { $0 + Int128($1) } / Int128(times.count)
        #expect(keyspace.averageTTL(database: 0, now: 0) == Int64(mean))
        let middle = times.values.sorted()[times.count / 2]
        var last = Int64.min
        while let entry = keyspace.nextExpired(database: 0, now: middle) {
            let id = number(entry)
            #expect(entry.expiresAt >= last && entry.expiresAt < middle)
            #expect(times.removeValue(forKey: id) == entry.expiresAt)
            last = entry.expiresAt
            remove(keyspace, id)
        }
        #expect(times.values.allSatisfy { $0 >= middle })
        #expect(keyspace.expiringCount(database: 0) == times.count)
        keyspace.checkInvariants()
        keyspace.destroy()
    }

    @Test func evictionPrefersTheIdle() {
        for policy in [EvictionPolicy.allKeysLRU, .volatileLRU, .allKeysLFU, .volatileLFU] {
            let keyspace = filled(0)
            keyspace.configureAccess(
                usesFrequency: policy.usesFrequency,
                logFactor: 0,
                decayMinutes: 1
            )
            keyspace.advanceClock(milliseconds: 1_000_000)
            for id in 0..<1000 { set(keyspace, id, at: policy.isVolatile ? 9 << 40 : nil) }
            if policy.isVolatile { set(keyspace, 5000) }
            keyspace.advanceClock(milliseconds: 1_040_000)
            for id in 0..<500 {
                Array("key:\(id)".utf8).withBytes { bytes in
                    let key = keyspace.key(bytes, database: 0)
                    if let entry = keyspace.find(key) { keyspace.touch(entry) }
                }
            }
            var used = 0
            for _ in 0..<300 {
                guard let victim = keyspace.evictionCandidate(policy, samples: 5) else { break }
                let id = number(victim.entry)
                #expect(!policy.isVolatile || id != 5000)
                if id < 500 { used += 1 }
                remove(keyspace, id)
            }
            #expect(used < 15, "\(policy) gave up \(used) keys in use")
            #expect(keyspace.count(database: 0) == (policy.isVolatile ? 701 : 700))
            keyspace.destroy()
        }
    }

    @Test func otherPolicies() {
        let keyspace = filled(100)
        #expect(keyspace.evictionCandidate(.noEviction, samples: 5) == nil)
        #expect(keyspace.evictionCandidate(.volatileTTL, samples: 5) == nil)
        #expect(keyspace.evictionCandidate(.volatileRandom, samples: 5) == nil)
        #expect(keyspace.evictionCandidate(.volatileLRU, samples: 5) == nil)
        #expect(keyspace.evictionCandidate(.allKeysRandom, samples: 5) != nil)
        for id in [7, 8, 9] { set(keyspace, id, at: Int64(1000 - id)) }
        let soonest = keyspace.evictionCandidate(.volatileTTL, samples: 1)
        #expect(soonest.map { number($0.entry) } == 9)
        keyspace.destroy()
    }

    @Test func randomKeysAreSpread() {
        for slotted in [false, true] {
            let keyspace = filled(100, slotted: slotted)
            var hits = [Int](repeating: 0, count: 100)
            for _ in 0..<20_000 {
                guard let entry = keyspace.randomEntry(database: 0) else { continue }
                hits[number(entry)] += 1
            }
            #expect(hits.reduce(0, +) == 20_000)
            #expect((hits.min() ?? 0) > 100 && (hits.max() ?? 0) < 400)
            keyspace.destroy()
        }
    }

    @Test func slotsAreCountedListedAndDropped() {
        let keyspace = filled(0, slotted: true)
        for id in 0..<500 {
            Array("{tag}:\(id)".utf8).withBytes { bytes in
                let time: ExpiryChange = id % 2 == 0 ? .at(Int64(id)) : .clear
                _ = keyspace.setString(
                    keyspace.key(bytes, database: 0),
                    Bytes("v"),
                    expiry: time
                )
            }
            set(keyspace, id)
        }
        let slot = Array("tag".utf8).withBytes { $0.withSpan { Slot(key: $0) } }
        #expect(keyspace.count(inSlot: slot) == 500)
        var listed = 0
        keyspace.keys(inSlot: slot, limit: 33) { _ in listed += 1 }
        #expect(listed == 33)
        #expect(keyspace.expiringCount(database: 0) == 250)
        #expect(keyspace.removeSlot(slot) == 500)
        #expect(keyspace.count(inSlot: slot) == 0 && keyspace.count(database: 0) == 500)
        #expect(keyspace.expiringCount(database: 0) == 0)
        #expect(keyspace.lazyFreePending == 500)
        while keyspace.lazyFreeSlice(effort: 20) {}
        #expect(keyspace.lazyFreePending == 0 && keyspace.lazyFreed == 500)
        keyspace.checkInvariants()
        keyspace.destroy()
    }

    @Test func flushIsFreedInSlices() {
        let keyspace = filled(20_000, databases: 2)
        let full = keyspace.memory.used
        keyspace.flush(database: 0)
        #expect(keyspace.count(database: 0) == 0 && keyspace.lazyFreePending == 20_000)
        var slices = 0
        while keyspace.lazyFreeSlice(effort: 100) { slices += 1 }
        #expect(slices > 100)
        #expect(keyspace.memory.used < full / 20)
        keyspace.destroy()
    }

    @Test func longStringsGoToAnotherThread() {
        let keyspace = filled(0)
        let key = keyspace.key(Bytes("long"), database: 0)
        _ = keyspace.resizeString(key, to: 1 << 20)
        let used = keyspace.memory.used
        #expect(keyspace.unlink(key))
        #expect(used - keyspace.memory.used > 1 << 20)
        let chain = keyspace.takeBackgroundBlocks()
        #expect(chain != nil)
        Keyspace.freeBackgroundBlocks(chain)
        keyspace.destroy()
    }

    @Test func appendingIsAmortised() {
        let keyspace = filled(0)
        let key = keyspace.key(Bytes("log"), database: 0)
        var moves = 0
        var last: UnsafeMutablePointer<UInt8>?
        for length in 1...200_000 {
            let start = keyspace.resizeString(key, to: length)
            start[length - 1] = 120
            if start != last { moves += 1 }
            last = start
        }
        #expect(moves < 200)
        keyspace.destroy()
    }

    @Test func digestIgnoresOrderAndSeesEverything() {
        func digest(_ keyspace: Keyspace) -> [UInt8] {
            var out = [UInt8](repeating: 0, count: 20)
            out.withUnsafeMutableBufferPointer { buffer in
                if let start = buffer.baseAddress { keyspace.digest(to: start) }
            }
            return out
        }
        let a = filled(300, seed: 1)
        let b = filled(0, seed: 2)
        #expect(digest(b) == [UInt8](repeating: 0, count: 20))
        for id in (0..<300).reversed() { set(b, id) }
        #expect(digest(a) == digest(b))
        set(b, 7, at: 1 << 40)
        #expect(digest(a) != digest(b))
        a.destroy()
        b.destroy()
    }

    /// The expected digests were computed by redis-server 7.0.15 for the same keys.
    @Test func digestsEqualTheReference() {
        let keyspace = Keyspace(databases: 4, slotted: false, sipKey: SipKey(8, 8))
        func set(_ name: StaticString, _ value: StaticString, _ database: Int, _ at: Int64?) {
            keyspace.setString(
                keyspace.key(Bytes(name), database: database),
                Bytes(value),
                expiry: at.map { .at($0) } ?? .clear
            )
        }
        set("k1", "hello", 0, nil)
        set("k2", "123", 0, nil)
        set("k3", "v", 0, 1 << 40)
        set("other", "x", 3, nil)
        func hex(_ fill: (UnsafeMutablePointer<UInt8>) -> Void) -> String {
            let digits = Array("0123456789abcdef")
            return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { room in
                guard let start = room.baseAddress else { return "" }
                fill(start)
                return String(room.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
            }
        }
        #expect(hex { keyspace.digest(to: $0) } == "5dba39b5b44f2f457284e82a857961f93fd00704")
        for (name, expected) in [
            ("k1", "36b23a1456b2dce2c3ed252c456761301dba8060"),
            ("k2", "89f7f51b707418f666d5b45e053bd5bbbf82ac2b"),
            ("k3", "311b17018163335616e089f6b951c82c477335ac"),
        ] {
            name.withBytes { bytes in
                guard let entry = keyspace.find(keyspace.key(bytes, database: 0)) else {
                    Issue.record("a key is gone")
                    return
                }
                #expect(hex { keyspace.digestValue(entry, to: $0) } == expected)
            }
        }
        keyspace.destroy()
    }
}
