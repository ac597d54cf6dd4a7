// One connection as the engine sees it: a client, a replica, the link from our primary. The shell
// owns the socket and finds the session again through `driver`; the engine reads `input` and
// writes `output` and never knows of descriptors.
import Base
import RESP

public struct SessionFlags: OptionSet, Sendable {
    public let rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// May run commands: authenticated, or no password is set.
    public static let authenticated = SessionFlags(rawValue: 1 << 0)
    /// Between MULTI and EXEC.
    public static let multi = SessionFlags(rawValue: 1 << 1)
    /// EXEC will fail: a queued command was refused.
    public static let dirtyExec = SessionFlags(rawValue: 1 << 2)
    /// EXEC will return null: a watched key changed.
    public static let dirtyWatch = SessionFlags(rawValue: 1 << 3)
    /// Waits for something; its input is kept.
    public static let blocked = SessionFlags(rawValue: 1 << 4)
    /// Write what is queued, then close.
    public static let closeAfterReply = SessionFlags(rawValue: 1 << 5)
    /// Close at the end of this iteration, without writing.
    public static let closeNow = SessionFlags(rawValue: 1 << 6)
    /// The link from our primary: its commands are applied, not answered.
    public static let fromPrimary = SessionFlags(rawValue: 1 << 7)
    /// A replica of ours.
    public static let replica = SessionFlags(rawValue: 1 << 8)
    /// READONLY was sent: a replica may serve reads of its primary's slots.
    public static let readOnly = SessionFlags(rawValue: 1 << 9)
    /// ASKING was sent: for the next command only.
    public static let asking = SessionFlags(rawValue: 1 << 10)
    public static let noEvict = SessionFlags(rawValue: 1 << 11)
    public static let noTouch = SessionFlags(rawValue: 1 << 12)
    public static let replyOff = SessionFlags(rawValue: 1 << 13)
    public static let replySkip = SessionFlags(rawValue: 1 << 14)
    public static let replySkipNext = SessionFlags(rawValue: 1 << 15)
    public static let monitor = SessionFlags(rawValue: 1 << 16)
    public static let unixSocket = SessionFlags(rawValue: 1 << 17)
    /// Is in the executor's list of sessions with replies to write.
    public static let pendingWrite = SessionFlags(rawValue: 1 << 18)
    /// Input waits because writes (or all commands) are paused.
    public static let postponed = SessionFlags(rawValue: 1 << 19)
    /// Commands that it sends run inside EXEC right now.
    public static let executing = SessionFlags(rawValue: 1 << 20)
    /// Has no socket: internal runs (tests, loading).
    public static let detached = SessionFlags(rawValue: 1 << 21)
    /// A replica that asked for a dump only (redis-cli --rdb), or an importing tool.
    public static let rdbOnly = SessionFlags(rawValue: 1 << 32)
    /// Its user may not do everything: each command asks.
    public static let restricted = SessionFlags(rawValue: 1 << 22)
    public static let pubsub = SessionFlags(rawValue: 1 << 23)
    /// Commands that would wait answer at once: scripts.
    public static let denyBlocking = SessionFlags(rawValue: 1 << 24)
    /// Is in the executor's list of sessions whose further input is run after a block.
    public static let unblocked = SessionFlags(rawValue: 1 << 25)
    /// A batch of its commands is being run.
    public static let running = SessionFlags(rawValue: 1 << 31)
    /// Messages for it wait for the end of the command that runs.
    public static let holdsPushes = SessionFlags(rawValue: 1 << 30)
    /// CLIENT TRACKING is on.
    public static let tracking = SessionFlags(rawValue: 1 << 29)
    /// Replays the append-only file: like the link from a primary, but nothing is handed on.
    public static let fromLog = SessionFlags(rawValue: 1 << 26)
    /// Replies wait until the append-only file is safe up to `heldUntil`.
    public static let held = SessionFlags(rawValue: 1 << 27)

    /// Replies wait for replicas: `acks` says which.
    public static let awaitsAcks = SessionFlags(rawValue: 1 << 28)

    /// Any of these: dispatch takes the slow look.
    public static let unusual: SessionFlags = [
        .multi, .asking, .replyOff, .replySkip, .replySkipNext, .monitor, .fromPrimary, .replica,
        .pubsub, .executing, .tracking, .restricted,
    ]

    /// Nothing that needs the slow look, and allowed to run commands.
    @inline(__always)
    public var isUsual: Bool { intersection([.unusual, .authenticated]) == .authenticated }

