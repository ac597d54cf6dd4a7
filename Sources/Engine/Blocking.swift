// Commands that wait for a key: BLPOP, BZPOPMIN, XREAD BLOCK and their like. A handler that finds
// nothing blocks its session on the keys; the command and its arguments are kept. When one of the
// keys changes and holds the type that is waited for, the command is simply run again, as if it
// came now: through all gates, propagated as what it does then. That is the way of Redis 7.2, and
// gives WATCH, redirections, memory limits and WRONGTYPE the same meaning as for any command.
//
// Ready keys are looked at after the whole command, or transaction, that made them ready, so that
// the stream has the cause before the effect. Who has waited longest for a key is served first.
import Base
import HashSlots
import RESP
import Storage

/// When waiting ends without result; for ever when there is no instant.
public struct BlockDeadline: Sendable {
    public let instant: Instant?

    public init(_ instant: Instant?) { self.instant = instant }

    public static let never = BlockDeadline(nil)
}

/// The unit of a timeout argument.
public enum TimeoutUnit {
    /// Seconds, with decimals (BLPOP).
    case seconds
    /// Whole milliseconds (XREAD).
    case milliseconds
}

/// A command that waits, with a copy of its arguments.
public struct HeldCommand: ~Copyable {
    let command: UnsafeMutablePointer<Command>
    let type: ValueType
    let deadline: Instant?
    let wakesWhenGone: Bool
    /// The place in line; 0 once the session has left all queues.
    var ticket: UInt64 = 0
    var keys: [BlockedKey] = []
    private var bytes = Buffer()
    private var places: [Range<Int>] = []

    init(_ call: Call, type: ValueType, deadline: Instant?, wakesWhenGone: Bool) {
        command = call.command
        self.type = type
        self.deadline = deadline
        self.wakesWhenGone = wakesWhenGone
        for index in 0..<call.count {
            places.append(bytes.count..<(bytes.count + call[index].count))
            bytes.append(call[index])
        }
    }

    var memory: Int { bytes.capacity + places.count * 16 + keys.count * 64 }

    mutating func replace(_ index: Int, _ argument: Bytes) {
        invariant(index > 0 && index < places.count, "no such argument")
        places[index] = bytes.count..<(bytes.count + argument.count)
        bytes.append(argument)
    }

    /// Appends the arguments; they stay valid as long as this command is held unchanged.
    func arguments(into list: inout ArgumentList) {
        let all = bytes.bytes
        for place in places { list.append(all[place]) }
    }
}

// MARK: For handlers

extension Call {
    /// True where waiting is impossible and the command must answer at once: inside EXEC or a
    /// script, in our primary's stream, while loading.
    public var mayNotBlock: Bool {
        !session.pointee.flags.isDisjoint(with: [.executing, .fromPrimary, .denyBlocking])
            || executor.pointee.alerts.contains(.loading)
    }

    /// Suspends the session until one of the keys at these arguments changes and holds `type`;
    /// the command is then run anew with the same arguments. It may find nothing again and block
    /// again: the first deadline stays. `wakesWhenGone`: any change will do, also that the key is
    /// deleted or becomes something else (XREADGROUP). Write no reply. Time over: a null array.
    public func block(
        on keys: Range<Int>, holding type: ValueType, until deadline: BlockDeadline,
        wakesWhenGone: Bool = false
    ) {
        invariant(!mayNotBlock, "this session must not wait")
        invariant(keys.lowerBound > 0 && keys.upperBound <= count && !keys.isEmpty, "no keys")
        let executor = executor
        let kept = executor.pointee.resumedDeadline ?? deadline
        let held = UnsafeMutablePointer<HeldCommand>.allocate(capacity: 1)
        held.initialize(
            to: HeldCommand(
                self, type: type, deadline: kept.instant, wakesWhenGone: wakesWhenGone))
        let ticket = executor.pointee.blocking.newTicket(session, deadline: kept.instant)
        held.pointee.ticket = ticket
        for index in keys {
            let key = BlockedKey(key(index))
            if executor.pointee.blocking.join(
                key, session, ticket: ticket, wakesWhenGone: wakesWhenGone)
            {
                held.pointee.keys.append(key)
            }
        }
        invariant(session.pointee.held == nil, "a session holds one command")
        session.pointee.held = held
        executor.block(session, .keys)
        // A command counts once it is done.
        command.pointee.calls &-= 1
        executor.pointee.stats.commandsProcessed &-= 1
    }

    /// Whether some session waits for the key.
    @inline(__always)
    public func isAwaited(_ key: KeyRef) -> Bool {
        executor.pointee.blocking.isWaiting && executor.pointee.blocking.isAwaited(key)
    }

    /// After `block`: the command will find `argument` at `index` when it is run again (the `$`
    /// of XREAD becomes the last ID of now).
    public func replaceHeldArgument(_ index: Int, with argument: Bytes) {
        guard let held = session.pointee.held else { unreachable("the session holds no command") }
        held.pointee.replace(index, argument)
    }

