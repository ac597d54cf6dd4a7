// Whole clusters: forming, failing over, handing over, splitting, healing.
import Base
import Gossip
import HashSlots
import Testing

@Suite struct ClusterTests {
    @Test(arguments: [1] as [UInt64])
    func aClusterForms(seed: UInt64) {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: seed)
        #expect(cluster.isHealthy)
        for index in 3..<6 {
            #expect(cluster.hosts[index].state?.myPrimaryID == cluster.id(index - 3))
        }
        let info = cluster.hosts[0].state?.infoText() ?? ""
        #expect(info.contains("cluster_state:ok\r\n"))
        #expect(info.contains("cluster_known_nodes:6\r\ncluster_size:3\r\n"))
    }

    @Test(arguments: [1, 2] as [UInt64])
    func aCrashIsHealedInMilliseconds(seed: UInt64) {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: seed)
        cluster.kill(0)
        let time = cluster.run(until: 5000) { $0.server(of: 0) == 3 }
        #expect(time.map { $0 < 200 } ?? false, "took \(String(describing: time)) ms")
        #expect(cluster.logged(3, "Failover election won: I'm the new master."))
        #expect(cluster.logged(3, "Start of election delayed for 0 milliseconds"))
        #expect(cluster.run(until: 3000) { $0.isHealthy } != nil)
        // The old primary comes back as a replica of the new one.
        cluster.boot(0)
        let back = cluster.run(until: 5000) { $0.isReplica(0) && $0.isHealthy }
        #expect(back != nil)
        #expect(cluster.hosts[0].state?.myPrimaryID == cluster.id(3))
    }

    /// As a container dies: its links are closed, and nobody is left to refuse new ones.
    @Test(arguments: [1, 2] as [UInt64])
    func aCrashThatTakesItsAddressAlongIsHealedSoon(seed: UInt64) {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: seed)
        cluster.kill(0)
        cluster.zone[0] = 1
        let time = cluster.run(until: 5000) { $0.server(of: 0) == 3 }
        #expect(time.map { $0 > 390 && $0 < 700 } ?? false, "took \(String(describing: time)) ms")
        cluster.zone[0] = 0
        cluster.boot(0)
        #expect(cluster.run(until: 5000) { $0.isReplica(0) && $0.isHealthy } != nil)
    }

    /// What only falls silent may live: nothing happens before the node timeout.
    @Test func aPartitionIsNoCrash() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 3)
        cluster.zone[0] = 1
        let time = cluster.run(until: 8000) { $0.server(of: 0) == 3 }
        #expect(time.map { $0 > 1900 } ?? false, "took \(String(describing: time)) ms")
    }

    @Test(arguments: [1] as [UInt64])
    func aHangIsHealedAfterTheNodeTimeout(seed: UInt64) {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: seed)
        cluster.hosts[0].isPaused = true
        let time = cluster.run(until: 8000) { $0.server(of: 0) == 3 }
        #expect(time.map { $0 > 1900 && $0 < 2600 } ?? false, "took \(String(describing: time))")
        cluster.run(1000)
        cluster.hosts[0].isPaused = false
        #expect(cluster.run(until: 5000) { $0.isReplica(0) && $0.isHealthy } != nil)
    }

    @Test func aQuickRestartIsNoFailover() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 5)
        cluster.kill(0)
        cluster.run(10)
        cluster.boot(0)
        cluster.run(500)
        #expect(!cluster.isReplica(0))
        #expect(cluster.run(until: 6000) { $0.isHealthy } != nil)
        #expect(cluster.slots(0) > 0)
    }

    @Test func theReplicaWithMostDataWins() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 2, seed: 4)
        // Replica 6 falls behind: cut off from its primary's data for a moment.
        cluster.hosts[6].target = nil
        cluster.run(300)
        cluster.kill(0)
        let time = cluster.run(until: 5000) { $0.server(of: 0) != nil }
        #expect(time.map { $0 < 500 } ?? false, "took \(String(describing: time)) ms")
        #expect(cluster.server(of: 0) == 3)
        #expect(cluster.run(until: 5000) { $0.isHealthy } != nil)
        #expect(cluster.hosts[6].state?.myPrimaryID == cluster.id(3))
    }

    @Test func aTimedOutFailoverWithoutCrashDetection() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 8) {
            $0.detectsCrashes = false
        }
        cluster.kill(0)
        let time = cluster.run(until: 8000) { $0.server(of: 0) == 3 }
        #expect(time.map { $0 > 1900 && $0 < 2600 } ?? false, "took \(String(describing: time))")
    }

    @Test func theMinorityStopsBeforeItIsReplaced() {
        for seed: UInt64 in 1...2 {
            let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: seed)
            cluster.run(Int(seed) * 37)
            cluster.zone[0] = 1
            var fenced: Int64?
            var replaced: Int64?
            let start = cluster.now
            while cluster.now - start < 6000, replaced == nil {
                cluster.run(1)
                if fenced == nil, !cluster.isUp(0) { fenced = cluster.now - start }
                if cluster.slots(3) > 0 { replaced = cluster.now - start }
            }
            #expect(replaced != nil)
            #expect((fenced ?? .max) <= (replaced ?? 0), "\(String(describing: fenced))")
            cluster.zone[0] = 0
            #expect(cluster.run(until: 10000) { $0.isReplica(0) && $0.isHealthy } != nil)
        }
    }

    @Test func aFullSplitHeals() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 6)
        // One primary with another's replica on the small side.
        cluster.zone[0] = 1
        cluster.zone[4] = 1
        cluster.run(6000)
        #expect(!cluster.isUp(0))
        #expect(cluster.slots(3) > 0)
        #expect(cluster.isReplica(4))
        cluster.zone = [0, 0, 0, 0, 0, 0]
        #expect(cluster.run(until: 12000) { $0.isHealthy } != nil)
    }

    @Test func manualFailoverLosesNothing() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 3)
        cluster.ok(3, .failover(.coordinated))
        let time = cluster.run(until: 3000) { $0.server(of: 0) == 3 }
        #expect(time.map { $0 < 300 } ?? false, "took \(String(describing: time)) ms")
        #expect(cluster.run(until: 3000) { $0.isReplica(0) && $0.isHealthy } != nil)
        let actions = cluster.hosts[0].actions
        #expect(actions.contains { if case .pauseWrites = $0 { true } else { false } })
        #expect(actions.contains(.unpauseWrites))
        #expect(cluster.logged(3, "manual failover can start"))
        #expect(cluster.logged(1, "Failover auth granted to"))
    }

    @Test func forcedFailoverAndTakeover() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 9)
        cluster.ok(3, .failover(.force))
        #expect(cluster.run(until: 2000) { $0.isReplica(0) && $0.isHealthy } != nil)
        cluster.ok(4, .failover(.takeover))
        #expect(cluster.run(until: 2000) { $0.isReplica(1) && $0.isHealthy } != nil)
        #expect(cluster.slots(4) > 0)
    }

    @Test func anOrderlyStopHandsOverFirst() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 2, seed: 2)
        cluster.step(0, .orderlyHandover)
        let time = cluster.run(until: 3000) { $0.hosts[0].actions.contains(.handoverDone) }
        #expect(time.map { $0 < 200 } ?? false, "took \(String(describing: time)) ms")
        #expect(cluster.isReplica(0))
        #expect(cluster.server(of: 0) == 3 || cluster.server(of: 0) == 6)
        #expect(cluster.hosts[0].actions.contains(.unpauseWrites))
        cluster.kill(0)
        #expect(cluster.run(until: 3000) { $0.isHealthy } != nil)
    }

    /// A hand-over whose replica dies goes to the next one, and ends at once when there is none.
    @Test func aHandoverOutlivesItsReplica() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 2, seed: 2)
        cluster.step(0, .orderlyHandover)
        cluster.kill(3)
        #expect(
            cluster.run(until: 3000) { $0.hosts[0].actions.contains(.handoverDone) } != nil)
        #expect(cluster.server(of: 0) == 6)
    }

    @Test func aHandoverEndsWhenEverybodyStops() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 2)
        let failed = { (host: Int) in
            cluster.hosts[host].actions.contains {
                if case .handoverFailed = $0 { true } else { false }
            }
        }
        for primary in 0..<3 { cluster.step(primary, .orderlyHandover) }
        for replica in 3..<6 { cluster.kill(replica) }
        #expect(cluster.run(until: 500) { _ in (0..<3).allSatisfy(failed) } != nil)
    }

    @Test func aHandoverWithoutReplicasFails() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 0, seed: 2)
        cluster.step(0, .orderlyHandover)
        let failed = cluster.hosts[0].actions.contains {
            if case .handoverFailed = $0 { true } else { false }
        }
        #expect(failed)
        #expect(cluster.isUp(0))
    }

    @Test(arguments: [1, 2] as [UInt64])
    func anEmptyPrimaryIsReplaced(seed: UInt64) {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: seed)
        cluster.kill(0)
        cluster.run(5)
        cluster.boot(0, empty: true)
        #expect(cluster.hosts[0].state?.isWaitingToBeReplaced == true)
        #expect(cluster.hosts[0].refusesReplicas)
        let time = cluster.run(until: 8000) { $0.server(of: 0) == 3 }
        #expect(time != nil)
        #expect(cluster.run(until: 5000) { $0.isReplica(0) && $0.isHealthy } != nil)
        #expect(!cluster.hosts[0].refusesReplicas)
        #expect(cluster.hosts[3].facts.replicationOffset > 1000)
    }

    /// The file of a new primary does not list its predecessor as its replica yet.
    @Test func anEmptyPrimaryThatWasJustPromotedIsReplaced() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 1)
        cluster.step(0, .orderlyHandover)
        #expect(cluster.run(until: 2000, step: 1) { $0.server(of: 0) == 3 } != nil)
        cluster.run(6)
        cluster.kill(3)
        cluster.run(3)
        cluster.boot(3, empty: true)
        #expect(cluster.run(until: 9000) { $0.server(of: 0) == 0 } != nil)
        #expect(cluster.hosts[0].facts.replicationOffset > 1000)
    }

    /// A restarted primary that finds itself replaced lacks what its successor acknowledged since:
    /// it must not stand in for that one before it had its data.
    @Test func aFormerPrimaryDoesNotStandWithOldData() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 5)
        cluster.kill(0)
        #expect(cluster.run(until: 5000) { $0.server(of: 0) == 3 } != nil)
        cluster.run(1000)
        cluster.hosts[3].refusesReplicas = true
        cluster.boot(0)
        #expect(cluster.run(until: 5000) { $0.isReplica(0) } != nil)
        cluster.kill(3)
        cluster.run(8000)
        #expect(cluster.isReplica(0))
        #expect(cluster.server(of: 0) == nil)
        cluster.boot(3)
        #expect(cluster.run(until: 12000) { $0.isHealthy } != nil)
        #expect(cluster.server(of: 0) == 3)
    }

    @Test func anEmptyPrimaryMayServeWhenToldSo() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 2) {
            $0.allowsEmptyPrimaryRestart = true
        }
        cluster.kill(0)
        cluster.run(5)
        cluster.boot(0, empty: true)
        #expect(cluster.run(until: 6000) { $0.isHealthy } != nil)
        #expect(cluster.slots(0) > 0)
    }

    @Test func aColdClusterWithoutDataComesUp() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 12)
        cluster.writesPerMillisecond = 0
        for index in 0..<6 { cluster.kill(index) }
        cluster.run(100)
        for index in 0..<6 { cluster.boot(index, empty: true) }
        #expect(cluster.run(until: 12000) { $0.isHealthy } != nil)
    }

    @Test func aWholeClusterRestarts() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 13)
        for index in 0..<6 { cluster.kill(index) }
        cluster.run(100)
        for index in 0..<6 {
            cluster.run(300)
            cluster.boot(index)
        }
        #expect(cluster.run(until: 12000) { $0.isHealthy } != nil)
        #expect(cluster.slots(0) > 0 && cluster.slots(1) > 0 && cluster.slots(2) > 0)
    }

    @Test func aSpareReplicaMigrates() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 2, seed: 7)
        // Primary 0 loses both replicas: one of the four spare ones moves.
        cluster.kill(3)
        cluster.kill(6)
        let time = cluster.run(until: 20000, step: 50) { cluster in
            [4, 5, 7, 8].contains { cluster.hosts[$0].state?.myPrimaryID == cluster.id(0) }
        }
        #expect(time.map { $0 > 5000 } ?? false, "took \(String(describing: time)) ms")
    }

    @Test func aForgottenNodeStaysForgotten() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 10)
        let name = cluster.id(5)
        cluster.kill(5)
        cluster.run(3000)
        // One command is enough: the others hear of it.
        cluster.ok(0, .forget(name.description))
        let gone = cluster.run(until: 5000) { cluster in
            (0..<5).allSatisfy { cluster.hosts[$0].state?.flags(of: name) == nil }
        }
        #expect(gone != nil)
        cluster.run(3000)
        #expect((0..<5).allSatisfy { cluster.hosts[$0].state?.knownNodes == 5 })
        #expect(cluster.command(1, .forget(name.description)) == .ok)
    }

    @Test func aSlotMovesByHand() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 14)
        let slot = Slot(hash: 0)
        cluster.ok(1, .setSlotImporting(slot, from: cluster.id(0).description))
        cluster.ok(0, .setSlotMigrating(slot, to: cluster.id(1).description))
        cluster.ok(1, .setSlotNode(slot, node: cluster.id(1).description, keysInSlot: 3))
        cluster.ok(0, .setSlotNode(slot, node: cluster.id(1).description, keysInSlot: 0))
        let moved = cluster.run(until: 3000) { $0.isHealthy && $0.slots(1) == 5462 }
        #expect(moved != nil)
        #expect(cluster.hosts[2].state?.slots(of: cluster.id(1))?.contains(slot) == true)
        #expect(!(cluster.hosts[0].state?.nodesText().contains("->-") ?? true))
    }

    @Test func anImportOutlivesItsSource() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 17)
        let slot = Slot(hash: 0)
        cluster.ok(1, .setSlotImporting(slot, from: cluster.id(0).description))
        cluster.ok(0, .setSlotMigrating(slot, to: cluster.id(1).description))
        cluster.kill(0)
        // The node that imports learns of the new owner too, and goes on serving.
        let healed = cluster.run(until: 5000) { $0.server(of: 0) == 3 && $0.isHealthy }
        #expect(healed != nil)
        let source = cluster.id(3)
        let open = cluster.hosts[1].state?.nodesText() ?? ""
        #expect(open.contains("[0-<-\(source)]"))
        cluster.ok(1, .setSlotNode(slot, node: cluster.id(1).description, keysInSlot: 3))
        let moved = cluster.run(until: 3000) { $0.isHealthy && $0.slots(1) == 5462 }
        #expect(moved != nil)
    }

    @Test func publishReachesEverybody() {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 15)
        let text = Array("m".utf8)
        cluster.step(0, .publish(channel: Array("c".utf8), message: text, sharded: false))
        cluster.step(1, .publish(channel: Array("s".utf8), message: text, sharded: true))
        cluster.run(20)
        func got(_ index: Int, _ channel: String, _ sharded: Bool) -> Bool {
            cluster.hosts[index].actions.contains(
                .publishLocally(
                    channel: Array(channel.utf8), message: Array("m".utf8), sharded: sharded))
        }
        #expect((1..<6).allSatisfy { got($0, "c", false) })
        #expect(got(4, "s", true) && !got(0, "s", true) && !got(3, "s", true))
    }

    @Test(arguments: [1, 109] as [UInt64])
    func chaosConverges(seed: UInt64) {
        let cluster = MiniCluster.formed(primaries: 3, replicas: 2, seed: seed)
        cluster.lossPercent = 3
        for _ in 0..<6 {
            let index = cluster.random.below(9)
            switch cluster.random.below(3) {
            case 0: cluster.kill(index)
            case 1: cluster.zone[index] = 1
            default: cluster.hosts[index].isPaused = true
            }
            cluster.run(500 + cluster.random.below(2500))
            for other in 0..<9 {
                if cluster.random.chance(2, in: 3) {
                    cluster.hosts[other].isPaused = false
                    cluster.zone[other] = 0
                    if cluster.hosts[other].state == nil { cluster.boot(other) }
                }
            }
        }
        cluster.lossPercent = 0
        for other in 0..<9 {
            cluster.hosts[other].isPaused = false
            cluster.zone[other] = 0
            if cluster.hosts[other].state == nil { cluster.boot(other) }
        }
        let healed = cluster.run(until: 30000, step: 50) { $0.isHealthy }
        #expect(healed != nil)
        if healed == nil { cluster.printSummary() }
    }

    @Test func theSameSeedGivesTheSameEnd() {
        func end() -> [UInt8] {
            let cluster = MiniCluster.formed(primaries: 3, replicas: 1, seed: 42)
            cluster.kill(1)
            cluster.run(1000)
            return cluster.hosts.flatMap { $0.written }
        }
        #expect(end() == end())
    }
}
