// `min-replicas-ack`: when the replies that wait for replicas may leave. At the end of an iteration
// in which somebody began to wait, the replicas are asked to say at once how far they are; whatever
// they say, or a deadline, brings this back.
//
// In a cluster a primary answers only while it may serve: one that has lost sight of the majority
// may have been replaced, by a replica that was compared with the others after this primary's time
// was over. An acknowledgement that comes later proves nothing about the successor.
import Base
import Engine
import HashSlots
import Replication

extension NodePointer {
    /// Part of step 3 of the end of an iteration.
    func advanceAcks() {
        let isDue = executor.pointee.nextAckDeadline.map { $0 <= instant } ?? false
        guard pointee.acksChanged || isDue else { return }
        pointee.acksChanged = false
        let maySettle = mayAcknowledge
        settle { entry in
            if maySettle, pointee.primary.acknowledgements(of: entry.offset) >= entry.replicas {
                return .release
            }
            guard let deadline = entry.deadline, deadline <= instant else { return .wait }
            let reached = maySettle ? pointee.primary.acknowledgements(of: entry.offset) : 0
            pointee.acksTimedOut += 1
            let what = entry.isChange
                ? "The write is applied here, but" : "Nothing was changed, and of the data here"
            let object = entry.isChange ? "it in time: a failover may lose it" : "all in time"
            return .refuse(
                Array(
                    ("-UNACKED \(what) only \(reached) of \(entry.replicas) replicas acknowledged "
                        + "\(object)\r\n").utf8))
        }
    }

    private var mayAcknowledge: Bool {
        guard let routing = executor.pointee.routing else { return true }
        return routing.pointee.facts.clusterIsUp
    }

    /// This node is no primary any more: what was not acknowledged by now may be discarded.
    func refuseAcks() {
        settle { entry in
            let what = entry.isChange ? "The write was applied here" : "This was answered"
            return .refuse(
                Array(
                    ("-UNACKED \(what) before this node became a replica, and not acknowledged by "
                        + "enough replicas: it may be lost\r\n").utf8))
        }
    }

    private func settle(_ judge: (PendingAcks.Entry) -> AckVerdict) {
        var kept = PointerList()
        var next: Instant?
        for index in 0..<executor.pointee.awaitingAcks.count {
            let session = executor.pointee.awaitingAcks[index]
            if executor.settleAcks(session, judge) { continue }
            kept.append(session)
            guard let deadline = session.pointee.acks?.pointee.first?.deadline else { continue }
            next = Swift.min(next ?? deadline, deadline)
        }
        executor.pointee.awaitingAcks.removeAll()
        for index in 0..<kept.count { executor.pointee.awaitingAcks.append(kept[index]) }
        executor.pointee.nextAckDeadline = next
    }

    /// Before the stream is written to the replicas: asks them to answer at once.
    func askForAcks() {
        executor.pointee.wantsAcks = false
        guard pointee.primary.replicas.contains(where: { $0.isOnline }) else { return }
        feedGetAck()
        noteStream()
    }
}
