// Small blocks. Slabs of 64 KB, aligned to their size, each hold blocks of one size class: every 8
// bytes up to 256, then every 32 up to 1024. The slab of a block is its address without the low 16
// bits, so a block carries no header; frees are sized. Compared with a general allocator this saves
// 10 to 20 % of resident memory and gives exact accounting for nothing. Empty slabs go back to the
// kernel. One thread owns an allocator.
import CLinux
import Glibc

/// What stands at the start of each slab.
private struct SlabHeader {
    var next: UnsafeMutablePointer<SlabHeader>?
    var previous: UnsafeMutablePointer<SlabHeader>?
    /// Offset of the first freed block, 0 for none; each freed block starts with the next offset.
    var firstFree: UInt32
    /// Offset of the first byte that was never handed out.
    var fresh: UInt32
    /// Offset behind the last whole block.
    var end: UInt32
    var used: UInt32
    var blockSize: UInt32
    var classIndex: UInt32
}

public struct SlabAllocator: ~Copyable {
    /// Blocks larger than this are not for slabs.
    public static let largestBlock = 1024
    public static let slabSize = 1 << 16
    private static let headerSize = 64
    private static let regionSize = 64 * slabSize
    private static let classCount = 57
    /// Empty slabs that stay resident; further ones give their pages back.
    private static let residentSpares = 4
    /// Slabs that are looked at for a better place.
    private static let candidates = 16

    /// For each class the slabs that have room, linked.
    private var partial: [57 of UnsafeMutablePointer<SlabHeader>?] = .init(repeating: nil)
    private var spares: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private var spareCount = 0
    private var spareCapacity = 0
    private var regions: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private var regionCount = 0
    private var regionUsed = SlabAllocator.regionSize

    /// Bytes of all live blocks, each rounded up to its class.
    public private(set) var liveBytes = 0
    /// Live blocks.
    public private(set) var liveBlocks = 0
    /// Slabs that hold at least one block, or wait for the next one of their class.
    public private(set) var slabs = 0

    public init() {
        invariant(MemoryLayout<SlabHeader>.size <= SlabAllocator.headerSize, "slab header grew")
    }

    deinit {
        for index in 0..<regionCount {
            if let regions { munmap(regions[index], SlabAllocator.regionSize) }
        }
        Glibc.free(regions)
        Glibc.free(spares)
    }

    /// The size of the block that a request for `size` bytes gets.
    @inline(__always)
    public static func roundedSize(_ size: Int) -> Int {
        size <= 256 ? (size &+ 7) & ~7 : (size &+ 31) & ~31
    }

    @inline(__always)
    private static func classIndex(_ rounded: Int) -> Int {
        rounded <= 256 ? rounded &>> 3 : 24 &+ (rounded &>> 5)
    }

