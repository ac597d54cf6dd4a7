// When an instance is down. Subjectively: it has not answered for down-after-milliseconds, or a
// primary calls itself a replica for long, or it came back as another process and stays silent.
// Objectively: enough sentinels say so of a primary within a short time. The rules are the
// reference's; the one difference is that others are asked ten times a second in the first
// seconds, because they see the same failure a moment earlier or later.
import Base

extension SentinelState {
    private static var quickAskTime: Milliseconds { Milliseconds(3000) }
    private static var quickAskPeriod: Milliseconds { Milliseconds(100) }

    mutating func checkSubjectivelyDown(_ id: InstanceID) {
        let number = self[id].link
        let downAfter = owner(of: id).downAfter
        var silence = Milliseconds.zero
        let link = self[link: number]
        if let ping = link.pendingPing {
            silence = instant - ping
        } else if link.isDisconnected {
            silence = instant - link.available
        }
        renewSilentConnections(number, downAfter)
        let isDown = silence > downAfter || isLostPrimary(id)
        if isDown, !self[id].isDown {
            event(.warning, "+sdown", id)
            self[id].flags.insert(.subjectivelyDown)
            self[id].downSince = instant
        } else if !isDown, self[id].isDown {
            event(.warning, "-sdown", id)
            self[id].flags.subtract([.subjectivelyDown, .scriptKillSent])
        }
    }

    /// A connection that seems open but brings nothing is made anew.
    private mutating func renewSilentConnections(
        _ number: LinkNumber, _ downAfter: Milliseconds
    ) {
        let link = self[link: number]
        if let since = link.commandSince, link.command != nil,
            instant - since > times.minLinkReconnectPeriod, let ping = link.pendingPing,
            instant - ping > downAfter / 2, instant - link.lastPong > downAfter / 2
        {
            closeCommands(number)
        }
        if let since = link.subscriptionSince, link.subscription != nil,
            instant - since > times.minLinkReconnectPeriod,
            instant - (link.subscriptionActivity ?? since) > times.publishPeriod * 3
        {
            closeSubscription(number)
        }
    }

    private func isLostPrimary(_ id: InstanceID) -> Bool {
        let record = self[id]
        guard record.kind == .primary else { return false }
        let monitored = self[primary: id]
        if record.reportedRole == .replica,
            instant - record.roleReportedAt > monitored.downAfter + times.infoPeriod * 2
        {
            return true
        }
        guard record.flags.contains(.rebooted), let since = record.rebootSince else {
            return false
        }
        return instant - since > monitored.rebootDownAfter
    }

    mutating func checkObjectivelyDown(_ id: InstanceID) {
        let monitored = self[primary: id]
        var agreeing = 0
        if self[id].isDown {
            agreeing = 1
            for sentinel in monitored.sentinels
            where self[sentinel].flags.contains(.reportsPrimaryDown) {
                agreeing += 1
            }
        }
        let isDown = self[id].isDown && agreeing >= monitored.quorum
        let wasDown = self[id].flags.contains(.objectivelyDown)
        if isDown, !wasDown {
            event(.warning, "+odown", id, " #quorum \(agreeing)/\(monitored.quorum)")
            self[id].flags.insert(.objectivelyDown)
            self[id].objectivelyDownSince = instant
        } else if !isDown, wasDown {
            event(.warning, "-odown", id)
            self[id].flags.remove(.objectivelyDown)
            self[primary: id].startAt = nil
            self[primary: id].splitVotes = 0
        }
    }

    /// Asks the other sentinels whether the primary is down, and for their vote once this sentinel
    /// tries to fail it over.
    mutating func askOthers(_ primary: InstanceID, isForced: Bool) {
        let monitored = self[primary: primary]
        for id in monitored.sentinels {
            if instant - self[id].lastDownReply > times.askPeriod * 5 {
                self[id].flags.remove(.reportsPrimaryDown)
                self[id].leader = nil
            }
            guard self[primary].isDown, !self[link: self[id].link].isDisconnected,
                isForced || isAskDue(id, primary)
            else { continue }
            let isCandidate = monitored.step != .none
            let epoch = isCandidate ? monitored.failoverEpoch : currentEpoch
            let address = self[primary].address
            self[id].downAskedAt = instant
            askDurably(
                id, .askDown,
                [
                    [
                        name(of: "SENTINEL", for: id), "is-master-down-by-addr",
                        announced(address), String(address.port), String(epoch),
                        isCandidate ? myID : "*",
                    ]
                ])
        }
    }

    private func isAskDue(_ id: InstanceID, _ primary: InstanceID) -> Bool {
        let record = self[id]
        let monitored = self[primary: primary]
        let isFresh = self[primary].downSince.map { instant - $0 < Self.quickAskTime } ?? false
        let isOpen =
            !self[primary].flags.contains(.objectivelyDown) || monitored.step == .waitStart
        let period = isFresh && isOpen ? Self.quickAskPeriod : times.askPeriod
        guard let asked = record.downAskedAt else { return true }
        // An answer counts as new for the period, an open question for as long.
        return instant - asked >= period
    }

    mutating func takeDownReply(_ reply: Reply, _ id: InstanceID) {
        guard case .array(let parts) = reply, parts.count == 3,
            case .integer(let down) = parts[0], case .bulk(let leader) = parts[1],
            case .integer(let epoch) = parts[2], epoch >= 0
        else { return }
        self[id].lastDownReply = instant
        if down == 1 {
            self[id].flags.insert(.reportsPrimaryDown)
        } else {
            self[id].flags.remove(.reportsPrimaryDown)
        }
        let name = String(decoding: leader, as: UTF8.self)
        if name != "*" {
            if self[id].leaderEpoch != UInt64(epoch) {
                note(.warning, "\(self[id].name) voted for \(name) \(epoch)")
            }
            self[id].leader = name
            self[id].leaderEpoch = UInt64(epoch)
        }
        urgent.append(self[id].owner)
    }
}
