// A change that fails transactions but is no key event: the value of a key has other bytes now, and
// says the same.
import Base
import Storage

extension Call {
    /// Fails those who watch `key`, and tells nobody else.
    public func touchWatchers(_ key: KeyRef) {
        guard !executor.pointee.watch.isEmpty else { return }
        let exists = keyspace.find(key) != nil
        executor.pointee.watch.touch(
            database: Int32(key.database), key: key.bytes, exists: exists)
    }
}
