// Bytes into the log, and replies that wait for them. No reply leaves before what it acknowledges
// is written, so a process that dies loses nothing that was answered; with `appendfsync always` it
// leaves when that is synced as well. The loop writes by itself, which costs least, unless a sync
// is under way or the disk was slow a moment ago: then the log thread writes and the loop goes on.
//
// A write that fails is tried again each second, the same bytes at the same place; meanwhile writes
// are refused. A sync that fails is never tried again: the kernel may have dropped the pages, and a
// later sync that succeeds would say nothing about them. Then only a new base, written from memory,
// is safe.
import Base
import Engine
import Persistence
import Replication

extension AppendLog {
    /// Bytes in one request to the log thread.
    static let largestWrite = 4 << 20
    static let retryPeriod = Milliseconds(1000)
    static let syncPeriod = Milliseconds(1000)
    /// With `everysec`: writers wait when what they wrote is not safe after as much.
    static let syncPatience = Milliseconds(2000)
}

extension NodePointer {
    /// Step 7 of the end of an iteration: writes what was logged.
    func flushLog<S: Shell>(_ shell: inout S) {
        if !pointee.log.reloading.isEmpty { reloadLogWhenWritten() }
        guard pointee.log.state != .off else { return }
        if pointee.log.state == .waitingForBase, pointee.log.rewrite == nil {
            // A base that is yet to be begun will hold it.
            executor.pointee.log.pointee.discard()
        }
        if pointee.log.flight == nil, instant >= pointee.log.retryAt {
            if pointee.log.resend != nil { resendLog() } else { writeLog(&shell) }
        }
        if !pointee.log.held.isEmpty { releaseReplies() }
    }

    private func writeLog<S: Shell>(_ shell: inout S) {
        guard let file = pointee.log.file else { return }
        let stream = executor.pointee.log
        var count = stream.pointee.buffer.count
        if let change = pointee.log.change {
            // What follows the cut waits until the new file may be written to.
            let room = change.cut - stream.pointee.taken
            invariant(room >= 0, "bytes of the next file went to the old one")
            count = Int(Swift.min(Int64(count), room))
        }
        if count > 0 {
            let writesAlone = pointee.log.policy != .always && pointee.log.syncing == nil
            guard writesAlone else { return post(file, count) }
            switch shell.writeLog(file, stream.pointee.buffer.bytes[0..<count]) {
            case .done:
                stream.pointee.drop(count)
                written(count, offset: offsetOfTaken)
            case .busy: return post(file, count)
            case .failed(let failure): return writeFailed(takeFlight(count), failure)
            }
        }
        if wantsSync(afterWriting: 0) { startSync(file) } else { advanceSwitch() }
    }

    private func post(_ file: UInt64, _ count: Int) {
        let count = Swift.min(count, AppendLog.largestWrite)
        let syncs = pointee.log.policy == .always && wantsSync(afterWriting: count)
        var flight = takeFlight(count)
        flight.syncs = syncs
        fly(file, flight)
    }

    /// What was taken out of the stream last stands for this replication offset.
    private var offsetOfTaken: Int64 {
        guard executor.pointee.log.pointee.buffer.isEmpty else { return pointee.log.writtenOffset }
        noteStream()
        return pointee.history.offset
    }

    private func takeFlight(_ count: Int) -> AppendLog.Flight {
        let stream = executor.pointee.log
        let bytes = stream.pointee.take(count)
        return AppendLog.Flight(
            bytes: bytes, end: stream.pointee.taken, syncs: false, began: instant,
            replicationOffset: offsetOfTaken)
    }

    private func fly(_ file: UInt64, _ flight: AppendLog.Flight) {
        pointee.log.flight = flight
        pointee.requests.files.append(
            .writeLog(
                file: file, bytes: flight.bytes, sync: flight.syncs,
                ticket: ticket(.log(.written(file)))))
    }

    private func startSync(_ file: UInt64) {
        pointee.log.syncing = AppendLog.Sync(
            file: file, end: pointee.log.written, began: instant,
            since: pointee.log.unsyncedSince ?? instant,
            replicationOffset: pointee.log.writtenOffset)
        pointee.log.unsyncedSince = nil
        pointee.requests.files.append(
            .syncLog(file: file, ticket: ticket(.log(.synced(file)))))
    }

    private func wantsSync(afterWriting count: Int) -> Bool {
        guard pointee.log.syncing == nil else { return false }
        let safe = logIsOn ? pointee.log.durable : pointee.log.syncedAhead
        guard count > 0 || pointee.log.written > safe else { return false }
        // The end of a file, or of the process: nothing may be left over.
        if pointee.log.isClosing { return true }
        if let change = pointee.log.change, executor.pointee.log.pointee.taken + Int64(count)
            == change.cut
        {
            return true
        }
        if !pointee.log.waiters.isEmpty, pointee.log.policy != .never { return true }
        if pointee.log.pausesSyncs, pointee.snapshot.writesFile { return false }
        switch pointee.log.policy {
        case .always: return true
        case .never: return false
        case .everySecond: return instant - pointee.log.lastSync >= AppendLog.syncPeriod
        }
    }

