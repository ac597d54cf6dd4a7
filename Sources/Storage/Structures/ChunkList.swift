// A long list: a chain of chunks, each as large as `list-max-listpack-size` says. The ends are
// reached at once, the middle by counting chunks from the nearer end. It plays the reference's
// quicklist, and splits and fills its chunks alike, so that files and OBJECT ENCODING agree; but it
// compresses none of them. A handle is one pointer to a small block:
//
//     first chunk · last chunk · number of elements · number of chunks · walk · mark
import Base

/// Where an element is; good until the next edit.
public struct ListPosition {
    let chunk: Chunk
    let offset: Int
}

public struct ChunkList {
    /// The block, which is what the entry's payload holds.
    public let base: UnsafeMutableRawPointer
    private static let blockSize = 48

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    // MARK: Life

    /// An empty list; a key never holds one.
    public static func make(_ memory: Memory) -> ChunkList {
        let list = ChunkList(memory.allocate(blockSize))
        list.first = nil
        list.last = nil
        list.count = 0
        list.chunkCount = 0
        list.walk = nil
        list.mark = 0
        return list
    }

    /// Frees chunks that are about `effort` elements' work; true when all is gone. A chunk is as
    /// much as its bytes: they go back to the kernel page by page.
    public func release(_ memory: Memory, effort: Int) -> Bool {
        invariant(walk == nil, "a list is freed while a snapshot reads it")
        var left = effort
        // From the end, where most lists were filled last: the C library then gives memory back
        // little by little.
        while let chunk = last {
            if left <= 0 { return false }
            left -= 1 + chunk.capacity / 256
            unlink(chunk)
            chunk.free(memory)
        }
        memory.free(base, ChunkList.blockSize)
        return true
    }

    public func free(_ memory: Memory) {
        let isGone = release(memory, effort: .max)
        invariant(isGone, "a list outlives its end")
    }

    public func copy(_ memory: Memory) -> ChunkList {
        let list = ChunkList.make(memory)
        var chunk = first
        while let current = chunk {
            list.appendRun(
                Bytes(current.pointer(current.start), current.byteCount), count: current.count,
                memory)
            chunk = current.next
        }
        invariant(list.count == count && list.chunkCount == chunkCount, "a copy lost elements")
        return list
    }

    // MARK: Fields

    private func chunk(_ offset: Int) -> Chunk? {
        let bits = base.load(fromByteOffset: offset, as: UInt.self)
        return UnsafeMutableRawPointer(bitPattern: bits).map { Chunk($0) }
    }
    private func set(_ offset: Int, _ chunk: Chunk?) {
        let bits = chunk.map { UInt(bitPattern: $0.base) } ?? 0
        base.storeBytes(of: bits, toByteOffset: offset, as: UInt.self)
    }

    var first: Chunk? {
        get { chunk(0) }
        nonmutating set { set(0, newValue) }
    }
    var last: Chunk? {
        get { chunk(8) }
        nonmutating set { set(8, newValue) }
    }
    /// The number of elements.
    public internal(set) var count: Int {
        @inline(__always) get { base.load(fromByteOffset: 16, as: Int.self) }
        nonmutating set { base.storeBytes(of: newValue, toByteOffset: 16, as: Int.self) }
    }
    /// The number of chunks.
    public private(set) var chunkCount: Int {
        get { base.load(fromByteOffset: 24, as: Int.self) }
        nonmutating set { base.storeBytes(of: newValue, toByteOffset: 24, as: Int.self) }
    }

    /// The walk of a snapshot that reads the list.
    var walk: UnsafeMutablePointer<ListWalkState>? {
        @inline(__always) get {
            UnsafeMutablePointer(bitPattern: base.load(fromByteOffset: 32, as: UInt.self))
        }
        nonmutating set {
            base.storeBytes(of: UInt(bitPattern: newValue), toByteOffset: 32, as: UInt.self)
        }
    }
    /// The number of the last walk.
    var mark: UInt32 {
        @inline(__always) get { base.load(fromByteOffset: 40, as: UInt32.self) }
        nonmutating set { base.storeBytes(of: newValue, toByteOffset: 40, as: UInt32.self) }
    }

