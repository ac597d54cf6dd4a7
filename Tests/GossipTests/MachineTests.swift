// One machine alone: commands and their error texts, durability of what others rely on, votes and
// their denials, reports, addresses, settings.
import Base
import Gossip
import HashSlots
import Testing

/// A machine with hand-made peers: every packet that it gets or sends is in sight.
private struct Bench {
    var state: ClusterState
    var now = Now(
        instant: Instant(microseconds: 5_000_000), wall: WallTime(milliseconds: 1_700_000_000_000))
    var effects = ClusterEffects()
    var nextLink: UInt64 = 2

    init(_ conf: String = "", _ edit: (inout GossipConfig) -> Void = { _ in }) throws {
        var config = GossipConfig()
        config.nodeTimeout = Milliseconds(2000)
        edit(&config)
        if let parsed = try NodesConf.parse(Array(conf.utf8)) {
            state = ClusterState(restoring: parsed, config: config, seed: 1, now: now)
        } else {
            state = ClusterState(config: config, seed: 1, now: now)
        }
    }

    mutating func step(_ input: ClusterInput) {
        effects.removeAll()
        state.step(input, at: now, into: &effects)
        state.checkInvariants()
    }

    mutating func run(_ command: ClusterCommand) -> CommandReply? {
        step(.command(command))
        return effects.reply
    }

    mutating func pass(_ milliseconds: Int64) {
        now.instant = now.instant + Milliseconds(milliseconds)
        now.wall = now.wall + Milliseconds(milliseconds)
    }

    /// A packet on a new link.
    mutating func receive(_ message: BusMessage) {
        let link = LinkID(raw: nextLink)
        nextLink += 2
        step(.linkAccepted(link, peerAddress: "127.0.0.1", localAddress: "127.0.0.1"))
        step(.received(link, message.encoded()))
    }

    /// Opens every connection that is asked for.
    mutating func openLinks() {
        step(.tick)
        for request in effects.connect {
            var copy = ClusterEffects()
            state.step(.linkOpened(request.link), at: now, into: &copy)
        }
    }

    /// Long enough for what a restarted process may have confirmed before to have run out.
    mutating func outliveLeases() { pass(2000) }

    func sent(_ type: BusMessageType) -> Int {
        (effects.sendNow + effects.sendAfterSync.map { $0.outgoing })
            .filter { $0.bytes[13] == UInt8(type.rawValue) }.count
    }

    /// Of the PONGs that were sent: whether they withhold the lease.
    var answers: [Bool] {
        effects.sendNow.compactMap { outgoing in
            let bytes = outgoing.bytes
            guard bytes[13] == UInt8(BusMessageType.pong.rawValue),
                let message = try? BusMessage.decode(bytes, 0..<bytes.count)
            else { return nil }
            return message.header.messageFlags.contains(.withheld)
        }
    }

    var denials: [VoteDenial] {
        effects.log.compactMap { if case .voteDenied(_, let why) = $0.kind { why } else { nil } }
    }
}

private let me = String(repeating: "a", count: 40)
private let one = String(repeating: "b", count: 40)
private let two = String(repeating: "c", count: 40)
private let replica = String(repeating: "d", count: 40)

/// This node and two other primaries, the first of which failed and has a replica.
private let threePrimaries = """
    \(me) 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5000
    \(one) 127.0.0.1:7002@17002 master,fail - 0 1 2 connected 5001-10000
    \(two) 127.0.0.1:7003@17003 master - 0 1 3 connected 10001-16383
    \(replica) 127.0.0.1:7004@17004 slave \(one) 0 1 2 connected
    vars currentEpoch 5 lastVoteEpoch 4

    """

private func header(
    _ type: BusMessageType, from sender: String, epoch: UInt64, configEpoch: UInt64,
    slots: ClosedRange<Int>
) -> BusHeader {
    var header = BusHeader(type: type.rawValue, sender: NodeID(sender) ?? CodecTests.id(1))
    header.currentEpoch = epoch
    header.configEpoch = configEpoch
    header.slots.insert(slots)
    return header
}

private func ping(
    from sender: String, epoch: UInt64, slots: ClosedRange<Int>, isServing: Bool = true
) -> BusMessage {
    var header = header(.ping, from: sender, epoch: epoch, configEpoch: epoch, slots: slots)
    header.flags = .primary
    header.state = isServing ? 0 : 1
    return BusMessage(header: header, body: .ping([], []))
}

