// Who owns which slot, and how that changes: by claims that carry a higher config epoch, by
// commands, by failover. The rule is the reference's, so that mixed clusters converge: a claim
// wins when nobody owns the slot (or its owner stopped claiming it) or when the claim's epoch is
// greater; a slot that is being imported changes hands by command only, or within the shard that it
// comes from.
import Base
import HashSlots

struct SlotOwnership: Sendable {
    /// Node handle + 1 by slot; 0 for nobody.
    private var owners = [UInt16](repeating: 0, count: Slot.count)
    /// Slots whose owner no longer claims them in its own packets: never repeated in an UPDATE.
    var notClaimed = SlotSet()
    var migrating = SortedTable<Slot, NodeHandle>()
    var importing = SortedTable<Slot, NodeHandle>()
    /// What the end of the step reports.
    var changed = SlotSet()
    var shardLost = SlotSet()

    func owner(of slot: Slot) -> NodeHandle? {
        let stored = owners[Int(slot.index)]
        return stored == 0 ? nil : NodeHandle(index: Int(stored) - 1)
    }

    /// The maximal runs of slots with one owner, ascending.
    var runs: [(owner: NodeHandle, slots: ClosedRange<Int>)] {
        var out: [(owner: NodeHandle, slots: ClosedRange<Int>)] = []
        var start = 0
        while start < Slot.count {
            let stored = owners[start]
            let end = owners[start...].firstIndex { $0 != stored } ?? Slot.count
            if stored != 0 { out.append((NodeHandle(index: Int(stored) - 1), start...(end - 1))) }
            start = end
        }
        return out
    }

    mutating func setOwner(of slots: SlotSet, to node: NodeHandle?) {
        let stored = node.map { UInt16($0.index + 1) } ?? 0
        for slot in slots.slots { owners[Int(slot.index)] = stored }
        notClaimed.subtract(slots)
        changed.formUnion(slots)
    }

    mutating func closeAll() {
        migrating.removeAll()
        importing.removeAll()
    }
}

extension ClusterState {
    /// Gives `slots` to `node`, or to nobody, whoever had them before.
    mutating func move(_ slots: SlotSet, to node: NodeHandle?) {
        if slots.isEmpty { return }
        for owner in nodes.handles where owner != node && !nodes[owner].slots.isEmpty {
            var leaving = nodes[owner].slots
            leaving.formIntersection(slots)
            if leaving.isEmpty { continue }
            nodes[owner].slots.subtract(leaving)
            let isMyShard = owner == NodeTable.myself || me.primary == owner
            if isMyShard { ownership.shardLost.formUnion(leaving) }
        }
        if let node {
            // A primary's first slot makes it a target for spare replicas, if there are any.
            if nodes[node].slots.isEmpty, primariesHaveReplicas {
                nodes[node].flags.insert(.migrateTo)
            }
            nodes[node].slots.formUnion(slots)
        }
        ownership.setOwner(of: slots, to: node)
        todo.insert(.routing)
    }

    mutating func move(_ slot: Slot, to node: NodeHandle?) {
        var slots = SlotSet()
        slots.insert(slot)
        move(slots, to: node)
    }

    mutating func removeSlots(of node: NodeHandle) { move(nodes[node].slots, to: nil) }

    private var primariesHaveReplicas: Bool {
        nodes.handles.contains { !nodes[$0].isReplica && !nodes[$0].replicas.isEmpty }
    }

    /// True when a claim needs no higher epoch: nobody owns the slot, or its owner gave it up.
    func isUnclaimed(_ slot: Slot) -> Bool {
        ownership.owner(of: slot) == nil || ownership.notClaimed.contains(slot)
    }

    /// The source of an import died and this is who took over its shard: the import goes on from
    /// there. Else the importing node would wait for the dead one, and call the cluster down.
    private func isHeir(_ node: NodeHandle, of source: NodeHandle) -> Bool {
        node != source && nodes[node].shard == nodes[source].shard
    }

    /// `node` claims `claims` under `epoch`: takes over what is newer than what is known, and
    /// follows when that concerns this node or its primary.
    mutating func updateSlots(claimedBy node: NodeHandle, epoch: UInt64, _ claims: SlotSet) {
        if node == NodeTable.myself { return log(.notice, .updateAboutMyself) }
        let shard = me.isPrimary ? NodeTable.myself : me.primary
        var confirmed = claims
        confirmed.formIntersection(nodes[node].slots)
        ownership.notClaimed.subtract(confirmed)
        var wanted = claims
        wanted.subtract(confirmed)
        var taken = SlotSet()
        for slot in wanted.slots {
            if let source = ownership.importing[slot], !isHeir(node, of: source) { continue }
            if let owner = ownership.owner(of: slot), nodes[owner].configEpoch >= epoch,
                !ownership.notClaimed.contains(slot)
            {
                continue
            }
            taken.insert(slot)
        }
        var lost = taken
        lost.formIntersection(me.slots)
        var takenFromShard = 0
        if let shard {
            var common = taken
            common.formIntersection(nodes[shard].slots)
            takenFromShard = common.count
        }
        if !taken.isEmpty {
            move(taken, to: node)
            for slot in taken.slots where ownership.importing.contains(slot) {
                ownership.importing[slot] = node
            }
            todo.insert([.save, .sync, .updateState])
        }
        // What it owned and no longer claims stays bound to it: clients are better off with one
        // redirection too many than with an error.
        var unclaimed = nodes[node].slots
        unclaimed.subtract(claims)
        ownership.notClaimed.formUnion(unclaimed)
        let isShardEmpty = shard.map { nodes[$0].slots.isEmpty } ?? false
        follow(
            node, lost: lost, lostAll: takenFromShard > 0 && isShardEmpty,
            claimIsOurs: claims.count == takenFromShard)
        if manual.isHandover, me.slots.isEmpty { endHandover() }
    }

