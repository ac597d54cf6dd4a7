// The cluster machine inside the node: steps it, and carries out what it decides in the order that
// `ClusterEffects` demands. What must not leave before nodes.conf is durable waits here.
import Base
import Engine
import Gossip
import HashSlots
import Replication
import Storage

/// What every iteration of the loop asks of the cluster machine. Asking the machine itself would
/// copy it, all its lists and slot sets, so the answers are noted whenever it has made a step.
struct ClusterTimes {
    /// When the machine must tick next.
    let next: Instant?
    /// When it must have heard of the others to go on serving.
    let lease: Instant?
    let awaitsAppliedOffset: Bool

    init(_ cluster: ClusterState?) {
        next = cluster?.nextDeadline
        lease = cluster?.leaseDeadline
        awaitsAppliedOffset = cluster?.awaitsAppliedOffset ?? false
    }
}

extension NodePointer {
    /// Prepares cluster mode from nodes.conf; nil or empty contents make a new node.
    public func restoreCluster(nodesConf: [UInt8]?) throws(BootError) {
        let settings = self.settings
        guard settings.clusterEnabled else { return }
        let config = Node.gossipConfig(settings)
        if let problem = config.problem { throw BootError(problem) }
        let seed = executor.pointee.prng.next()
        do throws(NodesConfError) {
            if let nodesConf, let parsed = try NodesConf.parse(nodesConf) {
                pointee.cluster = ClusterState(
                    restoring: parsed, config: config, seed: seed, now: now)
            } else {
                pointee.cluster = ClusterState(config: config, seed: seed, now: now)
            }
        } catch {
            throw BootError(
                "Unrecoverable error: corrupted cluster config file "
                    + "\"\(settings.clusterConfigFile)\": \(error.text)")
        }
        stepCluster(.tick)
    }

    /// One input of the cluster machine, and what comes of it.
    func stepCluster(_ input: ClusterInput) {
        guard pointee.cluster != nil else { return }
        var effects = ClusterEffects()
        pointee.cluster?.step(input, at: now, into: &effects)
        carryOut(effects)
    }

    /// A CLUSTER command that changes something, sent by `session`.
    func runCluster(
        _ command: ClusterCommand, for session: UnsafeMutablePointer<Session>
    ) -> CommandReply {
        refreshClusterFacts(force: true)
        guard pointee.cluster != nil else {
            return .error("ERR This instance has cluster support disabled")
        }
        var effects = ClusterEffects()
        pointee.cluster?.step(.command(command), at: now, into: &effects)
        let reply = effects.reply ?? .ok
        carryOut(effects)
        if let state = effects.state { holdReply(of: session, until: state.version) }
        return reply
    }

    private func carryOut(_ effects: ClusterEffects) {
        for event in effects.log { pointee.clusterHistory.note(event, at: now.wall) }
        for event in effects.log where event.level >= settings.logLevel {
            pointee.requests.log.append(LogLine(event.level, event.text))
        }
        // A pause ends last: what waited must meet the role and the routing that this step decided,
        // or a primary that was just replaced would carry out one more write.
        for action in effects.local where action != .unpauseWrites { carryOut(action) }
        if effects.local.contains(.unpauseWrites) { carryOut(.unpauseWrites) }
        if let state = effects.state { persist(state) }
        for link in effects.close { closeLink(link) }
        for request in effects.connect {
            openLink(request.link, .bus, request.host, request.port)
        }
        for message in effects.sendNow { sendOnLink(message.link, message.bytes) }
        pointee.heldMessages.append(contentsOf: effects.sendAfterSync)
    }

    private func persist(_ state: PersistRequest) {
        clusterStateRequested(state)
        let ticket = ticket(.clusterState(version: state.version, synced: state.needsSync))
        pointee.requests.files.append(
            .replace(
                name: settings.clusterConfigFile, contents: state.contents,
                sync: state.needsSync, ticket: ticket))
    }

    /// nodes.conf of `version` was written, or could not be.
    func clusterStateWritten(version: UInt64, synced: Bool, failure: FileFailure?) {
        if let failure {
            // A node that cannot keep its promises must not make any.
            log(
                .warning,
                "Fatal: can't update cluster config file: \(failure.operation) "
                    + "\(failure.path): \(failure.reason)")
            request(.exit(code: 1))
            return
        }
        releaseForClusterState(version: version, synced: synced)
        guard synced else { return }
        stepCluster(.stateSynced(version: version))
        let ready = pointee.heldMessages.filter { $0.version <= version }
        pointee.heldMessages.removeAll { $0.version <= version }
        for message in ready { sendOnLink(message.outgoing.link, message.outgoing.bytes) }
    }

