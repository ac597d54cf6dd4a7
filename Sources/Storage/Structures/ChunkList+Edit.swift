// Changes in the middle of a long list: insertion with split and merge where the reference splits
// and merges, replacement, removal of ranges and of all elements that are equal to one.
import Base

extension ChunkList {
    // MARK: Inserting

    /// Puts an element before or behind another. `text` must not point into the list.
    public func insert(
        _ text: Bytes, at position: ListPosition, after: Bool, _ limit: ChunkLimit,
        _ memory: Memory
    ) {
        let value = PackedValue.compact(text)
        let size = PackedElement.size(of: value)
        let chunk = position.chunk
        let offset = position.offset + (after ? chunk.size(at: position.offset) : 0)
        if chunk.takes(text.count, limit) {
            insert(value, size, in: chunk, at: offset, limit, memory)
        } else if after, offset == chunk.end {
            if let next = chunk.next, next.takes(text.count, limit) {
                insert(value, size, in: next, at: next.start, limit, memory)
            } else {
                addChunk(value, size, behind: chunk, fromEnd: false, memory)
            }
        } else if !after, offset == chunk.start {
            if let previous = chunk.previous, previous.takes(text.count, limit) {
                insert(value, size, in: previous, at: previous.end, limit, memory)
            } else {
                addChunk(value, size, behind: chunk.previous, fromEnd: true, memory)
            }
        } else {
            let rest = split(chunk, at: offset, memory)
            if after {
                insert(value, size, in: rest, at: rest.start, limit, memory)
            } else {
                insert(value, size, in: chunk, at: chunk.end, limit, memory)
            }
            // The element may have moved its chunk; the other half is where it was.
            let center = after ? chunk : rest.previous
            if let center { merge(around: center, limit, memory) }
        }
    }

    /// Writes an element at an offset of a chunk; the shorter side makes way.
    func insert(
        _ value: PackedValue, _ size: Int, in chunk: Chunk, at offset: Int, _ limit: ChunkLimit,
        _ memory: Memory
    ) {
        willChange(chunk, memory)
        let front = offset - chunk.start
        let back = chunk.end - offset
        var chunk = chunk
        if front < back || (front == 0 && chunk.frontRoom >= size) {
            if chunk.frontRoom < size {
                chunk = makeRoom(chunk, front: size, back: 0, limit, memory)
            }
            let start = chunk.start
            moveBytes(to: chunk.base + (start - size), from: chunk.base + start, count: front)
            chunk.start = start - size
        } else {
            if chunk.backRoom < size {
                chunk = makeRoom(chunk, front: 0, back: size, limit, memory)
            }
            let place = chunk.start + front
            moveBytes(to: chunk.base + (place + size), from: chunk.base + place, count: back)
            chunk.end += size
        }
        PackedElement.write(value, to: chunk.pointer(chunk.start + front))
        chunk.count += 1
        count += 1
    }

    // MARK: Splitting and merging

    /// Moves everything from `offset` on to a new chunk behind this one, and returns that.
    private func split(_ chunk: Chunk, at offset: Int, _ memory: Memory) -> Chunk {
        invariant(offset > chunk.start && offset < chunk.end, "a split at an end")
        willChange(chunk, memory)
        var left = 0
        var walk = chunk.start
        while walk < offset {
            walk += chunk.size(at: walk)
            left += 1
        }
        invariant(walk == offset, "a split inside of an element")
        let bytes = chunk.end - offset
        let rest = Chunk.make(room: bytes + bytes / 4, fromEnd: false, memory)
        copyBytes(to: rest.base + rest.start, from: chunk.base + offset, count: bytes)
        rest.end = rest.start + bytes
        rest.count = chunk.count - left
        chunk.end = offset
        chunk.count = left
        link(rest, behind: chunk)
        return rest
    }

    /// Joins a chunk with its neighbours, and these with theirs, where the limit allows it.
    private func merge(around chunk: Chunk, _ limit: ChunkLimit, _ memory: Memory) {
        if let previous = chunk.previous?.previous { _ = mergeNext(previous, limit, memory) }
        if let next = chunk.next { _ = mergeNext(next, limit, memory) }
        var center = chunk
        if let previous = chunk.previous, let joined = mergeNext(previous, limit, memory) {
            center = joined
        }
        _ = mergeNext(center, limit, memory)
    }

    /// Takes the elements of the next chunk over if the limit allows it; returns the joined chunk.
    private func mergeNext(_ chunk: Chunk, _ limit: ChunkLimit, _ memory: Memory) -> Chunk? {
        guard let next = chunk.next, chunk.takes(next, limit) else { return nil }
        willChange(chunk, memory)
        let bytes = next.byteCount
        var chunk = chunk
        if chunk.backRoom < bytes {
            chunk = makeRoom(chunk, front: 0, back: bytes, limit, memory)
        }
        copyBytes(to: chunk.base + chunk.end, from: next.base + next.start, count: bytes)
        chunk.end += bytes
        let moved = next.count
        drop(next, memory)
        chunk.count += moved
        count += moved
        return chunk
    }

    // MARK: Replacing

