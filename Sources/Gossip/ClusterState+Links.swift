// Connections and the packets in them. Each pair of nodes has two connections, each opened by one
// side and used for that side's messages; the other side only answers on it. A connection that
// carries a damaged packet is closed: after a wrong length there is no way to find the next one.
import Base
import HashSlots

struct LinkState: Sendable {
    var node: NodeHandle?
    let created: Instant
    /// The same on the wall clock, for reports: it must not move with that clock.
    let createdAt: WallTime
    var isOpen: Bool
    var peerAddress = ""
    var localAddress = ""
    /// Bytes of a packet that is not complete yet.
    var buffer: [UInt8] = []
    /// When the pings that still wait for their answers were sent, oldest first.
    var pings: [Instant] = []
}

extension ClusterState {
    /// A peer that leaves so many pings unanswered while others are answered lost some: the
    /// answers can no longer be matched, so the connection starts over.
    private static let largestPingBacklog = 64

    // MARK: Life

    mutating func openLink(to node: NodeHandle) {
        invariant(nodes[node].link == nil, "a node has one outgoing link")
        let link = LinkID(raw: nextLink)
        nextLink += 2
        links[link] = LinkState(
            node: node, created: now.instant, createdAt: now.wall, isOpen: false)
        nodes[node].link = link
        output.connect.append(
            ConnectRequest(link: link, host: nodes[node].ip, port: nodes[node].busPort))
    }

    mutating func linkOpened(_ link: LinkID) {
        guard let state = links[link], let node = state.node, !state.isOpen else { return }
        invariant(link.isOutgoing, "only an outgoing link is opened by us")
        _ = links.update(link) { $0.isOpen = true }
        // Ping at once, so that the failure detector has something to wait for. A ping that was
        // waiting for its answer when the last link broke keeps its time.
        let waitingSince = nodes[node].pingSent
        let isMeeting = nodes[node].flags.contains(.meet)
        sendPing(isMeeting ? .meet : .ping, on: link)
        if let waitingSince { nodes[node].pingSent = waitingSince }
        nodes[node].flags.remove(.meet)
        nodes[node].probe.connected()
    }

    mutating func linkAccepted(_ link: LinkID, _ peer: String, _ local: String) {
        invariant(!link.isOutgoing, "an accepted link has an even number")
        invariant(!links.contains(link), "a link number must not be used twice")
        var state = LinkState(
            node: nil, created: now.instant, createdAt: now.wall, isOpen: true)
        state.peerAddress = peer
        state.localAddress = local
        links[link] = state
    }

    mutating func linkClosed(_ link: LinkID, _ why: LinkFailure) {
        guard let state = links[link] else { return }
        if why == .outputLimit { stats.linksOverLimit += 1 }
        detach(link)
        guard link.isOutgoing, let node = state.node else { return }
        if state.isOpen {
            linkLost(to: node, why)
        } else {
            connectFailed(to: node, why)
        }
    }

    /// Ends a link from our side.
    mutating func close(_ link: LinkID) {
        guard links.contains(link) else { return }
        detach(link)
        output.close.append(link)
    }

    private mutating func detach(_ link: LinkID) {
        if let node = links[link]?.node {
            if nodes[node].link == link { nodes[node].link = nil }
            if nodes[node].inbound == link { nodes[node].inbound = nil }
        }
        links[link] = nil
    }

    /// The open outgoing link to `node`.
    func openLink(of node: NodeHandle) -> LinkID? {
        guard let link = nodes[node].link, links[link]?.isOpen ?? false else { return nil }
        return link
    }

    /// Says that the accepted `link` comes from `node`. One of two is the outdated one: the older.
    mutating func attachInbound(_ link: LinkID, to node: NodeHandle) {
        invariant(!link.isOutgoing, "an outgoing link knows its node")
        if let old = nodes[node].inbound, old != link { close(old) }
        nodes[node].inbound = link
        _ = links.update(link) { $0.node = node }
    }

    // MARK: Packets in

    mutating func received(_ link: LinkID, _ bytes: [UInt8]) {
        guard var state = links[link] else { return }
        var buffer = state.buffer
        state.buffer = []
        links[link] = state
        if buffer.isEmpty { buffer = bytes } else { buffer.append(contentsOf: bytes) }

        var start = 0
        while buffer.count - start >= 8 {
            switch frame(buffer, start, link) {
            case .incomplete:
                keep(buffer, from: start, on: link)
                return
            case .damaged(let reason):
                return giveUp(link, reason)
            case .complete(let end):
                receivedPacket(buffer, start..<end, link)
                start = end
                // The packet may have ended its own link.
                guard links.contains(link) else { return }
            }
        }
        keep(buffer, from: start, on: link)
    }

    private enum Frame {
        case incomplete
        case complete(end: Int)
        case damaged(BadPacket)
    }

    private func frame(_ buffer: [UInt8], _ start: Int, _ link: LinkID) -> Frame {
        var reader = BusReader(buffer, start..<buffer.count)
        guard reader.take(4) == BusLayout.signature else { return .damaged(.signature) }
        let length = Int(reader.u32())
        guard length >= BusLayout.headerSize else { return .damaged(.length) }
        let isKnown = links[link]?.node != nil
        guard length <= (isKnown ? BusLayout.largestPacket : BusLayout.largestUnknown) else {
            return .damaged(.oversized)
        }
        return buffer.count - start < length ? .incomplete : .complete(end: start + length)
    }

