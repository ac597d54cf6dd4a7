// nodes.conf: one line per node in the syntax of CLUSTER NODES, then the line of variables. Read
// and written as redis-server 7.0 and 7.2 do (7.2's auxiliary fields follow the host name), so a
// node can be exchanged for a real one and back.
//
// The format has no place for a checksum, so damage is found by strictness: what a node writes has
// its variables complete, on the last line, with a line end; every node that is mentioned has its
// own line; no slot has two owners. The file is replaced as a whole, so a reader that finds
// anything else must not guess: a guessed epoch could vote twice.
import Base
import HashSlots

/// What is wrong with a nodes.conf, and where.
public struct NodesConfError: Error, Sendable, Equatable {
    /// 1 for the first line; 0 when no line in particular is to blame.
    public var line: Int
    public var reason: String

    public var text: String {
        line == 0 ? "damaged nodes.conf: \(reason)" : "damaged nodes.conf, line \(line): \(reason)"
    }
}

public struct NodesConf: Sendable, Equatable {
    struct Entry: Sendable, Equatable {
        var id: NodeID
        var ip = ""
        /// The port in the address itself.
        var port = 0
        var busPort = 0
        var hostname = ""
        var humanName = ""
        var shard: NodeID?
        var tcpPort: Int?
        var tlsPort: Int?
        var flags: NodeFlags = []
        var primary: NodeID?
        var pingSent: Int64 = 0
        var pongReceived: Int64 = 0
        var configEpoch: UInt64 = 0
        var isConnected = false
        var slots = SlotSet()
        var migrating = SortedTable<Slot, NodeID>()
        var importing = SortedTable<Slot, NodeID>()
    }

    var entries: [Entry] = []
    public var currentEpoch: UInt64 = 0
    public var lastVoteEpoch: UInt64 = 0
    /// Variables that the reference passes over; written in a cluster with voters only.
    public var voters = VoterSet()
    public var voterPromise: UInt64 = 0
    private var writesAuxiliaryFields = true

    init() {}
}

// MARK: Writing

extension NodesConf {
    /// The state of a node, as its file will hold it.
    init(of state: ClusterState) {
        writesAuxiliaryFields = state.config.writesAuxiliaryFields
        currentEpoch = state.currentEpoch
        lastVoteEpoch = state.lastVoteEpoch
        voters = state.voters
        voterPromise = state.voterPromise
        for handle in state.nodes.handles where !state.nodes[handle].isHandshake {
            entries.append(state.entry(of: handle))
        }
    }

    public var bytes: [UInt8] {
        var out: [UInt8] = []
        for entry in entries {
            out.append(contentsOf: entry.line(withAuxiliaryFields: writesAuxiliaryFields).utf8)
            out.append(UInt8(ascii: "\n"))
        }
        var vars = "vars currentEpoch \(currentEpoch) lastVoteEpoch \(lastVoteEpoch)"
        if voters.version > 0 || voterPromise > 0 {
            vars += " voterPromise \(voterPromise) voterVersion \(voters.version)"
            vars += " voters \(voters.memberText)"
        }
        vars += "\n"
        out.append(contentsOf: vars.utf8)
        return out
    }
}

extension NodesConf.Entry {
    /// The line of nodes.conf and of CLUSTER NODES.
    func line(withAuxiliaryFields: Bool) -> String {
        var out = "\(id) \(ip):\(port)@\(busPort)"
        if !hostname.isEmpty { out += ",\(hostname)" }
        if withAuxiliaryFields { out += auxiliaryFields }
        out += " \(flags.text) "
        out += primary.map { $0.description } ?? "-"
        out += " \(pingSent) \(pongReceived) \(configEpoch) "
        out += isConnected ? "connected" : "disconnected"
        if !slots.isEmpty { out += " \(slots.rangeText)" }
        for (slot, target) in migrating { out += " [\(slot)->-\(target)]" }
        for (slot, source) in importing where !migrating.contains(slot) {
            out += " [\(slot)-<-\(source)]"
        }
        return out
    }

    private var auxiliaryFields: String {
        var out = hostname.isEmpty ? "," : ""
        if let tlsPort { out += ",tls-port=\(tlsPort)" }
        if let tcpPort { out += ",tcp-port=\(tcpPort)" }
        if !humanName.isEmpty { out += ",nodename=\(humanName)" }
        if let shard { out += ",shard-id=\(shard)" }
        return out
    }
}

