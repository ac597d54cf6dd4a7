// The large form of a sorted set: one block with the table of members and the tree of their order.
// An entry of the table is a member with the bits of its score as payload; it stays where it is as
// long as the member lives, so that the tree can point to it.
import Base

extension Entry {
    /// The score of a member of a large sorted set.
    @inline(__always)
    package var score: Double {
        get { Double(bitPattern: payloadWord) }
        nonmutating set { payloadWord = newValue.bitPattern }
    }
}

struct LargeSortedSet {
    let base: UnsafeMutableRawPointer
    private static let size = MemoryLayout<OrderTree>.stride + 8

    @inline(__always)
    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    static func make(_ heap: ObjectHeap, reserving count: Int) -> LargeSortedSet {
        let set = LargeSortedSet(heap.memory.allocate(size))
        set.tree.initialize(to: OrderTree())
        set.base.storeBytes(
            of: FieldTable.make(heap, reserving: count).base,
            toByteOffset: MemoryLayout<OrderTree>.stride, as: UnsafeMutableRawPointer.self)
        return set
    }

    @inline(__always)
    var tree: UnsafeMutablePointer<OrderTree> { base.assumingMemoryBound(to: OrderTree.self) }

    @inline(__always)
    var table: FieldTable {
        FieldTable(
            base.load(
                fromByteOffset: MemoryLayout<OrderTree>.stride, as: UnsafeMutableRawPointer.self))
    }

    @inline(__always)
    var count: Int { tree.pointee.count }

    // MARK: Change

    /// Adds a member that is not there.
    @inline(__always)
    func insert(_ member: Bytes, _ score: Double, _ heap: ObjectHeap) {
        let entry = table.insert(member, word: score.bitPattern, heap)
        tree.pointee.insert(score, entry, heap.memory)
    }

    /// Gives a member another score.
    @inline(__always)
    func update(_ entry: Entry, to score: Double, _ heap: ObjectHeap) {
        table.willChange(entry, heap.memory)
        tree.pointee.update(entry.score, entry, to: score, heap.memory)
        entry.score = score
    }

    /// Removes a member; false when it is not there.
    func remove(_ member: Bytes, _ heap: ObjectHeap) -> Bool {
        guard let entry = table.find(member, heap) else { return false }
        tree.pointee.remove(entry.score, entry, heap.memory)
        let removed = table.remove(member, heap)
        invariant(removed, "the table lost a member")
        return true
    }

    func remove(ranks range: Range<Int>, _ heap: ObjectHeap) {
        let table = self.table
        tree.pointee.remove(ranks: range, heap.memory) { _, entry in
            let removed = table.remove(entry.key, heap)
            invariant(removed, "the table lost a member")
        }
    }

    // MARK: Whole

    /// Frees about `effort` elements; true when everything is gone, this block included.
    func release(_ memory: Memory, effort: Int) -> Bool {
        if count > 0 {
            tree.pointee.removeLast(effort, memory)
            if count > 0 { return false }
        }
        guard table.release(memory, effort: effort) else { return false }
        memory.free(base, LargeSortedSet.size)
        return true
    }

    func copy(_ heap: ObjectHeap) -> LargeSortedSet {
        let fresh = LargeSortedSet.make(heap, reserving: count)
        tree.pointee.forEach(in: 0..<count) { score, entry in
            fresh.insert(entry.key, score, heap)
            return true
        }
        return fresh
    }

    func memoryUsage(samples: Int) -> Int {
        Memory.roundedSize(LargeSortedSet.size) + tree.pointee.memoryUsage
            + table.memoryUsage(samples: samples)
    }
}
