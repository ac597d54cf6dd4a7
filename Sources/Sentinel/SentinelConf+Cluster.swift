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
        let state = cluster.voting
        if state != VotingState() {
            lines.append(
                .about(
                    cluster.name, "cluster-vote",
                    [
                        "\(state.epoch)", "\(state.lastVote)", "\(state.promise)",
                        state.against.isEmpty ? "-" : state.against.joined(separator: ","),
                    ]))
            let members = state.set.isEmpty ? "-" : state.set.joined(separator: ",")
            lines.append(.about(cluster.name, "cluster-voters", ["\(state.setVersion)", members]))
        }
        if cluster.isLeaving { lines.append(.about(cluster.name, "cluster-leaving", ["yes"])) }
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
        let name = words[1]
        switch words[0].lowercased() {
        case "known-cluster-node":
            guard let ip = IPAddress.normalized(words[2]), let port = Int(words[3]),
                (1...65535).contains(port)
            else { return ConfigurationProblem(text: "Wrong address for a cluster node.") }
            let address = SentinelAddress(hostname: ip, ip: ip, port: port)
            let peer = ClusterPeer(address: address, now: instant)
            clusters.update(name) { $0.peers[peer.key] = peer }
        case "cluster-vote": return configureVote(name, words)
        case "cluster-voters":
            guard let version = PulseReply.epoch(words[2]), let set = PulseReply.voters(words[3])
            else { return ConfigurationProblem(text: "Wrong voters of a cluster.") }
            clusters.update(name) { cluster in
                cluster.voting.setVersion = version
                cluster.voting.set = set
                cluster.durable = cluster.voting
            }
        case "cluster-leaving": clusters.update(name) { $0.isLeaving = true }
        default: return nil
        }
        return ConfigurationProblem(text: nil)
    }

    /// The vote of an earlier process holds: not twice in its epoch, and no lease for the primary
    /// that it was against before the candidate must have stopped counting.
    private mutating func configureVote(_ name: String, _ words: [String]) -> ConfigurationProblem {
        guard let epoch = PulseReply.epoch(words[2]), let vote = PulseReply.epoch(words[3]),
            let promise = PulseReply.epoch(words[4]),
            let against = PulseReply.voters(words[5])
        else { return ConfigurationProblem(text: "Wrong votes in a cluster.") }
        var watch = NodeWatch(now: instant)
        watch.withheldUntil = instant + MonitoredCluster.attemptLimit(nil)
        clusters.update(name) { cluster in
            cluster.voting.epoch = epoch
            cluster.voting.lastVote = vote
            cluster.voting.promise = promise
            cluster.voting.against = against
            for id in against { cluster.watches[id] = watch }
            cluster.durable = cluster.voting
        }
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

    /// A voter leaves the set first, and goes on voting until it is out. Asked a second time it
    /// forgets the cluster at once: the cluster may be gone.
    mutating func forgetCluster(_ name: String) -> SentinelReply {
        guard let cluster = clusters[name] else { return Self.unknownName }
        if cluster.voting.set.contains(myID), !cluster.isLeaving {
            dropShards(of: name)
            clusters.update(name) { $0.isLeaving = true }
            plainEvent(.warning, "+cluster-leave", name)
        } else {
            plainEvent(.warning, "-monitor-cluster", name)
            removeCluster(name)
        }
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
