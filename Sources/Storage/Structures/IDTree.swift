// An ordered map from stream IDs to words: the nodes of a stream, the pending entries of a group
// and of a consumer. A B+tree with linked leaves. IDs mostly come in ascending order and leave from
// the front, so a split at the right end leaves the left node full, and nodes that become empty
// leave the tree at once. A tree of a few entries is one small leaf, for most consumers have little
// pending. The tree owns its nodes, not what the words mean; `release` gives them back.
//
//     u16 count · u16 capacity · u8 level · 3 unused · previous · next · IDs … · words …
import Base

/// A node; a handle to its block.
struct IDNode {
    let base: UnsafeMutableRawPointer
    static let fullCapacity = 32
    static let smallestCapacity = 4
    private static let headerSize = 24

    @inline(__always)
    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    static func size(capacity: Int) -> Int { headerSize + capacity * 24 }

    static func make(level: Int, capacity: Int, _ memory: Memory) -> IDNode {
        invariant(capacity <= fullCapacity && level < 256, "no such node")
        let node = IDNode(memory.allocate(size(capacity: capacity)))
        clearBytes(node.base, count: headerSize)
        node.base.storeBytes(of: UInt16(capacity), toByteOffset: 2, as: UInt16.self)
        node.base.storeBytes(of: UInt8(level), toByteOffset: 4, as: UInt8.self)
        return node
    }

    func free(_ memory: Memory) { memory.free(base, IDNode.size(capacity: capacity)) }

    @inline(__always)
    var count: Int {
        get { Int(base.load(as: UInt16.self)) }
        nonmutating set {
            invariant(newValue >= 0 && newValue <= capacity, "a node with a wrong count")
            base.storeBytes(of: UInt16(truncatingIfNeeded: newValue), as: UInt16.self)
        }
    }
    @inline(__always)
    var capacity: Int { Int(base.load(fromByteOffset: 2, as: UInt16.self)) }
    @inline(__always)
    var level: Int { Int(base.load(fromByteOffset: 4, as: UInt8.self)) }
    @inline(__always)
    var isLeaf: Bool { level == 0 }

    @inline(__always)
    private func link(_ offset: Int) -> IDNode? {
        let word = base.load(fromByteOffset: offset, as: UInt.self)
        return UnsafeMutableRawPointer(bitPattern: word).map { IDNode($0) }
    }
    @inline(__always)
    private func setLink(_ offset: Int, _ node: IDNode?) {
        let word = node.map { UInt(bitPattern: $0.base) } ?? 0
        base.storeBytes(of: word, toByteOffset: offset, as: UInt.self)
    }
    /// The leaf before this one.
    @inline(__always)
    var previous: IDNode? {
        get { link(8) }
        nonmutating set { setLink(8, newValue) }
    }
    /// The leaf after this one.
    @inline(__always)
    var next: IDNode? {
        get { link(16) }
        nonmutating set { setLink(16, newValue) }
    }

    @inline(__always)
    var ids: UnsafeMutablePointer<StreamID> {
        (base + IDNode.headerSize).assumingMemoryBound(to: StreamID.self)
    }
    @inline(__always)
    var words: UnsafeMutablePointer<UInt64> {
        (base + IDNode.headerSize + capacity &* 16).assumingMemoryBound(to: UInt64.self)
    }

    @inline(__always)
    func child(_ index: Int) -> IDNode {
        invariant(!isLeaf && index >= 0 && index < count, "no such child")
        guard let pointer = UnsafeMutableRawPointer(bitPattern: UInt(words[index])) else {
            unreachable("a child without an address")
        }
        return IDNode(pointer)
    }

