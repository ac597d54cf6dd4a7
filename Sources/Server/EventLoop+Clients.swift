// Clients: accept, read, write, close. A session that holds no unfinished request owns no input
// memory; while it parses, it is lent the loop's scratch buffer, so ten thousand idle clients cost
// their sessions and nothing else.
import Base
import CLinux
import Engine
import Glibc
import NodeCore

extension EventLoopPointer {
    // MARK: Reading

    @inline(__always)
    func readClient(_ registration: RegistrationPointer) {
        let session = session(of: registration)
        if _slowPath(!session.pointee.flags.isDisjoint(with: [.closeAfterReply, .closeNow])) {
            return discardInput(registration, session)
        }
        let input = session.pointee.input
        let scratch = pointee.scratch
        let isLent = input.pointee.capacity == 0
        if _fastPath(isLent) {
            if _slowPath(scratch.pointee.capacity < EventLoop.scratchSize) {
                _ = scratch.pointee.reserve(EventLoop.scratchSize)
            }
            swap(&input.pointee, &scratch.pointee)
        }
        // What the socket holds of a large argument is taken in one turn: once its size is known,
        // nobody should see the client with a part of it.
        var reads = 1
        while _slowPath(readOnce(registration, session)), reads < EventLoop.readsPerTurn {
            reads += 1
        }
        if _fastPath(isLent) { takeBack(session) } else { trimInput(session) }
        if _slowPath(!input.pointee.isEmpty) { makeRoom(registration, session) }
        if _slowPath(scratch.pointee.capacity > EventLoop.scratchSize) {
            scratch.pointee.shrink(above: EventLoop.scratchSize)
        }
    }

    /// An unfinished request: the rest of a large argument gets its room as soon as its size is
    /// known, and counts as the client's from then on.
    @inline(never)
    private func makeRoom(
        _ registration: RegistrationPointer, _ session: UnsafeMutablePointer<Session>
    ) {
        let room = readRoom(registration, session)
        if room > Int(registration.pointee.readSize) {
            _ = session.pointee.input.pointee.reserveExactly(room)
        }
        pointee.node.clientKeepsInput(session)
    }

    /// One read and what it allows to run; true when the socket had all that was asked for and
    /// more of the last argument is missing.
    @inline(__always)
    private func readOnce(
        _ registration: RegistrationPointer, _ session: UnsafeMutablePointer<Session>
    ) -> Bool {
        let input = session.pointee.input
        let room = readRoom(registration, session)
        let place =
            _fastPath(room <= EventLoop.scratchSize)
            ? input.pointee.reserve(room) : input.pointee.reserveExactly(room)
        switch Syscalls.receive(registration.pointee.descriptor, place, room) {
        case .done(let count) where count > 0:
            input.pointee.wrote(count)
            session.pointee.bytesIn &+= Int64(count)
            registration.pointee.noteRead(count, of: room)
            pointee.moderation.noteRead(registration)
            pointee.node.clientReadable(session)
            return _slowPath(count == room) && session.pointee.inputNeeded > input.pointee.count
                && session.pointee.flags.isDisjoint(with: [.closeAfterReply, .closeNow])
        case .wouldBlock:
            break
        case .done, .failed:
            pointee.executor.close(session)
        }
        return false
    }

    /// How much to read: the usual size, or what the parser knows to be missing, as far as the
    /// client has shown that it really sends it.
    @inline(__always)
    private func readRoom(
        _ registration: RegistrationPointer,
        _ session: UnsafeMutablePointer<Session>
    ) -> Int {
        let usual = Int(registration.pointee.readSize)
        let held = session.pointee.input.pointee.count
        let missing = session.pointee.inputNeeded &- held
        if _fastPath(missing <= usual) { return usual }
        return max(usual, min(missing, max(1 << 20, held)))
    }

