// The value of a list key in either of its forms: one listpack while it is small, a chain of chunks
// once it exceeds `list-max-listpack-size`; and back when it has shrunk to a single chunk of half
// that size. The conversions happen where Redis 7.2 has them, for OBJECT ENCODING shows them.
//
// A handle over the entry; call `Keyspace.willChange` before the first change. No argument may
// point into the list itself.
import Base

public struct ListObject {
    /// The entry of the key, which keeps track of the value as it moves.
    public let entry: Entry
    let memory: Memory
    let limit: ChunkLimit

    @inline(__always)
    public init(_ entry: Entry, _ heap: ObjectHeap, _ limits: EncodingLimits) {
        invariant(entry.type == .list, "not a list")
        self.entry = entry
        memory = heap.memory
        limit = ChunkLimit(listSize: limits.listSize)
    }

    /// The payload of a new list, to be put under a key; it must get elements at once.
    public static func makePayload(_ heap: ObjectHeap) -> UnsafeMutableRawPointer {
        Listpack.make(heap.memory).base
    }

    // MARK: Facts

    @inline(__always)
    public var isPacked: Bool { entry.encoding == .listpack }
    @inline(__always)
    private var pack: Listpack { Listpack(entry.payload) }
    @inline(__always)
    private var chunks: ChunkList { ChunkList(entry.payload) }

    @inline(__always)
    public var count: Int { isPacked ? pack.count : chunks.count }

    /// The element at `index`, from the end when negative. Bytes are valid until the next change.
    public subscript(_ index: Int) -> PackedValue? {
        if isPacked {
            let pack = pack
            return pack.seek(index).map { pack[$0] }
        }
        let chunks = chunks
        return chunks.seek(index).map { chunks[$0] }
    }

    /// The elements from `index` on, which must be there.
    @inline(__always)
    public func iterate(from index: Int, isReverse: Bool = false) -> ListIterator {
        isPacked
            ? ListIterator(pack, from: index, isReverse: isReverse)
            : ListIterator(chunks, from: index, isReverse: isReverse)
    }

    // MARK: Forms

    @inline(__always)
    private func store(_ pack: Listpack) { entry.setPayload(pack.base, encoding: .listpack) }

    /// To be called before `count` elements with `bytes` of text come in: a listpack that they make
    /// too large becomes a chain.
    @inline(__always)
    public func willGrow(bytes: Int, count: Int) {
        guard isPacked else { return }
        let pack = pack
        let size = pack.totalBytes &+ bytes
        if limit.isExceeded(bytes: size, count: limit.countsElements ? pack.count &+ count : 0) {
            spread()
        }
    }

    @inline(never)
    private func spread() {
        let pack = pack
        let chunks = ChunkList.make(memory)
        if !pack.isEmpty { chunks.append(packed: pack.bytes, count: pack.count, memory) }
        pack.free(memory)
        entry.setPayload(chunks.base, encoding: .quickList)
    }

    /// To be called when elements were removed or became smaller.
    @inline(__always)
    public func didShrink() {
        guard !isPacked, chunks.chunkCount == 1 else { return }
        let (payload, encoding) = ListObject.compacted(chunks, limit, isShrinking: true, memory)
        entry.setPayload(payload, encoding: encoding)
    }

    /// A chain as it is, or as a listpack when it is small enough; the chain is gone then.
    static func compacted(
        _ chunks: ChunkList, _ limit: ChunkLimit, isShrinking: Bool, _ memory: Memory
    ) -> (UnsafeMutableRawPointer, Encoding) {
        // A list that a snapshot reads keeps its form; the next change may see to it.
        guard chunks.chunkCount == 1, chunks.walk == nil, let only = chunks.first,
            limit.allowsPacking(
                bytes: only.packedSize, count: only.count, isShrinking: isShrinking)
        else { return (chunks.base, .quickList) }
        let pack = Listpack.copy(only.packed, memory)
        chunks.free(memory)
        return (pack.base, .listpack)
    }

    // MARK: Ends

    /// Adds an element at an end, after `willGrow`.
    @inline(__always)
    public func push(_ text: Bytes, atFront: Bool) {
        guard isPacked else { return chunks.push(text, atFront: atFront, limit, memory) }
        var pack = pack
        if atFront { pack.prepend(text, memory) } else { pack.append(text, memory) }
        store(pack)
    }

    /// Removes the element at an end.
    @inline(__always)
    public func pop(atFront: Bool) {
        guard isPacked else { return chunks.pop(atFront: atFront, memory) }
        var pack = pack
        guard let position = atFront ? pack.first : pack.last else { unreachable("an empty list") }
        pack.delete(at: position, memory)
        store(pack)
    }

    /// Removes a range; it must be there. Call `didShrink` if something is left.
    public func remove(from index: Int, count number: Int) {
        guard number > 0 else { return }
        guard isPacked else { return chunks.remove(from: index, count: number, memory) }
        var pack = pack
        guard let position = pack.seek(index) else { unreachable("a range outside of the list") }
        pack.delete(at: position, count: number, memory)
        store(pack)
    }

    // MARK: The middle

    /// Gives the element at `index` another text, after `willGrow`; false when there is none.
    public func replace(at index: Int, with text: Bytes) -> Bool {
        if isPacked {
            var pack = pack
            guard let position = pack.seek(index) else { return false }
            pack.replace(at: position, with: text, memory)
            store(pack)
        } else {
            let chunks = chunks
            guard let position = chunks.seek(index) else { return false }
            chunks.replace(at: position, with: text, limit, memory)
        }
        return true
    }

    /// Puts an element beside the first one that is `pivot`, after `willGrow`; false without one.
    public func insert(_ text: Bytes, beside pivot: Bytes, after: Bool) -> Bool {
        if isPacked {
            var pack = pack
            guard let found = pack.find(pivot, from: pack.first, skip: 0) else { return false }
            let position = after ? pack.next(found) ?? pack.end : found
            pack.insert(text, before: position, memory)
            store(pack)
        } else {
            let chunks = chunks
            guard let found = chunks.find(Needle(pivot)) else { return false }
            chunks.insert(text, at: found, after: after, limit, memory)
        }
        return true
    }

    /// Removes up to `number` elements (0: all) that are `text`, from the front or from the end;
    /// returns how many. Call `didShrink` if something is left.
    public func remove(_ text: Bytes, count number: Int, fromEnd: Bool) -> Int {
        if isPacked { return removePacked(Needle(text), number, fromEnd) }
        return chunks.remove(Needle(text), count: number, fromEnd: fromEnd, memory)
    }

    private func removePacked(_ needle: Needle, _ number: Int, _ fromEnd: Bool) -> Int {
        var pack = pack
        var removed = 0
        var position = fromEnd ? pack.last : pack.first
        while let current = position, number == 0 || removed < number {
            guard needle.matches(pack[current]) else {
                position = fromEnd ? pack.previous(current) : pack.next(current)
                continue
            }
            // Positions before `current` stay good, and it becomes that of the next element.
            let before = pack.previous(current)
            pack.delete(at: current, memory)
            removed += 1
            position = fromEnd ? before : (current < pack.end ? current : nil)
        }
        store(pack)
        return removed
    }
}
