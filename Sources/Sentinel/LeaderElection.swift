// Who may fail a primary over: the sentinel that a majority of all known sentinels, and at least
// the quorum, voted for in one epoch. Each gives one vote per epoch, which is on disk before it is
// told. As in the reference, with these differences:
//
// * A candidate asks for and counts votes of the epoch of its attempt only, never of a later one
//   that somebody else began meanwhile.
// * A sentinel that leads a failover gives nobody else its vote until that is over.
// * Before it becomes a candidate, a sentinel waits for a random moment below 150 ms, since
//   sentinels that see the same crash see it at the same time.
// * When all that can be asked have voted and nobody won, the candidate tries again after a short
//   random time, where the reference waits for twice the failover timeout.
import Base

extension SentinelState {
    /// The vote for `epoch`, given to `candidate` if it is still free. Returns the vote in force.
    mutating func vote(
        _ primary: InstanceID, epoch: UInt64, for candidate: String
    ) -> (leader: String?, epoch: UInt64) {
        let monitored = self[primary: primary]
        let isBusy = monitored.step > .waitStart && candidate != myID
        guard isPlausible(epoch), !isBusy else {
            return (monitored.leader, monitored.leaderEpoch)
        }
        adopt(epoch: epoch, about: primary)
        if monitored.leaderEpoch < epoch, currentEpoch <= epoch {
            self[primary: primary].leader = candidate
            self[primary: primary].leaderEpoch = epoch
            save()
            plainEvent(.warning, "+vote-for-leader", about: primary, "\(candidate) \(epoch)")
            if candidate != myID {
                // The winner gets time to do its work.
                self[primary: primary].attemptStarted = instant + desynchronisation
                self[primary: primary].startAt = nil
            }
        }
        let given = self[primary: primary]
        invariant(given.leaderEpoch <= currentEpoch, "a vote is of an epoch that is known")
        return (given.leader, given.leaderEpoch)
    }

    var desynchronisation: Milliseconds {
        mutating get { Milliseconds(Int64(random.below(1000))) }
    }

    /// The leader of the attempt's epoch, once there is one.
    func electedLeader(_ primary: InstanceID) -> String? {
        let monitored = self[primary: primary]
        invariant(monitored.step != .none, "only an attempt has an election")
        var counts = SortedTable<String, Int>()
        if let mine = monitored.leader, monitored.leaderEpoch == monitored.failoverEpoch {
            counts[mine] = 1
        }
        for id in monitored.sentinels {
            guard let leader = self[id].leader,
                self[id].leaderEpoch == monitored.failoverEpoch
            else { continue }
            counts[leader] = (counts[leader] ?? 0) + 1
        }
        let needed = max((monitored.sentinels.count + 1) / 2 + 1, monitored.quorum)
        return counts.first { $0.1 >= needed }?.0
    }

    /// Everybody who can be asked has voted in this epoch or a later one, and nobody has won.
    func isVoteSplit(_ primary: InstanceID) -> Bool {
        let monitored = self[primary: primary]
        var reachable = 1
        for id in monitored.sentinels {
            let isReachable = !self[id].isDown && !self[link: self[id].link].isDisconnected
            guard isReachable else { continue }
            reachable += 1
            if self[id].leader == nil || self[id].leaderEpoch < monitored.failoverEpoch {
                return false
            }
        }
        // Without a majority at hand another attempt would end no better.
        return reachable >= (monitored.sentinels.count + 1) / 2 + 1
    }

    // MARK: Beginning

    /// Starts an attempt if the primary is down for enough sentinels and none was made lately.
    mutating func startFailoverIfNeeded(_ id: InstanceID) -> Bool {
        let flags = self[id].flags
        guard flags.contains(.objectivelyDown), !flags.contains(.failoverInProgress) else {
            return false
        }
        let monitored = self[primary: id]
        if let started = monitored.attemptStarted,
            instant - started < monitored.failoverTimeout * 2
        {
            reportDelay(id, since: started)
            return false
        }
        guard let startAt = monitored.startAt else {
            let delay = monitored.sentinels.isEmpty ? 0 : Int64(random.below(150))
            self[primary: id].startAt = instant + Milliseconds(delay)
            if delay == 0 { urgent.append(id) }
            return false
        }
        guard instant >= startAt else { return false }
        startFailover(id)
        return true
    }

    private mutating func reportDelay(_ id: InstanceID, since started: Instant) {
        guard self[primary: id].delayLogged != started else { return }
        self[primary: id].delayLogged = started
        let wait = started + self[primary: id].failoverTimeout * 2 - instant
        note(
            .warning,
            "Next failover delay: I will not start a failover of \(self[id].name) for "
                + "\(wait.count / 1000) seconds")
    }

    mutating func startFailover(_ id: InstanceID) {
        invariant(self[id].kind == .primary, "only a primary is failed over")
        invariant(self[primary: id].step == .none, "one failover at a time")
        currentEpoch += 1
        self[primary: id].step = .waitStart
        self[primary: id].stepSince = instant
        self[primary: id].startAt = nil
        self[primary: id].failoverEpoch = currentEpoch
        self[id].flags.insert(.failoverInProgress)
        save()
        plainEvent(.warning, "+new-epoch", about: id, "\(currentEpoch)")
        event(.warning, "+try-failover", id)
        _ = vote(id, epoch: currentEpoch, for: myID)
        self[primary: id].attemptStarted = instant + desynchronisation
    }

    /// The first step: go on when elected, give up when not.
    mutating func waitForElection(_ id: InstanceID) {
        let leader = electedLeader(id)
        if leader == myID || self[id].flags.contains(.forced) {
            event(.warning, "+elected-leader", id)
            if simulatedFailures.contains(.afterElection) { return simulateCrash() }
            self[primary: id].splitVotes = 0
            enter(.selectReplica, id)
            return event(.warning, "+failover-state-select-slave", id)
        }
        let monitored = self[primary: id]
        let limit = min(times.electionTimeout, monitored.failoverTimeout)
        let waited = instant - (monitored.attemptStarted ?? instant)
        let isLost = leader == nil && isVoteSplit(id)
        guard waited > limit || isLost else { return }
        event(.warning, "-failover-abort-not-elected", id)
        abort(id)
        // Who has given its vote to a later attempt of somebody else leaves it the time.
        guard isLost, monitored.leaderEpoch == monitored.failoverEpoch else { return }
        self[primary: id].splitVotes += 1
        self[primary: id].attemptStarted = nil
        let spread = 200 &<< min(self[primary: id].splitVotes, 5)
        self[primary: id].startAt = instant + Milliseconds(Int64(20 + random.below(spread)))
    }

    mutating func simulateCrash() {
        note(.warning, "Sentinel CRASH because of SENTINEL simulate-failure")
        output.exit = 99
    }
}
