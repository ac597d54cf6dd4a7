// What time alone causes: ten times a second (`hz`) the node looks at everything that has a
// deadline. Work that could take long is cut into slices; nothing here reads a clock.
import Base
import Engine
import Gossip
import Replication
import Storage

public struct CronState {
    var next: Instant = .start
    public private(set) var runs: Int64 = 0
    /// DEBUG PAUSE-CRON.
    public var isPaused = false
    /// A signal that came meanwhile: the end begins when the cron runs again.
    var heldSignal: TerminationSignal?
    var lastExpiryDatabase = 0

    mutating func begin(at now: Instant) { next = now }

    mutating func isDue(_ now: Instant, every period: Milliseconds) -> Bool {
        guard now >= next else { return false }
        next = now + period
        runs += 1
        return true
    }
}

extension NodePointer {
    /// Asked each iteration, so it must not copy the settings.
    var cronPeriod: Milliseconds {
        Milliseconds(Int64(1000 / Swift.max(1, executor.pointee.settings.hz)))
    }

    func runCron() {
        guard pointee.cron.isDue(instant, every: cronPeriod), !pointee.cron.isPaused else { return }
        if let signal = pointee.cron.heldSignal {
            pointee.cron.heldSignal = nil
            self.signal(signal)
        }
        executor.pointee.keyspace.memory.notePeak()
        if watchesClientMemory { executor.noteAllMemory() }
        pointee.admin.sample(executor, at: instant)
        tickReplication()
        // What a replica has taken since the last write can go.
        if executor.pointee.backlog.pointee.memory > settings.backlogSize + 2 * Backlog.blockSize {
            pointee.trimmedAt = .max
        }
        if pointee.cluster != nil {
            refreshClusterFacts(force: isReplica)
            stepCluster(.tick)
        }
        endPauses()
        if executor.pointee.activeExpire { expireCycle(limit: 4096) }
        executor.expireReplicaKeys()
        sweepSessions()
        if settings.activeRehashing { _ = executor.pointee.keyspace.rehashSlice(buckets: 1024) }
        _ = executor.pointee.keyspace.lazyFreeSlice(effort: 20_000)
        startDueSave()
        startDueRewrite()
        advanceShutdown()
        updateAlerts()
    }

    private func tickReplication() {
        noteStream()
        if isReplica {
            if let session = pointee.upstreamSession, pointee.upstream.phase == .streaming {
                pointee.upstream.applied(through: session.pointee.appliedOffset)
                pointee.upstream.durableOffset = durableOffset
            }
            var effects: [ReplicaEffect] = []
            pointee.upstream.tick(at: instant, into: &effects)
            carryOut(effects, bytes: .empty)
        }
        var effects: [PrimaryEffect] = []
        let isPaused = pointee.failover.state != .none || executor.pointee.internalPause
        pointee.primary.tick(
            isReplica: isReplica, isPaused: isPaused, history: &pointee.history,
            prng: &executor.pointee.prng, at: instant, into: &effects)
        carryOut(effects)
        for replica in pointee.primary.replicas {
            pointee.lastConfirmed = Swift.max(pointee.lastConfirmed, replica.acknowledged)
        }
        advanceFailover()
        advanceWaiters()
    }

    /// CLIENT PAUSE and the pauses of hand-overs end by themselves.
    private func endPauses() {
        if let until = pointee.clusterPauseUntil, instant >= until {
            pointee.clusterPauseUntil = nil
            setInternalPause(false)
        }
        guard executor.pointee.pauseMode != .none, instant >= executor.pointee.pauseUntil else {
            return
        }
        executor.pointee.pauseMode = .none
        executor.pointee.mayResume = true
        updateAlerts()
    }

    /// Deletes what has expired, earliest first, at most `limit` keys and fields. Returns whether
    /// it was cut short.
    @discardableResult
    func expireCycle(limit: Int) -> Bool {
        let keyspace = executor.pointee.keyspace
        guard !isReplica, !pointee.loader.isBlocking, executor.pointee.pauseMode == .none,
            !executor.pointee.internalPause
        else { return false }
        let time = now.wall.milliseconds
        var left = limit
        let begun = executor.latencyStart()
        defer { executor.noteLatency("expire-cycle", since: begun) }
        for database in 0..<keyspace.databaseCount {
            while let entry = keyspace.nextExpired(database: database, now: time) {
                guard left > 0 else {
                    executor.pointee.stats.expireCyclesCutShort += 1
                    return true
                }
                left -= 1
                // The removal frees the entry, and with it the bytes of the key: copy them.
                entry.key.array.withBytes { bytes in
                    executor.expire(keyspace.key(bytes, database: database))
                }
            }
            while let entry = keyspace.nextHashToExpire(database: database, now: time) {
                guard left > 0 else {
                    executor.pointee.stats.expireCyclesCutShort += 1
                    return true
                }
                entry.key.array.withBytes { bytes in
                    let key = keyspace.key(bytes, database: database)
                    left -= Swift.max(executor.expireFields(key, entry, limit: left), 1)
                }
            }
        }
        return false
    }

    /// Idle clients, output limits, buffers that can shrink: a part of all sessions each time.
    private func sweepSessions() {
        let sessions = executor.pointee.sessions.count
        guard sessions > 0 else { return }
        let share = Swift.max(Swift.min(sessions, 50), sessions / 10)
        let timeout = Int64(settings.timeout)
        for step in 0..<share {
            let index = (Int(pointee.cron.runs) &* share &+ step) % sessions
            let session = executor.pointee.sessions[index]
            let input = session.pointee.input
            if input.pointee.isEmpty { input.pointee.shrink(above: 64 * 1024) }
            if session.pointee.flags.contains(.detached) { continue }
            enforceOutputLimit(session)
            let idle = instant - session.pointee.lastInteraction
            if timeout > 0, idle > Milliseconds(timeout * 1000),
                session.pointee.flags.isDisjoint(with: [.replica, .blocked, .pubsub, .fromPrimary])
            {
                log(.verbose, "Closing idle client")
                executor.close(session)
            }
            if idle > Milliseconds(2000) { input.pointee.shrink(above: 0) }
            if let limit = executor.replyBufferLimit(idle: idle) {
                session.pointee.output.pointee.shrink(above: limit)
            }
        }
    }

    private func startDueSave() {
        guard !pointee.snapshot.isRunning, pointee.shutdown == nil else { return }
        if pointee.persistence.saveScheduled {
            pointee.persistence.saveScheduled = false
            _ = startSave()
            return
        }
        let sinceSave = (now.wall.milliseconds - pointee.persistence.lastSaveAt.milliseconds) / 1000
        for point in settings.savePoints
        where executor.pointee.dirty >= Int64(point.changes) && sinceSave > Int64(point.seconds) {
            // After a failure wait a little, for the log's and the disk's sake.
            if pointee.persistence.lastSaveFailed, let last = pointee.persistence.lastTry,
                instant - last < Milliseconds(5000)
            {
                return
            }
            log(.notice, "\(point.changes) changes in \(point.seconds) seconds. Saving...")
            _ = startSave()
            return
        }
    }
}
