// Whole keys: values of other types, removal at once and lazily, RENAME and MOVE without copying a
// large value, COPY, and the expiry of a key. A changed layout (an expiry added or removed) moves
// the block, so these functions return the entry as it is afterwards.
import Base

extension Keyspace {
    // MARK: Values of other types

    /// Sets a key to a value of a registered type, whatever it held before. The keyspace owns the
    /// payload from now on.
    @discardableResult
    public func setPayload(
        _ key: KeyRef,
        type: ValueType,
        encoding: Encoding,
        _ payload: UnsafeMutableRawPointer,
        expiry: ExpiryChange
    ) -> Entry {
        invariant(encoding != .embedded && encoding != .integer, "not a pointer encoding")
        let old = find(key)
        var time: Int64?
        switch expiry {
        case .clear: time = nil
        case .keep: time = old?.expiry
        case .at(let at): time = at
        }
        var clock = state.pointee.access.created
        if let old { clock = state.pointee.access.overwritten(old.accessClock) }
        let entry = newBlock(
            key,
            type,
            encoding,
            time,
            clock,
            table(key).pointee.epoch,
            embedded: 0
        )
        entry.payloadWord = UInt64(UInt(bitPattern: payload))
        place(entry, key)
        return entry
    }

    /// Puts a finished entry under its key, in the place of what was there.
    private func place(_ entry: Entry, _ key: KeyRef) {
        guard let place = table(key).pointee.locate(key.bytes, hash: key.hash),
            let base = place.pointee
        else {
            link(entry, key)
            noteFields(entry, key)
            return
        }
        let old = Entry(base)
        willChange(old, key)
        let value = DetachedValue(old)
        forgetFields(old, key)
        exchange(old, entry, at: place, key)
        noteFields(entry, key)
        releaseSoon(value)
    }

    // MARK: Removal

    /// Removes a key. Its value is freed at once unless that would take long. False when there is
    /// no such key.
    @discardableResult
    public func remove(_ key: KeyRef) -> Bool {
        guard let value = take(key) else { return false }
        releaseSoon(value)
        return true
    }

    /// Removes a key; a value that is costly to free waits in the lazy-free queue.
    @discardableResult
    public func unlink(_ key: KeyRef) -> Bool {
        guard let value = take(key) else { return false }
        releaseLater(value)
        return true
    }

    /// Removes a key and returns its value.
    private func take(_ key: KeyRef) -> DetachedValue? {
        guard let place = table(key).pointee.locate(key.bytes, hash: key.hash),
            let base = place.pointee
        else { return nil }
        let entry = Entry(base)
        willChange(entry, key)
        let value = DetachedValue(entry)
        forgetFields(entry, key)
        unlinkEntry(entry, at: place, key)
        return value
    }

    // MARK: Rename, move, copy

    /// Gives the value of `from`, with its expiry and access clock, the key `to` (also in another
    /// database), in the place of what was there; the replaced value is freed lazily. Large values
    /// are not copied. nil when there is no `from`; both keys must differ.
    @discardableResult
    public func rename(_ from: KeyRef, to: KeyRef) -> Entry? {
        guard let place = table(from).pointee.locate(from.bytes, hash: from.hash),
            let base = place.pointee
        else { return nil }
        let entry = Entry(base)
        willChange(entry, from)
        if let old = table(to).pointee.find(to.bytes, hash: to.hash) {
            invariant(old != entry, "a key cannot be renamed to itself")
        }
        let fresh = duplicate(entry, as: to, expiry: entry.expiry, word: DetachedValue(entry).word)
        forgetFields(entry, from)
        unlinkEntry(entry, at: place, from)
        unlink(to)
        link(fresh, to)
        noteFields(fresh, to)
        return fresh
    }

    /// Sets `to` to a deep copy of the value of `from`, with its expiry. nil without `from`.
    @discardableResult
    public func copy(_ from: KeyRef, to: KeyRef) -> Entry? {
        guard let entry = find(from) else { return nil }
        let value = DetachedValue(entry)
        var word = value.word
        if value.ownsMemory { word = UInt64(UInt(bitPattern: copyPayload(value))) }
        let fresh = duplicate(entry, as: to, expiry: entry.expiry, word: word)
        fresh.accessClock = state.pointee.access.created
        place(fresh, to)
        return tuckIn(fresh, to)
    }