    /// A block of at least `size` bytes, aligned to 8, and to 64 when `size` is a multiple of 64.
    @inline(__always)
    public mutating func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        invariant(size > 0 && size <= SlabAllocator.largestBlock, "not a small block")
        let rounded = SlabAllocator.roundedSize(size)
        let index = SlabAllocator.classIndex(rounded)
        let slab = partial[index] ?? freshSlab(index, rounded)
        let raw = UnsafeMutableRawPointer(slab)
        let offset: UInt32
        if slab.pointee.firstFree != 0 {
            offset = slab.pointee.firstFree
            slab.pointee.firstFree = raw.load(fromByteOffset: Int(offset), as: UInt32.self)
        } else {
            offset = slab.pointee.fresh
            slab.pointee.fresh = offset &+ slab.pointee.blockSize
        }
        slab.pointee.used &+= 1
        if slab.pointee.firstFree == 0, slab.pointee.fresh == slab.pointee.end {
            unlink(slab, index)
        }
        liveBytes &+= rounded
        liveBlocks &+= 1
        return raw + Int(offset)
    }

    /// Takes a block back; `size` is what was asked for, or anything of the same class.
    @inline(__always)
    public mutating func free(_ block: UnsafeMutableRawPointer, _ size: Int) {
        let rounded = SlabAllocator.roundedSize(size)
        let address = UInt(bitPattern: block)
        let offset = UInt32(truncatingIfNeeded: address & 0xFFFF)
        let raw = block - Int(offset)
        let slab = raw.assumingMemoryBound(to: SlabHeader.self)
        invariant(slab.pointee.blockSize == UInt32(rounded), "a block was freed with another size")
        invariant(slab.pointee.used > 0, "a block was freed twice")
        let wasFull = slab.pointee.firstFree == 0 && slab.pointee.fresh == slab.pointee.end
        block.storeBytes(of: slab.pointee.firstFree, as: UInt32.self)
        slab.pointee.firstFree = offset
        slab.pointee.used &-= 1
        liveBytes &-= rounded
        liveBlocks &-= 1
        if wasFull { link(slab, SlabAllocator.classIndex(rounded)) }
        if slab.pointee.used == 0 { retire(slab) }
    }

    /// Whether a block stands in a sparse slab and a fuller one has room for it. That one then
    /// serves the next request of the class.
    public mutating func shouldMove(_ block: UnsafeMutableRawPointer, _ size: Int) -> Bool {
        let index = SlabAllocator.classIndex(SlabAllocator.roundedSize(size))
        let offset = Int(UInt(bitPattern: block) & 0xFFFF)
        let slab = (block - offset).assumingMemoryBound(to: SlabHeader.self)
        let room = Int(slab.pointee.end) - SlabAllocator.headerSize
        let used = Int(slab.pointee.used &* slab.pointee.blockSize)
        guard used * 8 < room * 7 else { return false }
        var best: UnsafeMutablePointer<SlabHeader>?
        var next = partial[index]
        for _ in 0..<SlabAllocator.candidates {
            guard let other = next else { break }
            next = other.pointee.next
            // Of equals the one at the lower address is the better place: there is no going round.
            guard other != slab, other.pointee.used >= (best ?? slab).pointee.used,
                other.pointee.used > (best ?? slab).pointee.used || other < (best ?? slab)
            else { continue }
            best = other
        }
        guard let best else { return false }
        if partial[index] != best {
            unlink(best, index)
            link(best, index)
        }
        return true
    }

    @inline(__always)
    private mutating func link(_ slab: UnsafeMutablePointer<SlabHeader>, _ index: Int) {
        slab.pointee.previous = nil
        slab.pointee.next = partial[index]
        partial[index]?.pointee.previous = slab
        partial[index] = slab
    }

    @inline(__always)
    private mutating func unlink(_ slab: UnsafeMutablePointer<SlabHeader>, _ index: Int) {
        let next = slab.pointee.next
        let previous = slab.pointee.previous
        next?.pointee.previous = previous
        if let previous {
            previous.pointee.next = next
        } else {
            partial[index] = next
        }
        slab.pointee.next = nil
        slab.pointee.previous = nil
    }

    @inline(never)
    private mutating func freshSlab(
        _ index: Int,
        _ rounded: Int
    ) -> UnsafeMutablePointer<SlabHeader> {
        invariant(index < SlabAllocator.classCount, "no such size class")
        let raw = takeSlab()
        let slab = raw.bindMemory(to: SlabHeader.self, capacity: 1)
        let blocks = (SlabAllocator.slabSize - SlabAllocator.headerSize) / rounded
        slab.initialize(
            to: SlabHeader(
                next: nil,
                previous: nil,
                firstFree: 0,
                fresh: UInt32(SlabAllocator.headerSize),
                end: UInt32(SlabAllocator.headerSize + blocks * rounded),
                used: 0,
                blockSize: UInt32(rounded),
                classIndex: UInt32(index)
            )
        )
        link(slab, index)
        slabs += 1
        return slab
    }

    /// An empty slab goes back, unless it is the last of its class that has room: a single block
    /// that comes and goes must not cost a system call each time.
    @inline(never)
    private mutating func retire(_ slab: UnsafeMutablePointer<SlabHeader>) {
        let index = Int(slab.pointee.classIndex)
        guard slab.pointee.next != nil || slab.pointee.previous != nil else {
            slab.pointee.firstFree = 0
            slab.pointee.fresh = UInt32(SlabAllocator.headerSize)
            return
        }
        unlink(slab, index)
        slabs -= 1
        let raw = UnsafeMutableRawPointer(slab)
        if spareCount >= SlabAllocator.residentSpares {
            madvise(raw, SlabAllocator.slabSize, MADV_DONTNEED)
        }
        invariant(spareCount < spareCapacity, "more spare slabs than slabs")
        spares?[spareCount] = raw
        spareCount += 1
    }

    private mutating func takeSlab() -> UnsafeMutableRawPointer {
        if spareCount > 0, let spares {
            spareCount -= 1
            return spares[spareCount]
        }
        if regionUsed == SlabAllocator.regionSize { mapRegion() }
        guard let regions else { unreachable("no region was mapped") }
        let raw = regions[regionCount - 1] + regionUsed
        regionUsed += SlabAllocator.slabSize
        return raw
    }

    /// Maps the next region, aligned to the slab size: more is asked for, and both ends cut off.
    private mutating func mapRegion() {
        let size = SlabAllocator.regionSize
        let alignment = SlabAllocator.slabSize
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        guard
            let raw = mmap(nil, size + alignment, PROT_READ | PROT_WRITE, flags, -1, 0),
            raw != MAP_FAILED
        else { unreachable("out of memory") }
        let lead = (alignment - Int(bitPattern: raw) & (alignment - 1)) & (alignment - 1)
        if lead > 0 { munmap(raw, lead) }
        if lead < alignment { munmap(raw + lead + size, alignment - lead) }
        regionUsed = 0
        regionCount += 1
        spareCapacity += size / alignment
        let word = MemoryLayout<UnsafeMutableRawPointer>.stride
        guard
            let list = realloc(regions, regionCount * word),
            let stack = realloc(spares, spareCapacity * word)
        else { unreachable("out of memory") }
        regions = list.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
        spares = stack.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
        regions?[regionCount - 1] = raw + lead
    }
}
