// A stream: entries in listpack nodes behind an index by ID, what the stream remembers of entries
// that are gone, and its consumer groups. `Stream` is a handle to the block that the key's entry
// points to; the block stays where it is for the life of the value. Whoever changes a stream calls
// `keyspace.willChange` first.
import Base

struct StreamState {
    /// Nodes by their master ID.
    var nodes = IDTree()
    /// Entries that are not deleted.
    var length = 0
    var lastID = StreamID.zero
    /// The first entry; zero when there is none.
    var firstID = StreamID.zero
    /// The highest ID that XDEL removed.
    var maxDeletedID = StreamID.zero
    /// Entries that were ever added.
    var entriesAdded: UInt64 = 0
    var groups = NameList()
    /// The walk of a snapshot that reads the stream.
    var walk: UnsafeMutablePointer<StreamWalkState>?
}

/// Up to where a node is filled.
public struct StreamNodeLimits {
    let bytes: Int
    let entries: Int

    public init(_ limits: EncodingLimits) {
        let wanted = limits.streamNodeBytes
        bytes = wanted == 0 ? StreamNode.sizeLimit : min(wanted, StreamNode.sizeLimit)
        entries = limits.streamNodeEntries
    }
}

public struct Stream: Equatable {
    public let base: UnsafeMutableRawPointer

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always)
    var state: UnsafeMutablePointer<StreamState> {
        base.assumingMemoryBound(to: StreamState.self)
    }

    /// An empty stream.
    public static func make(_ memory: Memory) -> Stream {
        let block = memory.allocate(MemoryLayout<StreamState>.size)
        block.bindMemory(to: StreamState.self, capacity: 1).initialize(to: StreamState())
        return Stream(block)
    }

    // MARK: Facts

    @inline(__always)
    public var length: Int { state.pointee.length }
    public var lastID: StreamID {
        get { state.pointee.lastID }
        nonmutating set { state.pointee.lastID = newValue }
    }
    public var firstID: StreamID {
        get { state.pointee.firstID }
        nonmutating set { state.pointee.firstID = newValue }
    }
    public var maxDeletedID: StreamID {
        get { state.pointee.maxDeletedID }
        nonmutating set { state.pointee.maxDeletedID = newValue }
    }
    public var entriesAdded: UInt64 {
        get { state.pointee.entriesAdded }
        nonmutating set { state.pointee.entriesAdded = newValue }
    }
    /// Nodes of entries.
    public var nodeCount: Int { state.pointee.nodes.count }
    /// Nodes of the index.
    public var indexNodeCount: Int { state.pointee.nodes.nodeCount }

    /// The last entry that is not deleted.
    public var lastLiveID: StreamID? {
        var iterator = StreamIterator(self, reverse: true)
        return iterator.next()
    }

    /// The first entry; deleted ones count too when `withDeleted`.
    public func edgeID(withDeleted: Bool) -> StreamID? {
        var iterator = StreamIterator(self)
        iterator.showsDeleted = withDeleted
        return iterator.next()
    }

    public func contains(_ id: StreamID) -> Bool {
        var iterator = StreamIterator(self, from: id, through: id)
        return iterator.next() != nil
    }

    // MARK: Adding

    /// Adds an entry behind all others. Fields and values alternate in `fields`.
    public func append(
        _ id: StreamID, _ fields: UnsafePointer<Bytes>, _ count: Int, size: Int,
        _ limits: StreamNodeLimits, _ memory: Memory
    ) {
        invariant(id > lastID, "entries come in order")
        if let cursor = state.pointee.nodes.last {
            var node = StreamNode(word: cursor.word)
            let isFull =
                node.totalBytes + size >= limits.bytes
                || (limits.entries > 0 && node.live + node.deleted >= Int64(limits.entries))
            if isFull {
                node.shrink(memory)
                cursor.setWord(node.word)
                appendNode(id, fields, count, memory)
            } else {
                willChange(cursor, memory)
                node.append(id, master: cursor.id, fields, count, memory)
                cursor.setWord(node.word)
            }
        } else {
            appendNode(id, fields, count, memory)
        }
        state.pointee.length += 1
        state.pointee.entriesAdded &+= 1
        state.pointee.lastID = id
        if state.pointee.length == 1 { state.pointee.firstID = id }
    }

    private func appendNode(
        _ id: StreamID, _ fields: UnsafePointer<Bytes>, _ count: Int, _ memory: Memory
    ) {
        var node = StreamNode.make(fields, count, memory)
        node.append(id, master: id, fields, count, memory)
        let isNew = state.pointee.nodes.insert(id, node.word, memory)
        invariant(isNew, "two nodes with one master ID")
        didAdd(id, memory)
    }

    // MARK: Removing

    /// Removes an entry; false when there is none. What the stream remembers of it is up to the
    /// caller.
    public func remove(_ id: StreamID, _ memory: Memory) -> Bool {
        guard let cursor = state.pointee.nodes.floor(id) else { return false }
        var node = StreamNode(word: cursor.word)
        let masterCount = node.master.count
        var position = node.firstEntry
        while !node.isEnd(position) {
            let found = node.id(at: position, master: cursor.id)
            if found > id { return false }
            if found == id {
                guard node.integer(position) & StreamNode.isDeleted == 0 else { return false }
                remove(&node, position, cursor, memory)
                return true
            }
            position = node.entry(after: position, masterCount: masterCount)
        }
        return false
    }

    private func remove(
        _ node: inout StreamNode, _ position: Int, _ cursor: IDCursor, _ memory: Memory
    ) {
        if node.live == 1 {
            removeNode(cursor.id, memory)
        } else {
            willChange(cursor, memory)
            node.markDeleted(position, memory)
            node.setCounts(live: node.live - 1, deleted: node.deleted + 1, memory)
            cursor.setWord(node.word)
        }
        state.pointee.length -= 1
        invariant(state.pointee.length >= 0, "a stream of negative length")
    }

    func removeNode(_ master: StreamID, _ memory: Memory) {
        guard let word = state.pointee.nodes.remove(master, memory) else {
            unreachable("a node that is not in the index")
        }
        retire(master, StreamNode(word: word), memory)
    }

    /// The first entry may be gone: finds the one that is first now.
    public func refreshFirstID() {
        state.pointee.firstID = edgeID(withDeleted: false) ?? .zero
    }
}
