// What writes RDB: one incremental walk over the key space (no fork), for replicas or for a file.
// The walk advances a slice per loop iteration, only as fast as the slowest reader takes bytes;
// keys that change meanwhile are serialised first by the key space itself.
import Base
import Engine
import HashSlots
import Persistence
import Replication
import Scripting
import Storage

/// The state of saving, for INFO and for the gates.
public struct PersistenceState {
    public var lastSaveAt: WallTime = WallTime(milliseconds: 0)
    /// The last save in the background failed: writes are refused. A client that sent SAVE or
    /// SHUTDOWN learns of the failure itself, and nobody else needs to.
    public var lastSaveFailed = false
    /// The last save of any kind failed.
    var lastFileFailed = false
    /// Somebody waits for the end of the running save (SAVE, SHUTDOWN).
    var isAwaited = false
    public var lastSaveSeconds: Int64 = -1
    public var savesStarted: Int64 = 0
    public var saveStarted: Instant?
    /// `dirty` when the running save began.
    public var dirtyAtStart: Int64 = 0
    public var saveScheduled = false
    /// Changes that FLUSHALL counts as saved, until the save of the empty data has succeeded.
    var dirtySetAside: Int64 = 0
    public var lastTry: Instant?
    public var loadedKeys: Int64 = 0
    public var expiredAtLoad: Int64 = 0
}

/// A snapshot that replicas are to get.
struct ReplicaSnapshot {
    var sessions: [UInt64]
    let contents: SnapshotContents
    let endMark: Bool
    /// The stream may come inside of it (EmbeddedStream.swift).
    let embedsStream: Bool
}

struct SnapshotJob: ~Copyable {
    enum Target {
        case none
        case replicas(endMark: String?)
        case file(number: UInt64, name: String)
        /// The base of the append-only file.
        case rewrite(number: UInt64, name: String, isRDB: Bool)
    }
    /// Bytes that may wait for the disk before the walk pauses.
    static let backPressure = 4 << 20
    /// Bytes that may wait in a replica's output. Few: its socket holds megabytes already, and
    /// this buffer is moved as a whole now and then, while every client waits.
    static let replicaBackPressure = 512 << 10
    /// Entries between two looks at what a slice has done already.
    static let stride = 16
    /// What visiting an entry costs besides its bytes, in bytes.
    static let entryCost = 64

    var target = Target.none
    var writer = RDBWriter()
    /// For a base that is written as commands.
    var commands = AOFWriter()
    var buffer = Buffer()
    var pace = SnapshotPace()
    /// Bytes visited in the running slice; see `SnapshotPace`.
    var visited = 0
    var database = -1
    var pieces = SnapshotPieces()
    /// Keys written since the walk began.
    var keys: Int64 = 0
    var began = Instant.start
    /// Sessions that take part, until all bytes are theirs.
    var sessions: [UInt64] = []
    /// Sessions whose last bytes wait in their output.
    var draining: [UInt64] = []
    /// A request that waits for the running walk to end.
    var queuedReplicas: ReplicaSnapshot?
    var contents = SnapshotContents.everything
    var unwritten = 0
    var sinceCheckpoint = 0
    var nextFile: UInt64 = 1
    /// The walk is over and the file waits for its sync and rename.
    var isCommitting = false
    /// Clients that wait for SAVE.
    var waiting: [UInt64] = []

    var isRunning: Bool {
        if case .none = target { return false }
        return true
    }
    func writes(_ number: UInt64) -> Bool {
        if case .file(number, _) = target { return true }
        return false
    }
    func rewrites(_ number: UInt64) -> Bool {
        if case .rewrite(number, _, _) = target { return true }
        return false
    }
    /// A file is written: its syncs and those of the log get in each other's way.
    var writesFile: Bool {
        switch target {
        case .none, .replicas: false
        case .file, .rewrite: true
        }
    }
    var writesCommands: Bool {
        if case .rewrite(_, _, false) = target { return true }
        return false
    }
    mutating func endRewrite() {
        guard case .rewrite = target else { return }
        target = .none
        isCommitting = false
    }
    func serves(_ session: UInt64) -> Bool {
        sessions.contains(session) || draining.contains(session)
    }
    mutating func forget(session: UInt64) {
        sessions.removeAll { $0 == session }
        draining.removeAll { $0 == session }
        waiting.removeAll { $0 == session }
        queuedReplicas?.sessions.removeAll { $0 == session }
    }
}

