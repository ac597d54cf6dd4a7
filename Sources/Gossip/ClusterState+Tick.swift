// What time alone causes. Ten times a second the reference's round: reconnect, ping, suspect,
// migrate. In between only the timers that count in milliseconds.
//
// Pings are more frequent here than in the reference (which waits half a node timeout): a primary
// may serve only as long as a majority has answered it within the node timeout, and a hung one
// should be noticed little later than the node timeout. The interval grows with the cluster, so
// that a thousand nodes do not drown in pings.
import Base
import HashSlots

extension ClusterState {
    /// The driver should tick by then at the latest.
    public var nextDeadline: Instant { min(nextCron, health.wakeAt ?? nextCron) }

    /// Asks for a tick at `time`.
    mutating func wake(at time: Instant) { health.wakeAt = min(health.wakeAt ?? time, time) }

    mutating func tick() {
        health.wakeAt = nil
        if now.instant >= nextCron {
            nextCron = now.instant + Milliseconds(100)
            cron()
        } else {
            for node in nodes.handles {
                checkForReturn(of: node)
                reconnectIfDue(node)
            }
        }
        checkLease()
        checkManualFailoverTimeout()
        advanceEmptyStart()
        advanceVoterChange()
        if me.isReplica {
            advanceManualFailover()
            advanceElection()
        }
        gossipSuspects()
    }

    private mutating func cron() {
        cronCount += 1
        expireBlacklist()
        expireReports()
        reconnectAll()
        if cronCount % 10 == 0 { pingSomebody() }
        watchNodes()
        if me.isReplica, health.replicationTarget == nil { replicateFromPrimary() }
        if me.isReplica { considerMigration() }
        if !isUp || voters.version > 0 { todo.insert(.updateState) }
        if !voterRecords.isEmpty { expireVoters() }
    }

    private mutating func reconnectAll() {
        // A handshake that leads nowhere ends after a node timeout, but has a second at least.
        let handshakeTimeout = max(config.nodeTimeout, Milliseconds(1000))
        for node in nodes.handles {
            if nodes[node].isHandshake, now.instant - nodes[node].created > handshakeTimeout {
                forget(node)
            } else {
                checkForReturn(of: node)
                reconnectIfDue(node)
            }
        }
    }

    /// Once a second, of five random nodes the one that was not heard for the longest time.
    private mutating func pingSomebody() {
        var chosen: NodeHandle?
        let handles = nodes.handles
        for _ in 0..<5 {
            let node = handles[random.below(handles.count)]
            let record = nodes[node]
            if openLink(of: node) == nil || record.pingSent != nil { continue }
            if !record.flags.isDisjoint(with: [.myself, .handshake]) { continue }
            let heard = record.pongReceived ?? .start
            if let best = chosen, nodes[best].pongReceived ?? .start <= heard { continue }
            chosen = node
        }
        if let chosen { sendPing(.ping, to: chosen) }
    }

    var pingInterval: Milliseconds {
        let half = config.nodeTimeout / 2
        if config.pingInterval > .zero { return min(config.pingInterval, half) }
        let wanted = max(config.nodeTimeout / 10, Milliseconds(Int64(nodes.count) * 5))
        return max(Milliseconds(1), min(half, max(wanted, Milliseconds(100))))
    }

    private mutating func watchNodes() {
        let timeout = config.nodeTimeout
        for node in nodes.handles {
            let record = nodes[node]
            if !record.flags.isDisjoint(with: [.myself, .noAddress, .handshake]) { continue }
            let silence = now.instant - record.dataReceived
            renewSilentLink(to: node, silence)
            let link = openLink(of: node)
            if link != nil, needsPing(node) {
                sendPing(.ping, to: node)
                continue
            }
            guard let pingSent = nodes[node].pingSent else { continue }
            // All traffic is a sign of life: pongs may queue behind a lot of pub/sub.
            let delay = min(now.instant - pingSent, silence)
            if delay > timeout, nodes[node].isReachable, !emptyStart.isWaiting {
                log(.debug, .possiblyFailing(record.id))
                suspect(node)
            } else if delay <= timeout {
                wake(at: now.instant + (timeout - delay) + Milliseconds(1))
            }
        }
    }

    private func needsPing(_ node: NodeHandle) -> Bool {
        let record = nodes[node]
        if manual.end != nil, me.isPrimary, manual.replica == node { return true }
        guard record.pingSent == nil else { return false }
        let interval = pingInterval
        if now.instant - (record.pongReceived ?? .start) >= interval { return true }
        // The lease counts only what this node was told itself.
        guard me.isVoting, record.isVoting else { return false }
        return now.instant - (record.confirmedSend ?? .start) >= interval
    }

    /// No traffic at all for half a timeout: perhaps only the connection is broken. Or traffic, but
    /// on the peer's own link only, and no answer on ours for a whole timeout (the reference would
    /// wait for ever): this one is stuck, and neither pings nor the lease go on before a new one.
    /// Nor does a connection that does not come about: the kernel would try it ever more rarely.
    private mutating func renewSilentLink(to node: NodeHandle, _ silence: Milliseconds) {
        guard let link = nodes[node].link, let state = links[link],
            now.instant - state.created > config.nodeTimeout
        else { return }
        let isSilent =
            silence > config.nodeTimeout / 2
            && (nodes[node].pingSent.map { now.instant - $0 > config.nodeTimeout / 2 } ?? false)
        let isStuck =
            !state.isOpen
            || (state.pings.first.map { now.instant - $0 > config.nodeTimeout } ?? false)
        guard isSilent || isStuck else { return }
        close(link)
        reconnectIfDue(node)
    }
}
