// Asking for memory ahead: a batch of commands first has the lines loaded that all of them will
// read, so that their latencies overlap. A hint in every respect: what was asked for may have moved
// or gone by the time a command runs.
import Base

/// The table inside a large hash, set or sorted set, and a member to be looked up in it.
public struct MemberPlace {
    let table: FieldTable
    let hash: UInt64

    /// Second step, once the bucket is near: loads the entries whose tags match.
    @inline(__always)
    public func prefetchEntries() { table.prefetchEntries(hash) }
}

extension Keyspace {
    /// Whether asking for memory ahead pays: a small database stays in the caches by itself.
    @inline(__always)
    public func gainsFromPrefetch(database: Int) -> Bool { count(database: database) > 4096 }

    /// First step for a batch: loads the bucket of the key.
    @inline(__always)
    public func prefetchBucket(_ key: KeyRef) { table(key).pointee.prefetchBucket(key.hash) }

    /// Second step, once the bucket is near: loads the entries whose tags match.
    @inline(__always)
    public func prefetchEntry(_ key: KeyRef) { table(key).pointee.prefetchEntries(key.hash) }

    /// The table of the members of a collection that is too large for the caches; else nil.
    public func largeMemberTable(_ key: KeyRef) -> FieldTable? {
        guard let entry = find(key) else { return nil }
        let table: FieldTable
        switch (entry.type, entry.encoding) {
        case (.hash, .hashTable), (.set, .hashTable): table = FieldTable(entry.payload)
        case (.sortedSet, .skipList): table = LargeSortedSet(entry.payload).table
        default: return nil
        }
        return table.count > 4096 ? table : nil
    }

    /// First step for a member: loads its bucket.
    @inline(__always)
    public func memberPlace(_ member: Bytes, in table: FieldTable) -> MemberPlace {
        let place = MemberPlace(table: table, hash: heap.hash(member))
        table.prefetchBucket(place.hash)
        return place
    }
}
