// Bytes to the log thread, and replies that wait for them. With `appendfsync always` a reply
// leaves when everything that was logged before it is synced; the other policies let it go at
// once, unless the disk falls so far behind that clients must be slowed down. A write that fails
// is tried again each second, the same bytes at the same place; meanwhile writes are refused. A
// sync that fails is never tried again: the kernel may have dropped the pages, and a later sync
// that succeeds would say nothing about them. Then only a new base, written from memory, is safe.
import Base
import Engine
import Persistence
import Replication

extension AppendLog {
    /// Unwritten bytes beyond which replies of writers wait.
    static let backPressure: Int64 = 64 << 20
    /// Bytes in one request.
    static let largestWrite = 4 << 20
    static let retryPeriod = Milliseconds(1000)
    static let syncPeriod = Milliseconds(1000)
    /// With `everysec`: writers wait when a sync is late by as much.
    static let syncPatience = Milliseconds(2000)
}

extension NodePointer {
    /// Step 7 of the end of an iteration: hands on what was logged.
    func flushLog() {
        if !pointee.log.reloading.isEmpty { reloadLogWhenWritten() }
        guard pointee.log.state != .off else { return }
        if pointee.log.state == .waitingForBase, pointee.log.rewrite == nil {
            // A base that is yet to be begun will hold it.
            executor.pointee.log.pointee.discard()
        }
        if pointee.log.flight == nil, instant >= pointee.log.retryAt {
            if pointee.log.resend != nil { resendLog() } else { postLog() }
        }
        if !pointee.log.held.isEmpty { releaseReplies() }
    }

    private func postLog() {
        guard let file = pointee.log.file else { return }
        let stream = executor.pointee.log
        var room = Int64(AppendLog.largestWrite)
        if let change = pointee.log.change {
            // What follows the cut waits until the new file may be written to.
            room = Swift.min(room, change.cut - stream.pointee.taken)
            invariant(room >= 0, "bytes of the next file went to the old one")
        }
        let count = Int(Swift.min(Int64(stream.pointee.buffer.count), room))
        let syncs = wantsSync(afterWriting: count)
        guard count > 0 || syncs else { return advanceSwitch() }
        noteStream()
        let bytes = stream.pointee.take(count)
        fly(
            file,
            AppendLog.Flight(
                bytes: bytes, end: stream.pointee.taken, syncs: syncs, began: instant,
                replicationOffset: pointee.history.offset))
    }

    private func fly(_ file: UInt64, _ flight: AppendLog.Flight) {
        pointee.log.flight = flight
        pointee.requests.files.append(
            .writeLog(
                file: file, bytes: flight.bytes, sync: flight.syncs,
                ticket: ticket(.log(.written(file)))))
    }

    private func wantsSync(afterWriting count: Int) -> Bool {
        guard count > 0 || pointee.log.written > pointee.log.durable else { return false }
        // The end of a file, or of the process: nothing may be left over.
        if pointee.log.isClosing { return true }
        if let change = pointee.log.change, executor.pointee.log.pointee.taken + Int64(count)
            == change.cut
        {
            return true
        }
        if !pointee.log.waiters.isEmpty, settings.appendSync != "no" { return true }
        if settings.noAppendSyncOnRewrite, pointee.snapshot.writesFile { return false }
        switch executor.pointee.settings.appendSync {
        case "always": return true
        case "no": return false
        default: return instant - pointee.log.lastSync >= AppendLog.syncPeriod
        }
    }

    func logWritten(_ file: UInt64, _ failure: FileFailure?) {
        guard let flight = pointee.log.flight, file == pointee.log.file else { return }
        if let failure { return writeFailed(file, flight, failure) }
        pointee.log.flight = nil
        pointee.log.written = flight.end
        pointee.log.currentSize += Int64(flight.bytes.count)
        pointee.log.fileSize += Int64(flight.bytes.count)
        if flight.syncs {
            if instant - flight.began > AppendLog.syncPatience { pointee.log.delayedSyncs += 1 }
            pointee.log.lastSync = flight.began
            pointee.log.unsyncedSince = nil
            if logIsOn {
                pointee.log.durable = flight.end
                pointee.log.durableOffset = flight.replicationOffset
            } else {
                pointee.log.syncedAhead = flight.end
            }
        } else if pointee.log.unsyncedSince == nil {
            pointee.log.unsyncedSince = instant
        }
        if pointee.log.failure != nil { logRecovered() }
        advanceSwitch()
        answerLogWaiters()
        advanceShutdown()
    }

    private func writeFailed(
        _ file: UInt64, _ flight: AppendLog.Flight, _ failure: FileFailure
    ) {
        let isFirst = pointee.log.failure == nil
        pointee.log.failure = failure
        executor.pointee.logProblem = failure.reason
        if isFirst {
            log(
                .warning,
                "Error writing to the AOF file \(failure.path): \(failure.operation): "
                    + "\(failure.reason). Writes are refused until this is solved.")
        }
        pointee.log.retryAt = instant + AppendLog.retryPeriod
        pointee.log.flight = nil
        if failure.operation == "write" {
            // The file ends where it ended before: the same bytes come again.
            pointee.log.resend = flight
        } else {
            distrustFiles(failure)
        }
        updateAlerts()
        advanceShutdown()
    }