    /// After a command: the rest of its batch stays in the input.
    public static let stopsBatch: SessionFlags = [.blocked, .closeAfterReply, .closeNow]
    /// After a command: something is to do before the next.
    static let needsCare: SessionFlags = [.stopsBatch, .holdsPushes]
    /// No input is taken now.
    public static let stopsInput: SessionFlags = [.stopsBatch, .postponed]
}

/// Why a session is blocked, and what ends it.
public enum BlockReason {
    case none
    /// WAIT: until `replicas` acknowledged `offset`.
    case wait(offset: Int64, replicas: Int, deadline: Instant?)
    /// MIGRATE or another operation of the node, by its number.
    case operation(UInt64)
    /// SHUTDOWN waits for replicas.
    case shutdown
    /// BLPOP and its like: the command in `held` waits for its keys.
    case keys
}

public struct Session: ~Copyable {
    public let id: UInt64
    public var flags: SessionFlags = []
    public var protocolVersion: UInt8 = 2
    public var database: Int32 = 0
    /// Bytes that must be in `input` before parsing again makes sense.
    public var inputNeeded = 1
    /// What the client sent and nobody has parsed yet.
    public let input: UnsafeMutablePointer<Buffer>
    /// What waits to be written to the client.
    public let output: UnsafeMutablePointer<Buffer>
    /// Close when `output` holds more than this.
    public var outputHardLimit = Int.max

    /// Position in the executor's table of sessions.
    public var index = 0
    /// The shell's connection, whatever it is.
    public var driver: UnsafeMutableRawPointer?

    public var block: BlockReason = .none
    /// Position in the executor's list of blocked sessions.
    var blockedIndex = 0
    /// The command that waits for keys, or for the end of a pause after that.
    var held: UnsafeMutablePointer<HeldCommand>?
    public var transaction: UnsafeMutablePointer<Transaction>?
    /// What it listens to; nil when that is nothing.
    public internal(set) var subscriptions: UnsafeMutablePointer<Subscriptions>?
    /// CLIENT TRACKING, while it is on.
    public internal(set) var tracking: UnsafeMutablePointer<TrackingState>?
    /// Messages that follow the reply of the command which runs.
    var heldPushes: UnsafeMutablePointer<Buffer>?
    /// The replication offset after this session's last write (WAIT).
    public var lastWriteOffset: Int64 = 0
    /// The position in the append-only file after this session's last write.
    public var lastLogPosition: Int64 = 0
    /// While `held`: how far the append-only file must be safe before the replies may leave.
    public var heldUntil: Int64 = 0
    /// Replicas that must acknowledge a write before its reply leaves, and whether the client chose
    /// that itself.
    public var requiredAcks: Int32 = 0
    public var choseAcks = false
    /// A command of the transaction under way was a write that changed nothing.
    var triedToWrite = false
    /// The replies that wait for replicas, while there are any.
    public internal(set) var acks: UnsafeMutablePointer<PendingAcks>?
    /// Number of the replica's record in the primary's state, for replicas.
    public var replicaNumber: UInt64 = 0
    /// For a replica: the stream up to here has been given to the kernel; -1 before it streams.
    public var replicaSent: Int64 = -1
    /// For the link from our primary: offset of the stream that is applied.
    public var appliedOffset: Int64 = 0

    // Cold: what CLIENT LIST shows.
    public var peerAddress: String
    public var localAddress: String
    public var name: String = ""
    public var libraryName: String = ""
    public var libraryVersion: String = ""
    /// Who the client is; nil for the node's own sessions, which may do everything.
    public internal(set) var user: AccessUserPointer?
    /// Has named a password, or began when none was needed.
    public internal(set) var isLoggedIn = false
    public let createdAt: Instant
    public var lastInteraction: Instant
    public var softLimitSince: Instant?
    public var lastCommand: UInt16 = .max
    public var bytesIn: Int64 = 0
    public var bytesOut: Int64 = 0
    public var commandCount: Int64 = 0
    /// This session's part of the executor's sums of clients' memory.
    var countedMemory = 0
    public internal(set) var evictableMemory = 0
    /// What CLIENT LIST shows as `fd`; the shell's business, and -1 without a socket.
    public var shownDescriptor: Int32 = -1

    public init(id: UInt64, peer: String, local: String, now: Instant) {
        self.id = id
        peerAddress = peer
        localAddress = local
        createdAt = now
        lastInteraction = now
        input = .allocate(capacity: 1)
        input.initialize(to: Buffer())
        output = .allocate(capacity: 1)
        output.initialize(to: Buffer())
    }

    deinit {
        input.deinitialize(count: 1)
        input.deallocate()
        output.deinitialize(count: 1)
        output.deallocate()
    }
}
