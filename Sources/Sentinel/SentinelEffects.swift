// What goes into the sentinel machine and what it wants done. The driver's duty: write `state` to
// sentinel.conf, atomically, and sync it; then feed back `.stateSynced`. Commands that another
// process may rely on after a crash of this one (votes asked for, epochs announced, promotions)
// are kept inside the machine until that has happened and only then appear in `send`; a vote that
// is given in a reply names the version that must be on disk first.
import Base

/// A connection to an instance; the machine numbers them and uses no number twice.
public struct ConnectionID: Hashable, Comparable, Sendable {
    public var raw: UInt64
    public init(raw: UInt64) { self.raw = raw }
    public static func < (a: ConnectionID, b: ConnectionID) -> Bool { a.raw < b.raw }
}

/// How a connection ended.
public enum ConnectionEnd: Sendable, Equatable {
    /// Nobody listens there: the process is not running.
    case refused
    /// It stood, and the other side's kernel ended it.
    case broken
    case lost
}

public enum SentinelInput: Sendable {
    /// Time passed: ten times a second or more.
    case tick
    case opened(ConnectionID, localAddress: String)
    case closed(ConnectionID, ConnectionEnd = .lost)
    case received(ConnectionID, [UInt8])
    /// sentinel.conf of this version is durable.
    case stateSynced(version: UInt64)
    /// The resolver's answer; nil when the name is not known.
    case resolved(name: String, ip: String?)
    case command(SentinelCommand)
    case scriptStarted(job: UInt64, process: Int32)
    /// The system would not start it.
    case scriptFailed(job: UInt64)
    case scriptEnded(process: Int32, exitCode: Int32, signal: Int32)
}

/// What clients ask for that changes something, checked for form already.
public enum SentinelCommand: Sendable, Equatable {
    case monitor(name: String, host: String, port: Int, quorum: Int)
    case monitorCluster(name: String, host: String, port: Int, quorum: Int)
    case remove(String)
    case reset(names: [String])
    case failover(String)
    /// `executable` holds those of the words that name files which can be run.
    case set(name: String, words: [String], executable: Set<String>)
    case configSet(option: String, value: String)
    case debug(words: [String])
    case simulateFailure(SimulatedFailures)
    case flush
    case isPrimaryDown(host: String, port: Int, epoch: UInt64, runID: String)
    /// A hello that came as PUBLISH on our own port.
    case hello([UInt8])
    /// The process's own port or password changed.
    case localSettings(port: Int, requirePassword: String)
}

public struct SimulatedFailures: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    public static let afterElection = SimulatedFailures(rawValue: 1)
    public static let afterPromotion = SimulatedFailures(rawValue: 2)
}

/// The answer to a command.
public enum SentinelReply: Sendable, Equatable {
    case ok
    /// OK if the state could be saved; the error about the configuration file otherwise.
    case okWhenSaved
    case integer(Int)
    /// The error line without the leading `-`.
    case error(String)
    case primaryState(PrimaryStateReply)
}

/// The answer to IS-MASTER-DOWN-BY-ADDR. `leader` and `epoch` may be told only when the version
/// is durable; before that the answer is that there is no vote.
public struct PrimaryStateReply: Sendable, Equatable {
    public var isDown: Bool
    public var leader: String?
    public var epoch: UInt64
    public var version: UInt64
}

/// sentinel.conf as it must be on disk: the lines that begin with `sentinel`.
public struct SentinelPersistRequest: Sendable, Equatable {
    public var version: UInt64
    public var lines: [SentinelConf.Line]
}

public struct SentinelConnect: Sendable, Equatable {
    public var connection: ConnectionID
    public var host: String
    public var port: Int
}

public struct SentinelSend: Sendable, Equatable {
    public var connection: ConnectionID
    public var bytes: [UInt8]
}

/// Something that happened, in the reference's words. Logged as `type message` and, unless it is
/// for debugging, published to clients on the channel `type`.
public struct SentinelEvent: Sendable, Equatable {
    public var level: LogLevel
    public var type: String
    public var message: String
}

public struct SentinelEffects: Sendable {
    public var state: SentinelPersistRequest?
    public var connect: [SentinelConnect] = []
    public var send: [SentinelSend] = []
    public var close: [ConnectionID] = []
    public var resolve: [String] = []
    public var events: [SentinelEvent] = []
    public var log: [LogLine] = []
    public var startScripts: [(job: UInt64, arguments: [String])] = []
    public var killScripts: [Int32] = []
    /// SIMULATE-FAILURE: end the process at once with this status.
    public var exit: Int32?
    public var reply: SentinelReply?

    public init() {}

    public mutating func removeAll() { self = SentinelEffects() }
}
