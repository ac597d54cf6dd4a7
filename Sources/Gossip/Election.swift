// How a replica takes the place of its failed primary: it asks all primaries for their vote in a
// new epoch; a majority makes it primary, under that epoch, of all the slots.
//
// What the reference fixes is kept: who may ask (FAIL, fresh enough data, slots to take over),
// what a vote is (one per epoch and primary, on disk before it is sent), what winning means. What
// is ours is the timing. The reference waits 0.5 to 1 s so that FAIL can spread, 1 s per rank, and
// at least 4 s before it tries again. Here:
//
// * The candidate sends FAIL to everybody right before its request, on the same connections, so
//   a voter that did not know yet knows when it reads the request. Nothing to wait for.
// * Rank 0 starts at once; each further rank waits 200 ms more. Equal offsets are ordered by ID,
//   so two replicas do not start together. If a brother's offset is older than the failure, the
//   candidate waits up to 50 ms for the offsets that all of them send now.
// * Of several failed primaries the one with the smaller ID is replaced first, 60 ms earlier.
// * An attempt lasts a quarter of the node timeout (0.25 to 1 s), then the next one begins, each
//   twice as long up to two node timeouts, for a Redis voter that gave its vote answers no second
//   request about the same primary before that.
//
// Trying again soon is safe: each attempt has its own epoch, a voter votes once per epoch and its
// vote names that epoch, and votes of another epoch do not count. Two candidates could only both
// win in different epochs; therefore our voters do not vote for another candidate of the same
// primary within a node timeout, and a candidate gives up when a brother asks in a later epoch.
import Base
import HashSlots

struct Election: Sendable {
    enum Phase: Sendable, Equatable {
        case idle
        /// Will ask at the time that `askAt` says.
        case waiting
        /// Asked; votes may come until `deadline`.
        case asked
        /// Has the votes, and compares offsets once more (`+Consent`), until `deadline` too.
        case comparing
    }

    static let rankDelay = Milliseconds(200)
    static let offsetDelay = Milliseconds(50)
    static let shardDelay = Milliseconds(60)

    var phase = Phase.idle
    /// When this attempt was scheduled; the delay counts from here.
    var base = Instant.start
    var askAt = Instant.start
    var deadline = Instant.start
    var rank = 0
    var epoch: UInt64 = 0
    var votes = SortedTable<NodeID, Bool>()
    /// When the votes were enough.
    var votedAt: Instant?
    var consents = SortedTable<NodeID, Consent>()
    var consentAskedAt: Instant?
    var attempt = 0
    /// The primary said that it lost its data.
    var lostDataAt: Instant?
    var obstacle = FailoverObstacle.none
    var obstacleLoggedAt: Instant?

    var isWaiting: Bool { phase == .waiting }
    /// It has asked for votes and may still win.
    var isRunning: Bool { phase == .asked || phase == .comparing }
}

extension ClusterState {
    mutating func advanceElection() {
        guard let primary = me.primary, me.isReplica, isElectionDue(primary) else {
            if election.phase != .idle { election = Election() }
            election.obstacle = .none
            return
        }
        let isManual = manual.canStart
        if !isManual, let obstacle = dataObstacle { return report(obstacle) }
        switch election.phase {
        case .idle: scheduleElection(primary, isManual: isManual)
        case .waiting: advanceWaiting(primary, isManual: isManual)
        case .asked, .comparing: countVotes(primary, isManual: isManual)
        }
    }

    private func isElectionDue(_ primary: NodeHandle) -> Bool {
        if nodes[primary].slots.isEmpty { return false }
        if manual.canStart { return true }
        if config.replicaNoFailover { return false }
        return nodes[primary].isFailed || hasLostData(primary)
    }

    func hasLostData(_ primary: NodeHandle) -> Bool {
        guard let time = election.lostDataAt else { return false }
        return now.instant - time <= config.nodeTimeout
    }

    /// Why this replica's data is no fit base for a primary.
    private var dataObstacle: FailoverObstacle? {
        if facts.isLoading { return .noData }
        // Neither its own nor a primary's: nothing that anybody wrote ever got here. One that has a
        // place in the history counts, with no keys too: others wait for it.
        let hasNeverHadData = facts.startedEmpty && !facts.hasData
            && facts.primaryContact == nil && facts.replicationOffset == 0
        if hasNeverHadData { return .noData }
        // Old data is better than the nothing that a primary without its data offers.
        if let primary = me.primary, hasLostData(primary) { return nil }
        guard config.replicaValidityFactor > 0 else { return nil }
        // Who was the primary itself until it was replaced lacks what its successor acknowledged.
        guard let contact = facts.primaryContact else { return .dataAge }
        var age = now.instant - contact
        if age > config.nodeTimeout { age = age - config.nodeTimeout }
        let limit = config.replicationPingPeriod
            + config.nodeTimeout * Int64(config.replicaValidityFactor)
        return age > limit ? .dataAge : nil
    }

