// The course of a failover after the election: choose a replica, promote it, wait until it says
// that it is a primary, point the other replicas at it, a few at a time, and then make it the one
// that is monitored. Steps, time limits and events are the reference's. Steps follow each other
// without waiting for the next tick, and INFO is asked in the same breath as SLAVEOF, so that a
// promotion is known one round trip after it was ordered.
import Base

extension SentinelState {
    /// For how long a leader looks for a replica that can be promoted: INFO is asked every second.
    private static let patience = Milliseconds(2000)

    /// What is to be decided about a primary; after each tick and after each answer that matters.
    mutating func act(_ id: InstanceID) {
        guard !tilt.isOn else { return }
        checkSubjectivelyDown(id)
        checkObjectivelyDown(id)
        if cluster(of: id) != nil { return askOthers(id, isForced: false) }
        let isStarted = startFailoverIfNeeded(id)
        if isStarted { askOthers(id, isForced: true) }
        var before = FailoverStep.none
        repeat {
            before = self[primary: id].step
            advance(id)
        } while exists(id) && self[primary: id].step > before
        if !isStarted { askOthers(id, isForced: false) }
    }

    private mutating func advance(_ id: InstanceID) {
        switch self[primary: id].step {
        case .none: break
        case .waitStart: waitForElection(id)
        case .selectReplica: selectReplica(id)
        case .sendPromotion: sendPromotion(id)
        case .waitPromotion: abortIfTooLong(id)
        case .reconfigureReplicas: reconfigureReplicas(id)
        case .updateConfiguration: switchToPromoted(id)
        }
    }

    mutating func enter(_ step: FailoverStep, _ id: InstanceID) {
        invariant(step > self[primary: id].step, "a failover only moves on")
        self[primary: id].step = step
        self[primary: id].stepSince = instant
    }

    // MARK: Promotion

    private mutating func selectReplica(_ id: InstanceID) {
        guard let replica = bestReplica(of: id) else {
            // The election may be over before the replicas have said how they are since the
            // primary went down; the next attempt would be two failover-timeouts away.
            guard instant - self[primary: id].stepSince >= Self.patience else { return }
            event(.warning, "-failover-abort-no-good-slave", id)
            return abort(id)
        }
        event(.warning, "+selected-slave", replica)
        self[replica].flags.insert(.promoted)
        self[primary: id].promoted = replica
        enter(.sendPromotion, id)
        event(.notice, "+failover-state-send-slaveof-noone", replica)
    }

    private mutating func sendPromotion(_ id: InstanceID) {
        guard let replica = self[primary: id].promoted else { return abort(id) }
        guard !self[link: self[replica].link].isDisconnected, sendReplicaOf(replica, nil) else {
            return abortIfTooLong(id)
        }
        event(.notice, "+failover-state-wait-promotion", replica)
        enter(.waitPromotion, id)
    }

    private mutating func abortIfTooLong(_ id: InstanceID) {
        let monitored = self[primary: id]
        guard instant - monitored.stepSince > monitored.failoverTimeout else { return }
        event(.warning, "-failover-abort-slave-timeout", id)
        abort(id)
    }

    /// Gives up. Possible only as long as nobody is known to have been promoted.
    mutating func abort(_ id: InstanceID) {
        invariant(self[primary: id].step <= .waitPromotion, "too late to give up")
        self[id].flags.subtract([.failoverInProgress, .forced])
        self[primary: id].step = .none
        self[primary: id].stepSince = instant
        if let replica = self[primary: id].promoted { self[replica].flags.remove(.promoted) }
        self[primary: id].promoted = nil
    }

    /// The chosen replica says that it is a primary now.
    mutating func promotionSeen(_ replica: InstanceID) {
        let primary = self[replica].owner
        invariant(self[primary: primary].promoted == replica, "the one that was chosen")
        self[primary: primary].configEpoch = self[primary: primary].failoverEpoch
        enter(.reconfigureReplicas, primary)
        save()
        event(.warning, "+promoted-slave", replica)
        if simulatedFailures.contains(.afterPromotion) { return simulateCrash() }
        event(.warning, "+failover-state-reconf-slaves", primary)
        reconfigureClients(
            primary, role: "leader", from: self[primary].address, to: self[replica].address)
        forceHello(primary)
        urgent.append(primary)
    }

