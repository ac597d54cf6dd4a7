// What the driver tells the cluster machine. Every call of `ClusterState.step` is one of these
// plus the time; nothing else ever changes the machine.
import Base
import HashSlots

/// A bus connection. Outgoing ones get odd numbers from the machine, accepted ones even numbers
/// from the driver; no number is used twice in the life of a process.
public struct LinkID: Hashable, Comparable, Sendable {
    public var raw: UInt64

    public init(raw: UInt64) { self.raw = raw }

    public var isOutgoing: Bool { raw % 2 == 1 }

    public static func < (a: LinkID, b: LinkID) -> Bool { a.raw < b.raw }
}

/// Why a connection ended or never came to be.
public enum LinkFailure: Sendable, Equatable {
    /// Nobody listens at that address: the process is not there.
    case refused
    case reset
    case closedByPeer
    case timedOut
    case unreachable
    /// The peer does not read and the send buffer hit its limit.
    case outputLimit
    /// Closed by this process (answer to a `close` effect, or no descriptors left).
    case local
}

/// What the rest of the node knows and the machine must know too. The driver sends it whenever
/// something in it changed, and always before a command that asks about the data.
public struct LocalFacts: Sendable, Equatable {
    /// A primary's write offset, or what a replica has applied.
    public var replicationOffset: Int64 = 0
    /// The replica's connection to its primary is in the streaming state.
    public var primaryLinkIsUp = false
    /// When the primary was last heard on that connection; nil when never.
    public var primaryContact: Instant?
    /// Since when that connection is down; nil while it is up, and when it never was.
    public var primaryLinkLostAt: Instant?
    /// The data set is being loaded from disk, or replaced by a full resynchronisation: what is
    /// there is no whole, and must not be promoted.
    public var isLoading = false
    /// The database holds keys.
    public var hasData = false
    /// The process came up without the data that its role promises (nothing on disk).
    public var startedEmpty = false
    /// The replication offset of the data that the process came up with; nil when unknown.
    public var startOffset: Int64?

    public init() {}
}

public enum FailoverKind: Sendable, Equatable {
    /// Agree with the primary about the offset first.
    case coordinated
    /// Without the primary's help, but with votes.
    case force
    /// Without anybody's agreement.
    case takeover
}

/// A CLUSTER subcommand that changes something. Node names are as typed: errors repeat them.
public enum ClusterCommand: Sendable, Equatable {
    case meet(host: String, port: Int64, busPort: Int64?)
    case addSlots([SlotInterval])
    case deleteSlots([SlotInterval])
    case flushSlots
    case setSlotMigrating(Slot, to: String)
    case setSlotImporting(Slot, from: String)
    case setSlotStable(Slot)
    /// `keysInSlot` is how many keys of the slot this node holds now.
    case setSlotNode(Slot, node: String, keysInSlot: Int)
    case forget(String)
    case replicate(String)
    case failover(FailoverKind)
    case reset(hard: Bool)
    case bumpEpoch
    case setConfigEpoch(Int64)
    case saveConfig
    /// A sentinel calls.
    case voterPulse(VoterPulse)
    case forgetVoter(String)
    case resetVoters
}

/// A range of slots as typed; the machine checks that `start` is not above `end`.
public struct SlotInterval: Sendable, Equatable {
    public var start: Slot
    public var end: Slot

    public init(_ start: Slot, _ end: Slot) {
        self.start = start
        self.end = end
    }

    public init(_ slot: Slot) { self.init(slot, slot) }
}

public enum ClusterInput: Sendable {
    /// Time passed. At least ten times a second, and at `ClusterState.nextDeadline`.
    case tick
    /// An outgoing connection of a `connect` effect is established.
    case linkOpened(LinkID)
    case linkAccepted(LinkID, peerAddress: String, localAddress: String)
    case linkClosed(LinkID, LinkFailure)
    /// Bytes as read; the machine finds the packets in them.
    case received(LinkID, [UInt8])
    /// nodes.conf with that version is durable.
    case stateSynced(version: UInt64)
    case localFacts(LocalFacts)
    /// Loading ended; `slotsWithKeys` must agree with the configuration.
    case dataLoaded(slotsWithKeys: SlotSet)
    case command(ClusterCommand)
    /// This primary is about to stop: make its best replica take over first.
    case orderlyHandover
    /// Give up the hand-over (SHUTDOWN ABORT).
    case cancelHandover
    case publish(channel: [UInt8], message: [UInt8], sharded: Bool)
    case configChanged(GossipConfig)
    /// DEBUG hooks of the public test suite: drop packets of this type (nil for none), and close
    /// the link that one came by.
    case dropPackets(type: Int?, closingLink: Bool)
    /// DEBUG CLUSTERLINK KILL: close our link to that node, its link to us, or both.
    case closeLinks(node: String, outgoing: Bool, inbound: Bool)
}