private func request(
    from: String = replica, epoch: UInt64 = 6, configEpoch: UInt64 = 2,
    slots: ClosedRange<Int> = 5001...10000, force: Bool = false
) -> BusMessage {
    var header = header(
        .authRequest, from: from, epoch: epoch, configEpoch: configEpoch, slots: slots)
    header.primary = NodeID(one)
    header.flags = .replica
    if force { header.messageFlags = .forceAck }
    return BusMessage(header: header, body: .empty)
}

@Suite struct EmptyStartTests {
    /// A peer sends no second ping before the first was answered: what was ignored while playing
    /// dead must be made up for, or the peer takes the node for failed for good.
    @Test func pingsAreAnsweredAfterTheWait() throws {
        var bench = try Bench(threePrimaries)
        bench.openLinks()
        var facts = LocalFacts()
        facts.startedEmpty = true
        bench.step(.localFacts(facts))
        #expect(bench.state.isWaitingToBeReplaced)
        bench.receive(ping(from: two, epoch: 3, slots: 10001...16383))
        #expect(bench.sent(.pong) == 0)
        bench.pass(100)
        bench.receive(ping(from: one, epoch: 9, slots: 0...5000))
        var pongs = bench.sent(.pong)
        bench.pass(100)
        bench.step(.tick)
        pongs += bench.sent(.pong)
        #expect(!bench.state.isWaitingToBeReplaced)
        #expect(pongs == 2, "one for each peer that waits")
    }
}

@Suite struct VotingTests {
    @Test func aVoteWaitsForTheDisk() throws {
        var bench = try Bench(threePrimaries)
        bench.openLinks()
        bench.outliveLeases()
        bench.receive(request())
        #expect(bench.denials.isEmpty)
        #expect(bench.effects.sendNow.isEmpty)
        #expect(bench.effects.sendAfterSync.count == 1 && bench.sent(.authAck) == 1)
        let saved = try #require(bench.effects.state)
        #expect(saved.needsSync && bench.effects.sendAfterSync[0].version == saved.version)
        #expect(String(decoding: saved.contents, as: UTF8.self).contains("lastVoteEpoch 6"))
        // Until then everything else waits too, in order.
        bench.pass(100)
        bench.step(.publish(channel: [1], message: [2], sharded: false))
        #expect(bench.effects.sendNow.isEmpty && !bench.effects.sendAfterSync.isEmpty)
        bench.step(.stateSynced(version: saved.version))
        bench.step(.publish(channel: [1], message: [2], sharded: false))
        #expect(!bench.effects.sendNow.isEmpty && bench.effects.sendAfterSync.isEmpty)
        // The same epoch has no second vote, not even after a crash and a restart.
        bench.receive(request())
        #expect(bench.denials == [.alreadyVoted(epoch: 6)])
        var restarted = try Bench(String(decoding: saved.contents, as: UTF8.self))
        restarted.openLinks()
        restarted.receive(request())
        #expect(restarted.denials == [.alreadyVoted(epoch: 6)])
    }

