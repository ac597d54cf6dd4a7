// Adding to a sorted set and removing from it. `add` is the whole of ZADD for one member: what its
// options ask for, whether the small form still fits, and what came of it.
import Base

/// What ZADD's options allow and ask for.
public struct SortedSetAdd: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The number is added to the score.
    public static let increment = SortedSetAdd(rawValue: 1 << 0)
    /// Only new members (NX).
    public static let onlyNew = SortedSetAdd(rawValue: 1 << 1)
    /// Only members that are there (XX).
    public static let onlyExisting = SortedSetAdd(rawValue: 1 << 2)
    /// A score may only rise (GT).
    public static let onlyGreater = SortedSetAdd(rawValue: 1 << 3)
    /// A score may only fall (LT).
    public static let onlyLess = SortedSetAdd(rawValue: 1 << 4)
}

public enum SortedSetOutcome {
    /// The member is new.
    case added(Double)
    /// The member has another score now.
    case updated(Double)
    /// The member has this score already.
    case same(Double)
    /// An option forbids the change.
    case refused
    /// The sum is not a number.
    case notNumber
}

extension SortedSet {
    /// Adds a member, or changes its score.
    public mutating func add(
        _ member: Bytes, _ score: Double, _ options: SortedSetAdd, _ limits: EncodingLimits,
        _ heap: ObjectHeap
    ) -> SortedSetOutcome {
        invariant(!score.isNaN, "a score is a number")
        if isSmall {
            if let place = place(of: member) {
                return SortedSet.rescore(self.score(after: place), score, options) { score in
                    removePair(at: place, heap.memory)
                    insertPair(member, score, heap.memory)
                }
            }
            guard !options.contains(.onlyExisting) else { return .refused }
            if fits(member, limits) {
                insertPair(member, score, heap.memory)
                return .added(score)
            }
            enlarge(expecting: count &+ 1, heap)
        } else if let entry = large.table.find(member, heap) {
            let large = self.large
            return SortedSet.rescore(entry.score, score, options) {
                large.update(entry, to: $0, heap)
            }
        } else if options.contains(.onlyExisting) {
            return .refused
        }
        large.insert(member, score, heap)
        return .added(score)
    }

    /// What becomes of a member that is there.
    @inline(__always)
    private static func rescore(
        _ old: Double, _ number: Double, _ options: SortedSetAdd, _ change: (Double) -> Void
    ) -> SortedSetOutcome {
        guard !options.contains(.onlyNew) else { return .refused }
        let score = options.contains(.increment) ? old + number : number
        guard !score.isNaN else { return .notNumber }
        if options.contains(.onlyLess), score >= old { return .refused }
        if options.contains(.onlyGreater), score <= old { return .refused }
        guard score != old else { return .same(score) }
        change(score)
        return .updated(score)
    }

    /// True when one more member can be put in the listpack.
    @inline(__always)
    private func fits(_ member: Bytes, _ limits: EncodingLimits) -> Bool {
        count < limits.zsetEntries && member.count <= limits.zsetValue
            && pack.allows(adding: member.count)
    }

    /// Removes a member; false when it is not there.
    public mutating func remove(_ member: Bytes, _ heap: ObjectHeap) -> Bool {
        guard isSmall else { return large.remove(member, heap) }
        guard let place = place(of: member) else { return false }
        removePair(at: place, heap.memory)
        return true
    }

    /// Removes the elements with ranks in `range`.
    public mutating func remove(ranks range: Range<Int>, _ heap: ObjectHeap) {
        invariant(range.lowerBound >= 0 && range.upperBound <= count, "there are no such ranks")
        guard !range.isEmpty else { return }
        guard isSmall else {
            large.remove(ranks: range, heap)
            return
        }
        var pack = self.pack
        guard let place = pack.seek(range.lowerBound * 2) else {
            unreachable("a listpack miscounts")
        }
        pack.delete(at: place, count: range.count * 2, heap.memory)
        payload = pack.base
    }

    // MARK: The listpack

    private mutating func removePair(at place: Int, _ memory: Memory) {
        var pack = self.pack
        pack.delete(at: place, count: 2, memory)
        payload = pack.base
    }

    /// Puts a member that is not there in its place.
    private mutating func insertPair(_ member: Bytes, _ score: Double, _ memory: Memory) {
        var pack = self.pack
        let place = placeToInsert(member, score)
        SortedSet.withPacked(score) { packed in
            // The score first, so that the place serves for both.
            pack.insert(packed, before: place, memory)
            pack.insert(member, before: place, memory)
        }
        payload = pack.base
    }

    /// Where the first element stands that comes after the given one.
    private func placeToInsert(_ member: Bytes, _ score: Double) -> Int {
        let pack = self.pack
        // What comes in ascending order is appended without a walk.
        if let last = pack.last, SortedSet.score(pack[last]) < score { return pack.end }
        var place = pack.first
        while let here = place {
            guard let next = pack.next(here) else { unreachable("a member without a score") }
            let other = SortedSet.score(pack[next])
            if other > score { return here }
            if other == score, withText(of: pack[here], { member < $0 }) { return here }
            place = pack.next(next)
        }
        return pack.end
    }

    // MARK: The form

    /// Turns a small set into the large form when so many members are about to come.
    public mutating func prepare(
        for count: Int, _ limits: EncodingLimits, _ heap: ObjectHeap
    ) {
        if isSmall, count > limits.zsetEntries { enlarge(expecting: count, heap) }
    }

    /// Turns a listpack into the large form.
    public mutating func enlarge(expecting count: Int, _ heap: ObjectHeap) {
        invariant(isSmall, "the set has the large form")
        let fresh = LargeSortedSet.make(heap, reserving: min(count, 1 << 16))
        forEach { member, score in withText(of: member) { fresh.insert($0, score, heap) } }
        invariant(fresh.count == self.count, "a listpack miscounts")
        pack.free(heap.memory)
        payload = fresh.base
        encoding = .skipList
    }

    /// Turns a large set into a listpack when it is small enough: for results of commands and for
    /// loaded sets, whose size is known only at their end.
    public mutating func compact(_ limits: EncodingLimits, _ heap: ObjectHeap) {
        guard !isSmall, count <= limits.zsetEntries else { return }
        var longest = 0
        var total = 0
        forEach { member, _ in
            longest = max(longest, member.byteCount)
            total += member.byteCount
        }
        // A listpack ends at 1 GB; limits that allow that much are nobody's intention.
        guard longest <= limits.zsetValue, total < 1 << 29 else { return }
        var pack = Listpack.make(heap.memory)
        forEach { member, score in
            withText(of: member) { pack.append($0, heap.memory) }
            SortedSet.withPacked(score) { pack.append($0, heap.memory) }
        }
        free(heap)
        payload = pack.base
        encoding = .listpack
    }

    /// Frees a set that is in no keyspace.
    public func free(_ heap: ObjectHeap) {
        if isSmall {
            pack.free(heap.memory)
        } else {
            while !large.release(heap.memory, effort: .max) {}
        }
    }
}
