// The walk of a snapshot over a long stream, node by node in the order of their IDs. A node that
// changes or leaves before its turn is set aside in a tree of its own. What a stream knows besides
// its entries, and its groups with what is pending, is copied when the walk begins: it is small
// beside the entries, and all of it may change with any command.
import Base

struct StreamWalkState {
    let stream: Stream
    /// A stream without nodes: lengths, IDs and groups as they were.
    let frozen: Stream
    /// Nodes when the walk began.
    let nodeCount: Int
    /// The master ID of the last of them; nodes behind it are new.
    let last: StreamID
    var done = 0
    /// The master ID of the node that was visited last.
    var cursor: StreamID?
    /// Nodes by their master ID as they were; 0 stands for one that was not there.
    var aside = IDTree()

    static var size: Int { MemoryLayout<StreamWalkState>.size }

    /// The node with this ID, or that it is none, is still to be kept as it is.
    func needs(_ master: StreamID) -> Bool {
        if let cursor, master <= cursor { return false }
        return master <= last && aside.find(master) == nil
    }
}

extension Stream {
    /// To be called before a node changes: a walk that has not reached it keeps a copy.
    @inline(__always)
    func willChange(_ cursor: IDCursor, _ memory: Memory) {
        if _slowPath(state.pointee.walk != nil) { setAsideCopy(cursor, memory) }
    }

    @inline(never)
    private func setAsideCopy(_ cursor: IDCursor, _ memory: Memory) {
        guard let walk = state.pointee.walk, walk.pointee.needs(cursor.id) else { return }
        let copy = StreamNode.copy(StreamNode(word: cursor.word).bytes, memory)
        walk.pointee.aside.insert(cursor.id, copy.word, memory)
    }

    /// Frees a node that left the stream, or leaves it to a walk.
    func retire(_ master: StreamID, _ node: StreamNode, _ memory: Memory) {
        guard let walk = state.pointee.walk, walk.pointee.needs(master) else {
            return node.free(memory)
        }
        walk.pointee.aside.insert(master, node.word, memory)
    }

    /// A new node: after XSETID it may come before nodes that a walk still has to visit.
    func didAdd(_ master: StreamID, _ memory: Memory) {
        guard let walk = state.pointee.walk, walk.pointee.needs(master) else { return }
        walk.pointee.aside.insert(master, 0, memory)
    }
}

/// A walk over the nodes as they were when it began; each is visited once, in order.
public struct StreamWalk {
    let state: UnsafeMutablePointer<StreamWalkState>

    /// The handle again, from what `ObjectType.openWalk` gave.
    public init(_ raw: UnsafeMutableRawPointer) {
        state = raw.assumingMemoryBound(to: StreamWalkState.self)
    }

    /// Nodes when the walk began.
    public var nodeCount: Int { state.pointee.nodeCount }

    /// All but the nodes, as it was when the walk began.
    public var frozen: Stream { state.pointee.frozen }

    static func open(_ stream: Stream, _ memory: Memory) -> StreamWalk {
        invariant(stream.state.pointee.walk == nil, "a stream is walked once at a time")
        let block = memory.allocate(StreamWalkState.size)
            .bindMemory(to: StreamWalkState.self, capacity: 1)
        block.initialize(
            to: StreamWalkState(
                stream: stream, frozen: stream.copyWithoutNodes(memory),
                nodeCount: stream.nodeCount,
                last: stream.state.pointee.nodes.last?.id ?? .zero))
        stream.state.pointee.walk = block
        return StreamWalk(block)
    }

    /// Visits about `effort` nodes; true when all were visited.
    public func advance(
        _ effort: Int, _ memory: Memory, _ visit: (StreamID, Bytes) -> Void
    ) -> Bool {
        for _ in 0..<effort {
            var live = nextLive
            if let old = state.pointee.aside.first, live.map({ old.id <= $0.id }) ?? true {
                state.pointee.cursor = old.id
                if old.word != 0 {
                    let node = StreamNode(word: old.word)
                    state.pointee.done += 1
                    visit(old.id, node.bytes)
                    node.free(memory)
                }
                state.pointee.aside.remove(old.id, memory)
                continue
            }
            if let found = live, found.id > state.pointee.last { live = nil }
            guard let live else {
                invariant(state.pointee.done == nodeCount, "a walk lost nodes")
                return true
            }
            state.pointee.cursor = live.id
            state.pointee.done += 1
            visit(live.id, StreamNode(word: live.word).bytes)
        }
        return false
    }

    /// The first node of the stream that comes behind the cursor.
    private var nextLive: IDCursor? {
        let nodes = state.pointee.stream.state.pointee.nodes
        guard let cursor = state.pointee.cursor else { return nodes.first }
        guard let found = nodes.lowerBound(cursor) else { return nil }
        return found.id == cursor ? found.next : found
    }

    /// Ends the walk, complete or not.
    func close(_ memory: Memory) {
        while let old = state.pointee.aside.first {
            if old.word != 0 { StreamNode(word: old.word).free(memory) }
            state.pointee.aside.remove(old.id, memory)
        }
        state.pointee.aside.release(memory)
        while !state.pointee.frozen.release(memory, effort: .max) {}
        state.pointee.stream.state.pointee.walk = nil
        memory.free(state, StreamWalkState.size)
    }
}

extension Stream {
    /// Nodes hold kilobytes, where entries of tables hold one element.
    private static let elementsPerNode = 32

    /// What `ObjectType.openWalk` is for streams.
    public static let openWalk: ObjectType.OpenWalk = { payload, _, heap, threshold in
        let stream = Stream(payload)
        guard stream.nodeCount >= max(1, threshold / elementsPerNode) else { return nil }
        let walk = StreamWalk.open(stream, ObjectHeap(raw: heap).memory)
        return UnsafeMutableRawPointer(walk.state)
    }

    /// What `ObjectType.closeWalk` is for streams.
    public static let closeWalk: ObjectType.CloseWalk = { walk, heap in
        StreamWalk(walk).close(ObjectHeap(raw: heap).memory)
    }
}