    // MARK: Before asking

    private mutating func scheduleElection(_ primary: NodeHandle, isManual: Bool) {
        election.phase = .waiting
        election.base = now.instant
        election.votes.removeAll()
        election.rank = isManual ? 0 : rank(under: primary)
        let delay = isManual ? .zero : electionDelay(primary)
        election.askAt = now.instant + delay
        log(
            .notice,
            .electionScheduled(
                delay: delay, rank: election.rank, offset: facts.replicationOffset))
        // The brothers decide by our offset whether they go first.
        broadcastPongToShard()
        if delay <= .zero { askIfAgreed(primary, isManual: isManual) }
        if election.isWaiting { wake(at: max(election.askAt, now.instant + Milliseconds(1))) }
    }

    private mutating func advanceWaiting(_ primary: NodeHandle, isManual: Bool) {
        if !isManual {
            let newRank = rank(under: primary)
            if newRank > election.rank {
                let added = Election.rankDelay * Int64(newRank - election.rank)
                log(.notice, .rankChanged(newRank, added: added))
            }
            election.rank = newRank
            election.askAt = election.base + electionDelay(primary)
        }
        guard election.askAt <= now.instant || isManual else {
            report(.waitingDelay)
            return wake(at: election.askAt)
        }
        askIfAgreed(primary, isManual: isManual)
    }

    private mutating func askIfAgreed(_ primary: NodeHandle, isManual: Bool) {
        if !isManual, lacksConsent(primary) {
            askForConsent(primary)
            report(.waitingConsents)
            return wake(at: now.instant + Election.consentPeriod)
        }
        ask()
    }

    /// How many brothers should go first: those with more data, or as much and a smaller ID.
    private func rank(under primary: NodeHandle) -> Int {
        let mine = facts.replicationOffset
        return competitors(under: primary).reduce(0) { rank, brother in
            let record = nodes[brother]
            let isBetter = record.offset > mine || (record.offset == mine && record.id < me.id)
            return rank + (isBetter ? 1 : 0)
        }
    }

    private func competitors(under primary: NodeHandle) -> [NodeHandle] {
        nodes[primary].replicas.filter { brother in
            brother != NodeTable.myself && !nodes[brother].isFailed
                && !nodes[brother].flags.contains(.noFailover)
        }
    }

    private func electionDelay(_ primary: NodeHandle) -> Milliseconds {
        let stopped = offsetsFrozenSince(primary)
        let isComplete = competitors(under: primary).allSatisfy { brother in
            nodes[brother].isSuspect || (nodes[brother].offsetTime ?? .start) >= stopped
        }
        let wait: Milliseconds = isComplete ? .zero : Election.offsetDelay
        let backoff = Milliseconds(election.attempt == 0 ? 0 : Int64(20 * election.rank))
        return wait + Election.rankDelay * Int64(election.rank) + backoff
            + Election.shardDelay * Int64(failedBefore(primary))
    }

    /// Several primaries that fail at once are replaced one after the other: two candidates in one
    /// epoch would share the votes.
    private func failedBefore(_ primary: NodeHandle) -> Int {
        nodes.handles.count { node in
            nodes[node].isVoting && nodes[node].isFailed && nodes[node].id < nodes[primary].id
        }
    }

    /// Since when no replica can have received anything more from `primary`.
    private func offsetsFrozenSince(_ primary: NodeHandle) -> Instant {
        let failTime = nodes[primary].failTime
        return min(facts.primaryLinkLostAt ?? failTime, failTime)
    }

    // MARK: Asking and winning

    private mutating func ask() {
        invariant(me.isReplica, "only a replica asks for votes")
        currentEpoch += 1
        // Asking uses up the own vote: a winner counts as a voter at once, and with those that did
        // not vote for it could make a second majority in the epoch of its own election.
        lastVoteEpoch = currentEpoch
        election.phase = .asked
        election.epoch = currentEpoch
        election.votes.removeAll()
        election.votedAt = nil
        election.deadline = now.instant + attemptTime
        log(.notice, .electionStarted(currentEpoch))
        var flags: MessageFlags = []
        if manual.canStart || election.lostDataAt != nil { flags.insert(.forceAck) }
        if let primary = me.primary, nodes[primary].isFailed {
            broadcast(.fail, .fail(nodes[primary].id))
        }
        broadcast(.authRequest, .empty, flags: flags)
        todo.insert([.save, .sync, .barrier, .updateState])
        wake(at: election.deadline)
    }

