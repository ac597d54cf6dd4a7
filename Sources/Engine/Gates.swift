// The questions that a command must pass before it runs, in the reference's order. A healthy
// primary answers all of them with one test of `alerts` and `flags`; everything else is here.
import Base
import HashSlots
import RESP
import Storage

/// What becomes of a command at the gates.
enum Verdict {
    /// Run it.
    case run
    /// Answered already (an error, or queued in MULTI).
    case answered
    /// Not now: leave it in the input and come back.
    case postpone
}

extension ExecutorPointer {
    /// The slow look. `command` is known and its arity is right.
    @inline(never)
    func gate(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>, _ key: KeyRef?
    ) -> Verdict {
        let flags = effectiveFlags(command, arguments, count, session)
        let reply = ReplyWriter(session.pointee.output, version: session.pointee.protocolVersion)
        let fromPrimary = session.pointee.flags.contains(.fromPrimary)
        if !session.pointee.flags.contains(.authenticated), !flags.contains(.noAuth) {
            return refuse(command, session, reply, .noAuth)
        }
        let isQueued = session.pointee.flags.contains(.multi) && !runsInsideMulti(command)
        if isQueued, command.pointee.flags.contains(.noMulti) {
            return refuse(
                command, session, reply,
                ErrorReply("ERR Command not allowed inside a transaction"))
        }
        let permission = permission(of: session, command, arguments, count)
        if permission != .granted {
            noteDenied(permission, session, command, arguments)
            let name = pointee.commands.pointee.fullName(of: command)
            refuse(command, session, permission.refusal(of: name))
            return .answered
        }
        if pointee.routing != nil, !fromPrimary,
            !servesHere(command, arguments, count, session, key)
        {
            return .answered
        }
        if !fromPrimary, let verdict = refusedByState(command, flags, session, reply) {
            return verdict
        }
        if !session.pointee.flags.isDisjoint(with: [.monitor, .replica]),
            !flags.isDisjoint(with: [.write, .mayReplicate, .readonly])
        {
            return refuse(
                command, session, reply,
                ErrorReply("ERR Replica can't interact with the keyspace"))
        }
        if isQueued {
            guard let transaction = session.pointee.transaction else {
                unreachable("a session in MULTI has a transaction")
            }
            // A queue that cannot run any more is not worth its memory.
            if session.pointee.flags.isDisjoint(with: [.dirtyExec, .dirtyWatch]) {
                transaction.pointee.enqueue(command, flags, arguments, count)
            }
            reply.raw("+QUEUED\r\n")
            return .answered
        }
        if isPaused(flags, session) { return .postpone }
        if !fromPrimary, pointee.alerts.contains(.migrating),
            mayChangeKeysInFlight(command, flags, arguments, count, session)
        {
            return .postpone
        }
        return .run
    }

    /// EXEC counts as everything that it will run, and what runs a script as what that declares.
    private func effectiveFlags(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>
    ) -> CommandFlags {
        var flags = command.pointee.flags
        if _slowPath(flags.contains(.runsScript)) {
            return scriptFlags(command, arguments, count, flags)
        }
        if let transaction = session.pointee.transaction, isNamed(command, "exec") {
            flags.formUnion(transaction.pointee.flags)
            // Permissions that each of them must have.
            flags.subtract(transaction.pointee.missingFlags.intersection([.stale, .loading]))
        }
        return flags
    }

    func isNamed(_ command: UnsafeMutablePointer<Command>, _ name: StaticString) -> Bool {
        guard let found = pointee.commands.pointee.find(Bytes(name)) else { return false }
        return found == command
    }

    private func runsInsideMulti(_ command: UnsafeMutablePointer<Command>) -> Bool {
        for name in ["exec", "discard", "multi", "watch", "quit", "reset"] as [StaticString]
        where isNamed(command, name) { return true }
        return false
    }

    /// CLIENT PAUSE holds the stream of our primary back as well, a hand-over does not; replicas
    /// and the log are never paused.
    private func isPaused(
        _ flags: CommandFlags, _ session: UnsafeMutablePointer<Session>
    ) -> Bool {
        if session.pointee.flags.contains(.fromPrimary) {
            guard pointee.pauseMode != .none, !session.pointee.flags.contains(.fromLog) else {
                return false
            }
        } else if session.pointee.flags.contains(.replica) {
            return false
        }
        if pointee.alerts.contains(.pausedAll) { return true }
        return pointee.alerts.contains(.pausedWrites)
            && !flags.isDisjoint(with: [.write, .mayReplicate])
    }

