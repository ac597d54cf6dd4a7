// The few steps that every change of the keyspace is made of: a new block, a block put in table and
// index, one block in the place of another, a block taken out. Everything else is written in these
// terms, so that table, counts and expiry index cannot drift apart.
import Base

/// The value of an entry without its key: what is left to free, or to move elsewhere.
struct DetachedValue {
    let type: ValueType
    /// The entry's layout: an inline value goes with its block, and there is nothing left of it,
    /// but of a hash a share in its names.
    let encoding: Encoding
    let word: UInt64

    @inline(__always)
    init(_ entry: Entry) {
        type = entry.type
        if _slowPath(entry.isInline && entry.type == .hash) {
            encoding = .shape
            word = UInt64(UInt(bitPattern: ShapedHash(entry.payload).shape.base))
            return
        }
        encoding = entry.layout
        word = encoding == .embedded ? 0 : entry.payloadWord
    }

    init(type: ValueType, encoding: Encoding, _ payload: UnsafeMutableRawPointer) {
        self.type = type
        self.encoding = encoding
        word = UInt64(UInt(bitPattern: payload))
    }

    /// True when there is memory outside of the entry's block.
    @inline(__always)
    var ownsMemory: Bool { encoding != .embedded && encoding != .integer }

    var payload: UnsafeMutableRawPointer {
        guard ownsMemory, let pointer = UnsafeMutableRawPointer(bitPattern: UInt(word)) else {
            unreachable("a value without memory has no payload")
        }
        return pointer
    }
}

extension Keyspace {
    /// Header, expiry and key in a fresh block; the caller writes the value.
    @inline(__always)
    func newBlock(
        _ key: KeyRef,
        _ type: ValueType,
        _ encoding: Encoding,
        _ time: Int64?,
        _ clock: UInt32,
        _ epoch: UInt8,
        embedded: Int
    ) -> Entry {
        let size = Entry.size(
            keyLength: key.bytes.count,
            hasExpiry: time != nil,
            hasPayload: encoding != .embedded,
            embedded: embedded
        )
        let base = memory.allocate(size)
        var flags: UInt64 = UInt64(epoch) &<< Header.epochShift
        if time != nil { flags |= Header.hasExpiry }
        let entry = Entry.write(
            at: base,
            key: key.bytes,
            type: type,
            encoding: encoding,
            flags: flags,
            clock: clock,
            embedded: embedded
        )
        if let time { entry.storeExpiry(time) }
        return entry
    }

    /// Puts a new entry in its table and, if it expires, in the index.
    @inline(__always)
    func link(_ entry: Entry, _ key: KeyRef) {
        let database = database(Int(key.database))
        database.insert(entry, key, state)
        if entry.hasExpiry {
            database.pointee.expiry.insert(entry, memory)
            table(key).pointee.expiring &+= 1
        }
    }

    /// Puts `fresh` in the place of `old`, whose block is freed; its value is the caller's.
    @inline(__always)
    func exchange(_ old: Entry, _ fresh: Entry, at place: EntryPlace, _ key: KeyRef) {
        invariant(place.pointee == old.base, "the place belongs to another entry")
        let database = database(Int(key.database))
        if old.hasExpiry {
            database.pointee.expiry.remove(old, memory)
            table(key).pointee.expiring &-= 1
        }
        place.pointee = fresh.base
        if fresh.hasExpiry {
            database.pointee.expiry.insert(fresh, memory)
            table(key).pointee.expiring &+= 1
        }
        freeBlock(old)
    }

    /// Takes an entry out of table and index and frees its block; the value is the caller's.
    func unlinkEntry(_ entry: Entry, at place: EntryPlace, _ key: KeyRef) {
        invariant(place.pointee == entry.base, "the place belongs to another entry")
        let database = database(Int(key.database))
        if entry.hasExpiry {
            database.pointee.expiry.remove(entry, memory)
            table(key).pointee.expiring &-= 1
        }
        database.remove(at: place, key, state)
        freeBlock(entry)
    }

    @inline(__always)
    func freeBlock(_ entry: Entry) { memory.free(entry.base, entry.allocationSize) }

    /// Frees a value at once.
    @inline(__always)
    func release(_ value: DetachedValue) {
        guard value.ownsMemory else { return }
        if _slowPath(openWalks > 0), adopt(value) { return }
        while !release(value, effort: Int.max) {}
    }

    /// Frees up to `effort` elements of a value; true when it is gone.
    func release(_ value: DetachedValue, effort: Int) -> Bool {
        guard value.ownsMemory else { return true }
        if value.type == .string {
            RawString(value.payload).free(memory)
            return true
        }
        guard let free = state.pointee.types[Int(value.type.rawValue)].free else {
            unreachable("a value of a type that nobody registered")
        }
        return free(value.payload, value.encoding.rawValue, raw, effort)
    }
}
