// Fields of hashes whose time is over. A primary deletes them, when it comes upon them or by its
// exact index, and says so in the stream as HDEL; a replica waits for that and only hides them. A
// hash ends with its last field.
import Base
import Storage

extension ExecutorPointer {
    /// True when what has expired is deleted here: not on a replica, while data is loaded, or while
    /// nothing may change.
    public var mayExpire: Bool {
        pointee.alerts.isDisjoint(with: [.isReplica, .loading]) && pointee.pauseMode == .none
            && !pointee.internalPause
    }

    /// Deletes up to `limit` fields of a hash whose time is over, and the key with its last field.
    /// Returns how many fields went.
    @discardableResult
    public func expireFields(_ key: KeyRef, _ entry: Entry, limit: Int) -> Int {
        let keyspace = pointee.keyspace
        var hash = HashObject(entry)
        let now = pointee.now.wall.milliseconds
        guard hash.isTable, hash.fields.nextExpired(now: now) != nil else {
            keyspace.noteFields(entry, key)
            return 0
        }
        keyspace.willChange(entry, key)
        let isHeard = pointee.feedsLog || pointee.feedsBacklog
        var names: [[UInt8]] = [Array("HDEL".utf8), key.bytes.array]
        var count = 0
        while count < limit, let field = hash.fields.nextExpired(now: now) {
            // The removal frees the bytes of the name.
            let name = field.key.array
            name.withBytes { _ = hash.remove($0, keyspace.heap) }
            if isHeard { names.append(name) }
            count += 1
        }
        if isHeard { propagateFields(key, names) }
        pointee.stats.expiredFields &+= Int64(count)
        notify(.hash, "hexpired", key)
        if hash.count == 0 {
            keyspace.remove(key)
            notify(.generic, "del", key)
        } else {
            keyspace.noteFields(entry, key)
        }
        return count
    }

    private func propagateFields(_ key: KeyRef, _ words: [[UInt8]]) {
        var whole: [UInt8] = []
        for word in words { whole += word }
        whole.withBytes { bytes in
            var arguments: [Bytes] = []
            arguments.reserveCapacity(words.count)
            var start = 0
            for word in words {
                arguments.append(bytes[start..<(start + word.count)])
                start += word.count
            }
            propagateCommand(database: Int(key.database), arguments)
        }
    }
}

extension Call {
    /// The time with which deadlines of fields are compared. Who applies a primary's stream, or
    /// loads, sees what has expired: the primary decides when it goes.
    @inline(__always)
    public var fieldTime: Int64 {
        if _slowPath(!executor.pointee.alerts.isDisjoint(with: [.isReplica, .loading])) {
            return foreignFieldTime
        }
        return now.milliseconds
    }

    private var foreignFieldTime: Int64 {
        if executor.pointee.alerts.contains(.loading) { return .min }
        return session.pointee.flags.contains(.fromPrimary) ? .min : now.milliseconds
    }

    /// The entry of a hash without the fields whose time is over, where they are ours to delete:
    /// nil when none is left. Bounded: what is over beyond that is hidden.
    @inline(__always)
    public func settleFields(_ entry: Entry, _ key: KeyRef) -> Entry? {
        guard _slowPath(entry.mayHoldExpiredFields(now: now.milliseconds)) else { return entry }
        return settleDueFields(entry, key)
    }

    @inline(never)
    private func settleDueFields(_ entry: Entry, _ key: KeyRef) -> Entry? {
        guard executor.mayExpire else { return entry }
        executor.expireFields(key, entry, limit: 1000)
        return keyspace.find(key)
    }
}
