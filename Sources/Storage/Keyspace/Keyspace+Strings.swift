// String values: setting, overwriting in place, and growing in place for APPEND, SETRANGE and
// SETBIT. The form of a value is chosen here as in the reference: a decimal integer of at most 20
// bytes is kept as a number, other bytes in the entry's block while that stays within 1 KB, else in
// a block of their own. What OBJECT ENCODING reports follows the reference's thresholds.
import Base

/// What happens to a key's expiry when its value is set.
public enum ExpiryChange {
    case clear
    case keep
    /// Milliseconds since 1970.
    case at(Int64)
}

/// A value in one of its string forms, before it has a place.
private enum StringForm {
    case integer(Int64)
    case embedded(Bytes)
    case raw(Bytes)

    var encoding: Encoding {
        switch self {
        case .integer: .integer
        case .embedded: .embedded
        case .raw: .raw
        }
    }

    var embeddedCount: Int {
        if case .embedded(let bytes) = self { bytes.count } else { 0 }
    }
}

extension Keyspace {
    /// Sets a key to a string, whatever it held before. Returns the entry. `asBytes` keeps even a
    /// decimal integer as text, as the reference does for the result of INCRBYFLOAT.
    @discardableResult
    public func setString(
        _ key: KeyRef,
        _ value: Bytes,
        expiry: ExpiryChange,
        asBytes: Bool = false
    ) -> Entry {
        let place = table(key).pointee.locate(key.bytes, hash: key.hash)
        if !asBytes, let integer = value.decimal {
            return store(key, .integer(integer), expiry, at: place)
        }
        if case .clear = expiry, let base = place?.pointee {
            let old = Entry(base)
            if old.takes(embedded: value.count) {
                willChange(old, key)
                old.replaceEmbedded(value, state.pointee.access.overwritten(old.accessClock))
                return old
            }
        }
        let room = Entry.size(
            keyLength: key.bytes.count,
            hasExpiry: true,
            hasPayload: false,
            embedded: value.count
        )
        let fits = value.count <= Entry.embeddedLimit && room <= Entry.embeddedBlockLimit
        return store(key, fits ? .embedded(value) : .raw(value), expiry, at: place)
    }

    /// Sets a key to the decimal form of a number.
    @discardableResult
    public func setInteger(_ key: KeyRef, _ value: Int64, expiry: ExpiryChange) -> Entry {
        let place = table(key).pointee.locate(key.bytes, hash: key.hash)
        return store(key, .integer(value), expiry, at: place)
    }

    /// What OBJECT ENCODING calls the form of a string.
    public func stringEncodingName(_ entry: Entry) -> StaticString {
        guard let bytes = entry.storedBytes else { return "int" }
        return bytes.count <= 44 && !entry.isReportedRaw ? "embstr" : "raw"
    }

    /// Stores a string at `place`, where the key was looked for and found or not.
    private func store(
        _ key: KeyRef, _ form: StringForm, _ expiry: ExpiryChange, at place: EntryPlace?
    ) -> Entry {
        guard let place, let base = place.pointee else { return insertString(key, form, expiry) }
        let old = Entry(base)
        willChange(old, key)
        let time: Int64? =
            switch expiry {
            case .clear: nil
            case .keep: old.expiry
            case .at(let time): time
            }
        let clock = state.pointee.access.overwritten(old.accessClock)
        if fits(form, in: old, hasExpiry: time != nil) {
            return overwrite(old, key, form, time, clock)
        }
        let value = DetachedValue(old)
        let fresh = build(key, form, time, clock, table(key).pointee.epoch)
        if _slowPath(!old.isString) { forgetFields(old, key) }
        exchange(old, fresh, at: place, key)
        releaseSoon(value)
        return fresh
    }

    private func insertString(_ key: KeyRef, _ form: StringForm, _ expiry: ExpiryChange) -> Entry {
        var time: Int64?
        if case .at(let at) = expiry { time = at }
        let clock = state.pointee.access.created
        let entry = build(key, form, time, clock, table(key).pointee.epoch)
        link(entry, key)
        return entry
    }

    /// True when the block of `old` can hold the new value without being replaced.
    @inline(__always)
    private func fits(_ form: StringForm, in old: Entry, hasExpiry: Bool) -> Bool {
        guard old.isString, old.layout == form.encoding, old.hasExpiry == hasExpiry else {
            return false
        }
        switch form {
        case .integer: return true
        case .raw(let bytes):
            let string = RawString(old.payload)
            return bytes.count <= string.capacity && !string.wastes(bytes.count)
        case .embedded(let bytes):
            let size = old.allocationSize
            let newSize = size &- (old.storedBytes?.count ?? 0) &+ bytes.count
            return Memory.roundedSize(size) == Memory.roundedSize(newSize)
        }
    }

