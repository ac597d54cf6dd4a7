// Rewriting the log: the same walk as every snapshot writes a new base while commands go on into a
// new increment that begins exactly where the walk does. Until the manifest names the new files,
// the old ones are the truth; at no moment is there a state of the folder from which a restart
// would miss a command. The order: the new increment is opened, then named by the manifest, and
// only then written to; the base is synced and renamed, then named by a manifest that makes the
// old files history, and only then are those removed.
import Base
import Engine
import Persistence
import Replication

extension AppendLog {
    /// After so many failures in a row automatic rewrites get rare.
    static let failureLimit = 3
    static let longestRetryMinutes: Int64 = 60
}

extension NodePointer {
    /// Begins a rewrite; false when another walk runs.
    @discardableResult
    func startRewrite() -> Bool {
        guard !pointee.snapshot.isRunning, pointee.log.rewrite == nil, pointee.log.change == nil
        else { return false }
        let isRDB = settings.logUsesPreamble
        var manifest = pointee.log.manifest
        let number = pointee.snapshot.nextFile
        pointee.snapshot.nextFile += 1
        let stream = executor.pointee.log
        // Nothing that was logged before a first base counts.
        if pointee.log.state == .waitingForBase { stream.pointee.discard() }
        stream.pointee.startFile()
        noteStream()
        let name = manifest.addBase(for: settings.appendFilename, isRDB: isRDB)
        pointee.log.isScheduled = false
        if !pointee.log.isStarting { pointee.log.rewrites += 1 }
        pointee.log.rewrite = AppendLog.Rewrite(
            number: number, began: instant, isRDB: isRDB, start: stream.pointee.end,
            baseName: name)
        pointee.requests.files.append(.createFolder(name: settings.appendFolder))
        switch pointee.log.state {
        case .off: break
        case .waitingForBase: openTemporaryIncrement()
        case .on: openNextIncrement()
        }
        beginRewriteWalk(number: number, name: logPath(name), isRDB: isRDB)
        log(
            .notice,
            "Background append only file rewriting started: an incremental walk inside this "
                + "process")
        return true
    }

    private func openTemporaryIncrement() {
        let file = pointee.log.nextFile
        pointee.log.nextFile += 1
        if let old = pointee.log.file { pointee.requests.files.append(.closeLog(file: old)) }
        pointee.log.file = nil
        pointee.log.opening = file
        pointee.log.fileName = AOFManifest.temporaryIncrement(for: settings.appendFilename)
        pointee.log.flight = nil
        pointee.log.resend = nil
        pointee.log.syncing = nil
        pointee.log.written = executor.pointee.log.pointee.taken
        pointee.log.syncedAhead = 0
        pointee.log.fileSize = 0
        pointee.requests.files.append(
            .openLog(
                file: file, name: logPath(pointee.log.fileName), truncates: true,
                ticket: ticket(.log(.opened(file)))))
        log(
            .notice, "Creating AOF incr file \(pointee.log.fileName) on background rewrite")
    }

    private func openNextIncrement() {
        let file = pointee.log.nextFile
        pointee.log.nextFile += 1
        var manifest = pointee.log.manifest
        let name = manifest.addIncrement(for: settings.appendFilename)
        pointee.log.change = AppendLog.Switch(
            file: file, name: name, cut: executor.pointee.log.pointee.end, manifest: manifest)
        pointee.requests.files.append(
            .openLog(
                file: file, name: logPath(name), truncates: true,
                ticket: ticket(.log(.opened(file)))))
        log(.notice, "Creating AOF incr file \(name) on background rewrite")
    }

    func logOpened(_ file: UInt64, _ failure: FileFailure?) {
        if file == pointee.log.opening { return incrementOpened(file, failure) }
        guard var change = pointee.log.change, change.file == file else { return }
        if let failure { return switchFailed(failure) }
        change.stage = .persisting
        pointee.log.change = change
        pointee.requests.files.append(
            .replace(
                name: manifestPath, contents: change.manifest.contents, sync: true,
                ticket: ticket(.log(.switchPersisted(file)))))
    }

    private func incrementOpened(_ file: UInt64, _ failure: FileFailure?) {
        pointee.log.opening = nil
        if let failure {
            log(
                .warning,
                "Can't open the append-only file \(failure.path): \(failure.reason)")
            if logIsOn { return failStartOfLog() }
            return failRewrite(failure)
        }
        pointee.log.file = file
        // The base may have been quicker.
        finishRewriteIfReady()
        startedLog()
    }

    func switchPersisted(_ file: UInt64, _ failure: FileFailure?) {
        guard var change = pointee.log.change, change.file == file else { return }
        if let failure { return switchFailed(failure) }
        change.stage = .ready
        pointee.log.change = change
        pointee.log.manifest = change.manifest
        advanceSwitch()
    }