extension ClusterState {
    /// `handle` as a line. `forClients` has no auxiliary fields and honours `otherPort`.
    func entry(
        of handle: NodeHandle, forClients: Bool = false, otherPort: Bool = false
    ) -> NodesConf.Entry {
        let record = nodes[handle]
        var entry = NodesConf.Entry(id: record.id)
        entry.ip = record.ip
        entry.busPort = record.busPort
        entry.hostname = record.hostname
        entry.humanName = record.humanName
        entry.shard = record.shard
        entry.port = port(of: record, forClients: forClients, otherPort: otherPort)
        if !forClients { entry.tlsPort = record.tlsPort }
        entry.flags = record.flags
        entry.primary = record.primary.map { nodes[$0].id }
        entry.pingSent = wallMilliseconds(record.pingSent)
        entry.pongReceived = wallMilliseconds(record.pongReceived)
        entry.configEpoch = record.configEpoch
        if record.isReplica, let primary = record.primary {
            entry.configEpoch = nodes[primary].configEpoch
        }
        entry.isConnected = handle == NodeTable.myself || openLink(of: handle) != nil
        entry.slots = record.slots
        if handle == NodeTable.myself {
            for (slot, node) in ownership.migrating { entry.migrating[slot] = nodes[node].id }
            for (slot, node) in ownership.importing { entry.importing[slot] = nodes[node].id }
        }
        return entry
    }

    private func port(of record: NodeRecord, forClients: Bool, otherPort: Bool) -> Int {
        if !forClients, config.writesAuxiliaryFields { return record.tcpPort }
        let first = config.usesTLS ? record.tlsPort : record.tcpPort
        let second = config.usesTLS ? record.tcpPort : record.tlsPort
        return forClients && otherPort && second != 0 ? second : first
    }
}

// MARK: Taking over

extension ClusterState {
    /// A node that was here before.
    public init(restoring conf: NodesConf, config: GossipConfig, seed: UInt64, now: Now) {
        var random = Prng(seed: seed)
        guard let mine = conf.entries.first(where: { $0.flags.contains(.myself) }) else {
            unreachable("a parsed nodes.conf contains this node")
        }
        var table = [NodeRecord]()
        for entry in conf.entries {
            table.append(entry.record(&random, usesTLS: config.usesTLS, now: now.instant))
        }
        let myself = table.first { $0.id == mine.id }
        guard let myself else { unreachable("every entry becomes a record") }
        self.init(config: config, random: random, myself: myself, now: now)
        for var record in table where record.id != mine.id {
            // This node may have voted against it.
            if record.isFailed { record.leaseWithheldUntil = now.instant + attemptLimit }
            _ = nodes.insert(record)
        }
        currentEpoch = conf.currentEpoch
        lastVoteEpoch = conf.lastVoteEpoch
        voters = conf.voters
        voterPromise = conf.voterPromise
        for entry in conf.entries { connect(entry) }
        currentEpoch = max(max(maxEpoch, lastVoteEpoch), max(voterPromise, voters.epoch))
        todo = [.updateState, .routing]
        applyConfig()
        log(.notice, .configurationLoaded(mine.id))
    }

    /// What an entry says about other nodes, once all of them are in the table.
    private mutating func connect(_ entry: NodesConf.Entry) {
        guard let node = nodes.find(entry.id) else { return }
        if let primary = entry.primary.flatMap({ nodes.find($0) }) {
            nodes[node].primary = primary
            addReplica(node, of: primary)
            if entry.shard == nil { nodes[node].shard = nodes[primary].shard }
            // A replica's line shows its primary's epoch.
            if nodes[node].isReplica { nodes[node].configEpoch = 0 }
        }
        move(entry.slots, to: node)
        for (slot, target) in entry.migrating { ownership.migrating[slot] = nodes.find(target) }
        for (slot, source) in entry.importing { ownership.importing[slot] = nodes.find(source) }
    }
}

extension NodesConf.Entry {
    fileprivate func record(_ random: inout Prng, usesTLS: Bool, now: Instant) -> NodeRecord {
        let shard = self.shard ?? NodeID(random: &random)
        var record = NodeRecord(id: id, shard: shard, flags: flags, now: now)
        record.ip = ip
        record.busPort = busPort
        record.hostname = hostname
        record.humanName = humanName
        record.configEpoch = configEpoch
        // An older file has one port; which it is, TLS decides.
        let isOld = tcpPort == nil && tlsPort == nil
        record.tcpPort = tcpPort ?? (isOld && usesTLS ? 0 : port)
        record.tlsPort = tlsPort ?? (isOld && !usesTLS ? 0 : port)
        if pingSent != 0 { record.pingSent = now }
        if pongReceived != 0 { record.pongReceived = now }
        return record
    }
}
