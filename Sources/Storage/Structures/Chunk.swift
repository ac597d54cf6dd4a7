// One link of a long list: a run of packed elements in a block with room to spare at both ends, so
// that pushing and popping at either end moves nothing. The six bytes in front of the run and the
// one behind it are always free: a listpack's header and terminator are put there when the chunk is
// written to a file, which makes saving a copy.
//
//     next · previous · left · u32 capacity, start, end, count · u32 mark · unused
//     | … room … | elements | … room …
//
// Offsets count from the start of the block.
import Base

/// How much a chunk takes before the next one begins: `list-max-listpack-size`.
public struct ChunkLimit: Equatable {
    /// Bytes of the chunk as a listpack.
    public let bytes: Int
    public let count: Int
    /// True when the setting counts elements; the limit of bytes is for safety then.
    let countsElements: Bool
    private static let safetyLimit = 8192

    public init(listSize: Int) {
        countsElements = listSize >= 0
        if listSize >= 0 {
            bytes = ChunkLimit.safetyLimit
            count = max(1, listSize)
        } else {
            // -1 … -5: 4, 8, 16, 32, 64 KB.
            bytes = 2048 &<< min(5, 0 &- max(listSize, -5))
            count = .max
        }
    }

    @inline(__always)
    public func isExceeded(bytes: Int, count: Int) -> Bool {
        bytes > self.bytes || count > self.count
    }

    /// Whether a list that shrinks is small enough to become a plain listpack again: half of the
    /// limit, so that a list at the limit does not change its form all the time.
    func allowsPacking(bytes: Int, count: Int, isShrinking: Bool) -> Bool {
        let share = isShrinking ? 2 : 1
        return countsElements ? count <= self.count / share : bytes <= self.bytes / share
    }
}

struct Chunk: Equatable {
    let base: UnsafeMutableRawPointer

    static let headerSize = 48
    /// A listpack's header and terminator.
    static let frontFrame = 6
    static let frame = frontFrame + 1
    /// What a chunk takes besides its elements.
    static let overhead = headerSize + frame
    /// The lowest offset that elements may have.
    static let firstStart = headerSize + frontFrame
    /// What the reference expects an element to need besides its text.
    static let elementOverhead = 8

    @inline(__always)
    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    /// An empty chunk with `room` for elements; it will be filled from the end towards the front,
    /// or the other way round.
    static func make(room: Int, fromEnd: Bool, _ memory: Memory) -> Chunk {
        let capacity = Memory.roundedSize(overhead + room)
        invariant(room >= 0 && capacity <= Int(UInt32.max), "no size for a chunk")
        let chunk = Chunk(memory.allocate(capacity))
        chunk.next = nil
        chunk.previous = nil
        chunk.left = nil
        chunk.mark = 0
        chunk.capacity = capacity
        chunk.start = fromEnd ? capacity - 1 : firstStart
        chunk.end = chunk.start
        chunk.count = 0
        return chunk
    }

    func free(_ memory: Memory) { memory.free(base, capacity) }

    // MARK: Fields

    @inline(__always)
    private func word(_ offset: Int) -> Int {
        Int(truncatingIfNeeded: base.load(fromByteOffset: offset, as: UInt32.self))
    }
    @inline(__always)
    private func set(_ offset: Int, _ value: Int) {
        base.storeBytes(
            of: UInt32(truncatingIfNeeded: value), toByteOffset: offset, as: UInt32.self)
    }
    @inline(__always)
    private func link(_ offset: Int) -> Chunk? {
        let bits = base.load(fromByteOffset: offset, as: UInt.self)
        return UnsafeMutableRawPointer(bitPattern: bits).map { Chunk($0) }
    }
    @inline(__always)
    private func set(_ offset: Int, _ chunk: Chunk?) {
        let bits = chunk.map { UInt(bitPattern: $0.base) } ?? 0
        base.storeBytes(of: bits, toByteOffset: offset, as: UInt.self)
    }

    var next: Chunk? {
        @inline(__always) get { link(0) }
        @inline(__always) nonmutating set { set(0, newValue) }
    }
    var previous: Chunk? {
        @inline(__always) get { link(8) }
        @inline(__always) nonmutating set { set(8, newValue) }
    }
    /// What was left for a walk in front of this chunk; see `ListWalk`.
    var left: Chunk? {
        get { link(16) }
        nonmutating set { set(16, newValue) }
    }
    /// The last walk that has no need of this chunk.
    var mark: UInt32 {
        @inline(__always) get { base.load(fromByteOffset: 40, as: UInt32.self) }
        nonmutating set { base.storeBytes(of: newValue, toByteOffset: 40, as: UInt32.self) }
    }
    var capacity: Int {
        @inline(__always) get { word(24) }
        nonmutating set { set(24, newValue) }
    }
    /// Where the first element begins.
    var start: Int {
        @inline(__always) get { word(28) }
        @inline(__always) nonmutating set { set(28, newValue) }
    }
    /// Where the last element ends.
    var end: Int {
        @inline(__always) get { word(32) }
        @inline(__always) nonmutating set { set(32, newValue) }
    }
    var count: Int {
        @inline(__always) get { word(36) }
        @inline(__always) nonmutating set { set(36, newValue) }
    }

