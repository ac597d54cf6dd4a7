// Keys with a deadline that clients wrote to a replica which takes writes (`replica-read-only no`).
// No DEL of the primary will ever come for them, so the replica itself deletes them in time; all
// other keys wait for the primary's word. As in the reference, the list is forgotten when the
// replica becomes a primary, which expires everything anyway.
import Base
import Storage

struct ReplicaKey: Hashable {
    let database: Int32
    let key: [UInt8]
}

extension ExecutorPointer {
    /// After a client's write on a replica: notes those of its keys that expire.
    @inline(never)
    func noteReplicaKeys(_ frame: UnsafeMutablePointer<CallFrame>, database: Int32) {
        guard let session = frame.pointee.session, let command = frame.pointee.command,
            let arguments = frame.pointee.arguments,
            !session.pointee.flags.contains(.fromPrimary)
        else { return }
        let positions = keyPositions(command, arguments, frame.pointee.argumentCount) ?? []
        for position in positions {
            let key = pointee.keyspace.key(arguments[position.index], database: Int(database))
            guard let entry = pointee.keyspace.find(key), entry.hasExpiry else { continue }
            pointee.replicaKeys.insert(ReplicaKey(database: database, key: key.bytes.array))
        }
    }

    /// Deletes those whose time is over, in no stream; forgets those that expire no more.
    public func expireReplicaKeys() {
        guard !pointee.replicaKeys.isEmpty else { return }
        guard pointee.alerts.contains(.isReplica) else {
            pointee.replicaKeys.removeAll()
            return
        }
        for item in pointee.replicaKeys {
            item.key.withBytes { bytes in
                let key = pointee.keyspace.key(bytes, database: Int(item.database))
                guard let entry = pointee.keyspace.find(key), entry.hasExpiry else {
                    pointee.replicaKeys.remove(item)
                    return
                }
                guard isExpired(entry) else { return }
                pointee.replicaKeys.remove(item)
                let existed = pointee.keyspace.unlink(key)
                invariant(existed, "a key that was found can be removed")
                pointee.stats.expiredKeys &+= 1
                notify(.expired, "expired", key)
            }
        }
    }
}