    private mutating func keep(_ buffer: [UInt8], from start: Int, on link: LinkID) {
        _ = links.update(link) { $0.buffer = start == 0 ? buffer : Array(buffer[start...]) }
    }

    private mutating func giveUp(_ link: LinkID, _ reason: BadPacket) {
        count(reason, link)
        let node = links[link]?.node
        close(link)
        guard link.isOutgoing, let node else { return }
        nodes[node].probe.retry(at: now.instant + Milliseconds(100))
    }

    private mutating func count(_ reason: BadPacket, _ link: LinkID) {
        let index = BadPacket.allCases.firstIndex(of: reason) ?? 0
        stats.bad[index] += 1
        log(.warning, .badPacket(reason, peer: links[link]?.peerAddress ?? ""))
    }

    private mutating func receivedPacket(_ buffer: [UInt8], _ range: Range<Int>, _ link: LinkID) {
        let type = Int(buffer[range.lowerBound + 12]) << 8 | Int(buffer[range.lowerBound + 13])
        if type < BusMessageType.count { stats.received[type] += 1 }
        if let dropped = debug.droppedType, dropped == type || dropped == -2 {
            log(.warning, .packetDropped(type: type))
            if debug.closesLinkOnDrop { close(link) }
            return
        }
        do throws(BadPacketError) {
            process(try BusMessage.decode(buffer, range), on: link)
        } catch {
            // The frame was whole, so the next packet can be found: the reference skips such a
            // packet and keeps the link, and so a newer release's message does no harm.
            if error.reason == .unknownType || error.reason == .version {
                count(error.reason, link)
            } else {
                giveUp(link, error.reason)
            }
        }
    }

    // MARK: Packets out

    mutating func send(_ message: BusMessage, on link: LinkID) {
        guard links[link]?.isOpen ?? false else { return }
        stats.sent[Int(message.header.type)] += 1
        outbox.append(Outgoing(link: link, bytes: message.encoded()))
    }

    /// Sends to `node` over our link to it, if that is up.
    mutating func send(_ type: BusMessageType, _ body: BusBody, to node: NodeHandle) {
        guard !emptyStart.isWaiting || type == .authAck, let link = openLink(of: node) else {
            return
        }
        send(BusMessage(header: header(type), body: body), on: link)
    }

    /// Sends to every node that is known by its real name.
    mutating func broadcast(_ type: BusMessageType, _ body: BusBody, flags: MessageFlags = []) {
        if emptyStart.isWaiting { return }
        var header = header(type)
        header.messageFlags.formUnion(flags)
        let bytes = BusMessage(header: header, body: body).encoded()
        for node in nodes.handles where node != NodeTable.myself && !nodes[node].isHandshake {
            guard let link = openLink(of: node) else { continue }
            stats.sent[Int(type.rawValue)] += 1
            outbox.append(Outgoing(link: link, bytes: bytes))
        }
    }

    mutating func notePing(on link: LinkID, to node: NodeHandle) {
        nodes[node].pingSent = now.instant
        _ = links.update(link) { $0.pings.append(now.instant) }
        if (links[link]?.pings.count ?? 0) > ClusterState.largestPingBacklog { close(link) }
    }

    /// Matches an answer with its ping: links keep the order, so it is the oldest. Returns when
    /// that was sent.
    mutating func notePong(on link: LinkID, from node: NodeHandle) -> Instant? {
        nodes[node].pongReceived = now.instant
        nodes[node].pingSent = nil
        let sent = links.update(link) { state in
            state.pings.isEmpty ? nil : state.pings.removeFirst()
        }
        return sent ?? nil
    }

    /// What every packet of this node says about it.
    func header(_ type: BusMessageType) -> BusHeader {
        var header = BusHeader(type: type.rawValue, sender: me.id)
        let source = me.isReplica ? me.primary ?? NodeTable.myself : NodeTable.myself
        header.port = config.usesTLS ? config.announcedTLSPort : config.announcedTCPPort
        header.secondPort = config.usesTLS ? config.announcedTCPPort : config.announcedTLSPort
        header.busPort = config.announcedBusPort
        header.currentEpoch = currentEpoch
        header.configEpoch = nodes[source].configEpoch
        header.offset = UInt64(bitPattern: facts.replicationOffset)
        header.slots = nodes[source].slots
        header.primary = me.primary.map { nodes[$0].id }
        header.ip = config.announceIP
        header.flags = me.flags
        header.state = isUp ? 0 : 1
        header.messageFlags = [.extended, .knowsVoters]
        header.voterVersion = voters.version
        if me.isPrimary, manual.end != nil { header.messageFlags.insert(.paused) }
        if emptyStart.isWaiting { header.messageFlags.insert(.dataLost) }
        return header
    }

    mutating func publish(channel: [UInt8], message: [UInt8], sharded: Bool) {
        let body = BusBody.publish(channel: channel, message: message)
        guard sharded else { return broadcast(.publish, body) }
        let primary = me.isPrimary ? NodeTable.myself : me.primary
        guard let primary else { return }
        for node in [primary] + nodes[primary].replicas where node != NodeTable.myself {
            send(.publishShard, body, to: node)
        }
    }
}
