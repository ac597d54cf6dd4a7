// Beginning and end of the log: at the start of the process, by CONFIG SET appendonly, after a
// full synchronisation, at shutdown.
import Base
import Engine
import Persistence

/// What the shell found in the log's folder.
public struct LoadedLog: Sendable {
    public var manifest = AOFManifest()
    /// Bytes of all files, of the base, and of the last increment.
    public var size: Int64 = 0
    public var baseSize: Int64 = 0
    public var lastSize: Int64 = 0

    public init() {}
}

extension NodePointer {
    /// There is to be a log: clients wait for it as they wait for the data. What was written
    /// between the two would be in neither.
    public func expectLog() {
        pointee.log.isStarting = true
        updateAlerts()
    }

    /// The data is loaded: the log begins or goes on, if there is to be one. Until its file is open
    /// clients are told that the server is loading.
    public func startLog(_ loaded: LoadedLog) {
        invariant(pointee.log.state == .off, "the log is started once")
        pointee.log.isReady = true
        pointee.log.manifest = loaded.manifest
        pointee.log.wasLoaded = !loaded.manifest.isEmpty
        guard settings.appendOnly else { return }
        executor.pointee.feedsLog = true
        executor.pointee.log.pointee.notesTime = settings.logTimestamps
        pointee.log.isStarting = true
        pointee.log.currentSize = loaded.size
        pointee.log.baseSize = loaded.baseSize
        pointee.log.fileSize = loaded.lastSize
        pointee.log.lastSync = instant
        defer { updateAlerts() }
        guard !loaded.manifest.isEmpty else {
            pointee.log.state = .waitingForBase
            guard startRewrite() else { unreachable("a walk runs before the start") }
            let name = pointee.log.rewrite?.baseName ?? ""
            return log(.notice, "Creating AOF base file \(name) on server start")
        }
        pointee.log.state = .on
        let file = pointee.log.nextFile
        pointee.log.nextFile += 1
        var name = loaded.manifest.increments.last?.name
        if let name {
            // Only the kernel may have what the process before wrote last: a power cut must find
            // it whole once another increment follows, or once somebody was told that it is safe.
            if loaded.lastSize > 0 { pointee.log.durable = AppendLog.beforeStart }
            pointee.log.opening = file
            pointee.log.fileName = name
            log(.notice, "Opening AOF incr file \(name) on server start")
        } else {
            var manifest = loaded.manifest
            let fresh = manifest.addIncrement(for: settings.appendFilename)
            name = fresh
            pointee.log.change = AppendLog.Switch(
                file: file, name: fresh, cut: executor.pointee.log.pointee.end,
                manifest: manifest)
            log(.notice, "Creating AOF incr file \(fresh) on server start")
        }
        pointee.requests.files.append(.createFolder(name: settings.appendFolder))
        pointee.requests.files.append(
            .openLog(
                file: file, name: logPath(name ?? ""), truncates: false,
                ticket: ticket(.log(.opened(file)))))
    }

    /// True while the log is not open yet; the shell turns until it is.
    public var isStartingLog: Bool { pointee.log.isStarting }

    /// Called whenever something that the start waits for is there.
    func startedLog() {
        guard pointee.log.isStarting, logIsOn, pointee.log.file != nil, pointee.log.change == nil
        else { return }
        pointee.log.isStarting = false
        removeHistory()
        updateAlerts()
    }

    /// A start without a log that was asked for would be a lie.
    func failStartOfLog() {
        guard pointee.log.isStarting else { return }
        request(.exit(code: 1))
    }

    // MARK: CONFIG SET

    func logSettingsChanged() {
        pointee.log.policy =
            switch settings.appendSync {
            case "always": .always
            case "no": .never
            default: .everySecond
            }
        pointee.log.pausesSyncs = settings.noAppendSyncOnRewrite
        guard pointee.log.isReady else { return }
        executor.pointee.log.pointee.notesTime = settings.logTimestamps
        if settings.appendOnly, pointee.log.state == .off { enableLog() }
        if !settings.appendOnly, pointee.log.state != .off { disableLog() }
        removeHistory()
    }

