// One MIGRATE from its parsed arguments to its reply, without blocking the loop: the reference
// stands still while the target answers, we go on serving.
//
// That leaves a gap the reference does not have: between the copy of a key and its deletion a
// client could write to it, be told OK, and lose the write. So a key that is to be deleted is *in
// flight* from the moment MIGRATE is accepted until its fate is known: `Engine` postpones every
// command that may write to it (and commands that write without naming keys, FLUSHALL for one),
// exactly as it postpones writes during a pause; reads go on, for the value cannot change. A copy
// (COPY) locks nothing: it is a snapshot and deletes nothing.
//
// Time and memory pressure may still remove a key in flight (expiry, eviction): the copy then
// expires by its own clock, or was what the client asked for; nothing acknowledged is lost. While
// writes are paused for a failover nothing may change at all: a migration whose answers are in
// then waits, its keys still in flight, for the pause to end. A node that becomes a replica
// deletes nothing.
//
// When no answer comes, the key stays: it may then be on both nodes, and this one is right, which
// is what the reference does too.
import Base
import Engine
import Gossip
import Persistence
import Storage

/// MIGRATE's options.
struct MigrateRequest {
    var target: CommandTarget
    var targetDatabase: Int64
    var timeout: Milliseconds
    var copies = false
    var replaces = false
    var keys: [[UInt8]] = []
}

struct MigrateJob {
    /// What the target said of the connection's own commands.
    enum Stage {
        case connecting
        /// Replies to AUTH and SELECT are owed before those to the keys.
        case preparing(replies: Int)
        case restoring
    }
    let id: UInt64
    var request: MigrateRequest
    /// Nobody is to be answered once the client has gone.
    var session: UInt64?
    /// The database that the keys are in.
    let database: Int
    var link: LinkID
    var stage = Stage.connecting
    var deadline: Instant
    /// A connection that breaks before the first answer is tried once more.
    var mayRetry = true
    /// Positions in `request.keys` that were sent, in order, and how many were answered.
    var sent: [Int] = []
    var answered = 0
    /// Keys that the target took.
    var accepted: [Int] = []
    /// The first error of the target.
    var refusal: String?
    /// AUTH or SELECT failed: what the target answers about keys means nothing.
    var isMisdirected = false
    /// Set when nothing more is awaited: the error line for the client, or nil for OK.
    var outcome: Outcome?

    enum Outcome: Equatable {
        case done
        case nothingToDo
        case failed(String)
    }

    /// The keys of this job are closed to writers.
    var locksKeys: Bool { !request.copies }
}

extension NodePointer {
    /// Starts a migration for a session, which is blocked until it ends.
    func startMigration(_ request: MigrateRequest, _ session: UnsafeMutablePointer<Session>) {
        invariant(!request.keys.isEmpty, "a migration without keys")
        let id = pointee.migrations.nextJob
        pointee.migrations.nextJob += 1
        let link = takeLink(to: request.target, .migration(id))
        pointee.migrations.jobs.append(
            MigrateJob(
                id: id, request: request, session: session.pointee.id,
                database: Int(session.pointee.database), link: link.link,
                deadline: instant + request.timeout))
        if !request.copies {
            executor.pointee.inFlight.insert(request.keys)
            updateAlerts()
        }
        executor.block(session, .operation(id))
        if link.isOpen { sendMigration(id) }
    }

    // MARK: Sending

    /// The link is open: sends everything at once.
    func sendMigration(_ id: UInt64) {
        guard let index = pointee.migrations.index(ofJob: id),
            let place = pointee.migrations.index(of: pointee.migrations.jobs[index].link)
        else { return }
        let link = pointee.migrations.links[place]
        let request = pointee.migrations.jobs[index].request
        var bytes = Buffer()
        var preparing = 0
        // On a link that was used before as well: the password may have changed.
        if request.target.password != nil {
            bytes.append(request.target.authentication)
            preparing += 1
        }
        if link.database != request.targetDatabase {
            let number = Array(String(request.targetDatabase).utf8)
            bytes.append(encodeCommand([Array("SELECT".utf8), number]))
            preparing += 1
        }
        var sent: [Int] = []
        for (position, key) in request.keys.enumerated() {
            let database = pointee.migrations.jobs[index].database
            if appendRestore(of: key, database, request, to: &bytes) { sent.append(position) }
        }
        pointee.migrations.jobs[index].sent = sent
        guard !sent.isEmpty else {
            // Every key expired on the way here. The link is as it was.
            pointee.migrations.jobs[index].outcome = .nothingToDo
            return settleMigration(id)
        }
        pointee.migrations.jobs[index].stage =
            preparing > 0 ? .preparing(replies: preparing) : .restoring
        // The timeout is for silence; a large payload gets the time that a slow line needs.
        let extra = Milliseconds(Int64(bytes.count / 4096))
        pointee.migrations.jobs[index].deadline = instant + request.timeout + extra
        sendOnLink(link.link, bytes.bytes.array)
    }

