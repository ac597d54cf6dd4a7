// Sorted sets in RDB: small ones as their listpack, large ones as members and binary scores from
// the last to the first, which readers insert at the front of what they have. Also reads the
// decimal scores of before 4.0 and the ziplists of before 7.0.
import Base
import Storage

extension ObjectFormat {
    public static let sortedSets = ObjectFormat(
        decoders: [
            ObjectDecoder(code: RDBType.sortedSetText, layout: .repeated([.string, .textDouble])),
            ObjectDecoder(code: RDBType.sortedSet, layout: .repeated([.string, .double])),
            ObjectDecoder(code: RDBType.sortedSetZiplist, layout: .parts([.string])),
            ObjectDecoder(code: RDBType.sortedSetListpack, layout: .parts([.string])),
        ],
        code: { _, encoding in
            encoding == .listpack ? RDBType.sortedSetListpack : RDBType.sortedSet
        },
        save: { payload, encoding, out in
            if encoding == .listpack {
                out.string(Listpack(payload).bytes)
                return
            }
            let set = SortedSet(payload, encoding)
            out.length(set.count)
            set.forEach(in: 0..<set.count, reversed: true) { member, score in
                out.value(member)
                out.double(score)
                return true
            }
        },
        load: { code, reader in
            switch code {
            case RDBType.sortedSetListpack: loadListpack(&reader)
            case RDBType.sortedSetZiplist: loadZiplist(&reader)
            default: loadMembers(&reader, scoresAreText: code == RDBType.sortedSetText)
            }
        },
        pieces: ObjectPieces(
            code: { _ in RDBType.sortedSet },
            begin: { walk, out in out.length(TableWalk(walk).count) },
            next: { walk, memory, effort, out in
                TableWalk(walk).advance(effort, memory) { entry in
                    out.string(entry.key)
                    out.double(entry.score)
                }
            }))

    private static func loadMembers(
        _ reader: inout ObjectReader, scoresAreText: Bool
    ) -> LoadOutcome {
        guard let count = reader.length(), count <= reader.left else { return .damaged }
        var loading = SortedSetLoading(expecting: count, reader.limits, reader.heap)
        for _ in 0..<count {
            guard let member = reader.string() else { return loading.damaged() }
            // The score is read while the member's bytes are still good: it is no string.
            guard let score = scoresAreText ? reader.textDouble() : reader.double(),
                loading.add(member, score)
            else { return loading.damaged() }
        }
        return loading.finish()
    }

    private static func loadListpack(_ reader: inout ObjectReader) -> LoadOutcome {
        guard let bytes = reader.string(), let count = Listpack.validCount(bytes), count % 2 == 0
        else { return .damaged }
        guard count > 0 else { return .empty }
        let pack = Listpack.copy(bytes, reader.heap.memory)
        guard SortedSet.isValid(pack) else {
            pack.free(reader.heap.memory)
            return .damaged
        }
        var set = SortedSet(pack.base, .listpack)
        guard set.enlargeIfNeeded(reader.limits, reader.heap) else {
            set.free(reader.heap)
            return .damaged
        }
        return .loaded(LoadedObject(set.encoding, set.payload))
    }

    private static func loadZiplist(_ reader: inout ObjectReader) -> LoadOutcome {
        guard let bytes = reader.string() else { return .damaged }
        var loading = SortedSetLoading(expecting: 0, reader.limits, reader.heap)
        var member: PackedValue?
        let isSound = forEachZiplistEntry(bytes) { value in
            guard let name = member else {
                member = value
                return true
            }
            member = nil
            let score = withText(of: value) { $0.score }
            return score.map { score in withText(of: name) { loading.add($0, score) } } ?? false
        }
        guard isSound, member == nil else { return loading.damaged() }
        return loading.finish()
    }
}

/// A set that grows while it is read.
private struct SortedSetLoading {
    private var set: SortedSet
    private let limits: EncodingLimits
    private let heap: ObjectHeap

    init(expecting count: Int, _ limits: EncodingLimits, _ heap: ObjectHeap) {
        set = .make(expecting: count, length: 0, limits, heap)
        self.limits = limits
        self.heap = heap
    }

    /// False for what no set can hold: a member twice, a score that is no number.
    mutating func add(_ member: Bytes, _ score: Double) -> Bool {
        guard !score.isNaN else { return false }
        // Only the large form keeps the sign of a zero, and only the end tells which form it is.
        if set.isSmall, score == 0, score.sign == .minus {
            set.enlarge(expecting: set.count, heap)
        }
        if case .added = set.add(member, score, .onlyNew, limits, heap) { return true }
        return false
    }

    func damaged() -> LoadOutcome {
        set.free(heap)
        return .damaged
    }

    mutating func finish() -> LoadOutcome {
        guard set.count > 0 else {
            set.free(heap)
            return .empty
        }
        set.compact(limits, heap)
        return .loaded(LoadedObject(set.encoding, set.payload))
    }
}
