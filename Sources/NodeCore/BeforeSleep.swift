// The end of a loop iteration: one list, in one order, each line with its reason. The server and
// the simulator both run it, through their `Shell`.
import Base
import Engine
import Gossip
import Replication

extension NodePointer {
    /// What a client's reply buffer may keep where memory is counted, once it is empty.
    private static var largestIdleReplyBuffer: Int { 16 << 10 }

    /// Carries out everything that the iteration's inputs queued. Returns how long to sleep at
    /// most; zero when work is left.
    public func beforeSleep<S: Shell>(_ shell: inout S) -> Milliseconds {
        // (1) Time's own work, so that what it decides leaves in this iteration.
        runCron()
        // (2) The cluster state is written before anything that rests on it may leave; syncs are
        // awaited elsewhere, messages that need them are held back.
        if !pointee.requests.files.isEmpty { performFiles(&shell) }
        // (3) Commands that waited for the end of a pause run now that its cause is settled: when a
        // failover ended it, the slots' new owner is known. Waiters that became ready get their
        // replies into this iteration's writes.
        if executor.pointee.mayResume {
            executor.pointee.mayResume = false
            executor.resumePostponed()
        }
        if let deadline = executor.pointee.nextBlockDeadline, deadline <= instant {
            executor.expireBlocks()
        }
        if !pointee.log.waiters.isEmpty { answerLogWaiters() }
        if !pointee.waiters.isEmpty {
            if pointee.replicaSessions.count > 0 { advanceWaiters() }
        }
        if _slowPath(!executor.pointee.awaitingAcks.isEmpty) { advanceAcks() }
        // Keys that became ready outside of a client's command: expiry, a copied data set.
        if executor.pointee.hasReadyKeys { executor.serveReadyKeys() }
        if !executor.pointee.unblocked.isEmpty { executor.processUnblocked() }
        if pointee.failover.state == .waitingForSync { advanceFailover() }
        if isReplica, pointee.clusterTimes.awaitsAppliedOffset { refreshClusterFacts() }
        if !pointee.migrations.isEmpty { advanceMigrations() }
        // (4) Expired keys go before the stream is flushed, so that replicas hear of them now.
        let expiryIsBehind =
            executor.pointee.activeExpire ? expireCycle(limit: 256) : false
        // (5) A share of what came with a copy, and of what is given up.
        let streamIsBehind = advanceEmbeddedStream()
        let freeing = freeRetired() || freeShare()
        advanceDefrag()
        if _slowPath(executor.pointee.wantsAcks) { askForAcks() }
        noteStream()
        // (6) Invalidations: all changes of this iteration are made.
        executor.finishInvalidations()
        // (7) What was logged, before anybody hears of it.
        flushLog(&shell)
        // (8) Replicas before clients: what a client is told is already in the kernel's hands, on
        // its way to the replicas, when this process dies.
        writeReplicas(&shell)
        // (9) The clients' replies. Before them goes who was killed: who is told so may rely on it.
        if _slowPath(!executor.pointee.closing.isEmpty) { closeSessionsMeanwhile(&shell) }
        writeClients(&shell)
        // (10) A slice of the running snapshot, for which nobody waits who has been answered; its
        // bytes for a replica leave in the next iteration.
        let snapshotIsBusy = advanceSnapshot()
        // Files that steps 4 to 10 asked for.
        if !pointee.requests.files.isEmpty { performFiles(&shell) }
        // (11) Closing after the writes: whoever is closed got what was queued for it.
        closeSessions(&shell)
        // (12) Bus and link messages; those that wait for a sync are not among them.
        if !pointee.requests.links.isEmpty { performLinks(&shell) }
        writeLogLines(&shell)
        trimBacklog()
        if !pointee.requests.process.isEmpty {
            let requests = pointee.requests.process
            pointee.requests.process.removeAll()
            for request in requests { shell.perform(request) }
        }
        // (13) How long nothing will need doing.
        if expiryIsBehind || snapshotIsBusy || streamIsBehind || freeing || hasRequests {
            return .zero
        }
        return sleepTime()
    }

    func writeLogLines<S: Shell>(_ shell: inout S) {
        if !executor.pointee.logLines.isEmpty {
            for line in executor.pointee.logLines { log(.warning, line) }
            executor.pointee.logLines.removeAll()
        }
        if !executor.pointee.scripts.logLines.isEmpty {
            for line in executor.pointee.scripts.logLines { log(line.level, line.text) }
            executor.pointee.scripts.logLines.removeAll()
        }
        guard !pointee.requests.log.isEmpty else { return }
        let lines = pointee.requests.log
        pointee.requests.log.removeAll(keepingCapacity: true)
        for line in lines { shell.log(line) }
    }

