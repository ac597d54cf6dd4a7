// Client replies that wait for nodes.conf. Two kinds do: all of them while this node's claim to its
// slots (that it is a primary, its config epoch) is not durable, for a power cut would take back
// the authority under which they were given, and no other node has heard of it; and the reply to a
// CLUSTER command, until what it changed is written. The bus messages that announce the claim wait
// for the same version (`heldMessages`).
//
// A reply that is still here when the authority ends must not leave afterwards: a successor may be
// in office that knows nothing of the write. Its client is disconnected, which tells it the truth:
// the outcome is unknown.
import Base
import Engine
import Gossip

struct ClusterPromise: ~Copyable {
    /// The newest version of nodes.conf with a claim, and the newest that is durable.
    var claimed: UInt64 = 0
    var synced: UInt64 = 0
    var written: UInt64 = 0
    /// Sessions whose command made a version that is not written yet.
    var commands: [(session: UInt64, version: UInt64)] = []
    /// Sessions with replies that wait, each flagged `held`.
    var held = PointerList()

    @inline(__always)
    var isClaimPending: Bool { claimed > synced }

    @inline(__always)
    var isPending: Bool { isClaimPending || !commands.isEmpty }
}

extension NodePointer {
    /// Whether the replies of this session must stay; asked before they are written.
    @inline(__always)
    func waitsForClusterState(_ session: UnsafeMutablePointer<Session>) -> Bool {
        guard _slowPath(pointee.promise.isPending) else { return false }
        return holdForClusterState(session)
    }

    @inline(never)
    private func holdForClusterState(_ session: UnsafeMutablePointer<Session>) -> Bool {
        if session.pointee.flags.contains(.replica) { return false }
        let id = session.pointee.id
        guard
            pointee.promise.isClaimPending
                || pointee.promise.commands.contains(where: { $0.session == id })
        else { return false }
        session.pointee.flags.insert(.held)
        pointee.promise.held.append(session)
        return true
    }

    func clusterStateRequested(_ state: PersistRequest) {
        if state.isClaim { pointee.promise.claimed = state.version }
    }

    /// The session's command changed the cluster's state: its reply waits for `version`.
    func holdReply(of session: UnsafeMutablePointer<Session>, until version: UInt64) {
        guard version > pointee.promise.written else { return }
        pointee.promise.commands.append((session.pointee.id, version))
    }

    /// Whoever still has to wait is held again when its turn to be written comes.
    func releaseForClusterState(version: UInt64, synced: Bool) {
        pointee.promise.written = Swift.max(pointee.promise.written, version)
        if synced { pointee.promise.synced = Swift.max(pointee.promise.synced, version) }
        pointee.promise.commands.removeAll { $0.version <= version }
        while let session = pointee.promise.held.popLast() {
            session.pointee.flags.remove(.held)
            executor.queueWrite(session)
        }
    }

    /// A session goes: nothing waits for it any more.
    func forgetInPromise(_ session: UnsafeMutablePointer<Session>) {
        if session.pointee.flags.contains(.held) { pointee.promise.held.remove(session) }
        guard !pointee.promise.commands.isEmpty else { return }
        let id = session.pointee.id
        pointee.promise.commands.removeAll { $0.session == id }
    }

    /// This node may not answer for its slots any more.
    func abandonHeldReplies() {
        // What this iteration made goes the same way as what is older.
        for index in 0..<executor.pointee.pendingWrites.count {
            let session = executor.pointee.pendingWrites[index]
            if !session.pointee.flags.contains(.detached) { _ = waitsForDisk(session) }
        }
        var count = 0
        let commands = pointee.promise.commands
        if pointee.promise.isClaimPending {
            for index in 0..<pointee.promise.held.count {
                let session = pointee.promise.held[index]
                let id = session.pointee.id
                if commands.contains(where: { $0.session == id }) { continue }
                executor.close(session)
                count += 1
            }
        }
        for index in 0..<pointee.log.held.count {
            executor.close(pointee.log.held[index])
            count += 1
        }
        guard count > 0 else { return }
        log(
            .warning,
            "Disconnected \(count) clients whose replies waited for the disk: this node may no "
                + "longer answer for its slots, and another one may not have their writes.")
    }
}