    private func written(_ count: Int, offset: Int64) {
        pointee.log.written += Int64(count)
        pointee.log.writtenOffset = offset
        pointee.log.currentSize += Int64(count)
        pointee.log.fileSize += Int64(count)
        if pointee.log.unsyncedSince == nil { pointee.log.unsyncedSince = instant }
    }

    private func safe(upTo end: Int64, offset: Int64, since began: Instant) {
        if instant - began > AppendLog.syncPatience { pointee.log.delayedSyncs += 1 }
        pointee.log.lastSync = began
        if logIsOn {
            pointee.log.durable = end
            pointee.log.durableOffset = offset
        } else {
            pointee.log.syncedAhead = end
        }
    }

    func logWritten(_ file: UInt64, _ failure: FileFailure?) {
        guard let flight = pointee.log.flight, file == pointee.log.file else { return }
        pointee.log.flight = nil
        if let failure { return writeFailed(flight, failure) }
        written(flight.bytes.count, offset: flight.replicationOffset)
        if flight.syncs {
            pointee.log.unsyncedSince = nil
            safe(upTo: flight.end, offset: flight.replicationOffset, since: flight.began)
        }
        progressed()
    }

    func logSynced(_ file: UInt64, _ failure: FileFailure?) {
        guard let sync = pointee.log.syncing, file == sync.file, file == pointee.log.file else {
            return
        }
        pointee.log.syncing = nil
        if let failure { return syncFailed(failure) }
        safe(upTo: sync.end, offset: sync.replicationOffset, since: sync.began)
        progressed()
    }

    /// Something is written or safe that was not.
    private func progressed() {
        if pointee.log.failure != nil, pointee.log.resend == nil, !pointee.log.needsBase {
            logRecovered()
        }
        advanceSwitch()
        answerLogWaiters()
        advanceShutdown()
    }

    private func writeFailed(_ flight: AppendLog.Flight, _ failure: FileFailure) {
        guard failure.operation == "write" else { return syncFailed(failure) }
        noteFailure(failure)
        // The file ends where it ended before: the same bytes come again.
        pointee.log.resend = flight
        updateAlerts()
        advanceShutdown()
    }

    private func syncFailed(_ failure: FileFailure) {
        noteFailure(failure)
        distrustFiles(failure)
        updateAlerts()
        advanceShutdown()
    }

    private func noteFailure(_ failure: FileFailure) {
        let isFirst = pointee.log.failure == nil
        pointee.log.failure = failure
        executor.pointee.logProblem = failure.reason
        pointee.log.retryAt = instant + AppendLog.retryPeriod
        guard isFirst else { return }
        log(
            .warning,
            "Error writing to the AOF file \(failure.path): \(failure.operation): "
                + "\(failure.reason). Writes are refused until this is solved.")
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
        pointee.log.flight = nil
        pointee.log.resend = nil
        pointee.log.syncing = nil
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
        // Only the base that is being written makes up for a sync that failed.
        if pointee.log.needsBase { return pointee.log.durable }
        if pointee.log.pausesSyncs, pointee.snapshot.writesFile { return pointee.log.written }
        let waitsForSync = pointee.log.policy == .always || syncIsLate
        return waitsForSync ? pointee.log.durable : pointee.log.written
    }

    /// Whether the replies of this session must stay; asked before they are written.
    @inline(__always)
    func mustHold(_ session: UnsafeMutablePointer<Session>) -> Bool {
        guard _slowPath(pointee.log.state == .on || pointee.log.needsBase) else { return false }
        let end = executor.pointee.log.pointee.end
        if _fastPath(end == pointee.log.written && pointee.log.policy != .always) {
            guard _slowPath(pointee.log.needsBase || syncIsLate) else { return false }
        }
        return holds(session, end)
    }

    @inline(never)
    private func holds(_ session: UnsafeMutablePointer<Session>, _ end: Int64) -> Bool {
        let limit = released
        guard end > limit, !session.pointee.flags.contains(.replica) else { return false }
        var position = session.pointee.lastLogPosition
        if pointee.log.policy == .always, pointee.log.failure == nil {
            // Also who only read may have seen what is not safe yet.
            position = end
        }
        guard position > limit else { return false }
        session.pointee.heldUntil = position
        session.pointee.flags.insert(.held)
        pointee.log.held.append(session)
        return true
    }

    private var syncIsLate: Bool {
        guard let sync = pointee.log.syncing, pointee.log.policy == .everySecond else {
            return false
        }
        return instant - sync.since > AppendLog.syncPatience
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
