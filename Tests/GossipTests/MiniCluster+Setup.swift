// Building clusters the way an administrator does, and asking them questions.
import Base
import Gossip
import HashSlots
import Testing

extension MiniCluster {
    /// `primaries` primaries with even shares of the slots, each with `replicas` replicas: host
    /// p + k * primaries is the k-th replica of host p.
    static func formed(
        primaries: Int, replicas: Int, seed: UInt64, edit: (inout GossipConfig) -> Void = { _ in }
    ) -> MiniCluster {
        let count = primaries * (1 + replicas)
        let cluster = MiniCluster(hosts: count, seed: seed, edit: edit)
        for index in 0..<primaries {
            let first = Slot.count * index / primaries
            let last = Slot.count * (index + 1) / primaries - 1
            cluster.ok(index, .setConfigEpoch(Int64(index + 1)))
            cluster.ok(index, .addSlots([interval(first, last)]))
        }
        for index in 1..<count {
            cluster.ok(
                0, .meet(host: "127.0.0.1", port: Int64(7001 + index), busPort: nil))
        }
        let met = cluster.run(until: 10000) { cluster in
            cluster.hosts.allSatisfy { host in
                guard let state = host.state, state.knownNodes == count else { return false }
                return !state.nodesText().contains("handshake")
            }
        }
        #expect(met != nil, "the nodes must meet")
        cluster.run(500)
        for index in primaries..<count {
            cluster.ok(index, .replicate(cluster.id(index % primaries).description))
        }
        #expect(cluster.run(until: 15000) { $0.isHealthy } != nil, "the cluster must come up")
        cluster.run(1500)
        return cluster
    }

    static func interval(_ first: Int, _ last: Int) -> SlotInterval {
        SlotInterval(Slot(hash: UInt16(first)), Slot(hash: UInt16(last)))
    }

    func ok(_ index: Int, _ command: ClusterCommand, _ line: Int = #line) {
        let reply = self.command(index, command)
        #expect(reply == .ok, "line \(line): \(String(describing: reply))")
    }

    func id(_ index: Int) -> NodeID {
        guard let state = hosts[index].state else {
            Issue.record("host \(index) is down")
            var random = Prng(seed: 0)
            return NodeID(random: &random)
        }
        return state.myID
    }

    func isUp(_ index: Int) -> Bool { hosts[index].state?.isUp ?? false }
    func slots(_ index: Int) -> Int { hosts[index].state?.mySlots.count ?? 0 }
    func isReplica(_ index: Int) -> Bool { hosts[index].state?.isReplica ?? false }

    /// All live hosts agree on every owner, and are up.
    var isHealthy: Bool {
        let live = hosts.compactMap { $0.state }
        guard live.allSatisfy({ $0.isUp }) else { return false }
        for owner in live {
            let slots = owner.mySlots
            guard live.allSatisfy({ $0.slots(of: owner.myID) == slots }) else { return false }
        }
        return live.reduce(0) { $0 + $1.mySlots.count } == Slot.count
    }

    func events(_ index: Int) -> [String] { hosts[index].log.map { $0.event.text } }

    func logged(_ index: Int, _ text: String) -> Bool {
        events(index).contains { $0.contains(text) }
    }

    /// The host that owns `slot` in its own view and serves.
    func server(of slot: Int) -> Int? {
        let slot = Slot(hash: UInt16(slot))
        return hosts.indices.first { index in
            guard let state = hosts[index].state, !hosts[index].isPaused else { return false }
            return state.isUp && state.mySlots.contains(slot)
        }
    }

    func kill(primaryOf slot: Int) -> Int? {
        guard let index = server(of: slot) else { return nil }
        kill(index)
        return index
    }

    /// What a person needs to see of a run that did not end well.
    func printSummary(last: Int = 25) {
        for index in hosts.indices {
            let lines = hosts[index].log.filter { $0.event.level >= .verbose }.suffix(last)
            for entry in lines { print(index, entry.at, entry.event.text) }
            print(hosts[index].state?.nodesText() ?? "host \(index) is down")
        }
    }
}
