// What the CLUSTER subcommands show. Texts are byte-exact with release 7.0; replies with structure
// come as values, and the command writes them in RESP2 or RESP3.
import Base
import HashSlots

/// A node in CLUSTER SLOTS.
public struct SlotsNode: Sendable, Equatable {
    /// nil for a null: the client keeps the address that it used.
    public var endpoint: String?
    public var port: Int
    public var id: NodeID
    /// The other names of the node.
    public var metadata: [(name: String, value: String)]

    public static func == (a: SlotsNode, b: SlotsNode) -> Bool {
        a.endpoint == b.endpoint && a.port == b.port && a.id == b.id
            && a.metadata.map { [$0.name, $0.value] } == b.metadata.map { [$0.name, $0.value] }
    }
}

/// A range in CLUSTER SLOTS: the primary first, then the replicas that can serve reads.
public struct SlotsRange: Sendable, Equatable {
    public var start: Int
    public var end: Int
    public var nodes: [SlotsNode]
}

/// A node in CLUSTER SHARDS.
public struct ShardNode: Sendable, Equatable {
    public var id: NodeID
    /// nil when that port is closed.
    public var port: Int?
    public var tlsPort: Int?
    public var ip: String
    public var endpoint: String
    /// nil when there is none.
    public var hostname: String?
    /// `master` or `replica`.
    public var role: String
    public var replicationOffset: Int64
    /// `online`, `loading` or `fail`.
    public var health: String
}

public struct Shard: Sendable, Equatable {
    public var slots: [ClosedRange<Int>]
    public var nodes: [ShardNode]
}

/// A connection in CLUSTER LINKS; the driver knows its buffers.
public struct LinkReport: Sendable, Equatable {
    public var link: LinkID
    /// `to` or `from`.
    public var direction: String
    public var node: NodeID
    /// Milliseconds since 1970.
    public var createTime: Int64
    public var isOpen: Bool
}

/// An error line, without the leading `-`.
public struct ReportError: Error, Sendable, Equatable {
    public var text: String

    public init(text: String) { self.text = text }
}

extension ClusterState {
    // MARK: Texts

    /// CLUSTER NODES. `otherPort` is for a client on the other kind of connection.
    public func nodesText(otherPort: Bool = false) -> String {
        var out = ""
        for handle in nodes.handles {
            out += line(of: handle, otherPort)
            out += "\n"
        }
        return out
    }

    private func line(of handle: NodeHandle, _ otherPort: Bool) -> String {
        entry(of: handle, forClients: true, otherPort: otherPort).line(withAuxiliaryFields: false)
    }

    /// CLUSTER REPLICAS.
    public func replicaLines(
        of name: String, otherPort: Bool = false
    ) throws(ReportError) -> [String] {
        guard let node = find(name) else { throw ReportError(text: "ERR Unknown node \(name)") }
        if nodes[node].isReplica {
            throw ReportError(text: "ERR The specified node is not a master")
        }
        return nodes[node].replicas.map { line(of: $0, otherPort) }
    }

    /// CLUSTER COUNT-FAILURE-REPORTS.
    public func failureReports(of name: String) throws(ReportError) -> Int {
        guard let node = find(name) else { throw ReportError(text: "ERR Unknown node \(name)") }
        return reportCount(of: node)
    }

    /// CLUSTER INFO.
    public func infoText() -> String {
        var assigned = 0
        var suspect = 0
        var failed = 0
        for handle in nodes.handles {
            let record = nodes[handle]
            assigned += record.slots.count
            if record.isFailed {
                failed += record.slots.count
            } else if record.isSuspect {
                suspect += record.slots.count
            }
        }
        let source = me.isReplica ? me.primary ?? NodeTable.myself : NodeTable.myself
        var lines = [
            "cluster_state:\(isUp ? "ok" : "fail")",
            "cluster_slots_assigned:\(assigned)",
            "cluster_slots_ok:\(assigned - suspect - failed)",
            "cluster_slots_pfail:\(suspect)",
            "cluster_slots_fail:\(failed)",
            "cluster_known_nodes:\(nodes.count)",
            "cluster_size:\(size)",
            "cluster_current_epoch:\(currentEpoch)",
            "cluster_my_epoch:\(nodes[source].configEpoch)",
        ]
        lines += voterLines
        appendCounters(stats.sent, "sent", to: &lines)
        appendCounters(stats.received, "received", to: &lines)
        lines.append("total_cluster_links_buffer_limit_exceeded:\(stats.linksOverLimit)")
        return lines.map { $0 + "\r\n" }.joined()
    }

