// What the keyspace must be able to do with a value that is no string: one descriptor of plain C
// function pointers per type, held in unsafe memory, so that a call costs no ARC. Saving, loading
// and rewriting have tables of their own in the layers that know the formats.
import Base

public struct ObjectType {
    /// Frees about `effort` elements of a value; true when the value is gone altogether, else it
    /// is called again. Arguments: payload, encoding, `Keyspace.raw` (for `ObjectHeap(raw:)`),
    /// effort.
    public typealias Free =
        @convention(c) (UnsafeMutableRawPointer, UInt8, UnsafeMutableRawPointer, Int) -> Bool
    /// How many elements freeing must visit; decides whether it happens at once.
    public typealias FreeEffort = @convention(c) (UnsafeMutableRawPointer, UInt8) -> Int
    /// Bytes of a value without its entry, estimated from up to `samples` elements (0: all).
    public typealias MemoryUsage = @convention(c) (UnsafeMutableRawPointer, UInt8, Int) -> Int
    /// A deep copy. Arguments: payload, encoding, `Keyspace.raw`.
    public typealias Copy =
        @convention(c) (UnsafeMutableRawPointer, UInt8, UnsafeMutableRawPointer)
        -> UnsafeMutableRawPointer
    /// Mixes a value into a 20-byte digest, as DEBUG DIGEST-VALUE defines it.
    public typealias Digest =
        @convention(c) (UnsafeMutableRawPointer, UInt8, UnsafeMutablePointer<UInt8>) -> Void

    /// Begins a walk over a value for a snapshot; nil when the value has fewer elements than the
    /// last argument says, or not the form for it. Arguments: payload, encoding, `Keyspace.raw`.
    public typealias OpenWalk =
        @convention(c) (UnsafeMutableRawPointer, UInt8, UnsafeMutableRawPointer, Int)
        -> UnsafeMutableRawPointer?
    /// Moves blocks of a value to better places, as `Keyspace.shouldMove` says, a share at a time:
    /// the cursor is 0 at first and again at the end. Returns how much was looked at. Listpacks and
    /// intsets are seen to by the keyspace. Arguments: payload, encoding, `Keyspace.raw`, cursor.
    public typealias Defragment =
        @convention(c) (
            UnsafeMutableRawPointer, UInt8, UnsafeMutableRawPointer, UnsafeMutablePointer<UInt64>
        ) -> Int
    /// Ends a walk, complete or not, and frees it. Arguments: walk, `Keyspace.raw`.
    public typealias CloseWalk =
        @convention(c) (UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Void

    public var free: Free?
    public var freeEffort: FreeEffort?
    public var memoryUsage: MemoryUsage?
    public var copy: Copy?
    public var digest: Digest?
    public var openWalk: OpenWalk?
    public var closeWalk: CloseWalk?
    public var defragment: Defragment?

    public init(
        free: Free? = nil,
        freeEffort: FreeEffort? = nil,
        memoryUsage: MemoryUsage? = nil,
        copy: Copy? = nil,
        digest: Digest? = nil,
        openWalk: OpenWalk? = nil,
        closeWalk: CloseWalk? = nil,
        defragment: Defragment? = nil
    ) {
        self.free = free
        self.freeEffort = freeEffort
        self.memoryUsage = memoryUsage
        self.copy = copy
        self.digest = digest
        self.openWalk = openWalk
        self.closeWalk = closeWalk
        self.defragment = defragment
    }
}