    /// SLAVEOF in a transaction with what must come with it: the configuration is rewritten, and
    /// clients are made to ask again where the primary is. INFO follows at once.
    @discardableResult
    mutating func sendReplicaOf(_ id: InstanceID, _ address: SentinelAddress?) -> Bool {
        let host = address.map { announced($0) } ?? "NO"
        let port = address.map { String($0.port) } ?? "ONE"
        let client = name(of: "CLIENT", for: id)
        let isSent = askDurably(
            id, .discard,
            [
                [name(of: "MULTI", for: id)],
                [name(of: "SLAVEOF", for: id), host, port],
                [name(of: "CONFIG", for: id), "REWRITE"],
                [client, "KILL", "TYPE", "normal"],
                [client, "KILL", "TYPE", "pubsub"],
                [name(of: "EXEC", for: id)],
            ])
        if isSent {
            askDurably(id, .info, [[name(of: "INFO", for: id)]])
            self[id].infoAsked = instant
        }
        return isSent
    }

    // MARK: Replicas

    private mutating func reconfigureReplicas(_ id: InstanceID) {
        guard let promoted = self[primary: id].promoted else {
            return enter(.updateConfiguration, id)
        }
        let running: InstanceFlags = [.reconfigurationSent, .reconfigurationRuns]
        var count = self[primary: id].replicas.filter {
            !self[$0].flags.isDisjoint(with: running)
        }.count
        for replica in self[primary: id].replicas where count < self[primary: id].parallelSyncs {
            let flags = self[replica].flags
            if !flags.isDisjoint(with: [.promoted, .reconfigurationDone]) { continue }
            if flags.contains(.reconfigurationSent), let sent = self[replica].reconfigurationSentAt,
                instant - sent > times.replicaReconfigurationTimeout
            {
                // It is set right later, as one that follows the wrong primary.
                event(.notice, "-slave-reconf-sent-timeout", replica)
                self[replica].flags.remove(.reconfigurationSent)
                self[replica].flags.insert(.reconfigurationDone)
                continue
            }
            if !flags.isDisjoint(with: running) { continue }
            if self[link: self[replica].link].isDisconnected { continue }
            guard sendReplicaOf(replica, self[promoted].address) else { continue }
            self[replica].flags.insert(.reconfigurationSent)
            self[replica].reconfigurationSentAt = instant
            event(.notice, "+slave-reconf-sent", replica)
            count += 1
        }
        detectEnd(id, promoted)
    }

    private mutating func detectEnd(_ id: InstanceID, _ promoted: InstanceID) {
        guard !self[promoted].isDown else { return }
        var missing = self[primary: id].replicas.filter {
            self[$0].flags.isDisjoint(with: [.promoted, .reconfigurationDone, .subjectivelyDown])
        }.count
        let isLate = instant - self[primary: id].stepSince > self[primary: id].failoverTimeout
        if isLate {
            missing = 0
            event(.warning, "+failover-end-for-timeout", id)
        }
        guard missing == 0 else { return }
        event(.warning, "+failover-end", id)
        enter(.updateConfiguration, id)
        guard isLate else { return }
        for replica in self[primary: id].replicas {
            let done: InstanceFlags = [.promoted, .reconfigurationDone, .reconfigurationSent]
            guard self[replica].flags.isDisjoint(with: done),
                !self[link: self[replica].link].isDisconnected,
                sendReplicaOf(replica, self[promoted].address)
            else { continue }
            event(.notice, "+slave-reconf-sent-be", replica)
            self[replica].flags.insert(.reconfigurationSent)
        }
    }

    private mutating func switchToPromoted(_ id: InstanceID) {
        let old = self[id].address
        let new = self[primary: id].promoted.map { self[$0].address } ?? old
        plainEvent(
            .warning, "+switch-master", about: id,
            "\(self[id].name) \(announced(old)) \(old.port) \(announced(new)) \(new.port)")
        reset(id, movingTo: new)
        invariant(self[primary: id].step == .none, "the failover is over")
    }
}
