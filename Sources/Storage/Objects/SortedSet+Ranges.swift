// Ranks, and ranges by score and by name. Either kind of range is turned into one of ranks first;
// limits, reversal, counting and removal are arithmetic from there on.
import Base

/// A range of scores, as `ZRANGEBYSCORE` takes it.
public struct ScoreRange {
    public var min: Double
    public var max: Double
    public var excludesMin: Bool
    public var excludesMax: Bool

    public init(min: Double, max: Double, excludesMin: Bool = false, excludesMax: Bool = false) {
        self.min = min
        self.max = max
        self.excludesMin = excludesMin
        self.excludesMax = excludesMax
    }

    @inline(__always)
    func isBelow(_ score: Double) -> Bool { excludesMin ? score <= min : score < min }

    @inline(__always)
    func isAbove(_ score: Double) -> Bool { excludesMax ? score >= max : score > max }
}

/// One end of a range of names.
public enum NameBound {
    /// Before all names (`-`).
    case lowest
    /// After all names (`+`).
    case highest
    case including(Bytes)
    case excluding(Bytes)

    /// True when `name` lies before a range that begins here.
    @inline(__always)
    func isAfter(_ name: Bytes) -> Bool {
        switch self {
        case .lowest: false
        case .highest: true
        case .including(let bound): name < bound
        case .excluding(let bound): !(bound < name)
        }
    }

    /// True when `name` lies after a range that ends here.
    @inline(__always)
    func isBefore(_ name: Bytes) -> Bool {
        switch self {
        case .lowest: true
        case .highest: false
        case .including(let bound): bound < name
        case .excluding(let bound): !(name < bound)
        }
    }
}

/// A range of names, as `ZRANGEBYLEX` takes it; it means something among equal scores.
public struct NameRange {
    public var min: NameBound
    public var max: NameBound

    public init(min: NameBound, max: NameBound) {
        self.min = min
        self.max = max
    }
}

extension SortedSet {
    /// How many members come before the given one, and its score.
    public func rank(of member: Bytes, _ heap: ObjectHeap) -> (rank: Int, score: Double)? {
        guard isSmall else {
            guard let entry = large.table.find(member, heap) else { return nil }
            let score = entry.score
            return (large.tree.pointee.rank(score, member), score)
        }
        let pack = self.pack
        var rank = 0
        var place = pack.first
        while let here = place {
            if pack[here].equals(member) { return (rank, score(after: here)) }
            rank &+= 1
            place = pack.next(here).flatMap { pack.next($0) }
        }
        return nil
    }

    /// The ranks of the elements with a score in `range`.
    public func ranks(_ range: ScoreRange) -> Range<Int> {
        if isSmall {
            return ranks(isBelow: { _, score in range.isBelow(score) }) { _, score in
                range.isAbove(score)
            }
        }
        let tree = large.tree
        let low = tree.pointee.count(below: range.min, orEqual: range.excludesMin)
        let high = tree.pointee.count(below: range.max, orEqual: !range.excludesMax)
        return low..<max(low, high)
    }

    /// The ranks of the elements with a name in `range`.
    public func ranks(_ range: NameRange) -> Range<Int> {
        if isSmall {
            return ranks(isBelow: { name, _ in withText(of: name) { range.min.isAfter($0) } }) {
                name, _ in withText(of: name) { range.max.isBefore($0) }
            }
        }
        let tree = large.tree
        let low: Int
        switch range.min {
        case .lowest: low = 0
        case .highest: low = count
        case .including(let name): low = tree.pointee.count(below: name, orEqual: false)
        case .excluding(let name): low = tree.pointee.count(below: name, orEqual: true)
        }
        let high: Int
        switch range.max {
        case .lowest: high = 0
        case .highest: high = count
        case .including(let name): high = tree.pointee.count(below: name, orEqual: true)
        case .excluding(let name): high = tree.pointee.count(below: name, orEqual: false)
        }
        return low..<max(low, high)
    }

    /// The ranks between the elements below a range and those above it, by a walk.
    private func ranks(
        isBelow: (PackedValue, Double) -> Bool, isAbove: (PackedValue, Double) -> Bool
    ) -> Range<Int> {
        var low = 0
        var high = 0
        forEach(in: 0..<count) { member, score in
            if low == high, isBelow(member, score) {
                low &+= 1
                high = low
                return true
            }
            guard !isAbove(member, score) else { return false }
            high &+= 1
            return true
        }
        return low..<high
    }
}
