// The orderly end: a primary lets its replicas catch up and, in a cluster, hands its slots over
// first; then the data is saved if it should be; then the process exits. SHUTDOWN, SIGTERM and
// SIGINT all come here. Log texts are the reference's.
import Base
import Engine
import Gossip
import Replication

public enum TerminationSignal: Sendable {
    case terminate
    case interrupt

    public var name: String { self == .terminate ? "SIGTERM" : "SIGINT" }
}

/// SHUTDOWN's words.
public struct ShutdownOptions: Sendable {
    public var save = false
    public var noSave = false
    /// Do not wait for replicas, do not hand over.
    public var now = false
    /// Exit although saving fails.
    public var force = false
    public init() {}
}

struct ShutdownState {
    enum Stage {
        case handingOver
        case waitingForReplicas(until: Instant)
        case closingLog
        case saving
        case leaving
    }
    var options: ShutdownOptions
    var stage: Stage
    /// Clients that sent SHUTDOWN.
    var sessions: [UInt64] = []
    var lagsLogged = false
}

extension NodePointer {
    /// A signal asks for the end; a second one does not wait.
    public func signal(_ signal: TerminationSignal) {
        log(.warning, "Received \(signal.name) scheduling shutdown...")
        if pointee.shutdown != nil {
            log(.warning, "You insist... exiting now.")
            return request(.exit(code: 1))
        }
        if pointee.cron.isPaused, pointee.cron.heldSignal == nil {
            pointee.cron.heldSignal = signal
            return
        }
        let words =
            signal == .terminate ? settings.shutdownOnSIGTERM : settings.shutdownOnSIGINT
        var options = ShutdownOptions()
        for word in words.lowercased().split(separator: " ") {
            switch word {
            case "save": options.save = true
            case "nosave": options.noSave = true
            case "now": options.now = true
            case "force": options.force = true
            default: break
            }
        }
        beginShutdown(options, session: nil)
    }

    public var isShuttingDown: Bool { pointee.shutdown != nil }

    /// Milliseconds until replicas are no longer waited for (INFO).
    public var shutdownMilliseconds: Int64? {
        guard case .waitingForReplicas(let until) = pointee.shutdown?.stage else { return nil }
        return Swift.max(0, (until - instant).count)
    }

    public func beginShutdown(_ options: ShutdownOptions, session: UInt64?) {
        var state = ShutdownState(options: options, stage: .leaving)
        if let session { state.sessions.append(session) }
        log(.warning, "User requested shutdown...")
        let mayWait = !options.now && settings.shutdownTimeout > 0
        let limit = instant + Milliseconds(Int64(settings.shutdownTimeout) * 1000)
        if mayWait, !isReplica, pointee.cluster != nil,
            pointee.primary.replicas.contains(where: { $0.isOnline })
        {
            state.stage = .handingOver
            pointee.shutdown = state
            pointee.shutdownDeadline = limit
            refreshClusterFacts()
            stepCluster(.orderlyHandover)
            return
        }
        if mayWait, !replicasAreInSync {
            state.stage = .waitingForReplicas(until: limit)
            pointee.shutdown = state
            setInternalPause(true)
            feedGetAck()
            log(.notice, "Waiting for replicas before shutting down.")
            return
        }
        pointee.shutdown = state
        finishShutdown()
    }

    private var replicasAreInSync: Bool {
        noteStream()
        return pointee.primary.replicas.allSatisfy {
            !$0.isOnline || $0.acknowledged >= pointee.history.offset
        }
    }

    /// The cluster answered the hand-over.
    func handoverEnded(failure: String?) {
        guard case .handingOver = pointee.shutdown?.stage else { return }
        if let failure {
            log(.warning, "The slots could not be handed over: \(failure)")
            let limit = pointee.shutdownDeadline
            pointee.shutdown?.stage = .waitingForReplicas(until: limit)
            setInternalPause(true)
            feedGetAck()
            return advanceShutdown()
        }
        log(.notice, "A replica took the slots over.")
        finishShutdown()
    }

