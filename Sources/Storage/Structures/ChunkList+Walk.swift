// The walk of a snapshot over a long list, chunk by chunk from the front. Each chunk carries the
// number of the last walk that has no need of it: chunks with another number are yet to be
// serialised. Before such a chunk changes a copy is left in front of it, and one that leaves the
// chain is itself left in front of its successor, so that the old chunks stay in their order
// whatever becomes of the new ones: the walk visits what was left in front of a chunk, then the
// chunk if it is an old one. New chunks are born with the number of the running walk.
import Base

struct ListWalkState {
    let list: ChunkList
    /// Chunks when the walk began.
    let chunkCount: Int
    var done = 0
    /// The chunk that comes next; nil at the end of the chain.
    var cursor: Chunk?
    /// What was left behind the last chunk.
    var tail: Chunk?

    static var size: Int { MemoryLayout<ListWalkState>.size }
}

extension ChunkList {
    /// To be called before a chunk changes: a walk that has not reached it keeps a copy.
    @inline(__always)
    func willChange(_ chunk: Chunk, _ memory: Memory) {
        if _slowPath(walk != nil) { leaveCopy(chunk, memory) }
    }

    @inline(never)
    private func leaveCopy(_ chunk: Chunk, _ memory: Memory) {
        guard chunk.mark != mark else { return }
        let copy = Chunk(memory.allocate(chunk.capacity))
        copyBytes(to: copy.base, from: chunk.base, count: chunk.capacity)
        chunk.left = ChunkList.chain(chunk.left, copy)
        chunk.mark = mark
    }

    /// Takes a chunk out of the list and frees it, or leaves it to a walk.
    func drop(_ chunk: Chunk, _ memory: Memory) {
        let next = chunk.next
        unlink(chunk)
        guard let walk else { return chunk.free(memory) }
        if walk.pointee.cursor == chunk { walk.pointee.cursor = next }
        var left = chunk.left
        if chunk.mark != mark {
            left = ChunkList.chain(left, chunk)
        } else {
            chunk.free(memory)
        }
        guard let left else { return }
        if let next {
            next.left = ChunkList.join(left, next.left)
        } else {
            walk.pointee.tail = ChunkList.join(left, walk.pointee.tail)
        }
    }

    /// A chunk was moved to another block.
    func didMove(_ chunk: Chunk, to fresh: Chunk) {
        fresh.mark = chunk.mark
        fresh.left = chunk.left
        if let walk, walk.pointee.cursor == chunk { walk.pointee.cursor = fresh }
    }

    // What is left somewhere is linked by `next`; the first knows the last by `previous`.

    private static func chain(_ first: Chunk?, _ chunk: Chunk) -> Chunk {
        chunk.next = nil
        chunk.previous = chunk
        chunk.left = nil
        return first.map { join($0, chunk) } ?? chunk
    }

    private static func join(_ first: Chunk, _ second: Chunk?) -> Chunk {
        guard let second, let last = first.previous else { return first }
        last.next = second
        first.previous = second.previous
        return first
    }

    /// Takes the first of what was left; nil when that is nothing.
    fileprivate static func takeLeft(_ first: inout Chunk?) -> Chunk? {
        guard let chunk = first else { return nil }
        let next = chunk.next
        next?.previous = chunk.previous
        first = next
        return chunk
    }
}

/// A walk over the chunks as they were when it began; each is visited once, in order.
public struct ListWalk {
    let state: UnsafeMutablePointer<ListWalkState>

    /// The handle again, from what `ObjectType.openWalk` gave.
    public init(_ raw: UnsafeMutableRawPointer) {
        state = raw.assumingMemoryBound(to: ListWalkState.self)
    }

    var raw: UnsafeMutableRawPointer { UnsafeMutableRawPointer(state) }

    /// Chunks when the walk began.
    public var chunkCount: Int { state.pointee.chunkCount }

    static func open(_ list: ChunkList, _ memory: Memory) -> ListWalk {
        invariant(list.walk == nil, "a list is walked once at a time")
        let block = memory.allocate(ListWalkState.size)
            .bindMemory(to: ListWalkState.self, capacity: 1)
        block.initialize(
            to: ListWalkState(list: list, chunkCount: list.chunkCount, cursor: list.first))
        list.mark &+= 1
        list.walk = block
        return ListWalk(block)
    }

    /// Visits about `effort` chunks, each as a listpack and, when it holds a single element, that;
    /// true when all were visited.
    public func advance(
        _ effort: Int, _ memory: Memory, _ visit: (_ packed: Bytes, _ single: PackedValue?) -> Void
    ) -> Bool {
        var left = effort
        while left > 0 {
            left -= 1
            guard let chunk = state.pointee.cursor else {
                guard let old = ChunkList.takeLeft(&state.pointee.tail) else {
                    invariant(state.pointee.done == chunkCount, "a walk lost chunks")
                    return true
                }
                take(old, visit)
                old.free(memory)
                continue
            }
            var first = chunk.left
            if let old = ChunkList.takeLeft(&first) {
                chunk.left = first
                take(old, visit)
                old.free(memory)
                continue
            }
            if chunk.mark != state.pointee.list.mark {
                chunk.mark = state.pointee.list.mark
                take(chunk, visit)
            }
            state.pointee.cursor = chunk.next
        }
        return false
    }

    private func take(_ chunk: Chunk, _ visit: (Bytes, PackedValue?) -> Void) {
        state.pointee.done += 1
        chunk.visit(visit)
    }

    /// Ends the walk, complete or not.
    func close(_ memory: Memory) {
        while let old = ChunkList.takeLeft(&state.pointee.tail) { old.free(memory) }
        while let chunk = state.pointee.cursor {
            var first = chunk.left
            while let old = ChunkList.takeLeft(&first) { old.free(memory) }
            chunk.left = nil
            state.pointee.cursor = chunk.next
        }
        state.pointee.list.walk = nil
        memory.free(state, ListWalkState.size)
    }
}

extension ObjectType {
    /// Chunks hold kilobytes, where entries hold one element.
    private static let elementsPerChunk = 32

    static let openListWalk: OpenWalk = { payload, encoding, heap, threshold in
        guard Encoding(rawValue: encoding) == .quickList else { return nil }
        let list = ChunkList(payload)
        guard list.chunkCount >= max(1, threshold / elementsPerChunk) else { return nil }
        return ListWalk.open(list, ObjectHeap(raw: heap).memory).raw
    }

    static let closeListWalk: CloseWalk = { walk, heap in
        ListWalk(walk).close(ObjectHeap(raw: heap).memory)
    }
}
