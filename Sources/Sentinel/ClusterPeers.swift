// The connections to the nodes of a cluster: made and made again, what is asked of each node and
// when. A node is asked for its view of the cluster once a second, less often when there are many.
import Base

extension SentinelState {
    private static var reconnectPeriod: Milliseconds { Milliseconds(100) }

    mutating func tickClusters() {
        for name in clusters.keys {
            addSeed(name)
            for key in clusters[name]?.peers.keys ?? [] {
                let peer = PeerKey(cluster: name, peer: key)
                renewSilentPeer(peer)
                checkForReturn(of: peer)
                connectPeerIfDue(peer)
                askViewIfDue(peer)
            }
            tickVoter(name)
        }
    }

    subscript(peer key: PeerKey) -> ClusterPeer? { clusters[key.cluster]?.peers[key.peer] }

    mutating func update(_ key: PeerKey, _ body: (inout ClusterPeer) -> Void) {
        clusters.update(key.cluster) { cluster in
            _ = cluster.peers.update(key.peer) { body(&$0) }
        }
    }

    /// The configured address is tried as long as none of the known nodes is connected.
    private mutating func addSeed(_ name: String) {
        guard let cluster = clusters[name], !cluster.peers.values.contains(where: \.isOpen) else {
            return
        }
        if settings.resolveHostnames, cluster.seed.isName {
            let known = names[cluster.seed.hostname.lowercased()] ?? ""
            clusters.update(name) { $0.seed.ip = known }
            if known.isEmpty { return askForName(cluster.seed.hostname) }
        }
        guard let seed = clusters[name]?.seed, !seed.ip.isEmpty else { return }
        let key = Self.text(seed.ip, seed.port)
        if cluster.peers.contains(key) { return }
        let peer = ClusterPeer(address: seed, now: instant)
        clusters.update(name) { $0.peers[key] = peer }
    }

    // MARK: Connecting

    private mutating func connectPeerIfDue(_ key: PeerKey) {
        guard let peer = self[peer: key], peer.connection == nil, instant >= peer.nextAttempt
        else { return }
        let isProbe = peer.evidence?.wantsProbe == true && busPort(of: key) > 0
        let now = instant
        let connection = ConnectionID(raw: nextConnection)
        nextConnection += 1
        peerConnections[connection] = key
        output.connect.append(
            SentinelConnect(
                connection: connection, host: peer.address.ip,
                port: isProbe ? busPort(of: key) : peer.address.port))
        update(key) { peer in
            peer.connection = connection
            peer.connectedAt = now
            peer.isOpen = false
            peer.isProbingBus = isProbe
            peer.nodeID = nil
            peer.vote = nil
            peer.pulseSent = nil
            peer.stream = ReplyStream()
            peer.awaited = []
            peer.viewAsked = nil
        }
    }

    /// A connection that brings no answers for a node timeout is made anew: after a partition its
    /// packets may wait for a minute, and a new one finds the way at once.
    private mutating func renewSilentPeer(_ key: PeerKey) {
        guard let peer = self[peer: key], peer.connection != nil else { return }
        let limit = max(clusters[key.cluster]?.nodeTimeout ?? .zero, Milliseconds(1000))
        let waitsSince = peer.isOpen
            ? (peer.awaited.contains(.pulse) ? peer.pulseSent : nil) : peer.connectedAt
        guard let waitsSince, instant - waitsSince > limit else { return }
        closePeer(key)
    }

    private func busPort(of key: PeerKey) -> Int {
        guard let cluster = clusters[key.cluster],
            let id = cluster.peers[key.peer]?.evidence?.nodeID
        else { return 0 }
        return cluster.topology.nodes[id]?.busPort ?? 0
    }

    mutating func peerOpened(_ key: PeerKey, _ localAddress: String) {
        let isProbe = self[peer: key]?.isProbingBus ?? false
        if isProbe {
            // Somebody listens at the bus's port, so the process lives.
            update(key) { $0.evidence = nil }
            return closePeer(key)
        }
        update(key) { peer in
            peer.isOpen = true
            peer.attempts = 0
            peer.localAddress = localAddress
        }
        guard let template = clusters[key.cluster]?.template else { return }
        if let password = template.authPassword {
            tell(key, .discard, ["AUTH"] + (template.authUser.map { [$0] } ?? []) + [password])
        }
        tell(key, .discard, ["CLIENT", "SETNAME", "sentinel-\(myID.prefix(8))-cluster"])
        tell(key, .identity, ["CLUSTER", "MYID"])
        askViewIfDue(key)
    }

    mutating func peerClosed(
        _ connection: ConnectionID, _ key: PeerKey, _ end: ConnectionEnd = .lost
    ) {
        peerConnections[connection] = nil
        guard self[peer: key]?.connection == connection else { return }
        let now = instant
        let wasOpen = self[peer: key]?.isOpen ?? false
        update(key) { peer in
            peer.connection = nil
            peer.isOpen = false
            peer.attempts += 1
            // Quick at first, then once a second: a node that is gone for good costs little.
            let pace = Self.reconnectPeriod * Int64(min(10, 1 + peer.attempts / 10))
            peer.nextAttempt = now + pace
            peer.noteEnd(end, wasOpen: wasOpen, at: now)
        }
        if self[peer: key]?.evidence?.isEstablished == true { establishDeath(of: key) }
        if wasOpen { followCluster(key.cluster) }
        connectPeerIfDue(key)
    }

