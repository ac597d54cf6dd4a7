// One node as this node sees it, and the table of them. Records are addressed by a handle that
// stays the same while the ID may change (a handshake ends, a node is reset hard); the table is
// walked in the order of the IDs, so that a simulation repeats.
import Base
import HashSlots

/// The place of a node in the table. Stale after the node was removed; removal clears every
/// reference to it.
struct NodeHandle: Hashable, Sendable {
    var index: Int
}

struct NodeRecord: Sendable {
    var id: NodeID
    var shard: NodeID
    var flags: NodeFlags
    let created: Instant
    var configEpoch: UInt64 = 0
    var slots = SlotSet()
    var primary: NodeHandle?
    var replicas: [NodeHandle] = []

    // Where it is.
    var ip = ""
    var tcpPort = 0
    var tlsPort = 0
    var busPort = 0
    var hostname = ""
    var humanName = ""

    // When it was heard.
    var pingSent: Instant?
    var pongReceived: Instant?
    var dataReceived: Instant
    /// The send time of the last ping that it answered: it had heard us by then. A node that was
    /// met in this process's life starts with the time of meeting, so that a growing cluster does
    /// not look like a partition; one from nodes.conf starts with nothing.
    var confirmedSend: Instant?
    var failTime: Instant
    var offset: Int64 = 0
    var offsetTime: Instant?

    // What was decided about it.
    /// When this node last confirmed its lease, or may have; nil once its process is known to be
    /// dead (`LeaseConfirmation.swift`).
    var leaseConfirmed: Instant?
    var leaseWithheldUntil = Instant.start
    var votedTime: Instant?
    var votedFor: NodeID?
    var orphanedSince: Instant?
    /// Primaries that call it failing, and when they last did.
    var reports = SortedTable<NodeID, Instant>()

    var link: LinkID?
    var inbound: LinkID?
    var probe = CrashProbe()
    /// It sent an extension of release 7.2, or is one of ours.
    var speaksExtensions = false
    /// It set our mark in the header: it knows hand-over and lost-data flags.
    var isExtended = false
    /// It knows of voters, and this is the version of the set that it holds.
    var knowsVoters = false
    var voterVersion: UInt64 = 0
    var lastGossip: UInt64 = 0
    /// Anything heard from it since this process started.
    var wasHeard = false

    init(id: NodeID, shard: NodeID, flags: NodeFlags, now: Instant) {
        self.id = id
        self.shard = shard
        self.flags = flags
        created = now
        dataReceived = now
        failTime = now
        leaseConfirmed = now
    }

    var isPrimary: Bool { flags.contains(.primary) }
    var isReplica: Bool { flags.contains(.replica) }
    var isFailed: Bool { flags.contains(.failed) }
    var isSuspect: Bool { flags.contains(.possiblyFailed) }
    var isReachable: Bool { flags.isDisjoint(with: [.failed, .possiblyFailed]) }
    var isHandshake: Bool { flags.contains(.handshake) }
    var hasAddress: Bool { !flags.contains(.noAddress) }
    /// Has a say in elections and failure detection.
    var isVoting: Bool { isPrimary && !slots.isEmpty }
}

/// The nodes, by handle and by ID. The first one is always this node.
struct NodeTable: Sendable {
    private var records: [NodeRecord] = []
    private var isLive: [Bool] = []
    private var free: [Int] = []
    private var byID = SortedTable<NodeID, NodeHandle>()

    static let myself = NodeHandle(index: 0)

    init(myself: NodeRecord) {
        records = [myself]
        isLive = [true]
        byID[myself.id] = NodeTable.myself
    }

    var count: Int { byID.count }
    /// All handles, ordered by ID.
    var handles: [NodeHandle] { byID.values }
    /// The size of an array that is indexed by `NodeHandle.index`.
    var capacity: Int { records.count }

    subscript(_ handle: NodeHandle) -> NodeRecord {
        // Borrowed, not copied: a record holds a slot set of 2 KiB.
        _read {
            invariant(isLive[handle.index], "node handle must be live")
            yield records[handle.index]
        }
        _modify {
            invariant(isLive[handle.index], "node handle must be live")
            yield &records[handle.index]
        }
    }

    func find(_ id: NodeID) -> NodeHandle? { byID[id] }
    func contains(_ handle: NodeHandle) -> Bool {
        handle.index < isLive.count && isLive[handle.index]
    }

    mutating func insert(_ record: NodeRecord) -> NodeHandle {
        invariant(!byID.contains(record.id), "a node ID must be unique")
        let handle: NodeHandle
        if let index = free.popLast() {
            handle = NodeHandle(index: index)
            records[index] = record
            isLive[index] = true
        } else {
            handle = NodeHandle(index: records.count)
            records.append(record)
            isLive.append(true)
        }
        byID[record.id] = handle
        return handle
    }

    /// The caller has cleared every reference to the node.
    mutating func remove(_ handle: NodeHandle) {
        invariant(handle != NodeTable.myself, "this node cannot be removed")
        invariant(records[handle.index].slots.isEmpty, "a removed node must own no slot")
        byID[records[handle.index].id] = nil
        isLive[handle.index] = false
        free.append(handle.index)
    }

    mutating func rename(_ handle: NodeHandle, to id: NodeID) {
        invariant(!byID.contains(id), "a node ID must be unique")
        byID[records[handle.index].id] = nil
        records[handle.index].id = id
        byID[id] = handle
    }

    /// Changes every node in place, in the order of the IDs.
    mutating func updateEach(_ body: (inout NodeRecord) -> Void) {
        for handle in byID.values { body(&records[handle.index]) }
    }
}