/// Receives an entry from the key space's walk; the context is the node.
private let snapshotSink: SnapshotSink = { context, database, entry in
    guard let context else { return }
    context.assumingMemoryBound(to: Node.self).serialise(Entry(entry), database: database)
}

extension NodePointer {
    fileprivate func serialise(_ entry: Entry, database: Int) {
        pointee.snapshot.keys &+= 1
        if _slowPath(pointee.snapshot.writesCommands) {
            let mark = pointee.snapshot.buffer.count
            pointee.snapshot.commands.entry(
                entry, database: database, executor.objectFormats,
                into: &pointee.snapshot.buffer)
            pointee.snapshot.visited &+= pointee.snapshot.buffer.count &- mark
            return
        }
        if pointee.snapshot.pieces.blocksEntries {
            return serialiseAside(entry, database: database)
        }
        selectSnapshotDatabase(database)
        let mark = pointee.snapshot.buffer.count
        pointee.snapshot.writer.entry(
            entry, snapshotAttributes(entry), executor.objectFormats,
            into: &pointee.snapshot.buffer)
        pointee.snapshot.visited &+= pointee.snapshot.buffer.count &- mark
        // A string that compresses well was read all the same.
        if entry.isString, let bytes = entry.storedBytes {
            pointee.snapshot.visited &+= bytes.count
        }
    }

    /// Says which database the next entry belongs to, when that is another one.
    func selectSnapshotDatabase(_ database: Int) {
        guard pointee.snapshot.database != database else { return }
        pointee.snapshot.database = database
        let keyspace = executor.pointee.keyspace
        pointee.snapshot.writer.selectDatabase(
            database, keys: keyspace.count(database: database),
            expires: keyspace.expiringCount(database: database),
            into: &pointee.snapshot.buffer)
    }

    /// What a key carries besides its value.
    func snapshotAttributes(_ entry: Entry) -> RDBAttributes {
        var attributes = RDBAttributes(expireAt: entry.expiry ?? -1)
        let policy = executor.pointee.settings.evictionPolicy
        if policy.usesFrequency {
            attributes.frequency = executor.pointee.keyspace.frequency(entry)
        } else if policy == .allKeysLRU || policy == .volatileLRU {
            attributes.idleSeconds = Int64(executor.pointee.keyspace.idleSeconds(entry))
        }
        return attributes
    }

    /// The database that the stream behind the snapshot goes on in.
    private var streamDatabase: Int32 {
        guard isReplica else { return executor.pointee.streamDatabase }
        return pointee.upstreamSession?.pointee.database ?? pointee.upstreamDatabase
    }

    private func info(at now: Now) -> RDBInfo {
        RDBInfo(
            serverVersion: "\(Product.redisVersion)", createdAt: now.wall.seconds,
            usedMemory: Int64(executor.pointee.keyspace.memory.used),
            replication: RDBInfo.ReplicationPoint(
                streamDatabase: Int(Swift.max(0, streamDatabase)),
                replicationID: pointee.history.id.text,
                offset: pointee.history.offset))
    }

    /// Starts the walk, if no other runs. The target must be set already.
    private func beginWalk(_ contents: SnapshotContents = .everything) -> Bool {
        let keyspace = executor.pointee.keyspace
        pointee.snapshot.database = -1
        pointee.snapshot.pieces = SnapshotPieces()
        // Commands are written by whole values.
        let pieces = pointee.snapshot.writesCommands ? nil : snapshotPieceSink
        var started = keyspace.beginSnapshot(
            sink: snapshotSink, pieces: pieces, context: UnsafeMutableRawPointer(self))
        while started == .settling {
            // Old marks are settled without serialising; a rare, short walk.
            while !keyspace.snapshotSlice(entries: 1 << 16) {}
            started = keyspace.beginSnapshot(
                sink: snapshotSink, pieces: pieces, context: UnsafeMutableRawPointer(self))
        }
        guard started == .started else { return false }
        pointee.snapshot.pace = SnapshotPace(hasTime: pointee.embedded.sentThrough != nil)
        pointee.snapshot.keys = 0
        pointee.snapshot.began = instant
        pointee.snapshot.writer = RDBWriter(
            compresses: settings.rdbCompression, checksums: settings.rdbChecksum)
        pointee.snapshot.buffer.removeAll()
        var info = info(at: now)
        if case .rewrite = pointee.snapshot.target {
            // A base is no point in a replication history: what follows it is in other files.
            info.replication = nil
            info.isAOFBase = true
        }
        if pointee.snapshot.writesCommands {
            pointee.snapshot.commands = AOFWriter()
            if settings.logTimestamps {
                AOFWriter.timestamp(now.wall.seconds, into: &pointee.snapshot.buffer)
            }
        } else {
            pointee.snapshot.writer.header(info, into: &pointee.snapshot.buffer)
        }
        pointee.snapshot.contents = contents
        if contents.contains(.functions) { writeLibraries() }
        // Nothing may be serialised, not even what is about to change.
        if !contents.contains(.data) { keyspace.cancelSnapshot() }
        return true
    }