    private func refusedByState(
        _ command: UnsafeMutablePointer<Command>, _ flags: CommandFlags,
        _ session: UnsafeMutablePointer<Session>, _ reply: ReplyWriter
    ) -> Verdict? {
        let isWrite = flags.contains(.write)
        if !pointee.alerts.isDisjoint(with: [.memoryLimited, .clientsLimited]) {
            noteMemory(session)
        }
        if pointee.alerts.contains(.clientsLimited) {
            pointee.evictClients(self)
            if session.pointee.flags.contains(.closeNow) { return .answered }
        }
        if pointee.alerts.contains(.memoryLimited) {
            let fits = pointee.makeRoom(self)
            pointee.scripts.wasOutOfMemory = !fits
            // What was evicted is no effect of this command: it need not wait for the reply.
            if session.pointee.flags.contains(.holdsPushes) { releasePushes(session) }
            if !fits, flags.contains(.denyOOM) {
                return refuse(command, session, reply, .outOfMemory)
            }
        }
        // PING too, so that a primary that cannot save is replaced by its sentinels.
        if pointee.alerts.contains(.saveFailed),
            isWrite || flags.contains(.mayReplicate) || isNamed(command, "ping")
        {
            return refuse(command, session, reply, .saveFailed)
        }
        if pointee.alerts.contains(.logFailed),
            isWrite || flags.contains(.mayReplicate) || isNamed(command, "ping")
        {
            refuse(
                command, session, "MISCONF Errors writing to the AOF file: \(pointee.logProblem)")
            return .answered
        }
        if pointee.alerts.contains(.tooFewReplicas), isWrite {
            return refuse(command, session, reply, .noReplicas)
        }
        if pointee.alerts.contains(.readOnly), isWrite {
            return refuse(command, session, reply, .readOnly)
        }
        if pointee.alerts.contains(.stale), !flags.contains(.stale) {
            return refuse(command, session, reply, .masterDown)
        }
        if pointee.alerts.contains(.loading), !flags.contains(.loading) {
            return refuse(command, session, reply, .loading)
        }
        if pointee.alerts.contains(.busy), !flags.contains(.allowBusy) {
            refuse(command, session, busyText)
            return .answered
        }
        if session.pointee.flags.contains(.pubsub), session.pointee.protocolVersion == 2,
            !allowedWhileSubscribed(command)
        {
            let name = pointee.commands.pointee.fullName(of: command)
            refuse(
                command, session,
                "ERR Can't execute '\(name)': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                    + "QUIT / RESET are allowed in this context"
            )
            return .answered
        }
        return nil
    }

    private func allowedWhileSubscribed(_ command: UnsafeMutablePointer<Command>) -> Bool {
        for name in [
            "ping", "subscribe", "ssubscribe", "sunsubscribe", "unsubscribe", "psubscribe",
            "punsubscribe", "quit", "reset",
        ] as [StaticString] where isNamed(command, name) { return true }
        return false
    }

    // MARK: Refusals

    /// Answers with an error, counts it, and spoils the transaction that is being queued.
    @discardableResult
    func refuse(
        _ command: UnsafeMutablePointer<Command>?, _ session: UnsafeMutablePointer<Session>,
        _ reply: ReplyWriter, _ error: ErrorReply
    ) -> Verdict {
        refuse(command, session, "\(error.text)")
        return .answered
    }

    func refuse(
        _ command: UnsafeMutablePointer<Command>?, _ session: UnsafeMutablePointer<Session>,
        _ text: String
    ) {
        command?.pointee.rejectedCalls &+= 1
        if let command, isNamed(command, "exec") {
            discardTransaction(session)
            let reason = text.hasPrefix("ERR ") ? String(text.dropFirst(4)) : text
            writeError(session, "EXECABORT Transaction discarded because of: \(reason)", command)
            return
        }
        if session.pointee.flags.contains(.multi) { session.pointee.flags.insert(.dirtyExec) }
        writeError(session, text, command)
    }

