// What a key costs (MEMORY USAGE) and what the dataset costs beside its values (MEMORY STATS).
import Base

extension Keyspace {
    /// Bytes of an entry and its value: the block, what the value holds elsewhere, and the key's
    /// share of its bucket. `samples` elements of a collection are measured, 0 for all.
    public func memoryUsage(_ entry: Entry, samples: Int) -> Int {
        let pointer = MemoryLayout<UnsafeRawPointer>.size
        var total = Memory.roundedSize(entry.allocationSize) + pointer
        if entry.hasExpiry { total += pointer }
        let value = DetachedValue(entry)
        guard value.ownsMemory else { return total }
        if value.type == .string {
            return total + Memory.roundedSize(RawString(value.payload).allocationSize)
        }
        let descriptor = state.pointee.types[Int(value.type.rawValue)]
        return total
            + (descriptor.memoryUsage?(value.payload, value.encoding.rawValue, samples) ?? 0)
    }

    /// Bytes of the hash tables of a database, without child buckets.
    public func tableBytes(database index: Int) -> Int {
        let pointer = database(index)
        var total = Database.tablesSize(pointer.pointee.tableCount)
        for number in 0..<pointer.pointee.tableCount {
            total += pointer.pointee.tables[number].arrayBytes
        }
        return total
    }

    /// Bytes of the expiry index of a database, without the times in the entries.
    public func expiryIndexBytes(database index: Int) -> Int {
        database(index).pointee.expiry.bytes
    }

    /// Buckets of the tables of a database, and how many of the tables are being rehashed.
    public func tableStatistics(database index: Int) -> (buckets: Int, rehashing: Int) {
        let pointer = database(index)
        var buckets = 0
        for number in 0..<pointer.pointee.tableCount {
            let table = pointer.pointee.tables[number]
            buckets += table.bucketCount + table.oldBucketCount
        }
        return (buckets, pointer.pointee.rehashing)
    }
}
