// Walks through the entries of a stream between two IDs, in either direction. `next` gives the ID
// of an entry, `forEachField` then its fields and values. Nothing of the stream may change
// meanwhile.
import Base

public struct StreamIterator {
    private let first: StreamID
    private let last: StreamID
    private let isReverse: Bool
    /// Whether deleted entries are shown too.
    public var showsDeleted = false

    private var cursor: IDCursor?
    private var node: StreamNode?
    private var master: (count: Int, fields: Int) = (0, 0)
    /// Forwards the next entry, backwards the end of it.
    private var position = 0
    /// Of the entry that was given last: its fields or values, and whether those are all it has.
    private var content = 0
    private var isLikeMaster = false
    /// The number of fields of the entry that `next` gave last.
    public private(set) var fieldCount = 0

    /// Entries from `first` through `last`, the other way round when `reverse`.
    public init(
        _ stream: Stream, from first: StreamID = .zero, through last: StreamID = .highest,
        reverse: Bool = false
    ) {
        self.first = first
        self.last = last
        isReverse = reverse
        let nodes = stream.state
        if reverse {
            cursor = nodes.pointee.nodes.floor(last)
        } else {
            cursor = nodes.pointee.nodes.floor(first) ?? nodes.pointee.nodes.first
        }
    }

    /// The ID of the next entry; nil at the end.
    @inline(__always)
    public mutating func next() -> StreamID? {
        while let cursor {
            if node == nil { enter(cursor) }
            guard let node else { unreachable("the node was just entered") }
            if let (id, flags) = isReverse ? stepBack(node, cursor.id) : step(node, cursor.id) {
                if isReverse ? id < first : id > last {
                    self.cursor = nil
                    return nil
                }
                let isDeleted = flags & StreamNode.isDeleted != 0
                if isReverse ? id > last : id < first { continue }
                if isDeleted, !showsDeleted { continue }
                return id
            }
            self.node = nil
            self.cursor = isReverse ? cursor.previous : cursor.next
        }
        return nil
    }

    private mutating func enter(_ cursor: IDCursor) {
        let node = StreamNode(word: cursor.word)
        master = node.master
        position = isReverse ? node.endOfEntries : node.firstEntry
        self.node = node
    }

    @inline(__always)
    private mutating func step(_ node: StreamNode, _ masterID: StreamID) -> (StreamID, Int64)? {
        guard !node.isEnd(position) else { return nil }
        let found = look(node, position, masterID)
        position = skip(node)
        return found
    }

    @inline(__always)
    private mutating func stepBack(
        _ node: StreamNode, _ masterID: StreamID
    ) -> (StreamID, Int64)? {
        guard let flags = node.entry(before: position) else { return nil }
        position = flags
        return look(node, flags, masterID)
    }

    /// Reads the head of the entry at `start`.
    @inline(__always)
    private mutating func look(
        _ node: StreamNode, _ start: Int, _ masterID: StreamID
    ) -> (StreamID, Int64) {
        let flags = node.integer(start)
        let ms = node.after(start)
        let seq = node.after(ms)
        content = node.after(seq)
        isLikeMaster = flags & StreamNode.hasMasterFields != 0
        fieldCount = master.count
        if !isLikeMaster {
            fieldCount = Int(node.integer(content))
            content = node.after(content)
        }
        let id = StreamID(
            masterID.ms &+ UInt64(bitPattern: node.integer(ms)),
            masterID.seq &+ UInt64(bitPattern: node.integer(seq)))
        return (id, flags)
    }

    /// Where the entry after the one that was just looked at begins.
    @inline(__always)
    private func skip(_ node: StreamNode) -> Int {
        var at = content
        var left = isLikeMaster ? fieldCount : fieldCount &* 2
        while left > 0 {
            at = node.after(at)
            left &-= 1
        }
        return node.after(at)
    }

    /// Calls `body` with each field and value of the entry that `next` gave last.
    @inline(__always)
    public func forEachField(_ body: (PackedValue, PackedValue) -> Void) {
        guard let node else { unreachable("there is no entry to read") }
        let pack = UnsafePointer(node.pack)
        var field = isLikeMaster ? master.fields : content
        var value = content
        for _ in 0..<fieldCount {
            if !isLikeMaster { value = node.after(field) }
            body(PackedElement.read(pack + field), PackedElement.read(pack + value))
            if isLikeMaster {
                field = node.after(field)
                value = node.after(value)
            } else {
                field = node.after(value)
            }
        }
    }
}