    /// Gets the scratch buffer back from a session; an unfinished request moves to memory of the
    /// session's own.
    @inline(__always)
    private func takeBack(_ session: UnsafeMutablePointer<Session>) {
        let input = session.pointee.input
        if _slowPath(!input.pointee.isEmpty) {
            // A long rest stays where it is: the next reader gets a new scratch buffer.
            if input.pointee.count > EventLoop.scratchSize / 4 { return }
            var own = Buffer()
            own.append(input.pointee.bytes)
            swap(&input.pointee, &own)
            own.removeAll()
            swap(&pointee.scratch.pointee, &own)
            return
        }
        swap(&input.pointee, &pointee.scratch.pointee)
    }

    /// A session that kept its own buffer gives a large one back as soon as it is empty.
    @inline(__always)
    private func trimInput(_ session: UnsafeMutablePointer<Session>) {
        let input = session.pointee.input
        if input.pointee.isEmpty, input.pointee.capacity > EventLoop.scratchSize {
            input.pointee.shrink(above: EventLoop.scratchSize)
        }
    }

    /// Input of a session that is about to be closed is read and dropped: unread, it would keep
    /// waking the loop, and closing on top of it would cost the client its last reply.
    @inline(never)
    private func discardInput(
        _ registration: RegistrationPointer,
        _ session: UnsafeMutablePointer<Session>
    ) {
        let place = pointee.scratch.pointee.reserve(EventLoop.scratchSize)
        switch Syscalls.receive(registration.pointee.descriptor, place, EventLoop.scratchSize) {
        case .done(let count) where count > 0: break
        case .wouldBlock: break
        case .done, .failed: pointee.executor.close(session)
        }
    }

    @inline(__always)
    private func session(of registration: RegistrationPointer) -> UnsafeMutablePointer<Session> {
        guard let object = registration.pointee.object else { unreachable("a client's session") }
        return object.assumingMemoryBound(to: Session.self)
    }

    @inline(__always)
    private func registration(
        of session: UnsafeMutablePointer<Session>
    ) -> RegistrationPointer? {
        session.pointee.driver?.assumingMemoryBound(to: Registration.self)
    }

    // MARK: Writing

    /// Writes a session's output until there is none or the socket is full.
    @inline(__always)
    func write(_ session: UnsafeMutablePointer<Session>) {
        guard let registration = registration(of: session),
            !registration.pointee.waitsForRoom
        else { return }
        flush(session, registration)
    }

    func clientHasRoom(_ registration: RegistrationPointer) {
        flush(session(of: registration), registration)
    }

    private func flush(
        _ session: UnsafeMutablePointer<Session>,
        _ registration: RegistrationPointer
    ) {
        if _slowPath(session.pointee.flags.contains(.closeNow)) { return }
        // Its replies wait for the append-only file; the node writes again when they may leave.
        if _slowPath(session.pointee.flags.contains(.held)) {
            return setWaitsForRoom(registration, false)
        }
        let node = pointee.node
        var budget = EventLoop.writeBudget
        if _slowPath(session.pointee.flags.contains(.replica)) { budget = node.replicaWriteBudget }
        while true {
            let all = node.nextOutput(session)
            if all.isEmpty { break }
            let bytes = _fastPath(all.count <= budget) ? all : all[0..<budget]
            switch Syscalls.send(registration.pointee.descriptor, bytes) {
            case .done(let count):
                node.wrote(session, count)
                session.pointee.bytesOut &+= Int64(count)
                budget &-= count
                if count < all.count || budget <= 0 {
                    return setWaitsForRoom(registration, true)
                }
            case .wouldBlock:
                return setWaitsForRoom(registration, true)
            case .failed:
                return pointee.executor.close(session)
            }
        }
        setWaitsForRoom(registration, false)
        if _slowPath(session.pointee.flags.contains(.closeAfterReply)),
            session.pointee.output.pointee.isEmpty
        {
            pointee.executor.close(session)
        }
    }

    // MARK: Beginning and end

    /// Takes waiting connections, up to the budget.
    func acceptClients(_ listener: RegistrationPointer) {
        let isUnix = listener.pointee.kind == .unixListener
        for _ in 0..<EventLoop.acceptBudget {
            guard let descriptor = accept(listener) else { return }
            if descriptor >= 0 { admit(descriptor, isUnix: isUnix) }
        }
    }