    private func carryOut(_ action: LocalAction) {
        switch action {
        case .promoteSelf: becomePrimary()
        case .replicate(_, let host, let port):
            follow(PrimaryAddress(host: host, port: port), keepingHistory: true)
        case .resetData:
            becomePrimary()
            flushAll()
        case .pauseWrites(let until):
            pointee.clusterPauseUntil = until
            setInternalPause(true)
        case .unpauseWrites:
            pointee.clusterPauseUntil = nil
            setInternalPause(false)
        case .ownershipChanged(let slots):
            for slot in slots.slots { executor.resetSlotStats(slot) }
            updateRouting()
        case .routingChanged: updateRouting()
        case .deleteKeys(let slots): deleteKeys(in: slots)
        case .clusterStateChanged: updateRouting()
        case .authorityLost: abandonHeldReplies()
        case .shardSlotsLost(let slots): executor.dropShardChannels(in: slots)
        case .publishLocally(let channel, let message, let sharded):
            channel.withBytes { channel in
                message.withBytes { message in
                    _ = executor.publish(channel, message, sharded: sharded)
                }
            }
        case .refuseReplicas(let refuse): refuseReplicas(refuse)
        case .sendFailoverCommand(let host, let port): sendFailoverCommand(host, port)
        case .handoverDone: handoverEnded(failure: nil)
        case .handoverFailed(let why): handoverEnded(failure: why)
        }
    }

    /// A client's message for the other nodes: PUBLISH to all, SPUBLISH to those of the shard.
    func publishOnBus(_ publication: Publication) {
        stepCluster(
            .publish(
                channel: publication.channel.array, message: publication.message.array,
                sharded: publication.isSharded))
    }

    /// Copies ownership, addresses and health into the table that dispatch reads.
    func updateRouting() {
        guard let routing = executor.pointee.routing else { return }
        pointee.cluster?.fillRouting(into: &routing.pointee)
        // A primary that may serve again may also acknowledge.
        pointee.acksChanged = true
        executor.redirectBlocked()
    }

    /// Tells the machine what it must know of the data, when something of it changed.
    func refreshClusterFacts(force: Bool = false) {
        guard pointee.cluster != nil else { return }
        noteStream()
        var facts = pointee.clusterFacts
        facts.replicationOffset =
            isReplica ? (pointee.upstream.resume?.offset ?? 0) : pointee.history.offset
        let streaming = pointee.upstream.phase == .streaming
        facts.primaryLinkIsUp = streaming
        if streaming {
            facts.primaryContact = pointee.upstream.lastIO
            facts.primaryLinkLostAt = nil
        } else if pointee.clusterFacts.primaryLinkIsUp {
            facts.primaryLinkLostAt = instant
        }
        facts.isLoading = pointee.loader.isBlocking
        facts.hasData = executor.pointee.keyspace.count(database: 0) > 0
        let changed = facts != pointee.clusterFacts
        guard force || changed else { return }
        pointee.clusterFacts = facts
        stepCluster(.localFacts(facts))
    }

    /// Another primary owns these slots now. Our replicas and the log are told key by key: to them
    /// a slot means nothing.
    private func deleteKeys(in slots: SlotSet) {
        for slot in slots.slots {
            if !isReplica, executor.pointee.feedsBacklog || executor.pointee.feedsLog {
                propagateDeletion(of: slot)
            }
            let removed = executor.pointee.keyspace.removeSlot(slot)
            executor.pointee.dirty &+= Int64(removed)
        }
        executor.databaseChanged(0)
        executor.invalidateEverything()
    }

    private func propagateDeletion(of slot: Slot) {
        var keys: [[UInt8]] = []
        executor.pointee.keyspace.forEach(inSlot: slot) { keys.append($0.key.array) }
        for key in keys {
            key.withBytes { executor.propagateCommand(database: 0, [Bytes("DEL"), $0]) }
        }
    }

    /// CLUSTER RESET of a replica: nothing of the old data may stay.
    func flushAll() {
        let keyspace = executor.pointee.keyspace
        for index in 0..<keyspace.databaseCount { keyspace.flush(database: index) }
        executor.databaseChanged(-1)
        executor.invalidateEverything()
    }

    private func refuseReplicas(_ refuse: Bool) {
        pointee.refusesReplicas = refuse
        guard refuse else { return }
        disconnectReplicas()
    }

    /// Asks a replica that does not know the bus's hand-over flag in the way that every
    /// administrator would.
    private func sendFailoverCommand(_ host: String, _ port: Int) {
        startCommandLink(
            host: host, port: port,
            commands: [["CLUSTER", "FAILOVER"]])
    }

    // MARK: Pauses

    /// Holds the clients' writes for a hand-over, or lets them go.
    func setInternalPause(_ paused: Bool) {
        executor.pointee.internalPause = paused
        executor.pointee.mayResume = true
        updateAlerts()
    }
}