    // MARK: Facts

    @inline(__always)
    var byteCount: Int { end &- start }

    /// The size as a listpack.
    @inline(__always)
    var packedSize: Int { byteCount &+ Chunk.frame }

    @inline(__always)
    var frontRoom: Int { start &- Chunk.firstStart }
    @inline(__always)
    var backRoom: Int { capacity &- 1 &- end }

    @inline(__always)
    func pointer(_ offset: Int) -> UnsafeMutablePointer<UInt8> {
        (base + offset).assumingMemoryBound(to: UInt8.self)
    }

    @inline(__always)
    func size(at offset: Int) -> Int { PackedElement.wholeSize(UnsafePointer(pointer(offset))) }

    /// Whether an element of `length` bytes of text may still come in, as the reference estimates.
    @inline(__always)
    func takes(_ length: Int, _ limit: ChunkLimit) -> Bool {
        !limit.isExceeded(
            bytes: packedSize &+ length &+ Chunk.elementOverhead, count: count &+ 1)
    }

    /// Whether this chunk and the one behind it may become one.
    func takes(_ other: Chunk, _ limit: ChunkLimit) -> Bool {
        !limit.isExceeded(
            bytes: packedSize + other.packedSize - Chunk.frame, count: count + other.count)
    }

    /// The elements as a listpack, valid until the next change.
    var packed: Bytes {
        let start = base + (self.start - Chunk.frontFrame)
        let total = UInt32(truncatingIfNeeded: packedSize)
        start.storeBytes(of: total.littleEndian, as: UInt32.self)
        let said = UInt16(truncatingIfNeeded: min(count, Listpack.unknownCount))
        start.storeBytes(of: said.littleEndian, toByteOffset: 4, as: UInt16.self)
        pointer(end)[0] = PackedElement.terminator
        return Bytes(start.assumingMemoryBound(to: UInt8.self), packedSize)
    }

    /// Calls `body` with the elements as a listpack and, when there is a single one, that.
    func visit(_ body: (_ packed: Bytes, _ single: PackedValue?) -> Void) {
        body(
            packed, count == 1 ? PackedElement.read(UnsafePointer(pointer(start))) : nil)
    }

    // MARK: Elements

    /// The offset of element `index`, counted from the nearer end.
    func seek(_ index: Int) -> Int {
        invariant(index >= 0 && index < count, "no such element in the chunk")
        if index <= count / 2 {
            var offset = start
            for _ in 0..<index { offset &+= size(at: offset) }
            return offset
        }
        var offset = end
        for _ in index..<count { offset = before(offset) }
        return offset
    }

    /// The offset of the element that ends at `offset`.
    @inline(__always)
    func before(_ offset: Int) -> Int {
        let previous = PackedElement.previous(UnsafePointer(pointer(offset)))
        return UnsafeRawPointer(previous) - UnsafeRawPointer(base)
    }

    /// Takes `size` bytes with `elements` elements at `offset` out; the shorter side moves.
    func cut(_ offset: Int, _ size: Int, elements: Int) {
        invariant(offset >= start && offset + size <= end, "a cut outside of the chunk")
        let front = offset &- start
        let back = end &- offset &- size
        if front < back {
            moveBytes(to: base + (start &+ size), from: base + start, count: front)
            start &+= size
        } else {
            moveBytes(to: base + offset, from: base + (offset &+ size), count: back)
            end &-= size
        }
        count &-= elements
        invariant(count >= 0 && (count > 0) == (byteCount > 0), "a chunk lost count")
    }
}

/// A text that elements are compared with: as bytes, and as the number that it is.
public struct Needle {
    let bytes: Bytes
    let number: Int64?

    public init(_ bytes: Bytes) {
        self.bytes = bytes
        number = bytes.count <= 20 ? bytes.decimal : nil
    }

    @inline(__always)
    public func matches(_ value: PackedValue) -> Bool {
        switch value {
        case .bytes(let text): return text == bytes
        case .integer(let stored): return stored == number
        }
    }
}
