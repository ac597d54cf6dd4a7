// Peer links as the loop drives them: resolve, connect (each address of a name in turn), accept on
// the bus port, carry bytes both ways, report the end. Requests come while the node runs its
// end-of-iteration list, so an end that shows at once is reported before the next list.
import Base
import CLinux
import Engine
import Glibc
import Gossip
import NodeCore

extension EventLoopPointer {
    // MARK: Requests of the node

    func connect(_ id: LinkID, _ kind: LinkKind, host: String, port: Int) {
        invariant(pointee.links[id] == nil, "a link number is used once")
        let link = LinkPointer.allocate(capacity: 1)
        link.initialize(to: Link(id: id, kind: kind, phase: .resolving))
        pointee.links[id] = link
        guard port > 0, port <= 65535 else { return fail(link, .unreachable) }
        do {
            let found = try SocketAddress.resolve(host, port: port, numericOnly: true)
            tryNext(link, found)
        } catch {
            ask(link, host: host, port: port)
        }
    }

    /// Queues bytes; they leave after the node's list.
    func send(_ id: LinkID, _ bytes: [UInt8]) {
        guard let link = pointee.links[id] else { return }
        link.pointee.queue.append(bytes)
        let limit = pointee.executor.pointee.settings.clusterLinkSendBufferLimit
        if link.pointee.kind == .bus, limit > 0, link.pointee.queue.count > limit {
            return fail(link, .outputLimit)
        }
        markDirty(link)
    }

    /// Closes after one try to write what was queued.
    func close(_ id: LinkID) {
        guard let link = pointee.links[id] else { return }
        if link.pointee.phase == .open, let registration = link.pointee.registration,
            !link.pointee.queue.isEmpty
        {
            _ = Syscalls.send(registration.pointee.descriptor, link.pointee.queue.bytes)
        }
        destroy(link)
    }

    // MARK: Connecting

    private func ask(_ link: LinkPointer, host: String, port: Int) {
        if !askResolver(link.pointee.id, host: host, port: port) { fail(link, .local) }
    }

    /// Asks the resolver's thread, which is started when it is needed; false when it cannot be.
    func askResolver(_ id: LinkID, host: String, port: Int) -> Bool {
        do {
            if pointee.resolver == nil {
                pointee.resolver = try ResolverWorker(answers: pointee.answers)
            }
        } catch {
            log(.warning, "Can't start the resolver's thread: \(error.text)")
            return false
        }
        pointee.resolver?.ask(id, host: host, port: port)
        return true
    }

    func resolved(_ id: LinkID, _ addresses: [SocketAddress], reason: String) {
        if let sentinel = pointee.sentinel, sentinel.resolved(id, addresses) { return }
        guard let link = pointee.links[id] else { return }
        if addresses.isEmpty {
            log(.warning, "Can't resolve the address of a peer: \(reason)")
            return fail(link, .unreachable)
        }
        tryNext(link, addresses)
    }

    /// Starts a connect to the first of `addresses` that allows it.
    private func tryNext(_ link: LinkPointer, _ addresses: [SocketAddress]) {
        var failure = LinkFailure.unreachable
        let source = pointee.executor.pointee.settings.bindSourceAddress
        for (index, address) in addresses.enumerated() {
            do {
                let descriptor = try Connector.start(address, source: source)
                let registration = register(descriptor, .link, waitsForRoom: true)
                registration.pointee.object = UnsafeMutableRawPointer(link)
                link.pointee.registration = registration
                link.pointee.phase = .connecting
                link.pointee.candidates = Array(addresses[(index + 1)...])
                return
            } catch {
                failure = LinkFailure(errno: error.code)
            }
        }
        fail(link, failure)
    }

    private func finishConnect(_ link: LinkPointer, _ registration: RegistrationPointer) {
        let code = Connector.outcome(registration.pointee.descriptor)
        if code == 0 {
            link.pointee.phase = .open
            setWaitsForRoom(registration, false)
            let id = link.pointee.id
            tellOpened(id, registration.pointee.descriptor)
            // Whoever was told may have closed it already.
            if pointee.links[id] == link { markDirty(link) }
            return
        }
        link.pointee.registration = nil
        release(registration)
        let rest = link.pointee.candidates
        if rest.isEmpty { fail(link, LinkFailure(errno: code)) } else { tryNext(link, rest) }
    }

    private func tellOpened(_ id: LinkID, _ descriptor: Int32) {
        guard let sentinel = pointee.sentinel else { return pointee.node.linkOpened(id) }
        sentinel.linkOpened(id, localAddress: SocketAddress.local(of: descriptor)?.host ?? "")
    }

