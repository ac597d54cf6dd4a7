// Whether this node may serve: all slots covered (if asked for), and a majority of the primaries
// (and of the voters, if there are any: VoterSet.swift) in sight.
//
// "In sight" is a lease for a primary that owns slots (ours; the reference looks at its failure
// flags, and can go on writing for up to half a node timeout after it was replaced). Another
// primary suspects this one only when a node timeout has passed since it last heard from it. A
// PONG proves that the peer heard our PING, so it cannot suspect us before that PING's send time
// plus the node timeout. As long as that holds for enough peers to make a majority with us, no
// majority can have agreed that we failed. When it ends we stop, at most a tick later; a margin of
// a twentieth covers clocks that run at different rates and the tick. Evidence of a crash needs no
// lease: it is about processes that are dead.
//
// When the majority is back we still wait as the reference does (a node timeout, within 0.5 to
// 5 s), to hear of a successor first; and after a start 2 s.
import Base
import HashSlots

struct ClusterHealth: Sendable {
    /// The last time this node was with a minority.
    var minorityTime: Instant?
    /// The lease as of the last look; answers since then can only have extended it.
    var leaseUntil: Instant?
    var wakeAt: Instant?
    var hasNewSuspect = false
    /// Whom the driver was told to replicate.
    var replicationTarget: NodeID?
}

extension ClusterState {
    private static let writableDelay = Milliseconds(2000)

    var leaseDuration: Milliseconds { config.nodeTimeout - config.nodeTimeout / 20 }

    /// When this primary must stop serving unless it hears more. A driver whose clock jumped past
    /// it (the process was stopped) must tick before it serves a client.
    public var leaseDeadline: Instant? { isUp && me.isVoting ? health.leaseUntil : nil }

    mutating func checkLease() {
        guard isUp, me.isVoting else { return }
        health.leaseUntil = computeLease()
        guard let until = health.leaseUntil else { return }
        if until <= now.instant {
            log(.warning, .leaseExpired)
            todo.insert(.updateState)
        } else {
            wake(at: until)
        }
    }

    mutating func updateState() {
        let wasUp = isUp
        size = votingCount
        if me.isPrimary, !isUp, now.instant - started < ClusterState.writableDelay { return }
        var shouldBeUp = !config.requiresFullCoverage || isCovered
        if isMinority {
            shouldBeUp = false
            health.minorityTime = now.instant
        }
        if emptyStart.isWaiting || emptyStart.isComparing { shouldBeUp = false }
        guard shouldBeUp != wasUp else { return }
        if shouldBeUp, me.isPrimary, let minority = health.minorityTime,
            now.instant - minority < rejoinDelay
        {
            return
        }
        isUp = shouldBeUp
        log(shouldBeUp ? .notice : .warning, .stateChanged(isUp: shouldBeUp))
        act(.clusterStateChanged(isUp: shouldBeUp))
        if !shouldBeUp, me.isVoting, isMinority { act(.authorityLost) }
        todo.insert(.routing)
        if shouldBeUp { checkLease() }
    }

    private var rejoinDelay: Milliseconds {
        min(max(config.nodeTimeout, Milliseconds(500)), Milliseconds(5000))
    }

    private var isCovered: Bool {
        var covered = 0
        for node in nodes.handles where !nodes[node].isFailed { covered += nodes[node].slots.count }
        return covered == Slot.count
    }

    private var isMinority: Bool {
        if !seesMajority { return true }
        guard me.isVoting, let lease = computeLease() else { return false }
        return lease <= now.instant
    }
}
