// Sessions from the shell's side: admission, input, output, the end.
import Base
import Engine
import RESP
import Replication

/// What becomes of a new connection.
public enum ClientAdmission {
    case session(UnsafeMutablePointer<Session>)
    /// Write this and close.
    case refuse(text: String)
}

extension NodePointer {
    /// A client connected. `peer` and `local` are `ip:port`, or the socket's path.
    public func acceptClient(peer: String, local: String, unixSocket: Bool) -> ClientAdmission {
        let settings = self.settings
        if executor.pointee.sessions.count >= settings.maxClients {
            executor.pointee.stats.rejectedConnections += 1
            return .refuse(text: "-ERR max number of clients reached\r\n")
        }
        if settings.protectedMode, executor.pointee.access.pointee.defaultNeedsNoPassword,
            !unixSocket, !isLoopback(peer)
        {
            executor.pointee.stats.rejectedConnections += 1
            return .refuse(text: protectedModeText)
        }
        executor.pointee.stats.connectionsReceived += 1
        let session = executor.openSession(peer: peer, local: local)
        if unixSocket { session.pointee.flags.insert(.unixSocket) }
        session.pointee.requiredAcks = Int32(clamping: settings.minReplicasAck)
        executor.refreshOutputLimit(session)
        _ = session.pointee.output.pointee.reserve(ExecutorPointer.smallReplyBuffer)
        return .session(session)
    }

    private func isLoopback(_ peer: String) -> Bool {
        peer.hasPrefix("127.") || peer.hasPrefix("[::1]") || peer.hasPrefix("::1")
            || peer.hasPrefix("::ffff:127.")
    }

    private var protectedModeText: String {
        """
        -DENIED Redis is running in protected mode because protected mode is enabled and no \
        password is set for the default user. In this mode connections are only accepted from \
        the loopback interface. If you want to connect from external computers to Redis you may \
        adopt one of the following solutions: 1) Just disable protected mode sending the command \
        'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from \
        the same host the server is running, however MAKE SURE Redis is not publicly accessible \
        from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) \
        Alternatively you can just disable the protected mode by editing the Redis configuration \
        file, and setting the protected mode option to 'no', and then restarting the server. 3) \
        If you started the server manually just for testing, restart it with the \
        '--protected-mode no' option. 4) Set up an authentication password for the default user. \
        NOTE: You only need to do one of the above things in order for the server to start \
        accepting connections from the outside.\r\n
        """
    }

    /// The shell appended bytes to the session's input.
    public func clientReadable(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.lastInteraction = instant
        executor.pointee.stats.readsProcessed += 1
        if session.pointee.input.pointee.count
            > executor.pointee.settings.queryBufferLimit {
            executor.pointee.stats.queryBufferDisconnections += 1
            log(
                .warning,
                "Closing client that reached max query buffer length: id=\(session.pointee.id) "
                    + "addr=\(session.pointee.peerAddress) "
                    + "qbuf=\(session.pointee.input.pointee.count)")
            executor.close(session)
            return
        }
        if _slowPath(session.pointee.flags.contains(.replica)) {
            // While it loads, a replica says nothing but empty lines: they are its sign of life.
            pointee.primary.newlineReceived(session: session.pointee.id, at: instant)
        }
        if _fastPath(!session.pointee.flags.contains(.blocked)) { executor.process(session) }
        // What it holds of a request that has not come as a whole.
        if _slowPath(watchesClientMemory), !session.pointee.input.pointee.isEmpty {
            noteClientMemory(session)
        }
    }

    /// The socket is gone: frees the session.
    public func sessionClosed(_ session: UnsafeMutablePointer<Session>) {
        let id = session.pointee.id
        _ = pointee.waiters.remove(session: id)
        pointee.migrations.forget(session: id)
        forgetInLog(session)
        forgetInPromise(session)
        if session.pointee.flags.contains(.replica) || pointee.primary.replica(id) != nil {
            var effects: [PrimaryEffect] = []
            _ = pointee.primary.disconnected(session: id, at: instant, into: &effects)
            pointee.snapshot.forget(session: id)
            pointee.replicaSessions.remove(session)
            pointee.trimmedAt = .max
            executor.freeSession(session)
            carryOut(effects)
            updateAlerts()
            return
        }
        var effects: [PrimaryEffect] = []
        _ = pointee.primary.disconnected(session: id, at: instant, into: &effects)
        executor.freeSession(session)
    }

    /// Bytes that one replica may be written per iteration. Enough for it to catch up whatever the
    /// clients write, and little enough not to make them wait for it.
    public var replicaWriteBudget: Int { (64 << 10) + 2 * pointee.streamGrowth }

