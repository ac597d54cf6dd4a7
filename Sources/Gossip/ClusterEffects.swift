// What the cluster machine wants done. The driver's duty, in this order: carry out `local`; write
// `state` to nodes.conf, atomically; sync it if asked; send `sendNow` at any time; send each
// element of `sendAfterSync` only when the version that it names is durable; then feed back
// `.stateSynced`. Votes, requests for votes and everything else that another node may rely on
// after a crash of this one are in `sendAfterSync` by construction: as long as such a change is
// not durable, every message goes there, so the order on a link never changes either.
import Base
import HashSlots

/// nodes.conf as it must be on disk.
public struct PersistRequest: Sendable, Equatable {
    public var version: UInt64
    /// Whether to fsync, file and folder, before `sendAfterSync` may leave.
    public var needsSync: Bool
    /// Whether it is the first with a new claim of this node to its slots (its role, its config
    /// epoch). Until it is durable no client may be answered either: a write that is acknowledged
    /// under an epoch that a power cut takes back is lost, and nobody has heard of the epoch yet.
    public var isClaim: Bool
    public var contents: [UInt8]
}

/// One packet for one link. A link that is gone takes its packets with it.
public struct Outgoing: Sendable, Equatable {
    public var link: LinkID
    public var bytes: [UInt8]
}

/// A packet that waits for `version` to be durable.
public struct HeldOutgoing: Sendable, Equatable {
    public var version: UInt64
    public var outgoing: Outgoing
}

public struct ConnectRequest: Sendable, Equatable {
    public var link: LinkID
    public var host: String
    public var port: Int
}

public enum PromotionReason: Sendable, Equatable {
    case electionWon
    case takeover
    case reset
}

/// Something for the rest of the node to do.
public enum LocalAction: Sendable, Equatable {
    /// Stop replicating, accept writes.
    case promoteSelf(PromotionReason)
    /// Become (or stay) a replica, of the node at this address. Keeps the data until the
    /// resynchronisation decides.
    case replicate(from: NodeID, host: String, port: Int)
    /// A replica forgets its primary and its data (CLUSTER RESET).
    case resetData
    /// Hold writes back, at most until then.
    case pauseWrites(until: Instant)
    case unpauseWrites
    /// These slots have another owner than before.
    case ownershipChanged(SlotSet)
    /// Ask `fillRouting` again: owners, addresses, role or settings changed.
    case routingChanged
    /// Another node owns these slots now and this one is still a primary: drop their keys.
    case deleteKeys(SlotSet)
    /// The cluster takes commands, or does not.
    case clusterStateChanged(isUp: Bool)
    /// This primary lost the majority, or its slots to another one: a reply that has not left by
    /// now must not leave any more.
    case authorityLost
    /// Unsubscribe the clients of the shard channels in these slots.
    case shardSlotsLost(SlotSet)
    case publishLocally(channel: [UInt8], message: [UInt8], sharded: Bool)
    /// Serve no replica (true) or serve them again: this primary lost its data and waits for a
    /// replica to replace it; a resynchronisation now would wipe the only copy.
    case refuseReplicas(Bool)
    /// Send CLUSTER FAILOVER to a replica that does not understand the bus's hand-over flag.
    case sendFailoverCommand(host: String, port: Int)
    /// The slots are a replica's now: it is safe to stop.
    case handoverDone
    case handoverFailed(String)
}

/// The answer to a command.
public enum CommandReply: Sendable, Equatable {
    case ok
    /// A simple string.
    case status(String)
    /// The whole error line without the leading `-`.
    case error(String)
}

public struct ClusterEffects: Sendable {
    public var state: PersistRequest?
    public var sendNow: [Outgoing] = []
    public var sendAfterSync: [HeldOutgoing] = []
    public var connect: [ConnectRequest] = []
    public var close: [LinkID] = []
    public var local: [LocalAction] = []
    public var log: [ClusterEvent] = []
    /// Set by a `.command` input only.
    public var reply: CommandReply?

    public init() {}

    /// Empties the lists and keeps their room.
    public mutating func removeAll() {
        state = nil
        sendNow.removeAll(keepingCapacity: true)
        sendAfterSync.removeAll(keepingCapacity: true)
        connect.removeAll(keepingCapacity: true)
        close.removeAll(keepingCapacity: true)
        local.removeAll(keepingCapacity: true)
        log.removeAll(keepingCapacity: true)
        reply = nil
    }
}
