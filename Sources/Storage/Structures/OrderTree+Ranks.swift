// What is asked of an `OrderTree`: ranks of elements, elements by rank, and how many elements lie
// below a score or a name. Every range of a sorted set is a range of ranks between two such counts,
// so that limits, reversal and counting need no walk.
import Base

extension OrderTree {
    /// How many elements come before the given one, which need not be in the tree.
    package func rank(_ score: Double, _ name: Bytes) -> Int {
        rank { $0.isBelow($1, score, name, orEqual: false) }
    }

    /// How many elements have a lower score, or an equal one and `orEqual`.
    package func count(below score: Double, orEqual: Bool) -> Int {
        if orEqual { return rank { $0.scores[$1] <= score } }
        return rank { $0.scores[$1] < score }
    }

    /// How many elements have a lower name, or an equal one and `orEqual`; all scores must be the
    /// same for this to mean anything.
    package func count(below name: Bytes, orEqual: Bool) -> Int {
        if orEqual { return rank { !(name < $0.member($1).key) } }
        return rank { $0.member($1).key < name }
    }

    /// How many elements satisfy `isBelow`, which holds for all up to one and for none after it.
    @inline(__always)
    private func rank(_ isBelow: (OrderNode, Int) -> Bool) -> Int {
        guard var node = root else { return 0 }
        var sum = 0
        while true {
            var low = 0
            var high = node.count
            while low < high {
                let middle = (low &+ high) &>> 1
                if isBelow(node, middle) { low = middle &+ 1 } else { high = middle }
            }
            if node.isLeaf { return sum &+ low }
            // Nothing of a child counts when its first key does not.
            guard low > 0 else { return sum }
            let counts = node.counts
            for index in 0..<(low &- 1) { sum &+= counts[index] }
            node = node.child(low &- 1)
        }
    }

    /// The leaf that holds an element, and the element's place in it.
    @inline(__always)
    private func seek(_ rank: Int) -> (leaf: OrderNode, place: Int) {
        invariant(rank >= 0 && rank < count, "there is no such rank")
        guard var node = root else { unreachable("elements without a root") }
        var rest = rank
        while !node.isLeaf {
            var index = 0
            let counts = node.counts
            while rest >= counts[index] {
                rest &-= counts[index]
                index &+= 1
            }
            invariant(index < node.count, "a node miscounts what is below")
            node = node.child(index)
        }
        return (node, rest)
    }

    /// The element of a rank.
    package subscript(_ rank: Int) -> (score: Double, member: Entry) {
        let (leaf, place) = seek(rank)
        return (leaf.scores[place], leaf.member(place))
    }

    /// Visits the elements with ranks in `range` in ascending order, until `visit` returns false.
    package func forEach(in range: Range<Int>, _ visit: (Double, Entry) -> Bool) {
        var rank = range.lowerBound
        while rank < range.upperBound {
            let (leaf, place) = seek(rank)
            let end = min(leaf.count, place &+ (range.upperBound &- rank))
            for index in place..<end {
                guard visit(leaf.scores[index], leaf.member(index)) else { return }
            }
            rank &+= end &- place
        }
    }

    /// Visits the elements with ranks in `range` in descending order, until `visit` returns false.
    package func forEachReversed(in range: Range<Int>, _ visit: (Double, Entry) -> Bool) {
        var rank = range.upperBound
        while rank > range.lowerBound {
            let (leaf, place) = seek(rank &- 1)
            let first = max(place &- (rank &- range.lowerBound) &+ 1, 0)
            var index = place
            while index >= first {
                guard visit(leaf.scores[index], leaf.member(index)) else { return }
                index &-= 1
            }
            rank &-= place &- first &+ 1
        }
    }
}
