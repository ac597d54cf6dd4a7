// Up to which size a collection stays in its compact form: the settings of that name, live, as one
// trivial value that handlers and loaders look at.
import Base

public struct EncodingLimits: Sendable {
    /// Fields of a hash in a listpack, and bytes of each field and value.
    public var hashEntries = 512
    public var hashValue = 64
    /// Members of an intset; members of a set in a listpack, and bytes of each.
    public var setIntset = 512
    public var setEntries = 128
    public var setValue = 64
    /// Members of a sorted set in a listpack, and bytes of each.
    public var zsetEntries = 128
    public var zsetValue = 64
    /// Entries of a list's chunk, or its size class when negative; chunks at each end that are not
    /// compressed.
    public var listSize = -2
    public var listCompressDepth = 0
    /// Bytes of a sparse HyperLogLog.
    public var hllSparseBytes = 3000
    /// Bytes and entries of a stream's node; 0 is no limit.
    public var streamNodeBytes = 4096
    public var streamNodeEntries = 100

    public init() {}
}
