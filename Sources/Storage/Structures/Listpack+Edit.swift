// Changing a listpack: everything is one splice, which puts an element in the place of a run of
// others. The block is resized to fit; the caller stores the perhaps moved base where it keeps it.
// A value must not point into the listpack that it is put in.
import Base

extension Listpack {
    public mutating func append(_ value: PackedValue, _ memory: Memory) {
        splice(at: end, removing: 0, elements: 0, value, memory)
    }

    public mutating func append(_ value: Bytes, _ memory: Memory) {
        append(.compact(value), memory)
    }

    public mutating func prepend(_ value: PackedValue, _ memory: Memory) {
        splice(at: Listpack.headerSize, removing: 0, elements: 0, value, memory)
    }

    public mutating func prepend(_ value: Bytes, _ memory: Memory) {
        prepend(.compact(value), memory)
    }

    /// Puts a new element before the one at `position`, or last at `end`.
    public mutating func insert(_ value: PackedValue, before position: Int, _ memory: Memory) {
        splice(at: position, removing: 0, elements: 0, value, memory)
    }

    public mutating func insert(_ value: Bytes, before position: Int, _ memory: Memory) {
        insert(.compact(value), before: position, memory)
    }

    /// Exchanges the element at `position`.
    public mutating func replace(
        at position: Int, with value: PackedValue, _ memory: Memory
    ) {
        let size = PackedElement.wholeSize(bytePointer + position)
        splice(at: position, removing: size, elements: 1, value, memory)
    }

    public mutating func replace(at position: Int, with value: Bytes, _ memory: Memory) {
        replace(at: position, with: .compact(value), memory)
    }

    /// Removes up to `count` elements from `position` on; the next one then stands there, or the
    /// end.
    public mutating func delete(at position: Int, count: Int = 1, _ memory: Memory) {
        var behind = position
        var removed = 0
        while removed < count, bytePointer[behind] != PackedElement.terminator {
            behind += PackedElement.wholeSize(bytePointer + behind)
            removed += 1
        }
        splice(at: position, removing: behind - position, elements: removed, nil, memory)
    }

    private mutating func splice(
        at position: Int, removing size: Int, elements: Int, _ value: PackedValue?,
        _ memory: Memory
    ) {
        let old = totalBytes
        invariant(position >= Listpack.headerSize && position < old, "no place in the listpack")
        let added = value.map { PackedElement.size(of: $0) } ?? 0
        let new = old &- size &+ added
        let tail = old &- position &- size
        if new > old { base = memory.reallocate(base, from: old, to: new) }
        if added != size {
            moveBytes(
                to: base + (position &+ added), from: base + (position &+ size), count: tail)
        }
        if let value { PackedElement.write(value, to: bytePointer + position) }
        if new < old { base = memory.reallocate(base, from: old, to: new) }
        setTotalBytes(new)
        let known = headerCount
        if known != Listpack.unknownCount {
            setCount(known &- elements &+ (value == nil ? 0 : 1))
        }
        invariant(bytePointer[new &- 1] == PackedElement.terminator, "the terminator is lost")
    }
}
