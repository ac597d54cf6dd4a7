// Adding to and removing from an `IDTree`, its end, and its check against itself. The way from the
// root to a leaf is kept on the stack while a change works its way up.
import Base

/// The way from the root down to a leaf: nodes, and the child that was taken.
private struct IDPath {
    private var steps: [20 of (UInt, Int)] = .init(repeating: (0, 0))
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func push(_ node: IDNode, _ index: Int) {
        steps[count] = (UInt(bitPattern: node.base), index)
        count += 1
    }

    mutating func pop() -> (node: IDNode, index: Int)? {
        guard count > 0 else { return nil }
        count -= 1
        return top(at: count)
    }

    var last: (node: IDNode, index: Int)? { count > 0 ? top(at: count - 1) : nil }

    private func top(at position: Int) -> (node: IDNode, index: Int) {
        let (address, index) = steps[position]
        guard let base = UnsafeMutableRawPointer(bitPattern: address) else {
            unreachable("a step without a node")
        }
        return (IDNode(base), index)
    }
}

extension IDTree {
    // MARK: Adding

    /// Adds an entry; false, and no change, when the ID is there already.
    @discardableResult
    public mutating func insert(_ id: StreamID, _ word: UInt64, _ memory: Memory) -> Bool {
        guard let root else {
            let leaf = makeNode(level: 0, capacity: IDNode.smallestCapacity, memory)
            leaf.insert(id, word, at: 0)
            (self.root, firstLeaf, lastLeaf) = (leaf, leaf, leaf)
            count = 1
            return true
        }
        var path = IDPath()
        var leaf = descend(root, id, &path)
        let index = leaf.lowerBound(id)
        if index < leaf.count, leaf.ids[index] == id { return false }
        count += 1
        if leaf.count == leaf.capacity, leaf.capacity < IDNode.fullCapacity {
            invariant(path.isEmpty, "only a root is small")
            leaf = grow(leaf, memory)
        }
        if leaf.count < leaf.capacity {
            leaf.insert(id, word, at: index)
            return true
        }
        split(leaf, id, word, at: index, &path, memory)
        return true
    }

    private func descend(_ root: IDNode, _ id: StreamID, _ path: inout IDPath) -> IDNode {
        var node = root
        while !node.isLeaf {
            let index = node.childIndex(id)
            // The first child takes what is below it; its key must not be above what it holds.
            if index == 0, id < node.ids[0] { node.ids[0] = id }
            path.push(node, index)
            node = node.child(index)
        }
        return node
    }

    private mutating func makeNode(level: Int, capacity: Int, _ memory: Memory) -> IDNode {
        bytes += IDNode.size(capacity: capacity)
        return IDNode.make(level: level, capacity: capacity, memory)
    }

    private mutating func freeNode(_ node: IDNode, _ memory: Memory) {
        bytes -= IDNode.size(capacity: node.capacity)
        node.free(memory)
    }

    /// A small root in a block of twice the capacity.
    private mutating func grow(_ leaf: IDNode, _ memory: Memory) -> IDNode {
        let fresh = makeNode(level: 0, capacity: leaf.capacity * 2, memory)
        leaf.move(from: 0, to: fresh)
        freeNode(leaf, memory)
        (root, firstLeaf, lastLeaf) = (fresh, fresh, fresh)
        return fresh
    }

    private mutating func split(
        _ leaf: IDNode, _ id: StreamID, _ word: UInt64, at index: Int, _ path: inout IDPath,
        _ memory: Memory
    ) {
        let right = makeNode(level: 0, capacity: IDNode.fullCapacity, memory)
        if index == leaf.count, leaf.next == nil {
            right.insert(id, word, at: 0)
        } else {
            let middle = leaf.count / 2
            leaf.move(from: middle, to: right)
            if index <= middle {
                leaf.insert(id, word, at: index)
            } else {
                right.insert(id, word, at: index - middle)
            }
        }
        right.previous = leaf
        right.next = leaf.next
        if let after = leaf.next { after.previous = right } else { lastLeaf = right }
        leaf.next = right
        insertChild(right, right.ids[0], beside: leaf, &path, memory)
    }

