// All logical databases of a node: the heart of the store. `Keyspace` is an 8-byte handle to one
// struct in unsafe memory; it is passed by value and owns nothing until `destroy`. This file has
// its life, keys and look-up; the other files of the folder add strings, expiry, eviction,
// scanning, snapshots and lazy freeing. Every path that changes an entry first lets a running
// snapshot serialise it (`willChange`), so that commands cannot forget to. Nothing here decides
// policy: that an expired key is deleted by a primary and hidden by a replica is the engine's
// business.
import Base
import HashSlots

struct KeyspaceState {
    var memory: Memory
    var sipKey: SipKey
    let slotHash = SlotHash()
    var isSlotted: Bool
    var databaseCount: Int
    var databases: UnsafeMutablePointer<DatabasePointer>
    var types: UnsafeMutablePointer<ObjectType>
    var access = AccessClock()
    var prng: Prng
    var snapshot = SnapshotState()
    var lazyFree = LazyFreeQueue()
    var defrag = DefragState()
    let shapes = ShapeTable()
    var evictionPool: UnsafeMutablePointer<EvictionCandidate>
    var evictionPoolCount = 0
    var evictionDatabase = 0
}

typealias KeyspaceStatePointer = UnsafeMutablePointer<KeyspaceState>

public struct Keyspace {
    let state: KeyspaceStatePointer

    // MARK: Life

    /// A keyspace of `databases` empty databases. `slotted`: cluster mode, database 0 has a table
    /// per hash slot. `seed` drives random keys and sampling, nothing that is secret.
    public init(databases: Int, slotted: Bool, sipKey: SipKey, seed: UInt64 = 1) {
        invariant(databases > 0 && databases <= 1 << 16, "unreasonable number of databases")
        let memory = Memory()
        let list = UnsafeMutablePointer<DatabasePointer>.allocate(capacity: databases)
        for index in 0..<databases {
            let database = DatabasePointer.make(slotted: slotted && index == 0, memory)
            (list + index).initialize(to: database)
        }
        let types = UnsafeMutablePointer<ObjectType>.allocate(capacity: ValueType.limit)
        types.initialize(repeating: ObjectType(), count: ValueType.limit)
        let pool = UnsafeMutablePointer<EvictionCandidate>.allocate(
            capacity: EvictionCandidate.poolSize
        )
        state = .allocate(capacity: 1)
        state.initialize(
            to: KeyspaceState(
                memory: memory,
                sipKey: sipKey,
                isSlotted: slotted,
                databaseCount: databases,
                databases: list,
                types: types,
                prng: Prng(seed: seed),
                evictionPool: pool
            )
        )
    }

    /// The handle again, from the pointer that a C function was given.
    @inline(__always)
    public init(raw: UnsafeMutableRawPointer) {
        state = raw.assumingMemoryBound(to: KeyspaceState.self)
    }

    /// The handle as a pointer, for C functions.
    @inline(__always)
    public var raw: UnsafeMutableRawPointer { UnsafeMutableRawPointer(state) }

    /// Frees everything. No handle of this keyspace may be used afterwards.
    public func destroy() {
        cancelSnapshot()
        forgetDefragValue()
        for index in 0..<databaseCount { flush(database: index) }
        drainLazyFree()
        for index in 0..<databaseCount {
            state.pointee.databases[index].release(memory)
        }
        invariant(memory.liveBlocks == 0, "a keyspace leaks blocks")
        state.pointee.databases.deallocate()
        state.pointee.types.deallocate()
        state.pointee.evictionPool.deallocate()
        memory.destroy()
        state.pointee.slotHash.destroy()
        state.pointee.shapes.destroy()
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// Makes room for so many keys, for loading: spares a large table its rehashes on the way. A
    /// hint; what is told is not believed beyond a bound, and a database with keys stays as it is.
    public func reserve(_ keys: Int, database: Int) {
        let place = self.database(database)
        guard place.pointee.tableCount == 1, place.pointee.count == 0 else { return }
        guard place.pointee.tables[0].buckets == nil else { return }
        place.pointee.tables[0].reserve(min(keys, 1 << 24), memory)
    }

    // MARK: Facts

    public var memory: Memory { state.pointee.memory }
    public var databaseCount: Int { state.pointee.databaseCount }
    public var isSlotted: Bool { state.pointee.isSlotted }

    /// Keys of a database, expired ones that were not removed yet included.
    @inline(__always)
    public func count(database: Int) -> Int { self.database(database).pointee.count }

    /// Keys of a database that expire.
    public func expiringCount(database: Int) -> Int {
        self.database(database).pointee.expiry.count
    }

    /// Keys of a slot of database 0, on a cluster node.
    public func count(inSlot slot: Slot) -> Int {
        guard isSlotted else { return 0 }
        return database(0).pointee.tables[Int(slot.index)].count
    }

    @inline(__always)
    func database(_ index: Int) -> DatabasePointer {
        invariant(index >= 0 && index < state.pointee.databaseCount, "no such database")
        return state.pointee.databases[index]
    }

    // MARK: Keys

    /// The slot of a key of database 0 on a cluster node.
    @inline(__always)
    public func slot(of key: Bytes) -> UInt16 { state.pointee.slotHash.slot(of: key) }

    /// Hash and slot of a key, worked out once.
    @inline(__always)
    public func key(_ bytes: Bytes, database: Int) -> KeyRef {
        let isSlotted = state.pointee.isSlotted && database == 0
        let slot = isSlotted ? state.pointee.slotHash.slot(of: bytes) : 0
        return key(bytes, database: database, slot: slot)
    }

    /// The same when the slot is known already; it is ignored where there are no slots.
    @inline(__always)
    public func key(_ bytes: Bytes, database: Int, slot: UInt16) -> KeyRef {
        invariant(database >= 0 && database < state.pointee.databaseCount, "no such database")
        invariant(slot < Slot.count, "no such slot")
        let hash = sipHash(bytes.base, bytes.count, key: state.pointee.sipKey)
        let isSlotted = state.pointee.isSlotted && database == 0
        return KeyRef(bytes, hash: hash, slot: isSlotted ? slot : 0, database: database)
    }

    /// The key of an entry; borrowed from its block, so gone once the entry changes.
    public func key(of entry: Entry, database: Int) -> KeyRef {
        key(entry.key, database: database)
    }

    // MARK: Look-up

    /// The entry of a key, expired or not. Counts nothing and touches no access clock.
    @inline(__always)
    public func find(_ key: KeyRef) -> Entry? {
        table(key).pointee.find(key.bytes, hash: key.hash)
    }

    @inline(__always)
    func table(_ key: KeyRef) -> UnsafeMutablePointer<EntryTable> {
        state.pointee.databases[Int(key.database)].pointee.tables + Int(key.slot)
    }

    // MARK: Change

    /// The same, for a string's value.
    @inline(__always)
    public func willModify(_ entry: Entry, _ key: KeyRef) { willChange(entry, key) }

    /// Lets a running snapshot serialise the entry as it is before it changes: to be called before
    /// every change in place, of a collection too.
    @inline(__always)
    public func willChange(_ entry: Entry, _ key: KeyRef) {
        let table = table(key)
        if _slowPath(table.pointee.isInSnapshot), entry.epoch != table.pointee.epoch {
            emit(entry, database(Int(key.database)).pointee.snapshotLabel, table)
        }
    }

    /// The descriptor of a type, to be filled in before values of it are stored.
    public func register(_ type: ValueType, _ descriptor: ObjectType) {
        invariant(type.rawValue < UInt8(ValueType.limit), "no such type")
        state.pointee.types[Int(type.rawValue)] = descriptor
    }
}
