// Walks a list of either form, in either direction, from any element on. It counts instead of
// looking for an end, and must not outlive a change of the list.
import Base

public struct ListIterator {
    /// Forward: the element that comes next. Backward: the end of it.
    private var pointer: UnsafePointer<UInt8>
    /// Elements left in this chunk, or in the whole listpack.
    private var leftInRun: Int
    private var chunk: Chunk?
    private let isReverse: Bool
    public private(set) var left: Int

    /// The elements of a listpack from `index` on; `index` is in range.
    init(_ pack: Listpack, from index: Int, isReverse: Bool) {
        let count = pack.count
        guard let position = pack.seek(index) else { unreachable("no such element in the list") }
        let start = UnsafePointer(pack.base.assumingMemoryBound(to: UInt8.self)) + position
        pointer = isReverse ? start + PackedElement.wholeSize(start) : start
        left = isReverse ? index + 1 : count - index
        leftInRun = left
        self.isReverse = isReverse
    }

    /// The elements of a chain from `index` on; `index` is in range.
    init(_ list: ChunkList, from index: Int, isReverse: Bool) {
        guard let (position, before) = list.locate(index) else {
            unreachable("no such element in the list")
        }
        let start = UnsafePointer(position.chunk.pointer(position.offset))
        pointer = isReverse ? start + PackedElement.wholeSize(start) : start
        left = isReverse ? index + 1 : list.count - index
        leftInRun = isReverse ? before + 1 : position.chunk.count - before
        chunk = position.chunk
        self.isReverse = isReverse
    }

    @inline(__always)
    public mutating func next() -> PackedValue? {
        if left == 0 { return nil }
        if leftInRun == 0 { enterChunk() }
        left &-= 1
        leftInRun &-= 1
        if isReverse {
            pointer = PackedElement.previous(pointer)
            return PackedElement.read(pointer)
        }
        let value = PackedElement.read(pointer)
        pointer += PackedElement.wholeSize(pointer)
        return value
    }

    private mutating func enterChunk() {
        guard let fresh = isReverse ? chunk?.previous : chunk?.next else {
            unreachable("a list has fewer elements than it says")
        }
        chunk = fresh
        leftInRun = fresh.count
        pointer = UnsafePointer(fresh.pointer(isReverse ? fresh.end : fresh.start))
    }
}

extension ChunkList {
    /// Where element `index` is, and how many of its chunk are before it.
    func locate(_ index: Int) -> (ListPosition, before: Int)? {
        guard index >= 0, index < count else { return nil }
        var chunk: Chunk?
        var before = index
        if index <= count / 2 {
            chunk = first
            while let current = chunk, before >= current.count {
                before -= current.count
                chunk = current.next
            }
        } else {
            chunk = last
            var behind = count - 1 - index
            while let current = chunk, behind >= current.count {
                behind -= current.count
                chunk = current.previous
            }
            before = (chunk?.count ?? 0) - 1 - behind
        }
        guard let chunk else { unreachable("a list has fewer elements than it says") }
        return (ListPosition(chunk: chunk, offset: chunk.seek(before)), before)
    }
}
