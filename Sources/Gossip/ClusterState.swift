// The cluster bus of one node as a pure machine: who the members are, who is alive, who owns which
// slot, who may take over. It reads no clock, socket, file or random source: `step` takes one
// input and the time and adds to the effects. What it must agree on with real Redis Cluster nodes
// (wire format, claims, epochs, votes, FAIL rules) follows the reference; what it may decide
// alone (when to suspect, when to start an election, when to stop serving) is ours, and each such
// rule says so in its own file.
//
// A step ends in `settle`, the machine's end-of-loop list: what several causes may ask for is done
// there once, in one order.
import Base
import HashSlots

public struct ClusterState: Sendable {
    // Settings and time.
    public private(set) var config: GossipConfig
    var random: Prng
    var now: Now
    let started: Instant
    var facts = LocalFacts()
    /// The `announceIP` that is in force; without one the address is discovered.
    var announcedIP = ""

    // Membership and ownership.
    var nodes: NodeTable
    var ownership = SlotOwnership()
    var blacklist = SortedTable<NodeID, WallTime>()
    var links = SortedTable<LinkID, LinkState>()
    var nextLink: UInt64 = 1

    // Epochs and votes.
    public internal(set) var currentEpoch: UInt64 = 0
    public internal(set) var lastVoteEpoch: UInt64 = 0
    var election = Election()
    var manual = ManualFailover()
    var emptyStart = EmptyStart()

    // Voters of last resort.
    var voters = VoterSet()
    /// The latest epoch in which this node voted for somebody's right to change the set.
    var voterPromise: UInt64 = 0
    var voterChange = VoterChange()
    var voterRecords = SortedTable<NodeID, VoterRecord>()
    /// What stamps of this process begin with; drawn when the first voter calls.
    var pulseNonce = ""

    // Health.
    public internal(set) var isUp = false
    /// How many primaries own slots.
    public internal(set) var size = 0
    var health = ClusterHealth()

    // Durability.
    public private(set) var version: UInt64 = 0
    var syncedVersion: UInt64 = 0
    /// The version that outgoing messages wait for.
    var barrierVersion: UInt64 = 0
    /// What nodes.conf says of this node's own authority, as last written.
    private var savedClaim: UInt64?
    var todo = Todo()

    // Periodic work.
    var nextCron: Instant
    var cronCount: UInt64 = 0
    var pingCount: UInt64 = 0

    // Output of the step in progress.
    var outbox: [Outgoing] = []
    var output = ClusterEffects()
    var stats = BusStats()
    var debug = DebugHooks()

    /// A new node that knows nobody.
    public init(config: GossipConfig, seed: UInt64, now: Now) {
        var random = Prng(seed: seed)
        let id = NodeID(random: &random)
        let shard = NodeID(random: &random)
        let record = NodeRecord(
            id: id, shard: shard, flags: [.myself, .primary], now: now.instant)
        self.init(config: config, random: random, myself: record, now: now)
        log(.notice, .configurationCreated(id))
        todo.insert([.save, .sync, .barrier])
    }

    init(config: GossipConfig, random: Prng, myself: NodeRecord, now: Now) {
        invariant(myself.flags.contains(.myself), "the first node must be this node")
        self.config = config
        self.random = random
        self.now = now
        started = now.instant
        nextCron = now.instant
        nodes = NodeTable(myself: myself)
        applyConfig()
        todo.insert(.updateState)
    }

    /// This node, as the table holds it.
    var me: NodeRecord {
        _read { yield nodes[NodeTable.myself] }
        _modify { yield &nodes[NodeTable.myself] }
    }

    public var myID: NodeID { me.id }
    public var myShardID: NodeID { me.shard }
    public var isReplica: Bool { me.isReplica }

    /// One input. Adds to `effects`; never removes from them.
    public mutating func step(
        _ input: ClusterInput,
        at now: Now,
        into effects: inout ClusterEffects
    ) {
        invariant(now.instant >= self.now.instant, "time must not go back")
        invariant(outbox.isEmpty, "a step must start with an empty outbox")
        self.now = now
        handle(input)
        settle()
        deliver(into: &effects)
    }

    private mutating func handle(_ input: ClusterInput) {
        switch input {
        case .tick: tick()
        case .linkOpened(let link): linkOpened(link)
        case .linkAccepted(let link, let peer, let local): linkAccepted(link, peer, local)
        case .linkClosed(let link, let why): linkClosed(link, why)
        case .received(let link, let bytes): received(link, bytes)
        case .stateSynced(let version):
            invariant(version <= self.version, "only a version that was asked for can be synced")
            syncedVersion = max(syncedVersion, version)
        case .localFacts(let facts): take(facts)
        case .dataLoaded(let slots): reconcile(slotsWithKeys: slots)
        case .command(let command): output.reply = run(command)
        case .orderlyHandover: startHandover()
        case .cancelHandover: cancelHandover()
        case .publish(let channel, let message, let sharded):
            publish(channel: channel, message: message, sharded: sharded)
        case .configChanged(let config):
            self.config = config
            applyConfig()
        case .dropPackets(let type, let closingLink):
            debug.droppedType = type
            debug.closesLinkOnDrop = closingLink
        case .closeLinks(let name, let outgoing, let inbound):
            guard let node = find(name) else { break }
            if outgoing, let link = nodes[node].link { close(link) }
            if inbound, let link = nodes[node].inbound { close(link) }
        }
    }