    /// After a claim: a primary left without slots, or a replica of one, follows the new owner.
    private mutating func follow(
        _ node: NodeHandle, lost: SlotSet, lostAll: Bool, claimIsOurs: Bool
    ) {
        if lostAll, config.allowsReplicaMigration || claimIsOurs {
            log(.notice, .becameReplica(of: nodes[node].id))
            becomeReplica(of: node)
            return
        }
        // A primary may turn replica when it loses its last slot to nobody in particular: its
        // replicas then hang below a replica. Follow its primary, unless that is this node.
        if let primary = me.primary, let grand = nodes[primary].primary, grand != NodeTable.myself {
            log(.notice, .subReplica(of: nodes[grand].id))
            becomeReplica(of: grand)
            return
        }
        // Still a primary, but these slots are another's now: keys and slots must agree.
        if !lost.isEmpty { act(.deleteKeys(lost)) }
    }

    /// Makes this node a replica of `node` (which it may be already).
    mutating func becomeReplica(of node: NodeHandle) {
        invariant(node != NodeTable.myself, "a node cannot replicate itself")
        invariant(me.slots.isEmpty, "a replica must own no slot")
        let wasHandingOver = manual.isHandover
        if me.isPrimary {
            act(.authorityLost)
            me.flags.remove([.primary, .migrateTo])
            me.flags.insert(.replica)
            ownership.closeAll()
        } else if let old = me.primary {
            removeReplica(NodeTable.myself, of: old)
        }
        me.primary = node
        addReplica(NodeTable.myself, of: node)
        setShard(of: NodeTable.myself, to: nodes[node].shard)
        resetManualFailover()
        election = Election()
        replicateFromPrimary()
        if wasHandingOver { endHandover() }
        todo.insert([.save, .sync, .updateState, .routing])
    }

    /// Tells the driver whom to replicate. Repeated whenever the address changes.
    mutating func replicateFromPrimary() {
        guard let primary = me.primary, nodes[primary].hasAddress else { return }
        let node = nodes[primary]
        health.replicationTarget = node.id
        act(.replicate(from: node.id, host: node.ip, port: clientPort(of: primary)))
    }

    mutating func addReplica(_ replica: NodeHandle, of primary: NodeHandle) {
        guard !nodes[primary].replicas.contains(replica) else { return }
        nodes[primary].replicas.append(replica)
        nodes[primary].flags.insert(.migrateTo)
    }

    mutating func removeReplica(_ replica: NodeHandle, of primary: NodeHandle) {
        nodes[primary].replicas.removeAll { $0 == replica }
        if nodes[primary].replicas.isEmpty { nodes[primary].flags.remove(.migrateTo) }
    }

    /// A node that was a replica (or unknown) is a primary now.
    mutating func setAsPrimary(_ node: NodeHandle) {
        if nodes[node].isPrimary { return }
        if let old = nodes[node].primary {
            removeReplica(node, of: old)
            if node != NodeTable.myself { nodes[node].flags.insert(.migrateTo) }
        }
        nodes[node].flags.remove(.replica)
        nodes[node].flags.insert(.primary)
        nodes[node].primary = nil
        todo.insert([.save, .updateState, .routing])
    }

    mutating func setShard(of node: NodeHandle, to shard: NodeID) {
        guard nodes[node].shard != shard else { return }
        nodes[node].shard = shard
        todo.insert(.save)
        if me.primary == node, me.shard != shard {
            me.shard = shard
            todo.insert(.sync)
        }
    }

    /// The keys that were loaded must belong to slots that this node owns or imports.
    mutating func reconcile(slotsWithKeys: SlotSet) {
        if me.isReplica { return }
        for slot in slotsWithKeys.slots {
            let owner = ownership.owner(of: slot)
            if owner == NodeTable.myself || ownership.importing.contains(slot) { continue }
            if let owner {
                log(.notice, .keysInForeignSlot(slot))
                ownership.importing[slot] = owner
            } else {
                log(.notice, .keysInUnassignedSlot(slot))
                move(slot, to: NodeTable.myself)
            }
            todo.insert([.save, .sync, .updateState, .routing])
        }
    }
}
