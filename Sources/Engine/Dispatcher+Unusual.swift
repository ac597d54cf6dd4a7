// The dispatch of everything that is not a plain command on a healthy primary: refusals, MULTI,
// one-command flags, the stream of our primary, sessions that must wait.
import Base
import RESP
import Storage

extension ExecutorPointer {
    @inline(never)
    func runUnusual(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ session: UnsafeMutablePointer<Session>, _ key: KeyRef?
    ) -> Verdict {
        let output = session.pointee.output
        let replyStart = output.pointee.count
        let isReplica = session.pointee.flags.contains(.replica)
        let silence = session.pointee.flags.intersection([.replySkip, .replySkipNext])
        let suppress = beginReplyFlags(session)
        defer {
            if suppress && !endsSilence(command, session) && !confirmsSubscriptions(command)
                || session.pointee.flags.contains(.fromPrimary)
            {
                forgetAcks(session, from: replyStart)
                output.pointee.truncate(to: min(replyStart, output.pointee.count))
            } else if output.pointee.count > replyStart {
                if _slowPath(isReplica) { refuseReplyToReplica(session, command) }
                queueWrite(session)
            }
        }
        let verdict = gate(command, arguments, count, session, key)
        if verdict == .postpone {
            // It comes again as if for the first time: ASKING and SKIP still count then.
            session.pointee.flags.subtract([.replySkip, .replySkipNext])
            session.pointee.flags.formUnion(silence)
            return verdict
        }
        if verdict == .run {
            call(command, arguments, count, session, key)
            if session.pointee.flags.contains(.tracking) {
                trackReads(command, arguments, count, session)
            }
        }
        if session.pointee.flags.contains(.tracking) { endCaching(command, session) }
        // ASKING is for one command, or for one whole transaction.
        if session.pointee.flags.contains(.asking), !session.pointee.flags.contains(.multi),
            !isNamed(command, "asking")
        {
            session.pointee.flags.remove(.asking)
        }
        return verdict
    }

    /// CLIENT REPLY: whether this command's reply is dropped; SKIP ages by one command.
    private func beginReplyFlags(_ session: UnsafeMutablePointer<Session>) -> Bool {
        var flags = session.pointee.flags
        let suppress = !flags.isDisjoint(with: [.replyOff, .replySkip])
        flags.remove(.replySkip)
        // SKIP itself answers nothing and drops the reply of the command after it.
        if flags.contains(.replySkipNext) {
            flags.remove(.replySkipNext)
            flags.insert(.replySkip)
        }
        session.pointee.flags = flags
        return suppress
    }

    /// CLIENT REPLY ON and RESET end the silence with their own reply.
    private func endsSilence(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>
    ) -> Bool {
        guard !session.pointee.flags.contains(.replyOff) else { return false }
        let declaration = pointee.commands.pointee.declarations[Int(command.pointee.id)]
        return "\(declaration.name)" == "reset" || declaration.fullName == "client|reply"
    }

    /// Confirmations of subscriptions are messages, which no CLIENT REPLY silences.
    private func confirmsSubscriptions(_ command: UnsafeMutablePointer<Command>) -> Bool {
        command.pointee.flags.isSuperset(of: [.pubsub, .noScript])
    }

    // MARK: Refusals before a command is known

    @inline(never)
    func refuseUnknown(
        _ session: UnsafeMutablePointer<Session>, _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) {
        let name = arguments[0]
        if name.matches("post") || name.matches("host:") {
            // A web page that was tricked into speaking to us: never run its body.
            pointee.stats.protocolErrors &+= 1
            close(session)
            return
        }
        var shown: [UInt8] = []
        for index in 1..<max(1, count) where shown.count < 128 {
            let argument = arguments[index].array.prefix(128 - shown.count)
            // Shown up to a zero byte, as the reference's texts end there.
            shown += [UInt8(ascii: "'")] + argument.prefix { $0 != 0 } + Array("' ".utf8)
        }
        let shownName = name.array.prefix(128).prefix { $0 != 0 }
        if session.pointee.flags.contains(.multi) { session.pointee.flags.insert(.dirtyExec) }
        writeError(
            session,
            Array("ERR unknown command '".utf8) + shownName
                + Array("', with args beginning with: ".utf8) + shown)
        queueWrite(session)
    }