    /// Goes over to the new increment once the old one has everything that belongs to it.
    func advanceSwitch() {
        guard let change = pointee.log.change, change.stage == .ready,
            pointee.log.flight == nil, pointee.log.resend == nil, pointee.log.syncing == nil,
            executor.pointee.log.pointee.taken == change.cut, pointee.log.durable >= change.cut
        else { return }
        if let old = pointee.log.file { pointee.requests.files.append(.closeLog(file: old)) }
        pointee.log.file = change.file
        pointee.log.fileName = change.name
        pointee.log.fileSize = 0
        pointee.log.change = nil
        finishRewriteIfReady()
        startedLog()
    }

    /// The log goes on in the old file.
    private func switchFailed(_ failure: FileFailure) {
        guard let change = pointee.log.change else { return }
        log(
            .warning,
            "Can't go on in the append-only file \(change.name): \(failure.operation): "
                + "\(failure.reason)")
        giveUpSwitch()
        failRewrite(failure)
        failStartOfLog()
    }

    /// The new increment stays empty, and its name is not used again: a manifest that names it may
    /// have reached the disk.
    func giveUpSwitch() {
        guard let change = pointee.log.change else { return }
        pointee.log.change = nil
        if change.stage != .ready { pointee.log.manifest.skipIncrement() }
        pointee.requests.files.append(.closeLog(file: change.file))
        if change.stage == .opening {
            pointee.requests.files.append(.remove(name: logPath(change.name)))
        }
    }

    // MARK: The end

    /// The walk is over: the base is complete but for its sync and its name.
    func rewriteWalked(number: UInt64, name: String) {
        guard pointee.log.rewrite?.number == number else { return }
        pointee.log.rewrite?.stage = .committing
        pointee.requests.files.append(
            .commit(file: number, name: name, ticket: ticket(.log(.baseCommitted(number)))))
    }

    func baseCommitted(_ number: UInt64, _ failure: FileFailure?) {
        guard pointee.log.rewrite?.number == number else { return }
        pointee.snapshot.endRewrite()
        if let failure { return failRewrite(failure) }
        log(.notice, "Background AOF rewrite terminated with success")
        pointee.log.rewrite?.stage = .renaming
        finishRewriteIfReady()
    }

    /// Base and increment are in place: the manifest may say so.
    private func finishRewriteIfReady() {
        guard let rewrite = pointee.log.rewrite, rewrite.stage == .renaming,
            pointee.log.change == nil
        else { return }
        var manifest = pointee.log.manifest
        _ = manifest.addBase(for: settings.appendFilename, isRDB: rewrite.isRDB)
        if pointee.log.state == .waitingForBase {
            guard pointee.log.file != nil else { return }
            let name = manifest.addIncrement(for: settings.appendFilename)
            pointee.log.rewrite?.manifest = manifest
            pointee.requests.files.append(
                .rename(
                    from: logPath(pointee.log.fileName), to: logPath(name),
                    ticket: ticket(.log(.incrementRenamed(rewrite.number)))))
            pointee.log.rewrite?.stage = .persisting
            return
        }
        pointee.log.rewrite?.manifest = manifest
        persistRewrite()
    }

    func incrementRenamed(_ number: UInt64, _ failure: FileFailure?) {
        guard let rewrite = pointee.log.rewrite, rewrite.number == number else { return }
        if let failure { return failRewrite(failure) }
        if let name = rewrite.manifest.increments.last?.name {
            log(
                .notice,
                "Successfully renamed the temporary AOF incr file \(pointee.log.fileName) into "
                    + name)
            pointee.log.fileName = name
        }
        persistRewrite()
    }

    private func persistRewrite() {
        guard var rewrite = pointee.log.rewrite else { return }
        rewrite.stage = .persisting
        rewrite.manifest.retireIncrements(keepsLast: pointee.log.state != .off)
        pointee.log.rewrite = rewrite
        pointee.requests.files.append(
            .replace(
                name: manifestPath, contents: rewrite.manifest.contents, sync: true,
                ticket: ticket(.log(.rewritePersisted(rewrite.number)))))
    }

    func rewritePersisted(_ number: UInt64, _ failure: FileFailure?) {
        guard let rewrite = pointee.log.rewrite, rewrite.number == number else { return }
        if let failure { return failRewrite(failure) }
        pointee.log.manifest = rewrite.manifest
        pointee.log.rewrite = nil
        pointee.log.lastRewriteSeconds = (instant - rewrite.began).count / 1000
        pointee.log.lastRewriteFailed = false
        pointee.log.failedInARow = 0
        pointee.log.retryMinutes = 0
        pointee.log.retryRewriteAt = nil
        if pointee.log.state == .waitingForBase { pointee.log.state = .on }
        if pointee.log.state == .on {
            pointee.log.currentSize = rewrite.baseBytes + pointee.log.fileSize
            pointee.log.baseSize = pointee.log.currentSize
            pointee.log.durable = Swift.max(
                pointee.log.durable, rewrite.start, pointee.log.syncedAhead)
        }
        let cleansHistory = removeHistory()
        if pointee.log.needsBase {
            pointee.log.needsBase = false
            logRecovered()
        }
        log(.notice, "Background AOF rewrite finished successfully")
        startedLog()
        if cleansHistory {
            var ending = rewrite
            ending.stage = .cleaning
            pointee.log.rewrite = ending
        }
        answerLogWaiters()
        updateAlerts()
    }