    private var attemptTime: Milliseconds {
        let first = min(max(config.nodeTimeout / 4, Milliseconds(250)), Milliseconds(1000))
        let doubled = first * (1 &<< Int64(min(election.attempt, 6)))
        return min(doubled, longestAttempt)
    }

    /// Voters keep their word for as long (LeaseConfirmation.swift).
    var longestAttempt: Milliseconds { max(config.nodeTimeout * 2, Milliseconds(2000)) }

    mutating func takeVote(from voter: NodeHandle, _ header: BusHeader) {
        guard nodes[voter].isVoting else { return }
        // A vote is given once per epoch, and its header names that epoch.
        if me.isPrimary, voterChange.phase == .asked, header.currentEpoch >= voterChange.epoch {
            return takeRightVote(from: nodes[voter].id, epoch: voterChange.epoch)
        }
        guard election.phase == .asked, header.currentEpoch >= election.epoch else { return }
        election.votes[nodes[voter].id] = true
        todo.insert(.failover)
    }

    private mutating func countVotes(_ primary: NodeHandle, isManual: Bool) {
        // Votes that are read later, by a process that stood still, may be superseded.
        guard now.instant >= election.deadline else {
            return advanceCounting(primary, isManual: isManual)
        }
        log(
            .notice,
            .electionExpired(epoch: election.epoch, votes: election.votes.count, quorum: quorum))
        report(.expired)
        tryAgain()
    }

    private mutating func advanceCounting(_ primary: NodeHandle, isManual: Bool) {
        if election.phase == .asked, election.votes.count >= quorum {
            election.phase = .comparing
            election.votedAt = now.instant
            election.consentAskedAt = nil
        }
        guard election.phase == .comparing else {
            report(.waitingVotes)
            return wake(at: election.deadline)
        }
        guard !isManual, lacksConsent(primary) else { return win() }
        askForConsent(primary)
        report(.waitingConsents)
        wake(at: min(now.instant + Election.consentPeriod, election.deadline))
    }

    /// The next attempt, after a short random pause that keeps candidates apart.
    mutating func tryAgain() {
        let attempt = election.attempt + 1
        let lostData = election.lostDataAt
        election.attempt = attempt
        election.phase = .waiting
        election.votedAt = nil
        election.base = now.instant + Milliseconds(Int64(random.below(100)))
        election.askAt = election.base
        election.lostDataAt = lostData
        wake(at: election.askAt)
    }

    /// A brother asks in a later epoch: whoever votes for it must not find us a winner as well.
    mutating func noteRival(_ rival: NodeHandle, _ header: BusHeader) {
        guard election.isRunning, nodes[rival].primary == me.primary, me.primary != nil,
            header.currentEpoch > election.epoch
        else { return }
        election.votes.removeAll()
        tryAgain()
        election.base = now.instant + attemptTime
        election.askAt = election.base
    }

    private mutating func win() {
        // A primary that lives (manual failover) may have moved on to a later epoch meanwhile.
        guard let old = me.primary, max(me.configEpoch, election.epoch) > nodes[old].configEpoch
        else { return tryAgain() }
        log(.notice, .electionWon)
        if me.configEpoch < election.epoch {
            me.configEpoch = election.epoch
            log(.notice, .epochWon(election.epoch))
        }
        replacePrimary(why: .electionWon)
    }

    /// This replica becomes the primary, with all slots. The epoch is in place already.
    mutating func replacePrimary(why: PromotionReason) {
        guard let old = me.primary, me.isReplica else { return }
        invariant(me.configEpoch > nodes[old].configEpoch, "a new primary needs a newer epoch")
        let claimed = nodes[old].slots
        setAsPrimary(NodeTable.myself)
        me.flags.insert(.migrateTo)
        health.replicationTarget = nil
        move(claimed, to: NodeTable.myself)
        act(.promoteSelf(why))
        election = Election()
        resetManualFailover()
        updateState()
        broadcastPong()
        todo.insert([.save, .sync, .barrier, .updateState, .routing])
        invariant(me.slots == claimed, "a new primary must own what the old one owned")
    }

    // MARK: Telling why not

    private mutating func report(_ obstacle: FailoverObstacle) {
        let isRepeated = obstacle == election.obstacle
        if isRepeated, let last = election.obstacleLoggedAt,
            now.instant - last < Milliseconds(10000)
        {
            return
        }
        election.obstacle = obstacle
        // A failover that takes its ordinary course needs no explanation.
        if let primary = me.primary, nodes[primary].isFailed,
            now.instant - nodes[primary].failTime < config.nodeTimeout + Milliseconds(5000),
            [.waitingDelay, .waitingVotes, .expired, .waitingConsents].contains(obstacle)
        {
            return
        }
        election.obstacleLoggedAt = now.instant
        log(
            .notice,
            .cannotFailOver(obstacle, votes: election.votes.count, quorum: quorum))
    }
}
