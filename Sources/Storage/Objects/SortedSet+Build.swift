// Sorted sets that come about as a whole: results of unions and intersections, whose members are
// gathered first and put in order at the end, and listpacks from outside, which must be shown to be
// in order before anything relies on it.
import Base

/// Gathers members and scores.
public struct SortedSetBuilder {
    private let large: LargeSortedSet
    private let heap: ObjectHeap

    public init(_ heap: ObjectHeap, reserving count: Int = 0) {
        self.heap = heap
        large = LargeSortedSet.make(heap, reserving: count)
    }

    /// Adds a member that is not there yet.
    @inline(__always)
    public func insert(_ member: Bytes, _ score: Double) {
        large.table.insert(member, word: score.bitPattern, heap)
    }

    /// Adds a member, or changes its score to what `aggregate` makes of the old and the new one.
    @inline(__always)
    public func merge(
        _ member: Bytes, _ score: Double, _ aggregate: (Double, Double) -> Double
    ) {
        if let entry = large.table.find(member, heap) {
            entry.score = aggregate(entry.score, score)
        } else {
            insert(member, score)
        }
    }

    /// The set, in its large form.
    public func finish() -> SortedSet {
        let tree = large.tree
        large.table.forEach { tree.pointee.insert($0.score, $0, heap.memory) }
        invariant(tree.pointee.count == large.table.count, "a member is in no order")
        return SortedSet(large.base, .skipList)
    }
}

extension SortedSet {
    /// True when a sound listpack is one of a sorted set: scores are numbers, and the order is
    /// that of scores and names.
    public static func isValid(_ pack: Listpack) -> Bool {
        var place = pack.first
        var before: (score: Double, name: PackedValue)?
        while let here = place {
            guard let next = pack.next(here) else { return false }
            let score: Double
            switch pack[next] {
            case .integer(let integer): score = Double(integer)
            case .bytes(let text):
                guard let value = text.lenientDouble else { return false }
                score = value
            }
            let name = pack[here]
            if let before {
                let isAfter =
                    before.score != score
                    ? before.score < score
                    : withText(of: before.name) { a in withText(of: name) { a < $0 } }
                guard isAfter else { return false }
            }
            before = (score, name)
            place = pack.next(next)
        }
        return true
    }

    /// Gives a set that was loaded as a listpack the form that it should have; false when a member
    /// is there twice.
    public mutating func enlargeIfNeeded(_ limits: EncodingLimits, _ heap: ObjectHeap) -> Bool {
        invariant(isSmall, "only listpacks are loaded as they are")
        var longest = 0
        var isDistinct = true
        let pack = self.pack
        let staysSmall = count <= limits.zsetEntries
        // Many members are compared by the table that they are about to be put in.
        let table = staysSmall && count <= 64 ? nil : FieldTable.make(heap, reserving: count)
        var place = pack.first
        while let here = place, isDistinct {
            place = pack.next(here).flatMap { pack.next($0) }
            withText(of: pack[here]) { name in
                longest = max(longest, name.count)
                if let table {
                    isDistinct = table.find(name, heap) == nil
                    if isDistinct { table.insert(name, word: 0, heap) }
                } else {
                    isDistinct = pack.find(name, from: place, skip: 1) == nil
                }
            }
        }
        if let table { while !table.release(heap.memory, effort: .max) {} }
        if isDistinct, !staysSmall || longest > limits.zsetValue {
            enlarge(expecting: count, heap)
        }
        return isDistinct
    }
}