    /// The file holds the bytes, but nobody can tell whether the disk does: the files stay as they
    /// are, and a new base with a new increment, written from memory, takes their place.
    private func distrustFiles(_ failure: FileFailure) {
        log(
            .warning,
            "The AOF files can no longer be trusted after a failed \(failure.operation): "
                + "rewriting them from memory.")
        giveUpSwitch()
        failRewrite(failure)
        if let file = pointee.log.file { pointee.requests.files.append(.closeLog(file: file)) }
        pointee.log.file = nil
        pointee.log.resend = nil
        pointee.log.needsBase = true
        if pointee.log.state == .on { pointee.log.state = .waitingForBase }
        pointee.log.isScheduled = true
        pointee.log.retryRewriteAt = instant + AppendLog.retryPeriod
    }

    /// Tries again what failed, at the same place.
    func resendLog() {
        guard let flight = pointee.log.resend, let file = pointee.log.file,
            pointee.log.flight == nil
        else { return }
        pointee.log.resend = nil
        fly(file, flight)
    }

    func logRecovered() {
        pointee.log.failure = nil
        executor.pointee.logProblem = ""
        log(.warning, "AOF write error looks solved, the server can write again.")
        updateAlerts()
    }

    // MARK: Replies

    /// How far the log must be for replies to leave.
    private var released: Int64 {
        let waitsForSync =
            settings.appendSync == "always"
            && !(settings.noAppendSyncOnRewrite && pointee.snapshot.writesFile)
        return waitsForSync ? pointee.log.durable : pointee.log.written
    }

    /// Whether the replies of this session must stay; asked before they are written.
    @inline(__always)
    func mustHold(_ session: UnsafeMutablePointer<Session>) -> Bool {
        guard _slowPath(pointee.log.state == .on || pointee.log.needsBase) else { return false }
        return holds(session)
    }

    @inline(never)
    private func holds(_ session: UnsafeMutablePointer<Session>) -> Bool {
        let end = executor.pointee.log.pointee.end
        guard end > released, !session.pointee.flags.contains(.replica) else { return false }
        var position: Int64
        if executor.pointee.settings.appendSync == "always", pointee.log.failure == nil {
            // Also who only read may have seen what is not safe yet.
            position = end
        } else {
            let isLate =
                pointee.log.failure == nil
                && (end - pointee.log.written > AppendLog.backPressure || syncIsLate)
            let isStrict = executor.pointee.settings.appendSync == "always"
            guard isStrict || isLate else { return false }
            position = session.pointee.lastLogPosition
        }
        guard position > released else { return false }
        session.pointee.heldUntil = position
        session.pointee.flags.insert(.held)
        pointee.log.held.append(session)
        return true
    }

    private var syncIsLate: Bool {
        guard let flight = pointee.log.flight, flight.syncs else { return false }
        return instant - flight.began > AppendLog.syncPatience
    }

    /// Lets go the replies whose writes are safe.
    func releaseReplies() {
        let isPromised = pointee.log.state == .on || pointee.log.needsBase || pointee.log.isStopping
        let limit = isPromised ? released : Int64.max
        var kept = PointerList()
        for index in 0..<pointee.log.held.count {
            let session = pointee.log.held[index]
            if session.pointee.heldUntil > limit {
                kept.append(session)
                continue
            }
            session.pointee.flags.remove(.held)
            executor.queueWrite(session)
        }
        pointee.log.held.removeAll()
        for index in 0..<kept.count { pointee.log.held.append(kept[index]) }
    }

    /// A session goes: nothing waits for it any more.
    func forgetInLog(_ session: UnsafeMutablePointer<Session>) {
        if session.pointee.flags.contains(.held) { pointee.log.held.remove(session) }
        let id = session.pointee.id
        if !pointee.log.waiters.isEmpty { pointee.log.waiters.removeAll { $0.session == id } }
        if !pointee.log.reloading.isEmpty { pointee.log.reloading.removeAll { $0 == id } }
    }

    // MARK: WAITAOF

    /// The replication offset up to which the log is safe; nil without a log.
    var durableOffset: Int64? {
        guard logIsOn else { return nil }
        let isWhole = pointee.log.durable == executor.pointee.log.pointee.end
        return isWhole ? pointee.history.offset : pointee.log.durableOffset
    }

    func answerLogWaiters() {
        guard !pointee.log.waiters.isEmpty else { return }
        let waiters = pointee.log.waiters
        pointee.log.waiters = []
        for waiter in waiters {
            let local = logIsOn && pointee.log.durable >= waiter.position
            let replicas = pointee.primary.durableAcknowledgements(of: waiter.offset)
            let isDone = (local || !waiter.local) && replicas >= waiter.replicas
            let isOver = waiter.deadline.map { instant >= $0 } ?? false
            guard isDone || isOver else {
                pointee.log.waiters.append(waiter)
                continue
            }
            guard let session = executor.pointee.sessions.find(id: waiter.session) else {
                continue
            }
            session.pointee.output.pointee.append("*2\r\n:\(local ? 1 : 0)\r\n:\(replicas)\r\n")
            executor.unblock(session)
        }
    }
}
