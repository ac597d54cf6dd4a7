// The state that commands run on: one value in unsafe memory per node, its pointer handed to
// every call. Nothing here does I/O; replies go to session buffers, changes to the backlog, and
// whoever drives the node (`NodeCore`) carries them on at the end of the loop iteration.
import Base
import HashSlots
import RESP
import Storage

/// Conditions that make dispatch look closer. Empty on a healthy primary.
public struct Alerts: OptionSet, Sendable {
    public let rawValue: UInt16
    @inline(__always)
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The data set is being loaded.
    public static let loading = Alerts(rawValue: 1 << 0)
    /// A replica whose link to its primary is down and that must not serve stale data.
    public static let stale = Alerts(rawValue: 1 << 1)
    /// Fewer good replicas than `min-replicas-to-write`.
    public static let tooFewReplicas = Alerts(rawValue: 1 << 2)
    /// Writes of clients are refused: a replica with `replica-read-only`.
    public static let readOnly = Alerts(rawValue: 1 << 3)
    /// Writes wait (CLIENT PAUSE WRITE, a hand-over).
    public static let pausedWrites = Alerts(rawValue: 1 << 4)
    /// All commands wait (CLIENT PAUSE ALL).
    public static let pausedAll = Alerts(rawValue: 1 << 5)
    /// `maxmemory` is set: every write checks it.
    public static let memoryLimited = Alerts(rawValue: 1 << 6)
    /// The last save failed and `stop-writes-on-bgsave-error` is set.
    public static let saveFailed = Alerts(rawValue: 1 << 7)
    /// This node applies somebody's stream.
    public static let isReplica = Alerts(rawValue: 1 << 9)
    /// Keys are in flight: who writes to one of them waits.
    public static let migrating = Alerts(rawValue: 1 << 10)
    /// The append-only file cannot be written; `logProblem` says why.
    public static let logFailed = Alerts(rawValue: 1 << 11)
    /// `maxmemory-clients` is set: every command may cost a client its connection.
    public static let clientsLimited = Alerts(rawValue: 1 << 12)
    /// A script runs for too long: nearly everything is refused until it ends.
    public static let busy = Alerts(rawValue: 1 << 13)
}

/// Classes of keyspace events, as `notify-keyspace-events` names them.
public struct KeyEventClass: OptionSet, Sendable {
    public let rawValue: UInt16
    @inline(__always)
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let generic = KeyEventClass(rawValue: 1 << 2)
    public static let string = KeyEventClass(rawValue: 1 << 3)
    public static let list = KeyEventClass(rawValue: 1 << 4)
    public static let set = KeyEventClass(rawValue: 1 << 5)
    public static let hash = KeyEventClass(rawValue: 1 << 6)
    public static let sortedSet = KeyEventClass(rawValue: 1 << 7)
    public static let expired = KeyEventClass(rawValue: 1 << 8)
    public static let evicted = KeyEventClass(rawValue: 1 << 9)
    public static let stream = KeyEventClass(rawValue: 1 << 10)
    public static let keyMiss = KeyEventClass(rawValue: 1 << 11)
    public static let new = KeyEventClass(rawValue: 1 << 14)
}

/// Which commands of clients wait (CLIENT PAUSE, hand-over).
public enum PauseMode: Int, Sendable {
    case none
    case writes
    case all
}

/// How the engine is passed about. What calls handlers or hooks is written as methods of the
/// pointer, never as mutating methods of the value: those would claim exclusive access while the
/// handler reaches the same value through its own pointer.
public typealias ExecutorPointer = UnsafeMutablePointer<Executor>

extension ExecutorPointer {
    public static var usualReplyBufferRest: Milliseconds { Milliseconds(2000) }
}

