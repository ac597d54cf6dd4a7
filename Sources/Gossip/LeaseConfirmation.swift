// The other side of a primary's lease (ClusterHealth.swift): what this node says to primaries that
// ping it, and what follows for its vote. An answer confirms the lease of whoever asked, for a node
// timeout at most. So:
//
// * No vote against a primary whose lease this node confirmed less than a node timeout ago, unless
//   its process is known to be dead (CrashDetection.swift), or an administrator or the primary
//   itself wants it replaced.
// * From the vote on its answers carry the mark `withheld`, until the candidate must have stopped
//   counting. A primary that says itself that it does not serve, and that this node cannot reach
//   or takes for failed, gets the mark too: it loses nothing, and may be replaced at once.
//
// A majority of votes therefore proves that the old primary's authority is over and will not come
// back while the candidate counts. FAIL alone proves less: reports may be as old as two node
// timeouts, and a primary can be back meanwhile.
//
// Not on disk: a process that restarts counts the node timeout from its start, and finds in
// nodes.conf, as failed, whom it may have voted against.
import Base
import HashSlots

extension ClusterState {
    /// How long a candidate can count votes at most, by a clock that is a little slow.
    var attemptLimit: Milliseconds { longestAttempt + config.nodeTimeout / 10 }

    /// Whether the answer to a packet of `sender` must not prolong its lease.
    func withholdsLease(from sender: NodeHandle, _ header: BusHeader) -> Bool {
        if nodes[sender].leaseWithheldUntil > now.instant { return true }
        return !nodes[sender].isReachable && header.state != 0
    }

    /// How long `primary` may still serve because of what this node confirmed; nil for not at all.
    func leaseWait(of primary: NodeHandle) -> Milliseconds? {
        guard let confirmed = nodes[primary].leaseConfirmed else { return nil }
        let wait = config.nodeTimeout - (now.instant - confirmed)
        return wait > .zero ? wait : nil
    }

    /// `node` answered the ping that was sent at `time`, and confirmed our lease.
    mutating func confirmed(by node: NodeHandle, pingOf time: Instant) {
        nodes[node].confirmedSend = max(nodes[node].confirmedSend ?? time, time)
    }
}
