// The two fates of a key that is given a deadline, for EXPIRE, GETEX and their kin.
import Base
import Engine
import Storage

extension Call {
    /// Gives a key a deadline and says so; the caller sees to an absolute form in the stream.
    @inline(__always)
    func setDeadline(_ key: KeyRef, _ deadline: Int64) {
        keyspace.setExpiry(key, at: deadline)
        changed(.generic, "expire", key)
    }

    /// Deletes a key whose deadline is over already; the stream gets the deletion.
    func deleteExpired(_ key: KeyRef) {
        let isLazy = executor.pointee.settings.lazyExpire
        let existed = isLazy ? keyspace.unlink(key) : keyspace.remove(key)
        invariant(existed, "a key that was found can be removed")
        changed(.generic, "del", key)
        rewrite(2) { stream in
            stream.argument(isLazy ? "UNLINK" : "DEL")
            stream.argument(key.bytes)
        }
    }
}