public struct Executor: ~Copyable {
    public var keyspace: Keyspace
    public let commands: UnsafeMutablePointer<CommandTable>
    public let backlog: UnsafeMutablePointer<Backlog>
    /// What is to be appended to the append-only file.
    public let log: UnsafeMutablePointer<LogStream>
    /// The node that owns this executor, for the commands that `NodeCore` declares.
    public var host: UnsafeMutableRawPointer?
    /// In cluster mode: who serves each slot.
    public var routing: UnsafeMutablePointer<RoutingTable>?

    public var alerts: Alerts = []
    /// Both clocks at the start of this loop iteration: what every command calls now.
    public var now: Now
    /// Changes since the last save, and the sign by which a call is known to have changed data.
    public var dirty: Int64 = 0
    /// What clients hold, as of the last look at each, and the part of those that may be evicted;
    /// only with `maxmemory` or `maxmemory-clients`.
    public internal(set) var clientMemory = 0
    public internal(set) var evictableMemory = 0
    /// True while somebody needs the stream of changes.
    public var feedsBacklog = false
    /// True while there is an append-only file.
    public var feedsLog = false
    /// Why the append-only file cannot be written, while it cannot.
    public var logProblem = ""
    /// The database that the stream has selected; -1 before the first SELECT.
    public var streamDatabase: Int32 = -1
    /// While EXEC runs, what it propagates is gathered: how many commands, and their bytes.
    public var executingTransaction = false
    var transactionCommands = 0
    var transactionStream = Buffer()

    /// What clients wrote to this replica and must expire here.
    var replicaKeys: Set<ReplicaKey> = []
    /// Stream bytes of our primary that are part of an unfinished transaction.
    public var heldStream = Buffer()
    public var arguments = ArgumentList()
    let frame: UnsafeMutablePointer<CallFrame>
    /// Room for the parsed commands of a batch; nil while one is worked on.
    var batch: UnsafeMutablePointer<ParsedCommand>?
    /// Replacement commands that the running call wants propagated instead of itself.
    public let rewrite: UnsafeMutablePointer<Buffer>
    /// Work space of one command; empty between calls.
    public let scratch: UnsafeMutablePointer<Buffer>

    public var sessions = SessionTable()
    /// Sessions with replies to write at the end of this iteration.
    public var pendingWrites = PointerList()
    /// Sessions with replies that wait for replicas.
    public var awaitingAcks = PointerList()
    /// The first deadline of these.
    public var nextAckDeadline: Instant?
    /// A reply began to wait in this iteration.
    public var wantsAcks = false
    /// Sessions to close at the end of this iteration.
    public var closing = PointerList()
    /// Sessions that are blocked: WAIT, an operation, waiting for keys.
    public var blocked = PointerList()
    /// Who waits for which key.
    var blocking = BlockingTable()
    var servesReadyKeys = false
    /// While a command that waited is run again: its deadline.
    var resumedDeadline: BlockDeadline?
    /// Sessions whose block has ended and whose further input is to be run.
    public var unblocked = PointerList()
    /// Sessions whose commands wait for the end of a pause.
    public var postponed = PointerList()
    public var pauseMode: PauseMode = .none
    public var pauseUntil: Instant = .start
    /// A pause ended: the end of the iteration looks at what was postponed.
    public var mayResume = false
    /// True while a hand-over or failover pauses writes, whatever CLIENT PAUSE says.
    public var internalPause = false

    /// Scripts, and whoever runs them.
    public var scripts = ScriptHost()

    /// Keys that MIGRATE is moving away.
    public var inFlight = InFlightKeys()

    public let pubsub: UnsafeMutablePointer<PubSub>
    /// Work space for messages to subscribers.
    let messages: UnsafeMutablePointer<Buffer>
    /// Work space for the channel of a key's event.
    let eventChannel: UnsafeMutablePointer<Buffer>
    public let tracking: UnsafeMutablePointer<TrackingTable>
    /// Somebody must be told of changed keys.
    var tracksChanges = false
    /// Hook: hands a `Publication` to the other nodes of the cluster.
    public var publishToCluster:
        (@convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> Void)?

