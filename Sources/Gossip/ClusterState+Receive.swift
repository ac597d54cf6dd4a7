// What a packet changes. One function per kind of message; each first turns away what it must not
// act on, so that its body is the ordinary case. The order of the questions about a PING or PONG
// (address, liveness, role, slots, epochs, gossip) is the reference's: roles must be settled
// before slots, and slots before epochs can collide.
import Base
import HashSlots

extension ClusterState {
    mutating func process(_ message: BusMessage, on link: LinkID) {
        let header = message.header
        guard let type = BusMessageType(rawValue: header.type) else { return }
        if isFromWrongNode(header, link) { return mismatch(link) }
        let sender = identifySender(header, link)
        if sender == NodeTable.myself { return processOwn(header, type, link) }
        if let sender { noteSender(sender, header) }
        switch type {
        case .ping, .pong, .meet:
            guard case .ping(let gossip, let extensions) = message.body else { return }
            processPing(header, type, gossip, extensions, sender, link)
        case .fail:
            guard case .fail(let id) = message.body else { return }
            processFail(about: id, sender)
        case .publish, .publishShard:
            guard sender != nil, case .publish(let channel, let text) = message.body else { return }
            act(.publishLocally(channel: channel, message: text, sharded: type == .publishShard))
        case .authRequest:
            if let sender { considerVote(for: sender, header) }
        case .authAck:
            if let sender { takeVote(from: sender, header) }
        case .manualStart:
            if let sender { manualStartRequested(by: sender, on: link) }
        case .update:
            guard let sender, case .update(let epoch, let id, let slots) = message.body else {
                return
            }
            processUpdate(from: sender, epoch: epoch, about: id, slots)
        case .module: break
        }
    }

    // MARK: Who sent it

    /// An outgoing link leads to one node; another one answers there when an address was reused.
    private func isFromWrongNode(_ header: BusHeader, _ link: LinkID) -> Bool {
        guard link.isOutgoing, let node = links[link]?.node else { return false }
        return !nodes[node].isHandshake && nodes[node].id != header.sender
    }

    private mutating func mismatch(_ link: LinkID) {
        guard let node = links[link]?.node else { return }
        log(.debug, .senderMismatch(nodes[node].id))
        nodes[node].flags.insert(.noAddress)
        nodes[node].ip = ""
        nodes[node].tcpPort = 0
        nodes[node].tlsPort = 0
        nodes[node].busPort = 0
        close(link)
        todo.insert([.save, .routing])
    }

    /// The node that `header` names; an accepted link learns here where it comes from.
    private mutating func identifySender(_ header: BusHeader, _ link: LinkID) -> NodeHandle? {
        let sender = nodes.find(header.sender)
        guard !link.isOutgoing, sender != NodeTable.myself else { return sender }
        let known = links[link]?.node
        if let sender, known != sender {
            if let known, nodes[known].inbound == link { nodes[known].inbound = nil }
            attachInbound(link, to: sender)
        }
        return sender
    }

    /// A packet from this very node: somebody made it meet itself.
    private mutating func processOwn(_ header: BusHeader, _ type: BusMessageType, _ link: LinkID) {
        if link.isOutgoing, let node = links[link]?.node, nodes[node].isHandshake {
            return forget(node)
        }
        if type == .ping || type == .meet {
            learnOwnAddress(type, link)
            sendPing(.pong, on: link)
        }
    }

    private mutating func noteSender(_ sender: NodeHandle, _ header: BusHeader) {
        nodes[sender].dataReceived = now.instant
        nodes[sender].wasHeard = true
        if nodes[sender].isHandshake { return }
        if !nodes[sender].isReachable { nodes[sender].probe.heard(at: now.instant) }
        currentEpoch = max(currentEpoch, max(header.currentEpoch, header.configEpoch))
        if header.configEpoch > nodes[sender].configEpoch {
            nodes[sender].configEpoch = header.configEpoch
            todo.insert([.save, .sync])
        }
        nodes[sender].offset = Int64(bitPattern: header.offset)
        nodes[sender].offsetTime = now.instant
        nodes[sender].isExtended = header.messageFlags.contains(.extended)
        if nodes[sender].isExtended { nodes[sender].speaksExtensions = true }
        noteVoterVersion(of: sender, header)
        noteManualOffset(from: sender, header)
        noteLostData(of: sender, header)
        // A brother's offset may settle who goes first.
        if election.isWaiting, nodes[sender].primary != nil, nodes[sender].primary == me.primary {
            todo.insert(.failover)
        }
    }

    private mutating func noteVoterVersion(of sender: NodeHandle, _ header: BusHeader) {
        let knowsVoters = header.messageFlags.contains(.knowsVoters)
        let isNews = header.voterVersion != nodes[sender].voterVersion
        nodes[sender].knowsVoters = knowsVoters
        nodes[sender].voterVersion = header.voterVersion
        if isNews, voterChange.phase != .idle { advanceVoterChange() }
    }

