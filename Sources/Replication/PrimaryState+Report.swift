// INFO replication and ROLE, as the reference prints them.
import Base

extension PrimaryState {
    /// The lines of INFO replication after the role (and the link, for a replica), each with CRLF.
    public func infoLines(
        history: ReplicationHistory, failover: FailoverState, at now: Instant
    ) -> String {
        var text = "connected_slaves:\(replicas.count)\r\n"
        if config.minReplicasToWrite > 0, config.minReplicasMaxLag > .zero {
            text += "min_slaves_good_slaves:\(goodReplicas(at: now))\r\n"
        }
        for (index, record) in replicas.enumerated() {
            text += "slave\(index):ip=\(record.address.host),port=\(record.address.port),"
            text += "state=\(record.state.name),offset=\(record.acknowledged),"
            text += "lag=\(record.lag(at: now))\r\n"
        }
        let backlog = history.backlog
        text += """
            master_failover_state:\(failover.name)\r
            master_replid:\(history.id)\r
            master_replid2:\(history.secondID)\r
            master_repl_offset:\(history.offset)\r
            second_repl_offset:\(history.secondOffset)\r
            repl_backlog_active:\(backlog == nil ? 0 : 1)\r
            repl_backlog_size:\(backlog?.capacity ?? config.backlogSize)\r
            repl_backlog_first_byte_offset:\(backlog?.first ?? 0)\r
            repl_backlog_histlen:\(backlog?.length ?? 0)\r\n
            """
        return text
    }

    /// ROLE's list on a primary: the online replicas.
    public var roleReplicas: [ReplicaRecord] { replicas.filter(\.isOnline) }

    /// The replicas as FAILOVER sees them.
    public var failoverCandidates: [FailoverCoordinator.Candidate] {
        replicas.map {
            FailoverCoordinator.Candidate(
                address: $0.address, isOnline: $0.isOnline, acknowledged: $0.acknowledged)
        }
    }
}
