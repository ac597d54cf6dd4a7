// A key as commands hold it: its bytes with the hash and the slot worked out once. Made by
// `Keyspace.key`; borrowed like the bytes that it points to.
import Base

public struct KeyRef {
    public let bytes: Bytes
    public let hash: UInt64
    /// The hash slot on a cluster node, else 0.
    public let slot: UInt16
    public let database: UInt16

    @inline(__always)
    init(_ bytes: Bytes, hash: UInt64, slot: UInt16, database: Int) {
        self.bytes = bytes
        self.hash = hash
        self.slot = slot
        self.database = UInt16(truncatingIfNeeded: database)
    }

    /// The same key, where its bytes stand once more.
    @inline(__always)
    public init(_ bytes: Bytes, sameAs other: KeyRef) {
        self.bytes = bytes
        hash = other.hash
        slot = other.slot
        database = other.database
    }
}
