// SENTINEL subcommands that change something. Texts of errors and events are the reference's.
import Base

extension SentinelState {
    mutating func run(_ command: SentinelCommand) -> SentinelReply {
        switch command {
        case .monitor(let name, let host, let port, let quorum):
            return monitor(name, host, port, quorum)
        case .monitorCluster(let name, let host, let port, let quorum):
            return monitorCluster(name, host, port, quorum)
        case .remove(let name):
            if clusters.contains(name) { return forgetCluster(name) }
            if let id = byName[name], let cluster = cluster(of: id) {
                return .error("ERR \(name) belongs to the monitored cluster \(cluster)")
            }
            guard let id = byName[name] else { return Self.unknownName }
            event(.warning, "-monitor", id)
            removePrimary(id)
            save()
            return .okWhenSaved
        case .reset(let names):
            return .integer(resetPrimaries(names))
        case .failover(let name):
            return failover(name)
        case .set(let name, let words, let executable):
            return set(name, words, executable)
        case .configSet(let option, let value):
            return configSet(option, value)
        case .debug(let words):
            return setTimes(words)
        case .simulateFailure(let failures):
            simulateFailures(failures)
            return .ok
        case .flush:
            save()
            return .okWhenSaved
        case .isPrimaryDown(let host, let port, let epoch, let runID):
            return .primaryState(primaryState(host, port, epoch, runID))
        case .hello(let bytes):
            takeHello(bytes)
            return .integer(1)
        case .localSettings(let port, let password):
            settings.port = port
            settings.requirePassword = password
            return .ok
        }
    }

    static var unknownName: SentinelReply { .error("ERR No such master with that name") }

    /// What a start says about what is monitored.
    public mutating func announceStart(at now: Now, into effects: inout SentinelEffects) {
        self.now = now
        note(.warning, "Sentinel ID is \(myID)")
        for name in clusters.keys { announceCluster(name) }
        for (_, id) in byName {
            event(.warning, "+monitor", id, " quorum \(self[primary: id].quorum)")
        }
        if isDirty { save() }
        step(.tick, at: now, into: &effects)
    }

    private mutating func monitor(
        _ name: String, _ host: String, _ port: Int, _ quorum: Int
    ) -> SentinelReply {
        guard quorum > 0 else { return .error("ERR Quorum must be 1 or greater.") }
        do throws(CreateFailure) {
            let id = try createPrimary(name, host, port, quorum: quorum)
            save()
            event(.warning, "+monitor", id, " quorum \(quorum)")
            return .okWhenSaved
        } catch {
            if error == .unresolvable {
                return .error("ERR Invalid IP address or hostname specified")
            }
            return .error("ERR \(error.text(.primary))")
        }
    }

    private mutating func resetPrimaries(_ names: [String]) -> Int {
        let ids = names.compactMap { byName[$0] }
        for id in ids {
            reset(id, keepingSentinels: false)
            event(.warning, "+reset-master", id)
        }
        if !ids.isEmpty { save() }
        return ids.count
    }

    private mutating func failover(_ name: String) -> SentinelReply {
        guard let id = byName[name] else { return Self.unknownName }
        if cluster(of: id) != nil { return failOverShard(id) }
        if self[id].flags.contains(.failoverInProgress) {
            return .error("INPROG Failover already in progress")
        }
        guard bestReplica(of: id) != nil else {
            return .error("NOGOODSLAVE No suitable replica to promote")
        }
        note(.warning, "Executing user requested FAILOVER of '\(name)'")
        startFailover(id)
        self[id].flags.insert(.forced)
        urgent.append(id)
        return .ok
    }

    private mutating func simulateFailures(_ failures: SimulatedFailures) {
        simulatedFailures = failures
        if failures.contains(.afterElection) {
            note(
                .warning,
                "Failure simulation: this Sentinel will crash after being successfully elected as "
                    + "failover leader")
        }
        if failures.contains(.afterPromotion) {
            note(
                .warning,
                "Failure simulation: this Sentinel will crash after promoting the selected replica "
                    + "to master")
        }
    }

