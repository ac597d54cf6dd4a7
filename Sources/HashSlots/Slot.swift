// A hash slot: one of the 16384 parts of the key space. Source: Redis Cluster specification,
// "Key distribution model".

public struct Slot: Comparable, Hashable, Sendable, CustomStringConvertible {
    public static let count = 16384

    public let index: UInt16

    /// nil when `index` is not in `0 ..< 16384`.
    @inline(__always)
    public init?(_ index: Int) {
        guard index >= 0, index < Slot.count else { return nil }
        self.index = UInt16(truncatingIfNeeded: index)
    }

    /// The slot of a hash value: its lowest 14 bits.
    @inline(__always)
    public init(hash: UInt16) { index = hash & 0x3FFF }

    @inline(__always)
    public static func < (a: Slot, b: Slot) -> Bool { a.index < b.index }

    public var description: String { String(index) }
}