    /// Libraries of functions, which come before all keys. They are few, and written at once.
    private func writeLibraries() {
        for source in scripts.librarySources {
            source.withBytes { source in
                if pointee.snapshot.writesCommands {
                    AOFWriter.functionLibrary(source, into: &pointee.snapshot.buffer)
                } else {
                    pointee.snapshot.writer.functionLibrary(
                        source, into: &pointee.snapshot.buffer)
                }
            }
        }
    }

    // MARK: For replicas

    func startReplicaSnapshot(_ wanted: ReplicaSnapshot) {
        guard !pointee.snapshot.isRunning else {
            pointee.snapshot.queuedReplicas = wanted
            return
        }
        noteStream()
        pointee.embedded.sentThrough = wanted.embedsStream ? pointee.history.offset : nil
        let mark = wanted.endMark ? executor.pointee.prng.hex(40) : nil
        pointee.snapshot.target = .replicas(endMark: mark)
        guard beginWalk(wanted.contents) else { unreachable("two snapshot walks at once") }
        pointee.snapshot.sessions = wanted.sessions
        for id in wanted.sessions {
            guard let session = executor.pointee.sessions.find(id: id) else { continue }
            session.pointee.flags.insert(.replica)
            session.pointee.replicaSent = -1
        }
        // The stream behind the snapshot must say its database itself.
        executor.pointee.streamDatabase = -1
        pointee.persistence.saveStarted = instant
        var effects: [PrimaryEffect] = []
        pointee.primary.snapshotStarted(
            endMark: mark, history: pointee.history, at: instant, into: &effects)
        carryOut(effects)
        log(.notice, "Snapshot for SYNC started: an incremental walk inside this process")
    }

    /// One slice of the running walk; true when the loop should come back at once.
    func advanceSnapshot() -> Bool {
        if let queued = pointee.snapshot.queuedReplicas, !pointee.snapshot.isRunning {
            pointee.snapshot.queuedReplicas = nil
            startReplicaSnapshot(queued)
        }
        guard pointee.snapshot.isRunning, !pointee.snapshot.isCommitting else { return false }
        if case .replicas = pointee.snapshot.target, pointee.snapshot.sessions.isEmpty {
            log(.notice, "Diskless rdb transfer, last replica dropped, killing fork child")
            cancelSnapshot()
            return false
        }
        guard !isThrottled else {
            pointee.snapshot.pace.skip()
            return false
        }
        let done: Bool
        let delay = executor.pointee.settings.rdbKeySaveDelay
        if _slowPath(!pointee.snapshot.contents.contains(.data)) {
            done = true
        } else if _slowPath(delay > 0) {
            // The cron comes back to it.
            done = walkSlowly(delay)
            guard done else {
                embedStream()
                distribute(isLast: false)
                return false
            }
        } else {
            guard let budget = pointee.snapshot.pace.next(at: instant) else { return true }
            done = walkSlice(budget)
        }
        embedStream()
        if done, !pointee.snapshot.writesCommands {
            pointee.snapshot.writer.end(into: &pointee.snapshot.buffer)
        }
        distribute(isLast: done)
        if done { endWalk() }
        return pointee.snapshot.isRunning && !pointee.snapshot.isCommitting
    }

    /// Walks until about `budget` bytes are visited; true at the end of the key space.
    private func walkSlice(_ budget: Int) -> Bool {
        let keyspace = executor.pointee.keyspace
        pointee.snapshot.visited = 0
        repeat {
            if spliceAside() { continue }
            if keyspace.snapshotSlice(entries: SnapshotJob.stride) {
                if pointee.snapshot.pieces.isEmpty { return true }
                continue
            }
            pointee.snapshot.visited &+= SnapshotJob.stride * SnapshotJob.entryCost
        } while pointee.snapshot.visited < budget
        return false
    }

