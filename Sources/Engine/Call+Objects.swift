// What handlers of collections share: type checks, where structures get their memory, up to which
// size they stay compact, and the end of a collection that became empty.
import Base
import Persistence
import RESP
import Storage

extension Call {
    /// Where the structures of this keyspace live.
    @inline(__always)
    public var heap: ObjectHeap { keyspace.heap }

    /// Up to which size collections stay compact.
    @inline(__always)
    public var limits: EncodingLimits { executor.pointee.settings.limits }

    /// The entry when it holds a value of this type; else answers and returns nil.
    @inline(__always)
    public func typeOrReply(_ entry: Entry, _ type: ValueType) -> Entry? {
        if _fastPath(entry.type == type) { return entry }
        reply.error(.wrongType)
        return nil
    }

    /// Removes the key of a collection whose last element went. Call it after the event of the
    /// change itself.
    public func removeEmptied(_ key: KeyRef) {
        let existed = keyspace.remove(key)
        invariant(existed, "an emptied collection has a key")
        signal(.generic, "del", key)
    }
}

extension ExecutorPointer {
    /// How values are written down and read.
    public var objectFormats: ObjectFormats { pointee.commands.pointee.objectTypes.formats }
}