    private var hasRequests: Bool {
        executor.pointee.mayResume || executor.pointee.hasReadyKeys
            || !executor.pointee.unblocked.isEmpty
            || !pointee.requests.links.isEmpty || !pointee.requests.files.isEmpty
            || !pointee.requests.process.isEmpty || !pointee.requests.log.isEmpty
            || !executor.pointee.pendingWrites.isEmpty || !executor.pointee.closing.isEmpty
    }

    private func performFiles<S: Shell>(_ shell: inout S) {
        let files = pointee.requests.files
        pointee.requests.files.removeAll(keepingCapacity: true)
        for file in files { shell.perform(file) }
    }

    private func performLinks<S: Shell>(_ shell: inout S) {
        let links = pointee.requests.links
        pointee.requests.links.removeAll(keepingCapacity: true)
        for link in links {
            switch link {
            case .connect(let id, let kind, let host, let port):
                shell.connect(id, kind: kind, host: host, port: port)
            case .send(let id, let bytes): shell.send(id, bytes)
            case .close(let id): shell.close(id)
            }
        }
    }

    private func writeReplicas<S: Shell>(_ shell: inout S) {
        let end = executor.pointee.backlog.pointee.endOffset
        pointee.streamGrowth = Int(Swift.max(0, end - pointee.streamEndBefore))
        pointee.streamEndBefore = end
        for index in 0..<pointee.replicaSessions.count {
            let session = pointee.replicaSessions[index]
            if session.pointee.flags.contains(.closeNow) { continue }
            if !nextOutput(session).isEmpty { shell.write(session) }
        }
    }

    private func writeClients<S: Shell>(_ shell: inout S) {
        var index = 0
        while index < executor.pointee.pendingWrites.count {
            let session = executor.pointee.pendingWrites[index]
            index += 1
            session.pointee.flags.remove(.pendingWrite)
            if session.pointee.flags.contains(.detached) {
                session.pointee.output.pointee.removeAll()
                continue
            }
            if session.pointee.flags.contains(.closeNow) {
                if isOverLimit(session) { logOverLimit(session) }
                continue
            }
            // What is not safe yet must not be answered.
            if waitsForDisk(session) { continue }
            // Not even a part of it: a client that is sent too much gets nothing.
            if _slowPath(isOverLimit(session)) { enforceOutputLimit(session) }
            if session.pointee.flags.contains(.closeNow) { continue }
            writeClient(session, &shell)
            if _slowPath(watchesClientMemory) {
                // Memory is short: a large buffer that has done its work does not stay.
                if session.pointee.output.pointee.isEmpty {
                    session.pointee.output.pointee.shrink(above: Self.largestIdleReplyBuffer)
                }
                noteClientMemory(session)
            }
        }
        executor.pointee.pendingWrites.removeAll()
        if _slowPath(executor.pointee.alerts.contains(.clientsLimited)) {
            executor.pointee.evictClients(executor)
        }
    }

    /// Whether the replies of this session must stay, for the log or for nodes.conf; asked before
    /// they are written.
    @inline(__always)
    func waitsForDisk(_ session: UnsafeMutablePointer<Session>) -> Bool {
        _slowPath(session.pointee.flags.contains(.held)) || mustHold(session)
            || waitsForClusterState(session)
    }

    @inline(__always)
    private func writeClient<S: Shell>(
        _ session: UnsafeMutablePointer<Session>, _ shell: inout S
    ) {
        shell.write(session)
        if _slowPath(session.pointee.flags.contains(.closeAfterReply)),
            session.pointee.output.pointee.isEmpty
        {
            executor.close(session)
        }
    }

    /// What leaves while a script runs for long: replies to those that were answered meanwhile,
    /// which are the sessions from `first` on in the list, and the log; and sessions that
    /// ended are closed. Everything else waits for the end of the script, which is in the middle of
    /// a change.
    public func whileBusy<S: Shell>(_ shell: inout S, repliesFrom first: Int) {
        while executor.pointee.pendingWrites.count > first {
            guard let session = executor.pointee.pendingWrites.popLast() else { break }
            session.pointee.flags.remove(.pendingWrite)
            if session.pointee.flags.contains(.closeNow) { continue }
            if waitsForDisk(session) { continue }
            writeClient(session, &shell)
        }
        closeSessionsMeanwhile(&shell)
        writeLogLines(&shell)
    }

