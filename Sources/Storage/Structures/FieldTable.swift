// A large hash or set, and the members of a large sorted set: a table of the same entry blocks that
// hold keys, so that fields cost what keys cost and growing is as incremental. A field's value is
// embedded in its block or, when long, a string of its own; a set's member has an empty value; a
// sorted set's member has a word, its score. Fields may expire: those that do stand in an index of
// their own, made when the first of them appears. The handle is one pointer to the block that the
// table lives in.
import Base

/// What the block holds.
struct FieldTableState {
    var table = EntryTable()
    /// The fields that expire, nil while none ever did.
    var expiry: UnsafeMutablePointer<ExpiryIndex>?
    /// What stands for the hash in its database's index of expiring fields (`FieldTicket`).
    var ticket: UnsafeMutableRawPointer?
    /// A hash that would still be compact if none of its fields had ever expired.
    var isSmall = false
    /// How many buckets `release` has emptied.
    var drained = 0
    /// The walk of a snapshot that reads the table; see `TableWalk`.
    var walk: UnsafeMutablePointer<TableWalkState>?
}

public struct FieldTable: Equatable {
    /// The block, which is what the entry's payload holds; it never moves.
    public let base: UnsafeMutableRawPointer

    static let blockSize = (MemoryLayout<FieldTableState>.size + 7) & ~7
    static let indexSize = (MemoryLayout<ExpiryIndex>.size + 63) & ~63

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always)
    var state: UnsafeMutablePointer<FieldTableState> {
        base.assumingMemoryBound(to: FieldTableState.self)
    }

    // MARK: Life

    /// An empty table, with room for about so many fields.
    public static func make(_ heap: ObjectHeap, reserving count: Int = 0) -> FieldTable {
        let raw = heap.memory.allocate(blockSize)
        raw.bindMemory(to: FieldTableState.self, capacity: 1).initialize(to: FieldTableState())
        let fields = FieldTable(raw)
        fields.state.pointee.table.reserve(count, heap.memory)
        return fields
    }

    /// Frees about `effort` fields; true when everything is gone, the table too.
    public func release(_ memory: Memory, effort: Int) -> Bool {
        invariant(state.pointee.walk == nil, "a table is freed while a snapshot reads it")
        if state.pointee.drained == 0, let index = state.pointee.expiry {
            index.pointee.removeAll(memory)
            memory.freeTable(index, FieldTable.indexSize)
            state.pointee.expiry = nil
        }
        dropTicket(memory)
        var left = max(effort, 1)
        while left > 0 {
            guard let bucket = state.pointee.table.bucketToDrain(state.pointee.drained) else {
                invariant(state.pointee.table.count == 0, "a drained table still counts fields")
                state.pointee.table.releaseDrained(memory)
                memory.free(base, FieldTable.blockSize)
                return true
            }
            let freed = drain(bucket, memory)
            state.pointee.table.count -= freed
            state.pointee.table.didDrain(state.pointee.drained, memory)
            state.pointee.drained += 1
            left -= freed + 1
        }
        return false
    }

    private func drain(_ first: Bucket, _ memory: Memory) -> Int {
        var freed = 0
        var bucket: Bucket? = first
        while let line = bucket {
            EntryTable.visitLine(line) { base in
                FieldTable.free(Entry(base), memory)
                freed += 1
            }
            bucket = line.child
            if line.line != first.line { memory.freeTable(line.line, Bucket.size) }
        }
        first.word = 0
        return freed
    }

    static func free(_ entry: Entry, _ memory: Memory) {
        if entry.layout == .raw { RawString(entry.payload).free(memory) }
        memory.free(entry.base, entry.allocationSize)
    }

    /// A deep copy; `visit` sees each new entry.
    public func copy(_ heap: ObjectHeap, visit: (Entry) -> Void = { _ in }) -> FieldTable {
        let fresh = FieldTable.make(heap, reserving: count)
        fresh.state.pointee.isSmall = state.pointee.isSmall
        forEach { entry in
            let size = entry.allocationSize
            let clone = Entry(heap.memory.allocate(size))
            copyBytes(to: clone.base, from: entry.base, count: size)
            if entry.layout == .raw {
                let bytes = RawString(entry.payload).bytes
                let string = RawString.make(bytes.count, heap.memory)
                copyBytes(to: string.start, from: bytes.base, count: bytes.count)
                clone.payloadWord = UInt64(UInt(bitPattern: string.base))
            }
            clone.epoch = 0
            fresh.link(clone, heap.hash(clone.key), heap)
            visit(clone)
        }
        return fresh
    }

    // MARK: Look-up

    @inline(__always)
    public var count: Int { state.pointee.table.count }

    /// The entry of a field, whether its time is over or not.
    @inline(__always)
    public func find(_ field: Bytes, _ heap: ObjectHeap) -> Entry? {
        state.pointee.table.find(field, hash: heap.hash(field))
    }

    /// Loads the bucket of a field whose hash is `hash`.
    @inline(__always)
    public func prefetchBucket(_ hash: UInt64) { state.pointee.table.prefetchBucket(hash) }

    /// Loads the entries that may be the field's, once its bucket is near.
    @inline(__always)
    public func prefetchEntries(_ hash: UInt64) { state.pointee.table.prefetchEntries(hash) }

    /// A field chosen at random, nearly evenly.
    public func random(_ prng: inout Prng) -> Entry? { state.pointee.table.random(&prng) }

    /// Visits the fields of the next bucket; returns the cursor of the call after, 0 at the end.
    /// What is there all the time is visited, whatever else comes and goes between the calls.
    @inline(__always)
    public func scan(_ cursor: UInt64, _ visit: (Entry) -> Void) -> UInt64 {
        state.pointee.table.scan(cursor) { visit(Entry($0)) }
    }

    /// Visits every field once. `visit` must not change the table.
    @inline(__always)
    public func forEach(_ visit: (Entry) -> Void) {
        let table = state.pointee.table
        var cursor: UInt64 = 0
        repeat {
            cursor = table.scan(cursor) { visit(Entry($0)) }
        } while cursor != 0
    }

    // MARK: Change

    /// Adds a field, which must be absent, with its value; a set's member has an empty one.
    @discardableResult
    @inline(__always)
    public func insert(_ field: Bytes, value: Bytes, _ heap: ObjectHeap) -> Entry {
        let entry = FieldTable.build(field, value, nil, heap.memory)
        link(entry, heap.hash(field), heap)
        return entry
    }

    /// Adds a field, which must be absent, with a word in the place of a value.
    @discardableResult
    public func insert(_ field: Bytes, word: UInt64, _ heap: ObjectHeap) -> Entry {
        let size = Entry.size(
            keyLength: field.count, hasExpiry: false, hasPayload: true, embedded: 0)
        let entry = Entry.write(
            at: heap.memory.allocate(size), key: field, type: .string, encoding: .integer,
            flags: 0, clock: 0, embedded: 0)
        entry.payloadWord = word
        link(entry, heap.hash(field), heap)
        return entry
    }

    /// Gives a field a value, and no expiry; true when the field is new.
    @discardableResult
    @inline(__always)
    public func set(_ field: Bytes, _ value: Bytes, _ heap: ObjectHeap) -> Bool {
        let hash = heap.hash(field)
        guard let place = state.pointee.table.locate(field, hash: hash), let base = place.pointee
        else {
            link(FieldTable.build(field, value, nil, heap.memory), hash, heap)
            return true
        }
        let old = Entry(base)
        if old.takes(embedded: value.count) {
            willChange(old, heap.memory)
            old.replaceEmbedded(value, 0)
        } else {
            exchange(old, at: place, FieldTable.build(field, value, nil, heap.memory), heap)
        }
        return false
    }

    /// Adds a set's member; false when it is there already.
    @discardableResult
    @inline(__always)
    public func add(_ member: Bytes, _ heap: ObjectHeap) -> Bool {
        let hash = heap.hash(member)
        guard state.pointee.table.find(member, hash: hash) == nil else { return false }
        link(FieldTable.build(member, .empty, nil, heap.memory), hash, heap)
        return true
    }

    /// Removes a field; false when there is none.
    @discardableResult
    public func remove(_ field: Bytes, _ heap: ObjectHeap) -> Bool {
        let hash = heap.hash(field)
        guard let place = state.pointee.table.locate(field, hash: hash), let base = place.pointee
        else { return false }
        let entry = Entry(base)
        unindex(entry, heap.memory)
        state.pointee.table.remove(at: place, hash: hash, heap.memory, heap.sipKey)
        retire(entry, heap.memory)
        return true
    }

    /// A block for a field; long values get a block of their own.
    @inline(__always)
    static func build(
        _ field: Bytes, _ value: Bytes, _ expiry: Int64?, _ memory: Memory
    ) -> Entry {
        let hasExpiry = expiry != nil
        let size = Entry.size(
            keyLength: field.count, hasExpiry: hasExpiry, hasPayload: false,
            embedded: value.count)
        let embeds = value.count <= Entry.embeddedLimit && size <= Entry.embeddedBlockLimit
        let blockSize =
            embeds
            ? size
            : Entry.size(
                keyLength: field.count, hasExpiry: hasExpiry, hasPayload: true, embedded: 0)
        let entry = Entry.write(
            at: memory.allocate(blockSize), key: field, type: .string,
            encoding: embeds ? .embedded : .raw, flags: hasExpiry ? Header.hasExpiry : 0,
            clock: 0, embedded: embeds ? value.count : 0)
        if let expiry { entry.storeExpiry(expiry) }
        if embeds {
            copyBytes(to: entry.embeddedStart, from: value.base, count: value.count)
        } else {
            let string = RawString.make(value.count, memory)
            copyBytes(to: string.start, from: value.base, count: value.count)
            entry.payloadWord = UInt64(UInt(bitPattern: string.base))
        }
        return entry
    }

    @inline(__always)
    private func link(_ entry: Entry, _ hash: UInt64, _ heap: ObjectHeap) {
        if _slowPath(state.pointee.table.epoch != 0) { entry.epoch = state.pointee.table.epoch }
        state.pointee.table.insert(entry, hash: hash, heap.memory, heap.sipKey)
        if _slowPath(entry.hasExpiry) { index(entry, heap.memory) }
    }

    /// Puts `fresh` in the place of `old`, which is freed with its value.
    func exchange(
        _ old: Entry, at place: EntryPlace, _ fresh: Entry, _ heap: ObjectHeap
    ) {
        invariant(place.pointee == old.base, "the place belongs to another field")
        unindex(old, heap.memory)
        place.pointee = fresh.base
        fresh.epoch = state.pointee.table.epoch
        if fresh.hasExpiry { index(fresh, heap.memory) }
        retire(old, heap.memory)
    }

    // MARK: Facts

    /// Bytes of everything, estimated from up to `samples` fields (0: all).
    public func memoryUsage(samples: Int) -> Int {
        let fixed = FieldTable.blockSize + state.pointee.table.arrayBytes + expiryBytes
        let total = count
        guard total > 0 else { return fixed }
        let wanted = samples == 0 ? total : min(samples, total)
        var seen = 0
        var size = 0
        var cursor: UInt64 = 0
        repeat {
            cursor = state.pointee.table.scan(cursor) { base in
                guard seen < wanted else { return }
                let entry = Entry(base)
                size += Memory.roundedSize(entry.allocationSize)
                if entry.layout == .raw {
                    size += Memory.roundedSize(RawString(entry.payload).allocationSize)
                }
                seen += 1
            }
        } while cursor != 0 && seen < wanted
        return fixed + size * total / max(seen, 1)
    }

    /// Stops the process when the table contradicts itself (for tests).
    public func checkInvariants(_ heap: ObjectHeap) {
        var seen = 0
        var expiring = 0
        forEach { entry in
            invariant(find(entry.key, heap) == entry, "a field cannot be found")
            seen += 1
            if entry.hasExpiry { expiring += 1 }
        }
        invariant(seen == count, "a table miscounts its fields")
        invariant(expiring == state.pointee.expiry?.pointee.count ?? 0, "an index miscounts")
        state.pointee.expiry?.pointee.checkInvariants()
    }
}