    /// As many keys as `rdb-key-save-delay` allows for the time since the beginning.
    private func walkSlowly(_ delay: Int) -> Bool {
        let keyspace = executor.pointee.keyspace
        let spent = instant.microseconds - pointee.snapshot.began.microseconds
        let isEmpty = (0..<keyspace.databaseCount).allSatisfy { keyspace.count(database: $0) == 0 }
        while isEmpty || pointee.snapshot.keys < spent / Int64(delay) {
            if spliceAside() { continue }
            if keyspace.snapshotSlice(entries: 1), pointee.snapshot.pieces.isEmpty { return true }
        }
        return false
    }

    private var isThrottled: Bool {
        if pointee.snapshot.unwritten > SnapshotJob.backPressure { return true }
        for id in pointee.snapshot.sessions {
            guard let session = executor.pointee.sessions.find(id: id) else { continue }
            let waiting = session.pointee.output.pointee.count
            if waiting > SnapshotJob.replicaBackPressure { return true }
        }
        return false
    }

    /// Hands the serialised bytes on.
    private func distribute(isLast: Bool) {
        let bytes = pointee.snapshot.buffer.bytes
        switch pointee.snapshot.target {
        case .none: return
        case .replicas(let endMark):
            // Without an end mark the length must go first: keep all until it is known.
            guard endMark != nil || isLast else { return }
            for id in pointee.snapshot.sessions {
                guard let session = executor.pointee.sessions.find(id: id) else { continue }
                if endMark == nil {
                    var effects: [PrimaryEffect] = []
                    pointee.primary.snapshotSized(
                        session: id, bytes: Int64(bytes.count), at: instant, into: &effects)
                    carryOut(effects)
                }
                session.pointee.output.pointee.append(bytes)
                if isLast, let endMark { session.pointee.output.pointee.append(endMark) }
                executor.queueWrite(session)
            }
        case .file(let number, _), .rewrite(let number, _, _):
            guard bytes.count > 256 * 1024 || isLast else { return }
            var meaning: (Int) -> FileTicket = { .snapshotProgress(file: number, bytes: $0) }
            if case .rewrite = pointee.snapshot.target {
                pointee.log.rewrite?.baseBytes += Int64(bytes.count)
                meaning = { .log(.baseProgress(number, bytes: $0)) }
            }
            pointee.requests.files.append(.append(file: number, bytes: bytes.array))
            pointee.snapshot.unwritten += bytes.count
            pointee.snapshot.sinceCheckpoint += bytes.count
            if pointee.snapshot.sinceCheckpoint > SnapshotJob.backPressure / 4 {
                let size = pointee.snapshot.sinceCheckpoint
                pointee.snapshot.sinceCheckpoint = 0
                pointee.requests.files.append(
                    .checkpoint(file: number, ticket: ticket(meaning(size))))
            }
        }
        pointee.snapshot.buffer.removeAll()
    }

    private func endWalk() {
        switch pointee.snapshot.target {
        case .none: return
        case .replicas:
            let served = pointee.snapshot.sessions.count
            if case .replicas(.some) = pointee.snapshot.target {
                log(
                    .notice,
                    "Diskless rdb transfer, done reading from pipe, \(served) replicas still up")
            }
            pointee.snapshot.draining += pointee.snapshot.sessions
            pointee.snapshot.sessions = []
            pointee.snapshot.target = .none
            pointee.embedded.sentThrough = nil
            pointee.snapshot.buffer.release()
            pointee.persistence.saveStarted = nil
            var effects: [PrimaryEffect] = []
            pointee.primary.snapshotFinished(succeeded: true, at: instant, into: &effects)
            carryOut(effects)
        case .file(let number, let name):
            pointee.requests.files.append(
                .commit(file: number, name: name, ticket: ticket(.snapshot(file: number))))
            pointee.snapshot.isCommitting = true
            pointee.snapshot.buffer.release()
        case .rewrite(let number, let name, _):
            pointee.snapshot.isCommitting = true
            pointee.snapshot.buffer.release()
            pointee.persistence.saveStarted = nil
            rewriteWalked(number: number, name: name)
        }
    }

    /// A replica's output is empty: if its snapshot was complete, it is all on its way.
    func finishSnapshot(for session: UnsafeMutablePointer<Session>) {
        let id = session.pointee.id
        guard pointee.snapshot.draining.contains(id) else { return }
        pointee.snapshot.draining.removeAll { $0 == id }
        var effects: [PrimaryEffect] = []
        pointee.primary.snapshotSent(session: id, at: instant, into: &effects)
        carryOut(effects)
    }

