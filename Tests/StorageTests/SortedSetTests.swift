// Sorted sets in both forms against a plain model: every change, every question, conversions,
// copies, digests, and that nothing is left when they are freed in slices.
import Base
import Storage
import Testing

private struct Pairing: Equatable {
    var name: [UInt8]
    var score: Double

    static func isBefore(_ a: Pairing, _ b: Pairing) -> Bool {
        a.score == b.score ? a.name.lexicographicallyPrecedes(b.name) : a.score < b.score
    }
}

private struct SetTwin {
    let heap = ObjectHeap(memory: Memory(), sipKey: SipKey(3, 4))
    var limits = EncodingLimits()
    var set: SortedSet
    var model: [[UInt8]: Double] = [:]

    init(entries: Int, value: Int) {
        limits.zsetEntries = entries
        limits.zsetValue = value
        set = SortedSet.make(expecting: 0, length: 0, limits, heap)
    }

    var ordered: [Pairing] {
        model.map { Pairing(name: $0.key, score: $0.value) }.sorted(by: Pairing.isBefore)
    }

    static func elements(
        _ set: SortedSet,
        _ range: Range<Int>,
        reversed: Bool = false
    ) -> [Pairing] {
        var out: [Pairing] = []
        set.forEach(in: range, reversed: reversed) { member, score in
            out.append(Pairing(name: withText(of: member) { $0.array }, score: score))
            return true
        }
        return out
    }

    mutating func add(_ name: [UInt8], _ score: Double, _ options: SortedSetAdd) {
        let old = model[name]
        let outcome = name.withBytes { set.add($0, score, options, limits, heap) }
        switch outcome {
        case .added(let now):
            #expect(old == nil && now == score && !options.contains(.onlyExisting))
            model[name] = now
        case .updated(let now):
            let sum = options.contains(.increment) ? (old ?? 0) + score : score
            #expect(old != nil && now == sum && now != old)
            model[name] = now
        case .same(let now): #expect(old == now)
        case .refused:
            let isRefused =
                options.contains(.onlyExisting) && old == nil
                || options.contains(.onlyNew) && old != nil
                || !options.isDisjoint(with: [.onlyGreater, .onlyLess]) && old != nil
            #expect(isRefused)
        case .notNumber: #expect(options.contains(.increment))
        }
    }

    func expectEqual(_ prng: inout Prng) {
        let all = ordered
        #expect(set.count == all.count)
        let ends = [prng.below(all.count + 1), prng.below(all.count + 1)].sorted()
        let range = ends[0]..<ends[1]
        #expect(SetTwin.elements(set, range) == Array(all[range]))
        #expect(SetTwin.elements(set, range, reversed: true) == all[range].reversed())
        for rank in all.indices where prng.chance(1, in: 8) {
            let element = all[rank]
            let found = element.name.withBytes { set.rank(of: $0, heap) }
            #expect(found?.rank == rank && found?.score == element.score)
            #expect(element.name.withBytes { set.score(of: $0, heap) } == element.score)
            #expect(set.element(rank).score == element.score)
        }
        for _ in 0..<4 {
            let low = Double(prng.below(12)) - 6
            let range = ScoreRange(
                min: low,
                max: low + Double(prng.below(6)) - 1,
                excludesMin: prng.chance(1, in: 2),
                excludesMax: prng.chance(1, in: 2)
            )
            let inside = all.filter {
                (range.excludesMin ? $0.score > range.min : $0.score >= range.min)
                    && (range.excludesMax ? $0.score < range.max : $0.score <= range.max)
            }
            #expect(SetTwin.elements(set, set.ranks(range)) == inside)
        }
    }

    func digest(_ set: SortedSet) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: DigestMixer.size)
        bytes.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            ObjectType.sortedSets.digest?(set.payload, set.encoding.rawValue, start)
        }
        return bytes
    }

    func finish() {
        set.free(heap)
        #expect(heap.memory.liveBlocks == 0 && heap.memory.used == 0)
        heap.memory.destroy()
    }
}

private func name(_ prng: inout Prng) -> [UInt8] {
    switch prng.below(8) {
    case 0: Array("\(prng.below(20) - 10)".utf8)
    case 1: Array(repeating: UInt8(prng.below(256)), count: prng.below(30))
    default: Array("member:\(prng.below(60))".utf8)
    }
}

private func score(_ prng: inout Prng) -> Double {
    switch prng.below(10) {
    case 0: [Double.infinity, -.infinity, 1e17, 0.1, -2.5e-7][prng.below(5)]
    case 1: Double(prng.below(100)) / 7
    default: Double(prng.below(10) - 5)
    }
}

