// The memory of the dataset: small blocks from slabs, larger ones from malloc, tables from mmap,
// all counted to the byte. The count is what maxmemory and INFO look at; it needs no question to
// the allocator because every free says its size. A `Memory` is an 8-byte handle that is passed by
// value; one thread owns it.
import CLinux
import Glibc

private struct MemoryState: ~Copyable {
    var slabs = SlabAllocator()
    var largeBytes = 0
    var largeBlocks = 0
    var tableBytes = 0
    var peak = 0
}

public struct Memory {
    private let state: UnsafeMutablePointer<MemoryState>
    /// Tables from this size on are mapped on their own, so that they can be released in pieces.
    public static let mappedTableSize = 1 << 17

    /// A new, empty heap. `destroy` gives it back.
    public init() {
        state = .allocate(capacity: 1)
        state.initialize(to: MemoryState())
    }

    /// The handle again, from the pointer that a C function was given.
    @inline(__always)
    public init(raw: UnsafeMutableRawPointer) {
        state = raw.assumingMemoryBound(to: MemoryState.self)
    }

    /// The handle as a pointer, for C functions.
    @inline(__always)
    public var raw: UnsafeMutableRawPointer { UnsafeMutableRawPointer(state) }

    /// Ends the heap. Blocks in slabs go with it; large blocks and tables must be gone.
    public func destroy() {
        invariant(state.pointee.largeBlocks == 0, "large blocks outlive their heap")
        invariant(state.pointee.tableBytes == 0, "tables outlive their heap")
        state.deinitialize(count: 1)
        state.deallocate()
    }

    // MARK: Blocks

    /// What a block of `size` bytes really takes; blocks of one such size can be exchanged.
    @inline(__always)
    public static func roundedSize(_ size: Int) -> Int {
        size <= SlabAllocator.largestBlock ? SlabAllocator.roundedSize(size) : largeSize(size)
    }

    /// glibc keeps 8 bytes per chunk and rounds up to 16; we ask for all that it would hand out.
    @inline(__always)
    private static func largeSize(_ size: Int) -> Int { ((size &+ 23) & ~15) &- 8 }