    private mutating func primaryState(
        _ host: String, _ port: Int, _ epoch: UInt64, _ runID: String
    ) -> PrimaryStateReply {
        let found = byName.first { _, id in
            self[id].address.port == port && isHost(host, of: self[id].address)
        }?.1
        var reply = PrimaryStateReply(isDown: false, leader: nil, epoch: 0, version: 0)
        guard let id = found else { return reply }
        reply.isDown = !tilt.isOn && self[id].isDown
        if runID != "*", runID.utf8.count <= 64 {
            let given = vote(id, epoch: epoch, for: runID)
            reply.leader = given.leader
            reply.epoch = given.epoch
            reply.version = isDirty ? version + 1 : version
        }
        return reply
    }

    // MARK: SET

    private mutating func set(
        _ name: String, _ words: [String], _ executable: Set<String>
    ) -> SentinelReply {
        if let id = byName[name], let cluster = cluster(of: id) {
            return .error("ERR \(name) belongs to the monitored cluster \(cluster): set it there")
        }
        guard byName.contains(name) || clusters.contains(name) else { return Self.unknownName }
        var changes = 0
        var position = 0
        var failure: String?
        while position < words.count, failure == nil {
            let option = words[position]
            let lowered = option.lowercased()
            let wanted = lowered == "rename-command" ? 2 : 1
            let values = Array(words[(position + 1)...].prefix(wanted))
            guard values.count == wanted, Self.setOptions.contains(lowered) else {
                failure =
                    "ERR Unknown option or number of arguments for SENTINEL SET '\(option)'"
                break
            }
            failure = set(name, option, lowered, values, executable)
            guard failure == nil else { break }
            let shown = lowered == "auth-pass" ? ["******"] : values
            let text = " \(option) \(shown.joined(separator: " "))"
            if let id = byName[name] {
                event(.warning, "+set", id, text)
            } else {
                plainEvent(.warning, "+set", "cluster \(name)" + text)
            }
            position += 1 + wanted
            changes += 1
        }
        if changes > 0 { save() }
        return failure.map { .error($0) } ?? .okWhenSaved
    }

    private static var setOptions: Set<String> {
        [
            "down-after-milliseconds", "failover-timeout", "parallel-syncs", "quorum",
            "notification-script", "client-reconfig-script", "auth-pass", "auth-user",
            "rename-command", "master-reboot-down-after-period",
        ]
    }

    /// One option of a primary, or of all shards of a cluster; the error line, or nil.
    private mutating func set(
        _ name: String, _ option: String, _ lowered: String, _ values: [String],
        _ executable: Set<String>
    ) -> String? {
        guard var primary = byName[name].map({ self[primary: $0] }) ?? clusters[name]?.template
        else { return nil }
        let problem = set(&primary, option, lowered, values, executable)
        guard problem == nil else { return problem }
        let changesLogin = lowered.hasPrefix("auth")
        if let id = byName[name] {
            self[primary: id] = primary
            if changesLogin { dropInstanceConnections(id) }
        } else {
            configureCluster(name, like: primary)
            if changesLogin { dropClusterConnections(name) }
        }
        return nil
    }

    private mutating func dropClusterConnections(_ name: String) {
        guard let cluster = clusters[name] else { return }
        for id in cluster.shards.values { dropInstanceConnections(id) }
        for key in cluster.peers.keys { closePeer(PeerKey(cluster: name, peer: key)) }
    }

    private func set(
        _ primary: inout MonitoredPrimary, _ option: String, _ lowered: String,
        _ values: [String], _ executable: Set<String>
    ) -> String? {
        let value = values[0]
        func invalid(_ value: String) -> String {
            "ERR Invalid argument '\(value)' for SENTINEL SET '\(option)'"
        }
        switch lowered {
        case "notification-script", "client-reconfig-script":
            return setScript(&primary, lowered, value, executable)
        case "auth-pass":
            primary.authPassword = value.isEmpty ? nil : value
        case "auth-user":
            primary.authUser = value.isEmpty ? nil : value
        case "rename-command":
            guard !value.isEmpty, !values[1].isEmpty else {
                return invalid(values[1].isEmpty ? values[1] : value)
            }
            let key = value.lowercased()
            primary.renamedCommands[key] =
                key == values[1].lowercased() ? nil : RenamedCommand(from: value, to: values[1])
        default:
            let least = lowered == "master-reboot-down-after-period" ? 0 : 1
            guard let number = Int(value), number >= least, number <= Int32.max else {
                return invalid(value)
            }
            setNumber(&primary, lowered, number)
        }
        return nil
    }

