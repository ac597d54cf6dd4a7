// Failovers in the small world: that they happen, soon and once, through crashes of sentinels and
// nodes, partitions, slow links and disks that forget; that no epoch has two leaders and no
// sentinel votes twice; and that when the faults end everybody agrees.
import Base
import Sentinel
import Testing

@Suite struct FailoverTests {
    /// Three sentinels, a primary with two replicas, until they know each other.
    private func settled(seed: UInt64, sentinels: Int = 3, quorum: Int = 2) -> World {
        var world = World(
            seed: seed, sentinels: sentinels, nodes: 3, quorum: quorum, downAfter: 1000)
        world.run(for: 8000)
        return world
    }

    private func address(_ world: World, _ sentinel: Int) -> String? {
        world.sentinels[sentinel].state.clientAddress(of: "mymaster")?.host
    }

    @Test(arguments: 0..<4 as Range<UInt64>)
    func sentinelsFindEachOtherAndTheReplicas(seed: UInt64) {
        let world = settled(seed: seed)
        for sentinel in world.sentinels {
            #expect(sentinel.state.sentinelFields("mymaster")?.count == 2)
            #expect(sentinel.state.replicaFields("mymaster")?.count == 2)
            let quorum = sentinel.state.quorum(of: "mymaster")
            #expect(quorum?.usable == 3)
        }
        #expect(world.violations.isEmpty)
    }

    @Test(arguments: 0..<12 as Range<UInt64>)
    func aDeadPrimaryIsReplacedSoon(seed: UInt64) {
        var world = settled(seed: seed)
        world.nodes[2].offset = 2000
        // At any age of the replicas' last INFO, which must be asked anew before one is chosen.
        world.run(for: 12000 + Int(seed) * 900)
        world.killNode(0)
        let start = world.time
        var found = false
        while world.time - start < 3000 {
            world.run(for: 20)
            found = (0..<3).contains { address(world, $0) == Peer(node: 2).host }
            if found { break }
        }
        #expect(found, "the replica with more data took over")
        #expect(world.time - start <= 1000 + 1200, "took \(world.time - start) ms")
        world.run(for: 20000)
        for index in 0..<3 { #expect(address(world, index) == Peer(node: 2).host) }
        #expect(world.nodes[2].followed == nil)
        #expect(world.nodes[1].followed == Peer(node: 2))
        #expect(world.violations.isEmpty)
        // It comes back as the primary that it was, and is soon made a replica.
        world.startNode(0)
        let back = world.time
        while world.nodes[0].followed == nil, world.time - back < 40000 { world.run(for: 20) }
        #expect(world.time - back <= 5000, "took \(world.time - back) ms")
        world.run(for: 20000)
        #expect(world.nodes[0].followed == Peer(node: 2))
    }

    @Test func aMinorityDoesNothing() {
        var world = settled(seed: 7)
        world.crash(1)
        world.crash(2)
        world.run(for: 5000)
        world.killNode(0)
        world.run(for: 60000)
        #expect(address(world, 0) == Peer(node: 0).host)
        #expect(world.nodes.allSatisfy { $0.promotions == 0 })
    }

    @Test func aReplicaOfPriorityZeroIsNeverChosen() {
        var world = settled(seed: 3)
        world.nodes[1].priority = 0
        world.nodes[2].priority = 0
        world.run(for: 12000)
        world.killNode(0)
        world.run(for: 15000)
        #expect(world.nodes.allSatisfy { $0.promotions == 0 })
        let aborted = world.sentinels.contains { sentinel in
            sentinel.events.contains { $0.hasPrefix("-failover-abort-no-good-slave") }
        }
        #expect(aborted)
    }

    @Test func aManualFailoverNeedsNobody() {
        var world = settled(seed: 11)
        #expect(world.step(0, .command(.failover("mymaster"))) == .ok)
        // The old primary is set right when it has been one for too long.
        world.run(for: 40000)
        let hosts = Set((0..<3).map { address(world, $0) })
        #expect(hosts.count == 1 && !hosts.contains(Peer(node: 0).host))
        let isFollower = world.nodes[0].followed != nil
        #expect(isFollower)
    }

    @Test(arguments: 0..<16 as Range<UInt64>)
    func faultsEndInAgreement(seed: UInt64) {
        var world = World(
            seed: seed, sentinels: seed % 2 == 0 ? 3 : 5, nodes: 4,
            quorum: seed % 3 == 0 ? 3 : 2, downAfter: 1000)
        world.slowest = 5 + world.random.below(100)
        world.diskDelay = 1 + world.random.below(60)
        world.run(for: 8000)
        for _ in 0..<12 {
            disturb(&world)
            world.run(for: 500 + world.random.below(8000))
        }
        heal(&world)
        world.run(for: 120_000)
        #expect(world.violations.isEmpty, "\(world.violations)")
        let hosts = Set(world.sentinels.indices.map { address(world, $0) ?? "?" })
        #expect(hosts.count == 1, "\(hosts)")
        guard let host = hosts.first, let primary = Peer(host: host) else { return }
        #expect(world.nodes[primary.index].followed == nil)
        for (index, node) in world.nodes.enumerated() where index != primary.index {
            #expect(node.followed == primary, "node \(index)")
        }
    }

    private func disturb(_ world: inout World) {
        switch world.random.below(6) {
        case 0:
            let node = world.random.below(world.nodes.count)
            if world.nodes[node].isUp { world.killNode(node) } else { world.startNode(node) }
        case 1:
            let sentinel = world.random.below(world.sentinels.count)
            if world.sentinels[sentinel].isUp {
                world.crash(sentinel)
            } else {
                world.restart(sentinel)
            }
        case 2:
            // The current primary, whoever it is.
            for index in world.nodes.indices
            where world.nodes[index].followed == nil && world.nodes[index].isUp {
                world.killNode(index)
                break
            }
        case 3:
            let a = Peer(sentinel: world.random.below(world.sentinels.count))
            let b = Peer(node: world.random.below(world.nodes.count))
            world.cuts.insert([min(a, b), max(a, b)])
        case 4:
            let a = world.random.below(world.sentinels.count)
            let b = world.random.below(world.sentinels.count)
            if a != b {
                let pair = [Peer(sentinel: a), Peer(sentinel: b)].sorted()
                world.cuts.insert(pair)
            }
        default:
            world.cuts = []
        }
    }

    private func heal(_ world: inout World) {
        world.cuts = []
        for index in world.nodes.indices where !world.nodes[index].isUp { world.startNode(index) }
        for index in world.sentinels.indices where !world.sentinels[index].isUp {
            world.restart(index)
        }
    }
}
