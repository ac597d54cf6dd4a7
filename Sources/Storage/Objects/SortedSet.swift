// A sorted set in either of its forms. Small ones are a listpack of member, score, member, score in
// order, byte for byte the reference's; large ones a table of members, whose entries hold the
// scores, and an `OrderTree` of the same entries. OBJECT ENCODING calls the large form `skiplist`,
// as in the reference.
//
// `SortedSet` is a handle over the payload of a key's entry. Changes may move the payload or turn
// it into the large form: whoever changes one puts `payload` and `encoding` back into the entry.
//
// `+Change` adds and removes, `+Ranges` asks for ranks and ranges, `+Large` is the large form,
// `+Type` what the keyspace needs of the type.
import Base

public struct SortedSet {
    public internal(set) var payload: UnsafeMutableRawPointer
    public internal(set) var encoding: Encoding

    /// The sorted set of an entry, which must hold one.
    @inline(__always)
    public init(_ entry: Entry) {
        invariant(entry.type == .sortedSet, "the entry holds something else")
        self.init(entry.payload, entry.encoding)
    }

    @inline(__always)
    public init(_ payload: UnsafeMutableRawPointer, _ encoding: Encoding) {
        invariant(encoding == .listpack || encoding == .skipList, "no form of a sorted set")
        self.payload = payload
        self.encoding = encoding
    }

    /// An empty sorted set in the form that suits so many members of such a length.
    public static func make(
        expecting count: Int, length: Int, _ limits: EncodingLimits, _ heap: ObjectHeap
    ) -> SortedSet {
        if count <= limits.zsetEntries, length <= limits.zsetValue {
            return SortedSet(Listpack.make(heap.memory).base, .listpack)
        }
        return SortedSet(LargeSortedSet.make(heap, reserving: min(count, 1 << 16)).base, .skipList)
    }

    @inline(__always)
    public var isSmall: Bool { encoding == .listpack }

    @inline(__always)
    var pack: Listpack { Listpack(payload) }

    @inline(__always)
    var large: LargeSortedSet { LargeSortedSet(payload) }

    /// Members.
    @inline(__always)
    public var count: Int { isSmall ? pack.count &>> 1 : large.count }

    // MARK: Scores

    /// The score of a member.
    @inline(__always)
    public func score(of member: Bytes, _ heap: ObjectHeap) -> Double? {
        guard isSmall else { return large.table.find(member, heap)?.score }
        guard let place = place(of: member) else { return nil }
        return score(after: place)
    }

    /// Where a member stands in the listpack.
    @inline(__always)
    func place(of member: Bytes) -> Int? {
        let pack = self.pack
        guard let first = pack.first else { return nil }
        return pack.find(member, from: first, skip: 1)
    }

    /// The score that follows the member at `place`.
    @inline(__always)
    func score(after place: Int) -> Double {
        guard let next = pack.next(place) else { unreachable("a member without a score") }
        return SortedSet.score(pack[next])
    }

    /// The score that a listpack element stands for.
    @inline(__always)
    static func score(_ value: PackedValue) -> Double {
        switch value {
        case .integer(let integer):
            return Double(integer)
        case .bytes(let text):
            guard let score = text.lenientDouble else { unreachable("a score is no number") }
            return score
        }
    }

    /// Runs `body` on the listpack form of a score: whole numbers are integers as far as the
    /// reference's, and zero loses its sign.
    @inline(__always)
    static func withPacked<R>(_ score: Double, _ body: (PackedValue) -> R) -> R {
        if score.magnitude <= 4_611_686_018_427_387_904 {
            let integer = Int64(score)
            if Double(integer) == score { return body(.integer(integer)) }
        }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: doubleTextRoom) { room in
            guard let start = room.baseAddress else { unreachable("no room for a score") }
            let count = writeDouble(score, to: start)
            return body(.compact(Bytes(start, count)))
        }
    }

    // MARK: Walks

    /// The member and score of a rank.
    public func element(_ rank: Int) -> (member: PackedValue, score: Double) {
        invariant(rank >= 0 && rank < count, "there is no such rank")
        guard isSmall else {
            let (score, entry) = large.tree.pointee[rank]
            return (.bytes(entry.key), score)
        }
        guard let place = pack.seek(rank &* 2) else { unreachable("a listpack miscounts") }
        return (pack[place], score(after: place))
    }

    /// Visits the elements with ranks in `range`, in ascending or descending order, until `visit`
    /// returns false.
    @inline(__always)
    public func forEach(
        in range: Range<Int>, reversed: Bool = false, _ visit: (PackedValue, Double) -> Bool
    ) {
        invariant(range.lowerBound >= 0 && range.upperBound <= count, "there are no such ranks")
        guard !range.isEmpty else { return }
        if isSmall {
            walkPack(range, reversed, visit)
        } else if reversed {
            large.tree.pointee.forEachReversed(in: range) { visit(.bytes($1.key), $0) }
        } else {
            large.tree.pointee.forEach(in: range) { visit(.bytes($1.key), $0) }
        }
    }

    /// Visits all elements in ascending order.
    public func forEach(_ visit: (PackedValue, Double) -> Void) {
        forEach(in: 0..<count) { member, score in
            visit(member, score)
            return true
        }
    }

    private func walkPack(
        _ range: Range<Int>, _ reversed: Bool, _ visit: (PackedValue, Double) -> Bool
    ) {
        let pack = self.pack
        var left = range.count
        let start = reversed ? range.upperBound &- 1 : range.lowerBound
        var place = pack.seek(start &* 2)
        while left > 0, let member = place {
            guard let score = pack.next(member) else { unreachable("a member without a score") }
            guard visit(pack[member], SortedSet.score(pack[score])) else { return }
            left &-= 1
            place =
                reversed
                ? pack.previous(member).flatMap { pack.previous($0) } : pack.next(score)
        }
        invariant(left == 0, "a listpack miscounts")
    }

    /// One member at random.
    public func random(_ prng: inout Prng) -> (member: PackedValue, score: Double) {
        invariant(count > 0, "an empty sorted set stays in the keyspace")
        // By rank: evenly, which a table's buckets could not promise.
        return element(prng.below(count))
    }

    /// Visits the next few members, with the texts of their scores, and returns the cursor of the
    /// call after, 0 at the end. A small set is visited whole.
    public func scan(_ cursor: UInt64, _ visit: (PackedValue, PackedValue) -> Void) -> UInt64 {
        guard isSmall else {
            return withUnsafeTemporaryAllocation(
                of: UInt8.self, capacity: doubleTextRoom
            ) { room in
                guard let start = room.baseAddress else { return 0 }
                return large.table.scan(cursor) { entry in
                    let text = Bytes(start, writeDouble(entry.score, to: start))
                    visit(.bytes(entry.key), .bytes(text))
                }
            }
        }
        let pack = self.pack
        var place = pack.first
        while let here = place {
            guard let score = pack.next(here) else { unreachable("a member without a score") }
            visit(pack[here], pack[score])
            place = pack.next(score)
        }
        return 0
    }
}
