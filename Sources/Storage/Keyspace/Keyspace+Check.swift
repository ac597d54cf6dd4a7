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
            var withFields = 0
            var rehashing = 0
            for number in 0..<database.pointee.tableCount {
                let table = database.pointee.tables + number
                guard table.pointee.buckets != nil else {
                    invariant(table.pointee.count == 0, "entries without buckets")
                    continue
                }
                withFields += checkTable(table, index)
                count += table.pointee.count
                expiring += table.pointee.expiring
                if table.pointee.isRehashing { rehashing += 1 }
            }
            invariant(count == database.pointee.count, "the database miscounts its keys")
            invariant(expiring == database.pointee.expiry.count, "the index miscounts its keys")
            invariant(rehashing == database.pointee.rehashing, "a rehash is not accounted for")
            invariant(
                withFields == database.pointee.fieldExpiry.count, "hashes are miscounted")
            database.pointee.expiry.checkInvariants()
            database.pointee.fieldExpiry.checkInvariants()
        }
    }

    /// Returns how many of the hashes have fields that expire.
    private func checkTable(_ table: UnsafeMutablePointer<EntryTable>, _ index: Int) -> Int {
        var seen = 0
        var withFields = 0
        var expiring = 0
        var cursor: UInt64 = 0
        repeat {
            cursor = table.pointee.scan(cursor) { base in
                let entry = Entry(base)
                let key = self.key(of: entry, database: index)
                invariant(self.find(key) == entry, "an entry cannot be found by its key")
                seen += 1
                if entry.hasExpiry { expiring += 1 }
                if checkFields(entry) { withFields += 1 }
                if entry.isInline { checkInline(entry) }
                if !table.pointee.isInSnapshot, table.pointee.epochsInUse == 0 {
                    invariant(entry.epoch == table.pointee.epoch, "an entry has a stray epoch")
                }
            }
        } while cursor != 0
        invariant(seen == table.pointee.count, "a table miscounts its entries")
        invariant(expiring == table.pointee.expiring, "a table miscounts its expiring entries")
        return withFields
    }

    /// An inline value is a list or hash of some elements, as long as the header says.
    private func checkInline(_ entry: Entry) {
        if entry.type == .hash {
            let size = ShapedHash(entry.payload).totalBytes
            return invariant(size == entry.embeddedBytes.count, "an inline hash has another size")
        }
        invariant(entry.type == .list, "a value without a place")
        let count = Listpack.validCount(entry.embeddedBytes)
        invariant(count ?? 0 > 0, "an inline list is no listpack, or not of its length")
    }

    /// Whether an entry is a hash with fields that expire; it has a ticket then, not too late.
    private func checkFields(_ entry: Entry) -> Bool {
        if entry.encoding == .shaped { ShapedHash(entry.payload).checkInvariants() }
        guard let fields = entry.hashFields else { return false }
        fields.checkInvariants(heap)
        guard let earliest = fields.earliestExpiry else {
            invariant(fields.ticket == nil, "a ticket for nothing")
            return false
        }
        guard let ticket = fields.ticket else { unreachable("fields expire, and nobody knows") }
        invariant(ticket.entry.expiresAt <= earliest, "fields expire before their ticket")
        invariant(ticket.entry.key == entry.key, "a ticket for another key")
        return true
    }
}