    /// What leaves before the process stands still in the middle of a command (DEBUG SLEEP): who
    /// was told to go goes first, so that the other side does not see it only afterwards.
    public func beforePause<S: Shell>(_ shell: inout S) {
        // To a script the link to the primary is the node's own work, which waits for its end.
        if executor.pointee.scripts.run == nil { closeKilledUpstream() }
        closeSessionsMeanwhile(&shell)
        performLinks(&shell)
        writeLogLines(&shell)
    }

    private func closeSessions<S: Shell>(_ shell: inout S) {
        closeKilledUpstream()
        while let session = executor.pointee.closing.popLast() {
            if session.pointee.flags.contains(.detached) { continue }
            shell.close(session)
        }
    }

    /// Closes before the end of the iteration those that nobody is in the middle of.
    private func closeSessionsMeanwhile<S: Shell>(_ shell: inout S) {
        var kept: [UnsafeMutablePointer<Session>] = []
        while let session = executor.pointee.closing.popLast() {
            // Its command runs, or it is in a list of such sessions, or it has no socket.
            let busy: SessionFlags = [
                .running, .postponed, .unblocked, .pendingWrite, .detached,
            ]
            if session.pointee.flags.isDisjoint(with: busy) {
                shell.close(session)
            } else {
                kept.append(session)
            }
        }
        for session in kept { executor.pointee.closing.append(session) }
    }

    /// Drops what neither the configured size nor a replica needs.
    private func trimBacklog() {
        // Blocks are freed whole, so a look per block written is often enough.
        let end = executor.pointee.backlog.pointee.endOffset
        guard end - pointee.trimmedAt > Int64(Backlog.blockSize) || end < pointee.trimmedAt,
            pointee.history.backlog != nil
        else { return }
        pointee.trimmedAt = end
        var needed = pointee.primary.oldestNeededOffset
        for index in 0..<pointee.replicaSessions.count {
            let sent = pointee.replicaSessions[index].pointee.replicaSent
            guard sent >= 0 else { continue }
            needed = Swift.min(needed ?? sent + 1, sent + 1)
        }
        guard pointee.history.trimBacklog(keepingFrom: needed) > 0,
            let window = pointee.history.backlog
        else { return }
        executor.pointee.backlog.pointee.trim(before: window.first - 1)
    }

    private func sleepTime() -> Milliseconds {
        var wake = pointee.cron.next
        if isReplica, let deadline = pointee.upstream.nextDeadline {
            wake = Swift.min(wake, deadline)
        }
        if let deadline = executor.pointee.nextBlockDeadline { wake = Swift.min(wake, deadline) }
        if let deadline = executor.pointee.nextAckDeadline { wake = Swift.min(wake, deadline) }
        if let deadline = pointee.waiters.nextDeadline { wake = Swift.min(wake, deadline) }
        for waiter in pointee.log.waiters {
            if let deadline = waiter.deadline { wake = Swift.min(wake, deadline) }
        }
        if let deadline = nextDefrag { wake = Swift.min(wake, deadline) }
        if let deadline = pointee.migrations.nextDeadline { wake = Swift.min(wake, deadline) }
        if let deadline = pointee.clusterTimes.next {
            // The machine wakes itself between two crons when milliseconds count.
            if deadline <= instant {
                stepCluster(.tick)
                return .zero
            }
            wake = Swift.min(wake, deadline)
        }
        guard wake > instant else { return Milliseconds(1) }
        return Swift.max(Milliseconds(1), wake - instant)
    }

    // MARK: Answers of the shell

    /// A file request with a ticket is done, or failed.
    public func fileDone(ticket: UInt64, failure: FileFailure?) {
        guard let meaning = pointee.tickets.removeValue(forKey: ticket) else { return }
        switch meaning {
        case .clusterState(let version, let synced):
            clusterStateWritten(version: version, synced: synced, failure: failure)
        // What comes late of a save that was cancelled is nothing to the one that runs now.
        case .snapshot(let file): if pointee.snapshot.writes(file) { saveEnded(failure: failure) }
        case .snapshotProgress(let file, let bytes):
            if pointee.snapshot.writes(file) { snapshotProgressed(bytes: bytes) }
        case .lostWrites(let commands, let bytes, let name):
            lostWritesSaved(commands: commands, bytes: bytes, name: name, failure: failure)
        case .log(let meaning): logDone(meaning, failure: failure)
        case .configRewrite(let id):
            guard let session = executor.pointee.sessions.find(id: id) else { return }
            if let failure {
                executor.writeError(
                    session, "ERR Rewriting config file: \(failure.reason)")
            } else {
                session.pointee.output.pointee.append("+OK\r\n")
            }
            executor.unblock(session)
        case .accessFile(let id): usersSaved(session: id, failure)
        }
    }
}
