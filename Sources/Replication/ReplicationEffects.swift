// What the replication machines ask their driver to do. They decide; the driver carries out in
// order.
import Base

/// Where a primary listens.
public struct PrimaryAddress: Sendable, Hashable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    public var description: String { "\(host):\(port)" }
}

/// How a snapshot is framed on the wire.
public enum SnapshotFraming: Sendable, Equatable {
    /// `$<count>`: so many bytes follow.
    case length(Int64)
    /// `$EOF:<mark>`: the snapshot ends where the mark appears.
    case endMark

    /// The size in INFO's terms: 0 when unknown.
    public var size: Int64 {
        switch self {
        case .length(let count): count
        case .endMark: 0
        }
    }
}

/// What a replica's link to its primary asks for. A range refers to the bytes of the very call of
/// `received` that produced the effect.
public enum ReplicaEffect: Sendable, Equatable {
    /// Open a connection; answer with `linkOpened` or `linkClosed`.
    case connect(PrimaryAddress)
    case send([UInt8])
    /// Close the connection, without an answer; nothing to do when it ended by itself.
    case close
    /// A full copy is coming. `id` is nil when the primary does not speak PSYNC.
    case beginFullSync(id: ReplicationID?, offset: Int64)
    /// The old data is about to go: disconnect our own replicas and free the backlog.
    case detachReplicas
    /// The snapshot's bytes follow.
    case snapshotStarted(SnapshotFraming)
    case snapshotRange(Range<Int>)
    /// Bytes that arrived in an earlier call.
    case snapshotBytes([UInt8])
    /// The snapshot is complete; answer with `loaded` or `loadFailed`.
    case snapshotEnded
    /// The snapshot broke off: throw away what came of it.
    case abortFullSync
    /// The data is now that of `id` at `offset`. Nil: the primary has no ID, draw one.
    case restartHistory(id: ReplicationID?, offset: Int64)
    /// The primary goes on from where we are, maybe under a new ID (then our own replicas must
    /// reconnect to learn it: `detachReplicas` does not apply, `disconnectReplicas` follows).
    case continueHistory(newID: ReplicationID?)
    case disconnectReplicas
    /// Bytes of the command stream: to the applier at once when the link is streaming, and once
    /// `loaded` was called when they come behind a snapshot.
    case stream(Range<Int>)
    /// From here on the caller reads the stream itself and reports `streamed` and `applied`.
    case online
    /// The stream broke off: forget the unfinished command.
    case linkLost
    /// The target of FAILOVER took over, or did not.
    case failoverAccepted
    case failoverRejected(String)
    case log(LogLine)
}

/// What the primary's side asks for.
public enum PrimaryEffect: Sendable, Equatable {
    case send(session: UInt64, [UInt8])
    /// Send the stream from `offset` on, and keep sending it.
    case startStream(session: UInt64, from: Int64)
    /// Take one snapshot now for all of `sessions`, then report `snapshotStarted`. From then on the
    /// stream must say SELECT before its next write: the replicas start in no particular database.
    /// `embedsStream`: the stream may come inside of it; report how far with `embedded`.
    case startSnapshot(
        sessions: [UInt64], SnapshotContents, endMark: Bool, embedsStream: Bool)
    case close(session: UInt64)
    /// Append a PING to the stream.
    case feedPing
    /// Start or stop to keep the stream; the history was already changed.
    case backlogCreated
    case backlogFreed
    case replicaOnline(session: UInt64)
    case log(LogLine)
}

/// What the FAILOVER command asks for.
public enum FailoverEffect: Sendable, Equatable {
    /// Stop the clients' writes until further notice.
    case pauseWrites
    case unpauseWrites
    /// Become a replica of `target`, and ask it to take over (`PSYNC … FAILOVER`).
    case handOver(to: PrimaryAddress)
    /// Become a primary again.
    case resumeAsPrimary
    case log(LogLine)
}