    @Test func denialsHaveReasons() throws {
        var bench = try Bench(threePrimaries)
        bench.openLinks()
        bench.outliveLeases()
        bench.receive(request(epoch: 4))
        #expect(bench.denials == [.staleEpoch(request: 4, current: 5)])
        bench.receive(request(from: two))
        #expect(bench.denials == [.isPrimary])
        bench.receive(request(epoch: 7, slots: 4000...6000, force: true))
        #expect(bench.denials.isEmpty, "my own slots have an older epoch")
        bench.receive(request(epoch: 8, slots: 10001...10001))
        #expect(
            bench.denials == [.newerOwner(slot: Slot(hash: 10001), epoch: 3, request: 2)])
        let text = bench.effects.log.last?.text ?? ""
        #expect(text == "Failover auth denied to \(replica): slot 10001 epoch (3) > reqEpoch (2)")
    }

    @Test func aPrimaryThatIsUpNeedsForce() throws {
        let healthy = threePrimaries.split(separator: ",fail").joined()
        var bench = try Bench(healthy)
        bench.openLinks()
        bench.receive(request())
        #expect(bench.denials == [.primaryIsUp])
        bench.receive(request(epoch: 7, force: true))
        #expect(bench.sent(.authAck) == 1)
    }

    @Test func onlyPrimariesWithSlotsVote() throws {
        let slotless = threePrimaries.split(separator: "connected 0-5000")
            .joined(separator: "connected")
        var bench = try Bench(slotless)
        bench.openLinks()
        bench.receive(request())
        #expect(bench.sent(.authAck) == 0)
    }

    @Test func anotherCandidateWaitsANodeTimeout() throws {
        let rival = String(repeating: "e", count: 40)
        let line = "\(rival) 127.0.0.1:7005@17005 slave \(one) 0 1 2 connected\nvars"
        var bench = try Bench(threePrimaries.split(separator: "vars").joined(separator: line))
        bench.openLinks()
        bench.outliveLeases()
        bench.receive(request())
        #expect(bench.denials.isEmpty)
        bench.receive(request(from: rival, epoch: 7))
        #expect(bench.denials == [.votedRecently(wait: Milliseconds(2000))])
        // The same one may ask again at once.
        bench.receive(request(epoch: 8))
        #expect(bench.denials.isEmpty && bench.sent(.authAck) == 1)
    }

    /// FAIL may rest on old reports: what this node itself told the primary decides.
    @Test func noVoteBeforeAConfirmedLeaseHasRunOut() throws {
        var bench = try Bench(threePrimaries)
        bench.openLinks()
        bench.receive(request())
        #expect(bench.denials == [.leaseRuns(wait: Milliseconds(2000))], "it may have confirmed")
        // Its file has the primary as failed: it may have voted against it.
        bench.receive(ping(from: one, epoch: 2, slots: 5001...10000))
        #expect(bench.answers == [true])
        bench.pass(4300)
        bench.receive(ping(from: one, epoch: 2, slots: 5001...10000))
        #expect(bench.answers == [false])
        bench.pass(500)
        bench.receive(request())
        #expect(bench.denials == [.leaseRuns(wait: Milliseconds(1500))])
        // One that says that it does not serve needs no confirmation.
        bench.receive(ping(from: one, epoch: 2, slots: 5001...10000, isServing: false))
        #expect(bench.answers == [true])
        bench.pass(1500)
        bench.receive(request())
        #expect(bench.denials.isEmpty && bench.sent(.authAck) == 1)
        // And none after the vote, for as long as the candidate may count.
        let saved = try #require(bench.effects.state)
        bench.step(.stateSynced(version: saved.version))
        bench.pass(4100)
        bench.receive(ping(from: one, epoch: 2, slots: 5001...10000))
        #expect(bench.answers == [true])
        bench.pass(200)
        bench.receive(ping(from: one, epoch: 2, slots: 5001...10000))
        #expect(bench.answers == [false])
    }

    /// A candidate repeats what it heard, perhaps long ago.
    @Test func failureIsNotTakenFromAReplicaAgainstBetterKnowledge() throws {
        let healthy = threePrimaries.split(separator: ",fail").joined()
        for (sender, isTaken) in [(replica, false), (two, true)] {
            var bench = try Bench(healthy)
            bench.openLinks()
            let failed = try #require(NodeID(one))
            let id = try #require(NodeID(sender))
            bench.receive(
                BusMessage(
                    header: BusHeader(type: BusMessageType.fail.rawValue, sender: id),
                    body: .fail(failed)))
            #expect(bench.state.nodesText().contains("master,fail ") == isTaken)
        }
    }
}

@Suite struct CommandTests {
    private func slot(_ index: Int) -> Slot { Slot(hash: UInt16(index)) }

