// A string in a block of its own: length, capacity, bytes. Used when it does not fit its entry.
// Grows with room to spare, so that appending byte by byte stays linear, as in the reference.
import Base

public struct RawString {
    /// The block, which is what the entry's payload holds.
    public let base: UnsafeMutableRawPointer
    static let headerSize = 16
    /// From here on the room to spare is this much rather than the length again.
    private static let largestSpare = 1 << 20

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always)
    public var count: Int { base.load(as: Int.self) }

    @inline(__always)
    var capacity: Int { base.load(fromByteOffset: 8, as: Int.self) }

    @inline(__always)
    public var start: UnsafeMutablePointer<UInt8> {
        (base + RawString.headerSize).assumingMemoryBound(to: UInt8.self)
    }

    @inline(__always)
    public var bytes: Bytes { Bytes(UnsafePointer(start), count) }

    /// The size of the block.
    @inline(__always)
    var allocationSize: Int { RawString.headerSize &+ capacity }

    /// A new string of `count` bytes that the caller fills in. When it is to be zero, a long one
    /// costs nothing until it is written to.
    static func make(_ count: Int, _ memory: Memory, isZeroed: Bool = false) -> RawString {
        invariant(count >= 0, "a string has no negative length")
        let size = Memory.roundedSize(headerSize + count)
        let string = RawString(isZeroed ? memory.allocateZeroed(size) : memory.allocate(size))
        string.base.storeBytes(of: count, as: Int.self)
        string.base.storeBytes(of: size - headerSize, toByteOffset: 8, as: Int.self)
        return string
    }

    /// The string with another length, perhaps at another place; new bytes are not zeroed.
    func resized(to newCount: Int, _ memory: Memory) -> RawString {
        guard newCount > capacity else {
            base.storeBytes(of: newCount, as: Int.self)
            return self
        }
        let spare = min(newCount, RawString.largestSpare)
        let size = Memory.roundedSize(RawString.headerSize + newCount + spare)
        let fresh = RawString(memory.reallocate(base, from: allocationSize, to: size))
        fresh.base.storeBytes(of: newCount, as: Int.self)
        fresh.base.storeBytes(of: size - RawString.headerSize, toByteOffset: 8, as: Int.self)
        return fresh
    }

    /// True when a string gets so much longer that a new, zeroed block is the cheaper way.
    func growsManifold(to newCount: Int) -> Bool {
        newCount > RawString.largestSpare && newCount / 4 > capacity
    }

    /// True when more than half of the block is unused: an overwrite should not keep it.
    func wastes(_ newCount: Int) -> Bool { capacity > 1024 && newCount < capacity / 2 }

    func free(_ memory: Memory) { memory.free(base, allocationSize) }
}
