// An owned, growable run of bytes with a read position: the request and reply buffers of a
// session, the bus links, file blocks. Grows by doubling; `release` gives the memory back.
import Glibc

public struct Buffer: ~Copyable {
    /// Start of the allocation, or nil while nothing was ever written.
    public private(set) var storage: UnsafeMutablePointer<UInt8>?
    /// Bytes written, from the start of the allocation.
    public private(set) var end: Int = 0
    /// Bytes already taken, from the start of the allocation.
    public private(set) var start: Int = 0
    /// Size of the allocation.
    public private(set) var capacity: Int = 0

    @inline(__always)
    public init() {}

    deinit { free(storage) }

    /// Bytes that wait to be taken.
    @inline(__always)
    public var count: Int { end &- start }

    @inline(__always)
    public var isEmpty: Bool { end == start }

    /// The bytes that wait. Valid until the next write.
    @inline(__always)
    public var bytes: Bytes {
        guard let storage else { return .empty }
        return Bytes(UnsafePointer(storage + start), end &- start)
    }

    /// Room for at least `extra` more bytes; returns where they go. Follow with `wrote`.
    @inline(__always)
    public mutating func reserve(_ extra: Int) -> UnsafeMutablePointer<UInt8> {
        if _fastPath(capacity &- end >= extra), let storage { return storage + end }
        return grow(extra)
    }

    /// Says that `count` bytes were written at the place that `reserve` returned.
    @inline(__always)
    public mutating func wrote(_ count: Int) {
        invariant(count >= 0 && end &+ count <= capacity, "wrote past the reserved room")
        end &+= count
    }

    /// As `reserve` for a need that is known: the allocation becomes no larger than that.
    public mutating func reserveExactly(_ extra: Int) -> UnsafeMutablePointer<UInt8> {
        invariant(extra >= 0 && extra < 1 << 46, "unreasonable buffer growth")
        if capacity &- end >= extra, let storage { return storage + end }
        compact()
        if capacity &- end >= extra, let storage { return storage + end }
        guard let fresh = realloc(storage, max(64, end &+ extra)) else {
            unreachable("out of memory")
        }
        let pointer = fresh.assumingMemoryBound(to: UInt8.self)
        storage = pointer
        capacity = max(64, end &+ extra)
        return pointer + end
    }

    @inline(never)
    private mutating func grow(_ extra: Int) -> UnsafeMutablePointer<UInt8> {
        invariant(extra >= 0 && extra < 1 << 46, "unreasonable buffer growth")
        let live = end &- start
        if let storage, start > 0, live &+ extra <= capacity, start >= live {
            memmove(storage, storage + start, live)
            start = 0
            end = live
            return storage + end
        }
        var size = max(capacity, 64)
        while size < end &+ extra { size = size < 1 << 20 ? size * 2 : size + size / 2 }
        guard let fresh = realloc(storage, size) else { unreachable("out of memory") }
        let pointer = fresh.assumingMemoryBound(to: UInt8.self)
        storage = pointer
        capacity = size
        return pointer + end
    }

    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        reserve(1)[0] = byte
        end &+= 1
    }

    @inline(__always)
    public mutating func append(_ bytes: Bytes) {
        guard bytes.count > 0 else { return }
        memcpy(reserve(bytes.count), bytes.base, bytes.count)
        end &+= bytes.count
    }

    @inline(__always)
    public mutating func append(_ literal: StaticString) { append(Bytes(literal)) }

    /// Cold code only.
    public mutating func append(_ bytes: [UInt8]) { bytes.withBytes { append($0) } }

    /// Cold code only.
    public mutating func append(_ text: String) { append(Array(text.utf8)) }

    /// Takes `count` bytes from the front.
    @inline(__always)
    public mutating func consume(_ count: Int) {
        invariant(count >= 0 && count <= self.count, "consumed more than there is")
        start &+= count
        if start == end {
            start = 0
            end = 0
        }
    }

    /// Shortens what waits to `count` bytes from its front: undo of appends.
    public mutating func truncate(to count: Int) {
        invariant(count >= 0 && count <= self.count, "truncate grows nothing")
        end = start &+ count
    }

    /// Moves what waits to the start of the allocation.
    public mutating func compact() {
        guard start > 0, let storage else { return }
        memmove(storage, storage + start, count)
        end &-= start
        start = 0
    }

    @inline(__always)
    public mutating func removeAll() {
        start = 0
        end = 0
    }

    /// Gives the allocation back when it is empty, or larger than `limit` and mostly unused.
    public mutating func shrink(above limit: Int) {
        if isEmpty {
            guard capacity > limit else { return }
            free(storage)
            storage = nil
            capacity = 0
            start = 0
            end = 0
        } else if capacity > limit, count < capacity / 4 {
            compact()
            let size = max(count, 64)
            guard let fresh = realloc(storage, size) else { return }
            storage = fresh.assumingMemoryBound(to: UInt8.self)
            capacity = size
        }
    }

    /// Gives the whole allocation back.
    public mutating func release() {
        free(storage)
        storage = nil
        capacity = 0
        start = 0
        end = 0
    }
}
