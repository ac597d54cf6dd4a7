// What INFO of an instance changes: who it is and what it follows; replicas that are new; and,
// unless tilted, what is to be done about one that plays another role than it should.
import Base

extension SentinelState {
    mutating func refresh(_ id: InstanceID, _ text: String) {
        let info = InfoReply(text)
        self[id].info = text
        noteProcess(id, info.runID)
        let isShard = cluster(of: self[id].owner) != nil
        if self[id].kind == .primary, !isShard { addReplicas(id, info) }
        noteReplication(id, info)
        self[id].infoReceived = instant
        noteRole(id, info.role)
        guard !tilt.isOn, !isShard, let role = info.role, self[id].kind == .replica else { return }
        if role == .primary { replicaIsPrimary(id) } else { replicaFollows(id) }
    }

    private mutating func noteProcess(_ id: InstanceID, _ runID: String?) {
        guard let runID, runID != self[id].runID else { return }
        if self[id].runID != nil {
            event(.notice, "+reboot", id)
            if self[id].kind == .primary, self[primary: id].rebootDownAfter > .zero {
                self[id].flags.insert(.rebooted)
                self[id].rebootSince = instant
            }
        }
        self[id].runID = runID
    }

    private mutating func addReplicas(_ id: InstanceID, _ info: InfoReply) {
        for line in info.replicas {
            guard let replica = try? createReplica(of: id, line.host, line.port) else { continue }
            event(.notice, "+slave", replica)
            save()
        }
    }

    private mutating func noteReplication(_ id: InstanceID, _ info: InfoReply) {
        self[id].primaryLinkDownTime = info.linkDownTime
        if let host = info.primaryHost, host.lowercased() != self[id].primaryHost?.lowercased() {
            self[id].primaryHost = host
            self[id].primaryChangedAt = instant
        }
        if let port = info.primaryPort, port != self[id].primaryPort {
            self[id].primaryPort = port
            self[id].primaryChangedAt = instant
        }
        if let isUp = info.primaryLinkIsUp { self[id].primaryLinkIsUp = isUp }
        if let priority = info.priority { self[id].priority = priority }
        if let offset = info.offset { self[id].offset = offset }
        if let isAnnounced = info.isAnnounced { self[id].isAnnounced = isAnnounced }
    }

    private mutating func noteRole(_ id: InstanceID, _ role: InstanceKind?) {
        guard let role, role != self[id].reportedRole else { return }
        self[id].reportedRole = role
        self[id].roleReportedAt = instant
        if role == .replica { self[id].primaryChangedAt = instant }
        let type = role == self[id].kind ? "+role-change" : "-role-change"
        event(.verbose, type, id, " new reported role is \(role.word)")
    }

    /// A primary that can be relied on to be one.
    private func looksSane(_ primary: InstanceID) -> Bool {
        let record = self[primary]
        guard record.reportedRole == .primary,
            record.flags.isDisjoint(with: [.subjectivelyDown, .objectivelyDown]),
            let received = record.infoReceived
        else { return false }
        return instant - received < times.infoPeriod * 2
    }

    private mutating func replicaIsPrimary(_ id: InstanceID) {
        let primary = self[id].owner
        if self[id].flags.contains(.promoted) {
            if self[primary: primary].step == .waitPromotion { promotionSeen(id) }
            return
        }
        // Somebody may have a newer configuration: time to hear of it before ours is forced on it.
        let wait = times.publishPeriod * 4
        let hasWaited =
            self[id].wasUp(for: wait, at: instant) && instant - self[id].roleReportedAt > wait
        guard looksSane(primary), hasWaited || hasReturned(id) else { return }
        if sendReplicaOf(id, self[primary].address) { event(.notice, "+convert-to-slave", id) }
    }

    /// The primary that was replaced came back as one, and a majority of the sentinels has said
    /// since that it knows nothing newer. What clients write to it would be discarded, so there is
    /// no time to lose: nobody can have promoted it again without such a majority.
    private func hasReturned(_ id: InstanceID) -> Bool {
        guard self[id].isFormerPrimary, !self[id].isDown else { return false }
        let others = self[primary: self[id].owner].sentinels
        let heard = others.count {
            self[$0].lastHello > self[id].roleReportedAt && self[$0].claim == nil
        }
        return heard + 1 > (others.count + 1) / 2
    }

    private mutating func replicaFollows(_ id: InstanceID) {
        self[id].isFormerPrimary = false
        let primary = self[id].owner
        let host = self[id].primaryHost ?? ""
        let address = self[primary].address
        if self[id].primaryPort != address.port || !isHost(host, of: address) {
            let wait = self[primary: primary].failoverTimeout
            if looksSane(primary), self[id].wasUp(for: wait, at: instant),
                instant - self[id].primaryChangedAt > wait,
                sendReplicaOf(id, address)
            {
                event(.notice, "+fix-slave-config", id)
            }
        }
        noteReconfiguration(id, host)
    }

    private mutating func noteReconfiguration(_ id: InstanceID, _ host: String) {
        let primary = self[id].owner
        guard let promoted = self[primary: primary].promoted else { return }
        let target = self[promoted].address
        if self[id].flags.contains(.reconfigurationSent), self[id].primaryPort == target.port,
            isHost(host, of: target)
        {
            self[id].flags.remove(.reconfigurationSent)
            self[id].flags.insert(.reconfigurationRuns)
            event(.notice, "+slave-reconf-inprog", id)
        }
        if self[id].flags.contains(.reconfigurationRuns), self[id].primaryLinkIsUp {
            self[id].flags.remove(.reconfigurationRuns)
            self[id].flags.insert(.reconfigurationDone)
            event(.notice, "+slave-reconf-done", id)
            urgent.append(primary)
        }
    }
}