    /// Writes an error line and counts it.
    public func writeError(
        _ session: UnsafeMutablePointer<Session>, _ text: String,
        _ command: UnsafeMutablePointer<Command>? = nil
    ) {
        writeError(session, Array(text.utf8), command)
    }

    /// As above for text that repeats a client's bytes.
    func writeError(
        _ session: UnsafeMutablePointer<Session>, _ text: [UInt8],
        _ command: UnsafeMutablePointer<Command>? = nil
    ) {
        countError(String(decoding: text.prefix(64), as: UTF8.self))
        if _slowPath(!session.pointee.flags.isDisjoint(with: [.fromPrimary, .replica])) {
            noteErrorOnLink(session, command, text)
            if session.pointee.flags.contains(.replica) {
                return refuseReplyToReplica(session, command)
            }
        }
        // Our primary is told nothing, nor is a client that wants no replies.
        guard session.pointee.flags.isDisjoint(with: [.fromPrimary, .replyOff]) else { return }
        let reply = ReplyWriter(session.pointee.output, version: session.pointee.protocolVersion)
        reply.error(text)
    }

    /// An error that is a part of a script's reply; `isCounted`: it was a command's before.
    public func noteScriptError(_ text: String, isCounted: Bool) {
        if !isCounted { countError(text) }
        guard let run = pointee.scripts.run, !run.pointee.hasFailed else { return }
        run.pointee.hasFailed = true
        run.pointee.savedFrame.command?.pointee.failedCalls &+= 1
    }

    func countError(_ text: String) {
        pointee.stats.errorReplies &+= 1
        let code = text.split(separator: " ", maxSplits: 1).first.map(String.init) ?? "ERR"
        if pointee.stats.errorsByCode[code] != nil || pointee.stats.errorsByCode.count < 1024 {
            pointee.stats.errorsByCode[code, default: 0] &+= 1
        }
    }

    // MARK: Cluster

    /// In cluster mode: whether the command may run here. Answers and returns false when not.
    @inline(__always)
    func servesKeys(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>, firstKey: KeyRef?
    ) -> Bool {
        guard let routing = pointee.routing else { return true }
        if let firstKey, !command.pointee.flags.contains(.movableKeys),
            routing.pointee.serves(Slot(hash: firstKey.slot)),
            command.pointee.firstKey == command.pointee.lastKey
                || sharesSlot(command, arguments, count, firstKey.slot)
        {
            return true
        }
        return servesKeysSlow(routing, command, arguments, count, session)
    }

    /// True when all keys of a command, whose positions are a plain range, are in `slot`.
    @inline(never)
    private func sharesSlot(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ slot: UInt16
    ) -> Bool {
        let step = Int(command.pointee.keyStep)
        let lastKey = Int(command.pointee.lastKey)
        let last = lastKey >= 0 ? lastKey : count + lastKey
        guard step > 0, last < count else { return false }
        var position = Int(command.pointee.firstKey) + step
        while position <= last {
            if pointee.keyspace.slot(of: arguments[position]) != slot { return false }
            position += step
        }
        return true
    }

    /// As `servesKeys`, for commands of any kind; EXEC counts as what it will run.
    private func servesHere(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>, _ key: KeyRef?
    ) -> Bool {
        guard command.pointee.flags.contains(.touchesKeys)
            || session.pointee.transaction != nil && isNamed(command, "exec")
        else { return true }
        let position = Int(command.pointee.firstKey)
        var first = key
        if first == nil, position > 0, position < count {
            first = pointee.keyspace.key(arguments[position], database: 0)
        }
        return servesKeys(command, arguments, count, session, firstKey: first)
    }

