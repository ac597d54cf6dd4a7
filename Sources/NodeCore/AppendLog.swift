// The append-only file of a node: what is to be written, what is written, what is safe, and which
// replies must wait for that. The engine fills a buffer; at the end of each iteration it is
// written, before any reply of the iteration leaves: by the loop itself while the disk is quick,
// else by the shell's log thread, and then the replies wait. With `appendfsync always` the thread
// writes and syncs, one request at a time, so that whatever comes meanwhile is one write and one
// sync (group commit). Positions count bytes of the log over all of its files since the start.
//
// `AppendLog+Write` hands bytes on and holds replies, `AppendLog+Rewrite` replaces the files,
// `AppendLog+Start` begins, stops and loads.
import Base
import Engine
import Persistence

struct AppendLog: ~Copyable {
    /// A position before all that this process logs.
    static let beforeStart: Int64 = -1

    enum State {
        case off
        /// Enabled, but no base exists yet: nothing that is logged counts before that.
        case waitingForBase
        case on
    }

    /// What the log thread was asked for last.
    struct Flight {
        var bytes: [UInt8]
        var end: Int64
        var syncs: Bool
        var began: Instant
        /// The replication offset that the bytes up to `end` stand for.
        var replicationOffset: Int64
    }

    /// A sync under way, beside the writes.
    struct Sync {
        var file: UInt64
        var end: Int64
        var began: Instant
        /// When the oldest of what it covers was written.
        var since: Instant
        var replicationOffset: Int64
    }

    /// A new increment on its way: opened, then named by the manifest, then written to.
    struct Switch {
        enum Stage {
            case opening
            case persisting
            case ready
        }
        var stage = Stage.opening
        var file: UInt64
        var name: String
        /// Bytes from here on belong to the new file.
        var cut: Int64
        var manifest: AOFManifest
    }

    /// A rewrite, from its first request to the last.
    struct Rewrite {
        enum Stage {
            /// The walk writes the base.
            case walking
            /// The base is synced and gets its name.
            case committing
            /// The base is in place; a first increment still has its temporary name.
            case renaming
            /// The manifest that names the base is written.
            case persisting
            /// The manifest is written once more, without the files that are removed.
            case cleaning
        }
        var stage = Stage.walking
        var number: UInt64
        var began: Instant
        var isRDB: Bool
        /// The log up to here is in the base.
        var start: Int64
        var baseName: String
        var baseBytes: Int64 = 0
        var manifest = AOFManifest()
    }

    /// `appendfsync`.
    enum Policy {
        case everySecond
        case always
        case never
    }

    var state = State.off
    var policy = Policy.everySecond
    /// `no-appendfsync-on-rewrite`.
    var pausesSyncs = false
    /// The start is over: CONFIG SET may switch the log on and off.
    var isReady = false
    /// This process came up from a log.
    var wasLoaded = false
    var manifest = AOFManifest()
    /// The file that is written to; nil when there is none, or none yet.
    var file: UInt64?
    var fileName = ""
    /// A file that is being opened and will be `file`.
    var opening: UInt64?
    var nextFile: UInt64 = 1

    var flight: Flight?
    /// What failed to be written and comes again.
    var resend: Flight?
    var syncing: Sync?
    var written: Int64 = 0
    /// The replication offset that `written` stands for.
    var writtenOffset: Int64 = 0
    /// How much of the stream is synced; `beforeStart` while not even what was loaded is.
    var durable: Int64 = 0
    /// Synced in an increment whose base does not exist yet.
    var syncedAhead: Int64 = 0
    /// The replication offset up to which everything is durable (WAITAOF).
    var durableOffset: Int64 = 0
    /// Since when something is written and not synced.
    var unsyncedSince: Instant?
    var lastSync: Instant = .start
    var delayedSyncs: Int64 = 0

    var failure: FileFailure?
    var retryAt: Instant = .start
    /// A sync failed: what the files hold is unknown, and only a new base makes the log whole.
    var needsBase = false

