// Taking elements out of an `OrderTree`: one, a range of ranks (whole subtrees go without a look
// at their elements), or everything in slices. Sparse nodes are merged with a neighbour or filled
// up from it on the way back to the root.
import Base

extension OrderTree {
    // MARK: One

    /// Removes an element that is in the tree. Its entry is not freed, but never looked at again.
    /// With a new score it stays when it keeps its place among its neighbours, and gets that score:
    /// the result is false then.
    @discardableResult
    package mutating func remove(
        _ score: Double, _ member: Entry, _ memory: Memory,
        unlessItKeepsItsPlaceWith newScore: Double? = nil
    ) -> Bool {
        guard let root else { unreachable("an empty tree has no elements to remove") }
        guard remove(from: root, score, member, newScore, memory) else { return false }
        setCount(count &- 1)
        settleRoot(memory)
        return true
    }

    private mutating func remove(
        from node: OrderNode, _ score: Double, _ member: Entry, _ newScore: Double?,
        _ memory: Memory
    ) -> Bool {
        if node.isLeaf {
            guard let place = node.place(of: member, score) else {
                unreachable("the element is not in the tree")
            }
            if let newScore, node.keepsOrder(place, newScore) {
                node.scores[place] = newScore
                return false
            }
            node.closeGap(place..<(place &+ 1))
            return true
        }
        let index = node.countBelow(score, member.key, orEqual: true) &- 1
        invariant(index >= 0, "the element comes before all others")
        let child = node.child(index)
        guard remove(from: child, score, member, newScore, memory) else { return false }
        node.counts[index] &-= 1
        if _slowPath(child.count == 0) {
            freeNode(child, memory)
            node.closeGap(index..<(index &+ 1))
            return true
        }
        node.refreshKey(index)
        if _slowPath(child.count < OrderNode.sparse), node.count > 1 {
            balance(node, index == 0 ? 0 : index &- 1, memory)
        }
        return true
    }

    /// Merges the children `index` and `index + 1`, or shares their keys evenly. True when merged.
    @inline(never)
    @discardableResult
    private mutating func balance(_ parent: OrderNode, _ index: Int, _ memory: Memory) -> Bool {
        let left = parent.child(index)
        let right = parent.child(index + 1)
        let total = left.count + right.count
        let isMerge = total <= OrderNode.capacity
        let target = isMerge ? total : total / 2
        var gained = 0
        if left.count < target {
            gained = right.move(0..<(target - left.count), to: left, at: left.count)
        } else if left.count > target {
            gained = -left.move(target..<left.count, to: right, at: 0)
        }
        parent.counts[index] += gained
        parent.counts[index + 1] -= gained
        guard isMerge else {
            parent.refreshKey(index + 1)
            return false
        }
        invariant(parent.counts[index + 1] == 0, "a merged node keeps elements")
        freeNode(right, memory)
        parent.closeGap((index + 1)..<(index + 2))
        return true
    }

    /// Drops levels that are not needed any more.
    private mutating func settleRoot(_ memory: Memory) {
        while let node = root {
            if node.count == 0 {
                invariant(count == 0, "an empty root over elements")
                freeNode(node, memory)
                root = nil
            } else if !node.isLeaf, node.count == 1 {
                root = node.child(0)
                freeNode(node, memory)
            } else {
                return
            }
        }
    }

    // MARK: Many

    /// Removes the elements with ranks in `range`. Each is shown to `visit`, which may free its
    /// entry but must not touch the tree.
    package mutating func remove(
        ranks range: Range<Int>, _ memory: Memory, _ visit: (Double, Entry) -> Void
    ) {
        invariant(range.lowerBound >= 0 && range.upperBound <= count, "there are no such ranks")
        guard !range.isEmpty, let root else { return }
        remove(from: root, range, memory, visit)
        setCount(count - range.count)
        settleRoot(memory)
    }

    private mutating func remove(
        from node: OrderNode, _ range: Range<Int>, _ memory: Memory,
        _ visit: (Double, Entry) -> Void
    ) {
        if node.isLeaf {
            for place in range { visit(node.scores[place], node.member(place)) }
            node.closeGap(range)
            return
        }
        var offset = 0
        var gone = 0..<0
        // The first child that was cut into and became sparse.
        var sparse: Int?
        var index = 0
        while index < node.count, offset < range.upperBound {
            let elements = node.counts[index]
            let from = max(range.lowerBound - offset, 0)
            let to = min(range.upperBound - offset, elements)
            offset += elements
            if from < to {
                let child = node.child(index)
                if to - from == elements {
                    drop(child, memory, visit)
                    gone = (gone.isEmpty ? index : gone.lowerBound)..<(index + 1)
                } else {
                    remove(from: child, from..<to, memory, visit)
                    node.counts[index] = elements - (to - from)
                    node.refreshKey(index)
                    if child.count < OrderNode.sparse { sparse = sparse ?? index }
                }
            }
            index += 1
        }
        node.closeGap(gone)
        if let sparse {
            let isBehindGap = !gone.isEmpty && sparse >= gone.upperBound
            balance(node, around: isBehindGap ? gone.lowerBound : sparse, memory)
        }
    }

    /// Looks for sparse children on both sides of a cut.
    private mutating func balance(_ node: OrderNode, around cut: Int, _ memory: Memory) {
        var index = max(cut - 1, 0)
        var tries = 3
        while tries > 0, index + 1 < node.count {
            tries -= 1
            let sparse = OrderNode.sparse
            if node.child(index).count < sparse || node.child(index + 1).count < sparse,
                balance(node, index, memory)
            {
                continue
            }
            index += 1
        }
    }

    /// Frees a whole subtree.
    private mutating func drop(
        _ node: OrderNode, _ memory: Memory, _ visit: (Double, Entry) -> Void
    ) {
        for index in 0..<node.count {
            if node.isLeaf {
                visit(node.scores[index], node.member(index))
            } else {
                drop(node.child(index), memory, visit)
            }
        }
        freeNode(node, memory)
    }

    /// Removes up to `effort` elements from the end without a look at them: freeing in slices.
    package mutating func removeLast(_ effort: Int, _ memory: Memory) {
        invariant(effort >= 0, "nothing is removed backwards")
        remove(ranks: (count - min(effort, count))..<count, memory) { _, _ in }
    }
}
