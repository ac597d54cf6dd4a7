// The CLUSTER subcommands that change something. What can be told from the arguments alone is
// refused here, in the reference's order; the rest is checked by the cluster machine, which knows
// the cluster, and answers with the reference's texts.
import Base
import Engine
import Gossip
import HashSlots
import RESP
import Storage

extension Registry {
    mutating func registerSlotChanges() {
        command(
            "addslots", of: "cluster", since: "3.0.0", arity: -3, [.noAsyncLoading, .admin, .stale],
            syntax: "slot:integer...",
            summary: "Assign new hash slots to receiving node",
            complexity: "O(N) where N is the total number of hash slot arguments"
        ) { addSlots(Call($0)) }

        command(
            "addslotsrange", of: "cluster", since: "7.0.0", arity: -4,
            [.noAsyncLoading, .admin, .stale],
            syntax: "<start-slot_end-slot: start-slot:integer end-slot:integer>...",
            summary: "Assign new hash slots to receiving node",
            complexity: """
            O(N) where N is the total number of the slots between the start slot and end slot \
            arguments.
            """
        ) { addSlotRanges(Call($0)) }

        command(
            "delslots", of: "cluster", since: "3.0.0", arity: -3, [.noAsyncLoading, .admin, .stale],
            syntax: "slot:integer...",
            summary: "Set hash slots as unbound in receiving node",
            complexity: "O(N) where N is the total number of hash slot arguments"
        ) { deleteSlots(Call($0)) }

        command(
            "delslotsrange", of: "cluster", since: "7.0.0", arity: -4,
            [.noAsyncLoading, .admin, .stale],
            syntax: "<start-slot_end-slot: start-slot:integer end-slot:integer>...",
            summary: "Set hash slots as unbound in receiving node",
            complexity: """
            O(N) where N is the total number of the slots between the start slot and end slot \
            arguments.
            """
        ) { deleteSlotRanges(Call($0)) }

        command(
            "flushslots", of: "cluster", since: "3.0.0", arity: 2,
            [.noAsyncLoading, .admin, .stale],
            summary: "Delete a node's own slots information",
            complexity: "O(1)"
        ) { flushSlots(Call($0)) }

        command(
            "setslot", of: "cluster", since: "3.0.0", arity: -4, [.noAsyncLoading, .admin, .stale],
            syntax: """
            slot:integer <subcommand: IMPORTING node-id|MIGRATING node-id|NODE node-id|STABLE>
            """,
            summary: "Bind a hash slot to a specific node",
            complexity: "O(1)"
        ) { setSlot(Call($0)) }
    }