    private func setNumber(
        _ primary: inout MonitoredPrimary, _ option: String, _ number: Int
    ) {
        let time = Milliseconds(Int64(number))
        switch option {
        case "down-after-milliseconds": primary.downAfter = time
        case "failover-timeout": primary.failoverTimeout = time
        case "parallel-syncs": primary.parallelSyncs = number
        case "quorum": primary.quorum = number
        default: primary.rebootDownAfter = time
        }
    }

    private func setScript(
        _ primary: inout MonitoredPrimary, _ option: String, _ path: String,
        _ executable: Set<String>
    ) -> String? {
        if settings.deniesScriptChanges {
            return "ERR Reconfiguration of scripts path is denied for security reasons. Check the "
                + "deny-scripts-reconfig configuration directive in your Sentinel configuration"
        }
        let isNotification = option == "notification-script"
        guard path.isEmpty || executable.contains(path) else {
            let what = isNotification ? "Notification" : "Client reconfiguration"
            return "ERR \(what) script seems non existing or non executable"
        }
        let field: WritableKeyPath<MonitoredPrimary, String?> =
            isNotification ? \.notificationScript : \.clientReconfigScript
        primary[keyPath: field] = path.isEmpty ? nil : path
        return nil
    }

    /// New credentials are tried with new connections.
    private mutating func dropInstanceConnections(_ id: InstanceID) {
        closeConnections(self[id].link)
        for replica in self[primary: id].replicas { closeConnections(self[replica].link) }
    }

    // MARK: CONFIG SET, DEBUG

    private mutating func configSet(_ option: String, _ value: String) -> SentinelReply {
        let bad = SentinelReply.error(
            "ERR Invalid value '\(value)' to SENTINEL CONFIG SET '\(option)'")
        switch option.lowercased() {
        case "resolve-hostnames", "announce-hostnames":
            guard ["yes", "no"].contains(value.lowercased()) else { return bad }
            let isResolving = option.lowercased() == "resolve-hostnames"
            let path: WritableKeyPath<SentinelSettings, Bool> =
                isResolving ? \.resolveHostnames : \.announceHostnames
            settings[keyPath: path] = value.lowercased() == "yes"
        case "announce-ip":
            guard value.isEmpty || HelloMessage.isHost(value) else { return bad }
            settings.announceIP = value
        case "announce-port":
            guard let port = Int(value), (0...65535).contains(port) else { return bad }
            settings.announcePort = port
        case "sentinel-user":
            settings.sentinelUser = value
            dropSentinelConnections()
        case "sentinel-pass":
            settings.sentinelPassword = value
            dropSentinelConnections()
        default:
            return .error("ERR Invalid argument '\(option)' to SENTINEL CONFIG SET")
        }
        save()
        return .okWhenSaved
    }

    private mutating func dropSentinelConnections() {
        for (number, link) in links {
            guard let user = link.users.first, self[user].kind == .sentinel else { continue }
            closeConnections(number)
        }
    }

    private mutating func setTimes(_ words: [String]) -> SentinelReply {
        var position = 0
        while position < words.count {
            let option = words[position]
            let parameter = SentinelTimes.parameters.first { $0.name == option.lowercased() }
            guard let parameter, position + 1 < words.count else {
                return .error(
                    "ERR Unknown option or number of arguments for SENTINEL DEBUG '\(option)'")
            }
            let value = words[position + 1]
            guard let time = Int64(value), time > 0, time <= Int64(Int32.max) else {
                return .error("ERR Invalid argument '\(value)' for SENTINEL DEBUG '\(option)'")
            }
            times[keyPath: parameter.path] = Milliseconds(time)
            position += 2
        }
        return .ok
    }
}