    /// The timeout at `index`, or nil after an error reply; 0 is for ever.
    public func timeoutOrReply(_ index: Int, _ unit: TimeoutUnit) -> BlockDeadline? {
        var milliseconds: Int64
        switch unit {
        case .seconds:
            guard let value = self[index].double else {
                reply.error("ERR timeout is not a float or out of range")
                return nil
            }
            let rounded = (value * 1000).rounded(.up)
            if rounded > 9_223_372_036_854_774_784 {
                reply.error("ERR timeout is out of range")
                return nil
            }
            milliseconds = rounded < 0 ? -1 : Int64(rounded)
        case .milliseconds:
            let error = ErrorReply("ERR timeout is not an integer or out of range")
            guard let value = integerOrReply(index, error) else { return nil }
            milliseconds = value
        }
        if milliseconds < 0 {
            reply.error("ERR timeout is negative")
            return nil
        }
        if milliseconds == 0 { return .never }
        if milliseconds > Int64.max - max(0, now.milliseconds) {
            reply.error("ERR timeout is out of range")
            return nil
        }
        // Some hundred years are as good as what was asked for, and fit in microseconds.
        milliseconds = min(milliseconds, 1 << 43)
        return BlockDeadline(executor.pointee.now.instant + Milliseconds(milliseconds))
    }
}

// MARK: Changes

extension ExecutorPointer {
    /// A key changed, and there is somebody who watches or waits for some key.
    @inline(never)
    func noteChange(_ key: KeyRef, byCommand: Bool = true) {
        if !pointee.watch.isEmpty {
            let exists = pointee.keyspace.find(key) != nil
            pointee.watch.touch(database: Int32(key.database), key: key.bytes, exists: exists)
        }
        if pointee.blocking.isWaiting { pointee.blocking.changed(key) }
        if pointee.tracksChanges { invalidate(key.bytes, byCommand: byCommand) }
    }

    /// Any key of a database may have come, gone or changed: FLUSHALL, SWAPDB, a full
    /// synchronisation (a negative number: of any database).
    public func databaseChanged(_ database: Int) {
        if pointee.blocking.isWaiting { pointee.blocking.changedAll(database: database) }
    }

    // MARK: Serving

    /// Runs the commands that waited for keys which are ready now, and those that these make
    /// ready in turn. Not for the inside of a command: its effects come first.
    @inline(never)
    public func serveReadyKeys() {
        // A script is one command, too, also while others are answered.
        guard !pointee.servesReadyKeys, pointee.scripts.run == nil else { return }
        pointee.servesReadyKeys = true
        while let key = pointee.blocking.takeReady() { serve(key) }
        pointee.servesReadyKeys = false
        invariant(!pointee.blocking.hasReady, "a ready key was left")
    }

    private func serve(_ key: BlockedKey) {
        // Who blocks again while this goes on must not be asked twice.
        let end = pointee.blocking.nextTicket
        var ticket: UInt64 = 0
        while let (found, session) = pointee.blocking.waiter(for: key, from: ticket), found < end {
            ticket = found + 1
            guard let held = session.pointee.held else {
                unreachable("a session waits without a command")
            }
            let type = liveType(key)
            if type == held.pointee.type || held.pointee.wakesWhenGone {
                resume(session)
            } else if type == nil, !pointee.blocking.wakesWhenGone(key) {
                return
            }
        }
    }

    /// The type of what a key holds for clients; nil for nothing. An expired one ends here, in the
    /// stream too, as if a command had come upon it.
    private func liveType(_ key: BlockedKey) -> ValueType? {
        key.bytes.withBytes { bytes in
            let ref = pointee.keyspace.key(bytes, database: Int(key.database))
            guard let entry = pointee.keyspace.find(ref) else { return nil }
            guard isExpired(entry) else { return entry.type }
            if !pointee.alerts.contains(.isReplica), pointee.pauseMode == .none,
                !pointee.internalPause
            {
                expire(ref)
            }
            return nil
        }
    }

    /// Runs the command that a session holds, which has left its queues by that.
    func resume(_ session: UnsafeMutablePointer<Session>) {
        guard let held = session.pointee.held else { return }
        leaveQueues(session)
        endBlocked(session)
        session.pointee.held = nil
        let outer = pointee.frame.pointee
        let first = pointee.arguments.count
        held.pointee.arguments(into: &pointee.arguments)
        pointee.resumedDeadline = BlockDeadline(held.pointee.deadline)
        endTimedRun()
        pointee.timer.start()
        let wasRunning = session.pointee.flags.contains(.running)
        session.pointee.flags.insert(.running)
        let verdict = runUnusual(
            held.pointee.command, UnsafePointer(pointee.arguments.base + first),
            pointee.arguments.count - first, session, nil)
        pointee.resumedDeadline = nil
        if !wasRunning {
            session.pointee.flags.remove(.running)
            releasePushes(session)
        }
        pointee.arguments.truncate(to: first)
        pointee.frame.pointee = outer
        if verdict == .postpone {
            // It is run when the pause is over.
            session.pointee.held = held
            return postpone(session)
        }
        held.deinitialize(count: 1)
        held.deallocate()
        if !session.pointee.flags.contains(.blocked) { queueUnblocked(session) }
    }

