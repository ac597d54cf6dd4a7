// A primary that comes back without its data (no persistence, or the disk was lost) must not wipe
// the replicas that still hold it. The reference serves the slots at once, empty, and its replicas
// resynchronise with nothing. Here such a primary waits to be replaced:
//
// * The cluster is down as far as it is concerned: no command is served.
// * It serves no replica (`refuseReplicas`), so nobody resynchronises from it.
// * It plays dead on the bus: it reads but answers no ping, so that primaries of any make mark it
//   failed after the node timeout, and a replica of any make is elected.
// * To its replicas alone it sends pings that say "my data is lost"; a replica of ours then asks
//   for votes at once, with the flag that lets primaries vote while ours is up.
// * It is over when another node owns the slots: it becomes a replica, and gets its data back.
//
// nodes.conf may be too old to list a replica (a primary that crashes right after its promotion
// does not know yet that its predecessor follows it), so every such primary waits at least 1.5 s
// for one to show up; a primary does not serve in its first 2 s anyway.
//
// It also ends when there is nothing to protect: every replica was heard, and none holds data; or,
// after `cluster-empty-primary-wait`, none that was heard holds any (one that was not heard may be
// gone for good). While a replica with data lives it never ends by itself.
//
// A primary that comes back with an old snapshot is in the same position as soon as one of its
// replicas is known to be ahead of it. Until all were heard, or the shortest wait is over, it
// serves nobody and no replica, but plays no tricks on the bus.
// `cluster-allow-empty-primary-restart` turns all this off.
import Base
import HashSlots

struct EmptyStart: Sendable {
    static let shortestWait = Milliseconds(1500)

    var isWaiting = false
    /// Came back with data: asks the replicas whether they have more.
    var isComparing = false
    var since = Instant.start
    var nextReport = Instant.start
    /// The question is put once in the life of a process.
    var isDecided = false
}

extension ClusterState {
    /// True while this primary waits to be replaced; PSYNC is refused for that reason.
    public var isWaitingToBeReplaced: Bool { emptyStart.isWaiting }

    mutating func take(_ facts: LocalFacts) {
        self.facts = facts
        if manual.primaryOffset != nil, !manual.canStart { todo.insert(.manualFailover) }
        guard !emptyStart.isDecided, !facts.isLoading else { return }
        emptyStart.isDecided = true
        guard !config.allowsEmptyPrimaryRestart, me.isPrimary, !me.slots.isEmpty, nodes.count > 1
        else { return }
        emptyStart.since = now.instant
        if facts.startedEmpty, !facts.hasData {
            beginWaiting()
        } else if facts.startOffset != nil {
            emptyStart.isComparing = true
            act(.refuseReplicas(true))
        }
    }

    private mutating func beginWaiting() {
        emptyStart.isComparing = false
        emptyStart.isWaiting = true
        emptyStart.nextReport = now.instant + Milliseconds(10000)
        log(.warning, .emptyStart(replicas: me.replicas.count))
        act(.refuseReplicas(true))
        todo.insert(.updateState)
    }

    /// Whether a replica that was heard holds more than this process came up with.
    private var isReplicaAhead: Bool {
        let mine = facts.startOffset ?? 0
        return me.replicas.contains { nodes[$0].wasHeard && nodes[$0].offset > mine }
    }

    private mutating func compareWithReplicas() {
        guard emptyStart.isComparing else { return }
        if me.isPrimary, !me.slots.isEmpty, isReplicaAhead { return beginWaiting() }
        let isOver = now.instant - emptyStart.since >= EmptyStart.shortestWait
        guard !me.isPrimary || me.slots.isEmpty || isOver else { return }
        emptyStart.isComparing = false
        act(.refuseReplicas(false))
        todo.insert(.updateState)
    }

    mutating func advanceEmptyStart() {
        compareWithReplicas()
        guard emptyStart.isWaiting else { return }
        if let reason = reasonToStopWaiting { return endEmptyStart(reason) }
        if now.instant >= emptyStart.nextReport {
            emptyStart.nextReport = now.instant + Milliseconds(10000)
            log(.warning, .emptyWaiting("no replica has taken over yet"))
        }
        // What the pings of an ordinary node do in passing.
        for replica in me.replicas where nodes[replica].pingSent == nil {
            sendPing(.ping, to: replica)
        }
    }

    private var reasonToStopWaiting: String? {
        if !me.isPrimary || me.slots.isEmpty { return "another node owns the slots" }
        if config.allowsEmptyPrimaryRestart { return "cluster-allow-empty-primary-restart is set" }
        let waited = now.instant - emptyStart.since
        if waited < EmptyStart.shortestWait { return nil }
        if me.replicas.isEmpty { return "there are no replicas" }
        let heard = me.replicas.filter { nodes[$0].wasHeard }
        if isReplicaAhead { return nil }
        if heard.count == me.replicas.count { return "no replica holds data" }
        if waited > config.emptyPrimaryWait {
            return "no replica with data was heard"
        }
        return nil
    }

    private mutating func endEmptyStart(_ reason: String) {
        invariant(emptyStart.isWaiting, "only a wait can end")
        emptyStart.isWaiting = false
        log(.warning, .emptyOver(reason))
        act(.refuseReplicas(false))
        // Pings that were not sent while playing dead are not waited for.
        nodes.updateEach { $0.pingSent = nil }
        answerOwedPings()
        todo.insert(.updateState)
    }

    /// The pings that came while playing dead are answered now. A peer sends no second ping while
    /// it waits for the answer to the first, and keeps its link as long as it hears anything of
    /// us: without this it would take us for failed for good.
    private mutating func answerOwedPings() {
        for node in nodes.handles {
            if let link = nodes[node].inbound { sendPing(.pong, on: link) }
        }
    }

    /// The replica's side: its primary says that its data is lost.
    mutating func noteLostData(of sender: NodeHandle, _ header: BusHeader) {
        guard me.primary == sender, header.messageFlags.contains(.dataLost) else { return }
        guard !config.replicaNoFailover, facts.replicationOffset > 0 else { return }
        if election.lostDataAt == nil { log(.warning, .replacingEmptyPrimary(nodes[sender].id)) }
        election.lostDataAt = now.instant
        todo.insert(.failover)
    }
}
