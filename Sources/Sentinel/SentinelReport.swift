// What a sentinel tells of its state: the answers of SENTINEL MASTERS and its like, of INFO and
// CKQUORUM. Values, no wire format: the driver writes them.
import Base

/// One `name`, `value` line of an instance.
public struct SentinelField: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

extension SentinelState {
    /// The names of the monitored primaries, in order.
    public var primaryNames: [String] { byName.keys }

    public var runningScripts: Int { scripts.running }

    /// Versions up to this one are on disk.
    public func isDurable(_ version: UInt64) -> Bool { version <= syncedVersion }

    /// Where the primary is, as clients are told.
    public func clientAddress(of name: String) -> (host: String, port: Int)? {
        guard let id = byName[name] else { return nil }
        let address = currentAddress(id)
        return (announced(address), address.port)
    }

    public func primaryFields(_ name: String) -> [SentinelField]? { byName[name].map(fields) }

    public func replicaFields(_ name: String) -> [[SentinelField]]? {
        guard let id = byName[name] else { return nil }
        return self[primary: id].replicas.filter { self[$0].isAnnounced }.map(fields)
    }

    public func sentinelFields(_ name: String) -> [[SentinelField]]? {
        guard let id = byName[name] else { return nil }
        return self[primary: id].sentinels.map(fields)
    }

    /// The last INFO of a primary and its replicas, with its age in milliseconds.
    public func cachedInfo(_ name: String) -> [(age: Int64, text: String?)]? {
        guard let id = byName[name] else { return nil }
        return ([id] + self[primary: id].replicas).map { id in
            (age(self[id].infoReceived), self[id].info)
        }
    }

    /// The line of INFO about the primary with this name.
    public func infoLine(_ name: String) -> String? {
        guard let id = byName[name] else { return nil }
        let flags = self[id].flags
        let status =
            flags.contains(.objectivelyDown) ? "odown" : self[id].isDown ? "sdown" : "ok"
        let address = self[id].address
        let monitored = self[primary: id]
        return "name=\(name),status=\(status),address=\(announced(address)):\(address.port),"
            + "slaves=\(monitored.replicas.count),sentinels=\(monitored.sentinels.count + 1)"
    }

    /// How many sentinels can be used, and whether they reach the quorum and the majority.
    public func quorum(of name: String) -> (usable: Int, quorum: Bool, majority: Bool)? {
        guard let id = byName[name] else { return nil }
        let monitored = self[primary: id]
        let usable = 1 + monitored.sentinels.filter { !self[$0].isDown }.count
        let voters = monitored.sentinels.count + 1
        return (usable, usable >= monitored.quorum, usable >= voters / 2 + 1)
    }

    private func age(_ time: Instant?) -> Int64 { time.map { (instant - $0).count } ?? 0 }

    private func fields(_ id: InstanceID) -> [SentinelField] {
        var fields: [SentinelField] = []
        func add(_ name: String, _ value: String) {
            fields.append(SentinelField(name: name, value: value))
        }
        func add(_ name: String, _ value: some BinaryInteger) { add(name, "\(value)") }
        let record = self[id]
        let link = self[link: record.link]
        add("name", record.name)
        add("ip", announced(record.address))
        add("port", record.address.port)
        add("runid", record.runID ?? "")
        add("flags", flagText(record, link))
        add("link-pending-commands", pendingCommands(id))
        add("link-refcount", link.users.count)
        if record.flags.contains(.failoverInProgress) {
            add("failover-state", self[primary: id].step.word)
        }
        add("last-ping-sent", age(link.pendingPing))
        add("last-ok-ping-reply", age(link.available))
        add("last-ping-reply", age(link.lastPong))
        if record.isDown { add("s-down-time", age(record.downSince)) }
        if record.flags.contains(.objectivelyDown) {
            add("o-down-time", age(record.objectivelyDownSince))
        }
        add("down-after-milliseconds", owner(of: id).downAfter.count)
        if record.kind != .sentinel {
            add("info-refresh", age(record.infoReceived))
            add("role-reported", record.reportedRole.word)
            add("role-reported-time", age(record.roleReportedAt))
        }
        switch record.kind {
        case .primary: fields += primaryOnly(id) + shardOnly(id)
        case .replica: fields += replicaOnly(record)
        case .sentinel:
            add("last-hello-message", age(record.lastHello))
            add("voted-leader", record.leader ?? "?")
            add("voted-leader-epoch", record.leaderEpoch)
        }
        return fields
    }

    private func flagText(_ record: InstanceRecord, _ link: InstanceLink) -> String {
        let flags = record.flags
        var words: [String] = []
        if flags.contains(.subjectivelyDown) { words.append("s_down") }
        if flags.contains(.objectivelyDown) { words.append("o_down") }
        words.append(record.kind.word)
        if link.isDisconnected { words.append("disconnected") }
        let named: [(InstanceFlags, String)] = [
            (.reportsPrimaryDown, "master_down"), (.failoverInProgress, "failover_in_progress"),
            (.promoted, "promoted"), (.reconfigurationSent, "reconf_sent"),
            (.reconfigurationRuns, "reconf_inprog"), (.reconfigurationDone, "reconf_done"),
            (.forced, "force_failover"), (.scriptKillSent, "script_kill_sent"),
        ]
        for (flag, word) in named where flags.contains(flag) { words.append(word) }
        return words.joined(separator: ",")
    }

    private func primaryOnly(_ id: InstanceID) -> [SentinelField] {
        let primary = self[primary: id]
        var fields = [
            SentinelField(name: "config-epoch", value: "\(primary.configEpoch)"),
            SentinelField(name: "num-slaves", value: "\(primary.replicas.count)"),
            SentinelField(name: "num-other-sentinels", value: "\(primary.sentinels.count)"),
            SentinelField(name: "quorum", value: "\(primary.quorum)"),
            SentinelField(name: "failover-timeout", value: "\(primary.failoverTimeout.count)"),
            SentinelField(name: "parallel-syncs", value: "\(primary.parallelSyncs)"),
        ]
        if let script = primary.notificationScript {
            fields.append(SentinelField(name: "notification-script", value: script))
        }
        if let script = primary.clientReconfigScript {
            fields.append(SentinelField(name: "client-reconfig-script", value: script))
        }
        return fields
    }

    /// What a shard of a monitored cluster has beyond other primaries.
    private func shardOnly(_ id: InstanceID) -> [SentinelField] {
        guard let name = cluster(of: id), let cluster = clusters[name],
            let slot = cluster.shards.first(where: { $0.1 == id })?.0,
            let shard = cluster.topology.shards.first(where: { $0.firstSlot == slot })
        else { return [] }
        return [
            SentinelField(name: "cluster", value: name),
            SentinelField(name: "cluster-node-id", value: shard.primary),
            SentinelField(name: "cluster-slots", value: "\(shard.slots)"),
        ]
    }

    private func replicaOnly(_ record: InstanceRecord) -> [SentinelField] {
        [
            SentinelField(
                name: "master-link-down-time", value: "\(record.primaryLinkDownTime.count)"),
            SentinelField(
                name: "master-link-status", value: record.primaryLinkIsUp ? "ok" : "err"),
            SentinelField(name: "master-host", value: record.primaryHost ?? "?"),
            SentinelField(name: "master-port", value: "\(record.primaryPort)"),
            SentinelField(name: "slave-priority", value: "\(record.priority)"),
            SentinelField(name: "slave-repl-offset", value: "\(record.offset)"),
            SentinelField(name: "replica-announced", value: record.isAnnounced ? "1" : "0"),
        ]
    }
}
