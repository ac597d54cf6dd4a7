// A primary's answer to PSYNC: continue from the backlog, or start with a full copy, and then why.
// The reference says the reason in its log only; here it is a value, for INFO and the simulator
// too.
import Base

/// What a replica can do (REPLCONF capa).
public struct ReplicaCapabilities: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Takes a snapshot of unknown length that ends with an announced mark.
    public static let endMark = ReplicaCapabilities(rawValue: 1)
    /// Understands `+CONTINUE <new ID>`.
    public static let psync2 = ReplicaCapabilities(rawValue: 2)
    /// Takes the stream inside of the snapshot (ours).
    public static let embeddedStream = ReplicaCapabilities(rawValue: 4)
}

/// `PSYNC <id> <offset>`, or the older `SYNC` when `id` is nil.
public struct PSyncRequest: Sendable, Equatable {
    public var id: String?
    /// The first byte that the replica lacks.
    public var offset: Int64
    public var capabilities: ReplicaCapabilities
    /// How the replica is called in log lines: `address:port`.
    public var replicaName: String

    public init(
        id: String?, offset: Int64, capabilities: ReplicaCapabilities, replicaName: String
    ) {
        self.id = id
        self.offset = offset
        self.capabilities = capabilities
        self.replicaName = replicaName
    }
}

/// Why a replica must take a full copy.
public enum FullSyncReason: Sendable, Equatable {
    /// It asked for one: SYNC, or PSYNC with `?`.
    case requested
    /// It holds another history.
    case differentHistory(asked: String)
    /// It holds our former history, but went past the point at which ours parted from it.
    case pastTheFork(asked: Int64, lastShared: Int64)
    /// We keep no backlog.
    case noBacklog(asked: Int64)
    /// What it lacks is no longer in the backlog.
    case tooOld(asked: Int64, first: Int64)
    /// It claims more of our history than we have ourselves.
    case fromTheFuture(asked: Int64, next: Int64)

    /// One word for counters and INFO.
    public var name: String {
        switch self {
        case .requested: "requested"
        case .differentHistory: "different-history"
        case .pastTheFork: "past-the-fork"
        case .noBacklog: "no-backlog"
        case .tooOld: "backlog-too-short"
        case .fromTheFuture: "ahead-of-primary"
        }
    }
}

public enum PSyncDecision: Sendable, Equatable {
    /// Continue: send `reply`, then the `pending` bytes of the backlog from `offset` on.
    case partial(offset: Int64, pending: Int64, reply: String)
    case full(FullSyncReason)
}

public enum PSync {
    /// What to answer, and the lines for the log.
    public static func decide(
        _ request: PSyncRequest, _ history: ReplicationHistory, log: inout [LogLine]
    ) -> PSyncDecision {
        history.checkInvariants()
        guard let asked = request.id, asked.utf8.first != UInt8(ascii: "?") else {
            if request.id != nil {
                log.append(
                    LogLine(.notice, "Full resync requested by replica \(request.replicaName)"))
            }
            return .full(.requested)
        }
        if let reason = historyMismatch(asked, request.offset, history, log: &log) {
            return .full(reason)
        }
        if let reason = outsideBacklog(request, history, log: &log) { return .full(reason) }
        let reply =
            request.capabilities.contains(.psync2)
            ? "+CONTINUE \(history.id)\r\n" : "+CONTINUE\r\n"
        let pending = history.offset + 1 - request.offset
        invariant(pending >= 0, "a partial resynchronisation of nothing")
        log.append(
            LogLine(
                .notice,
                "Partial resynchronization request from \(request.replicaName) accepted. Sending "
                    + "\(pending) bytes of backlog starting from offset \(request.offset)."))
        return .partial(offset: request.offset, pending: pending, reply: reply)
    }

    private static func historyMismatch(
        _ asked: String, _ offset: Int64, _ history: ReplicationHistory, log: inout [LogLine]
    ) -> FullSyncReason? {
        if history.id.matches(asked) { return nil }
        guard history.secondOffset != -1, history.secondID.matches(asked) else {
            log.append(
                LogLine(
                    .notice,
                    "Partial resynchronization not accepted: Replication ID mismatch (Replica "
                        + "asked for '\(printable(asked))', my replication IDs are "
                        + "'\(history.id)' and '\(history.secondID)')"))
            return .differentHistory(asked: asked)
        }
        if offset <= history.secondOffset { return nil }
        log.append(
            LogLine(
                .notice,
                "Partial resynchronization not accepted: Requested offset for second ID was "
                    + "\(offset), but I can reply up to \(history.secondOffset)"))
        return .pastTheFork(asked: offset, lastShared: history.secondOffset)
    }

    private static func outsideBacklog(
        _ request: PSyncRequest, _ history: ReplicationHistory, log: inout [LogLine]
    ) -> FullSyncReason? {
        if let backlog = history.backlog, backlog.canContinue(from: request.offset) { return nil }
        log.append(
            LogLine(
                .notice,
                "Unable to partial resync with replica \(request.replicaName) for lack of backlog "
                    + "(Replica request was: \(request.offset))."))
        if request.offset > history.offset {
            log.append(
                LogLine(
                    .warning,
                    "Warning: replica \(request.replicaName) tried to PSYNC with an offset that is "
                        + "greater than the master replication offset."))
        }
        guard let backlog = history.backlog else { return .noBacklog(asked: request.offset) }
        return request.offset < backlog.first
            ? .tooOld(asked: request.offset, first: backlog.first)
            : .fromTheFuture(asked: request.offset, next: backlog.next)
    }
}

/// Text from a peer as it may stand in a log line: at most 128 characters, all of them visible.
func printable(_ text: String) -> String {
    let visible = text.utf8.prefix(128).map { $0 >= 32 && $0 < 127 ? $0 : UInt8(ascii: "?") }
    return String(decoding: visible, as: UTF8.self)
}
