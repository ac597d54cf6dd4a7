// Changing places while both live, without losing a write: the primary pauses its clients' writes
// and says at which offset it stopped; the replica waits until it has applied all of that, and
// then runs an election in which votes are given although the primary is up.
//
// Two ways in. CLUSTER FAILOVER: the replica asks its primary with MFSTART (as the reference
// does; FORCE skips the primary, TAKEOVER the votes as well). Hand-over (ours): a primary that
// must stop picks its best replica and sends it pings that carry the paused and hand-over flags
// and its offset; a Redis replica does not know the flag, so the driver is asked to send it
// CLUSTER FAILOVER instead.
import Base
import HashSlots

struct ManualFailover: Sendable {
    static let timeout = Milliseconds(5000)

    /// When it is given up; nil when none is going on.
    var end: Instant?
    /// On the primary: who takes over.
    var replica: NodeHandle?
    /// On the primary: this is a hand-over before a stop.
    var isHandover = false
    /// On the replica: where the primary stopped.
    var primaryOffset: Int64?
    /// On the replica: everything is applied (or nobody asks), votes may be requested.
    var canStart = false
}

extension ClusterState {
    mutating func resetManualFailover() {
        if manual.replica != nil { act(.unpauseWrites) }
        manual = ManualFailover()
    }

    mutating func checkManualFailoverTimeout() {
        checkHandover()
        guard let end = manual.end, end < now.instant else { return }
        log(.warning, .manualTimedOut)
        if manual.isHandover { return endHandover(failed: "no replica took over in time") }
        resetManualFailover()
    }

    // MARK: The replica's side

    mutating func startManualFailover(_ kind: FailoverKind) {
        invariant(me.isReplica && me.primary != nil, "only a replica takes over")
        resetManualFailover()
        election = Election()
        manual.end = now.instant + ManualFailover.timeout
        switch kind {
        case .takeover:
            log(.notice, .takeover)
            _ = bumpEpoch()
            raiseEpochAbovePrimary()
            replacePrimary(why: .takeover)
        case .force:
            log(.notice, .manualForced)
            manual.canStart = true
            todo.insert(.failover)
        case .coordinated:
            log(.notice, .manualAccepted)
            if let primary = me.primary { send(.manualStart, .empty, to: primary) }
        }
    }

    /// A replica's own epoch may be left from long ago; its claim must beat the primary's.
    private mutating func raiseEpochAbovePrimary() {
        guard let primary = me.primary, me.configEpoch <= nodes[primary].configEpoch else { return }
        currentEpoch = maxEpoch + 1
        me.configEpoch = currentEpoch
        todo.insert([.save, .sync, .barrier])
    }

    /// Looks at every packet of the primary for the offset at which it paused.
    mutating func noteManualOffset(from sender: NodeHandle, _ header: BusHeader) {
        guard me.isReplica, me.primary == sender, header.messageFlags.contains(.paused) else {
            return
        }
        if manual.end == nil, header.messageFlags.contains(.handover), !config.replicaNoFailover {
            log(.notice, .handoverAccepted(from: nodes[sender].id))
            election = Election()
            manual.end = now.instant + ManualFailover.timeout
        }
        guard manual.end != nil, manual.primaryOffset == nil, !manual.canStart else { return }
        manual.primaryOffset = Int64(bitPattern: header.offset)
        log(.notice, .manualOffset(Int64(bitPattern: header.offset)))
        todo.insert(.manualFailover)
    }

    mutating func advanceManualFailover() {
        guard me.isReplica, manual.end != nil, !manual.canStart, let offset = manual.primaryOffset
        else { return }
        guard facts.replicationOffset >= offset else { return }
        manual.canStart = true
        log(.notice, .manualReady)
        todo.insert(.failover)
        advanceElection()
    }

    // MARK: The primary's side

    mutating func manualStartRequested(by replica: NodeHandle, on link: LinkID) {
        guard me.isPrimary, nodes[replica].primary == NodeTable.myself else { return }
        if manual.isHandover { return }
        resetManualFailover()
        pause(for: replica)
        log(.notice, .manualRequested(by: nodes[replica].id))
        // Our offset at once, on the link that the request came by.
        sendPing(.ping, on: link)
    }

    private mutating func pause(for replica: NodeHandle) {
        manual.end = now.instant + ManualFailover.timeout
        manual.replica = replica
        act(.pauseWrites(until: now.instant + ManualFailover.timeout * 2))
    }

    // MARK: Hand-over before a stop

    mutating func startHandover() {
        guard me.isPrimary, !me.slots.isEmpty else { return act(.handoverDone) }
        if manual.isHandover { return }
        guard let replica = bestReplica else {
            return act(.handoverFailed("no replica is connected"))
        }
        resetManualFailover()
        manual.isHandover = true
        pause(for: replica)
        offerHandover(to: replica)
    }

    private mutating func offerHandover(to replica: NodeHandle) {
        log(.notice, .handoverStarted(to: nodes[replica].id))
        if nodes[replica].isExtended {
            sendPing(.ping, to: replica)
        } else {
            act(.sendFailoverCommand(host: nodes[replica].ip, port: clientPort(of: replica)))
        }
    }

    /// A hand-over must not wait for what cannot come: when its replica is gone it goes to the next
    /// one, and without a majority of primaries nobody can be voted for. All nodes stopping at once
    /// is the ordinary case of both.
    mutating func checkHandover() {
        guard manual.isHandover, let replica = manual.replica else { return }
        let votes = nodes.handles.count { node in
            nodes[node].isVoting && nodes[node].isReachable
                && (node == NodeTable.myself || openLink(of: node) != nil)
        }
        if votes + reachableVoters < quorum {
            return endHandover(failed: "too few primaries are left to vote")
        }
        if openLink(of: replica) != nil, nodes[replica].isReachable { return }
        guard let next = bestReplica else { return endHandover(failed: "its replica is gone") }
        pause(for: next)
        offerHandover(to: next)
    }

    /// The reachable replica with most data; the smaller ID of two equals.
    private var bestReplica: NodeHandle? {
        var best: NodeHandle?
        for replica in me.replicas {
            let record = nodes[replica]
            let hasData = record.offset > 0 || facts.replicationOffset == 0
            guard record.isReachable, openLink(of: replica) != nil, hasData,
                !record.flags.contains(.noFailover)
            else { continue }
            if let other = best {
                let known = nodes[other]
                if known.offset > record.offset { continue }
                if known.offset == record.offset, known.id < record.id { continue }
            }
            best = replica
        }
        return best
    }

    mutating func cancelHandover() {
        if manual.isHandover { endHandover(failed: "cancelled") }
    }

    private mutating func endHandover(failed why: String) {
        resetManualFailover()
        log(.warning, .handoverEnded(why))
        act(.handoverFailed(why))
    }

    /// The slots are another node's: this one may stop.
    mutating func endHandover() {
        resetManualFailover()
        log(.notice, .handoverEnded("done"))
        act(.handoverDone)
    }
}
