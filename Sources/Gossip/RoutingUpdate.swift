// The cluster's view for the command path: fills the routing table after `routingChanged`.
import Base
import HashSlots

extension ClusterState {
    /// Brings `table` up to date. Its node indices are valid until the next call.
    public func fillRouting(into table: inout RoutingTable) {
        let handles = nodes.handles
        var index = [Int](repeating: 0, count: nodes.capacity)
        var endpoints: [RoutingEndpoint] = []
        endpoints.reserveCapacity(handles.count)
        for (position, handle) in handles.enumerated() {
            index[handle.index] = position
            endpoints.append(routingEndpoint(of: handle))
        }
        table.begin(nodes: endpoints, myself: index[NodeTable.myself.index])
        for run in ownership.runs {
            let owner = index[run.owner.index]
            for slot in run.slots { table.setOwner(of: Slot(hash: UInt16(slot)), to: owner) }
        }
        for (slot, target) in ownership.migrating {
            table.setMigrating(slot, to: index[target.index])
        }
        for (slot, source) in ownership.importing {
            table.setImporting(slot, from: index[source.index])
        }
        var facts = RoutingFacts()
        facts.clusterIsUp = isUp
        facts.allowsReadsWhenDown = config.allowsReadsWhenDown && !emptyStart.isWaiting
        facts.allowsShardPubSubWhenDown = config.allowsShardPubSubWhenDown
        facts.isReplica = me.isReplica
        facts.primary = me.primary.map { index[$0.index] }
        table.finish(facts)
    }

    private func routingEndpoint(of handle: NodeHandle) -> RoutingEndpoint {
        let record = nodes[handle]
        let host = preferredEndpoint(of: record)
        let first = config.usesTLS ? record.tlsPort : record.tcpPort
        let second = config.usesTLS ? record.tcpPort : record.tlsPort
        let other = second == 0 ? first : second
        return RoutingEndpoint(
            text: Array("\(host):\(first)".utf8), otherText: Array("\(host):\(other)".utf8))
    }

    func preferredEndpoint(of record: NodeRecord) -> String {
        switch config.preferredEndpoint {
        case .ip: record.ip
        case .hostname: record.hostname.isEmpty ? "?" : record.hostname
        case .unknownEndpoint: ""
        }
    }
}