    public var timer = CommandTimer()
    public var commandLogs = CommandLogs()
    public var hotKeys = HotKeys()
    /// When the hot keys look at a command again.
    var sampling = Sampling()
    /// What each slot has cost, while that is counted.
    public internal(set) var slotStats: UnsafeMutablePointer<SlotUsage>?
    public var latency = LatencyMonitor()
    /// Sessions that are shown every command.
    public var monitors = PointerList()

    /// The users.
    public let access: UnsafeMutablePointer<AccessControl>
    public var watch = WatchTable()
    public var settings = Settings()
    public var stats = Stats()
    public var prng: Prng
    /// Hook: frees memory until below `maxmemory`; false when that cannot be done.
    public var makeRoom: @convention(c) (UnsafeMutableRawPointer) -> Bool = { _ in true }
    /// Hook: all databases were flushed.
    public var dataFlushed: @convention(c) (UnsafeMutableRawPointer) -> Void = { _ in }
    /// Hook: closes clients until all of them fit into `maxmemory-clients`.
    public var evictClients: @convention(c) (UnsafeMutableRawPointer) -> Void = { _ in }
    /// Hook: a key event happened. Arguments: the executor, a `KeyEvent`.
    public var keyEvent: (@convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> Void)?
    /// The ID of the next session.
    public var nextSessionID: UInt64 = 1
    /// What commands have to say to the log; the end of the iteration says it.
    public var logLines: [String] = []
    /// Debug switches of the public test suite.
    public var activeExpire = true
    public var checksDumpPayloads = true
    /// How long a client must be silent before its reply buffer shrinks; never, when nil.
    public var replyBufferRest: Milliseconds? = ExecutorPointer.usualReplyBufferRest

    public init(
        keyspace: Keyspace, commands: UnsafeMutablePointer<CommandTable>,
        now: Now, seed: UInt64
    ) {
        self.keyspace = keyspace
        self.commands = commands
        self.now = now
        prng = Prng(seed: seed)
        access = .allocate(capacity: 1)
        access.initialize(to: AccessControl(commands))
        backlog = .allocate(capacity: 1)
        backlog.initialize(to: Backlog(offset: 0))
        log = .allocate(capacity: 1)
        log.initialize(to: LogStream())
        frame = .allocate(capacity: 1)
        frame.initialize(to: CallFrame())
        batch = .allocate(capacity: ExecutorPointer.batchLimit)
        rewrite = .allocate(capacity: 1)
        rewrite.initialize(to: Buffer())
        scratch = .allocate(capacity: 1)
        scratch.initialize(to: Buffer())
        commands.pointee.objectTypes.register(in: keyspace)
        messages = .allocate(capacity: 1)
        messages.initialize(to: Buffer())
        eventChannel = .allocate(capacity: 1)
        eventChannel.initialize(to: Buffer())
        // A key of their own: clients choose the names.
        var keys = Prng(seed: seed ^ 0x7075_6273_7562)
        pubsub = .allocate(capacity: 1)
        pubsub.initialize(to: PubSub(key: SipKey(keys.next(), keys.next())))
        tracking = .allocate(capacity: 1)
        tracking.initialize(to: TrackingTable(key: SipKey(keys.next(), keys.next())))
    }

    deinit {
        frame.deallocate()
        slotStats?.deallocate()
        batch?.deallocate()
        rewrite.deinitialize(count: 1)
        rewrite.deallocate()
        scratch.deinitialize(count: 1)
        scratch.deallocate()
        messages.deinitialize(count: 1)
        messages.deallocate()
        eventChannel.deinitialize(count: 1)
        eventChannel.deallocate()
        tracking.deinitialize(count: 1)
        tracking.deallocate()
        access.deinitialize(count: 1)
        access.deallocate()
        pubsub.deinitialize(count: 1)
        pubsub.deallocate()
        backlog.deinitialize(count: 1)
        backlog.deallocate()
        log.deinitialize(count: 1)
        log.deallocate()
    }
}