    private func enableLog() {
        pointee.log.state = .waitingForBase
        pointee.log.isStopping = false
        executor.pointee.feedsLog = true
        pointee.log.lastSync = instant
        if pointee.log.rewrite != nil {
            log(
                .warning,
                "AOF was enabled but there is already an AOF rewriting in background. Stopping "
                    + "background AOF and starting a rewrite now.")
            cancelRewrite()
        }
        let later = "An AOF background was scheduled to start when possible."
        if pointee.snapshot.isRunning {
            log(
                .warning,
                "AOF was enabled but there is already another background operation. " + later)
        } else if executor.pointee.executingTransaction {
            log(.warning, "AOF was enabled during a transaction. " + later)
        } else if startRewrite() {
            return
        }
        pointee.log.isScheduled = true
        pointee.log.retryRewriteAt = nil
    }

    private func disableLog() {
        giveUpSwitch()
        if let rewrite = pointee.log.rewrite {
            log(
                .notice,
                "Killing running AOF rewrite child: the walk for \(rewrite.baseName) is cancelled")
            cancelRewrite()
            pointee.log.lastRewriteFailed = false
            pointee.log.failedInARow = Swift.max(0, pointee.log.failedInARow - 1)
        }
        let stream = executor.pointee.log
        if logIsOn, let file = pointee.log.file {
            var bytes = pointee.log.resend?.bytes ?? []
            bytes += stream.pointee.take(stream.pointee.buffer.count)
            pointee.log.isStopping = true
            pointee.requests.files.append(
                .writeLog(
                    file: file, bytes: bytes, sync: true,
                    ticket: ticket(.log(.stopped(end: stream.pointee.end)))))
            pointee.requests.files.append(.closeLog(file: file))
        } else if let file = pointee.log.file {
            pointee.requests.files.append(.closeLog(file: file))
        }
        stream.pointee.discard()
        stream.pointee.dropHeld()
        executor.pointee.feedsLog = false
        pointee.log.state = .off
        pointee.log.file = nil
        pointee.log.opening = nil
        pointee.log.flight = nil
        pointee.log.resend = nil
        pointee.log.syncing = nil
        pointee.log.isScheduled = false
        pointee.log.needsBase = false
        pointee.log.failure = nil
        updateAlerts()
    }

    func logStopped(_ end: Int64, _ failure: FileFailure?) {
        guard pointee.log.isStopping else { return }
        pointee.log.isStopping = false
        pointee.log.written = end
        pointee.log.durable = end
        if let failure {
            log(.warning, "Fail to fsync the AOF file: \(failure.operation): \(failure.reason)")
        }
        releaseReplies()
        answerLogWaiters()
    }

    /// The data was replaced by a primary's copy: the files stand for the old one until a new base
    /// is written.
    func restartLog() {
        guard pointee.log.state != .off else { return }
        giveUpSwitch()
        cancelRewrite(because: "the data was replaced")
        if let file = pointee.log.file { pointee.requests.files.append(.closeLog(file: file)) }
        pointee.log.file = nil
        pointee.log.opening = nil
        pointee.log.flight = nil
        pointee.log.resend = nil
        pointee.log.syncing = nil
        pointee.log.state = .waitingForBase
        pointee.log.isScheduled = true
        pointee.log.retryRewriteAt = nil
        executor.pointee.log.pointee.discard()
    }

    // MARK: Shutdown

    /// Whether a shutdown must wait for the log; sees to it that the wait ends.
    func closesLog() -> Bool {
        guard logIsOn else { return false }
        pointee.log.isClosing = true
        let isSafe =
            pointee.log.durable >= executor.pointee.log.pointee.end && pointee.log.change == nil
        return !isSafe
    }
}
