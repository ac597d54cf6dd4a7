// One node of an `OrderTree`, in a block of its own: up to 31 keys (score and member) in order. A
// leaf's keys are the elements themselves; an inner node has for each child the child's first key,
// its address and the number of elements below it. Scores, members, children and counts stand in
// arrays of their own, so that a search among scores touches few cache lines:
//
//     u16 count · u8 is leaf · [31 f64 scores] · [31 members] · [31 children] · [31 counts]
import Base

struct OrderNode: Equatable {
    let base: UnsafeMutableRawPointer

    static let capacity = 31
    /// Nodes with fewer keys are merged with a neighbour, or filled up from it.
    static let sparse = 10
    private static let headerSize = 8
    private static let arraySize = capacity * 8
    static let leafSize = headerSize + 2 * arraySize
    static let innerSize = headerSize + 4 * arraySize

    @inline(__always)
    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    static func make(isLeaf: Bool, _ memory: Memory) -> OrderNode {
        let node = OrderNode(memory.allocate(isLeaf ? leafSize : innerSize))
        node.base.storeBytes(of: isLeaf ? 1 << 16 : 0, as: UInt64.self)
        return node
    }

    func free(_ memory: Memory) {
        memory.free(base, isLeaf ? OrderNode.leafSize : OrderNode.innerSize)
    }

    /// Keys in the node.
    @inline(__always)
    var count: Int {
        get { Int(base.load(as: UInt16.self)) }
        nonmutating set {
            invariant(newValue >= 0 && newValue <= OrderNode.capacity, "a node has no such size")
            base.storeBytes(of: UInt16(truncatingIfNeeded: newValue), as: UInt16.self)
        }
    }

    @inline(__always)
    var isLeaf: Bool { base.load(fromByteOffset: 2, as: UInt8.self) != 0 }

    @inline(__always)
    var isFull: Bool { count == OrderNode.capacity }

    @inline(__always)
    var scores: UnsafeMutablePointer<Double> {
        (base + OrderNode.headerSize).assumingMemoryBound(to: Double.self)
    }

    @inline(__always)
    var members: UnsafeMutablePointer<UnsafeMutableRawPointer> {
        (base + (OrderNode.headerSize &+ OrderNode.arraySize))
            .assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    }

    @inline(__always)
    private var children: UnsafeMutablePointer<UnsafeMutableRawPointer> {
        (base + (OrderNode.headerSize &+ 2 &* OrderNode.arraySize))
            .assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    }

    /// Elements below each child; only in inner nodes.
    @inline(__always)
    var counts: UnsafeMutablePointer<Int> {
        (base + (OrderNode.headerSize &+ 3 &* OrderNode.arraySize))
            .assumingMemoryBound(to: Int.self)
    }

    @inline(__always)
    func child(_ index: Int) -> OrderNode { OrderNode(children[index]) }

    @inline(__always)
    func member(_ index: Int) -> Entry { Entry(members[index]) }

    /// Elements in the node or below it.
    var elements: Int {
        if isLeaf { return count }
        var sum = 0
        for index in 0..<count { sum &+= counts[index] }
        return sum
    }

    // MARK: Search

    /// True when key `index` comes before the given one, or equals it and `orEqual`.
    @inline(__always)
    func isBelow(_ index: Int, _ score: Double, _ member: Bytes, orEqual: Bool) -> Bool {
        let mine = scores[index]
        if mine != score { return mine < score }
        let name = self.member(index).key
        return orEqual ? !(member < name) : name < member
    }

    /// How many keys come before the given one, or equal it and `orEqual`.
    @inline(__always)
    func countBelow(_ score: Double, _ member: Bytes, orEqual: Bool) -> Int {
        let low = countBelow(score)
        guard low < count, scores[low] == score else { return low }
        return countBelow(score, member, orEqual: orEqual, from: low)
    }

    /// How many keys have a lower score. Halves without a branch, whose outcome nobody could guess:
    /// the wrong guesses of a search took longer than all else that it does.
    @inline(__always)
    private func countBelow(_ score: Double) -> Int {
        var low = 0
        var length = count
        while length > 1 {
            let half = length &>> 1
            low &+= scores[low &+ half &- 1] < score ? half : 0
            length &-= half
        }
        return length == 1 && scores[low] < score ? low &+ 1 : low
    }