    /// What to write now: queued replies first, then, for a replica, the stream.
    @inline(__always)
    public func nextOutput(_ session: UnsafeMutablePointer<Session>) -> Bytes {
        let output = session.pointee.output
        if _fastPath(!output.pointee.isEmpty) {
            if _slowPath(!session.pointee.flags.isDisjoint(with: [.held, .awaitsAcks])) {
                return session.pointee.flags.contains(.held)
                    ? .empty : executor.freeOutput(session)
            }
            return output.pointee.bytes
        }
        guard session.pointee.flags.contains(.replica), session.pointee.replicaSent >= 0 else {
            return .empty
        }
        return executor.pointee.backlog.pointee.read(from: session.pointee.replicaSent)
    }

    /// The socket took `count` bytes of what `nextOutput` returned.
    @inline(__always)
    public func wrote(_ session: UnsafeMutablePointer<Session>, _ count: Int) {
        let output = session.pointee.output
        if _fastPath(!output.pointee.isEmpty) {
            output.pointee.consume(count)
            if _slowPath(session.pointee.flags.contains(.awaitsAcks)) {
                executor.noteAckedOutput(session, count)
            }
            executor.pointee.stats.netOutputBytes &+= Int64(count)
            if _slowPath(session.pointee.flags.contains(.replica)) {
                replicaTook(session)
            } else if _slowPath(output.pointee.isEmpty) {
                output.pointee.shrink(above: 64 * 1024)
            }
            return
        }
        session.pointee.replicaSent &+= Int64(count)
        executor.pointee.stats.netReplicationOutputBytes &+= Int64(count)
    }

    /// A replica's socket took part of its snapshot.
    private func replicaTook(_ session: UnsafeMutablePointer<Session>) {
        pointee.primary.snapshotProgressed(session: session.pointee.id, at: instant)
        guard session.pointee.output.pointee.isEmpty,
            !pointee.snapshot.sessions.contains(session.pointee.id)
        else { return }
        // Not before the end of a snapshot: its next slice needs the same memory again.
        session.pointee.output.pointee.shrink(above: 64 * 1024)
        finishSnapshot(for: session)
    }

    /// The limits of the settings, for the clients that are there already.
    func refreshOutputLimits() {
        for index in 0..<executor.pointee.sessions.count {
            let session = executor.pointee.sessions[index]
            guard session.pointee.flags.isDisjoint(with: [.replica, .fromPrimary]) else { continue }
            executor.refreshOutputLimit(session)
        }
    }

    /// Closes sessions that hold more unread replies than their class may.
    func enforceOutputLimit(_ session: UnsafeMutablePointer<Session>) {
        let isReplica = session.pointee.flags.contains(.replica)
        var used = session.pointee.output.pointee.count
        if isReplica, session.pointee.replicaSent >= 0 {
            used += Int(executor.pointee.backlog.pointee.endOffset - session.pointee.replicaSent)
        }
        let settings = self.settings
        var limit =
            isReplica
            ? settings.replicaOutputLimit
            : session.pointee.flags.contains(.pubsub)
                ? settings.pubsubOutputLimit : settings.normalOutputLimit
        // What the backlog keeps anyway is no burden of this replica.
        if isReplica {
            if limit.hard > 0 { limit.hard = Swift.max(limit.hard, settings.backlogSize) }
            // A snapshot on its way is bounded by the walk, not by the limit.
            if pointee.snapshot.serves(session.pointee.id) { return }
        }
        var isOver = limit.hard > 0 && used > limit.hard
        if limit.soft > 0, used > limit.soft {
            if let since = session.pointee.softLimitSince {
                if instant - since > Milliseconds(Int64(limit.softSeconds) * 1000) {
                    isOver = true
                }
            } else {
                session.pointee.softLimitSince = instant
            }
        } else {
            session.pointee.softLimitSince = nil
        }
        guard isOver else { return }
        executor.pointee.stats.outputLimitDisconnections += 1
        logOverLimit(session)
        executor.close(session)
    }

    @inline(__always)
    func isOverLimit(_ session: UnsafeMutablePointer<Session>) -> Bool {
        session.pointee.output.pointee.count > session.pointee.outputHardLimit
    }

    @inline(never)
    func logOverLimit(_ session: UnsafeMutablePointer<Session>) {
        log(
            .warning,
            "Client id=\(session.pointee.id) addr=\(session.pointee.peerAddress) scheduled to be "
                + "closed ASAP for overcoming of output buffer limits.")
    }
}