    /// Appends the RESTORE of a key; false when the key is gone.
    private func appendRestore(
        of name: [UInt8], _ database: Int, _ request: MigrateRequest, to out: inout Buffer
    ) -> Bool {
        name.withBytes { bytes in
            let keyspace = executor.pointee.keyspace
            guard let entry = keyspace.find(keyspace.key(bytes, database: database)) else {
                return false
            }
            var ttl: Int64 = 0
            if let expiry = entry.expiry {
                guard expiry >= now.wall.milliseconds else { return false }
                ttl = Swift.max(1, expiry - now.wall.milliseconds)
            }
            var payload = Buffer()
            var writer = DumpWriter(compresses: settings.rdbCompression)
            writer.append(entry, executor.objectFormats, to: &payload)
            var words = [
                Array((settings.clusterEnabled ? "RESTORE-ASKING" : "RESTORE").utf8), name,
                Array(String(ttl).utf8), payload.bytes.array,
            ]
            if request.replaces { words.append(Array("REPLACE".utf8)) }
            out.append(encodeCommand(words))
            return true
        }
    }

    // MARK: Answers

    /// One line of the target.
    func migrationAnswered(_ id: UInt64, _ line: [UInt8]) {
        guard let index = pointee.migrations.index(ofJob: id) else { return }
        let isError = line.first == UInt8(ascii: "-")
        pointee.migrations.jobs[index].deadline =
            instant + pointee.migrations.jobs[index].request.timeout
        pointee.migrations.jobs[index].mayRetry = false
        if isError, pointee.migrations.jobs[index].refusal == nil {
            pointee.migrations.jobs[index].refusal =
                String(decoding: line.dropFirst(), as: UTF8.self)
        }
        switch pointee.migrations.jobs[index].stage {
        case .connecting: break
        case .preparing(let replies):
            if isError { pointee.migrations.jobs[index].isMisdirected = true }
            pointee.migrations.jobs[index].stage =
                replies > 1 ? .preparing(replies: replies - 1) : .restoring
        case .restoring:
            pointee.migrations.jobs[index].keyAnswered(isError: isError)
        }
        let job = pointee.migrations.jobs[index]
        guard job.answered == job.sent.count else { return }
        pointee.migrations.jobs[index].outcome = job.refusal.map {
            .failed("ERR Target instance replied with error: \($0)")
        } ?? .done
        settleMigration(id)
    }

    /// The link of a migration is gone.
    func migrationLost(_ id: UInt64, _ link: CommandLink, _ failure: LinkFailure) {
        guard let index = pointee.migrations.index(ofJob: id),
            pointee.migrations.jobs[index].outcome == nil
        else { return }
        guard link.isOpen else {
            return failMigration(index, "IOERR error or timeout connecting to the client")
        }
        if pointee.migrations.jobs[index].mayRetry {
            // A kept connection that the target closed meanwhile: the next one is fresh.
            pointee.migrations.jobs[index].mayRetry = false
            pointee.migrations.jobs[index].stage = .connecting
            let target = pointee.migrations.jobs[index].request.target
            let fresh = takeLink(to: target, .migration(id))
            pointee.migrations.jobs[index].link = fresh.link
            if fresh.isOpen { sendMigration(id) }
            return
        }
        failMigration(index, "IOERR error or timeout reading to target instance")
    }

