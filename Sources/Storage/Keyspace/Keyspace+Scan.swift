// Walking the keys: SCAN's cursor, the keys of a slot, a random key, the rehash slices of the cron.
// On a cluster node the cursor carries the slot in its low 14 bits and the cursor within the slot's
// table above them, so that the guarantee of SCAN holds slot by slot.
import Base
import HashSlots

extension Keyspace {
    private static let slotBits: UInt64 = 14

    /// Visits at least `budget` keys of the database unless it ends before, starting at `cursor` (0
    /// at first), and returns the cursor for the next call, 0 at the end. Stops early after ten
    /// empty buckets per key asked for, as the reference does. `visit` must not change the
    /// keyspace.
    public func scan(
        database: Int,
        cursor: UInt64,
        budget: Int,
        _ visit: (Entry) -> Void
    ) -> UInt64 {
        let pointer = self.database(database)
        let isSlotted = pointer.pointee.groups != nil
        var table = isSlotted ? Int(cursor & (UInt64(Slot.count) - 1)) : 0
        var position = isSlotted ? cursor &>> Keyspace.slotBits : cursor
        var visited = 0
        var steps = 0
        let limit = max(budget, 1)
        while true {
            guard let current = pointer.pointee.nextTable(from: table) else { return 0 }
            if current != table {
                table = current
                position = 0
            }
            position = pointer.pointee.tables[table].scan(position) {
                visited += 1
                visit(Entry($0))
            }
            steps += 1
            if position == 0 {
                table += 1
                if table >= pointer.pointee.tableCount { return 0 }
            }
            if visited >= limit || steps >= limit &* 10 { break }
        }
        guard isSlotted else { return position }
        // An end that is none: the slots behind may all be empty.
        guard let next = pointer.pointee.nextTable(from: table) else { return 0 }
        if next != table { position = 0 }
        return (position &<< Keyspace.slotBits) | UInt64(next)
    }

    /// Visits every key of a slot of database 0. `visit` must not change the keyspace.
    public func forEach(inSlot slot: Slot, _ visit: (Entry) -> Void) {
        guard isSlotted else { return }
        let table = database(0).pointee.tables[Int(slot.index)]
        var cursor: UInt64 = 0
        repeat {
            cursor = table.scan(cursor) { visit(Entry($0)) }
        } while cursor != 0
    }

    /// Visits up to `limit` keys of a slot of database 0. `visit` must not change the keyspace.
    public func keys(inSlot slot: Slot, limit: Int, _ visit: (Entry) -> Void) {
        guard isSlotted else { return }
        let table = database(0).pointee.tables[Int(slot.index)]
        var left = limit
        var cursor: UInt64 = 0
        while left > 0 {
            cursor = table.scan(cursor) {
                if left > 0 { visit(Entry($0)) }
                left -= 1
            }
            if cursor == 0 { break }
        }
    }

    /// Visits every key of a database once. `visit` must not change the keyspace.
    public func forEach(database: Int, _ visit: (Entry) -> Void) {
        let pointer = self.database(database)
        var next = pointer.pointee.nextTable(from: 0)
        while let index = next {
            let table = pointer.pointee.tables[index]
            var cursor: UInt64 = 0
            repeat {
                cursor = table.scan(cursor) { visit(Entry($0)) }
            } while cursor != 0
            next = pointer.pointee.nextTable(from: index + 1)
        }
    }

    /// A key chosen at random, expired ones included.
    public func randomEntry(database: Int) -> Entry? {
        let pointer = self.database(database)
        guard pointer.pointee.count > 0 else { return nil }
        let table = pointer.pointee.table(
            ofKey: state.pointee.prng.below(pointer.pointee.count)
        )
        return pointer.pointee.tables[table].random(&state.pointee.prng)
    }

    /// The cron's share of rehashing: looks at up to `buckets` buckets. True when more is to do.
    @discardableResult
    public func rehashSlice(buckets: Int) -> Bool {
        var left = buckets
        for index in 0..<databaseCount {
            let pointer = database(index)
            var tries = pointer.pointee.tableCount
            while pointer.pointee.rehashing > 0, left > 0, tries > 0 {
                let number = pointer.pointee.rehashCursor
                let table = pointer.pointee.tables + number
                if table.pointee.isRehashing {
                    left -= table.pointee.rehash(
                        buckets: left,
                        memory,
                        state.pointee.sipKey
                    )
                    if !table.pointee.isRehashing { pointer.pointee.rehashing -= 1 }
                } else {
                    pointer.pointee.rehashCursor = (number + 1) % pointer.pointee.tableCount
                    tries -= 1
                }
            }
        }
        return left <= 0
    }
}
