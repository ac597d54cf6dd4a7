// What a sentinel knows of one instance: a primary that it monitors, one of its replicas, or
// another sentinel. Instances are named by numbers that are never used twice, so a late answer
// that names one that is gone finds nothing.
import Base

/// The number of an instance, unique in the life of the process.
public struct InstanceID: Hashable, Comparable, Sendable {
    public var raw: Int
    init(_ raw: Int) { self.raw = raw }
    public static func < (a: InstanceID, b: InstanceID) -> Bool { a.raw < b.raw }
}

public enum InstanceKind: Sendable {
    case primary
    case replica
    case sentinel

    /// The wire's word.
    public var word: String {
        switch self {
        case .primary: "master"
        case .replica: "slave"
        case .sentinel: "sentinel"
        }
    }
}

/// What is known of an instance, as SENTINEL MASTER and its like print it.
public struct InstanceFlags: OptionSet, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Down as this sentinel sees it.
    public static let subjectivelyDown = InstanceFlags(rawValue: 1 << 0)
    /// Down as enough sentinels see it.
    public static let objectivelyDown = InstanceFlags(rawValue: 1 << 1)
    /// This sentinel says that the primary is down.
    public static let reportsPrimaryDown = InstanceFlags(rawValue: 1 << 2)
    public static let failoverInProgress = InstanceFlags(rawValue: 1 << 3)
    /// The replica that was chosen to be the next primary.
    public static let promoted = InstanceFlags(rawValue: 1 << 4)
    public static let reconfigurationSent = InstanceFlags(rawValue: 1 << 5)
    public static let reconfigurationRuns = InstanceFlags(rawValue: 1 << 6)
    public static let reconfigurationDone = InstanceFlags(rawValue: 1 << 7)
    /// Asked for by SENTINEL FAILOVER.
    public static let forced = InstanceFlags(rawValue: 1 << 8)
    public static let scriptKillSent = InstanceFlags(rawValue: 1 << 9)
    /// A primary that came back as another process.
    public static let rebooted = InstanceFlags(rawValue: 1 << 10)
}

struct InstanceRecord: Sendable {
    let id: InstanceID
    let kind: InstanceKind
    /// The primary that it belongs to; a primary belongs to itself.
    let owner: InstanceID
    /// A primary's configured name, a replica's `ip:port`, a sentinel's run ID.
    let name: String
    var runID: String?
    var address: SentinelAddress
    var link: LinkNumber
    var flags: InstanceFlags = []

    var lastPublished: Instant
    var downSince: Instant?
    var objectivelyDownSince: Instant?
    var rebootSince: Instant?

    // INFO.
    var info: String?
    var infoReceived: Instant?
    var infoAsked: Instant?
    var reportedRole: InstanceKind
    var roleReportedAt: Instant
    var primaryChangedAt: Instant
    var primaryLinkDownTime = Milliseconds.zero
    var priority = 100
    var isAnnounced = true
    var primaryHost: String?
    var primaryPort = 0
    var primaryLinkIsUp = false
    var offset: UInt64 = 0
    var reconfigurationSentAt: Instant?
    /// It was the primary until a replica of its was promoted, and was not seen following since.
    var isFormerPrimary = false

    // Other sentinels.
    var lastHello: Instant
    var lastDownReply: Instant
    /// When it was last asked whether the primary is down.
    var downAskedAt: Instant?
    /// For whom it voted, and in which epoch.
    var leader: String?
    var leaderEpoch: UInt64 = 0
    /// A newer configuration that it claims and has not confirmed yet.
    var claim: Claim?
    var mismatchReported = false

    init(
        id: InstanceID, kind: InstanceKind, owner: InstanceID, name: String,
        address: SentinelAddress, link: LinkNumber, now: Instant
    ) {
        self.id = id
        self.kind = kind
        self.owner = owner
        self.name = name
        self.address = address
        self.link = link
        lastPublished = now
        reportedRole = kind
        roleReportedAt = now
        primaryChangedAt = now
        lastHello = now
        lastDownReply = now
    }

    var isDown: Bool { flags.contains(.subjectivelyDown) }

    /// No sign of being down in the last `time`.
    func wasUp(for time: Milliseconds, at now: Instant) -> Bool {
        guard let since = [downSince, objectivelyDownSince].compactMap({ $0 }).max() else {
            return true
        }
        return now - since > time
    }
}

/// The number of a link.
struct LinkNumber: Hashable, Comparable, Sendable {
    var raw: Int
    static func < (a: LinkNumber, b: LinkNumber) -> Bool { a.raw < b.raw }
}

/// The two connections to one process and what they say of its health. A sentinel that watches
/// several of our primaries is one process: its instances share a link.
struct InstanceLink: Sendable {
    var users: [InstanceID]
    /// One of the connections that should be there is missing.
    var isDisconnected = true
    var command: ConnectionID?
    var subscription: ConnectionID?
    var commandSince: Instant?
    var subscriptionSince: Instant?
    var subscriptionActivity: Instant?
    /// The last answer to a ping that a healthy instance gives.
    var available: Instant
    /// When the oldest ping without an answer was sent; nil when all were answered.
    var pendingPing: Instant?
    var lastPing: Instant?
    /// The last answer to a ping, whatever it said.
    var lastPong: Instant
    var lastReconnect: Instant?
    /// The process at the other end has said who it is since the link was made.
    var isVerified = false

    /// A link that has not been tried yet counts as waiting for an answer since now, so that an
    /// instance that never answers is noticed.
    init(user: InstanceID, now: Instant) {
        users = [user]
        available = now
        lastPong = now
        pendingPing = now
    }

    /// Forgets what it knew of the instance's health.
    mutating func resetHealth(at now: Instant) {
        pendingPing = now
        lastPing = nil
        available = now
        lastPong = now
    }
}
