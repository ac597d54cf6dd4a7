// What the string commands share: a value as a reply, a value as bytes, keys taken in groups so
// that their cache misses overlap, and the limit on the size of a string.
import Base
import Engine
import RESP
import Storage

extension Call {
    /// Answers with the value of a string.
    @inline(__always)
    func replyString(_ entry: Entry) {
        if let integer = entry.integer {
            reply.bulk(decimal: integer)
        } else if let bytes = entry.storedBytes {
            reply.bulk(bytes)
        }
    }

    /// Sets a key to a string and says so.
    @inline(__always)
    func store(_ key: KeyRef, _ value: Bytes, expiry: ExpiryChange) {
        keyspace.setString(key, value, expiry: expiry)
        changed(.string, "set", key)
    }

    /// Calls `body` with each key from argument `first` on, every `step`-th, and the position of
    /// its argument. Keys are hashed in groups and their table lines and entries asked for before
    /// the first is worked on.
    @inline(__always)
    func forEachKey(from first: Int, step: Int, _ body: (Int, KeyRef) -> Void) {
        if count <= first &+ step {
            body(first, key(first))
            return
        }
        withUnsafeTemporaryAllocation(of: KeyRef.self, capacity: keyGroup) { room in
            guard let keys = room.baseAddress else { return }
            var position = first
            while position < count {
                let size = prefetch(keys, from: position, step: step)
                for index in 0..<size {
                    body(position &+ index &* step, keys[index])
                }
                position &+= size &* step
            }
        }
    }

    /// Hashes up to a group of keys and loads their buckets, then their entries.
    @inline(__always)
    private func prefetch(
        _ keys: UnsafeMutablePointer<KeyRef>, from position: Int, step: Int
    ) -> Int {
        let keyspace = self.keyspace
        let database = self.database
        let prefetches = keyspace.gainsFromPrefetch(database: database)
        var size = 0
        while size < keyGroup {
            let argument = position &+ size &* step
            guard argument < count else { break }
            let bytes = self[argument]
            let isAgain = size > 0 && bytes.isSameShort(as: keys[size &- 1].bytes)
            let key =
                isAgain
                ? KeyRef(bytes, sameAs: keys[size &- 1])
                : keyspace.key(bytes, database: database)
            (keys + size).initialize(to: key)
            if prefetches { keyspace.prefetchBucket(key) }
            size &+= 1
        }
        if prefetches {
            for index in 0..<size { keyspace.prefetchEntry(keys[index]) }
        }
        return size
    }

    /// False after an error reply when a string may not become `count` bytes longer than `size`.
    /// Our primary's word is law: what it could store, so can we.
    func allowsLengthOrReply(_ size: Int, plus count: Int) -> Bool {
        let (total, overflows) = size.addingReportingOverflow(count)
        if !overflows, total <= executor.pointee.settings.maxBulkLength { return true }
        if !overflows, session.pointee.flags.contains(.fromPrimary) { return true }
        reply.error(.tooLong)
        return false
    }
}

/// Keys that are prefetched together.
private let keyGroup = 16

/// The bytes of a string, also of one that is stored as a number. Valid inside `body` only.
@inline(__always)
func withBytes<R>(of entry: Entry, _ body: (Bytes) -> R) -> R {
    var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
    return withUnsafeMutableBytes(of: &digits) { room in
        guard let start = room.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            unreachable("a tuple has an address")
        }
        return body(entry.bytes(scratch: start))
    }
}