    @inline(never)
    func refuseUnknownSubcommand(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>,
        _ name: Bytes
    ) {
        let container = "\(pointee.commands.pointee.declarations[Int(command.pointee.id)].name)"
        let shown = name[0..<min(name.count, 128)].string
        refuse(
            command, session,
            "ERR unknown subcommand '\(shown)'. Try \(container.uppercased()) HELP.")
        queueWrite(session)
    }

    @inline(never)
    func refuseArity(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>
    ) {
        let name = pointee.commands.pointee.fullName(of: command)
        refuse(command, session, "ERR wrong number of arguments for '\(name)' command")
        queueWrite(session)
    }

    @inline(never)
    func refuseProtocol(_ session: UnsafeMutablePointer<Session>, _ error: ProtocolError) {
        pointee.stats.protocolErrors &+= 1
        session.pointee.input.pointee.removeAll()
        writeError(session, "ERR Protocol error: \(error.text)")
        session.pointee.flags.insert(.closeAfterReply)
        queueWrite(session)
    }

    // MARK: The stream of our primary

    /// Accounts for stream bytes that were run. They go on to our own backlog as they came, so
    /// that replicas of ours see the same offsets; a transaction counts only once it is whole.
    func applyStream(_ session: UnsafeMutablePointer<Session>, _ bytes: Bytes) {
        guard !session.pointee.flags.contains(.closeNow) else { return }
        pointee.heldStream.append(bytes)
        guard !session.pointee.flags.contains(.multi) else { return }
        session.pointee.appliedOffset &+= Int64(pointee.heldStream.count)
        if pointee.feedsBacklog { pointee.backlog.pointee.append(pointee.heldStream.bytes) }
        pointee.heldStream.removeAll()
        pointee.heldStream.shrink(above: 1 << 20)
    }

    // MARK: Waiting

    func postpone(_ session: UnsafeMutablePointer<Session>) {
        guard !session.pointee.flags.contains(.postponed) else { return }
        session.pointee.flags.insert(.postponed)
        pointee.postponed.append(session)
    }

    /// Runs what waited for the end of a pause.
    public func resumePostponed() {
        var waiting: [UnsafeMutablePointer<Session>] = []
        while let session = pointee.postponed.popLast() { waiting.append(session) }
        for session in waiting.reversed() where !session.pointee.flags.contains(.closeNow) {
            session.pointee.flags.remove(.postponed)
            resume(session)
            if session.pointee.flags.isDisjoint(with: .stopsInput) { process(session) }
        }
    }

    /// Suspends a session until `unblock`; its further input is kept.
    public func block(_ session: UnsafeMutablePointer<Session>, _ reason: BlockReason) {
        invariant(!session.pointee.flags.contains(.blocked), "a session is blocked once")
        session.pointee.flags.insert(.blocked)
        session.pointee.block = reason
        session.pointee.blockedIndex = pointee.blocked.count
        pointee.blocked.append(session)
    }

    /// Ends a block; the reply must have been written. The input that came meanwhile is run at the
    /// end of the iteration, for this may be called from the middle of another client's command.
    public func unblock(_ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.flags.contains(.blocked) else { return }
        dropHeld(session)
        endBlocked(session)
        if !session.pointee.output.pointee.isEmpty { queueWrite(session) }
        queueUnblocked(session)
    }

    /// The session is blocked no more.
    func endBlocked(_ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.flags.contains(.blocked) else { return }
        session.pointee.flags.remove(.blocked)
        session.pointee.block = .none
        let index = session.pointee.blockedIndex
        invariant(pointee.blocked[index] == session, "a blocked session is not in the list")
        pointee.blocked.swapRemove(index)
        if index < pointee.blocked.count { pointee.blocked[index].pointee.blockedIndex = index }
    }

    // MARK: Transactions

