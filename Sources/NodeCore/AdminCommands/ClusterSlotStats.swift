// CLUSTER SLOT-STATS of Valkey 8.0: what each slot of this node's shard holds and has cost. Keys
// are always counted; processor time and traffic only with `cluster-slot-stats-enabled`.
import Base
import Engine
import Gossip
import HashSlots
import RESP
import Storage

extension Registry {
    mutating func registerSlotStats() {
        command(
            "slot-stats", of: "cluster", since: "8.0.0", arity: -4, [.loading, .stale],
            syntax: """
            <filter: SLOTSRANGE <slotsrange: start-slot:integer end-slot:integer>|\
            ORDERBY <orderby: metric [LIMIT limit:integer] [order: ASC|DESC]>>
            """,
            summary: """
            Return an array of slot usage statistics for slots assigned to the current node.
            """,
            complexity: """
            O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY \
            subcommand.
            """,
            tips: """
            nondeterministic_output
            request_policy:all_shards
            """
        ) { slotStats(Call($0)) }
    }
}

private enum Metric {
    case keys, time, bytesIn, bytesOut

    init?(word: Bytes, hasUsage: Bool) {
        if word.matches("key-count") {
            self = .keys
        } else if hasUsage, word.matches("cpu-usec") {
            self = .time
        } else if hasUsage, word.matches("network-bytes-in") {
            self = .bytesIn
        } else if hasUsage, word.matches("network-bytes-out") {
            self = .bytesOut
        } else {
            return nil
        }
    }

    func value(_ call: Call, _ slot: Slot) -> UInt64 {
        let usage = call.executor.usage(of: slot)
        return switch self {
        case .keys: UInt64(call.keyspace.count(inSlot: slot))
        case .time: usage.microseconds
        case .bytesIn: usage.bytesIn
        case .bytesOut: usage.bytesOut
        }
    }
}

private func slotStats(_ call: Call) {
    guard let node = clusterNodeOrReply(call), let cluster = node.pointee.cluster else { return }
    if call.count == 5, call[2].matches("slotsrange") {
        guard let first = slotOrReply(call, 3), let last = slotOrReply(call, 4) else { return }
        guard first.index <= last.index else {
            return call.reply.error(
                "ERR Start slot number \(first.index) is greater than end slot number "
                    + "\(last.index)")
        }
        let range = first.index...last.index
        reply(call, shardSlots(cluster).filter { range.contains($0.index) })
    } else if call[2].matches("orderby") {
        orderBy(call, cluster)
    } else {
        refuseClusterSyntax(call)
    }
}

/// The slots of this node, or of its primary, in order.
private func shardSlots(_ cluster: ClusterState) -> [Slot] {
    (cluster.myPrimaryID.flatMap { cluster.slots(of: $0) } ?? cluster.mySlots).slots
}

private func orderBy(_ call: Call, _ cluster: ClusterState) {
    let hasUsage = call.executor.pointee.slotStats != nil
    guard let metric = Metric(word: call[3], hasUsage: hasUsage) else {
        return call.reply.error("ERR Unrecognized sort metric for ORDERBY.")
    }
    var limit = Slot.count
    var ascends = false
    var limits = 0
    var orders = 0
    var index = 4
    while index < call.count {
        if index + 1 < call.count, call[index].matches("limit") {
            guard let given = call[index + 1].decimal, given >= 1, given <= Int64(Slot.count)
            else {
                return call.reply.error(
                    "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).")
            }
            limit = Int(given)
            limits += 1
            index += 1
        } else if call[index].matches("asc") || call[index].matches("desc") {
            ascends = call[index].matches("asc")
            orders += 1
        } else {
            return call.reply.error(.syntax)
        }
        guard limits < 2, orders < 2 else {
            return call.reply.error("ERR Multiple filters of the same type are disallowed.")
        }
        index += 1
    }
    let ranked = shardSlots(cluster).map { (slot: $0, value: metric.value(call, $0)) }
    let sorted = ranked.sorted { a, b in
        guard a.value != b.value else { return a.slot.index < b.slot.index }
        return ascends ? a.value < b.value : a.value > b.value
    }
    reply(call, sorted.prefix(limit).map(\.slot))
}

private func reply(_ call: Call, _ slots: [Slot]) {
    let hasUsage = call.executor.pointee.slotStats != nil
    call.reply.array(slots.count)
    for slot in slots {
        call.reply.array(2)
        call.reply.integer(Int(slot.index))
        call.reply.map(hasUsage ? 4 : 1)
        call.reply.bulk("key-count")
        call.reply.integer(call.keyspace.count(inSlot: slot))
        guard hasUsage else { continue }
        let usage = call.executor.usage(of: slot)
        call.reply.bulk("cpu-usec")
        call.reply.integer(Int64(clamping: usage.microseconds))
        call.reply.bulk("network-bytes-in")
        call.reply.integer(Int64(clamping: usage.bytesIn))
        call.reply.bulk("network-bytes-out")
        call.reply.integer(Int64(clamping: usage.bytesOut))
    }
}
