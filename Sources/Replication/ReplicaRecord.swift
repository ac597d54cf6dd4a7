// What a primary knows about one of its replicas: what it said about itself before it asked for
// synchronisation, how far it is, and what it acknowledged.
import Base

/// What a snapshot has in it. `redis-cli --functions-rdb` wants less than everything.
public struct SnapshotContents: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let data = SnapshotContents(rawValue: 1)
    public static let functions = SnapshotContents(rawValue: 2)
    public static let everything: SnapshotContents = [.data, .functions]
}

/// What a replica told with REPLCONF before PSYNC.
public struct ReplicaAnnouncement: Sendable, Equatable {
    public var listeningPort = 0
    public var ip: String?
    public var capabilities: ReplicaCapabilities = []
    /// Wants the snapshot only (redis-cli --rdb).
    public var snapshotOnly = false
    public var contents = SnapshotContents.everything

    public init() {}
}

public enum ReplicaSyncState: Sendable, Equatable {
    /// Waits for a snapshot to start.
    case waiting
    /// Is being sent a snapshot that ends with a mark, or one of announced length.
    case receiving(endMark: Bool)
    case online

    /// What INFO shows. A snapshot that streams counts as waiting, as in the reference, which
    /// leaves that state only when its child process is done.
    public var name: String {
        switch self {
        case .waiting, .receiving(endMark: true): "wait_bgsave"
        case .receiving(endMark: false): "send_bulk"
        case .online: "online"
        }
    }
}

public struct ReplicaRecord: Sendable, Equatable {
    public let session: UInt64
    /// The address that its connection comes from.
    public let peerIP: String
    public var announcement: ReplicaAnnouncement
    /// It asked with SYNC: it sends no acknowledgements and never times out.
    public let lacksPSync: Bool
    public internal(set) var state: ReplicaSyncState
    /// Up to here it has everything with its snapshot: the offset that this stands for, or beyond
    /// when the stream comes inside of it. What follows is sent behind it.
    public internal(set) var sentThrough: Int64 = 0
    /// It was sent the whole snapshot and gets the stream once it acknowledges.
    public internal(set) var streamsOnAck = false
    public internal(set) var acknowledged: Int64 = 0
    /// Up to here its append-only file is synced, as far as it says (WAITAOF).
    public internal(set) var durable: Int64 = -1
    public internal(set) var lastAck: Instant
    let attachedAt: Instant
    /// When its connection last took bytes of the snapshot.
    var lastProgress: Instant

    init(
        session: UInt64,
        peerIP: String,
        announcement: ReplicaAnnouncement,
        lacksPSync: Bool,
        state: ReplicaSyncState,
        at now: Instant
    ) {
        self.session = session
        self.peerIP = peerIP
        self.announcement = announcement
        self.lacksPSync = lacksPSync
        self.state = state
        lastAck = now
        attachedAt = now
        lastProgress = now
    }

    public var isOnline: Bool { state == .online }

    /// What is written now is on its way to it before the client hears of it.
    public var isStreaming: Bool { isOnline && !streamsOnAck }

    /// Where its clients would reach it.
    public var address: PrimaryAddress {
        PrimaryAddress(host: announcement.ip ?? peerIP, port: announcement.listeningPort)
    }

    /// How log lines call it.
    public var name: String { Self.name(announcement, peerIP) }

    static func name(_ announcement: ReplicaAnnouncement, _ peerIP: String) -> String {
        let host = announcement.ip ?? peerIP
        guard announcement.listeningPort != 0 else { return "\(host):<unknown-replica-port>" }
        return host.contains(":")
            ? "[\(host)]:\(announcement.listeningPort)" : "\(host):\(announcement.listeningPort)"
    }

    /// Seconds since its last acknowledgement; 0 while it is not online.
    public func lag(at now: Instant) -> Int64 {
        isOnline ? (now - lastAck).count / 1000 : 0
    }
}