    // MARK: The end without result

    /// Answers those whose time is over.
    public func expireBlocks() {
        while let session = pointee.blocking.takeExpired(pointee.now.instant) {
            endBlock(session)
        }
    }

    /// Ends the wait of a session for keys: with a null array as if its time were over, or with
    /// an error line.
    public func endBlock(_ session: UnsafeMutablePointer<Session>, error: [UInt8]? = nil) {
        guard case .keys = session.pointee.block, let held = session.pointee.held else {
            unreachable("the session does not wait for keys")
        }
        let command = held.pointee.command
        command.pointee.calls &+= 1
        pointee.stats.commandsProcessed &+= 1
        if let error {
            command.pointee.failedCalls &+= 1
            writeError(session, error)
        } else if !session.pointee.flags.contains(.replyOff) {
            ReplyWriter(session.pointee.output, version: session.pointee.protocolVersion)
                .nullArray()
        }
        unblock(session)
    }

    /// In cluster mode, after slots changed hands: who waits for a key that is served elsewhere
    /// now is sent there.
    public func redirectBlocked() {
        guard let routing = pointee.routing, pointee.blocking.isWaiting else { return }
        for session in waitingSessions {
            guard let held = session.pointee.held, let key = held.pointee.keys.first else {
                continue
            }
            let slot = Slot(hash: key.bytes.withBytes { pointee.keyspace.slot(of: $0) })
            let redirect = routing.pointee.decideForBlocked(
                slot, isReadOnlyClient: session.pointee.flags.contains(.readOnly),
                isWrite: held.pointee.command.pointee.flags.contains(.write))
            if let line = routing.pointee.errorLine(redirect) { endBlock(session, error: line) }
        }
    }

    /// Sessions that wait for keys, in the order of their coming.
    public var waitingSessions: [UnsafeMutablePointer<Session>] {
        var out: [(ticket: UInt64, session: UnsafeMutablePointer<Session>)] = []
        for index in 0..<pointee.blocked.count {
            let session = pointee.blocked[index]
            if case .keys = session.pointee.block, let held = session.pointee.held {
                out.append((held.pointee.ticket, session))
            }
        }
        return out.sorted { $0.ticket < $1.ticket }.map(\.session)
    }

    // MARK: Leaving

    /// Takes a session out of the queues of the keys that it waits for.
    func leaveQueues(_ session: UnsafeMutablePointer<Session>) {
        guard let held = session.pointee.held, held.pointee.ticket != 0 else { return }
        pointee.blocking.leave(held.pointee.ticket, held.pointee.keys)
        held.pointee.ticket = 0
    }

    /// Forgets the command that a session holds.
    func dropHeld(_ session: UnsafeMutablePointer<Session>) {
        leaveQueues(session)
        guard let held = session.pointee.held else { return }
        held.deinitialize(count: 1)
        held.deallocate()
        session.pointee.held = nil
    }

    // MARK: After the wait

    /// The session's further input is run at the end of the iteration.
    func queueUnblocked(_ session: UnsafeMutablePointer<Session>) {
        if session.pointee.flags.contains(.unblocked) { return }
        session.pointee.flags.insert(.unblocked)
        pointee.unblocked.append(session)
    }

    /// Runs what clients sent while they were blocked.
    public func processUnblocked() {
        var index = 0
        while index < pointee.unblocked.count {
            let session = pointee.unblocked[index]
            index += 1
            session.pointee.flags.remove(.unblocked)
            if session.pointee.flags.isDisjoint(with: .stopsInput) { process(session) }
        }
        pointee.unblocked.removeAll()
    }
}

extension Executor {
    /// A key that somebody waits for changed, and nobody has looked at it yet.
    public var hasReadyKeys: Bool { blocking.hasReady }
    /// The instant at which `expireBlocks` has something to do.
    public var nextBlockDeadline: Instant? { blocking.nextDeadline }
    /// Keys that clients wait for (INFO clients).
    public var blockedKeyCount: Int { blocking.keyCount }
    /// Of these, keys where somebody waits for the end of the key too.
    public var blockedKeysWakingWhenGone: Int { blocking.keysWakingWhenGone }
    /// Clients that wait for keys with a deadline.
    public var blockedWithDeadline: Int {
        blocking.countWithDeadline { $0.pointee.held?.pointee.deadline != nil }
    }
}