    /// Removes what no manifest needs any more; true when something was.
    @discardableResult
    func removeHistory() -> Bool {
        guard !settings.logKeepsHistory, !pointee.log.manifest.history.isEmpty,
            pointee.log.rewrite == nil, pointee.log.change == nil
        else { return false }
        for name in pointee.log.manifest.dropHistory() {
            log(.notice, "Removing the history file \(name) in the background")
            pointee.requests.files.append(.remove(name: logPath(name)))
        }
        pointee.requests.files.append(
            .replace(
                name: manifestPath, contents: pointee.log.manifest.contents, sync: true,
                ticket: ticket(.log(.historyRemoved))))
        return true
    }

    /// Whoever waits for the end of a rewrite finds its files alone.
    func historyRemoved() {
        if pointee.log.rewrite?.stage == .cleaning { pointee.log.rewrite = nil }
    }

    /// The rewrite came to nothing; the old files go on being the truth. A start that waited for
    /// its files fails with it.
    func failRewrite(_ failure: FileFailure) {
        guard pointee.log.rewrite != nil else { return }
        endRewrite(failure)
        failStartOfLog()
    }

    /// Nothing is wrong with the disk: a walk that matters more needs the way, or the data that was
    /// walked is no longer the data.
    func cancelRewrite(because reason: String = "cancelled") {
        endRewrite(FileFailure(operation: "rewrite", path: "", reason: reason))
    }

    private func endRewrite(_ failure: FileFailure) {
        guard let rewrite = pointee.log.rewrite else { return }
        pointee.log.rewrite = nil
        if rewrite.stage == .cleaning { return }
        if pointee.snapshot.rewrites(rewrite.number) { cancelSnapshot() }
        if rewrite.stage == .persisting { pointee.log.manifest.skipBase() }
        pointee.log.lastRewriteFailed = true
        pointee.log.failedInARow += 1
        pointee.log.lastRewriteSeconds = (instant - rewrite.began).count / 1000
        log(
            .warning,
            "Background AOF rewrite terminated with error: \(failure.operation) \(failure.path): "
                + failure.reason)
        dropTemporaryIncrement()
    }

    /// Before a first base is in place, what was logged is worth nothing without it.
    func dropTemporaryIncrement() {
        guard pointee.log.state == .waitingForBase else { return }
        executor.pointee.log.pointee.discard()
        if let file = pointee.log.file { pointee.requests.files.append(.closeLog(file: file)) }
        pointee.log.file = nil
        pointee.log.opening = nil
        pointee.log.flight = nil
        pointee.log.resend = nil
        pointee.log.syncing = nil
        let name = AOFManifest.temporaryIncrement(for: settings.appendFilename)
        log(.notice, "Removing the temp incr aof file \(name) in the background")
        pointee.requests.files.append(.remove(name: logPath(name)))
        pointee.log.isScheduled = true
        pointee.log.retryRewriteAt = instant + Milliseconds(1000)
    }

    // MARK: When

    /// Starts the rewrite that is due, if any; by the cron.
    func startDueRewrite() {
        guard !pointee.snapshot.isRunning, pointee.log.rewrite == nil, pointee.log.change == nil,
            pointee.shutdown == nil, pointee.loader.fresh == nil, pointee.log.replay == nil
        else { return }
        if pointee.log.isScheduled {
            if let at = pointee.log.retryRewriteAt, instant < at { return }
            if pointee.log.state != .waitingForBase, !pointee.log.needsBase, isRewriteLimited {
                return
            }
            pointee.log.retryRewriteAt = instant + Milliseconds(5000)
            _ = startRewrite()
            return
        }
        let settings = self.settings
        guard logIsOn, !pointee.log.isStarting, settings.logRewritePercentage > 0,
            pointee.log.currentSize > Int64(settings.logRewriteMinSize)
        else { return }
        let base = Swift.max(1, pointee.log.baseSize)
        let growth = (pointee.log.currentSize - base) / Swift.max(1, base / 100)
        guard growth >= Int64(settings.logRewritePercentage), !isRewriteLimited else { return }
        log(.notice, "Starting automatic rewriting of AOF on \(growth)% growth")
        _ = startRewrite()
    }

    /// After several failures automatic rewrites wait, longer each time.
    private var isRewriteLimited: Bool {
        guard pointee.log.failedInARow >= Int64(AppendLog.failureLimit) else {
            pointee.log.retryMinutes = 0
            return false
        }
        if let at = pointee.log.retryRewriteAt, pointee.log.retryMinutes > 0 {
            if instant < at { return true }
            pointee.log.retryRewriteAt = nil
            return false
        }
        pointee.log.retryMinutes = Swift.min(
            Swift.max(1, pointee.log.retryMinutes * 2), AppendLog.longestRetryMinutes)
        pointee.log.retryRewriteAt = instant + Milliseconds(pointee.log.retryMinutes * 60_000)
        log(
            .warning,
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in "
                + "\(pointee.log.retryMinutes) minutes")
        return true
    }
}