    @inline(never)
    private func servesKeysSlow(
        _ routing: UnsafeMutablePointer<RoutingTable>, _ command: UnsafeMutablePointer<Command>,
        _ arguments: UnsafePointer<Bytes>, _ count: Int, _ session: UnsafeMutablePointer<Session>
    ) -> Bool {
        if session.pointee.flags.contains(.fromPrimary) { return true }
        // Shard channels have slots as keys have: those that are no keys count too.
        let keys = keysOfCall(command, arguments, count, session)
        guard let first = keys.first else { return true }
        // Where the whole slot is served, no flags matter; a script's cost a hash of its text.
        if routing.pointee.serves(Slot(hash: first.slot)),
            keys.allSatisfy({ $0.slot == first.slot })
        {
            return true
        }
        let flags = effectiveFlags(command, arguments, count, session)
        guard let line = routing.pointee.errorLine(redirect(command, flags, keys, session)) else {
            return true
        }
        refuseRedirected(command, session, String(decoding: line, as: UTF8.self))
        return false
    }

    /// Where a call with these flags and keys, which are not none, is to run.
    func redirect(
        _ command: UnsafeMutablePointer<Command>, _ flags: CommandFlags, _ keys: [KeyRef],
        _ session: UnsafeMutablePointer<Session>
    ) -> Redirect {
        guard let routing = pointee.routing, let first = keys.first else { return .serve }
        let slot = Slot(hash: first.slot)
        if keys.contains(where: { $0.slot != first.slot }) {
            return routing.pointee.decideAcrossSlots(first: slot)
        }
        var request = RedirectRequest()
        request.isWrite = flags.contains(.write)
        request.isMigrate = isNamed(command, "migrate")
        request.isShardPubSub = isShardPubSub(command)
        request.isAsking = session.pointee.flags.contains(.asking) || flags.contains(.asking)
        request.isReadOnlyClient = session.pointee.flags.contains(.readOnly)
        request.hasSeveralKeys = keys.contains { !($0.bytes == first.bytes) }
        return routing.pointee.decide(slot, request) {
            // A key whose time is over is as good as missing.
            let existing = keys.count { key in
                pointee.keyspace.find(key).map { !isExpired($0) } ?? false
            }
            return KeyPresence(existing: existing, missing: keys.count - existing)
        }
    }

    /// A redirection ends a transaction as a whole, and is what EXEC answers then: the client must
    /// be able to follow it.
    private func refuseRedirected(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>,
        _ line: String
    ) {
        command.pointee.rejectedCalls &+= 1
        if isNamed(command, "exec") {
            discardTransaction(session)
        } else if session.pointee.flags.contains(.multi) {
            session.pointee.flags.insert(.dirtyExec)
        }
        writeError(session, line)
        queueWrite(session)
    }

    private func isShardPubSub(_ command: UnsafeMutablePointer<Command>) -> Bool {
        for name in ["ssubscribe", "sunsubscribe", "spublish"] as [StaticString]
        where isNamed(command, name) { return true }
        return false
    }

    /// The keys that a call names; those of all queued commands when it is EXEC. The bytes are
    /// borrowed from the arguments, or from the transaction.
    func keysOfCall(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>
    ) -> [KeyRef] {
        var keys: [KeyRef] = []
        if let transaction = session.pointee.transaction, isNamed(command, "exec") {
            transaction.pointee.forEachKey(self) { keys.append($0) }
            return keys
        }
        for position in keyPositions(command, arguments, count) ?? [] {
            keys.append(pointee.keyspace.key(arguments[position.index], database: 0))
        }
        return keys
    }

    /// Where the keys of a call are; nil when its arguments do not fit its key specification.
    public func keyPositions(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> [KeyPosition]? {
        if let finder = pointee.commands.pointee.keyFinders[command.pointee.id] {
            return finder(arguments, count)
        }
        var out: [KeyPosition] = []
        for spec in pointee.commands.pointee.declarations[Int(command.pointee.id)].keys {
            guard let found = spec.positions(arguments, count) else { return nil }
            out.append(contentsOf: found)
        }
        return out
    }
}

extension Transaction {
    /// Calls `body` with each key of the queued commands.
    func forEachKey(_ executor: ExecutorPointer, _ body: (KeyRef) -> Void) {
        var list = ArgumentList()
        for queued in commands {
            list.truncate(to: 0)
            arguments(of: queued, into: &list)
            let positions = executor.keyPositions(
                queued.command, UnsafePointer(list.base), list.count)
            for position in positions ?? [] {
                body(executor.pointee.keyspace.key(list.base[position.index], database: 0))
            }
        }
    }
}