    /// Puts a new node behind the child that `path` leads to, splitting parents as needed.
    private mutating func insertChild(
        _ node: IDNode, _ lowest: StreamID, beside left: IDNode, _ path: inout IDPath,
        _ memory: Memory
    ) {
        var node = node
        var lowest = lowest
        var left = left
        while let (parent, index) = path.pop() {
            let word = UInt64(UInt(bitPattern: node.base))
            if parent.count < parent.capacity {
                parent.insert(lowest, word, at: index + 1)
                return
            }
            let right = makeNode(
                level: parent.level, capacity: IDNode.fullCapacity, memory)
            if index + 1 == parent.count {
                right.insert(lowest, word, at: 0)
            } else {
                let middle = parent.count / 2
                parent.move(from: middle, to: right)
                if index + 1 <= middle {
                    parent.insert(lowest, word, at: index + 1)
                } else {
                    right.insert(lowest, word, at: index + 1 - middle)
                }
            }
            node = right
            lowest = right.ids[0]
            left = parent
        }
        let top = makeNode(level: left.level + 1, capacity: IDNode.fullCapacity, memory)
        top.insert(.zero, UInt64(UInt(bitPattern: left.base)), at: 0)
        top.insert(lowest, UInt64(UInt(bitPattern: node.base)), at: 1)
        root = top
    }

    // MARK: Removing

    /// Removes an entry and returns its word; nil when there is none.
    @discardableResult
    public mutating func remove(_ id: StreamID, _ memory: Memory) -> UInt64? {
        guard let root else { return nil }
        var path = IDPath()
        let leaf = descend(root, id, &path)
        let index = leaf.lowerBound(id)
        guard index < leaf.count, leaf.ids[index] == id else { return nil }
        let word = leaf.words[index]
        leaf.remove(at: index)
        count -= 1
        if leaf.count == 0 {
            unlink(leaf, memory)
            removeChild(&path, memory)
        } else if leaf.count <= leaf.capacity / 4, let (parent, index) = path.last {
            merge(leaf, parent, index, &path, memory)
        }
        return word
    }

    /// Takes a leaf out of the chain and frees it.
    private mutating func unlink(_ leaf: IDNode, _ memory: Memory) {
        let (before, after) = (leaf.previous, leaf.next)
        if let before { before.next = after } else { firstLeaf = after }
        if let after { after.previous = before } else { lastLeaf = before }
        freeNode(leaf, memory)
    }

    /// Joins a leaf that became small with a neighbour that has room.
    private mutating func merge(
        _ leaf: IDNode, _ parent: IDNode, _ index: Int, _ path: inout IDPath, _ memory: Memory
    ) {
        let limit = IDNode.fullCapacity * 3 / 4
        if index + 1 < parent.count, leaf.count + parent.child(index + 1).count <= limit {
            let right = parent.child(index + 1)
            right.move(from: 0, to: leaf)
            unlink(right, memory)
            _ = path.pop()
            path.push(parent, index + 1)
            removeChild(&path, memory)
        } else if index > 0, leaf.count + parent.child(index - 1).count <= limit {
            leaf.move(from: 0, to: parent.child(index - 1))
            unlink(leaf, memory)
            removeChild(&path, memory)
        }
    }

    /// Takes the child that `path` leads to out of its parent, which may go too.
    private mutating func removeChild(_ path: inout IDPath, _ memory: Memory) {
        while let (parent, index) = path.pop() {
            parent.remove(at: index)
            if parent.count > 0 {
                collapse(memory)
                return
            }
            freeNode(parent, memory)
        }
        invariant(count == 0, "the root went before its entries")
        self = IDTree()
    }

    /// A root with one child is none.
    private mutating func collapse(_ memory: Memory) {
        while let top = root, !top.isLeaf, top.count == 1 {
            root = top.child(0)
            freeNode(top, memory)
        }
    }

    // MARK: The end

    /// Frees all nodes. What the words stand for is the caller's.
    public mutating func release(_ memory: Memory) {
        if let root { release(root, memory) }
        self = IDTree()
    }

    private func release(_ node: IDNode, _ memory: Memory) {
        if !node.isLeaf {
            for index in 0..<node.count { release(node.child(index), memory) }
        }
        node.free(memory)
    }

    /// Stops the process when order, links or counts are wrong (tests).
    public func checkInvariants() {
        var seen = 0
        var cursor = first
        var before: StreamID?
        while let current = cursor {
            if let before { invariant(before < current.id, "IDs out of order") }
            invariant(find(current.id)?.word == current.word, "an ID cannot be found")
            before = current.id
            seen += 1
            cursor = current.next
        }
        invariant(seen == count, "the tree miscounts its entries")
        invariant(last?.id == before, "the last leaf is not the last")
    }
}
