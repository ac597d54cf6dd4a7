// A dead process in milliseconds instead of a node timeout (ours; the reference has only the
// timeout). When a process dies, its kernel closes its connections and from then on refuses new
// ones. So: a link that was up breaks, we connect again at once, and the connection is refused:
// evidence. One refusal could be the moment between a process that stops and its successor that
// starts, so there must be at least two, 25 ms apart; then the node is suspected (PFAIL) and
// everybody hears of it at once. A majority of primaries with the same evidence makes it FAIL; a
// Redis node just sees an ordinary failure report.
//
// A container takes its address along when it dies: its kernel still closes the connections, but
// soon nobody is there to refuse new ones. So a link that its end closed, and no new one in 400 ms
// whatever became of the attempts, is evidence too.
//
// What is no evidence: a link that never was up in the life of this process (a cluster that
// starts node by node would fail over), one that just falls silent (a hung host or a partition:
// the node timeout decides), and anything about a node that talks to us on its own link.
//
// A node that really is back before the second refusal is reached again and nothing happened; one
// that comes back later finds itself replaced, and becomes a replica as after any failover.
//
// Attempts to reconnect are paced: 100 ms apart in the first seconds, then up to 1 s. A node that
// returns calls us and is called back at once, so the pace costs nothing.
import Base
import HashSlots

/// Why a node counts as crashed.
public enum CrashEvidence: Sendable, Equatable {
    /// It refused so many connections.
    case refusals(Int)
    /// No connection came about for so long.
    case silence(Milliseconds)

    var text: String {
        switch self {
        case .refusals(let count): "it refused \(count) connections"
        case .silence(let time): "no connection came about for \(time.count) ms"
        }
    }
}

/// What is known about a connection that does not stand.
struct CrashProbe: Sendable {
    static let refusalsNeeded = 2
    static let spacing = Milliseconds(25)
    /// So long after a loss, attempts that led to nothing are as good as refusals.
    static let patience = Milliseconds(400)
    /// Older losses prove nothing any more.
    static let validity = Milliseconds(2000)

    /// When a link that was up broke.
    private(set) var lostAt: Instant?
    private(set) var refusals = 0
    private(set) var nextAttempt = Instant.start
    private var attempts: Int64 = 0

    mutating func lost(at now: Instant) {
        lostAt = now
        refusals = 0
        attempts = 0
        nextAttempt = now
    }

    mutating func connected() {
        lostAt = nil
        refusals = 0
        attempts = 0
    }

    /// It speaks, so it lives; call it back at once.
    mutating func heard(at now: Instant) {
        lostAt = nil
        refusals = 0
        nextAttempt = min(nextAttempt, now)
    }

    /// A connection was refused. True when that was the last piece of evidence.
    mutating func refused(at now: Instant) -> Bool {
        guard let lostAt, now - lostAt <= CrashProbe.validity else {
            failed(at: now)
            return false
        }
        refusals += 1
        nextAttempt = now + CrashProbe.spacing
        guard refusals >= CrashProbe.refusalsNeeded else { return false }
        self.lostAt = nil
        failed(at: now)
        return true
    }

    /// True once when its time to come back is over and it was not `heard` meanwhile; what it sent
    /// before its death may still have been under way.
    mutating func isGone(at now: Instant, lastHeard heard: Instant) -> Bool {
        guard let lostAt, now - lostAt >= CrashProbe.patience else { return false }
        self.lostAt = nil
        return now - lostAt <= CrashProbe.validity && heard - lostAt <= CrashProbe.patience / 4
    }

    mutating func failed(at now: Instant) {
        attempts += 1
        let pace = attempts <= 20 ? 100 : min(1000, attempts * 10)
        nextAttempt = now + Milliseconds(pace)
    }

    mutating func retry(at time: Instant) { nextAttempt = max(nextAttempt, time) }
}

extension ClusterState {
    /// A link that was up is gone.
    mutating func linkLost(to node: NodeHandle, _ why: LinkFailure) {
        log(.verbose, .linkLost(nodes[node].id, why))
        let isEvidence = why == .reset || why == .closedByPeer
        if isEvidence, nodes[node].wasHeard, !nodes[node].isHandshake {
            nodes[node].probe.lost(at: now.instant)
            wake(at: now.instant + CrashProbe.patience)
        } else {
            nodes[node].probe.retry(at: now.instant + Milliseconds(100))
        }
        // The node timeout runs from here even if no ping was under way.
        if nodes[node].pingSent == nil { nodes[node].pingSent = now.instant }
        reconnectIfDue(node)
        checkHandover()
    }

    mutating func connectFailed(to node: NodeHandle, _ why: LinkFailure) {
        let record = nodes[node]
        log(.debug, .connectFailed(record.id, host: record.ip, port: record.busPort, why))
        if nodes[node].pingSent == nil { nodes[node].pingSent = now.instant }
        guard why == .refused, config.detectsCrashes else {
            nodes[node].probe.failed(at: now.instant)
            return wake(at: nodes[node].probe.nextAttempt)
        }
        let isEstablished = nodes[node].probe.refused(at: now.instant)
        wake(at: nodes[node].probe.nextAttempt)
        if isEstablished {
            establishCrash(of: node, .refusals(CrashProbe.refusalsNeeded))
        } else if nodes[node].probe.refusals > 0 {
            log(.verbose, .crashSuspected(nodes[node].id))
        }
    }

    private mutating func establishCrash(of node: NodeHandle, _ evidence: CrashEvidence) {
        guard nodes[node].isReachable, !emptyStart.isWaiting else { return }
        log(.notice, .crashEstablished(nodes[node].id, evidence))
        nodes[node].leaseConfirmed = nil
        suspect(node)
        gossipSuspects()
    }

    /// A node whose link its end closed has had the time to come back. The attempt that still
    /// hangs is given up: the kernel would repeat it ever more rarely.
    mutating func checkForReturn(of node: NodeHandle) {
        let heard = nodes[node].dataReceived
        guard nodes[node].probe.isGone(at: now.instant, lastHeard: heard), config.detectsCrashes
        else { return }
        establishCrash(of: node, .silence(CrashProbe.patience))
        if let link = nodes[node].link { close(link) }
    }

    /// Connects to `node` when it has no link and its time has come.
    mutating func reconnectIfDue(_ node: NodeHandle) {
        let record = nodes[node]
        guard node != NodeTable.myself, record.link == nil, record.hasAddress else { return }
        guard !record.ip.isEmpty, record.busPort > 0 else { return }
        if record.probe.nextAttempt > now.instant { return wake(at: record.probe.nextAttempt) }
        openLink(to: node)
    }
}