    /// Takes connections of peers on the bus port.
    func acceptLinks(_ listener: RegistrationPointer) {
        for _ in 0..<EventLoop.acceptBudget {
            guard let descriptor = accept(listener) else { return }
            guard descriptor >= 0 else { continue }
            guard let peer = SocketAddress.peer(of: descriptor),
                let local = SocketAddress.local(of: descriptor)
            else {
                Syscalls.close(descriptor)
                continue
            }
            let timeout = pointee.executor.pointee.settings.clusterNodeTimeout
            // A peer that vanished is noticed within two node timeouts even if the bus is silent.
            Listener.prepareConnection(descriptor, keepAlive: max(1, timeout * 2 / 1000))
            pointee.inboundLinkCount += 1
            let id = NodePointer.inboundLink(pointee.inboundLinkCount)
            let link = LinkPointer.allocate(capacity: 1)
            link.initialize(to: Link(id: id, kind: .bus, phase: .open))
            let registration = register(descriptor, .link)
            registration.pointee.object = UnsafeMutableRawPointer(link)
            link.pointee.registration = registration
            pointee.links[id] = link
            pointee.node.busAccepted(id, peer: peer.host, local: local.host)
        }
    }

    // MARK: Events

    private func link(of registration: RegistrationPointer) -> LinkPointer {
        guard let object = registration.pointee.object else { unreachable("a link's state") }
        return object.assumingMemoryBound(to: Link.self)
    }

    func readLink(_ registration: RegistrationPointer) {
        let link = link(of: registration)
        if link.pointee.phase == .connecting { return finishConnect(link, registration) }
        let room = Int(max(registration.pointee.readSize, Int32(EventLoop.scratchSize)))
        let place = pointee.scratch.pointee.reserve(room)
        switch Syscalls.receive(registration.pointee.descriptor, place, room) {
        case .done(0):
            fail(link, .closedByPeer)
        case .done(let count):
            registration.pointee.noteRead(count, of: room)
            let bytes = Bytes(UnsafePointer(place), count)
            if let sentinel = pointee.sentinel {
                return sentinel.linkData(link.pointee.id, bytes)
            }
            pointee.node.linkData(link.pointee.id, bytes)
        case .wouldBlock:
            break
        case .failed(let code):
            fail(link, LinkFailure(errno: code))
        }
    }

    func linkHasRoom(_ registration: RegistrationPointer) {
        let link = link(of: registration)
        if link.pointee.phase == .connecting { return finishConnect(link, registration) }
        flush(link, registration)
    }

    private func markDirty(_ link: LinkPointer) {
        guard link.pointee.phase == .open, !link.pointee.isDirty, !link.pointee.queue.isEmpty
        else { return }
        link.pointee.isDirty = true
        pointee.dirtyLinks.append(link)
    }

    /// Writes what the node queued during its list, once per link.
    func flushLinks() {
        while let link = pointee.dirtyLinks.popLast() {
            link.pointee.isDirty = false
            guard let registration = link.pointee.registration,
                !registration.pointee.waitsForRoom
            else { continue }
            flush(link, registration)
        }
    }

    private func flush(_ link: LinkPointer, _ registration: RegistrationPointer) {
        while !link.pointee.queue.isEmpty {
            let bytes = link.pointee.queue.bytes
            switch Syscalls.send(registration.pointee.descriptor, bytes) {
            case .done(let count):
                link.pointee.queue.consume(count)
                if count < bytes.count { return setWaitsForRoom(registration, true) }
            case .wouldBlock:
                return setWaitsForRoom(registration, true)
            case .failed(let code):
                return fail(link, LinkFailure(errno: code))
            }
        }
        link.pointee.queue.shrink(above: 16 << 10)
        setWaitsForRoom(registration, false)
    }

    // MARK: The end

    private func fail(_ link: LinkPointer, _ failure: LinkFailure) {
        pointee.reports.append(EventLoop.LinkReport(link: link.pointee.id, failure: failure))
        destroy(link)
    }

    private func destroy(_ link: LinkPointer) {
        if link.pointee.isDirty { pointee.dirtyLinks.removeAll { $0 == link } }
        if let registration = link.pointee.registration { release(registration) }
        pointee.links[link.pointee.id] = nil
        link.deinitialize(count: 1)
        link.deallocate()
    }

    func deliverReports() {
        guard !pointee.reports.isEmpty else { return }
        let reports = pointee.reports
        pointee.reports = []
        for report in reports {
            if let sentinel = pointee.sentinel {
                sentinel.linkClosed(report.link, report.failure)
            } else {
                pointee.node.linkClosed(report.link, report.failure)
            }
        }
    }
}