    private func overwrite(
        _ entry: Entry,
        _ key: KeyRef,
        _ form: StringForm,
        _ time: Int64?,
        _ clock: UInt32
    ) -> Entry {
        if let time, time != entry.expiresAt {
            let index = database(Int(key.database))
            index.pointee.expiry.remove(entry, memory)
            entry.storeExpiry(time)
            index.pointee.expiry.insert(entry, memory)
        }
        switch form {
        case .integer(let value): entry.payloadWord = UInt64(bitPattern: value)
        case .embedded(let bytes):
            entry.setEmbeddedLength(bytes.count)
            moveBytes(to: entry.embeddedStart, from: bytes.base, count: bytes.count)
        case .raw(let bytes):
            let string = RawString(entry.payload).resized(to: bytes.count, memory)
            moveBytes(to: string.start, from: bytes.base, count: bytes.count)
        }
        entry.setFlag(Header.isReportedRaw, false)
        entry.accessClock = clock
        return entry
    }

    /// A new block for key and value, in no table and no index yet.
    private func build(
        _ key: KeyRef,
        _ form: StringForm,
        _ time: Int64?,
        _ clock: UInt32,
        _ epoch: UInt8
    ) -> Entry {
        let entry = newBlock(
            key,
            .string,
            form.encoding,
            time,
            clock,
            epoch,
            embedded: form.embeddedCount
        )
        switch form {
        case .integer(let value): entry.payloadWord = UInt64(bitPattern: value)
        case .embedded(let bytes):
            copyBytes(to: entry.embeddedStart, from: bytes.base, count: bytes.count)
        case .raw(let bytes):
            let string = RawString.make(bytes.count, memory)
            copyBytes(to: string.start, from: bytes.base, count: bytes.count)
            entry.payloadWord = UInt64(UInt(bitPattern: string.base))
        }
        return entry
    }

    // MARK: In place

    /// Makes the string of `key` `count` bytes long and returns where they are: for APPEND,
    /// SETRANGE and SETBIT. A missing key is created; new bytes are zero; the expiry stays. The
    /// pointer is valid until the next change. The key must hold a string or nothing.
    public func resizeString(_ key: KeyRef, to count: Int) -> UnsafeMutablePointer<UInt8> {
        invariant(count >= 0, "a string has no negative length")
        guard let place = table(key).pointee.locate(key.bytes, hash: key.hash),
            let base = place.pointee
        else { return start(of: makeZeroed(key, count)) }
        let entry = Entry(base)
        invariant(entry.isString, "only strings can be resized")
        willChange(entry, key)
        let length = entry.stringLength
        if entry.layout == .raw {
            if RawString(entry.payload).growsManifold(to: count) {
                return start(of: rebuild(entry, place, key, length, count))
            }
            let string = RawString(entry.payload).resized(to: count, memory)
            entry.payloadWord = UInt64(UInt(bitPattern: string.base))
            if count > length { clearBytes(string.start + length, count: count - length) }
            entry.setFlag(Header.isReportedRaw, true)
            return string.start
        }
        let size = entry.allocationSize
        if entry.layout == .embedded, count <= Entry.embeddedLimit,
            Memory.roundedSize(size) == Memory.roundedSize(size - length + count)
        {
            entry.setEmbeddedLength(count)
            if count > length { clearBytes(entry.embeddedStart + length, count: count - length) }
            entry.setFlag(Header.isReportedRaw, true)
            return entry.embeddedStart
        }
        return start(of: rebuild(entry, place, key, length, count))
    }

    /// Where the bytes of a string are that is stored as bytes.
    private func start(of entry: Entry) -> UnsafeMutablePointer<UInt8> {
        entry.layout == .raw ? RawString(entry.payload).start : entry.embeddedStart
    }

    private func makeZeroed(_ key: KeyRef, _ count: Int) -> Entry {
        let entry = blankString(key, count, nil, state.pointee.access.created)
        link(entry, key)
        return entry
    }

    /// Replaces the block of a string by one for `count` bytes; keeps content, expiry and clock.
    private func rebuild(
        _ old: Entry,
        _ place: EntryPlace,
        _ key: KeyRef,
        _ length: Int,
        _ count: Int
    ) -> Entry {
        let fresh = blankString(key, count, old.expiry, old.accessClock)
        let to = start(of: fresh)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { room in
            guard let scratch = room.baseAddress else { return }
            let from = old.bytes(scratch: scratch)
            copyBytes(to: to, from: from.base, count: min(length, count))
        }
        let value = DetachedValue(old)
        exchange(old, fresh, at: place, key)
        releaseSoon(value)
        return fresh
    }

    /// A block for a string of `count` zero bytes that the caller fills in.
    private func blankString(
        _ key: KeyRef,
        _ count: Int,
        _ time: Int64?,
        _ clock: UInt32
    ) -> Entry {
        let room = Entry.size(
            keyLength: key.bytes.count,
            hasExpiry: true,
            hasPayload: false,
            embedded: count
        )
        let embeds = count <= Entry.embeddedLimit && room <= Entry.embeddedBlockLimit
        let entry = newBlock(
            key,
            .string,
            embeds ? .embedded : .raw,
            time,
            clock,
            table(key).pointee.epoch,
            embedded: embeds ? count : 0
        )
        if embeds {
            clearBytes(entry.embeddedStart, count: count)
        } else {
            let string = RawString.make(count, memory, isZeroed: true)
            entry.payloadWord = UInt64(UInt(bitPattern: string.base))
        }
        entry.setFlag(Header.isReportedRaw, true)
        return entry
    }
}
