// The lines of sentinel.conf about monitored clusters. redis-sentinel does not know them; a file
// without `monitor-cluster` has none.
import Base

/// A line that could not be understood.
struct ConfigurationProblem {
    /// nil when the line was taken.
    var text: String?
}

extension SentinelState {
    func clusterLines(_ cluster: MonitoredCluster) -> [SentinelConf.Line] {
        var lines: [SentinelConf.Line] = []
        let seed = cluster.seed
        let host = seed.isName ? seed.hostname : announced(seed)
        lines.append(
            .about(
                cluster.name, "monitor-cluster",
                [host, "\(seed.port)", "\(cluster.template.quorum)"]))
        lines += optionLines(of: cluster.template)
        lines += renameLines(of: cluster.template)
        for peer in cluster.peers.values {
            lines.append(
                .about(
                    cluster.name, "known-cluster-node",
                    [peer.address.ip, "\(peer.address.port)"]))
        }
        return lines
    }

    /// `monitor-cluster NAME host port quorum`; what is wrong with it, or nil.
    mutating func configureCluster(
        _ words: [String], _ resolve: (String) -> String?
    ) -> String? {
        guard words.count == 5 else { return "Unrecognized sentinel configuration statement." }
        guard let quorum = Int(words[4]), quorum > 0 else {
            return "Quorum must be 1 or greater."
        }
        if let problem = Self.problem(ofClusterName: words[1]) { return problem }
        learn(words[2], resolve)
        do throws(CreateFailure) {
            try createCluster(words[1], words[2], Int(words[3]) ?? -1, quorum: quorum)
            return nil
        } catch {
            return error.text(.primary)
        }
    }

    static func problem(ofClusterName name: String) -> String? {
        let isPlain = !name.isEmpty && name.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != 47 }
        return isPlain ? nil : "A cluster's name must not contain spaces or slashes."
    }

    /// Lines that only a cluster has. nil for those that it shares with a primary.
    mutating func configureClusterState(_ words: [String]) -> ConfigurationProblem? {
        guard words[0].lowercased() == "known-cluster-node" else { return nil }
        guard let ip = IPAddress.normalized(words[2]), let port = Int(words[3]),
            (1...65535).contains(port)
        else { return ConfigurationProblem(text: "Wrong address for a cluster node.") }
        let address = SentinelAddress(hostname: ip, ip: ip, port: port)
        let peer = ClusterPeer(address: address, now: instant)
        clusters.update(words[1]) { $0.peers[peer.key] = peer }
        return ConfigurationProblem(text: nil)
    }

    /// New settings for a cluster and all its shards.
    mutating func configureCluster(_ name: String, like template: MonitoredPrimary) {
        clusters.update(name) { $0.template = template }
        for id in clusters[name]?.shards.values ?? [] {
            self[primary: id].configure(like: template)
        }
    }

    // MARK: Commands

    mutating func monitorCluster(
        _ name: String, _ host: String, _ port: Int, _ quorum: Int
    ) -> SentinelReply {
        guard quorum > 0 else { return .error("ERR Quorum must be 1 or greater.") }
        if let problem = Self.problem(ofClusterName: name) { return .error("ERR \(problem)") }
        do throws(CreateFailure) {
            try createCluster(name, host, port, quorum: quorum)
        } catch {
            if error == .unresolvable {
                return .error("ERR Invalid IP address or hostname specified")
            }
            return .error("ERR \(error.text(.primary))")
        }
        save()
        announceCluster(name)
        return .okWhenSaved
    }

    mutating func announceCluster(_ name: String) {
        guard let cluster = clusters[name] else { return }
        plainEvent(
            .warning, "+monitor-cluster",
            "\(name) \(cluster.seed.hostname) \(cluster.seed.port) quorum "
                + "\(cluster.template.quorum)")
    }

    mutating func forgetCluster(_ name: String) -> SentinelReply {
        plainEvent(.warning, "-monitor-cluster", name)
        removeCluster(name)
        save()
        return .okWhenSaved
    }

    /// SENTINEL FAILOVER of a shard: its best replica is asked to take over, in the cluster's way.
    mutating func failOverShard(_ id: InstanceID) -> SentinelReply {
        let replicas = self[primary: id].replicas.filter { replica in
            !self[replica].isDown && !self[link: self[replica].link].isDisconnected
        }
        let best = replicas.max { self[$0].offset < self[$1].offset }
        guard let best else { return .error("NOGOODSLAVE No suitable replica to promote") }
        note(.warning, "Executing user requested FAILOVER of '\(self[id].name)'")
        ask(best, .discard, [name(of: "CLUSTER", for: best), "FAILOVER"])
        return .ok
    }
}