    /// The same from key `low` on, which has this score: names decide.
    private func countBelow(
        _ score: Double, _ member: Bytes, orEqual: Bool, from low: Int
    ) -> Int {
        var low = low
        var high = count
        while low < high {
            let middle = (low &+ high) &>> 1
            if isBelow(middle, score, member, orEqual: orEqual) {
                low = middle &+ 1
            } else {
                high = middle
            }
        }
        return low
    }

    /// Where a leaf has an element. Its address tells it from others with its score, whose names
    /// would have to be fetched.
    @inline(__always)
    func place(of member: Entry, _ score: Double) -> Int? {
        var place = countBelow(score)
        while place < count, scores[place] == score {
            if members[place] == member.base { return place }
            place &+= 1
        }
        return nil
    }

    /// True when an element that is neither the first nor the last of a leaf stays between its
    /// neighbours with another score: then no inner node repeats its key.
    @inline(__always)
    func keepsOrder(_ place: Int, _ score: Double) -> Bool {
        guard place > 0, place < count &- 1 else { return false }
        let name = member(place).key
        return isBelow(place &- 1, score, name, orEqual: false)
            && !isBelow(place &+ 1, score, name, orEqual: true)
    }

    // MARK: Change

    /// Puts another block in the place of a child.
    func setChild(_ index: Int, _ child: OrderNode) { children[index] = child.base }

    @inline(__always)
    func setKey(_ index: Int, _ score: Double, _ member: UnsafeMutableRawPointer) {
        scores[index] = score
        members[index] = member
    }

    /// Copies the first key of child `index` up into this node.
    @inline(__always)
    func refreshKey(_ index: Int) {
        let child = child(index)
        invariant(child.count > 0, "an empty node stays in the tree")
        setKey(index, child.scores[0], child.members[0])
    }

    /// Makes room for a key before key `index`.
    @inline(__always)
    func openGap(_ index: Int) {
        let count = self.count
        invariant(index <= count && count < OrderNode.capacity, "the node has no room")
        let rest = (count &- index) &* 8
        moveBytes(to: scores + index + 1, from: scores + index, count: rest)
        moveBytes(to: members + index + 1, from: members + index, count: rest)
        if !isLeaf {
            moveBytes(to: children + index + 1, from: children + index, count: rest)
            moveBytes(to: counts + index + 1, from: counts + index, count: rest)
        }
        self.count = count &+ 1
    }

    /// Takes the keys of `range` out, with their children.
    @inline(__always)
    func closeGap(_ range: Range<Int>) {
        let count = self.count
        invariant(range.upperBound <= count, "the node has no such keys")
        let from = range.upperBound
        let to = range.lowerBound
        let rest = (count &- from) &* 8
        moveBytes(to: scores + to, from: scores + from, count: rest)
        moveBytes(to: members + to, from: members + from, count: rest)
        if !isLeaf {
            moveBytes(to: children + to, from: children + from, count: rest)
            moveBytes(to: counts + to, from: counts + from, count: rest)
        }
        self.count = count &- range.count
    }

    /// Puts a child before child `index`; its key is to be set.
    func insertChild(_ child: OrderNode, at index: Int, elements: Int) {
        openGap(index)
        children[index] = child.base
        counts[index] = elements
    }

    /// Moves the keys of `range` to `target`, before its key `index`; returns how many elements
    /// moved with them.
    @discardableResult
    func move(_ range: Range<Int>, to target: OrderNode, at index: Int) -> Int {
        invariant(isLeaf == target.isLeaf, "keys move among nodes of one level")
        let amount = range.count
        let rest = (target.count - index) * 8
        invariant(target.count + amount <= OrderNode.capacity, "the target has no room")
        let from = range.lowerBound
        moveBytes(to: target.scores + index + amount, from: target.scores + index, count: rest)
        moveBytes(to: target.members + index + amount, from: target.members + index, count: rest)
        copyBytes(to: target.scores + index, from: scores + from, count: amount * 8)
        copyBytes(to: target.members + index, from: members + from, count: amount * 8)
        var moved = amount
        if !isLeaf {
            let (theirs, sums) = (target.children, target.counts)
            moveBytes(to: theirs + index + amount, from: theirs + index, count: rest)
            moveBytes(to: sums + index + amount, from: sums + index, count: rest)
            copyBytes(to: theirs + index, from: children + from, count: amount * 8)
            copyBytes(to: sums + index, from: counts + from, count: amount * 8)
            moved = 0
            for place in index..<(index + amount) { moved += sums[place] }
        }
        target.count += amount
        closeGap(range)
        return moved
    }
}