    @Test func slotsAndTheirErrors() throws {
        var bench = try Bench()
        let interval = SlotInterval(slot(1), slot(3))
        #expect(bench.run(.addSlots([interval])) == .ok)
        #expect(bench.effects.local.contains(.routingChanged))
        #expect(bench.run(.addSlots([interval])) == .error("ERR Slot 1 is already busy"))
        #expect(
            bench.run(.addSlots([SlotInterval(slot(7)), SlotInterval(slot(7))]))
                == .error("ERR Slot 7 specified multiple times"))
        #expect(
            bench.run(.deleteSlots([SlotInterval(slot(9), slot(8))]))
                == .error("ERR start slot number 9 is greater than end slot number 8"))
        #expect(
            bench.run(.deleteSlots([SlotInterval(slot(9))]))
                == .error("ERR Slot 9 is already unassigned"))
        #expect(bench.run(.deleteSlots([interval])) == .ok)
        #expect(bench.state.mySlots.isEmpty)
    }

    @Test func otherErrors() throws {
        var bench = try Bench(threePrimaries)
        func expect(_ command: ClusterCommand, _ text: String) {
            #expect(bench.run(command) == .error("ERR " + text))
        }
        expect(.meet(host: "localhost", port: 1, busPort: nil),
            "Invalid node address specified: localhost:1")
        expect(.meet(host: "127.0.0.1", port: 60000, busPort: nil),
            "Invalid node address specified: 127.0.0.1:60000")
        expect(.forget(me), "I tried hard but I can't forget myself...")
        expect(.forget("nobody"), "Unknown node nobody")
        expect(.replicate(me), "Can't replicate myself")
        expect(.replicate(replica), "I can only replicate a master, not a replica.")
        expect(
            .replicate(two), "To set a master the node must be empty and without assigned slots.")
        expect(.failover(.coordinated), "You should send CLUSTER FAILOVER to a replica")
        expect(.setSlotMigrating(slot(9000), to: two), "I'm not the owner of hash slot 9000")
        expect(.setSlotImporting(slot(1), from: two), "I'm already the owner of hash slot 1")
        expect(.setSlotNode(slot(1), node: "x", keysInSlot: 0), "Unknown node x")
        expect(
            .setSlotNode(slot(1), node: two, keysInSlot: 5),
            "Can't assign hashslot 1 to a different node while I still hold keys for this hash "
                + "slot.")
        expect(
            .setConfigEpoch(3),
            "The user can assign a config epoch only when the node does not know any other node.")
        var facts = LocalFacts()
        facts.hasData = true
        bench.step(.localFacts(facts))
        expect(.flushSlots, "DB must be empty to perform CLUSTER FLUSHSLOTS.")
        expect(.reset(hard: true),
            "CLUSTER RESET can't be called with master nodes containing keys")
    }

    @Test func epochsAndReset() throws {
        var bench = try Bench()
        #expect(bench.run(.bumpEpoch) == .status("BUMPED 1"))
        #expect(bench.effects.state?.needsSync == true)
        #expect(bench.run(.bumpEpoch) == .status("STILL 1"))
        let reply = bench.run(.setConfigEpoch(5))
        #expect(reply == .error("ERR Node config epoch is already non-zero"))
        let before = bench.state.myID
        #expect(bench.run(.reset(hard: false)) == .ok)
        #expect(bench.state.myID == before && bench.state.currentEpoch == 1)
        #expect(bench.run(.reset(hard: true)) == .ok)
        #expect(bench.state.myID != before && bench.state.currentEpoch == 0)
        #expect(bench.run(.setConfigEpoch(5)) == .ok)
        #expect(bench.state.currentEpoch == 5)
    }

    @Test func losingSlotsToAnotherPrimaryDropsTheirKeys() throws {
        var bench = try Bench(threePrimaries)
        bench.openLinks()
        var header = BusHeader(type: 0, sender: NodeID(two) ?? CodecTests.id(1))
        header.currentEpoch = 9
        header.configEpoch = 9
        header.slots.insert(10001...16383)
        header.slots.insert(0...9)
        header.flags = .primary
        header.port = 7003
        header.busPort = 17003
        bench.receive(BusMessage(header: header, body: .ping([], [])))
        var lost = SlotSet()
        lost.insert(0...9)
        #expect(bench.effects.local.contains(.deleteKeys(lost)))
        #expect(bench.effects.local.contains(.ownershipChanged(lost)))
        #expect(bench.state.mySlots.count == 4991)
        // An older claim changes nothing, and is answered with an UPDATE.
        header.configEpoch = 2
        header.sender = NodeID(one) ?? header.sender
        header.slots = SlotSet()
        header.slots.insert(5001...10001)
        header.port = 7002
        header.busPort = 17002
        bench.receive(BusMessage(header: header, body: .ping([], [])))
        let theirs = NodeID(two).flatMap { bench.state.slots(of: $0) }
        #expect(theirs?.contains(slot(10001)) == true)
        #expect(bench.sent(.update) == 1)
    }

    @Test func collidingEpochsPart() throws {
        var bench = try Bench(threePrimaries)
        bench.openLinks()
        var header = BusHeader(type: 0, sender: NodeID(two) ?? CodecTests.id(1))
        header.currentEpoch = 5
        header.configEpoch = 1
        header.slots.insert(10001...16383)
        header.flags = .primary
        // It claims an older epoch than we know: no collision with that.
        bench.receive(BusMessage(header: header, body: .ping([], [])))
        #expect(bench.state.configEpoch(of: bench.state.myID) == 1)
        let colliding = threePrimaries.split(separator: "0 1 3 connected")
            .joined(separator: "0 1 1 connected")
        bench = try Bench(colliding)
        bench.openLinks()
        bench.receive(BusMessage(header: header, body: .ping([], [])))
        #expect(bench.state.configEpoch(of: bench.state.myID) == 6)
        #expect(bench.effects.state?.needsSync == true)
    }
}

