// Small lists and hashes at rest, inside the block of their key: no second block, no pointer to it,
// and less lost to rounding. A value goes in when it is complete: loaded, restored, copied, or made
// by one command. Of hashes only those that share their names go in. Readers find the same bytes as
// ever at another address. Who changes a value takes it out first, once: one that grows element by
// element, or is a queue, has no use for copies.
//
// Neither way changes the value, so a running snapshot has no part in it: the entry keeps its
// epoch.
import Base

extension Keyspace {
    /// Puts a small list or hash into the block of its key if that saves memory. Returns the entry,
    /// which may have moved; any entry may be given.
    @discardableResult
    public func tuckIn(_ entry: Entry, _ key: KeyRef) -> Entry {
        guard entry.type == .list || entry.type == .hash, entry.layout == entry.inlineEncoding,
            entry.type == .hash || Listpack(entry.payload).count > 1
        else { return entry }
        let bytes = smallBytes(entry)
        guard gainsInline(entry, bytes.count) else { return entry }
        let fresh = newBlock(
            key, entry.type, .embedded, entry.expiry, entry.accessClock, entry.epoch,
            embedded: bytes.count)
        copyBytes(to: fresh.embeddedStart, from: bytes.base, count: bytes.count)
        let payload = entry.payload
        replaceBlock(entry, fresh, key)
        memory.free(payload, bytes.count)
        return fresh
    }

    /// The block of a value that may be inline.
    private func smallBytes(_ entry: Entry) -> Bytes {
        let start = entry.payload.assumingMemoryBound(to: UInt8.self)
        let size =
            entry.type == .hash
            ? ShapedHash(entry.payload).totalBytes : Listpack(entry.payload).totalBytes
        return Bytes(start, size)
    }

    /// Gives a value that is inline memory of its own: to be called before every change of a list
    /// or hash. Returns the entry, which has moved if so.
    @inline(__always)
    public func takeOut(_ entry: Entry, _ key: KeyRef) -> Entry {
        entry.isInline ? separate(entry, key) : entry
    }

    @inline(never)
    private func separate(_ entry: Entry, _ key: KeyRef) -> Entry {
        let fresh = newBlock(
            key, entry.type, entry.inlineEncoding, entry.expiry, entry.accessClock, entry.epoch,
            embedded: 0)
        fresh.payloadWord = UInt64(UInt(bitPattern: copyOut(entry.embeddedBytes)))
        replaceBlock(entry, fresh, key)
        return fresh
    }

    /// A block of its own for the bytes of an inline value.
    func copyOut(_ bytes: Bytes) -> UnsafeMutableRawPointer {
        let block = memory.allocate(bytes.count)
        copyBytes(to: block, from: bytes.base, count: bytes.count)
        return block
    }

    private func replaceBlock(_ old: Entry, _ fresh: Entry, _ key: KeyRef) {
        guard let place = table(key).pointee.locate(key.bytes, hash: key.hash) else {
            unreachable("a value is moved whose key is gone")
        }
        exchange(old, fresh, at: place, key)
    }

    /// Whether one block for key and `count` bytes of value takes less than two. It must have room
    /// for an expiry, which may come later.
    private func gainsInline(_ entry: Entry, _ count: Int) -> Bool {
        let keyLength = entry.key.count
        let most = Entry.size(
            keyLength: keyLength, hasExpiry: true, hasPayload: false, embedded: count)
        guard count <= Entry.embeddedLimit, most <= Entry.embeddedBlockLimit else { return false }
        let size = Entry.size(
            keyLength: keyLength, hasExpiry: entry.hasExpiry, hasPayload: false, embedded: count)
        let apart = Memory.roundedSize(entry.allocationSize) + Memory.roundedSize(count)
        return Memory.roundedSize(size) < apart
    }
}
