// What nodes tell each other about third nodes. Each PING, PONG and MEET carries a few entries, at
// least 3 and about a tenth of the cluster, picked at random, plus every node that the sender
// suspects: that is how failure reports reach a majority quickly.
import Base
import HashSlots

extension ClusterState {
    // MARK: Sending

    mutating func sendPing(
        _ type: BusMessageType, on link: LinkID, flags: MessageFlags = []
    ) {
        guard let state = links[link], state.isOpen else { return }
        guard mayPing(state.node, type) else { return }
        pingCount += 1
        let receiver = state.node
        if type != .pong, link.isOutgoing, let receiver { notePing(on: link, to: receiver) }
        var header = header(type)
        if let receiver, manual.replica == receiver, manual.isHandover {
            header.messageFlags.insert(.handover)
        }
        header.messageFlags.formUnion(flags.union(.hasExtensions))
        if type == .pong, !link.isOutgoing, let receiver, !flags.contains(.withheld) {
            nodes[receiver].leaseConfirmed = now.instant
        }
        let body = BusBody.ping(gossipEntries(), extensions(for: receiver))
        send(BusMessage(header: header, body: body), on: link)
    }

    mutating func sendPing(_ type: BusMessageType, to node: NodeHandle) {
        if let link = openLink(of: node) { sendPing(type, on: link) }
    }

    /// A primary that waits to be replaced plays dead, but tells its replicas why.
    private func mayPing(_ receiver: NodeHandle?, _ type: BusMessageType) -> Bool {
        guard emptyStart.isWaiting else { return true }
        guard type == .ping, let receiver else { return false }
        return nodes[receiver].primary == NodeTable.myself
    }

    private mutating func gossipEntries() -> [GossipEntry] {
        var entries: [GossipEntry] = []
        let handles = nodes.handles
        var fresh = handles.count - 2
        let wanted = min(max(3, handles.count / 10), fresh)
        var attempts = max(0, wanted) * 3
        while fresh > 0, entries.count < wanted, attempts > 0 {
            attempts -= 1
            let node = handles[random.below(handles.count)]
            if node == NodeTable.myself || nodes[node].isSuspect { continue }
            let isUseless = nodes[node].link == nil && nodes[node].slots.isEmpty
            if !nodes[node].flags.isDisjoint(with: [.handshake, .noAddress]) || isUseless {
                fresh -= 1
                continue
            }
            if nodes[node].lastGossip == pingCount { continue }
            nodes[node].lastGossip = pingCount
            entries.append(entry(about: node))
            fresh -= 1
        }
        for node in handles where nodes[node].isSuspect && node != NodeTable.myself {
            guard nodes[node].flags.isDisjoint(with: [.handshake, .noAddress]) else { continue }
            if entries.count < 60000 { entries.append(entry(about: node)) }
        }
        return entries
    }

    private func entry(about node: NodeHandle) -> GossipEntry {
        let record = nodes[node]
        let seconds = { (time: Instant?) -> UInt32 in
            UInt32(truncatingIfNeeded: max(0, self.wallMilliseconds(time) / 1000))
        }
        var entry = GossipEntry(id: record.id)
        entry.pingSent = seconds(record.pingSent)
        entry.pongReceived = seconds(record.pongReceived)
        entry.ip = record.ip
        entry.port = config.usesTLS ? record.tlsPort : record.tcpPort
        entry.secondPort = config.usesTLS ? record.tcpPort : record.tlsPort
        entry.busPort = record.busPort
        entry.flags = record.flags
        return entry
    }

    /// `time` on the wall clock, in milliseconds since 1970; 0 for nil.
    func wallMilliseconds(_ time: Instant?) -> Int64 {
        guard let time else { return 0 }
        return now.wall.milliseconds - (now.instant - time).count
    }