    func migrationTimedOut(_ id: UInt64) {
        guard let index = pointee.migrations.index(ofJob: id),
            pointee.migrations.jobs[index].outcome == nil
        else { return }
        let link = pointee.migrations.jobs[index].link
        let isOpen = pointee.migrations.index(of: link).map {
            pointee.migrations.links[$0].isOpen
        }
        dropLink(link)
        failMigration(
            index,
            isOpen == true
                ? "IOERR error or timeout reading to target instance"
                : "IOERR error or timeout connecting to the client")
    }

    private func failMigration(_ index: Int, _ text: String) {
        let job = pointee.migrations.jobs[index]
        // What the target said first is the better explanation.
        pointee.migrations.jobs[index].outcome = .failed(
            job.refusal.map { "ERR Target instance replied with error: \($0)" } ?? text)
        settleMigration(job.id)
    }

    // MARK: The end

    /// Ends a migration whose outcome is known, unless writes are paused.
    func settleMigration(_ id: UInt64) {
        guard let index = pointee.migrations.index(ofJob: id) else { return }
        let job = pointee.migrations.jobs[index]
        guard let outcome = job.outcome else { return }
        let deletes = job.locksKeys && !job.accepted.isEmpty && !isReplica
        if deletes, executor.pointee.internalPause || executor.pointee.pauseMode != .none { return }
        pointee.migrations.jobs.remove(at: index)
        if let place = pointee.migrations.index(of: job.link), outcome != .nothingToDo {
            // After an error the state of the connection is anybody's guess.
            let isSound = outcome == .done
            pointee.migrations.links[place].database =
                isSound ? job.request.targetDatabase : nil
        }
        releaseLink(job.link)
        if deletes { deleteMigrated(job) }
        if job.locksKeys {
            executor.pointee.inFlight.remove(job.request.keys)
            updateAlerts()
        }
        answerMigration(job, outcome)
        if job.locksKeys { executor.pointee.mayResume = true }
    }

    /// This node follows another now: its keys are that one's, and nothing is deleted here.
    func abandonMigrations() {
        for job in pointee.migrations.jobs where job.locksKeys {
            guard let index = pointee.migrations.index(ofJob: job.id) else { continue }
            if job.outcome == nil { dropLink(job.link) }
            pointee.migrations.jobs[index].outcome = .failed(
                "UNBLOCKED force unblock from blocking operation, instance state changed "
                    + "(master -> replica?)")
            settleMigration(job.id)
        }
    }

    /// Deletes what the target took, in the stream as one DEL in the place of MIGRATE.
    private func deleteMigrated(_ job: MigrateJob) {
        let keyspace = executor.pointee.keyspace
        var names = Buffer()
        var ends: [Int] = []
        for position in job.accepted {
            let name = job.request.keys[position]
            name.withBytes { bytes in
                let key = keyspace.key(bytes, database: job.database)
                guard keyspace.unlink(key) else { return }
                executor.pointee.dirty &+= 1
                executor.notify(.generic, "del", key)
                names.append(bytes)
                ends.append(names.count)
            }
        }
        guard !ends.isEmpty else { return }
        var words = [Bytes("DEL")]
        var start = 0
        for end in ends {
            words.append(names.bytes[start..<end])
            start = end
        }
        executor.propagateCommand(database: job.database, words)
    }

    private func answerMigration(_ job: MigrateJob, _ outcome: MigrateJob.Outcome) {
        guard let id = job.session, let session = executor.pointee.sessions.find(id: id),
            session.pointee.flags.contains(.blocked)
        else { return }
        switch outcome {
        case .done: session.pointee.output.pointee.append("+OK\r\n")
        case .nothingToDo: session.pointee.output.pointee.append("+NOKEY\r\n")
        case .failed(let text): executor.writeError(session, text)
        }
        session.pointee.lastWriteOffset = executor.pointee.backlog.pointee.endOffset
        executor.unblock(session)
    }
}

extension MigrateJob {
    /// The reply to the next key. After a failed AUTH or SELECT it may have landed in the wrong
    /// place: then it stays here too.
    mutating func keyAnswered(isError: Bool) {
        guard answered < sent.count else { return }
        if !isError, !isMisdirected { accepted.append(sent[answered]) }
        answered += 1
        invariant(accepted.count <= answered, "more keys accepted than answered")
    }
}