    private func appendCounters(_ counts: [Int64], _ word: String, to lines: inout [String]) {
        for type in BusMessageType.allCases where counts[Int(type.rawValue)] != 0 {
            let count = counts[Int(type.rawValue)]
            lines.append("cluster_stats_messages_\(type.name)_\(word):\(count)")
        }
        lines.append("cluster_stats_messages_\(word):\(counts.reduce(0, +))")
    }

    /// Counters of the bus, with the packets and links that were given up, by reason.
    public var busStats: BusStats { stats }

    // MARK: Structures

    /// CLUSTER SLOTS.
    public func slotsReport(otherPort: Bool = false) -> [SlotsRange] {
        ownership.runs.map { owner, slots in
            let replicas = nodes[owner].replicas.filter { isAvailable($0) }
            return SlotsRange(
                start: slots.lowerBound, end: slots.upperBound,
                nodes: ([owner] + replicas).map { slotsNode($0, otherPort) })
        }
    }

    /// Listed replicas have data: not failed, and past their first synchronisation.
    private func isAvailable(_ replica: NodeHandle) -> Bool {
        !nodes[replica].isFailed && offset(of: replica) != 0
    }

    private func offset(of node: NodeHandle) -> Int64 {
        node == NodeTable.myself ? facts.replicationOffset : nodes[node].offset
    }

    private func slotsNode(_ handle: NodeHandle, _ otherPort: Bool) -> SlotsNode {
        let record = nodes[handle]
        let kind = config.preferredEndpoint
        let endpoint = kind == .unknownEndpoint ? nil : preferredEndpoint(of: record)
        var metadata: [(name: String, value: String)] = []
        if kind != .ip { metadata.append(("ip", record.ip)) }
        if kind != .hostname, !record.hostname.isEmpty {
            metadata.append(("hostname", record.hostname))
        }
        let port = entry(of: handle, forClients: true, otherPort: otherPort).port
        return SlotsNode(endpoint: endpoint, port: port, id: record.id, metadata: metadata)
    }

    /// CLUSTER SHARDS.
    public func shardsReport() -> [Shard] {
        nodes.handles.filter { nodes[$0].isPrimary }.map { primary in
            Shard(
                slots: nodes[primary].slots.ranges,
                nodes: ([primary] + nodes[primary].replicas).map { shardNode($0) })
        }
    }

    private func shardNode(_ handle: NodeHandle) -> ShardNode {
        let record = nodes[handle]
        let offset = offset(of: handle)
        let health =
            record.isFailed ? "fail" : record.isReplica && offset == 0 ? "loading" : "online"
        return ShardNode(
            id: record.id, port: record.tcpPort == 0 ? nil : record.tcpPort,
            tlsPort: record.tlsPort == 0 ? nil : record.tlsPort, ip: record.ip,
            endpoint: preferredEndpoint(of: record),
            hostname: record.hostname.isEmpty ? nil : record.hostname,
            role: record.isReplica ? "replica" : "master", replicationOffset: offset,
            health: health)
    }

    /// CLUSTER LINKS.
    public func linksReport() -> [LinkReport] {
        var out: [LinkReport] = []
        for handle in nodes.handles {
            for link in [nodes[handle].link, nodes[handle].inbound] {
                guard let link, let state = links[link] else { continue }
                out.append(
                    LinkReport(
                        link: link, direction: link.isOutgoing ? "to" : "from",
                        node: nodes[handle].id, createTime: state.createdAt.milliseconds,
                        isOpen: state.isOpen))
            }
        }
        return out
    }

    // MARK: For the rest of the node

    /// This node's primary, when it is a replica of a known one.
    public var myPrimaryID: NodeID? { me.primary.map { nodes[$0].id } }
    /// The slots that this node owns.
    public var mySlots: SlotSet { me.slots }
    public var knownNodes: Int { nodes.count }
    /// The slots of a node, as this one knows it.
    public func slots(of id: NodeID) -> SlotSet? { nodes.find(id).map { nodes[$0].slots } }
    public func configEpoch(of id: NodeID) -> UInt64? {
        nodes.find(id).map { nodes[$0].configEpoch }
    }
    /// What is known about a node, in the bits of the wire.
    public func flags(of id: NodeID) -> NodeFlags? { nodes.find(id).map { nodes[$0].flags } }
    /// How many connections the bus uses.
    public var linkCount: Int { links.count }

    /// CLUSTER SETSLOT and SHARDS name nodes by ID; a person may prefer this.
    public func address(of id: NodeID) -> (host: String, port: Int)? {
        nodes.find(id).map { (nodes[$0].ip, clientPort(of: $0)) }
    }
}