    /// Ends the running walk without a result.
    func cancelSnapshot() {
        executor.pointee.keyspace.cancelSnapshot()
        pointee.snapshot.buffer.release()
        pointee.snapshot.pieces = SnapshotPieces()
        switch pointee.snapshot.target {
        case .none: break
        case .replicas:
            pointee.snapshot.target = .none
            pointee.embedded.sentThrough = nil
            var effects: [PrimaryEffect] = []
            pointee.primary.snapshotFinished(succeeded: false, at: instant, into: &effects)
            carryOut(effects)
        case .file(let number, _):
            pointee.snapshot.target = .none
            pointee.requests.files.append(.discard(file: number))
            pointee.snapshot.isCommitting = false
            saveCancelled()
        case .rewrite(let number, _, _):
            pointee.snapshot.target = .none
            pointee.snapshot.isCommitting = false
            pointee.requests.files.append(.discard(file: number))
            cancelRewrite()
        }
        pointee.snapshot.sessions = []
        pointee.persistence.saveStarted = nil
    }

    // MARK: To a file

    /// The base of the append-only file; no other walk may run.
    func beginRewriteWalk(number: UInt64, name: String, isRDB: Bool) {
        pointee.snapshot.target = .rewrite(number: number, name: name, isRDB: isRDB)
        guard beginWalk() else { unreachable("two snapshot walks at once") }
        pointee.snapshot.unwritten = 0
        pointee.snapshot.sinceCheckpoint = 0
        pointee.requests.files.append(.create(file: number, name: name))
    }

    /// BGSAVE, SAVE, a save point. False when a walk runs already.
    func startSave(isAwaited: Bool = false) -> Bool {
        guard !pointee.snapshot.isRunning else { return false }
        let number = pointee.snapshot.nextFile
        pointee.snapshot.nextFile += 1
        let name = settings.dbFilename
        pointee.snapshot.target = .file(number: number, name: name)
        // The file names the offset that its data stands for.
        noteStream()
        guard beginWalk() else { unreachable("two snapshot walks at once") }
        pointee.snapshot.unwritten = 0
        pointee.snapshot.sinceCheckpoint = 0
        pointee.persistence.saveStarted = instant
        pointee.persistence.isAwaited = isAwaited
        pointee.persistence.lastTry = instant
        pointee.persistence.savesStarted += 1
        pointee.persistence.saveScheduled = false
        pointee.persistence.dirtyAtStart = executor.pointee.dirty
        pointee.requests.files.append(.create(file: number, name: name))
        log(.notice, "Background saving started: an incremental walk inside this process")
        return true
    }

    func snapshotProgressed(bytes: Int) {
        pointee.snapshot.unwritten = Swift.max(0, pointee.snapshot.unwritten - bytes)
    }

    /// The file is in place, or is not.
    func saveEnded(failure: FileFailure?) {
        if case .file = pointee.snapshot.target { pointee.snapshot.target = .none }
        pointee.snapshot.isCommitting = false
        let started = pointee.persistence.saveStarted ?? instant
        pointee.persistence.lastSaveSeconds = (instant - started).count / 1000
        pointee.persistence.saveStarted = nil
        pointee.persistence.lastFileFailed = failure != nil
        if failure == nil || !pointee.persistence.isAwaited {
            pointee.persistence.lastSaveFailed = failure != nil
        }
        if let failure {
            // What a flush took for saved was not.
            executor.pointee.dirty += pointee.persistence.dirtySetAside
            log(
                .warning,
                "Background saving error: \(failure.operation) \(failure.path): \(failure.reason)")
        } else {
            executor.pointee.dirty = Swift.max(
                0, executor.pointee.dirty - pointee.persistence.dirtyAtStart)
            pointee.persistence.lastSaveAt = now.wall
            log(.notice, "Background saving terminated with success")
            log(.notice, "DB saved on disk")
        }
        pointee.persistence.dirtySetAside = 0
        answerSavers(succeeded: failure == nil)
        updateAlerts()
        advanceShutdown()
    }

    /// The save was given up for something better; that is no failure of the disk.
    private func saveCancelled() {
        log(.warning, "Background saving terminated by a newer request")
        pointee.persistence.saveStarted = nil
        executor.pointee.dirty += pointee.persistence.dirtySetAside
        pointee.persistence.dirtySetAside = 0
        answerSavers(succeeded: false)
    }

    private func answerSavers(succeeded: Bool) {
        let waiting = pointee.snapshot.waiting
        pointee.snapshot.waiting = []
        for id in waiting {
            guard let session = executor.pointee.sessions.find(id: id) else { continue }
            if succeeded {
                session.pointee.output.pointee.append("+OK\r\n")
            } else {
                executor.writeError(session, "ERR")
            }
            executor.unblock(session)
        }
    }
}
