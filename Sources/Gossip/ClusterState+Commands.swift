// The CLUSTER subcommands that change something, with the reference's checks in the reference's
// order and its error texts, which redis-cli and the test suite know.
import Base
import HashSlots

extension ClusterState {
    mutating func run(_ command: ClusterCommand) -> CommandReply {
        switch command {
        case .meet(let host, let port, let busPort): return meet(host, port, busPort)
        case .addSlots(let intervals): return changeSlots(intervals, isRemoval: false)
        case .deleteSlots(let intervals): return changeSlots(intervals, isRemoval: true)
        case .flushSlots: return flushSlots()
        case .setSlotMigrating(let slot, let node): return setMigrating(slot, node)
        case .setSlotImporting(let slot, let node): return setImporting(slot, node)
        case .setSlotStable(let slot): return setStable(slot)
        case .setSlotNode(let slot, let node, let keys): return setSlotNode(slot, node, keys)
        case .forget(let name): return forgetCommand(name)
        case .replicate(let name): return replicate(name)
        case .failover(let kind): return failover(kind)
        case .reset(let hard): return reset(hard: hard)
        case .bumpEpoch:
            let word = bumpEpoch() ? "BUMPED" : "STILL"
            return .status("\(word) \(me.configEpoch)")
        case .setConfigEpoch(let epoch): return setConfigEpoch(epoch)
        case .voterPulse(let pulse): return take(pulse)
        case .forgetVoter(let name): return forgetVoter(name)
        case .resetVoters: return resetVoters()
        case .saveConfig:
            todo.insert([.save, .sync])
            return .ok
        }
    }

    // MARK: Members

    private mutating func meet(_ host: String, _ port: Int64, _ busPort: Int64?) -> CommandReply {
        let bus = busPort ?? port &+ 10000
        guard let ip = IPAddress.normalized(host), (1...65535).contains(port),
            (1...65535).contains(bus)
        else { return .error("ERR Invalid node address specified: \(host):\(port)") }
        if !isShakingHands(ip, Int(port), Int(bus)) {
            startHandshake(ip, Int(port), 0, Int(bus), flags: [.handshake, .meet])
            if let node = nodes.handles.first(where: { nodes[$0].isHandshake && nodes[$0].ip == ip
                && nodes[$0].busPort == Int(bus) })
            {
                reconnectIfDue(node)
            }
        }
        return .ok
    }

    private mutating func forgetCommand(_ name: String) -> CommandReply {
        guard let node = find(name) else {
            // Another node's gossip may have got here first.
            if let id = NodeID(name), isBlacklisted(id) { return .ok }
            return .error("ERR Unknown node \(name)")
        }
        if node == NodeTable.myself {
            return .error("ERR I tried hard but I can't forget myself...")
        }
        if me.primary == node { return .error("ERR Can't forget my master!") }
        blacklist[nodes[node].id] = now.wall + Milliseconds(60000)
        forget(node)
        todo.insert([.save, .updateState])
        return .ok
    }

    private mutating func replicate(_ name: String) -> CommandReply {
        guard let node = find(name) else { return .error("ERR Unknown node \(name)") }
        if node == NodeTable.myself { return .error("ERR Can't replicate myself") }
        if nodes[node].isReplica {
            return .error("ERR I can only replicate a master, not a replica.")
        }
        if me.isPrimary, !me.slots.isEmpty || facts.hasData {
            return .error(
                "ERR To set a master the node must be empty and without assigned slots.")
        }
        becomeReplica(of: node)
        return .ok
    }

    private mutating func failover(_ kind: FailoverKind) -> CommandReply {
        if me.isPrimary { return .error("ERR You should send CLUSTER FAILOVER to a replica") }
        guard let primary = me.primary else {
            return .error("ERR I'm a replica but my master is unknown to me")
        }
        if kind == .coordinated, nodes[primary].isFailed || openLink(of: primary) == nil {
            return .error(
                "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")
        }
        startManualFailover(kind)
        return .ok
    }

    func find(_ name: String) -> NodeHandle? { NodeID(name).flatMap { nodes.find($0) } }

    /// Whether there is a node of this ID.
    public func knows(_ name: String) -> Bool { find(name) != nil }

    // MARK: Slots

    private mutating func changeSlots(
        _ intervals: [SlotInterval], isRemoval: Bool
    ) -> CommandReply {
        var chosen = SlotSet()
        for interval in intervals {
            if interval.start > interval.end {
                return .error(
                    "ERR start slot number \(interval.start) is greater than end slot number "
                        + "\(interval.end)")
            }
            for index in interval.start.index...interval.end.index {
                let slot = Slot(hash: index)
                let owner = ownership.owner(of: slot)
                if isRemoval, owner == nil {
                    return .error("ERR Slot \(slot) is already unassigned")
                }
                if !isRemoval, owner != nil { return .error("ERR Slot \(slot) is already busy") }
                if !chosen.insert(slot) {
                    return .error("ERR Slot \(slot) specified multiple times")
                }
            }
        }
        for slot in ownership.importing.keys where chosen.contains(slot) {
            ownership.importing[slot] = nil
        }
        move(chosen, to: isRemoval ? nil : NodeTable.myself)
        todo.insert([.save, .updateState, .routing])
        return .ok
    }

    private mutating func flushSlots() -> CommandReply {
        if facts.hasData {
            return .error("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")
        }
        removeSlots(of: NodeTable.myself)
        todo.insert([.save, .updateState])
        return .ok
    }

    private static let primariesOnly = "ERR Please use SETSLOT only with masters."

