// What a sentinel knows of a cluster that it monitors (`sentinel monitor-cluster`). Members and
// slots come from the cluster's own nodes; each shard appears to clients as a primary of its own,
// `NAME/shard-<first slot>`, with its replicas, and moves when the cluster has moved it. Ordinary
// failovers are the cluster's affair.
import Base

struct MonitoredCluster: Sendable {
    let name: String
    /// Where to begin: any node. What is learnt later is tried as well.
    var seed: SentinelAddress
    /// What its shards are monitored with.
    var template: MonitoredPrimary
    /// The nodes that this sentinel connects to, by `host:port`.
    var peers = SortedTable<String, ClusterPeer>()
    var topology = ClusterTopology()
    /// The shards as they are monitored, by first slot.
    var shards = SortedTable<Int, InstanceID>()

    // As a voter.
    var voting = VotingState()
    /// What of it is on disk.
    var durable = VotingState()
    /// The version of the file that has `voting`.
    var votingVersion: UInt64 = 0
    var watches = SortedTable<String, NodeWatch>()
    /// As the nodes say; the longest counts.
    var timeouts = SortedTable<String, Milliseconds>()
    var nodeTimeout: Milliseconds?
    var suspects: [String] = []
    /// First slots of shards that have no node left.
    var lostShards: [Int] = []
    var lastTick = Instant.start
    var lastDenial: String?
    /// SENTINEL REMOVE was given: out of the set of voters first.
    var isLeaving = false

    init(name: String, seed: SentinelAddress, template: MonitoredPrimary) {
        self.name = name
        self.seed = seed
        self.template = template
    }

    /// How long a candidate can count votes at most.
    static func attemptLimit(_ nodeTimeout: Milliseconds?) -> Milliseconds {
        let timeout = nodeTimeout ?? Milliseconds(15000)
        return max(timeout * 2, Milliseconds(2000)) + timeout / 10
    }

    func shardName(_ firstSlot: Int) -> String { "\(name)/shard-\(firstSlot)" }
}

/// A node of a cluster as this sentinel reaches it: a connection of its own, beside those by which
/// shards are monitored, since votes and leases have other periods than SENTINEL's.
struct ClusterPeer: Sendable {
    let address: SentinelAddress
    /// The node at that address, as it said on this connection.
    var nodeID: String?
    var connection: ConnectionID?
    /// When it was begun.
    var connectedAt: Instant?
    var isOpen = false
    var stream = ReplyStream()
    var awaited: [ClusterPurpose] = []
    var nextAttempt: Instant
    var attempts = 0
    var view: ClusterView?
    var viewAsked: Instant?
    var localAddress = ""

    // Pulses.
    var pulseSent: Instant?
    /// Role, primary and config epoch as of the last answer.
    var role = ""
    /// The epoch in which it has this voter's vote.
    var vote: UInt64?

    /// Why its process may be dead.
    var evidence: DeathEvidence?
    var isProbingBus = false

    init(address: SentinelAddress, now: Instant) {
        self.address = address
        nextAttempt = now
    }

    var key: String { SentinelState.text(address.ip, address.port) }
}

/// What an answer of a cluster's node is for.
enum ClusterPurpose: Sendable, Equatable {
    case discard
    case identity
    case nodes
    case pulse
}

/// Which cluster's which peer a connection leads to.
struct PeerKey: Sendable, Equatable {
    var cluster: String
    var peer: String
}

extension SentinelState {
    public var clusterNames: [String] { clusters.keys }

    func cluster(of primary: InstanceID) -> String? { self[primary: primary].cluster }

    mutating func createCluster(
        _ name: String, _ host: String, _ port: Int, quorum: Int
    ) throws(CreateFailure) {
        let address = try address(host, port)
        if clusters.contains(name) || byName.contains(name) { throw .duplicate }
        let template = MonitoredPrimary(
            id: InstanceID(0), name: name, quorum: quorum, times: times, now: instant)
        clusters[name] = MonitoredCluster(name: name, seed: address, template: template)
    }

    mutating func removeCluster(_ name: String) {
        guard let cluster = clusters[name] else { return }
        dropShards(of: name)
        for key in cluster.peers.keys { closePeer(PeerKey(cluster: name, peer: key)) }
        clusters[name] = nil
    }

    mutating func dropShards(of name: String) {
        for id in clusters[name]?.shards.values ?? [] { dropShard(id) }
        clusters.update(name) { $0.shards.removeAll() }
    }

    private mutating func dropShard(_ id: InstanceID) {
        event(.warning, "-monitor", id)
        removePrimary(id)
    }

    // MARK: Following

