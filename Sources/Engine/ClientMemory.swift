// What clients hold in memory: buffers, queued and watched commands, subscriptions. Two sums are
// kept up to date while a limit is set (`maxmemory`, `maxmemory-clients`), and none otherwise: a
// session is looked at before its commands, after it was written to, and all of them ten times a
// second.
import Base

extension UnsafeMutablePointer where Pointee == Session {
    /// Bytes that this session holds. While its commands run, its input may be a buffer lent to
    /// it: then only what it holds counts.
    public var memory: Int {
        let input = pointee.input
        let isRunning = pointee.flags.contains(.running)
        return MemoryLayout<Session>.size
            + (isRunning ? input.pointee.count : input.pointee.capacity)
            + pointee.output.pointee.capacity + (pointee.heldPushes?.pointee.capacity ?? 0)
            + (pointee.transaction?.pointee.memory ?? 0)
            + (pointee.subscriptions?.pointee.memory ?? 0) + (pointee.tracking?.pointee.memory ?? 0)
    }

    /// Whether `maxmemory-clients` may cost it its connection.
    fileprivate var isEvictable: Bool {
        guard
            pointee.flags.isDisjoint(with: [
                .replica, .fromPrimary, .fromLog, .noEvict, .closeNow, .detached,
            ])
        else { return false }
        // It is about to be closed for that.
        return pointee.output.pointee.count <= pointee.outputHardLimit
    }
}

extension ExecutorPointer {
    /// What all clients together may hold; nil without `maxmemory-clients`.
    public var clientMemoryLimit: Int? {
        let limit = pointee.settings.maxMemoryClients
        guard limit > 0 else { return nil }
        guard pointee.settings.maxMemoryClientsIsPercentage else { return limit }
        let whole = pointee.settings.maxMemory
        return whole == 0 ? nil : Int(Double(whole) * Double(limit) / 100)
    }

    /// Brings the sums in line with what `session` holds now.
    public func noteMemory(_ session: UnsafeMutablePointer<Session>) {
        let held = session.memory
        let isReplica = session.pointee.flags.contains(.replica)
        changeSums(
            session, counted: isReplica ? 0 : held, evictable: session.isEvictable ? held : 0)
    }

    /// A session is freed.
    func forgetMemory(_ session: UnsafeMutablePointer<Session>) {
        changeSums(session, counted: 0, evictable: 0)
    }

    private func changeSums(
        _ session: UnsafeMutablePointer<Session>, counted: Int, evictable: Int
    ) {
        pointee.clientMemory &+= counted &- session.pointee.countedMemory
        pointee.evictableMemory &+= evictable &- session.pointee.evictableMemory
        session.pointee.countedMemory = counted
        session.pointee.evictableMemory = evictable
        invariant(pointee.clientMemory >= 0 && pointee.evictableMemory >= 0, "negative memory")
    }

    /// Closes a client whose unread replies exceed its limit: they must not grow further, and what
    /// follows in its batch is not run. Replicas and subscribers are judged elsewhere.
    @inline(never)
    public func closeOverLimit(_ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.flags.isDisjoint(with: [.replica, .fromPrimary, .detached]),
            !session.pointee.flags.contains(.closeNow)
        else { return }
        pointee.stats.outputLimitDisconnections += 1
        close(session)
    }

    /// How large the reply buffer of a client may stay that has been silent for so long; nil when
    /// it is left alone. After a while it keeps none.
    public func replyBufferLimit(idle: Milliseconds) -> Int? {
        guard let rest = pointee.replyBufferRest, idle > rest else { return nil }
        return idle > Self.usualReplyBufferRest ? 0 : Self.smallReplyBuffer
    }

    /// What a client that is answered briefly needs.
    public static var smallReplyBuffer: Int { 1024 }

    /// Looks at every session.
    public func noteAllMemory() {
        for index in 0..<pointee.sessions.count { noteMemory(pointee.sessions[index]) }
    }
}