    // MARK: PING, PONG, MEET

    private mutating func processPing(
        _ header: BusHeader, _ type: BusMessageType, _ gossip: [GossipEntry],
        _ extensions: [PingExtension], _ sender: NodeHandle?, _ link: LinkID
    ) {
        if type != .pong {
            learnOwnAddress(type, link)
            if sender == nil, type == .meet { welcome(header, link) }
            sendPing(.pong, on: link, flags: answerFlags(to: sender, header))
        }
        if link.isOutgoing, let node = links[link]?.node, nodes[node].isHandshake {
            guard finishHandshake(of: node, header, sender, link) else { return }
        }
        guard let sender else { return }
        updateFlags(of: sender, header)
        if type == .ping { updateAddress(of: sender, header, link) }
        if link.isOutgoing, type == .pong { takeAnswer(from: sender, header, link) }
        updateRole(of: sender, header)
        compareSlots(of: sender, header)
        resolveCollision(with: sender, header)
        processGossip(gossip, from: sender)
        processExtensions(extensions, from: sender)
    }

    private func answerFlags(to sender: NodeHandle?, _ header: BusHeader) -> MessageFlags {
        guard let sender else { return [] }
        var flags: MessageFlags = withholdsLease(from: sender, header) ? .withheld : []
        if header.messageFlags.contains(.asksConsent), consents(to: header) {
            flags.insert(.consents)
        }
        return flags
    }

    private mutating func takeAnswer(
        from sender: NodeHandle, _ header: BusHeader, _ link: LinkID
    ) {
        let sent = notePong(on: link, from: sender)
        reachable(sender)
        guard let sent else { return }
        if !header.messageFlags.contains(.withheld) { confirmed(by: sender, pingOf: sent) }
        if header.messageFlags.contains(.consents) {
            takeConsent(from: sender, header, askedAt: sent)
        }
    }

    /// MEET packets are sent to our official address, so the socket that got one knows it. Without
    /// any address even a PING's will do; a MEET puts it right later.
    private mutating func learnOwnAddress(_ type: BusMessageType, _ link: LinkID) {
        guard type == .meet || me.ip.isEmpty, config.announceIP.isEmpty else { return }
        guard let local = links[link]?.localAddress, !local.isEmpty, local != me.ip else { return }
        me.ip = local
        log(.notice, .ownAddressChanged(local))
        todo.insert([.save, .routing])
    }

    /// An administrator made `header.sender` meet us: shake hands. Name, role and the rest come
    /// with its answer.
    private mutating func welcome(_ header: BusHeader, _ link: LinkID) {
        let ip = header.ip.isEmpty ? links[link]?.peerAddress ?? "" : header.ip
        guard !ip.isEmpty, header.busPort > 0, header.port > 0 else { return }
        if isShakingHands(ip, header.port, header.busPort) { return }
        startHandshake(ip, header.port, header.secondPort, header.busPort, flags: [.handshake])
        todo.insert(.save)
    }

    func isShakingHands(_ ip: String, _ port: Int, _ busPort: Int) -> Bool {
        nodes.handles.contains { handle in
            nodes[handle].isHandshake && nodes[handle].ip == ip
                && clientPort(of: handle) == port && nodes[handle].busPort == busPort
        }
    }

    mutating func startHandshake(
        _ ip: String, _ port: Int, _ secondPort: Int, _ busPort: Int, flags: NodeFlags
    ) {
        invariant(flags.contains(.handshake), "a handshake node must be flagged")
        var record = NodeRecord(
            id: NodeID(random: &random), shard: NodeID(random: &random), flags: flags,
            now: now.instant)
        record.ip = ip
        setPorts(&record, port, secondPort, busPort)
        record.confirmedSend = now.instant
        _ = nodes.insert(record)
        wake(at: now.instant)
    }

    /// The answer to our first packet. False when the link is gone.
    private mutating func finishHandshake(
        of node: NodeHandle, _ header: BusHeader, _ sender: NodeHandle?, _ link: LinkID
    ) -> Bool {
        if let sender {
            log(.verbose, .handshakeKnown(header.sender))
            updateAddress(of: sender, header, link)
            forget(node)
            return false
        }
        nodes.rename(node, to: header.sender)
        log(.debug, .handshakeCompleted(header.sender))
        nodes[node].flags.remove([.handshake, .meet])
        nodes[node].flags.formUnion(header.flags.intersection([.primary, .replica]))
        // This packet was the first of a known node: what `noteSender` skipped follows with the
        // next one, but liveness and the answered ping count from here.
        if let sent = notePong(on: link, from: node) { confirmed(by: node, pingOf: sent) }
        nodes[node].dataReceived = now.instant
        todo.insert([.save, .routing])
        return true
    }

    private mutating func updateFlags(of sender: NodeHandle, _ header: BusHeader) {
        let isUnwilling = header.flags.contains(.noFailover)
        if isUnwilling {
            nodes[sender].flags.insert(.noFailover)
        } else {
            nodes[sender].flags.remove(.noFailover)
        }
    }

