// The loop of a simulated process, as the server's event loop runs it: read the clock, hand over
// what arrived, end the iteration, sleep. It stands still while the process is stopped.
import Base
import Engine
import Gossip
import NodeCore
import RESP

extension Simulation {
    func deliver(_ arrival: Arrival, to node: SimNode) {
        guard node.isRunning else { return }
        node.inbox.append(arrival)
        wake(node, at: time + Microseconds(prng.below(30)))
    }

    func wake(_ node: SimNode, at wanted: Microseconds) {
        let at = max(wanted, node.pausedUntil)
        guard at < node.wakeAt else { return }
        node.wakeAt = at
        node.wakeToken += 1
        queue.add(.iterate(node: node.index, token: node.wakeToken), at: at)
    }

    func iterate(_ owner: SimNode) {
        owner.wakeAt = .max
        guard owner.isRunning, let node = owner.node else { return }
        if owner.pausedUntil > time { return wake(owner, at: owner.pausedUntil) }
        node.setNow(owner.clock.now(time))
        let arrivals = owner.inbox
        owner.inbox.removeAll(keepingCapacity: true)
        for arrival in arrivals { take(arrival, owner, node) }
        var shell = SimShell(simulation: self, owner: owner)
        let sleep = node.beforeSleep(&shell)
        owner.iterations += 1
        if owner.isCrashing {
            note(owner, "dies in the middle of an iteration")
            return crash(owner, as: .dead)
        }
        if let problem = checks.iterated(owner, node) { return fail("epochs", problem) }
        wake(owner, at: time + max(Microseconds(sleep.count) * 1000, 25))
    }

    private func take(_ arrival: Arrival, _ owner: SimNode, _ node: NodePointer) {
        switch arrival {
        case .accepted(let connection): accept(connection, owner, node)
        case .packet(let connection, let side, let packet):
            take(packet, connection, side, owner, node)
        case .room(let connection, let side):
            guard case .session(let session) = connection[side] else { return }
            write(owner, session, to: connection)
        case .fileDone(let ticket, let failure): node.fileDone(ticket: ticket, failure: failure)
        case .terminate: node.signal(.terminate)
        }
    }

    private func accept(_ connection: SimConnection, _ owner: SimNode, _ node: NodePointer) {
        guard case .backlog = connection.acceptor else { return }
        let peer = SimNode.address(of: connection.hosts.opener)
        if connection.port == owner.busPort {
            owner.acceptedLinks += 1
            let link = NodePointer.inboundLink(owner.acceptedLinks)
            connection.acceptor = .link(link)
            owner.links[link] = connection
            node.busAccepted(link, peer: peer, local: owner.address)
            return
        }
        switch node.acceptClient(
            peer: "\(peer):\(40000 + connection.id % 20000)",
            local: "\(owner.address):\(owner.port)", unixSocket: false)
        {
        case .session(let session):
            session.pointee.driver = UnsafeMutableRawPointer(bitPattern: UInt(connection.id))
            connection.acceptor = .session(session)
            owner.sessions[connection.id] = connection
        case .refuse: close(connection, .acceptor, of: owner)
        }
    }

    private func take(
        _ packet: Packet, _ connection: SimConnection, _ side: Side, _ owner: SimNode,
        _ node: NodePointer
    ) {
        if case .bytes(let bytes, _) = packet { free(bytes.count, connection, from: side.other) }
        switch (connection[side], packet) {
        case (.link(let link), .opened): node.linkOpened(link)
        case (.link(let link), .bytes(let bytes, _)): bytes.withBytes { node.linkData(link, $0) }
        case (.link(let link), .closed(let why)):
            forget(connection, side, of: owner)
            node.linkClosed(link, why)
        case (.session(let session), .bytes(let bytes, _)):
            guard !session.pointee.flags.contains(.closeNow) else { return }
            session.pointee.input.pointee.append(bytes)
            node.clientReadable(session)
        case (.session(let session), .closed):
            forget(connection, side, of: owner)
            node.sessionClosed(session)
        default: break
        }
    }

    /// The receiver took bytes: a sender that waits for room may go on.
    private func free(_ count: Int, _ connection: SimConnection, from sender: Side) {
        connection[from: sender].unread -= count
        guard connection[from: sender].wantsRoom else { return }
        connection[from: sender].wantsRoom = false
        let host = connection.host(sender)
        if host < nodes.count, connection.isOpen(sender) {
            deliver(.room(connection, sender), to: nodes[host])
        }
    }

    /// Writes what a session has for its client, as far as the connection takes it.
    func write(
        _ owner: SimNode, _ session: UnsafeMutablePointer<Session>, to connection: SimConnection
    ) {
        guard let node = owner.node, case .session = connection.acceptor else { return }
        let stamp = checks.stamp(of: node, session, at: time)
        while true {
            let bytes = node.nextOutput(session)
            guard !bytes.isEmpty else { return }
            let room = SimConnection.window - connection.back.unread
            guard room > 0 else {
                connection.back.wantsRoom = true
                return
            }
            let count = min(room, bytes.count)
            send(connection, from: .acceptor, .bytes(bytes[0..<count].array, stamp: stamp))
            node.wrote(session, count)
        }
    }

    // MARK: The disk

    func startDisk(_ owner: SimNode) {
        guard !owner.diskIsBusy, !owner.disk.isIdle else { return }
        owner.diskIsBusy = true
        let duration = owner.disk.duration(&prng)
        queue.add(
            .diskDone(node: owner.index, incarnation: owner.incarnation), at: time + duration)
    }

    func finishDisk(_ owner: SimNode) {
        owner.diskIsBusy = false
        guard owner.isRunning, let done = owner.disk.finishFirst() else { return }
        if done.isExit { return end(owner, as: .dead, sendsFin: true) }
        if let synced = done.synced {
            checks.synced(owner, name: synced.name, contents: synced.contents)
        }
        if let ticket = done.ticket { deliver(.fileDone(ticket: ticket, done.failure), to: owner) }
        startDisk(owner)
    }

    // MARK: Commands by hand

    /// Runs one command on a node as its administrator and returns the reply's first line.
    @discardableResult
    func command(_ owner: SimNode, _ words: String...) -> String {
        guard owner.isRunning, let node = owner.node else { return "-DEAD" }
        node.setNow(owner.clock.now(time))
        let executor = node.executor
        let session = executor.openSession(peer: "127.0.0.1:1", local: "")
        executor.makeSuperuser(session)
        session.pointee.flags.insert(.detached)
        var request = "*\(words.count)\r\n"
        for word in words { request += "$\(word.utf8.count)\r\n\(word)\r\n" }
        session.pointee.input.pointee.append(request)
        executor.process(session)
        let reply = session.pointee.output.pointee.bytes.string
        executor.freeSession(session)
        let line = reply.split(separator: "\r\n").first.map(String.init) ?? ""
        note(owner, "> \(words.joined(separator: " ")) => \(line)")
        trace.mix(line)
        wake(owner, at: time)
        return line
    }
}
