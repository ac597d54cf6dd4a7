// Sorted sets as payloads: both forms there and back, the codes of older versions, and damaged
// bytes, which must neither crash nor leak.
import Base
import Persistence
import Storage
import Testing

private struct Bench {
    let keyspace = Keyspace(databases: 1, slotted: false, sipKey: SipKey(1, 2), seed: 1)
    var formats = ObjectFormats()
    var limits = EncodingLimits()

    private let blocksAtStart: Int

    init() {
        blocksAtStart = keyspace.heap.memory.liveBlocks
        formats.insert(.sortedSets, for: .sortedSet)
    }

    var heap: ObjectHeap { keyspace.heap }

    func make(_ pairs: [(String, Double)]) -> SortedSet {
        var set = SortedSet.make(expecting: 0, length: 0, limits, heap)
        for (name, score) in pairs {
            name.withBytes { _ = set.add($0, score, [], limits, heap) }
        }
        return set
    }

    func dump(_ set: SortedSet) -> [UInt8] {
        var writer = DumpWriter()
        var out = Buffer()
        guard let format = formats[.sortedSet] else { return [] }
        writer.append(type: format.code(set.payload, set.encoding), to: &out) {
            format.save(set.payload, set.encoding, $0)
        }
        return out.bytes.array
    }

    /// A payload from its type code and bytes.
    func dump(code: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        var writer = DumpWriter()
        var out = Buffer()
        bytes.withBytes { writer.append(type: code, serialized: $0, to: &out) }
        return out.bytes.array
    }

    /// The elements of a payload, `empty` or `damaged`; nothing is left of it.
    func load(_ payload: [UInt8], verifies: Bool = true) -> String {
        var reader = DumpReader(decoders: formats.decoders)
        return payload.withBytes { bytes in
            let opened: (type: UInt8, value: RDBValue)
            do throws(DumpError) {
                opened = try reader.open(bytes, verifiesChecksum: verifies)
            } catch {
                return "unreadable"
            }
            guard case .payload(let body) = opened.value else { return "string" }
            let (type, outcome) = formats.load(
                code: opened.type,
                body,
                heap: heap,
                limits: limits,
                largestString: 1 << 20
            )
            #expect(type == .sortedSet)
            switch outcome {
            case .empty: return "empty"
            case .damaged: return "damaged"
            case .loaded(let object):
                let set = SortedSet(object.payload, object.encoding)
                defer { set.free(heap) }
                return Bench.text(set)
            }
        }
    }

    static func text(_ set: SortedSet) -> String {
        var out = set.encoding == .listpack ? "small" : "large"
        set.forEach { member, score in
            out += withText(of: member) { " \($0.string)=" } + formatDouble(score)
        }
        return out
    }

    func finish() {
        #expect(heap.memory.liveBlocks == blocksAtStart)
        keyspace.destroy()
    }
}

@Suite struct SortedSetFormatTests {
    @Test func bothFormsThereAndBack() {
        var bench = Bench()
        for count in [1, 5, 128, 129, 2000] {
            let pairs = (0..<count).map { ("member:\($0)", Double($0 % 50) / 4) }
            let set = bench.make(pairs)
            let text = Bench.text(set)
            let payload = bench.dump(set)
            #expect(payload[0] == (count > 128 ? RDBType.sortedSet : RDBType.sortedSetListpack))
            #expect(bench.load(payload) == text)
            set.free(bench.heap)
        }
        // The form is that of the limits of today, not of those when it was saved.
        let set = bench.make([("a", 1), ("b", .infinity), ("c", -2.5)])
        bench.limits.zsetEntries = 2
        #expect(bench.load(bench.dump(set)) == "large c=-2.5 a=1 b=inf")
        set.free(bench.heap)
        bench.finish()
    }

    @Test func largeSetsKeepTheSignOfAZero() {
        var bench = Bench()
        bench.limits.zsetValue = 4
        let set = bench.make([("a long member", -1), ("m", -0.0), ("n", 1)])
        #expect(Bench.text(set) == "large a long member=-1 m=-0 n=1")
        #expect(bench.load(bench.dump(set)) == "large a long member=-1 m=-0 n=1")
        bench.limits.zsetValue = 64
        #expect(bench.load(bench.dump(set)) == "small a long member=-1 m=0 n=1")
        set.free(bench.heap)
        bench.finish()
    }

    @Test func olderVersions() {
        let bench = Bench()
        let texts: [UInt8] = [2, 1, 97, 3, 49, 46, 53, 1, 98, 255]
        #expect(bench.load(bench.dump(code: 3, texts)) == "small b=-inf a=1.5")
        let ziplist: [UInt8] = [
            24, 0, 0, 0, 18, 0, 0, 0, 4, 0, 0, 1, 97, 3, 0xF2, 2, 1, 98, 3, 3, 49, 46, 53, 255,
        ]
        let body = [UInt8(ziplist.count)] + ziplist
        #expect(bench.load(bench.dump(code: 12, body)) == "small a=1 b=1.5")
        var lying = body
        lying[5] = 15
        #expect(bench.load(bench.dump(code: 12, lying)) == "damaged", "the tail is elsewhere")
        #expect(bench.load(bench.dump(code: 5, [0])) == "empty")
        bench.finish()
    }

    @Test func nonsenseIsDamage() {
        let bench = Bench()
        // A member twice; a score that is no number.
        #expect(bench.load(bench.dump(code: 3, [2, 1, 97, 1, 49, 1, 97, 1, 50])) == "damaged")
        #expect(bench.load(bench.dump(code: 3, [1, 1, 97, 253])) == "damaged")
        let large = [UInt8(1), 1, 97] + [0, 0, 0, 0, 0, 0, 0xF8, 0x7F]
        #expect(bench.load(bench.dump(code: 5, large)) == "damaged")
        // Listpacks: an odd number of elements; out of order.
        for pairs in [["a"], ["b", "1", "a", "1"], ["a", "1", "a", "2"], ["a", "x"]] {
            var pack = Listpack.make(bench.heap.memory)
            for text in pairs { text.withBytes { pack.append($0, bench.heap.memory) } }
            let bytes = [UInt8(pack.totalBytes)] + pack.bytes.array
            pack.free(bench.heap.memory)
            #expect(bench.load(bench.dump(code: 17, bytes)) == "damaged")
        }
        bench.finish()
    }

    @Test(arguments: Array(1...8) as [UInt64])
    func damagedBytesNeitherCrashNorLeak(seed: UInt64) {
        var prng = Prng(seed: seed)
        var bench = Bench()
        bench.limits.zsetEntries = seed % 2 == 0 ? 4 : 64
        let pairs = (0..<12).map { ("m\($0 % 9)-\($0)", Double(prng.below(9)) / 2) }
        let set = bench.make(pairs)
        let payload = bench.dump(set)
        for _ in 0..<4000 {
            var damaged = payload
            for _ in 0...prng.below(3) {
                damaged[1 + prng.below(payload.count - 1)] = UInt8(prng.below(256))
            }
            if prng.chance(1, in: 5) { damaged[0] = [3, 5, 12, 17][prng.below(4)] }
            _ = bench.load(damaged, verifies: false)
        }
        set.free(bench.heap)
        bench.finish()
    }
}
