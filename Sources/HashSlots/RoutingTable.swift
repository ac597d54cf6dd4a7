// Who serves each slot, laid out for the command path. The cluster machine fills it whenever
// ownership, an address or the cluster state changes; every command with a key asks it.
//
// The answer to the common question, "may I run this command on this slot right now?", is one byte
// per slot: whatever makes a slot special (not mine, migrating, importing, cluster down) clears
// that byte, and only then does `Redirect.decide` look at the rest. The table is 48 KiB in place,
// so hold it behind a pointer and never move it about.
import Base

/// The address that a redirection names, already as text.
public struct RoutingEndpoint: Equatable, Sendable {
    /// `host:port` for a client on the default kind of connection.
    public var text: [UInt8]
    /// `host:port` for a client on the other kind (plaintext in a TLS cluster, or the reverse).
    public var otherText: [UInt8]

    public init(text: [UInt8], otherText: [UInt8]) {
        self.text = text
        self.otherText = otherText
    }
}

/// Settings and global facts that the redirect decision needs.
public struct RoutingFacts: Equatable, Sendable {
    /// False while slots are uncovered or a majority of primaries is out of sight.
    public var clusterIsUp = false
    /// `cluster-allow-reads-when-down`.
    public var allowsReadsWhenDown = false
    /// `cluster-allow-pubsubshard-when-down`.
    public var allowsShardPubSubWhenDown = true
    /// This node is a replica; `primary` says of whom.
    public var isReplica = false
    /// The node index of this replica's primary.
    public var primary: Int?

    public init() {}
}

public struct RoutingTable: ~Copyable {
    /// What may run on a slot without a further look.
    @usableFromInline
    enum Fast {
        /// Look closer.
        static let nothing: UInt8 = 0
        /// Everything: the slot is mine and stable, the cluster is up.
        static let everything: UInt8 = 1
        /// Reads of READONLY clients: I replicate the owner, the cluster is up.
        static let replicaReads: UInt8 = 2
    }

    private var fast: [16384 of UInt8] = .init(repeating: 0)
    /// Node index + 1; 0 when nobody serves the slot.
    private var owners: [16384 of UInt16] = .init(repeating: 0)
    private var migrating = SortedTable<UInt16, Int>()
    private var importing = SortedTable<UInt16, Int>()
    private var endpoints: [RoutingEndpoint] = []

    /// The index of this node among `endpoints`.
    public private(set) var myself = 0
    public private(set) var facts = RoutingFacts()
    /// Grows with each `finish`: clients' cached decisions compare it.
    public private(set) var version: UInt64 = 0

    public init() {}

    // MARK: The command path

    /// True when any command on keys of `slot` may run here now. One byte load.
    @inline(__always)
    public func serves(_ slot: Slot) -> Bool {
        fast[Int(slot.index)] == Fast.everything
    }

    /// True when a read of a READONLY client may run here now. One byte load.
    @inline(__always)
    public func servesReads(_ slot: Slot) -> Bool {
        fast[Int(slot.index)] != Fast.nothing
    }

    /// The index of the node that serves `slot`.
    @inline(__always)
    public func owner(of slot: Slot) -> Int? {
        let stored = owners[Int(slot.index)]
        return stored == 0 ? nil : Int(stored) - 1
    }

    /// The node that `slot` is moving to, when this node is giving it away.
    public func migrationTarget(of slot: Slot) -> Int? { migrating[slot.index] }

    /// The node that `slot` is coming from, when this node is receiving it.
    public func importSource(of slot: Slot) -> Int? { importing[slot.index] }

    /// True when a command on `slot` must count which of its keys are here.
    public func isOpen(_ slot: Slot) -> Bool {
        migrating.contains(slot.index) || importing.contains(slot.index)
    }

    /// The address of node `index` as redirections name it.
    public func endpoint(_ index: Int) -> RoutingEndpoint {
        invariant(index >= 0 && index < endpoints.count, "no such node in the routing table")
        return endpoints[index]
    }

    // MARK: Filling

    /// Starts over: no owners, `nodes` as the possible targets. Call `finish` at the end.
    public mutating func begin(nodes: [RoutingEndpoint], myself: Int) {
        invariant(nodes.count < Int(UInt16.max), "too many nodes for the routing table")
        invariant(myself >= 0 && myself < nodes.count, "this node must be in the routing table")
        endpoints = nodes
        self.myself = myself
        for index in 0..<Slot.count { owners[index] = 0 }
        migrating.removeAll()
        importing.removeAll()
    }

    public mutating func setOwner(of slot: Slot, to node: Int) {
        invariant(node >= 0 && node < endpoints.count, "owner must be in the routing table")
        owners[Int(slot.index)] = UInt16(node + 1)
    }

    public mutating func setMigrating(_ slot: Slot, to node: Int) {
        invariant(node >= 0 && node < endpoints.count, "target must be in the routing table")
        migrating[slot.index] = node
    }

    public mutating func setImporting(_ slot: Slot, from node: Int) {
        invariant(node >= 0 && node < endpoints.count, "source must be in the routing table")
        importing[slot.index] = node
    }

    /// Takes `facts` and derives the byte per slot from everything that was set.
    public mutating func finish(_ facts: RoutingFacts) {
        self.facts = facts
        version &+= 1
        let mine = endpoints.isEmpty ? 0 : UInt16(myself + 1)
        let primary = facts.isReplica ? facts.primary.map { UInt16($0 + 1) } : nil
        for index in 0..<Slot.count {
            let owner = owners[index]
            if !facts.clusterIsUp || owner == 0 {
                fast[index] = Fast.nothing
            } else if owner == mine {
                fast[index] = Fast.everything
            } else if owner == primary {
                fast[index] = Fast.replicaReads
            } else {
                fast[index] = Fast.nothing
            }
        }
        for slot in migrating.keys { fast[Int(slot)] = Fast.nothing }
        for slot in importing.keys { fast[Int(slot)] = Fast.nothing }
    }
}