    /// What several causes ask for and one step does once.
    private mutating func settle() {
        // 1. Fail over first: it changes what the rest looks at.
        if todo.remove(.manualFailover) != nil { advanceManualFailover() }
        if todo.remove(.failover) != nil { advanceElection() }
        // 2. The state before the save, since losing the majority fences this node at once.
        if todo.remove(.updateState) != nil { updateState() }
        // 3. Everything that changed is in one version.
        if todo.contains(.save) { save() }
        // 4. Messages last: whether they must wait is known only now.
        release()
        invariant(outbox.isEmpty, "a step must leave an empty outbox")
    }

    /// The epoch under which a primary owns slots, which makes its acknowledgements valid.
    private var claim: UInt64? { me.isPrimary && !me.slots.isEmpty ? me.configEpoch : nil }

    private mutating func save() {
        version += 1
        if todo.contains(.barrier) { barrierVersion = version }
        let claim = self.claim
        let isClaim = claim != nil && claim != savedClaim
        savedClaim = claim
        let needsSync = isClaim || todo.contains(.sync) || todo.contains(.barrier)
        output.state = PersistRequest(
            version: version, needsSync: needsSync, isClaim: isClaim,
            contents: NodesConf(of: self).bytes)
        todo.subtract([.save, .sync, .barrier])
    }

    private mutating func release() {
        if barrierVersion > syncedVersion {
            for message in outbox {
                output.sendAfterSync.append(
                    HeldOutgoing(version: barrierVersion, outgoing: message))
            }
        } else {
            output.sendNow.append(contentsOf: outbox)
        }
        outbox.removeAll(keepingCapacity: true)
    }

    private mutating func deliver(into effects: inout ClusterEffects) {
        reportOwnership()
        if todo.remove(.routing) != nil { output.local.append(.routingChanged) }
        if let state = output.state {
            var merged = state
            merged.needsSync = state.needsSync || (effects.state?.needsSync ?? false)
            merged.isClaim = state.isClaim || (effects.state?.isClaim ?? false)
            effects.state = merged
        }
        effects.sendNow.append(contentsOf: output.sendNow)
        effects.sendAfterSync.append(contentsOf: output.sendAfterSync)
        effects.connect.append(contentsOf: output.connect)
        effects.close.append(contentsOf: output.close)
        effects.local.append(contentsOf: output.local)
        effects.log.append(contentsOf: output.log)
        if let reply = output.reply { effects.reply = reply }
        output.removeAll()
    }

    private mutating func reportOwnership() {
        if !ownership.shardLost.isEmpty {
            output.local.append(.shardSlotsLost(ownership.shardLost))
            ownership.shardLost.removeAll()
        }
        if !ownership.changed.isEmpty {
            output.local.append(.ownershipChanged(ownership.changed))
            ownership.changed.removeAll()
        }
    }

    mutating func log(_ level: LogLevel, _ kind: ClusterEvent.Kind) {
        output.log.append(ClusterEvent(level, kind))
    }

    mutating func act(_ action: LocalAction) { output.local.append(action) }
}

/// What a step still has to do at its end.
struct Todo: OptionSet, Sendable {
    let rawValue: UInt16
    static let save = Todo(rawValue: 1)
    /// The saved version should reach the disk.
    static let sync = Todo(rawValue: 2)
    /// No message may leave before it has.
    static let barrier = Todo(rawValue: 4)
    static let updateState = Todo(rawValue: 8)
    static let failover = Todo(rawValue: 16)
    static let manualFailover = Todo(rawValue: 32)
    static let routing = Todo(rawValue: 64)
}

/// Counters of the bus.
public struct BusStats: Sendable, Equatable {
    public var sent = [Int64](repeating: 0, count: BusMessageType.count)
    public var received = [Int64](repeating: 0, count: BusMessageType.count)
    /// Packets and links given up, by reason.
    public var bad = [Int64](repeating: 0, count: BadPacket.allCases.count)
    /// Links closed because the peer did not read.
    public var linksOverLimit: Int64 = 0
}

struct DebugHooks: Sendable {
    var droppedType: Int?
    var closesLinkOnDrop = false
}