    /// Gives an element another text, which must not point into the list. One that makes its chunk
    /// too large gets a chunk of its own.
    public func replace(
        at position: ListPosition, with text: Bytes, _ limit: ChunkLimit, _ memory: Memory
    ) {
        let value = PackedValue.compact(text)
        let size = PackedElement.size(of: value)
        let old = position.chunk.size(at: position.offset)
        var chunk = position.chunk
        var offset = position.offset
        if chunk.count > 1, size > old, chunk.packedSize - old + size > limit.bytes {
            if offset > chunk.start {
                chunk = split(chunk, at: offset, memory)
                offset = chunk.start
            }
            if chunk.count > 1 { _ = split(chunk, at: offset + old, memory) }
        }
        willChange(chunk, memory)
        if size == old {
            PackedElement.write(value, to: chunk.pointer(offset))
            return
        }
        let front = offset - chunk.start
        chunk.cut(offset, old, elements: 1)
        count -= 1
        let previous = chunk.previous
        insert(value, size, in: chunk, at: chunk.start + front, limit, memory)
        // The chunk may have moved; its neighbours know where it is.
        if let moved = previous.map(\.next) ?? first { merge(around: moved, limit, memory) }
    }

    // MARK: Removing

    /// Removes the element at one end.
    public func pop(atFront: Bool, _ memory: Memory) {
        guard let chunk = atFront ? first : last else { unreachable("an empty list") }
        if chunk.count == 1 {
            return drop(chunk, memory)
        }
        willChange(chunk, memory)
        if atFront {
            chunk.start += chunk.size(at: chunk.start)
        } else {
            chunk.end = chunk.before(chunk.end)
        }
        chunk.count -= 1
        count -= 1
    }

    /// Removes `number` elements from `index` on; they must be there.
    public func remove(from index: Int, count number: Int, _ memory: Memory) {
        invariant(index >= 0 && number >= 0 && index + number <= count, "a range outside")
        guard number > 0, let position = seek(index) else { return }
        var left = number
        var chunk: Chunk? = position.chunk
        var offset = position.offset
        while left > 0, let current = chunk {
            chunk = current.next
            if offset == current.start, current.count <= left {
                left -= current.count
                drop(current, memory)
            } else {
                willChange(current, memory)
                var end = offset
                var removed = 0
                while removed < left, end < current.end {
                    end += current.size(at: end)
                    removed += 1
                }
                current.cut(offset, end - offset, elements: removed)
                count -= removed
                left -= removed
            }
            if let chunk { offset = chunk.start }
        }
        invariant(left == 0, "a list has fewer elements than it says")
    }

    /// Removes up to `number` elements (0: all) with this text, from the front or from the end;
    /// returns how many.
    public func remove(
        _ needle: Needle, count number: Int, fromEnd: Bool, _ memory: Memory
    ) -> Int {
        let most = number == 0 ? Int.max : number
        var removed = 0
        var chunk = fromEnd ? last : first
        while removed < most, let current = chunk {
            chunk = fromEnd ? current.previous : current.next
            if _slowPath(walk != nil) {
                guard holds(needle, current) else { continue }
                willChange(current, memory)
            }
            let here =
                fromEnd
                ? sweepBackward(current, needle, most - removed)
                : sweepForward(current, needle, most - removed)
            removed += here
            count -= here
            if current.count == 0 {
                drop(current, memory)
            }
        }
        return removed
    }

    private func holds(_ needle: Needle, _ chunk: Chunk) -> Bool {
        var offset = chunk.start
        while offset < chunk.end {
            let start = UnsafePointer(chunk.pointer(offset))
            if needle.matches(PackedElement.read(start)) { return true }
            offset &+= PackedElement.wholeSize(start)
        }
        return false
    }

    /// Moves what stays over what goes, in one pass.
    private func sweepForward(_ chunk: Chunk, _ needle: Needle, _ most: Int) -> Int {
        var from = chunk.start
        var to = from
        var removed = 0
        while from < chunk.end {
            let size = chunk.size(at: from)
            if removed < most,
                needle.matches(PackedElement.read(UnsafePointer(chunk.pointer(from))))
            {
                removed += 1
                if removed == most {
                    // The rest stays as it is.
                    let rest = chunk.end - from - size
                    moveBytes(to: chunk.base + to, from: chunk.base + (from + size), count: rest)
                    to += rest
                    break
                }
            } else {
                if from != to {
                    moveBytes(to: chunk.base + to, from: chunk.base + from, count: size)
                }
                to += size
            }
            from += size
        }
        chunk.end = to
        chunk.count -= removed
        return removed
    }

    private func sweepBackward(_ chunk: Chunk, _ needle: Needle, _ most: Int) -> Int {
        var from = chunk.end
        var to = from
        var removed = 0
        while from > chunk.start {
            let place = chunk.before(from)
            let size = from - place
            if removed < most,
                needle.matches(PackedElement.read(UnsafePointer(chunk.pointer(place))))
            {
                removed += 1
                if removed == most {
                    let rest = place - chunk.start
                    to -= rest
                    moveBytes(to: chunk.base + to, from: chunk.base + chunk.start, count: rest)
                    break
                }
            } else {
                to -= size
                if to != place {
                    moveBytes(to: chunk.base + to, from: chunk.base + place, count: size)
                }
            }
            from = place
        }
        chunk.start = to
        chunk.count -= removed
        return removed
    }
}
