// Small lists at rest, inside the block of their key: no second block, no pointer to it, and less
// lost to rounding. A list goes in when it is complete: loaded, restored, copied, or pushed in one
// command. Readers find the same listpack as ever at another address. Who changes a list takes it
// out first, once: one that grows element by element, or is a queue, has no use for copies.
//
// Neither way changes the value, so a running snapshot has no part in it: the entry keeps its
// epoch.
import Base

extension Keyspace {
    /// Puts a small list into the block of its key if that saves memory. Returns the entry, which
    /// may have moved; any entry may be given.
    @discardableResult
    public func tuckIn(_ entry: Entry, _ key: KeyRef) -> Entry {
        guard entry.type == .list, entry.layout == .listpack else { return entry }
        let pack = Listpack(entry.payload)
        let bytes = pack.bytes
        guard gainsInline(entry, bytes.count), pack.count > 1 else { return entry }
        let fresh = newBlock(
            key, entry.type, .embedded, entry.expiry, entry.accessClock, entry.epoch,
            embedded: bytes.count)
        copyBytes(to: fresh.embeddedStart, from: bytes.base, count: bytes.count)
        replaceBlock(entry, fresh, key)
        pack.free(memory)
        return fresh
    }

    /// Gives a value that is inline memory of its own: to be called before every change of a list.
    /// Returns the entry, which has moved if so.
    @inline(__always)
    public func takeOut(_ entry: Entry, _ key: KeyRef) -> Entry {
        entry.isInline ? separate(entry, key) : entry
    }

    @inline(never)
    private func separate(_ entry: Entry, _ key: KeyRef) -> Entry {
        let fresh = newBlock(
            key, entry.type, .listpack, entry.expiry, entry.accessClock, entry.epoch, embedded: 0)
        let pack = Listpack.copy(entry.embeddedBytes, memory)
        fresh.payloadWord = UInt64(UInt(bitPattern: pack.base))
        replaceBlock(entry, fresh, key)
        return fresh
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