    /// The next waiting connection: a descriptor, -1 for one that was lost, nil for none.
    func accept(_ listener: RegistrationPointer) -> Int32? {
        let descriptor = clinux_accept(listener.pointee.descriptor, nil, nil)
        if descriptor >= 0 { return descriptor }
        switch errno {
        case EAGAIN: return nil
        case EINTR, ECONNABORTED, EPROTO: return -1
        case EMFILE, ENFILE:
            refuseForLackOfDescriptors(listener)
            return -1
        default:
            log(.warning, "Accepting client connection: \(errorText(errno))")
            return nil
        }
    }

    /// Without this the waiting connection would wake the loop for ever: the spare descriptor is
    /// given up for a moment to take it and close it.
    private func refuseForLackOfDescriptors(_ listener: RegistrationPointer) {
        if pointee.now.instant - pointee.lastDescriptorWarning >= Milliseconds(1000) {
            pointee.lastDescriptorWarning = pointee.now.instant
            log(.warning, "Accepting client connection: \(errorText(EMFILE))")
        }
        Syscalls.close(pointee.spareDescriptor)
        let refused = clinux_accept(listener.pointee.descriptor, nil, nil)
        if refused >= 0 { Syscalls.close(refused) }
        do {
            pointee.spareDescriptor = try Syscalls.open("/dev/null", O_RDONLY)
        } catch {
            unreachable("the descriptor that was just closed is free")
        }
    }

    private func admit(_ descriptor: Int32, isUnix: Bool) {
        var peer = "\(pointee.unixPath):0"
        var local = peer
        if !isUnix {
            // A connection that was reset while it waited has no peer any more.
            guard let peerAddress = SocketAddress.peer(of: descriptor),
                let localAddress = SocketAddress.local(of: descriptor)
            else { return Syscalls.close(descriptor) }
            peer = peerAddress.description
            local = localAddress.description
            Listener.prepareConnection(
                descriptor,
                keepAlive: pointee.executor.pointee.settings.tcpKeepAlive
            )
        }
        switch pointee.node.acceptClient(peer: peer, local: local, unixSocket: isUnix) {
        case .session(let session):
            let registration = register(descriptor, .client)
            registration.pointee.object = UnsafeMutableRawPointer(session)
            session.pointee.driver = UnsafeMutableRawPointer(registration)
            session.pointee.shownDescriptor = descriptor
        case .refuse(let text):
            // Best effort: whoever does not read it sees the end of the connection.
            text.withBytes { _ = Syscalls.send(descriptor, $0) }
            Syscalls.close(descriptor)
        }
    }

    /// Closes a session's socket; the node then frees the session.
    func close(_ session: UnsafeMutablePointer<Session>) {
        if let registration = registration(of: session) {
            session.pointee.driver = nil
            release(registration)
        }
        pointee.node.sessionClosed(session)
    }

    // MARK: Memory of idle clients

    /// Looks at a part of the clients, all of them within about two seconds, and takes back the
    /// buffers of those that have been silent.
    func sweep() {
        pointee.lastSweep = pointee.now.instant
        let capacity = pointee.registrations.capacity
        for _ in 0..<min(capacity, max(64, capacity / 20)) {
            pointee.sweepPosition += 1
            if pointee.sweepPosition >= capacity { pointee.sweepPosition = 0 }
            let registration = pointee.registrations[pointee.sweepPosition]
            guard registration.pointee.kind == .client else { continue }
            let session = session(of: registration)
            let idle = pointee.now.instant - session.pointee.lastInteraction
            if idle >= Milliseconds(2000) { session.pointee.input.pointee.shrink(above: 0) }
            guard let limit = pointee.executor.replyBufferLimit(idle: idle) else { continue }
            session.pointee.output.pointee.shrink(above: limit)
        }
        pointee.scratch.pointee.shrink(above: Int(Registration.largeRead))
    }
}
