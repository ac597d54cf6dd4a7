// The whole structure checked against itself, for tests and the simulator: every count, every
// entry in the bucket of its hash, every index position.
import Base

extension Keyspace {
    /// Stops the process when tables, counts and indexes contradict each other.
    public func checkInvariants() {
        for index in 0..<databaseCount {
            let database = database(index)
            var count = 0
            var expiring = 0
            var rehashing = 0
            for number in 0..<database.pointee.tableCount {
                let table = database.pointee.tables + number
                guard table.pointee.buckets != nil else {
                    invariant(table.pointee.count == 0, "entries without buckets")
                    continue
                }
                checkTable(table, index)
                count += table.pointee.count
                expiring += table.pointee.expiring
                if table.pointee.isRehashing { rehashing += 1 }
            }
            invariant(count == database.pointee.count, "the database miscounts its keys")
            invariant(expiring == database.pointee.expiry.count, "the index miscounts its keys")
            invariant(rehashing == database.pointee.rehashing, "a rehash is not accounted for")
            database.pointee.expiry.checkInvariants()
        }
    }

    private func checkTable(_ table: UnsafeMutablePointer<EntryTable>, _ index: Int) {
        var seen = 0
        var expiring = 0
        var cursor: UInt64 = 0
        repeat {
            cursor = table.pointee.scan(cursor) { base in
                let entry = Entry(base)
                let key = self.key(of: entry, database: index)
                invariant(self.find(key) == entry, "an entry cannot be found by its key")
                seen += 1
                if entry.hasExpiry { expiring += 1 }
                if !table.pointee.isInSnapshot, table.pointee.epochsInUse == 0 {
                    invariant(entry.epoch == table.pointee.epoch, "an entry has a stray epoch")
                }
            }
        } while cursor != 0
        invariant(seen == table.pointee.count, "a table miscounts its entries")
        invariant(expiring == table.pointee.expiring, "a table miscounts its expiring entries")
    }
}