@Suite struct SortedSetTests {
    @Test(arguments: Array(1...12) as [UInt64])
    func randomChangesInBothForms(seed: UInt64) {
        var prng = Prng(seed: seed)
        var twin = SetTwin(entries: [0, 8, 1000][Int(seed % 3)], value: seed % 2 == 0 ? 64 : 12)
        for _ in 0..<1500 {
            switch prng.below(10) {
            case 0:
                let name = name(&prng)
                let removed = name.withBytes { twin.set.remove($0, twin.heap) }
                #expect(removed == (twin.model.removeValue(forKey: name) != nil))
            case 1:
                let count = twin.set.count
                let first = prng.below(count + 1)
                let range = first..<min(count, first + prng.below(6))
                guard range.lowerBound <= range.upperBound else { continue }
                for element in twin.ordered[range] {
                    twin.model.removeValue(forKey: element.name)
                }
                twin.set.remove(ranks: range, twin.heap)
            default:
                let options = SortedSetAdd(rawValue: UInt8(prng.below(64)) & 31)
                let isPlain = prng.chance(2, in: 3)
                twin.add(name(&prng), score(&prng), isPlain ? [] : options)
            }
            if prng.chance(1, in: 10) { twin.expectEqual(&prng) }
        }
        twin.expectEqual(&prng)
        twin.finish()
    }

    @Test func formsConvertAtTheirLimits() {
        var twin = SetTwin(entries: 4, value: 8)
        for index in 0..<4 { twin.add(Array("m\(index)".utf8), Double(index), []) }
        #expect(twin.set.encoding == .listpack)
        twin.add(Array("m0".utf8), 9, [])
        #expect(twin.set.encoding == .listpack)
        let small = twin.digest(twin.set)
        twin.set.prepare(for: 5, twin.limits, twin.heap)
        #expect(twin.set.encoding == .skipList)
        #expect(twin.digest(twin.set) == small)
        twin.set.compact(twin.limits, twin.heap)
        #expect(twin.set.encoding == .listpack && twin.digest(twin.set) == small)
        twin.add(Array("longer than eight".utf8), 1, [])
        #expect(twin.set.encoding == .skipList)
        twin.set.compact(twin.limits, twin.heap)
        #expect(twin.set.encoding == .skipList)
        var prng = Prng(seed: 1)
        twin.expectEqual(&prng)
        twin.finish()
    }

    @Test func copiesAreIndependentAndFreedInSlices() {
        let keyspace = Keyspace(databases: 1, slotted: false, sipKey: SipKey(1, 2), seed: 1)
        let heap = keyspace.heap
        let blocksAtStart = heap.memory.liveBlocks
        let type = ObjectType.sortedSets
        for count in [5, 3000] {
            var set = SortedSet.make(expecting: count, length: 4, EncodingLimits(), heap)
            for index in 0..<count {
                Array("m\(index)".utf8).withBytes { name in
                    _ = set.add(name, Double(index % 7), [], EncodingLimits(), heap)
                }
            }
            let before = heap.memory.used
            guard let copied = type.copy?(set.payload, set.encoding.rawValue, keyspace.raw) else {
                Issue.record("sorted sets cannot be copied")
                continue
            }
            let copy = SortedSet(copied, set.encoding)
            let usage = type.memoryUsage?(set.payload, set.encoding.rawValue, 0) ?? 0
            #expect(abs(heap.memory.used - before - usage) < 1024 + usage / 4)
            let all = SetTwin.elements(set, 0..<count)
            set.remove(ranks: 0..<(count / 2), heap)
            #expect(SetTwin.elements(copy, 0..<count) == all)
            set.free(heap)
            var slices = 1
            while type.free?(copy.payload, copy.encoding.rawValue, keyspace.raw, 100) == false {
                slices += 1
            }
            #expect(count < 100 ? slices == 1 : slices > 20)
        }
        #expect(heap.memory.liveBlocks == blocksAtStart)
        keyspace.destroy()
    }

    @Test func listpacksFromOutsideMustBeInOrder() {
        let memory = Memory()
        func isValid(_ pairs: [(String, String)]) -> Bool {
            var pack = Listpack.make(memory)
            for (name, score) in pairs {
                name.withBytes { pack.append($0, memory) }
                score.withBytes { pack.append($0, memory) }
            }
            defer { pack.free(memory) }
            return SortedSet.isValid(pack)
        }
        #expect(isValid([("a", "1"), ("b", "1"), ("a b", "1.5"), ("0", "inf")]))
        #expect(!isValid([("b", "1"), ("a", "1")]))
        #expect(!isValid([("a", "2"), ("b", "1")]))
        #expect(!isValid([("a", "1"), ("a", "1")]))
        #expect(!isValid([("a", "nan")]))
        #expect(!isValid([("a", "what")]))
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }

    /// A member of 16 bytes with its score, its place in the order and in the table.
    @Test func membersOfLargeSetsAreSmall() {
        let heap = ObjectHeap(memory: Memory(), sipKey: SipKey(1, 2))
        var limits = EncodingLimits()
        limits.zsetEntries = 0
        var set = SortedSet.make(expecting: 1, length: 16, limits, heap)
        var prng = Prng(seed: 3)
        let count = 1 << 16
        for index in 0..<count {
            Array("member:\(index + 100_000_000)".utf8).withBytes { name in
                _ = set.add(name, Double(prng.below(1 << 30)), [], limits, heap)
            }
        }
        #expect(heap.memory.used < count * 80)
        set.free(heap)
        heap.memory.destroy()
    }
}
