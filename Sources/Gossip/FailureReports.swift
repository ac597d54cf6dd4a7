// From "I cannot reach it" to "it has failed". A node suspects on its own (PFAIL) and says so in
// its gossip; when a majority of the primaries that own slots say so within twice the node
// timeout, and this node says so too, the node has failed (FAIL), and everybody is told at once.
//
// Stricter than the reference in one point: reports of primaries without slots do not count, for
// such nodes are not in the number that the majority is of.
import Base
import HashSlots

extension ClusterState {
    /// The number of votes that decide.
    var quorum: Int { electorate / 2 + 1 }

    /// Primaries that own slots.
    var votingCount: Int {
        nodes.handles.reduce(0) { $0 + (nodes[$1].isVoting ? 1 : 0) }
    }

    mutating func takeReport(of node: NodeHandle, by reporter: NodeHandle, isFailing: Bool) {
        invariant(node != NodeTable.myself, "reports about this node are not kept")
        let id = nodes[reporter].id
        if isFailing {
            if nodes[node].reports.contains(id) == false {
                log(.verbose, .reported(by: label(reporter), label(node)))
            }
            nodes[node].reports[id] = now.instant
            markFailedIfAgreed(node)
        } else if nodes[node].reports.contains(id) {
            nodes[node].reports[id] = nil
            log(.verbose, .reportWithdrawn(by: label(reporter), label(node)))
        }
    }

    func label(_ node: NodeHandle) -> NodeLabel {
        NodeLabel(id: nodes[node].id, humanName: nodes[node].humanName)
    }

    /// Reports that are still valid, whoever made them (CLUSTER COUNT-FAILURE-REPORTS).
    func reportCount(of node: NodeHandle) -> Int {
        nodes[node].reports.values.reduce(0) { $0 + (isValid($1) ? 1 : 0) }
    }

    private func isValid(_ report: Instant) -> Bool {
        now.instant - report <= config.nodeTimeout * 2
    }

    mutating func expireReports() {
        for node in nodes.handles where !nodes[node].reports.isEmpty {
            for (reporter, time) in nodes[node].reports where !isValid(time) {
                nodes[node].reports[reporter] = nil
            }
        }
    }

    mutating func markFailedIfAgreed(_ node: NodeHandle) {
        guard nodes[node].isSuspect, !nodes[node].isFailed else { return }
        var voices = me.isVoting ? 1 : 0
        for (reporter, time) in nodes[node].reports where isValid(time) {
            if let handle = nodes.find(reporter), nodes[handle].isVoting { voices += 1 }
            if voters.contains(reporter) { voices += 1 }
        }
        guard voices >= quorum else { return }
        log(.notice, .markedFailed(nodes[node].id))
        setFailed(node)
        broadcast(.fail, .fail(nodes[node].id))
    }

    mutating func setFailed(_ node: NodeHandle) {
        invariant(node != NodeTable.myself, "this node does not fail itself")
        nodes[node].flags.remove(.possiblyFailed)
        nodes[node].flags.insert(.failed)
        nodes[node].failTime = now.instant
        todo.insert([.save, .updateState])
        if me.primary == node { todo.insert(.failover) }
    }

    /// Suspects `node`; the caller says why in the log.
    mutating func suspect(_ node: NodeHandle) {
        guard nodes[node].isReachable else { return }
        nodes[node].flags.insert(.possiblyFailed)
        health.hasNewSuspect = true
        todo.insert(.updateState)
        markFailedIfAgreed(node)
    }

    /// Tells everybody at once whom we suspect. The reference leaves it to the next round of
    /// pings; a majority that forms in milliseconds needs this.
    mutating func gossipSuspects() {
        guard health.hasNewSuspect else { return }
        health.hasNewSuspect = false
        for node in nodes.handles where node != NodeTable.myself && !nodes[node].isHandshake {
            sendPing(.ping, to: node)
        }
    }

    /// It answered a ping.
    mutating func reachable(_ node: NodeHandle) {
        nodes[node].probe = CrashProbe()
        if nodes[node].isSuspect {
            nodes[node].flags.remove(.possiblyFailed)
            todo.insert([.save, .updateState])
        } else if nodes[node].isFailed {
            clearFailure(of: node)
        }
    }

    /// FAIL is taken back when nothing can come of it (no slots to take over, or nobody to do it),
    /// or when nobody took over for a while; not before a candidate that has our vote must have
    /// stopped counting.
    private mutating func clearFailure(of node: NodeHandle) {
        let id = nodes[node].id
        if nodes[node].leaseWithheldUntil > now.instant { return }
        let canBeReplaced = nodes[node].replicas.contains { !nodes[$0].isFailed }
        if nodes[node].isReplica || nodes[node].slots.isEmpty {
            log(.notice, .failCleared(id, isReplica: nodes[node].isReplica))
        } else if !canBeReplaced || now.instant - nodes[node].failTime > config.nodeTimeout * 2 {
            log(.notice, .failClearedUnserved(id))
        } else {
            return
        }
        nodes[node].flags.remove(.failed)
        todo.insert([.save, .updateState])
    }
}
