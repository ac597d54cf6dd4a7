// The order of a large sorted set: a B+tree of (score, member) with the number of elements below
// each child, so that rank, element by rank, and the ends of a range each cost one way from the
// root to a leaf. Members are borrowed entries of the set's table. Against the reference's skip
// list it needs half the memory and a fifth of the time, because a step looks at one node of 31
// keys rather than at one element.
//
// Each inner node holds the exact first key of each child. Full nodes are split on the way down, in
// halves, or so that the old node stays full when elements arrive in ascending or descending order.
// Iteration asks for each leaf by rank, which spares the links between leaves.
//
// `OrderTree+Ranks` asks questions, `OrderTree+Remove` takes elements out.
import Base

package struct OrderTree {
    var root: OrderNode?
    /// Elements in the tree.
    package private(set) var count = 0
    private var leaves = 0
    private var inners = 0

    package init() {}

    /// Bytes of all nodes.
    package var memoryUsage: Int {
        leaves * Memory.roundedSize(OrderNode.leafSize)
            + inners * Memory.roundedSize(OrderNode.innerSize)
    }

    // MARK: Nodes

    mutating func makeNode(isLeaf: Bool, _ memory: Memory) -> OrderNode {
        if isLeaf { leaves &+= 1 } else { inners &+= 1 }
        return OrderNode.make(isLeaf: isLeaf, memory)
    }

    mutating func freeNode(_ node: OrderNode, _ memory: Memory) {
        if node.isLeaf { leaves &-= 1 } else { inners &-= 1 }
        invariant(leaves >= 0 && inners >= 0, "more nodes freed than made")
        node.free(memory)
    }

    mutating func setCount(_ value: Int) {
        invariant(value >= 0, "a tree has no negative size")
        count = value
    }

    // MARK: Insert

    /// Adds an element that is not in the tree.
    package mutating func insert(_ score: Double, _ member: Entry, _ memory: Memory) {
        invariant(!score.isNaN, "scores have an order")
        let name = member.key
        var node = rootWithRoom(memory)
        var isLeftmost = true
        var isRightmost = true
        while !node.isLeaf {
            var index = max(node.countBelow(score, name, orEqual: true) &- 1, 0)
            isLeftmost = isLeftmost && index == 0
            isRightmost = isRightmost && index == node.count &- 1
            if _slowPath(node.child(index).isFull) {
                let edge: Edge = isRightmost ? .right : isLeftmost ? .left : .none
                index = split(node, index, edge, score, member, memory)
                isLeftmost = isLeftmost && index == 0
                isRightmost = isRightmost && index == node.count &- 1
            }
            if index == 0, !node.isBelow(0, score, name, orEqual: true) {
                node.setKey(0, score, member.base)
            }
            node.counts[index] &+= 1
            node = node.child(index)
        }
        let place = node.countBelow(score, name, orEqual: false)
        node.openGap(place)
        node.setKey(place, score, member.base)
        count &+= 1
    }

    /// The root, with room for one more key.
    @inline(__always)
    private mutating func rootWithRoom(_ memory: Memory) -> OrderNode {
        guard let root else {
            invariant(count == 0, "elements without a root")
            let leaf = makeNode(isLeaf: true, memory)
            self.root = leaf
            return leaf
        }
        return _fastPath(!root.isFull) ? root : raiseRoot(root, memory)
    }

    @inline(never)
    private mutating func raiseRoot(_ old: OrderNode, _ memory: Memory) -> OrderNode {
        let fresh = makeNode(isLeaf: false, memory)
        fresh.insertChild(old, at: 0, elements: count)
        fresh.refreshKey(0)
        root = fresh
        return fresh
    }

    /// The outer edge of the tree that an insertion runs along.
    private enum Edge { case none, left, right }

    /// Splits the full child `index` of `parent` and returns which half the new key belongs to. A
    /// half may be left empty for it: the new key then becomes that half's first.
    @inline(never)
    private mutating func split(
        _ parent: OrderNode, _ index: Int, _ edge: Edge, _ score: Double, _ member: Entry,
        _ memory: Memory
    ) -> Int {
        let left = parent.child(index)
        let kept = keysToKeep(left, edge, score, member.key)
        let right = makeNode(isLeaf: left.isLeaf, memory)
        let moved = left.move(kept..<left.count, to: right, at: 0)
        parent.insertChild(right, at: index + 1, elements: moved)
        parent.counts[index] -= moved
        if right.count == 0 {
            parent.setKey(index + 1, score, member.base)
            return index + 1
        }
        parent.refreshKey(index + 1)
        if left.count == 0 {
            parent.setKey(index, score, member.base)
            return index
        }
        return parent.isBelow(index + 1, score, member.key, orEqual: true) ? index + 1 : index
    }

    /// How many keys of a full node stay in it: half, or nearly all (nearly none) when the new key
    /// comes behind (before) everything else, since the next ones will probably do so too.
    private func keysToKeep(
        _ node: OrderNode, _ edge: Edge, _ score: Double, _ name: Bytes
    ) -> Int {
        let last = node.count - 1
        switch edge {
        case .right where node.isBelow(last, score, name, orEqual: true):
            return node.isLeaf ? node.count : last
        case .left where !node.isBelow(node.isLeaf ? 0 : 1, score, name, orEqual: true):
            return node.isLeaf ? 0 : 1
        default:
            return node.count / 2
        }
    }

    // MARK: Update

    /// Gives an element another score. When it keeps its place among its neighbours, nothing moves.
    package mutating func update(
        _ score: Double, _ member: Entry, to newScore: Double, _ memory: Memory
    ) {
        invariant(!newScore.isNaN, "scores have an order")
        guard remove(score, member, memory, unlessItKeepsItsPlaceWith: newScore) else { return }
        insert(newScore, member, memory)
    }

    // MARK: Check

    /// Stops the process when nodes, keys and counts contradict each other; for tests.
    package func checkInvariants() {
        guard let root else {
            invariant(count == 0 && leaves == 0 && inners == 0, "a tree without a root")
            return
        }
        var seen = (leaves: 0, inners: 0)
        invariant(check(root, &seen).elements == count, "the tree miscounts its elements")
        invariant(seen == (leaves, inners), "the tree miscounts its nodes")
    }

    private func check(
        _ node: OrderNode, _ seen: inout (leaves: Int, inners: Int)
    ) -> (elements: Int, depth: Int) {
        invariant(node.count > 0, "an empty node stays in the tree")
        for index in 1..<max(node.count, 1) {
            let below = node.isBelow(
                index - 1, node.scores[index], node.member(index).key, orEqual: false)
            invariant(below, "the keys of a node are not in order")
        }
        if node.isLeaf {
            seen.leaves += 1
            return (node.count, 0)
        }
        seen.inners += 1
        var sum = 0
        var depth: Int?
        for index in 0..<node.count {
            let child = node.child(index)
            let (elements, below) = check(child, &seen)
            invariant(elements == node.counts[index], "a node miscounts what is below")
            invariant(depth ?? below == below, "the leaves are at different depths")
            let isFirst =
                child.scores[0] == node.scores[index] && child.members[0] == node.members[index]
            invariant(isFirst, "an inner key is not the first of its child")
            sum += elements
            depth = below
        }
        return (sum, (depth ?? 0) + 1)
    }
}