    /// A block of at least `size` bytes, not zeroed.
    @inline(__always)
    public func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        if _fastPath(size <= SlabAllocator.largestBlock) {
            return state.pointee.slabs.allocate(size)
        }
        return allocateLarge(size)
    }

    /// Takes a block back. `size` is the one it was allocated with, or one that rounds alike.
    @inline(__always)
    public func free(_ block: UnsafeMutableRawPointer, _ size: Int) {
        if _fastPath(size <= SlabAllocator.largestBlock) {
            state.pointee.slabs.free(block, size)
        } else {
            detach(size)
            Glibc.free(block)
        }
    }

    /// A block of zeros. A large one is fresh memory of the system, which costs nothing yet.
    public func allocateZeroed(_ size: Int) -> UnsafeMutableRawPointer {
        if size > SlabAllocator.largestBlock { return allocateLarge(size, isZeroed: true) }
        let block = allocate(size)
        memset(block, 0, size)
        return block
    }

    @inline(never)
    private func allocateLarge(_ size: Int, isZeroed: Bool = false) -> UnsafeMutableRawPointer {
        let rounded = Memory.largeSize(size)
        let block = isZeroed ? calloc(1, rounded) : malloc(rounded)
        guard let block else { unreachable("out of memory") }
        state.pointee.largeBytes &+= rounded &+ 8
        state.pointee.largeBlocks &+= 1
        notePeak()
        return block
    }

    /// Another block with the same first bytes. Large ones grow in place when the C library can.
    public func reallocate(
        _ block: UnsafeMutableRawPointer,
        from size: Int,
        to newSize: Int
    ) -> UnsafeMutableRawPointer {
        if Memory.roundedSize(size) == Memory.roundedSize(newSize) { return block }
        if size > SlabAllocator.largestBlock, newSize > SlabAllocator.largestBlock {
            let rounded = Memory.largeSize(newSize)
            guard let fresh = realloc(block, rounded) else { unreachable("out of memory") }
            state.pointee.largeBytes &+= rounded &- Memory.largeSize(size)
            notePeak()
            return fresh
        }
        let fresh = allocate(newSize)
        memcpy(fresh, block, min(size, newSize))
        free(block, size)
        return fresh
    }

    /// Stops counting a large block that someone else will hand to `free`, on any thread.
    @inline(__always)
    public func detach(_ size: Int) {
        invariant(size > SlabAllocator.largestBlock, "small blocks stay with their heap")
        state.pointee.largeBytes &-= Memory.largeSize(size) &+ 8
        state.pointee.largeBlocks &-= 1
        invariant(state.pointee.largeBytes >= 0, "more large memory freed than allocated")
    }

    /// Frees a block that was detached from its heap before; on any thread.
    public static func freeDetached(_ block: UnsafeMutableRawPointer) { Glibc.free(block) }

    // MARK: Moving

    /// Whether a small block stands in a sparse slab and has a better place.
    public func shouldMove(_ block: UnsafeMutableRawPointer, _ size: Int) -> Bool {
        size <= SlabAllocator.largestBlock && state.pointee.slabs.shouldMove(block, size)
    }

    /// A copy of a block; the old one stays until it is freed.
    public func copyElsewhere(
        _ block: UnsafeMutableRawPointer, _ size: Int
    ) -> UnsafeMutableRawPointer {
        let fresh = allocate(size)
        memcpy(fresh, block, size)
        return fresh
    }

    /// Moves a block to where the allocator thinks best.
    public func move(
        _ block: UnsafeMutableRawPointer, _ size: Int
    ) -> UnsafeMutableRawPointer {
        let fresh = copyElsewhere(block, size)
        free(block, size)
        return fresh
    }

    // MARK: Tables

    /// Zeroed memory for a table, aligned to 64 bytes. `size` is a multiple of 64.
    public func allocateTable(_ size: Int) -> UnsafeMutableRawPointer {
        invariant(size > 0 && size % 64 == 0, "tables are made of cache lines")
        state.pointee.tableBytes += size
        if size <= SlabAllocator.largestBlock {
            let block = state.pointee.slabs.allocate(size)
            invariant(UInt(bitPattern: block) % 64 == 0, "a small table is not aligned")
            state.pointee.tableBytes -= size
            memset(block, 0, size)
            return block
        }
        notePeak()
        if size < Memory.mappedTableSize {
            var block: UnsafeMutableRawPointer?
            guard posix_memalign(&block, 64, size) == 0, let block else {
                unreachable("out of memory")
            }
            memset(block, 0, size)
            return block
        }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        guard let raw = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0), raw != MAP_FAILED
        else { unreachable("out of memory") }
        return raw
    }

    /// Gives the pages of a part of a mapped table back early; it reads as zeros from now on.
    /// Returns the bytes released, for `freeTable`.
    public func releaseTablePart(_ part: UnsafeMutableRawPointer, _ size: Int) {
        madvise(part, size, MADV_DONTNEED)
        state.pointee.tableBytes -= size
        invariant(state.pointee.tableBytes >= 0, "more table memory freed than allocated")
    }

    /// Takes a table back; `released` bytes of it were given back before.
    public func freeTable(_ table: UnsafeMutableRawPointer, _ size: Int, released: Int = 0) {
        if size <= SlabAllocator.largestBlock {
            state.pointee.slabs.free(table, size)
            return
        }
        state.pointee.tableBytes -= size - released
        invariant(state.pointee.tableBytes >= 0, "more table memory freed than allocated")
        if size < Memory.mappedTableSize {
            Glibc.free(table)
        } else {
            munmap(table, size)
        }
    }

    // MARK: Accounting

    /// Bytes of all live blocks and tables, as the allocators round them.
    @inline(__always)
    public var used: Int {
        state.pointee.slabs.liveBytes &+ state.pointee.largeBytes &+ state.pointee.tableBytes
    }

    /// Bytes held from the system for them: `used` and the free room in slabs.
    public var reserved: Int {
        state.pointee.slabs.slabs * SlabAllocator.slabSize + state.pointee.largeBytes
            + state.pointee.tableBytes
    }

    /// Bytes of the live small blocks, and the free room in their slabs.
    public var slabUsed: Int { state.pointee.slabs.liveBytes }
    public var wasted: Int {
        state.pointee.slabs.slabs * SlabAllocator.slabSize - state.pointee.slabs.liveBytes
    }

    /// The largest value of `used` that was noted.
    public var peak: Int {
        notePeak()
        return state.pointee.peak
    }

    /// Live blocks of any size, without tables above 1 KB: what a leak test counts.
    public var liveBlocks: Int { state.pointee.slabs.liveBlocks + state.pointee.largeBlocks }

    /// Bytes of tables above 1 KB.
    public var tableBytes: Int { state.pointee.tableBytes }

    /// Updates `peak`. Large requests do it by themselves; the cron does it for the small ones.
    @inline(__always)
    public func notePeak() {
        if used > state.pointee.peak { state.pointee.peak = used }
    }

    /// Starts the peak anew (CONFIG RESETSTAT, MEMORY PURGE).
    public func resetPeak() { state.pointee.peak = used }
}
