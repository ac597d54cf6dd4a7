// The CLUSTER subcommands that show something. Field names, their order and the texts are the
// reference's: clients build their slot maps from these replies.
import Base
import Engine
import Gossip
import HashSlots
import RESP
import Storage

extension Registry {
    mutating func registerClusterReports() {
        command(
            "count-failure-reports", of: "cluster", since: "3.0.0", arity: 3, [.admin, .stale],
            syntax: "node-id",
            summary: "Return the number of failure reports active for a given node",
            complexity: "O(N) where N is the number of failure reports",
            tips: "nondeterministic_output"
        ) { countFailureReports(Call($0)) }

        command(
            "info", of: "cluster", since: "3.0.0", arity: 2, [.stale],
            summary: "Provides info about Redis Cluster node state",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { clusterInfo(Call($0)) }

        command(
            "links", of: "cluster", since: "7.0.0", arity: 2, [.stale],
            summary: "Returns a list of all TCP links to and from peer nodes in cluster",
            complexity: "O(N) where N is the total number of Cluster nodes",
            tips: "nondeterministic_output"
        ) { clusterLinks(Call($0)) }

        command(
            "myid", of: "cluster", since: "3.0.0", arity: 2, [.stale],
            summary: "Return the node id",
            complexity: "O(1)"
        ) { myID(Call($0)) }

        command(
            "myshardid", of: "cluster", since: "7.2.0", arity: 2, [.stale],
            summary: "Returns the shard ID of a node.",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { myShardID(Call($0)) }

        command(
            "nodes", of: "cluster", since: "3.0.0", arity: 2, [.stale],
            summary: "Get Cluster config for the node",
            complexity: "O(N) where N is the total number of Cluster nodes",
            tips: "nondeterministic_output"
        ) { clusterNodes(Call($0)) }
    }

    mutating func registerClusterMaps() {
        command(
            "replicas", of: "cluster", since: "5.0.0", arity: 3, [.admin, .stale],
            syntax: "node-id",
            summary: "List replica nodes of the specified master node",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { clusterReplicas(Call($0)) }

        command(
            "shards", of: "cluster", since: "7.0.0", arity: 2, [.stale],
            summary: "Get array of cluster slots to node mappings",
            complexity: "O(N) where N is the total number of cluster nodes",
            tips: "nondeterministic_output"
        ) { clusterShards(Call($0)) }

        command(
            "slaves", of: "cluster", since: "3.0.0", arity: 3, [.admin, .stale],
            syntax: "node-id",
            summary: "List replica nodes of the specified master node",
            complexity: "O(1)",
            tips: "nondeterministic_output",
            deprecated: "5.0.0 `CLUSTER REPLICAS`"
        ) { clusterReplicas(Call($0)) }

        command(
            "slots", of: "cluster", since: "3.0.0", arity: 2, [.stale],
            summary: "Get array of Cluster slot to node mappings",
            complexity: "O(N) where N is the total number of Cluster nodes",
            history: """
            4.0.0 Added node IDs.
            7.0.0 Added additional networking metadata field.
            """,
            tips: "nondeterministic_output",
            deprecated: "7.0.0 `CLUSTER SHARDS`"
        ) { clusterSlots(Call($0)) }

        // Ours: the reference has no such command.
        command(
            "why", of: "cluster", since: "7.2.0", arity: -2, [.stale],
            syntax: "[count:integer]",
            summary: "Returns what happened in the cluster lately and why, as this node saw it",
            complexity: "O(N) where N is the number of events returned",
            tips: "nondeterministic_output"
        ) { clusterWhy(Call($0)) }
    }

    mutating func registerSlotReports() {
        command(
            "countkeysinslot", of: "cluster", since: "3.0.0", arity: 3, [.stale],
            syntax: "slot:integer",
            summary: "Return the number of local keys in the specified hash slot",
            complexity: "O(1)"
        ) { countKeysInSlot(Call($0)) }

        command(
            "getkeysinslot", of: "cluster", since: "3.0.0", arity: 4, [.stale],
            syntax: "slot:integer count:integer",
            summary: "Return local key names in the specified hash slot",
            complexity: "O(log(N)) where N is the number of requested keys",
            tips: "nondeterministic_output"
        ) { getKeysInSlot(Call($0)) }

        command(
            "help", of: "cluster", since: "5.0.0", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { clusterHelp(Call($0)) }

        command(
            "keyslot", of: "cluster", since: "3.0.0", arity: 3, [.stale],
            syntax: "key:string",
            summary: "Returns the hash slot of the specified key",
            complexity: "O(N) where N is the number of bytes in the key"
        ) { keySlot(Call($0)) }
    }
}

// MARK: Texts

private func clusterNodes(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    call.reply.verbatim(cluster.nodesText())
}

private func clusterInfo(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    call.reply.verbatim(cluster.infoText())
}

private func myID(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    call.reply.bulk("\(cluster.myID)")
}

private func myShardID(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    call.reply.bulk("\(cluster.myShardID)")
}

private func clusterReplicas(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    do throws(ReportError) {
        let lines = try cluster.replicaLines(of: call[2].string)
        call.reply.array(lines.count)
        for line in lines { call.reply.bulk(line) }
    } catch {
        call.reply.error(error.text)
    }
}

private func countFailureReports(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    do throws(ReportError) {
        call.reply.integer(try cluster.failureReports(of: call[2].string))
    } catch {
        call.reply.error(error.text)
    }
}

/// The machine, with what it must know of the data up to date; or nil after an error reply.
private func clusterOrReply(_ call: Call) -> ClusterState? {
    guard let node = clusterNodeOrReply(call) else { return nil }
    node.refreshClusterFacts()
    return node.pointee.cluster
}

// MARK: Maps of slots and nodes

private func clusterSlots(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    let reply = call.reply
    let ranges = cluster.slotsReport()
    reply.array(ranges.count)
    for range in ranges {
        reply.array(2 + range.nodes.count)
        reply.integer(range.start)
        reply.integer(range.end)
        for node in range.nodes {
            reply.array(4)
            if let endpoint = node.endpoint { reply.bulk(endpoint) } else { reply.null() }
            reply.integer(node.port)
            reply.bulk("\(node.id)")
            reply.map(node.metadata.count)
            for (name, value) in node.metadata {
                reply.bulk(name)
                reply.bulk(value)
            }
        }
    }
}

private func clusterShards(_ call: Call) {
    guard let cluster = clusterOrReply(call) else { return }
    let reply = call.reply
    let shards = cluster.shardsReport()
    reply.array(shards.count)
    for shard in shards {
        reply.map(2)
        reply.bulk("slots")
        reply.array(shard.slots.count * 2)
        for range in shard.slots {
            reply.integer(range.lowerBound)
            reply.integer(range.upperBound)
        }
        reply.bulk("nodes")
        reply.array(shard.nodes.count)
        for node in shard.nodes { write(node, reply) }
    }
}

private func write(_ node: ShardNode, _ reply: ReplyWriter) {
    let optional = [node.port != nil, node.tlsPort != nil, node.hostname != nil]
    reply.map(6 + optional.count { $0 })
    reply.bulk("id")
    reply.bulk("\(node.id)")
    if let port = node.port {
        reply.bulk("port")
        reply.integer(port)
    }
    if let port = node.tlsPort {
        reply.bulk("tls-port")
        reply.integer(port)
    }
    reply.bulk("ip")
    reply.bulk(node.ip)
    reply.bulk("endpoint")
    reply.bulk(node.endpoint)
    if let hostname = node.hostname {
        reply.bulk("hostname")
        reply.bulk(hostname)
    }
    reply.bulk("role")
    reply.bulk(node.role)
    reply.bulk("replication-offset")
    reply.integer(node.replicationOffset)
    reply.bulk("health")
    reply.bulk(node.health)
}

private func clusterLinks(_ call: Call) {
    guard let node = clusterNodeOrReply(call), let cluster = node.pointee.cluster else { return }
    let reply = call.reply
    let links = cluster.linksReport()
    reply.array(links.count)
    for link in links {
        // What waits for nodes.conf to be durable is this link's send buffer; the socket's own is
        // the kernel's.
        let held = node.pointee.heldMessages
            .reduce(0) { $1.outgoing.link == link.link ? $0 + $1.outgoing.bytes.count : $0 }
        reply.map(6)
        reply.bulk("direction")
        reply.bulk(link.direction)
        reply.bulk("node")
        reply.bulk("\(link.node)")
        reply.bulk("create-time")
        reply.integer(link.createTime)
        reply.bulk("events")
        reply.bulk(link.isOpen ? (held > 0 ? "rw" : "r") : "")
        reply.bulk("send-buffer-allocated")
        reply.integer(held)
        reply.bulk("send-buffer-used")
        reply.integer(held)
    }
}

// MARK: Keys of slots

private func keySlot(_ call: Call) {
    guard clusterNodeOrReply(call) != nil else { return }
    let slot = call[2].withSpan { Slot(key: $0) }
    call.reply.integer(Int(slot.index))
}

private func countKeysInSlot(_ call: Call) {
    guard clusterNodeOrReply(call) != nil, let number = call.integerOrReply(2) else { return }
    guard let slot = Int(exactly: number).flatMap(Slot.init) else {
        return call.reply.error("ERR Invalid slot")
    }
    call.reply.integer(call.keyspace.count(inSlot: slot))
}

private func getKeysInSlot(_ call: Call) {
    guard clusterNodeOrReply(call) != nil, let number = call.integerOrReply(2),
        let limit = call.integerOrReply(3)
    else { return }
    guard let slot = Int(exactly: number).flatMap(Slot.init), limit >= 0 else {
        return call.reply.error("ERR Invalid slot or number of keys")
    }
    let count = min(Int(clamping: limit), call.keyspace.count(inSlot: slot))
    let reply = call.reply
    reply.array(count)
    var written = 0
    call.keyspace.keys(inSlot: slot, limit: count) { entry in
        reply.bulk(entry.key)
        written += 1
    }
    invariant(written == count, "the slot's table and its count disagree")
}

// MARK: Why, and help

private func clusterWhy(_ call: Call) {
    guard let node = clusterNodeOrReply(call) else { return }
    guard call.count <= 3 else { return refuseClusterSyntax(call) }
    var limit = Int64(ClusterHistory.limit)
    if call.count == 3 {
        guard let number = call.integerOrReply(2) else { return }
        guard number >= 0 else { return call.reply.error(.notPositive) }
        limit = number
    }
    let reply = call.reply
    let entries = node.pointee.clusterHistory.entries.suffix(Int(clamping: limit))
    reply.array(entries.count)
    for entry in entries {
        reply.map(5)
        reply.bulk("time")
        reply.integer(entry.first.milliseconds)
        reply.bulk("last-time")
        reply.integer(entry.last.milliseconds)
        reply.bulk("times")
        reply.integer(entry.times)
        reply.bulk("event")
        reply.bulk(entry.event.name)
        reply.bulk("text")
        reply.bulk(entry.event.text)
    }
}

private func clusterHelp(_ call: Call) {
    guard clusterNodeOrReply(call) != nil else { return }
    call.replyHelp(helpLines)
}

private let helpLines: [StaticString] = [
    "ADDSLOTS <slot> [<slot> ...]",
    "    Assign slots to current node.",
    "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Assign slots which are between <start-slot> and <end-slot> to current node.",
    "BUMPEPOCH",
    "    Advance the cluster config epoch.",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return number of failure reports for <node-id>.",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "DELSLOTS <slot> [<slot> ...]",
    "    Delete slots information from current node.",
    "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    """
        Delete slots information which are between <start-slot> and <end-slot> from current \
    node.
    """,
    "FAILOVER [FORCE|TAKEOVER]",
    "    Promote current replica node to being a master.",
    "FORGET <node-id>",
    "    Remove a node from the cluster.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "FLUSHSLOTS",
    "    Delete current node own slots information.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MEET <ip> <port> [<bus-port>]",
    "    Connect nodes into a working cluster.",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the node's shard id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    """
        <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> \
    <slot> ...
    """,
    "REPLICATE <node-id>",
    "    Configure current node as replica to <node-id>.",
    "RESET [HARD|SOFT]",
    "    Reset current node (default: soft).",
    "SET-CONFIG-EPOCH <epoch>",
    "    Set config epoch of current node.",
    "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
    "    Set slot state.",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SAVECONFIG",
    "    Force saving cluster configuration on disk.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SHARDS",
    """
        Return information about slot range mappings and the nodes associated with them.
    """,
    "LINKS",
    "    Return information about all network links between this node and its peers.",
    """
        Output format is an array where each array element is a map containing attributes of \
    a link
    """,
    "SLOT-STATS SLOTSRANGE <start-slot> <end-slot>",
    "SLOT-STATS ORDERBY <metric> [LIMIT <limit>] [ASC|DESC]",
    "    Return the keys of slots, and with cluster-slot-stats-enabled what they have cost.",
    "VOTER FORGET <voter-id>",
    "    Take a sentinel that is gone for good out of the set of voters.",
    "VOTER RESET",
    "    Go on without voters, when too few are left to agree. Not safe in a partition.",
    "WHY [<count>]",
    "    Return the latest cluster events: what happened, and why a failover did or did not.",
]
