// Is the cluster whole? Every node runs and serves, all agree on every slot, every replica follows
// its primary's stream; and, at rest, holds the same data.
import Base
import Engine
import Gossip
import HashSlots
import NodeCore
import Replication
import Storage

enum Convergence {
    /// What is not as it should be, or nil.
    static func problem(of world: Simulation) -> String? {
        for owner in world.nodes {
            guard owner.isRunning, let node = owner.node else {
                return "node \(owner.index) does not run"
            }
            if node.isShuttingDown { return "node \(owner.index) is shutting down" }
            if let problem = health(of: owner, node, world) { return problem }
        }
        return epochClash(in: world) ?? disagreement(in: world)
    }

    private static func health(
        of owner: SimNode, _ node: NodePointer, _ world: Simulation
    ) -> String? {
        let name = "node \(owner.index)"
        guard let isUp = node.pointee.cluster?.isUp, isUp else { return "\(name) says CLUSTERDOWN" }
        for other in world.nodes {
            guard let id = other.node?.pointee.cluster?.myID else {
                return "node \(other.index) is down"
            }
            guard let flags = node.pointee.cluster?.flags(of: id) else {
                return "\(name) does not know node \(other.index)"
            }
            if !flags.isDisjoint(with: [.possiblyFailed, .failed, .handshake]) {
                return "\(name) sees node \(other.index) as \(flags.text)"
            }
        }
        guard let isReplica = node.pointee.cluster?.isReplica, isReplica == node.isReplica else {
            return "\(name) is of two minds about its role"
        }
        guard isReplica else { return nil }
        guard node.pointee.upstream.phase == .streaming else {
            return "\(name) has no stream from its primary (\(node.pointee.upstream.phase))"
        }
        guard let primary = primary(of: node, in: world), let theirs = primary.node,
            !theirs.isReplica
        else { return "\(name) follows a node that is no primary" }
        let followed = node.pointee.upstream.primary
        guard followed?.port == primary.port else {
            return "\(name) follows another node than its primary"
        }
        return nil
    }

    static func primary(of node: NodePointer, in world: Simulation) -> SimNode? {
        guard let id = node.pointee.cluster?.myPrimaryID else { return nil }
        return world.nodes.first { $0.node?.pointee.cluster?.myID == id }
    }

    /// Two primaries with slots under one config epoch.
    private static func epochClash(in world: Simulation) -> String? {
        var owners = SortedTable<UInt64, Int>()
        for owner in world.nodes {
            guard let cluster = owner.node?.pointee.cluster, !cluster.isReplica,
                !cluster.mySlots.isEmpty, let epoch = cluster.configEpoch(of: cluster.myID)
            else { continue }
            if let other = owners[epoch] {
                return "nodes \(other) and \(owner.index) share config epoch \(epoch)"
            }
            owners[epoch] = owner.index
        }
        return nil
    }

    /// A slot with no owner, two, or different ones in the eyes of different nodes.
    private static func disagreement(in world: Simulation) -> String? {
        var owned = SlotSet()
        for owner in world.nodes {
            guard let cluster = owner.node?.pointee.cluster else { continue }
            let slots = cluster.mySlots
            if owned.count + slots.count > Slot.count { return "a slot has two owners" }
            owned.formUnion(slots)
            let id = cluster.myID
            for other in world.nodes where other !== owner {
                guard let view = other.node?.pointee.cluster else { continue }
                var missing = slots
                if let known = view.slots(of: id) { missing.subtract(known) }
                if let first = missing.ranges.first?.lowerBound {
                    return "node \(other.index) says that slot \(first) is not node "
                        + "\(owner.index)'s"
                }
            }
        }
        return owned.count == Slot.count ? nil : "\(Slot.count - owned.count) slots have no owner"
    }

    // MARK: Data

    /// Replicas hold what their primary holds.
    static func difference(in world: Simulation) -> String? {
        for owner in world.nodes {
            guard let node = owner.node, node.isReplica,
                let primary = primary(of: node, in: world), let theirs = primary.node
            else { continue }
            if digest(of: node) != digest(of: theirs) {
                return "replica \(owner.index) differs from primary \(primary.index): "
                    + "\(node.executor.pointee.keyspace.count(database: 0)) keys against "
                    + "\(theirs.executor.pointee.keyspace.count(database: 0))"
            }
        }
        return nil
    }

    static func digest(of node: NodePointer) -> [UInt8] {
        let size = DigestMixer.size
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            node.executor.pointee.keyspace.digest(to: base)
            count = size
        }
    }

    /// The node that serves a slot now.
    static func owner(of slot: Slot, in world: Simulation) -> SimNode? {
        world.nodes.first { $0.node?.pointee.cluster?.mySlots.contains(slot) ?? false }
    }
}