    /// The host name is release 7.0's; the rest only for nodes that know it.
    private func extensions(for receiver: NodeHandle?) -> [PingExtension] {
        var out: [PingExtension] = []
        if !me.hostname.isEmpty { out.append(.hostname(me.hostname)) }
        guard let receiver, nodes[receiver].speaksExtensions else { return out }
        if !me.humanName.isEmpty { out.append(.humanName(me.humanName)) }
        for (id, until) in blacklist where until > now.wall {
            let seconds = (until.milliseconds - now.wall.milliseconds) / 1000
            out.append(.forgotten(id, seconds: UInt64(seconds)))
        }
        out.append(.shard(me.shard))
        if voters.version > 0, nodes[receiver].knowsVoters { out.append(.voters(voters)) }
        return out
    }

    /// The PONG that nobody asked for: news about this node for everybody.
    mutating func broadcastPong() {
        for node in nodes.handles where node != NodeTable.myself && !nodes[node].isHandshake {
            sendPing(.pong, to: node)
        }
    }

    /// The same for the other replicas of my primary (or for my replicas).
    mutating func broadcastPongToShard() {
        let primary = me.primary ?? NodeTable.myself
        for node in nodes[primary].replicas where node != NodeTable.myself {
            sendPing(.pong, to: node)
        }
    }

    // MARK: Receiving

    mutating func processGossip(_ entries: [GossipEntry], from sender: NodeHandle) {
        for entry in entries {
            guard let node = nodes.find(entry.id) else {
                addFromGossip(entry)
                continue
            }
            if node == NodeTable.myself { continue }
            let isFailing = !entry.flags.isDisjoint(with: [.failed, .possiblyFailed])
            if nodes[sender].isPrimary { takeReport(of: node, by: sender, isFailing: isFailing) }
            if !isFailing {
                adoptPongTime(entry.pongReceived, of: node)
                adoptAddress(entry, of: node)
            }
        }
    }

    /// A new node: trusted because the sender is. No handshake by address, for the address may
    /// belong to a node of another cluster by now.
    private mutating func addFromGossip(_ entry: GossipEntry) {
        guard !entry.flags.contains(.noAddress), !isBlacklisted(entry.id) else { return }
        guard !entry.ip.isEmpty, entry.busPort > 0 else { return }
        let flags = entry.flags.intersection([.primary, .replica, .noFailover, .migrateTo])
        var record = NodeRecord(
            id: entry.id, shard: NodeID(random: &random), flags: flags, now: now.instant)
        record.ip = entry.ip
        setPorts(&record, entry.port, entry.secondPort, entry.busPort)
        record.confirmedSend = now.instant
        _ = nodes.insert(record)
        wake(at: now.instant)
        log(.debug, .nodeAdded(entry.id))
        todo.insert([.save, .routing])
    }

    /// Somebody heard it later than we did, and nothing speaks against it.
    private mutating func adoptPongTime(_ seconds: UInt32, of node: NodeHandle) {
        guard nodes[node].pingSent == nil, reportCount(of: node) == 0 else { return }
        let wall = Int64(seconds) * 1000
        guard wall > 0, wall <= now.wall.milliseconds + 500 else { return }
        let heard = now.instant + Milliseconds(wall - now.wall.milliseconds)
        guard heard <= now.instant, heard > nodes[node].pongReceived ?? .start else { return }
        nodes[node].pongReceived = heard
    }

    /// A node that we cannot reach but the sender can, elsewhere: try there.
    private mutating func adoptAddress(_ entry: GossipEntry, of node: NodeHandle) {
        guard !nodes[node].isReachable, !entry.flags.contains(.noAddress) else { return }
        guard !entry.ip.isEmpty, entry.busPort > 0 else { return }
        var wanted = nodes[node]
        setPorts(&wanted, entry.port, entry.secondPort, entry.busPort)
        wanted.ip = entry.ip
        if sameAddress(wanted, nodes[node]) { return }
        if let link = nodes[node].link { close(link) }
        wanted.link = nil
        wanted.flags.remove(.noAddress)
        wanted.probe = CrashProbe()
        nodes[node] = wanted
        wake(at: now.instant)
        todo.insert([.save, .routing])
    }

