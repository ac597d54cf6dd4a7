// The settings of a replica's link and the facts about it that INFO and ROLE show.
import Base

/// How soon a replica tries again. The reference waits for the next second in most cases, which is
/// long for a partial resynchronisation: here the first tries follow quickly, then one per
/// `steady`.
public struct RetryPacing: Sendable, Equatable {
    /// Delays before the first tries after a failure.
    public var quick: [Milliseconds]
    public var steady: Milliseconds

    public init(
        quick: [Milliseconds] = [0, 20, 50, 100, 100].map { Milliseconds($0) },
        steady: Milliseconds = Milliseconds(1000)
    ) {
        self.quick = quick
        self.steady = steady
    }

    /// The delay before try number `attempt`, from 0.
    public func delay(_ attempt: Int) -> Milliseconds {
        invariant(attempt >= 0, "a negative count of tries")
        return attempt < quick.count ? quick[attempt] : steady
    }
}

public struct ReplicaLinkConfig: Sendable, Equatable {
    /// masteruser and masterauth; no AUTH without a password.
    public var user: String?
    public var password: String?
    /// What we announce (replica-announce-port, or the port we listen on).
    public var listeningPort: Int
    /// replica-announce-ip.
    public var announcedIP: String?
    /// repl-timeout.
    public var timeout: Milliseconds
    public var pacing: RetryPacing
    /// True when the snapshot is parsed as it arrives, false when it is stored first (for the log).
    public var loadsFromLink: Bool
    /// True when the old data stays until the snapshot is loaded (repl-diskless-load swapdb).
    public var keepsOldData: Bool

    public init(
        user: String? = nil,
        password: String? = nil,
        listeningPort: Int = 6379,
        announcedIP: String? = nil,
        timeout: Milliseconds = Milliseconds(60_000),
        pacing: RetryPacing = RetryPacing(),
        loadsFromLink: Bool = true,
        keepsOldData: Bool = false
    ) {
        self.user = user
        self.password = password
        self.listeningPort = listeningPort
        self.announcedIP = announcedIP
        self.timeout = timeout
        self.pacing = pacing
        self.loadsFromLink = loadsFromLink
        self.keepsOldData = keepsOldData
    }
}

/// Where a replica left off: what it asks its next primary to continue.
public struct ResumePoint: Sendable, Equatable {
    public var id: ReplicationID
    /// Bytes of the stream that were applied.
    public var offset: Int64

    public init(id: ReplicationID, offset: Int64) {
        self.id = id
        self.offset = offset
    }
}

/// How far the link is.
public enum LinkPhase: Sendable, Equatable {
    /// No primary.
    case none
    /// Between two tries.
    case waiting(until: Instant)
    case connecting
    case awaitingPong
    case awaitingAuth
    case awaitingPort
    case awaitingIP
    case awaitingCapabilities
    case awaitingPSync
    /// After the answer to PSYNC, before the size of the snapshot.
    case awaitingSnapshot
    case receivingSnapshot
    case loading
    case streaming

    /// The word that ROLE shows.
    public var roleWord: String {
        switch self {
        case .none: "none"
        case .waiting: "connect"
        case .connecting: "connecting"
        case .awaitingPong, .awaitingAuth, .awaitingPort, .awaitingIP, .awaitingCapabilities,
            .awaitingPSync:
            "handshake"
        case .awaitingSnapshot, .receivingSnapshot, .loading: "sync"
        case .streaming: "connected"
        }
    }

    var isHandshake: Bool { roleWord == "handshake" }
    var isTransfer: Bool { self == .awaitingSnapshot || self == .receivingSnapshot }
}

/// INFO's and ROLE's facts about the link.
public struct ReplicaReport: Sendable, Equatable {
    public var primary: PrimaryAddress
    public var phase: LinkPhase
    /// Nil while not streaming.
    public var secondsSinceLastIO: Int64?
    public var readOffset: Int64
    public var appliedOffset: Int64
    public var transferSize: Int64
    public var transferred: Int64
    public var secondsSinceTransferIO: Int64
    /// Nil when the link is up or never was.
    public var downSeconds: Int64?

    /// ROLE's last field: -1 without a link.
    public var roleOffset: Int64 { phase == .streaming ? appliedOffset : -1 }

    /// The lines of INFO replication from `master_host` up to the link's state, each ended by CRLF.
    public var infoLines: String {
        var text = """
            master_host:\(primary.host)\r
            master_port:\(primary.port)\r
            master_link_status:\(phase == .streaming ? "up" : "down")\r
            master_last_io_seconds_ago:\(secondsSinceLastIO ?? -1)\r
            master_sync_in_progress:\(isSynchronizing ? 1 : 0)\r
            slave_read_repl_offset:\(readOffset)\r
            slave_repl_offset:\(appliedOffset)\r\n
            """
        if isSynchronizing {
            text += """
                master_sync_total_bytes:\(transferSize)\r
                master_sync_read_bytes:\(transferred)\r
                master_sync_left_bytes:\(transferSize - transferred)\r
                master_sync_perc:\(percentage)\r
                master_sync_last_io_seconds_ago:\(secondsSinceTransferIO)\r\n
                """
        }
        if phase != .streaming {
            text += "master_link_down_since_seconds:\(downSeconds ?? -1)\r\n"
        }
        return text
    }

    private var isSynchronizing: Bool { phase.roleWord == "sync" }

    private var percentage: String {
        guard transferSize > 0 else { return "0.00" }
        let hundredths = transferred.multipliedFullWidth(by: 10_000)
        let value = transferSize.dividingFullWidth(hundredths).quotient
        let fraction = value % 100
        return "\(value / 100).\(fraction < 10 ? "0" : "")\(fraction)"
    }
}
