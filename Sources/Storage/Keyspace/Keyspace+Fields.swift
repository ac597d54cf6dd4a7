// Which hashes have fields that expire, and when to look at them: an index per database of one
// ticket for each such hash. A ticket's time is a lower bound: what makes a field expire earlier
// moves it at once (`noteFields`), what makes it expire later is found out when the time comes, so
// that changes of a hash that needs no attention cost nothing here. Tickets follow their hash when
// it is renamed, moved, copied or loaded, and end with it.
import Base

extension Entry {
    /// True for a hash some field of which may be over at `now`.
    @inline(__always)
    public func mayHoldExpiredFields(now: Int64) -> Bool {
        guard let fields = hashFields else { return false }
        return fields.mayHoldExpired(now: now)
    }

    /// The table of a large hash.
    @inline(__always)
    var hashFields: FieldTable? {
        let form: UInt64 = Header.typeMask | Header.encodingMask
        let wanted: UInt64 =
            UInt64(ValueType.hash.rawValue)
            | (UInt64(Encoding.hashTable.rawValue) &<< Header.encodingShift)
        return _slowPath(header & form == wanted) ? FieldTable(payload) : nil
    }
}

extension Keyspace {
    /// To be called after the times of a hash's fields changed, or a field that had one went.
    public func noteFields(_ entry: Entry, _ key: KeyRef) {
        guard let fields = entry.hashFields else { return }
        guard let bound = fields.expiryBound else { return forgetFields(entry, key) }
        let database = database(Int(key.database))
        guard let ticket = fields.ticket else {
            let ticket = FieldTicket.make(key.bytes, at: bound, memory)
            fields.ticket = ticket
            database.pointee.fieldExpiry.insert(ticket.entry, memory)
            return
        }
        if bound < ticket.entry.expiresAt { move(ticket, to: bound, database) }
    }

    private func move(_ ticket: FieldTicket, to time: Int64, _ database: DatabasePointer) {
        database.pointee.fieldExpiry.remove(ticket.entry, memory)
        ticket.entry.storeExpiry(time)
        database.pointee.fieldExpiry.insert(ticket.entry, memory)
    }

    /// Takes a hash that leaves its key out of the index.
    func forgetFields(_ entry: Entry, _ key: KeyRef) {
        guard let fields = entry.hashFields, let ticket = fields.ticket else { return }
        database(Int(key.database)).pointee.fieldExpiry.remove(ticket.entry, memory)
        fields.dropTicket(memory)
    }

    /// A hash of the database some field of which is over at `now` (milliseconds since 1970); nil
    /// when there is none. Remove such fields, or change their times, before asking again.
    public func nextHashToExpire(database index: Int, now: Int64) -> Entry? {
        let database = database(index)
        while database.pointee.fieldExpiry.mayHold(before: now) {
            guard let first = database.pointee.fieldExpiry.first(), first.expiresAt < now else {
                return nil
            }
            guard let entry = find(key(first.key, database: index)), let fields = entry.hashFields,
                let earliest = fields.earliestExpiry, let ticket = fields.ticket
            else { unreachable("a ticket without its hash") }
            if earliest < now { return entry }
            move(ticket, to: earliest, database)
        }
        return nil
    }

    /// Hashes of a database that have fields which expire.
    public func expiringHashes(database: Int) -> Int {
        self.database(database).pointee.fieldExpiry.count
    }
}
