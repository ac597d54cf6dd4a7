// CLUSTER, and the three commands by which a connection says how it wants to be redirected. The
// decisions are the cluster machine's; the handlers parse as the reference does, with its errors,
// and write what the machine answers. This file declares; `+Reports` shows, `+Changes` asks for
// changes. CLUSTER WHY is ours.
import Base
import Engine
import Gossip
import HashSlots
import RESP

extension Registry {
    mutating func registerClusterCommands() {
        group = .cluster
        command(
            "cluster", since: "3.0.0", arity: -2,
            summary: "A container for cluster commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        registerClusterReports()
        registerClusterMaps()
        registerSlotReports()
        registerSlotStats()
        registerSlotChanges()
        registerMemberChanges()
        registerVoterCommand()
        registerRedirectionModes()
    }

    private mutating func registerRedirectionModes() {
        command(
            "asking", since: "3.0.0", arity: 1, [.fast], acl: [.connection],
            summary: "Sent by cluster clients after an -ASK redirect",
            complexity: "O(1)"
        ) { asking(Call($0)) }

        command(
            "readonly", since: "3.0.0", arity: 1, [.fast, .loading, .stale], acl: [.connection],
            summary: "Enables read queries for a connection to a cluster replica node",
            complexity: "O(1)"
        ) { readOnly(Call($0)) }

        command(
            "readwrite", since: "3.0.0", arity: 1, [.fast, .loading, .stale], acl: [.connection],
            summary: "Disables read queries for a connection to a cluster replica node",
            complexity: "O(1)"
        ) { readWrite(Call($0)) }
    }
}

/// The node of a call and whether it is in cluster mode; if not, answers.
func clusterNodeOrReply(_ call: Call) -> NodePointer? {
    let node = NodePointer.of(call)
    guard node.pointee.cluster != nil else {
        call.reply.error("ERR This instance has cluster support disabled")
        return nil
    }
    return node
}

/// The reference's answer to a subcommand with too many arguments.
func refuseClusterSyntax(_ call: Call) {
    let name = call[1][0..<min(call[1].count, 128)].string
    call.reply.error(
        "ERR unknown subcommand or wrong number of arguments for '\(name)'. Try CLUSTER HELP.")
}

/// The slot at argument `index`, or nil after an error reply.
func slotOrReply(_ call: Call, _ index: Int) -> Slot? {
    if let number = call[index].decimal, let slot = Int(exactly: number).flatMap(Slot.init) {
        return slot
    }
    call.reply.error("ERR Invalid or out of range slot")
    return nil
}

// MARK: How a connection is redirected

private func asking(_ call: Call) {
    guard clusterNodeOrReply(call) != nil else { return }
    call.session.pointee.flags.insert(.asking)
    call.reply.ok()
}

private func readOnly(_ call: Call) {
    guard clusterNodeOrReply(call) != nil else { return }
    call.session.pointee.flags.insert(.readOnly)
    call.reply.ok()
}

private func readWrite(_ call: Call) {
    guard clusterNodeOrReply(call) != nil else { return }
    call.session.pointee.flags.remove(.readOnly)
    call.reply.ok()
}
