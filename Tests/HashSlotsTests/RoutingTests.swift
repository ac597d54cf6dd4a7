// The routing table and the redirect decision, case by case as the reference orders them.
import HashSlots
import Testing

private func endpoint(_ port: Int) -> RoutingEndpoint {
    RoutingEndpoint(text: Array("127.0.0.1:\(port)".utf8), otherText: Array("h:\(port + 1)".utf8))
}

private func slot(_ index: Int) -> Slot { Slot(hash: UInt16(index)) }

/// Node 0 is this one and owns 0...99; node 1 owns 100...199; the rest is unowned.
private func makeTable(
    _ edit: (inout RoutingFacts) -> Void = { _ in },
    open: (inout RoutingTable) -> Void = { _ in }
) -> RoutingTable {
    var table = RoutingTable()
    table.begin(nodes: [endpoint(7001), endpoint(7002)], myself: 0)
    for index in 0..<100 { table.setOwner(of: slot(index), to: 0) }
    for index in 100..<200 { table.setOwner(of: slot(index), to: 1) }
    open(&table)
    var facts = RoutingFacts()
    facts.clusterIsUp = true
    edit(&facts)
    table.finish(facts)
    return table
}

private func request(_ edit: (inout RedirectRequest) -> Void = { _ in }) -> RedirectRequest {
    var request = RedirectRequest()
    edit(&request)
    return request
}

private func none() -> KeyPresence {
    Issue.record("presence must not be asked")
    return KeyPresence(existing: 0, missing: 0)
}

@Suite struct RoutingTests {
    @Test func theCommonCaseIsOneByte() {
        let table = makeTable()
        let mine = table.serves(slot(0))
        let theirs = table.serves(slot(100))
        let nobodys = table.serves(slot(300))
        #expect(mine && !theirs && !nobodys)
    }

    @Test func elsewhereIsMoved() {
        let table = makeTable()
        let answer = table.decide(slot(150), request(), presence: none)
        #expect(answer == .moved(slot(150), node: 1))
        let line = table.errorLine(answer).map { String(decoding: $0, as: UTF8.self) }
        #expect(line == "MOVED 150 127.0.0.1:7002")
        let other = table.errorLine(answer, otherPort: true)
            .map { String(decoding: $0, as: UTF8.self) }
        #expect(other == "MOVED 150 h:7003")
    }

    @Test func unownedIsUnbound() {
        let table = makeTable()
        #expect(table.decide(slot(300), request(), presence: none) == .unbound)
        #expect(table.decideAcrossSlots(first: slot(300)) == .unbound)
        #expect(table.decideAcrossSlots(first: slot(1)) == .crossSlot)
    }

    @Test(arguments: [(1, 0, "serve"), (0, 1, "ask"), (1, 1, "try"), (0, 2, "ask")])
    func migrating(existing: Int, missing: Int, expected: String) {
        let table = makeTable(open: { $0.setMigrating(slot(5), to: 1) })
        let fast = table.serves(slot(5))
        #expect(!fast)
        let answer = table.decide(slot(5), request()) {
            KeyPresence(existing: existing, missing: missing)
        }
        let wanted: Redirect =
            switch expected {
            case "serve": .serve
            case "ask": .ask(slot(5), node: 1)
            default: .tryAgain
            }
        #expect(answer == wanted)
        #expect(table.decide(slot(5), request { $0.isMigrate = true }, presence: none) == .serve)
    }

    @Test func importingNeedsAsking() {
        let table = makeTable(open: { $0.setImporting(slot(105), from: 1) })
        let absent = { KeyPresence(existing: 0, missing: 1) }
        let some = { KeyPresence(existing: 1, missing: 1) }
        #expect(table.decide(slot(105), request(), presence: absent) == .moved(slot(105), node: 1))
        let asking = request { $0.isAsking = true }
        #expect(table.decide(slot(105), asking, presence: absent) == .serve)
        let several = request {
            $0.isAsking = true
            $0.hasSeveralKeys = true
        }
        #expect(table.decide(slot(105), several, presence: some) == .tryAgain)
    }

    @Test func downStates() {
        let down = makeTable { $0.clusterIsUp = false }
        #expect(down.decide(slot(1), request(), presence: none) == .down)
        let shard = request { $0.isShardPubSub = true }
        #expect(down.decide(slot(1), shard, presence: none) == .serve)
        let reads = makeTable {
            $0.clusterIsUp = false
            $0.allowsReadsWhenDown = true
            $0.allowsShardPubSubWhenDown = false
        }
        #expect(reads.decide(slot(1), request(), presence: none) == .serve)
        let write = request { $0.isWrite = true }
        #expect(reads.decide(slot(1), write, presence: none) == .downForWrites)
        #expect(reads.decide(slot(1), shard, presence: none) == .down)
    }

    @Test func replicaServesReadsOfReadOnlyClients() {
        let table = makeTable {
            $0.isReplica = true
            $0.primary = 1
        }
        let fast = table.servesReads(slot(150))
        #expect(fast)
        let read = request { $0.isReadOnlyClient = true }
        #expect(table.decide(slot(150), read, presence: none) == .serve)
        let write = request {
            $0.isReadOnlyClient = true
            $0.isWrite = true
        }
        #expect(table.decide(slot(150), write, presence: none) == .moved(slot(150), node: 1))
        #expect(table.decide(slot(150), request(), presence: none) == .moved(slot(150), node: 1))
        let shard = request { $0.isShardPubSub = true }
        #expect(table.decide(slot(150), shard, presence: none) == .serve)
    }

    @Test func blockedClients() {
        let table = makeTable(open: { $0.setImporting(slot(105), from: 1) })
        func ask(_ index: Int) -> Redirect {
            table.decideForBlocked(slot(index), isReadOnlyClient: false, isWrite: true)
        }
        #expect(ask(1) == .serve)
        #expect(ask(105) == .serve)
        #expect(ask(150) == .moved(slot(150), node: 1))
        #expect(ask(300) == .unbound)
    }

    @Test func slotRangesAsText() {
        var set = SlotSet()
        set.insert(0...3)
        set.insert(5...5)
        set.insert(16382...16383)
        #expect(set.rangeText == "0-3 5 16382-16383")
        #expect(SlotSet().rangeText == "")
    }
}