    /// Looks whether the shutdown can go on; by the cron and by acknowledgements.
    func advanceShutdown() {
        guard let shutdown = pointee.shutdown else { return }
        switch shutdown.stage {
        case .handingOver:
            guard instant >= pointee.shutdownDeadline else { return }
            stepCluster(.cancelHandover)
            handoverEnded(failure: "no replica answered in time")
        case .waitingForReplicas(let until):
            guard replicasAreInSync || instant >= until else { return }
            reportReplicas()
            finishShutdown()
        case .closingLog:
            if pointee.log.failure != nil, !shutdown.options.force {
                log(.warning, "Error writing to the AOF file, can't exit.")
                cancelShutdown(failed: true)
                return
            }
            if closesLog(), pointee.log.failure == nil { return }
            saveBeforeLeaving()
        case .saving:
            guard !pointee.snapshot.isRunning else { return }
            if pointee.persistence.lastFileFailed, !shutdown.options.force {
                log(.warning, "Error trying to save the DB, can't exit.")
                cancelShutdown(failed: true)
                return
            }
            leave()
        case .leaving: break
        }
    }

    private func reportReplicas() {
        noteStream()
        let online = pointee.primary.replicas.filter(\.isOnline)
        let offset = pointee.history.offset
        for replica in online where replica.acknowledged < offset {
            log(
                .notice,
                "Lagging replica \(replica.name) reported offset "
                    + "\(offset - replica.acknowledged) behind master, lag="
                    + "\(replica.lag(at: instant)), state=\(replica.state.name).")
        }
        guard !online.isEmpty else { return }
        let synced = online.count { $0.acknowledged >= offset }
        log(.notice, "\(synced) of \(online.count) replicas are in sync when shutting down.")
    }

    private func finishShutdown() {
        guard let options = pointee.shutdown?.options else { return }
        if pointee.log.state == .waitingForBase {
            guard options.force else {
                log(.warning, "Writing initial AOF, can't exit.")
                cancelShutdown(failed: true)
                return
            }
            log(.warning, "Writing initial AOF. Exit anyway.")
        }
        if logIsOn {
            log(.notice, "Calling fsync() on the AOF file.")
            pointee.shutdown?.stage = .closingLog
            setInternalPause(true)
            if pointee.snapshot.isRunning { cancelSnapshot() }
            return advanceShutdown()
        }
        saveBeforeLeaving()
    }

    private func saveBeforeLeaving() {
        guard let options = pointee.shutdown?.options else { return }
        let shouldSave = !options.noSave && (options.save || !settings.savePoints.isEmpty)
        guard shouldSave else { return leave() }
        log(.notice, "Saving the final RDB snapshot before exiting.")
        if pointee.snapshot.isRunning { cancelSnapshot() }
        pointee.shutdown?.stage = .saving
        setInternalPause(true)
        _ = startSave(isAwaited: true)
    }

    private func leave() {
        pointee.shutdown?.stage = .leaving
        if pointee.snapshot.isRunning { cancelSnapshot() }
        log(.warning, "Redis is now ready to exit, bye bye...")
        request(.exit(code: 0))
    }

    /// SHUTDOWN ABORT, or a save that failed. False when no shutdown was under way.
    @discardableResult
    public func cancelShutdown(failed: Bool) -> Bool {
        guard let shutdown = pointee.shutdown else {
            guard pointee.cron.heldSignal != nil else { return false }
            pointee.cron.heldSignal = nil
            log(.warning, "Shutdown manually aborted.")
            return true
        }
        pointee.shutdown = nil
        pointee.log.isClosing = false
        if case .handingOver = shutdown.stage { stepCluster(.cancelHandover) }
        setInternalPause(false)
        log(
            .warning,
            failed ? "Errors trying to shut down the server. Check the logs for more information."
                : "Shutdown manually aborted.")
        for id in shutdown.sessions {
            guard let session = executor.pointee.sessions.find(id: id) else { continue }
            executor.writeError(
                session, "ERR Errors trying to SHUTDOWN. Check logs.")
            executor.unblock(session)
        }
        return true
    }
}