    /// Drops the queue and the watched keys of a session.
    public func discardTransaction(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.flags.subtract([.multi, .dirtyExec, .dirtyWatch])
        guard let transaction = session.pointee.transaction else { return }
        unwatch(session)
        transaction.deinitialize(count: 1)
        transaction.deallocate()
        session.pointee.transaction = nil
    }

    /// The transaction of a session, made when first needed.
    public func transaction(
        of session: UnsafeMutablePointer<Session>
    ) -> UnsafeMutablePointer<Transaction> {
        if let existing = session.pointee.transaction { return existing }
        let fresh = UnsafeMutablePointer<Transaction>.allocate(capacity: 1)
        fresh.initialize(to: Transaction())
        session.pointee.transaction = fresh
        return fresh
    }

    public func unwatch(_ session: UnsafeMutablePointer<Session>) {
        guard let transaction = session.pointee.transaction else { return }
        for key in transaction.pointee.watched { pointee.watch.remove(key, session) }
        transaction.pointee.unwatch()
        session.pointee.flags.remove(.dirtyWatch)
    }

    /// Runs the queue of `session`: the body of EXEC. Replies are written by the commands.
    public func runTransaction(_ session: UnsafeMutablePointer<Session>) {
        guard let transaction = session.pointee.transaction else { return }
        let saved = pointee.frame.pointee
        let fromPrimary = session.pointee.flags.contains(.fromPrimary)
        session.pointee.flags.remove(.multi)
        session.pointee.flags.insert(.executing)
        pointee.executingTransaction = !fromPrimary
        let commands = transaction.pointee.commands
        for queued in commands {
            let first = pointee.arguments.count
            transaction.pointee.arguments(of: queued, into: &pointee.arguments)
            // Users may have changed since it was queued.
            let permission = permission(
                of: session, queued.command, UnsafePointer(pointee.arguments.base + first),
                pointee.arguments.count - first)
            if permission != .granted {
                noteDenied(
                    permission, session, queued.command,
                    UnsafePointer(pointee.arguments.base + first))
                writeError(session, permission.refusalOfExec)
                pointee.arguments.truncate(to: first)
                continue
            }
            call(
                queued.command, UnsafePointer(pointee.arguments.base + first),
                pointee.arguments.count - first, session, nil)
            if session.pointee.flags.contains(.tracking) {
                trackReads(
                    queued.command, UnsafePointer(pointee.arguments.base + first),
                    pointee.arguments.count - first, session)
            }
            pointee.arguments.truncate(to: first)
        }
        session.pointee.flags.remove(.executing)
        closeTransaction()
        if pointee.feedsLog { session.pointee.lastLogPosition = pointee.log.pointee.end }
        pointee.frame.pointee = saved
    }

    // MARK: Sessions come and go

    /// A new session; the caller sets `driver` and flags.
    public func openSession(
        peer: String, local: String
    ) -> UnsafeMutablePointer<Session> {
        let session = UnsafeMutablePointer<Session>.allocate(capacity: 1)
        session.initialize(
            to: Session(
                id: pointee.nextSessionID, peer: peer, local: local,
                now: pointee.now.instant))
        pointee.nextSessionID &+= 1
        beginAccess(session)
        pointee.sessions.insert(session)
        return session
    }

    /// Frees a session that the shell has closed.
    public func freeSession(_ session: UnsafeMutablePointer<Session>) {
        forgetMemory(session)
        discardTransaction(session)
        unsubscribeAll(session)
        endMonitor(session)
        forgetTracked(session)
        dropPushes(session)
        if pointee.frame.pointee.session == session { pointee.frame.pointee.session = nil }
        if session.pointee.acks != nil {
            pointee.awaitingAcks.remove(session)
            dropAcks(session)
        }
        pointee.pendingWrites.remove(session)
        pointee.closing.remove(session)
        dropHeld(session)
        endBlocked(session)
        if session.pointee.flags.contains(.unblocked) { pointee.unblocked.remove(session) }
        pointee.postponed.remove(session)
        pointee.sessions.remove(session)
        session.deinitialize(count: 1)
        session.deallocate()
    }
}
