// One logical database: its tables, its counts and its expiry index. Standalone it is one table;
// on a cluster node database 0 has one table per hash slot, so that counting, listing, dropping and
// moving a slot cost what the slot holds. A database lives in memory of its own, so that SWAPDB
// exchanges two pointers, and FLUSHDB puts the whole heap aside to be freed in slices.
import Base
import HashSlots

struct Database {
    var tables: UnsafeMutablePointer<EntryTable>
    /// 1, or the number of hash slots.
    let tableCount: Int
    var count = 0
    /// Keys in each group of 128 slots; nil with a single table.
    var groups: UnsafeMutablePointer<Int>?
    var expiry = ExpiryIndex()
    /// The tickets of hashes with fields that expire.
    var fieldExpiry = ExpiryIndex()
    /// Tables that are being rehashed.
    var rehashing = 0
    /// Where the round of `rehashSlice` goes on.
    var rehashCursor = 0
    /// Number of the database when the snapshot began; -1 when it is in none.
    var snapshotLabel = -1

    static let groupSize = 128
    /// Whole cache lines: the index holds a number that needs 16 bytes of alignment, which the
    /// slabs promise only for these.
    static let blockSize = (MemoryLayout<Database>.size + 63) & ~63

    init(slotted: Bool, _ memory: Memory) {
        tableCount = slotted ? Slot.count : 1
        let raw = memory.allocateTable(Database.tablesSize(tableCount))
        tables = raw.assumingMemoryBound(to: EntryTable.self)
        if slotted {
            let size = Slot.count / Database.groupSize * MemoryLayout<Int>.stride
            groups = memory.allocateTable(size).assumingMemoryBound(to: Int.self)
        }
    }

    /// Room for the tables; a multiple of a cache line.
    static func tablesSize(_ count: Int) -> Int {
        (count * MemoryLayout<EntryTable>.stride + 63) & ~63
    }

    static func groupsSize(_ tableCount: Int) -> Int {
        tableCount / groupSize * MemoryLayout<Int>.stride
    }

    @inline(__always)
    mutating func adjustCount(_ table: Int, by delta: Int) {
        count &+= delta
        if let groups { groups[table / Database.groupSize] &+= delta }
    }

    /// The first table from `index` on that holds a key.
    func nextTable(from index: Int) -> Int? {
        guard let groups else { return index == 0 && tables[0].count > 0 ? 0 : nil }
        var table = index
        while table < tableCount {
            if groups[table / Database.groupSize] == 0 {
                table = (table / Database.groupSize + 1) * Database.groupSize
            } else if tables[table].count > 0 {
                return table
            } else {
                table += 1
            }
        }
        return nil
    }

    /// The table that holds key number `ordinal` (0 ..< count) in table order.
    func table(ofKey ordinal: Int) -> Int {
        guard let groups else { return 0 }
        var rest = ordinal
        var group = 0
        while rest >= groups[group] {
            rest -= groups[group]
            group += 1
        }
        var table = group * Database.groupSize
        while rest >= tables[table].count {
            rest -= tables[table].count
            table += 1
        }
        return table
    }
}

typealias DatabasePointer = UnsafeMutablePointer<Database>

extension UnsafeMutablePointer where Pointee == Database {
    static func make(slotted: Bool, _ memory: Memory) -> DatabasePointer {
        let raw = memory.allocateTable(Database.blockSize)
        let database = raw.bindMemory(to: Database.self, capacity: 1)
        database.initialize(to: Database(slotted: slotted, memory))
        return database
    }

    /// Gives back the database itself; its tables and its index must be empty.
    func release(_ memory: Memory) {
        invariant(pointee.count == 0, "a database is released with keys in it")
        let count = pointee.tableCount
        // A table that was given room and never a key.
        if count == 1 { pointee.tables[0].release(memory) }
        memory.freeTable(pointee.tables, Database.tablesSize(count))
        if let groups = pointee.groups { memory.freeTable(groups, Database.groupsSize(count)) }
        memory.freeTable(self, Database.blockSize)
    }

    /// Adds an entry whose key is not there.
    @inline(__always)
    func insert(_ entry: Entry, _ key: KeyRef, _ state: KeyspaceStatePointer) {
        let table = pointee.tables + Int(key.slot)
        let wasRehashing = table.pointee.isRehashing
        table.pointee.insert(entry, hash: key.hash, state.pointee.memory, state.pointee.sipKey)
        if _slowPath(wasRehashing != table.pointee.isRehashing) {
            pointee.rehashing &+= wasRehashing ? -1 : 1
        }
        pointee.adjustCount(Int(key.slot), by: 1)
    }

    @inline(__always)
    func remove(at place: EntryPlace, _ key: KeyRef, _ state: KeyspaceStatePointer) {
        let table = pointee.tables + Int(key.slot)
        let wasRehashing = table.pointee.isRehashing
        table.pointee.remove(
            at: place,
            hash: key.hash,
            state.pointee.memory,
            state.pointee.sipKey
        )
        if _slowPath(wasRehashing != table.pointee.isRehashing) {
            pointee.rehashing &+= wasRehashing ? -1 : 1
        }
        pointee.adjustCount(Int(key.slot), by: -1)
    }
}