    mutating func registerMemberChanges() {
        command(
            "bumpepoch", of: "cluster", since: "3.0.0", arity: 2, [.noAsyncLoading, .admin, .stale],
            summary: "Advance the cluster config epoch",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { bumpEpoch(Call($0)) }

        command(
            "failover", of: "cluster", since: "3.0.0", arity: -2, [.noAsyncLoading, .admin, .stale],
            syntax: "[options: FORCE|TAKEOVER]",
            summary: "Forces a replica to perform a manual failover of its master.",
            complexity: "O(1)"
        ) { clusterFailover(Call($0)) }

        command(
            "forget", of: "cluster", since: "3.0.0", arity: 3, [.noAsyncLoading, .admin, .stale],
            syntax: "node-id",
            summary: "Remove a node from the nodes table",
            complexity: "O(1)"
        ) { forget(Call($0)) }

        command(
            "meet", of: "cluster", since: "3.0.0", arity: -4, [.noAsyncLoading, .admin, .stale],
            syntax: "ip port:integer [cluster_bus_port:integer]{4.0.0}",
            summary: "Force a node cluster to handshake with another node",
            complexity: "O(1)",
            history: "4.0.0 Added the optional `cluster_bus_port` argument."
        ) { meet(Call($0)) }

        command(
            "replicate", of: "cluster", since: "3.0.0", arity: 3, [.noAsyncLoading, .admin, .stale],
            syntax: "node-id",
            summary: "Reconfigure a node as a replica of the specified master node",
            complexity: "O(1)"
        ) { clusterReplicate(Call($0)) }

        command(
            "reset", of: "cluster", since: "3.0.0", arity: -2, [.admin, .stale, .noScript],
            syntax: "[hard_soft: HARD|SOFT]",
            summary: "Reset a Redis Cluster node",
            complexity: """
            O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a \
            side effect.
            """
        ) { resetNode(Call($0)) }

        command(
            "saveconfig", of: "cluster", since: "3.0.0", arity: 2,
            [.noAsyncLoading, .admin, .stale],
            summary: "Forces the node to save cluster state on disk",
            complexity: "O(1)"
        ) { saveConfig(Call($0)) }

        command(
            "set-config-epoch", of: "cluster", since: "3.0.0", arity: 3,
            [.noAsyncLoading, .admin, .stale],
            syntax: "config-epoch:integer",
            summary: "Set the configuration epoch in a new node",
            complexity: "O(1)"
        ) { setConfigEpoch(Call($0)) }
    }
}

/// Has the machine run `command` and answers with its reply.
private func run(_ command: ClusterCommand, _ call: Call, _ node: NodePointer) {
    switch node.runCluster(command, for: call.session) {
    case .ok: call.reply.ok()
    case .status(let text): call.reply.simple(text)
    case .error(let text): call.reply.error(text)
    }
}

private func runPlain(_ command: ClusterCommand, _ call: Call) {
    guard let node = clusterNodeOrReply(call) else { return }
    run(command, call, node)
}

// MARK: Slots

private func addSlots(_ call: Call) { changeSlots(call) { .addSlots($0) } }
private func deleteSlots(_ call: Call) { changeSlots(call) { .deleteSlots($0) } }
private func addSlotRanges(_ call: Call) { changeRanges(call) { .addSlots($0) } }
private func deleteSlotRanges(_ call: Call) { changeRanges(call) { .deleteSlots($0) } }

private func changeSlots(_ call: Call, _ command: ([SlotInterval]) -> ClusterCommand) {
    guard let node = clusterNodeOrReply(call) else { return }
    var intervals: [SlotInterval] = []
    for index in 2..<call.count {
        guard let slot = slotOrReply(call, index) else { return }
        intervals.append(SlotInterval(slot))
    }
    run(command(intervals), call, node)
}

private func changeRanges(_ call: Call, _ command: ([SlotInterval]) -> ClusterCommand) {
    guard let node = clusterNodeOrReply(call) else { return }
    guard call.count % 2 == 0 else { return call.refuseArity() }
    var intervals: [SlotInterval] = []
    for index in stride(from: 2, to: call.count, by: 2) {
        guard let start = slotOrReply(call, index), let end = slotOrReply(call, index + 1) else {
            return
        }
        intervals.append(SlotInterval(start, end))
    }
    run(command(intervals), call, node)
}

private func flushSlots(_ call: Call) { runPlain(.flushSlots, call) }

private func setSlot(_ call: Call) {
    guard let node = clusterNodeOrReply(call) else { return }
    if node.pointee.cluster?.isReplica == true {
        return call.reply.error("ERR Please use SETSLOT only with masters.")
    }
    guard let slot = slotOrReply(call, 2) else { return }
    let action = call[3]
    if call.count == 4, action.matches("stable") { return run(.setSlotStable(slot), call, node) }
    if call.count == 5 {
        let name = call[4].string
        if action.matches("migrating") {
            return run(.setSlotMigrating(slot, to: name), call, node)
        }
        if action.matches("importing") {
            return run(.setSlotImporting(slot, from: name), call, node)
        }
        if action.matches("node") {
            let keys = call.keyspace.count(inSlot: slot)
            return run(.setSlotNode(slot, node: name, keysInSlot: keys), call, node)
        }
    }
    call.reply.error(
        "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP")
}

// MARK: Members

private func meet(_ call: Call) {
    guard let node = clusterNodeOrReply(call) else { return }
    guard call.count <= 5 else { return refuseClusterSyntax(call) }
    guard let port = call[3].decimal else {
        return call.reply.error("ERR Invalid TCP base port specified: \(call[3].string)")
    }
    var busPort: Int64?
    if call.count == 5 {
        guard let number = call[4].decimal else {
            return call.reply.error("ERR Invalid TCP bus port specified: \(call[4].string)")
        }
        busPort = number
    }
    run(.meet(host: call[2].string, port: port, busPort: busPort), call, node)
}

private func forget(_ call: Call) { runPlain(.forget(call[2].string), call) }

private func clusterReplicate(_ call: Call) { runPlain(.replicate(call[2].string), call) }

private func clusterFailover(_ call: Call) {
    guard let node = clusterNodeOrReply(call) else { return }
    guard call.count <= 3 else { return refuseClusterSyntax(call) }
    var kind = FailoverKind.coordinated
    if call.count == 3 {
        if call[2].matches("force") {
            kind = .force
        } else if call[2].matches("takeover") {
            kind = .takeover
        } else {
            return call.reply.error(.syntax)
        }
    }
    run(.failover(kind), call, node)
}

private func resetNode(_ call: Call) {
    guard let node = clusterNodeOrReply(call) else { return }
    guard call.count <= 3 else { return refuseClusterSyntax(call) }
    let isHard = call.count == 3 && call[2].matches("hard")
    if call.count == 3, !isHard, !call[2].matches("soft") { return call.reply.error(.syntax) }
    run(.reset(hard: isHard), call, node)
}

// MARK: Epochs and the file

private func bumpEpoch(_ call: Call) { runPlain(.bumpEpoch, call) }

private func setConfigEpoch(_ call: Call) {
    guard let node = clusterNodeOrReply(call), let epoch = call.integerOrReply(2) else { return }
    run(.setConfigEpoch(epoch), call, node)
}

private func saveConfig(_ call: Call) { runPlain(.saveConfig, call) }