    private func copyPayload(_ value: DetachedValue) -> UnsafeMutableRawPointer {
        if value.type == .string {
            let bytes = RawString(value.payload).bytes
            let copy = RawString.make(bytes.count, memory)
            copyBytes(to: copy.start, from: bytes.base, count: bytes.count)
            return copy.base
        }
        guard let copy = state.pointee.types[Int(value.type.rawValue)].copy else {
            unreachable("a value of a type that cannot be copied")
        }
        return copy(value.payload, value.encoding.rawValue, raw)
    }

    /// A block with the value of `entry` under another key or with another expiry. `word` is the
    /// payload that it gets, when it has one.
    private func duplicate(_ entry: Entry, as key: KeyRef, expiry: Int64?, word: UInt64) -> Entry {
        if entry.layout == .embedded { return duplicateEmbedded(entry, as: key, expiry: expiry) }
        let fresh = newBlock(
            key,
            entry.type,
            entry.layout,
            expiry,
            entry.accessClock,
            table(key).pointee.epoch,
            embedded: 0
        )
        fresh.payloadWord = word
        fresh.setFlag(Header.isReportedRaw, entry.isReportedRaw)
        return fresh
    }

    /// A longer key may leave too little room for the value to stay embedded.
    private func duplicateEmbedded(
        _ entry: Entry,
        as key: KeyRef,
        expiry: Int64?
    ) -> Entry {
        let bytes = entry.embeddedBytes
        let room = Entry.size(
            keyLength: key.bytes.count,
            hasExpiry: true,
            hasPayload: false,
            embedded: bytes.count
        )
        let embeds = room <= Entry.embeddedBlockLimit
        let fresh = newBlock(
            key,
            entry.type,
            embeds ? .embedded : entry.isString ? .raw : entry.inlineEncoding,
            expiry,
            entry.accessClock,
            table(key).pointee.epoch,
            embedded: embeds ? bytes.count : 0
        )
        if embeds {
            copyBytes(to: fresh.embeddedStart, from: bytes.base, count: bytes.count)
        } else if entry.isString {
            let string = RawString.make(bytes.count, memory)
            copyBytes(to: string.start, from: bytes.base, count: bytes.count)
            fresh.payloadWord = UInt64(UInt(bitPattern: string.base))
        } else {
            fresh.payloadWord = UInt64(UInt(bitPattern: copyOut(bytes)))
        }
        fresh.setFlag(Header.isReportedRaw, entry.isReportedRaw)
        return fresh
    }

    // MARK: Expiry of a key

    /// Sets when a key expires, in milliseconds since 1970. Returns the entry, which may have
    /// moved; nil when there is no such key.
    @discardableResult
    public func setExpiry(_ key: KeyRef, at time: Int64) -> Entry? {
        guard let place = table(key).pointee.locate(key.bytes, hash: key.hash),
            let base = place.pointee
        else { return nil }
        let entry = Entry(base)
        willChange(entry, key)
        guard entry.hasExpiry else { return relocate(entry, place, key, expiry: time) }
        let index = database(Int(key.database))
        index.pointee.expiry.remove(entry, memory)
        entry.storeExpiry(time)
        index.pointee.expiry.insert(entry, memory)
        return entry
    }

    /// Makes a key stay for good. Returns the entry, which may have moved; nil when there is no
    /// such key or it does not expire.
    @discardableResult
    public func removeExpiry(_ key: KeyRef) -> Entry? {
        guard let place = table(key).pointee.locate(key.bytes, hash: key.hash),
            let base = place.pointee, Entry(base).hasExpiry
        else { return nil }
        willChange(Entry(base), key)
        return relocate(Entry(base), place, key, expiry: nil)
    }

    private func relocate(
        _ entry: Entry,
        _ place: EntryPlace,
        _ key: KeyRef,
        expiry: Int64?
    ) -> Entry {
        let fresh = duplicate(
            entry,
            as: key,
            expiry: expiry,
            word: DetachedValue(entry).word
        )
        exchange(entry, fresh, at: place, key)
        return fresh
    }
}