    // MARK: The chain

    /// Puts `fresh` behind `chunk`, or first when that is nil.
    func link(_ fresh: Chunk, behind chunk: Chunk?) {
        let next = chunk.map(\.next) ?? first
        fresh.previous = chunk
        fresh.next = next
        fresh.mark = mark
        if let chunk { chunk.next = fresh } else { first = fresh }
        if let next { next.previous = fresh } else { last = fresh }
        chunkCount += 1
    }

    /// Takes a chunk out of the chain; its elements count no more.
    func unlink(_ chunk: Chunk) {
        if let previous = chunk.previous { previous.next = chunk.next } else { first = chunk.next }
        if let next = chunk.next { next.previous = chunk.previous } else { last = chunk.previous }
        chunkCount -= 1
        count -= chunk.count
        invariant(chunkCount >= 0 && count >= 0, "a list lost count of its chunks")
    }

    /// Says to the neighbours that `chunk` moved to `fresh`.
    func relink(_ chunk: Chunk, as fresh: Chunk) {
        fresh.previous = chunk.previous
        fresh.next = chunk.next
        if let previous = fresh.previous { previous.next = fresh } else { first = fresh }
        if let next = fresh.next { next.previous = fresh } else { last = fresh }
    }

    // MARK: Room

    /// The chunk, perhaps at another place, with room for so many bytes at its ends.
    func makeRoom(
        _ chunk: Chunk, front: Int, back: Int, _ limit: ChunkLimit, _ memory: Memory
    ) -> Chunk {
        let used = chunk.byteCount
        let needed = front + back
        let spare = chunk.capacity - Chunk.overhead - used - needed
        let required = Chunk.overhead + used + needed
        let grown = min(chunk.capacity * 2, Chunk.overhead + limit.bytes + 16)
        // There is room at the other end: slide, unless that would have to be done again soon.
        if spare >= 0, spare >= used / 4 || chunk.capacity >= grown {
            let start = Chunk.firstStart + front + spare / 2
            moveBytes(to: chunk.base + start, from: chunk.base + chunk.start, count: used)
            chunk.start = start
            chunk.end = start + used
            return chunk
        }
        let fresh = Chunk.make(
            room: max(required, grown) - Chunk.overhead, fromEnd: false, memory)
        let extra = fresh.capacity - required
        fresh.start = Chunk.firstStart + front + (front > 0 ? extra : 0)
        fresh.end = fresh.start + used
        fresh.count = chunk.count
        copyBytes(to: fresh.base + fresh.start, from: chunk.base + chunk.start, count: used)
        relink(chunk, as: fresh)
        didMove(chunk, to: fresh)
        chunk.free(memory)
        invariant(fresh.frontRoom >= front && fresh.backRoom >= back, "no room was made")
        return fresh
    }

    // MARK: Ends

    /// Adds an element at an end.
    public func push(
        _ text: Bytes, atFront: Bool, _ limit: ChunkLimit, _ memory: Memory
    ) {
        push(.compact(text), length: text.count, atFront: atFront, limit, memory)
    }

    /// As above; `length` is that of the element's text.
    func push(
        _ value: PackedValue, length: Int, atFront: Bool, _ limit: ChunkLimit, _ memory: Memory
    ) {
        let size = PackedElement.size(of: value)
        if let chunk = atFront ? first : last, chunk.takes(length, limit) {
            insert(value, size, in: chunk, at: atFront ? chunk.start : chunk.end, limit, memory)
        } else {
            addChunk(value, size, behind: atFront ? nil : last, fromEnd: atFront, memory)
        }
    }

    /// A new chunk with one element and some room for more.
    func addChunk(
        _ value: PackedValue, _ size: Int, behind chunk: Chunk?, fromEnd: Bool, _ memory: Memory
    ) {
        let fresh = Chunk.make(room: max(size, 200), fromEnd: fromEnd, memory)
        link(fresh, behind: chunk)
        if fromEnd { fresh.start -= size } else { fresh.end += size }
        PackedElement.write(value, to: fresh.pointer(fresh.start))
        fresh.count = 1
        count += 1
    }

