// The fields of a hash that expire: an exact index of them beside the table, made when the first
// appears, and the ticket by which the database knows when to look at this hash. The ticket is the
// database's business (`Keyspace+Fields`); it lives and ends with the table.
import Base

extension FieldTable {
    // MARK: Questions

    /// True when the time of a field is set.
    @inline(__always)
    public var hasExpiringFields: Bool {
        guard let index = state.pointee.expiry else { return false }
        return index.pointee.count > 0
    }

    /// How many fields expire.
    public var expiringCount: Int { state.pointee.expiry?.pointee.count ?? 0 }

    /// False when surely no field's time is over at `now`.
    @inline(__always)
    public func mayHoldExpired(now: Int64) -> Bool {
        guard let index = state.pointee.expiry else { return false }
        return index.pointee.mayHold(before: now)
    }

    /// When the first of the fields expires; nil when none does.
    public var earliestExpiry: Int64? {
        guard let index = state.pointee.expiry else { return nil }
        return index.pointee.first()?.expiresAt
    }

    /// No field expires before this; nil when none does. Cheaper than `earliestExpiry`.
    var expiryBound: Int64? {
        guard let index = state.pointee.expiry, index.pointee.count > 0 else { return nil }
        return index.pointee.bound
    }

    /// The field that expires first, when its time is over at `now`.
    public func nextExpired(now: Int64) -> Entry? {
        guard let index = state.pointee.expiry, index.pointee.mayHold(before: now),
            let entry = index.pointee.first(), entry.isExpired(now: now)
        else { return nil }
        return entry
    }

    /// A hash that would be compact if none of its fields expired: OBJECT ENCODING says so.
    public var isSmall: Bool {
        @inline(__always)
        get { state.pointee.isSmall }
        nonmutating set { state.pointee.isSmall = newValue }
    }

    // MARK: Change

    /// Sets when a field expires, in milliseconds since 1970, or with nil that it stays. Returns
    /// its entry, which may have moved; nil when there is no such field.
    @discardableResult
    public func setExpiry(_ field: Bytes, at time: Int64?, _ heap: ObjectHeap) -> Entry? {
        guard let place = state.pointee.table.locate(field, hash: heap.hash(field)),
            let base = place.pointee
        else { return nil }
        let old = Entry(base)
        if let time, old.hasExpiry {
            willChange(old, heap.memory)
            unindex(old, heap.memory)
            old.storeExpiry(time)
            index(old, heap.memory)
            return old
        }
        guard old.hasExpiry != (time != nil) else { return old }
        guard let value = old.storedBytes else { unreachable("a field without a value") }
        let fresh = FieldTable.build(old.key, value, time, heap.memory)
        exchange(old, at: place, fresh, heap)
        return fresh
    }

    func index(_ entry: Entry, _ memory: Memory) {
        let index = state.pointee.expiry ?? makeIndex(memory)
        index.pointee.insert(entry, memory)
    }

    @inline(__always)
    func unindex(_ entry: Entry, _ memory: Memory) {
        guard entry.hasExpiry else { return }
        guard let index = state.pointee.expiry else { unreachable("no index of expiring fields") }
        index.pointee.remove(entry, memory)
    }

    private func makeIndex(_ memory: Memory) -> UnsafeMutablePointer<ExpiryIndex> {
        let raw = memory.allocateTable(FieldTable.indexSize)
        let index = raw.bindMemory(to: ExpiryIndex.self, capacity: 1)
        index.initialize(to: ExpiryIndex())
        state.pointee.expiry = index
        return index
    }

    // MARK: The ticket

    /// What stands for the hash in its database's index; it must be in no index any more when it
    /// is dropped.
    var ticket: FieldTicket? {
        get { state.pointee.ticket.map { FieldTicket(Entry($0)) } }
        nonmutating set { state.pointee.ticket = newValue?.entry.base }
    }

    func dropTicket(_ memory: Memory) {
        guard let ticket else { return }
        ticket.free(memory)
        self.ticket = nil
    }

    /// Bytes of the index and the ticket, without the times in the entries.
    var expiryBytes: Int {
        var total = 0
        if let index = state.pointee.expiry { total += FieldTable.indexSize + index.pointee.bytes }
        if let ticket { total += Memory.roundedSize(ticket.entry.allocationSize) }
        return total
    }
}

/// Stands for a hash in its database's index of expiring fields: a block like an entry's, with the
/// hash's key and a time before which none of its fields expires.
struct FieldTicket {
    let entry: Entry

    init(_ entry: Entry) { self.entry = entry }

    static func make(_ key: Bytes, at time: Int64, _ memory: Memory) -> FieldTicket {
        let size = Entry.size(
            keyLength: key.count, hasExpiry: true, hasPayload: false, embedded: 0)
        let entry = Entry.write(
            at: memory.allocate(size), key: key, type: .string, encoding: .embedded,
            flags: Header.hasExpiry, clock: 0, embedded: 0)
        entry.storeExpiry(time)
        return FieldTicket(entry)
    }

    func free(_ memory: Memory) { memory.free(entry.base, entry.allocationSize) }
}
