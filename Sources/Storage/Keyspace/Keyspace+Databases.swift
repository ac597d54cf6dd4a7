// Whole databases and slots: FLUSHDB, SWAPDB, dropping a slot that moved away. Each costs the same
// however many keys there are (a slot: what its keys with an expiry cost); the memory is given back
// by `lazyFreeSlice`.
import Base
import HashSlots

extension Keyspace {
    /// Empties a database at once; the keys wait in the lazy-free queue. A running snapshot walks
    /// them to the end first.
    public func flush(database index: Int) {
        let old = database(index)
        guard old.pointee.count > 0 else { return }
        old.pointee.expiry.removeAll(memory)
        old.pointee.fieldExpiry.removeAll(memory)
        state.pointee.databases[index] = .make(slotted: isSlotted && index == 0, memory)
        releaseLater(old)
    }

    /// Exchanges two databases. On a cluster node there is only one.
    public func swap(_ a: Int, _ b: Int) {
        invariant(!isSlotted, "databases with slots are not exchanged")
        let first = database(a)
        state.pointee.databases[a] = database(b)
        state.pointee.databases[b] = first
    }

    /// Drops all keys of a slot of database 0; returns how many.
    @discardableResult
    public func removeSlot(_ slot: Slot) -> Int {
        guard isSlotted else { return 0 }
        let database = database(0)
        let table = database.pointee.tables + Int(slot.index)
        let count = table.pointee.count
        guard count > 0 else { return 0 }
        emitAll(table, database.pointee.snapshotLabel)
        if table.pointee.expiring > 0 {
            forEach(inSlot: slot) { if $0.hasExpiry { database.pointee.expiry.remove($0, memory) } }
        }
        if database.pointee.fieldExpiry.count > 0 {
            forEach(inSlot: slot) { entry in
                if entry.hashFields != nil { forgetFields(entry, key(of: entry, database: 0)) }
            }
        }
        if table.pointee.isRehashing { database.pointee.rehashing -= 1 }
        releaseLater(table.pointee)
        table.pointee = EntryTable()
        database.pointee.adjustCount(Int(slot.index), by: -count)
        return count
    }
}