    /// Takes the address from a PING of `sender`. Our own link to it is closed when it leads
    /// elsewhere; the packet never came by that link.
    private mutating func updateAddress(
        of sender: NodeHandle, _ header: BusHeader, _ link: LinkID
    ) {
        if nodes[sender].isHandshake || nodes[sender].link == link { return }
        let ip = header.ip.isEmpty ? peerAddress(of: link) : header.ip
        guard !ip.isEmpty else { return }
        var wanted = nodes[sender]
        setPorts(&wanted, header.port, header.secondPort, header.busPort)
        wanted.ip = ip
        if sameAddress(wanted, nodes[sender]) { return }
        if let old = nodes[sender].link { close(old) }
        nodes[sender].ip = ip
        nodes[sender].tcpPort = wanted.tcpPort
        nodes[sender].tlsPort = wanted.tlsPort
        nodes[sender].busPort = wanted.busPort
        nodes[sender].flags.remove(.noAddress)
        nodes[sender].probe = CrashProbe()
        log(.notice, .addressChanged(header.sender, host: ip, port: header.port))
        if me.primary == sender { replicateFromPrimary() }
        wake(at: now.instant)
        todo.insert([.save, .updateState, .routing])
    }

    private func peerAddress(of link: LinkID) -> String {
        guard let state = links[link] else { return "" }
        if !state.peerAddress.isEmpty { return state.peerAddress }
        return state.node.map { nodes[$0].ip } ?? ""
    }

    private mutating func updateRole(of sender: NodeHandle, _ header: BusHeader) {
        guard let primaryID = header.primary else { return setAsPrimary(sender) }
        if !nodes[sender].isReplica {
            removeSlots(of: sender)
            nodes[sender].flags.remove([.primary, .migrateTo])
            nodes[sender].flags.insert(.replica)
            todo.insert([.save, .updateState, .routing])
        }
        guard let primary = nodes.find(primaryID), primary != sender else { return }
        if nodes[sender].primary == primary { return }
        if let old = nodes[sender].primary { removeReplica(sender, of: old) }
        addReplica(sender, of: primary)
        nodes[sender].primary = primary
        setShard(of: sender, to: nodes[primary].shard)
        todo.insert([.save, .routing])
    }

    /// Both ways: what the sender claims and we did not know, and what it claims by mistake.
    private mutating func compareSlots(of sender: NodeHandle, _ header: BusHeader) {
        guard let owner = nodes[sender].isPrimary ? sender : nodes[sender].primary else { return }
        guard nodes[owner].slots != header.slots else { return }
        if nodes[sender].isPrimary {
            updateSlots(claimedBy: sender, epoch: header.configEpoch, header.slots)
        }
        // A node that comes back after a partition may claim slots that were given to another one
        // in the meantime, whom it cannot reach: we tell it.
        var disputed = header.slots
        disputed.subtract(nodes[sender].slots)
        for slot in disputed.slots {
            guard let current = ownership.owner(of: slot), !isUnclaimed(slot),
                nodes[current].configEpoch > header.configEpoch
            else { continue }
            log(.verbose, .staleSlots(header.sender, owner: nodes[current].id))
            sendUpdate(about: current, to: sender)
            break
        }
    }

    private mutating func sendUpdate(about owner: NodeHandle, to node: NodeHandle) {
        var slots = nodes[owner].slots
        slots.subtract(ownership.notClaimed)
        let epoch = nodes[owner].configEpoch
        send(.update, .update(configEpoch: epoch, node: nodes[owner].id, slots: slots), to: node)
    }

    // MARK: The others

    private mutating func processFail(about id: NodeID, _ sender: NodeHandle?) {
        guard let sender else { return log(.notice, .failFromUnknown(about: id)) }
        guard let node = nodes.find(id), node != NodeTable.myself, !nodes[node].isFailed else {
            return
        }
        // A candidate repeats what it was told, perhaps long ago. A node that does not suspect
        // `node` itself takes it only from those who decide; every majority of reports has
        // enough voters in it that do suspect it.
        guard nodes[sender].isVoting || !nodes[node].isReachable else { return }
        log(.notice, .failReceived(from: nodes[sender].id, about: id))
        setFailed(node)
    }

    private mutating func processUpdate(
        from sender: NodeHandle, epoch: UInt64, about id: NodeID, _ slots: SlotSet
    ) {
        guard let node = nodes.find(id), nodes[node].configEpoch < epoch else { return }
        if nodes[node].isReplica, node != NodeTable.myself { setAsPrimary(node) }
        currentEpoch = max(currentEpoch, epoch)
        if node != NodeTable.myself { nodes[node].configEpoch = epoch }
        todo.insert([.save, .sync])
        updateSlots(claimedBy: node, epoch: epoch, slots)
    }
}