    var change: Switch?
    var rewrite: Rewrite?
    var isScheduled = false
    var failedInARow: Int64 = 0
    var retryRewriteAt: Instant?
    var retryMinutes: Int64 = 0
    var lastRewriteSeconds: Int64 = -1
    var lastRewriteFailed = false
    var rewrites: Int64 = 0
    var currentSize: Int64 = 0
    var baseSize: Int64 = 0
    /// Bytes of the increment that is written to.
    var fileSize: Int64 = 0

    /// Sessions whose replies wait.
    var held = PointerList()
    /// Until the log is open for the first time nobody is served.
    var isStarting = false
    var replay: LogReplay?
    /// Clients of DEBUG LOADAOF that wait until the files hold everything.
    var reloading: [UInt64] = []
    var waiters: [LogWaiter] = []
    var cutBytes: Int64 = 0
    var cutCommands: Int64 = 0
    /// A shutdown waits until everything is safe.
    var isClosing = false
    /// Switched off, and the last write is on its way.
    var isStopping = false
}

/// Somebody who waits for the log to be safe up to a position, and for replicas (WAITAOF).
struct LogWaiter {
    var session: UInt64
    var position: Int64
    var offset: Int64
    var local: Bool
    var replicas: Int
    var deadline: Instant?
}

/// What an answer of the shell is about.
enum LogTicket {
    case opened(UInt64)
    case written(UInt64)
    case synced(UInt64)
    case switchPersisted(UInt64)
    case baseCommitted(UInt64)
    case baseProgress(UInt64, bytes: Int)
    case incrementRenamed(UInt64)
    case rewritePersisted(UInt64)
    case historyRemoved
    /// The last write of a log that was switched off.
    case stopped(end: Int64)
}

extension NodePointer {
    func logPath(_ name: String) -> String { "\(settings.appendFolder)/\(name)" }

    var manifestPath: String { logPath(AOFManifest.name(for: settings.appendFilename)) }

    /// True when writes are logged to files that a restart will load.
    var logIsOn: Bool { pointee.log.state == .on }

    func logDone(_ meaning: LogTicket, failure: FileFailure?) {
        switch meaning {
        case .opened(let file): logOpened(file, failure)
        case .written(let file): logWritten(file, failure)
        case .synced(let file): logSynced(file, failure)
        case .switchPersisted(let file): switchPersisted(file, failure)
        case .baseCommitted(let number): baseCommitted(number, failure)
        case .baseProgress(let number, let bytes):
            if pointee.snapshot.rewrites(number) { snapshotProgressed(bytes: bytes) }
        case .incrementRenamed(let number): incrementRenamed(number, failure)
        case .rewritePersisted(let number): rewritePersisted(number, failure)
        case .historyRemoved: historyRemoved()
        case .stopped(let end): logStopped(end, failure)
        }
    }

    /// For INFO.
    func logFacts() -> LogFacts {
        var facts = LogFacts()
        facts.isEnabled = pointee.log.state != .off
        facts.isRewriting = pointee.log.rewrite != nil
        facts.isScheduled = pointee.log.isScheduled
        facts.lastRewriteSeconds = pointee.log.lastRewriteSeconds
        if let rewrite = pointee.log.rewrite {
            facts.rewriteSecondsSoFar = (instant - rewrite.began).count / 1000
        }
        facts.lastRewriteFailed = pointee.log.lastRewriteFailed
        facts.rewrites = pointee.log.rewrites
        facts.failedInARow = pointee.log.failedInARow
        facts.isFailing = pointee.log.failure != nil
        facts.currentSize = pointee.log.currentSize
        facts.baseSize = pointee.log.baseSize
        facts.buffered = executor.pointee.log.pointee.end - pointee.log.written
        let isSyncing = pointee.log.syncing != nil || pointee.log.flight?.syncs == true
        facts.pendingSyncs = isSyncing ? 1 : 0
        facts.delayedSyncs = pointee.log.delayedSyncs
        facts.cutBytes = pointee.log.cutBytes
        facts.cutCommands = pointee.log.cutCommands
        return facts
    }
}