    /// Appends a chunk with these elements.
    func appendRun(_ bytes: Bytes, count added: Int, _ memory: Memory) {
        invariant(added > 0 && bytes.count > 0, "an empty chunk")
        let fresh = Chunk.make(room: bytes.count, fromEnd: false, memory)
        copyBytes(to: fresh.base + fresh.start, from: bytes.base, count: bytes.count)
        fresh.end = fresh.start + bytes.count
        fresh.count = added
        link(fresh, behind: last)
        count += added
    }

    /// Appends the elements of a sound listpack as a chunk of its own.
    public func append(packed bytes: Bytes, count added: Int, _ memory: Memory) {
        invariant(bytes.count > Chunk.frame, "an empty listpack")
        appendRun(bytes[Chunk.frontFrame..<(bytes.count - 1)], count: added, memory)
    }

    /// Appends one element as a chunk of its own, however large.
    public func append(alone text: Bytes, _ memory: Memory) {
        let value = PackedValue.compact(text)
        addChunk(value, PackedElement.size(of: value), behind: last, fromEnd: false, memory)
    }

    // MARK: Positions

    /// Element number `index`, from the end when negative; nil when there is none.
    public func seek(_ index: Int) -> ListPosition? {
        var left = index < 0 ? index &+ count : index
        guard left >= 0, left < count else { return nil }
        if left <= count / 2 {
            var chunk = first
            while let current = chunk {
                if left < current.count {
                    return ListPosition(chunk: current, offset: current.seek(left))
                }
                left -= current.count
                chunk = current.next
            }
        } else {
            var chunk = last
            left = count - 1 - left
            while let current = chunk {
                if left < current.count {
                    return ListPosition(
                        chunk: current, offset: current.seek(current.count - 1 - left))
                }
                left -= current.count
                chunk = current.previous
            }
        }
        unreachable("a list has fewer elements than it says")
    }

    /// The element at a position; bytes are valid until the next edit.
    public subscript(_ position: ListPosition) -> PackedValue {
        PackedElement.read(UnsafePointer(position.chunk.pointer(position.offset)))
    }

    /// The first element with this text.
    public func find(_ needle: Needle) -> ListPosition? {
        var chunk = first
        while let current = chunk {
            var offset = current.start
            while offset < current.end {
                if needle.matches(PackedElement.read(UnsafePointer(current.pointer(offset)))) {
                    return ListPosition(chunk: current, offset: offset)
                }
                offset &+= current.size(at: offset)
            }
            chunk = current.next
        }
        return nil
    }

    // MARK: Chunks, for files

    /// Calls `body` with each chunk as a listpack and, when it holds a single element, that.
    public func forEachChunk(_ body: (_ packed: Bytes, _ single: PackedValue?) -> Void) {
        var chunk = first
        while let current = chunk {
            current.visit(body)
            chunk = current.next
        }
    }

    /// Bytes of all blocks; of a long list estimated from `samples` chunks (0: all).
    public func memoryUsage(samples: Int) -> Int {
        var seen = 0
        var bytes = 0
        var chunk = first
        while let current = chunk, samples == 0 || seen < samples {
            bytes += current.capacity
            seen += 1
            chunk = current.next
        }
        guard seen > 0 else { return ChunkList.blockSize }
        return ChunkList.blockSize + Int(Double(bytes) / Double(seen) * Double(chunkCount))
    }

    /// Walks everything and checks that it fits together (tests).
    public func checkInvariants() {
        var seen = 0
        var chunks = 0
        var before: Chunk?
        var chunk = first
        while let current = chunk {
            invariant(current.previous == before, "a chunk does not know the one before it")
            invariant(current.frontRoom >= 0 && current.backRoom >= 0, "a chunk overflows")
            invariant(Listpack.validCount(current.packed) == current.count, "a chunk is damaged")
            invariant(current.count > 0, "an empty chunk stays")
            seen += current.count
            chunks += 1
            before = current
            chunk = current.next
        }
        invariant(last == before && seen == count && chunks == chunkCount, "a list lost count")
    }
}
