// A spare replica moves to a primary that lost all of its own. As in the reference: only while the
// cluster is up, only from a primary that keeps `cluster-migration-barrier` working replicas, only
// to one that had replicas before and has been without for 5 s, and of all candidates only the one
// with the smallest ID.
import Base
import HashSlots

extension ClusterState {
    private static let orphanDelay = Milliseconds(5000)

    mutating func considerMigration() {
        guard let primary = me.primary else { return }
        var orphans = 0
        var most = 0
        for node in nodes.handles where nodes[node].isPrimary && !nodes[node].isFailed {
            let working = workingReplicas(of: node)
            most = max(most, working)
            if working == 0, !nodes[node].slots.isEmpty, nodes[node].flags.contains(.migrateTo) {
                orphans += 1
            }
        }
        let mine = nodes[primary].isFailed ? 0 : workingReplicas(of: primary)
        guard orphans > 0, most >= 2, mine == most, config.allowsReplicaMigration else { return }
        migrate(from: primary, most: most)
    }

    private func workingReplicas(of primary: NodeHandle) -> Int {
        nodes[primary].replicas.reduce(0) { $0 + (nodes[$1].isFailed ? 0 : 1) }
    }

    private mutating func migrate(from primary: NodeHandle, most: Int) {
        guard isUp else { return }
        let healthy = nodes[primary].replicas.filter { nodes[$0].isReachable }.count
        guard healthy > config.migrationBarrier else { return }
        var target: NodeHandle?
        var candidate = NodeTable.myself
        for node in nodes.handles {
            let isCandidateShard = nodes[node].isPrimary && workingReplicas(of: node) == most
            if isOrphaned(node) {
                if target == nil, !nodes[node].slots.isEmpty { target = node }
                if nodes[node].orphanedSince == nil { nodes[node].orphanedSince = now.instant }
            } else {
                nodes[node].orphanedSince = nil
            }
            guard isCandidateShard else { continue }
            for replica in nodes[node].replicas where nodes[replica].id < nodes[candidate].id {
                candidate = replica
            }
        }
        guard let target, candidate == NodeTable.myself,
            let since = nodes[target].orphanedSince,
            now.instant - since > ClusterState.orphanDelay
        else { return }
        log(.notice, .migrating(to: nodes[target].id))
        becomeReplica(of: target)
    }

    private func isOrphaned(_ node: NodeHandle) -> Bool {
        nodes[node].isPrimary && !nodes[node].isFailed && nodes[node].flags.contains(.migrateTo)
            && workingReplicas(of: node) == 0
    }
}