    /// The nodes' answers changed something: members, shards, who is their primary.
    mutating func followCluster(_ name: String) {
        guard let cluster = clusters[name] else { return }
        var views = cluster.peers.values.filter(\.isOpen).compactMap(\.view)
        if views.isEmpty { views = cluster.peers.values.compactMap(\.view) }
        let topology = ClusterTopology(merging: views)
        guard topology != cluster.topology, !topology.nodes.isEmpty else { return }
        clusters.update(name) { cluster in
            cluster.topology = topology
            for id in cluster.watches.keys where !topology.nodes.contains(id) {
                cluster.watches[id] = nil
                cluster.timeouts[id] = nil
            }
        }
        if clusters[name]?.isLeaving == true { return }
        followMembers(name)
        followShards(name)
    }

    /// Connects to every member and forgets addresses that are nobody's any more.
    private mutating func followMembers(_ name: String) {
        guard let cluster = clusters[name] else { return }
        var wanted: [String: SentinelAddress] = [:]
        for node in cluster.topology.nodes.values where node.port > 0 {
            guard let ip = host(of: node, in: cluster) else { continue }
            let address = SentinelAddress(hostname: ip, ip: ip, port: node.port)
            wanted[Self.text(ip, node.port)] = address
        }
        guard !wanted.isEmpty else { return }
        for key in cluster.peers.keys where wanted[key] == nil {
            closePeer(PeerKey(cluster: name, peer: key))
            clusters.update(name) { $0.peers[key] = nil }
            save()
        }
        for (key, address) in wanted.sorted(by: { $0.key < $1.key })
        where !cluster.peers.contains(key) {
            let peer = ClusterPeer(address: address, now: instant)
            clusters.update(name) { $0.peers[key] = peer }
            save()
        }
    }

    /// Where a node is: a node that has not learnt its own address is where it was reached.
    func host(of node: ClusterView.Node, in cluster: MonitoredCluster) -> String? {
        if let ip = IPAddress.normalized(node.host) { return ip }
        return cluster.peers.values.first { $0.nodeID == node.id }?.address.ip
    }

    private mutating func followShards(_ name: String) {
        guard let cluster = clusters[name] else { return }
        let current = cluster.topology.shards
        for (slot, id) in cluster.shards where !current.contains(where: { $0.firstSlot == slot }) {
            dropShard(id)
            clusters.update(name) { $0.shards[slot] = nil }
        }
        for shard in current { follow(shard, of: name) }
    }

    private mutating func follow(_ shard: ClusterTopology.Shard, of name: String) {
        guard let cluster = clusters[name], let node = cluster.topology.nodes[shard.primary],
            let ip = host(of: node, in: cluster), node.port > 0
        else { return }
        let shardName = cluster.shardName(shard.firstSlot)
        let address = SentinelAddress(hostname: ip, ip: ip, port: node.port)
        if let id = cluster.shards[shard.firstSlot] {
            if !self[id].address.isSame(as: address) { moveShard(id, to: address) }
        } else {
            let quorum = cluster.template.quorum
            guard let id = try? createPrimary(shardName, ip, node.port, quorum: quorum) else {
                return note(.warning, "\(shardName) is monitored already as something else")
            }
            self[primary: id].cluster = name
            self[primary: id].configure(like: cluster.template)
            clusters.update(name) { $0.shards[shard.firstSlot] = id }
            event(.warning, "+monitor", id, " quorum \(quorum)")
        }
        guard let id = clusters[name]?.shards[shard.firstSlot] else { return }
        followReplicas(shard, id, cluster)
    }

    /// The cluster has another primary for the shard.
    private mutating func moveShard(_ id: InstanceID, to address: SentinelAddress) {
        let old = self[id].address
        plainEvent(
            .warning, "+switch-master", about: id,
            "\(self[id].name) \(announced(old)) \(old.port) \(announced(address)) "
                + "\(address.port)")
        reset(id, movingTo: address)
        reconfigureClients(id, role: "observer", from: old, to: address)
    }

    private mutating func followReplicas(
        _ shard: ClusterTopology.Shard, _ id: InstanceID, _ cluster: MonitoredCluster
    ) {
        var wanted: [SentinelAddress] = []
        for replica in shard.replicas {
            guard let node = cluster.topology.nodes[replica], node.port > 0,
                let ip = host(of: node, in: cluster)
            else { continue }
            wanted.append(SentinelAddress(hostname: ip, ip: ip, port: node.port))
        }
        for known in self[primary: id].replicas {
            let address = self[known].address
            if !wanted.contains(where: { $0.isSame(as: address) }) { removeMember(known) }
        }
        for address in wanted {
            guard let new = try? createReplica(of: id, address.ip, address.port) else { continue }
            event(.notice, "+slave", new)
        }
    }
}

extension MonitoredPrimary {
    /// Takes over what is configured, not what is known.
    mutating func configure(like template: MonitoredPrimary) {
        quorum = template.quorum
        downAfter = template.downAfter
        failoverTimeout = template.failoverTimeout
        parallelSyncs = template.parallelSyncs
        rebootDownAfter = template.rebootDownAfter
        authPassword = template.authPassword
        authUser = template.authUser
        notificationScript = template.notificationScript
        clientReconfigScript = template.clientReconfigScript
        renamedCommands = template.renamedCommands
    }
}