    private mutating func setMigrating(_ slot: Slot, _ name: String) -> CommandReply {
        if me.isReplica { return .error(ClusterState.primariesOnly) }
        guard ownership.owner(of: slot) == NodeTable.myself else {
            return .error("ERR I'm not the owner of hash slot \(slot)")
        }
        guard let node = find(name) else { return .error("ERR I don't know about node \(name)") }
        if nodes[node].isReplica { return .error("ERR Target node is not a master") }
        ownership.migrating[slot] = node
        todo.insert([.save, .updateState, .routing])
        return .ok
    }

    private mutating func setImporting(_ slot: Slot, _ name: String) -> CommandReply {
        if me.isReplica { return .error(ClusterState.primariesOnly) }
        if ownership.owner(of: slot) == NodeTable.myself {
            return .error("ERR I'm already the owner of hash slot \(slot)")
        }
        guard let node = find(name) else { return .error("ERR I don't know about node \(name)") }
        if nodes[node].isReplica { return .error("ERR Target node is not a master") }
        ownership.importing[slot] = node
        todo.insert([.save, .updateState, .routing])
        return .ok
    }

    private mutating func setStable(_ slot: Slot) -> CommandReply {
        if me.isReplica { return .error(ClusterState.primariesOnly) }
        ownership.importing[slot] = nil
        ownership.migrating[slot] = nil
        todo.insert([.save, .updateState, .routing])
        return .ok
    }

    private mutating func setSlotNode(_ slot: Slot, _ name: String, _ keys: Int) -> CommandReply {
        if me.isReplica { return .error(ClusterState.primariesOnly) }
        guard let node = find(name) else { return .error("ERR Unknown node \(name)") }
        if nodes[node].isReplica { return .error("ERR Target node is not a master") }
        let wasMine = ownership.owner(of: slot) == NodeTable.myself
        if wasMine, node != NodeTable.myself, keys != 0 {
            return .error(
                "ERR Can't assign hashslot \(slot) to a different node while I still hold keys "
                    + "for this hash slot.")
        }
        if keys == 0 { ownership.migrating[slot] = nil }
        move(slot, to: node)
        todo.insert([.save, .updateState, .routing])
        if wasMine, node != NodeTable.myself, me.slots.isEmpty, config.allowsReplicaMigration {
            log(.notice, .becameReplica(of: nodes[node].id))
            becomeReplica(of: node)
        }
        if node == NodeTable.myself, ownership.importing.contains(slot) {
            // The slot was moved by hand: a new epoch makes the others believe it.
            if bumpEpoch() { log(.notice, .epochAfterImport(slot)) }
            ownership.importing[slot] = nil
            broadcastPong()
        }
        return .ok
    }

    // MARK: Epochs and reset

    private mutating func setConfigEpoch(_ epoch: Int64) -> CommandReply {
        if epoch < 0 { return .error("ERR Invalid config epoch specified: \(epoch)") }
        if nodes.count > 1 {
            return .error(
                "ERR The user can assign a config epoch only when the node does not know any "
                    + "other node.")
        }
        if me.configEpoch != 0 { return .error("ERR Node config epoch is already non-zero") }
        guard UInt64(epoch) <= BusLayout.largestEpoch else {
            return .error("ERR Invalid config epoch specified: \(epoch)")
        }
        me.configEpoch = UInt64(epoch)
        currentEpoch = max(currentEpoch, UInt64(epoch))
        log(.notice, .epochSet(UInt64(epoch)))
        todo.insert([.save, .updateState])
        return .ok
    }

    private mutating func reset(hard: Bool) -> CommandReply {
        if me.isPrimary, facts.hasData {
            return .error("ERR CLUSTER RESET can't be called with master nodes containing keys")
        }
        if me.isReplica {
            setAsPrimary(NodeTable.myself)
            act(.promoteSelf(.reset))
            act(.resetData)
        }
        ownership.closeAll()
        resetManualFailover()
        election = Election()
        health.replicationTarget = nil
        move(SlotSet.all, to: nil)
        for node in nodes.handles where node != NodeTable.myself { forget(node) }
        blacklist.removeAll()
        voters = VoterSet()
        voterPromise = 0
        voterChange = VoterChange()
        voterRecords.removeAll()
        if hard {
            currentEpoch = 0
            lastVoteEpoch = 0
            me.configEpoch = 0
            log(.notice, .epochSet(0))
            nodes.rename(NodeTable.myself, to: NodeID(random: &random))
            me.shard = NodeID(random: &random)
            log(.notice, .hardReset(me.id))
        }
        todo.insert([.save, .sync, .barrier, .updateState, .routing])
        return .ok
    }

    // MARK: Settings

    /// What of the settings is state of this node.
    mutating func applyConfig() {
        invariant(config.problem == nil, "settings must be checked before they are used")
        let before = me
        me.tcpPort = config.announcedTCPPort
        me.tlsPort = config.announcedTLSPort
        me.busPort = config.announcedBusPort
        me.hostname = config.announceHostname
        me.humanName = config.announceHumanName
        if config.announceIP != announcedIP {
            me.ip = config.announceIP
            announcedIP = config.announceIP
        }
        if config.replicaNoFailover {
            me.flags.insert(.noFailover)
        } else {
            me.flags.remove(.noFailover)
        }
        let isSame = sameAddress(before, me) && before.flags == me.flags
            && before.hostname == me.hostname && before.humanName == me.humanName
        if !isSame { todo.insert(.save) }
        todo.insert([.updateState, .routing])
    }
}