    /// A container that dies takes its address along: nobody is left to refuse. What was broken by
    /// the other side's kernel and did not come back in time is gone as well.
    private mutating func checkForReturn(of key: PeerKey) {
        guard let peer = self[peer: key], !peer.isOpen, let evidence = peer.evidence,
            evidence.isPatienceOver(at: instant)
        else { return }
        if evidence.isValid(at: instant) {
            establishDeath(of: key)
        } else {
            update(key) { $0.evidence = nil }
        }
        closePeer(key)
    }

    /// The process of a node is gone.
    private mutating func establishDeath(of key: PeerKey) {
        guard let id = self[peer: key]?.evidence?.nodeID else { return }
        update(key) { $0.evidence = nil }
        clusters.update(key.cluster) { cluster in
            _ = cluster.watches.update(id) { $0.isDead = true }
        }
        tickVoter(key.cluster)
    }

    /// Ends a connection from this side.
    mutating func closePeer(_ key: PeerKey) {
        guard let connection = self[peer: key]?.connection else { return }
        output.close.append(connection)
        peerClosed(connection, key)
    }

    // MARK: Asking

    mutating func tell(_ key: PeerKey, _ purpose: ClusterPurpose, _ words: [String]) {
        guard let peer = self[peer: key], let connection = peer.connection, peer.isOpen else {
            return
        }
        let renamed = clusters[key.cluster]?.template.renamedCommands[words[0].lowercased()]?.to
        let sent = [renamed ?? words[0]] + words.dropFirst()
        update(key) { $0.awaited.append(purpose) }
        output.send.append(SentinelSend(connection: connection, bytes: Request.encode(sent)))
    }

    private mutating func askViewIfDue(_ key: PeerKey) {
        guard let peer = self[peer: key], peer.isOpen, !peer.awaited.contains(.nodes) else {
            return
        }
        let period = Milliseconds(max(1000, 50 * Int64(clusters[key.cluster]?.peers.count ?? 0)))
        if let asked = peer.viewAsked, instant - asked < period { return }
        askView(key)
    }

    mutating func askView(_ key: PeerKey) {
        let now = instant
        update(key) { $0.viewAsked = now }
        tell(key, .nodes, ["CLUSTER", "NODES"])
    }

    // MARK: Answers

    mutating func peerReceived(_ connection: ConnectionID, _ key: PeerKey, _ bytes: [UInt8]) {
        update(key) { $0.stream.append(bytes) }
        while let peer = self[peer: key], peer.connection == connection {
            var outcome = ReplyStream.Outcome.incomplete
            update(key) { outcome = $0.stream.next() }
            switch outcome {
            case .incomplete: return
            case .malformed: return closePeer(key)
            case .reply(let reply):
                guard let purpose = peer.awaited.first else { return closePeer(key) }
                update(key) { peer in
                    peer.awaited.removeFirst()
                    // Whoever answers lives.
                    peer.evidence = nil
                }
                take(reply, purpose, key)
            }
        }
    }

    private mutating func take(_ reply: Reply, _ purpose: ClusterPurpose, _ key: PeerKey) {
        switch purpose {
        case .discard: break
        case .identity:
            guard let id = reply.text, ClusterView.isNodeID(id) else { return }
            update(key) { $0.nodeID = id }
        case .nodes:
            guard let text = reply.text, let view = ClusterView(text) else { return }
            takeView(view, key)
        case .pulse: takePulseReply(reply, key)
        }
    }

    private mutating func takeView(_ view: ClusterView, _ key: PeerKey) {
        guard let peer = self[peer: key] else { return }
        if peer.view == view { return }
        update(key) { peer in
            peer.view = view
            peer.nodeID = view.myself?.id ?? peer.nodeID
        }
        followCluster(key.cluster)
    }
}

extension ClusterPeer {
    /// What the end of its connection says about its process, and when to try again.
    fileprivate mutating func noteEnd(_ end: ConnectionEnd, wasOpen: Bool, at now: Instant) {
        if wasOpen {
            guard end == .broken else { return evidence = nil }
            if let nodeID {
                evidence = DeathEvidence(of: nodeID, lostAt: now)
                nextAttempt = now
            } else {
                evidence?.brokenAgain(at: now)
            }
        } else {
            evidence?.failed(isRefusal: end == .refused)
        }
        guard let evidence else { return }
        if !evidence.isValid(at: now) { return self.evidence = nil }
        // Soon enough, and not as fast as a port that accepts and hangs up would have it.
        if evidence.isPressing { nextAttempt = now + DeathEvidence.spacing }
    }
}