    /// The position of the first ID that is not below `id`.
    @inline(__always)
    func lowerBound(_ id: StreamID) -> Int {
        let ids = self.ids
        var low = 0
        var high = count
        // What is added or read is mostly at the end.
        if high > 0, ids[high &- 1] < id { return high }
        while low < high {
            let middle = (low &+ high) &>> 1
            if ids[middle] < id { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// The child that covers `id`; the first covers everything below the second.
    @inline(__always)
    func childIndex(_ id: StreamID) -> Int {
        let bound = lowerBound(id)
        if bound < count, ids[bound] == id { return bound }
        return max(bound &- 1, 0)
    }

    func insert(_ id: StreamID, _ word: UInt64, at index: Int) {
        let count = self.count
        invariant(count < capacity && index >= 0 && index <= count, "no room in a node")
        let ids = self.ids
        let words = self.words
        moveBytes(to: ids + index + 1, from: ids + index, count: (count - index) * 16)
        moveBytes(to: words + index + 1, from: words + index, count: (count - index) * 8)
        ids[index] = id
        words[index] = word
        self.count = count + 1
    }

    func remove(at index: Int) {
        let count = self.count
        invariant(index >= 0 && index < count, "nothing to remove from a node")
        let ids = self.ids
        let words = self.words
        let rest = count - index - 1
        moveBytes(to: ids + index, from: ids + index + 1, count: rest * 16)
        moveBytes(to: words + index, from: words + index + 1, count: rest * 8)
        self.count = count - 1
    }

    /// Moves everything from `start` on behind the last entry of `target`.
    func move(from start: Int, to target: IDNode) {
        let moved = count - start
        let end = target.count
        copyBytes(to: target.ids + end, from: ids + start, count: moved * 16)
        copyBytes(to: target.words + end, from: words + start, count: moved * 8)
        target.count = end + moved
        count = start
    }
}

/// A place in a tree: an entry that exists. Valid until the tree changes.
public struct IDCursor {
    let leaf: IDNode
    let index: Int

    @inline(__always)
    public var id: StreamID { leaf.ids[index] }
    @inline(__always)
    public var word: UInt64 { leaf.words[index] }
    @inline(__always)
    public func setWord(_ word: UInt64) { leaf.words[index] = word }

    @inline(__always)
    public var next: IDCursor? {
        if index &+ 1 < leaf.count { return IDCursor(leaf: leaf, index: index &+ 1) }
        return leaf.next.map { IDCursor(leaf: $0, index: 0) }
    }

    @inline(__always)
    public var previous: IDCursor? {
        if index > 0 { return IDCursor(leaf: leaf, index: index &- 1) }
        return leaf.previous.map { IDCursor(leaf: $0, index: $0.count &- 1) }
    }
}

/// The map. A value that lives in the block of its owner.
public struct IDTree {
    var root: IDNode?
    var firstLeaf: IDNode?
    var lastLeaf: IDNode?
    /// Entries.
    public internal(set) var count = 0
    /// Bytes of all nodes.
    public internal(set) var bytes = 0

    @inline(__always)
    public init() {}

    @inline(__always)
    public var isEmpty: Bool { count == 0 }

    /// Nodes of the tree, as full ones.
    public var nodeCount: Int {
        let full = IDNode.size(capacity: IDNode.fullCapacity)
        return (bytes + full - 1) / full
    }

    // MARK: Looking up

    @inline(__always)
    public var first: IDCursor? { firstLeaf.map { IDCursor(leaf: $0, index: 0) } }
    @inline(__always)
    public var last: IDCursor? { lastLeaf.map { IDCursor(leaf: $0, index: $0.count &- 1) } }

    @inline(__always)
    private func leaf(for id: StreamID) -> IDNode? {
        guard var node = root else { return nil }
        while !node.isLeaf { node = node.child(node.childIndex(id)) }
        return node
    }

    /// The entry of `id`.
    public func find(_ id: StreamID) -> IDCursor? {
        guard let leaf = leaf(for: id) else { return nil }
        let index = leaf.lowerBound(id)
        guard index < leaf.count, leaf.ids[index] == id else { return nil }
        return IDCursor(leaf: leaf, index: index)
    }

    /// The first entry that is not below `id`.
    public func lowerBound(_ id: StreamID) -> IDCursor? {
        guard let leaf = leaf(for: id) else { return nil }
        let index = leaf.lowerBound(id)
        if index < leaf.count { return IDCursor(leaf: leaf, index: index) }
        return leaf.next.map { IDCursor(leaf: $0, index: 0) }
    }

    /// The last entry that is not above `id`.
    public func floor(_ id: StreamID) -> IDCursor? {
        guard let leaf = leaf(for: id) else { return nil }
        let index = leaf.lowerBound(id)
        if index < leaf.count, leaf.ids[index] == id { return IDCursor(leaf: leaf, index: index) }
        if index > 0 { return IDCursor(leaf: leaf, index: index - 1) }
        return leaf.previous.map { IDCursor(leaf: $0, index: $0.count - 1) }
    }
}
