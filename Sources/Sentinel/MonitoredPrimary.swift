// What is known of a monitored primary beyond what is known of any instance: how it is configured,
// who belongs to it, and how far its failover has come.
import Base

/// The steps of a failover, in order.
public enum FailoverStep: Int, Sendable, Comparable {
    case none
    case waitStart
    case selectReplica
    case sendPromotion
    case waitPromotion
    case reconfigureReplicas
    case updateConfiguration

    /// The reference's word.
    public var word: String {
        switch self {
        case .none: "none"
        case .waitStart: "wait_start"
        case .selectReplica: "select_slave"
        case .sendPromotion: "send_slaveof_noone"
        case .waitPromotion: "wait_promotion"
        case .reconfigureReplicas: "reconf_slaves"
        case .updateConfiguration: "update_config"
        }
    }

    public static func < (a: FailoverStep, b: FailoverStep) -> Bool { a.rawValue < b.rawValue }
}

struct MonitoredPrimary: Sendable {
    let id: InstanceID
    let name: String
    /// The monitored cluster that this is a shard of; it fails over by itself.
    var cluster: String?
    var replicas: [InstanceID] = []
    var sentinels: [InstanceID] = []

    // Configuration.
    var quorum: Int
    var downAfter: Milliseconds
    var failoverTimeout: Milliseconds
    var parallelSyncs = 1
    var rebootDownAfter = Milliseconds.zero
    var authPassword: String?
    var authUser: String?
    var notificationScript: String?
    var clientReconfigScript: String?
    /// By the name in lower case: the name as configured and what to send instead.
    var renamedCommands = SortedTable<String, RenamedCommand>()

    // Epochs and votes; on disk before anybody hears of them.
    var configEpoch: UInt64 = 0
    var leader: String?
    var leaderEpoch: UInt64 = 0

    // Failover.
    var step = FailoverStep.none
    var stepSince: Instant
    var failoverEpoch: UInt64 = 0
    /// When the last attempt began, or another sentinel got our vote; nil allows one at once.
    var attemptStarted: Instant?
    var delayLogged: Instant?
    var promoted: InstanceID?
    /// This sentinel starts its attempt then: chance keeps candidates apart.
    var startAt: Instant?
    /// Attempts that ended without a winner, since the primary went down.
    var splitVotes = 0

    init(
        id: InstanceID, name: String, quorum: Int, times: SentinelTimes, now: Instant
    ) {
        self.id = id
        self.name = name
        self.quorum = quorum
        downAfter = times.defaultDownAfter
        failoverTimeout = times.defaultFailoverTimeout
        stepSince = now
    }
}

struct RenamedCommand: Sendable, Equatable {
    var from: String
    var to: String
}

/// The periods and limits of a sentinel, as SENTINEL DEBUG shows and sets them.
public struct SentinelTimes: Sendable, Equatable {
    public var infoPeriod = Milliseconds(10000)
    public var pingPeriod = Milliseconds(1000)
    public var askPeriod = Milliseconds(1000)
    public var publishPeriod = Milliseconds(2000)
    public var defaultDownAfter = Milliseconds(30000)
    public var defaultFailoverTimeout = Milliseconds(180_000)
    public var tiltTrigger = Milliseconds(2000)
    public var tiltPeriod = Milliseconds(30000)
    public var replicaReconfigurationTimeout = Milliseconds(10000)
    public var minLinkReconnectPeriod = Milliseconds(15000)
    public var electionTimeout = Milliseconds(10000)
    public var scriptMaxRuntime = Milliseconds(60000)
    public var scriptRetryDelay = Milliseconds(30000)

    public init() {}

    /// The parameters by the reference's names, in its order.
    public static var parameters: [(name: String, path: WritableKeyPath<Self, Milliseconds>)] {
        [
            ("info-period", \.infoPeriod), ("ping-period", \.pingPeriod),
            ("ask-period", \.askPeriod), ("publish-period", \.publishPeriod),
            ("default-down-after", \.defaultDownAfter),
            ("default-failover-timeout", \.defaultFailoverTimeout),
            ("tilt-trigger", \.tiltTrigger), ("tilt-period", \.tiltPeriod),
            ("slave-reconf-timeout", \.replicaReconfigurationTimeout),
            ("min-link-reconnect-period", \.minLinkReconnectPeriod),
            ("election-timeout", \.electionTimeout), ("script-max-runtime", \.scriptMaxRuntime),
            ("script-retry-delay", \.scriptRetryDelay),
        ]
    }
}

/// What is configured for the sentinel as a whole.
public struct SentinelSettings: Sendable, Equatable {
    public var announceIP = ""
    public var announcePort = 0
    public var sentinelUser = ""
    public var sentinelPassword = ""
    public var deniesScriptChanges = true
    public var resolveHostnames = false
    public var announceHostnames = false
    /// The port that clients connect to, and the password that they need; from the process's own
    /// configuration.
    public var port = 26379
    public var requirePassword = ""

    public init() {}
}