    func sameAddress(_ a: NodeRecord, _ b: NodeRecord) -> Bool {
        a.tcpPort == b.tcpPort && a.tlsPort == b.tlsPort && a.busPort == b.busPort && a.ip == b.ip
    }

    /// The wire has the cluster's default port first; which that is, TLS decides.
    func setPorts(_ record: inout NodeRecord, _ first: Int, _ second: Int, _ bus: Int) {
        record.tcpPort = config.usesTLS ? second : first
        record.tlsPort = config.usesTLS ? first : second
        record.busPort = bus
    }

    /// The port of `node` for clients on the cluster's default kind of connection.
    func clientPort(of node: NodeHandle) -> Int {
        config.usesTLS ? nodes[node].tlsPort : nodes[node].tcpPort
    }

    mutating func processExtensions(_ items: [PingExtension], from sender: NodeHandle) {
        var hostname = ""
        var humanName = ""
        var shard: NodeID?
        for item in items {
            switch item {
            case .hostname(let name): hostname = name
            case .humanName(let name): humanName = name
            case .shard(let id): shard = id
            case .forgotten(let id, let seconds): forgetOnRequest(id, seconds: seconds)
            case .voters(let set): adopt(set, from: sender)
            case .unknown(let type): log(.debug, .unknownExtension(Int(type)))
            }
            if case .hostname = item { continue }
            if nodes.contains(sender) { nodes[sender].speaksExtensions = true }
        }
        guard nodes.contains(sender) else { return }
        if !isPrintable(hostname) { hostname = "" }
        if !isPrintable(humanName) { humanName = "" }
        if nodes[sender].hostname != hostname || nodes[sender].humanName != humanName {
            nodes[sender].hostname = hostname
            nodes[sender].humanName = humanName
            todo.insert([.save, .routing])
        }
        // A node that names no shard belongs to its primary's.
        if let shard {
            setShard(of: sender, to: shard)
        } else if let primary = nodes[sender].primary {
            setShard(of: sender, to: nodes[primary].shard)
        }
    }

    /// Names from the wire end up in nodes.conf: no byte that its syntax needs.
    private func isPrintable(_ name: String) -> Bool {
        name.utf8.count <= 255 && name.utf8.allSatisfy { isAuxiliaryByte($0) }
    }

    private mutating func forgetOnRequest(_ id: NodeID, seconds: UInt64) {
        guard let node = nodes.find(id), node != NodeTable.myself, me.primary != node else {
            return
        }
        let wait = Milliseconds(Int64(min(seconds, 3600)) * 1000)
        blacklist[id] = now.wall + wait
        forget(node)
        todo.insert([.save, .updateState])
    }

    // MARK: Forgetting

    func isBlacklisted(_ id: NodeID) -> Bool {
        guard let until = blacklist[id] else { return false }
        return until >= now.wall
    }

    mutating func expireBlacklist() {
        for (id, until) in blacklist where until < now.wall { blacklist[id] = nil }
    }

    /// Removes every trace of `node`.
    mutating func forget(_ node: NodeHandle) {
        invariant(node != NodeTable.myself, "this node cannot be forgotten")
        let id = nodes[node].id
        for (slot, target) in ownership.migrating where target == node {
            ownership.migrating[slot] = nil
        }
        for (slot, source) in ownership.importing where source == node {
            ownership.importing[slot] = nil
        }
        removeSlots(of: node)
        for replica in nodes[node].replicas { nodes[replica].primary = nil }
        if let primary = nodes[node].primary { removeReplica(node, of: primary) }
        nodes.updateEach { $0.reports[id] = nil }
        if manual.replica == node { resetManualFailover() }
        if let link = nodes[node].link { close(link) }
        if let link = nodes[node].inbound { close(link) }
        nodes.remove(node)
        log(.verbose, .nodeForgotten(id))
        todo.insert(.routing)
    }
}