@Suite struct ReportTests {
    @Test func slotsAndShards() throws {
        let bench = try Bench(threePrimaries)
        let report = bench.state.slotsReport()
        #expect(report.map { $0.start } == [0, 5001, 10001])
        #expect(report.map { $0.end } == [5000, 10000, 16383])
        // A replica without an offset has not finished its first synchronisation.
        #expect(report[1].nodes.count == 1)
        #expect(report[1].nodes[0].endpoint == "127.0.0.1" && report[1].nodes[0].port == 7002)
        let shards = bench.state.shardsReport()
        #expect(shards.count == 3)
        #expect(shards[1].slots == [5001...10000])
        #expect(shards[1].nodes.map { $0.role } == ["master", "replica"])
        #expect(shards[1].nodes.map { $0.health } == ["fail", "loading"])
        #expect(shards[1].nodes[0].tlsPort == nil && shards[1].nodes[0].port == 7002)
    }

    @Test func hostnamesAndUnknownEndpoints() throws {
        let bench = try Bench(threePrimaries) {
            $0.preferredEndpoint = .hostname
            $0.announceHostname = "me.example"
        }
        let nodes = bench.state.slotsReport().map { $0.nodes[0] }
        #expect(nodes[0].endpoint == "me.example" && nodes[1].endpoint == "?")
        #expect(nodes[0].metadata.map { $0.name } == ["ip"])
        let unknown = try Bench(threePrimaries) { $0.preferredEndpoint = .unknownEndpoint }
        #expect(unknown.state.slotsReport()[0].nodes[0].endpoint == nil)
        var table = RoutingTable()
        unknown.state.fillRouting(into: &table)
        let answer = table.decide(Slot(hash: 12000), RedirectRequest()) {
            KeyPresence(existing: 0, missing: 0)
        }
        #expect(answer == .down)
        let owner = table.owner(of: Slot(hash: 12000)) ?? 0
        #expect(table.endpoint(owner).text == Array(":7003".utf8))
    }

    @Test func errorsOfReports() throws {
        let bench = try Bench(threePrimaries)
        #expect(throws: ReportError(text: "ERR Unknown node x")) {
            try bench.state.replicaLines(of: "x")
        }
        #expect(throws: ReportError(text: "ERR The specified node is not a master")) {
            try bench.state.replicaLines(of: replica)
        }
        #expect(try bench.state.failureReports(of: two) == 0)
    }

    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("0:0:0:0:0:0:0:0", "::"), ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("fe80::", "fe80::"),
    ])
    func addressesHaveOneSpelling(text: String, normal: String) {
        #expect(IPAddress.normalized(text) == normal)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4.5", "localhost", ":::", "1::2::3",
        "12345::", "g::", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7", "+1::", ":",
    ])
    func otherTextIsNoAddress(text: String) {
        #expect(IPAddress.normalized(text) == nil)
    }

    @Test func settingsHaveRanges() {
        #expect(GossipConfig().problem == nil)
        var config = GossipConfig()
        config.nodeTimeout = .zero
        #expect(config.problem?.hasPrefix("cluster-node-timeout must be between 1 and") == true)
        config = GossipConfig()
        config.announceHostname = "bad host"
        #expect(
            config.problem
                == "Hostnames may only contain alphanumeric characters, hyphens or dots")
        config.announceHostname = ""
        config.announceHumanName = "a,b"
        #expect(config.problem == "Announced human node name contained invalid character")
    }
}
