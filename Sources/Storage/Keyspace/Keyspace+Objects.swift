// Values of types other than string under a key. A collection is changed through its own handle;
// what the keyspace must know of it is said here: `willChange` before, so that a running snapshot
// sees it as it was, and `setPayload` after, when it moved or changed its form.
import Base

extension Keyspace {
    /// Adds a key, which must be absent, with a value of a registered type. The keyspace owns the
    /// payload from now on.
    @discardableResult
    public func insertObject(
        _ key: KeyRef, _ type: ValueType, _ encoding: Encoding,
        _ payload: UnsafeMutableRawPointer
    ) -> Entry {
        invariant(encoding != .embedded && encoding != .integer, "not a pointer encoding")
        invariant(find(key) == nil, "an object is inserted over another")
        let clock = state.pointee.access.created
        let entry = newBlock(
            key, type, encoding, nil, clock, table(key).pointee.epoch, embedded: 0)
        entry.payloadWord = UInt64(UInt(bitPattern: payload))
        link(entry, key)
        noteFields(entry, key)
        return entry
    }

    /// Gives a key a value of a registered type, whatever it held before: one that is complete, and
    /// goes into the block of its key if that saves memory. The keyspace owns the payload from now
    /// on.
    @discardableResult
    public func replaceObject(
        _ key: KeyRef, _ type: ValueType, _ encoding: Encoding,
        _ payload: UnsafeMutableRawPointer, expiry: ExpiryChange
    ) -> Entry {
        tuckIn(setPayload(key, type: type, encoding: encoding, payload, expiry: expiry), key)
    }
}

extension Keyspace {
    /// Frees a value that never got, or no longer has, a key.
    public func discard(
        _ type: ValueType, _ encoding: Encoding, _ payload: UnsafeMutableRawPointer
    ) {
        release(DetachedValue(type: type, encoding: encoding, payload))
    }
}

extension Keyspace {
    /// The table of a large hash or set: buckets, elements, and whether it is being rehashed; nil
    /// for values of other forms.
    public func tableStatistics(
        _ entry: Entry
    ) -> (buckets: Int, elements: Int, isRehashing: Bool)? {
        guard entry.encoding == .hashTable else { return nil }
        let table = FieldTable(entry.payload).state.pointee.table
        return (table.bucketCount + table.oldBucketCount, table.count, table.isRehashing)
    }
}

extension Entry {
    /// The value moved, or changed its form; its type stays.
    @inline(__always)
    public func setPayload(_ payload: UnsafeMutableRawPointer, encoding: Encoding) {
        invariant(!isString, "strings are set, not patched")
        setPayload(UInt64(UInt(bitPattern: payload)), type: type, encoding: encoding)
    }
}
