// What the hash commands share: looking up the hash under a key.
import Base
import Engine
import RESP
import Storage

extension Call {
    /// The hash of an entry; else answers and returns nil.
    @inline(__always)
    func hashOrReply(_ entry: Entry) -> HashObject? {
        guard let entry = typeOrReply(entry, .hash) else { return nil }
        return HashObject(entry)
    }

    /// The live entry of a key that should hold a hash, for reading.
    @inline(__always)
    func readHash(_ key: KeyRef) -> Entry? {
        guard let entry = lookupRead(key) else { return nil }
        return settleFields(entry, key)
    }

    /// The same for writing; a hash is not inside the block of its key then.
    @inline(__always)
    func writeHash(_ key: KeyRef) -> Entry? {
        guard let entry = lookupWrite(key), let settled = settleFields(entry, key) else {
            return nil
        }
        return settled.type == .hash ? keyspace.takeOut(settled, key) : settled
    }
}
