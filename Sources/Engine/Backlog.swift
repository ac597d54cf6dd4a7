// The replication stream: every command that changed the data, encoded once, addressed by
// replication offset. Replicas, partial resynchronisation and (later) the log read from here; a
// block is freed when neither the configured size nor a slow replica needs it. The bytes of one
// block are contiguous and never move, so readers hand them to the kernel as they are.
import Base

public struct Backlog: ~Copyable {
    public static let blockSize = 64 * 1024

    /// Offset of the first byte that is still here.
    public private(set) var firstOffset: Int64
    /// Offset after the last byte: the node's replication offset.
    public private(set) var endOffset: Int64
    /// Offset of the start of block 0.
    private var base: Int64
    private var blocks: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>>
    private var blockCount = 0
    private var capacity = 64

    /// A backlog whose next byte has the offset `offset`.
    public init(offset: Int64) {
        firstOffset = offset
        endOffset = offset
        base = offset
        blocks = .allocate(capacity: capacity)
    }

    deinit {
        for index in 0..<blockCount { blocks[index].deallocate() }
        blocks.deallocate()
    }

    /// Bytes that can still be read.
    public var length: Int { Int(endOffset - firstOffset) }
    /// Memory in use.
    public var memory: Int { blockCount * Backlog.blockSize }

    @inline(__always)
    public mutating func append(_ bytes: Bytes) {
        var from = bytes.base
        var left = bytes.count
        while left > 0 {
            let at = Int(truncatingIfNeeded: endOffset &- base)
            let index = at / Backlog.blockSize
            let offset = at % Backlog.blockSize
            if _slowPath(index == blockCount) { addBlock() }
            let room = min(left, Backlog.blockSize &- offset)
            (blocks[index] + offset).update(from: from, count: room)
            from += room
            left &-= room
            endOffset &+= Int64(room)
        }
    }

    @inline(never)
    private mutating func addBlock() {
        if blockCount == capacity {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<UInt8>>.allocate(
                capacity: capacity * 2)
            larger.update(from: blocks, count: blockCount)
            blocks.deallocate()
            blocks = larger
            capacity *= 2
        }
        (blocks + blockCount).initialize(to: .allocate(capacity: Backlog.blockSize))
        blockCount += 1
    }

    /// The contiguous bytes at `offset`, as many as its block holds; empty at the end. `offset`
    /// must lie inside.
    public func read(from offset: Int64) -> Bytes {
        invariant(offset >= firstOffset && offset <= endOffset, "offset is not in the backlog")
        guard offset < endOffset else { return .empty }
        let at = Int(offset - base)
        let inBlock = at % Backlog.blockSize
        let count = min(Backlog.blockSize - inBlock, Int(endOffset - offset))
        return Bytes(UnsafePointer(blocks[at / Backlog.blockSize] + inBlock), count)
    }

    /// Frees the whole blocks before `offset`.
    public mutating func trim(before offset: Int64) {
        let keep = max(firstOffset, min(offset, endOffset))
        let whole = Int(keep - base) / Backlog.blockSize
        if whole > 0 {
            for index in 0..<whole { blocks[index].deallocate() }
            blocks.update(from: blocks + whole, count: blockCount - whole)
            blockCount -= whole
            base += Int64(whole * Backlog.blockSize)
        }
        firstOffset = max(firstOffset, base)
        invariant(firstOffset <= endOffset, "trimmed past the end")
    }

    /// Forgets everything: the next byte has the offset `offset`.
    public mutating func reset(to offset: Int64) {
        for index in 0..<blockCount { blocks[index].deallocate() }
        blockCount = 0
        base = offset
        firstOffset = offset
        endOffset = offset
    }
}
