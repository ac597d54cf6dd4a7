// The engine behind BLPOP and its like, with a command of the test's own that waits for strings:
// order of service, several keys, deadlines, transactions, what else makes a key ready.
import Base
import Commands
import Engine
import RESP
import Storage
import Testing

/// TAKE key... timeout: GETDEL of the first key that holds a string, or wait for one.
private let taking = Extension("taking") { registry in
    registry.group = .string
    registry.command(
        "take", since: "1.0.0", arity: -3, [.write, .blocking], keys: [.range(1, [.RW], last: -2)]
    ) { take(Call($0)) }
}

private func take(_ call: Call) {
    guard let deadline = call.timeoutOrReply(call.count - 1, .seconds) else { return }
    for index in 1..<(call.count - 1) {
        let key = call.key(index)
        guard let entry = call.lookupWrite(key), entry.isString else { continue }
        call.reply.array(2)
        call.reply.bulk(call[index])
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { room in
            guard let scratch = room.baseAddress else { return }
            call.reply.bulk(entry.bytes(scratch: scratch))
        }
        call.keyspace.remove(key)
        call.changed(.generic, "del", key)
        return call.propagate(as: "DEL", call[index])
    }
    if call.mayNotBlock { return call.reply.nullArray() }
    call.block(on: 1..<(call.count - 1), holding: .string, until: deadline)
}

@Suite struct BlockingTests {
    private let server = CommandHarness(CoreCommands.extensions + [taking])

    private func endIteration() {
        server.executor.expireBlocks()
        server.executor.serveReadyKeys()
        server.executor.processUnblocked()
    }

    @Test func whoWaitedLongestIsServedFirst() {
        let clients = (0..<4).map { _ in server.connect() }
        for client in clients { server.run(["TAKE", "a", "0"], on: client) }
        #expect(clients.allSatisfy { $0.pointee.flags.contains(.blocked) })
        for (index, client) in clients.enumerated() {
            #expect(server.run("SET", "a", "\(index)") == .ok)
            #expect(server.replies(client) == [.array(["a", .bulk("\(index)")])])
        }
        #expect(server.run("EXISTS", "a") == 0)
    }

    @Test func theCauseIsPropagatedBeforeTheEffect() {
        let client = server.connect()
        server.run(["TAKE", "a", "0"], on: client)
        let start = server.streamEnd
        server.run("SET", "a", "1")
        #expect(
            server.stream(from: start) == [["SELECT", "0"], ["SET", "a", "1"], ["DEL", "a"]])
    }

    @Test func aTransactionIsSeenAsAWhole() {
        let client = server.connect()
        server.run(["TAKE", "a", "0"], on: client)
        let start = server.streamEnd
        for words in [["MULTI"], ["SET", "a", "1"], ["DEL", "a"], ["SET", "a", "2"], ["EXEC"]] {
            server.run(words)
        }
        #expect(server.replies(client) == [.array(["a", "2"])])
        #expect(server.stream(from: start).suffix(2) == [["EXEC"], ["DEL", "a"]])
    }

    @Test func nobodyWaitsInsideATransaction() {
        server.run("MULTI")
        server.run("TAKE", "a", "0")
        #expect(server.run("EXEC") == .array([.null]))
        #expect(server.executor.pointee.blocked.count == 0)
    }

    @Test func theFirstOfSeveralKeysEndsTheWait() {
        let client = server.connect()
        server.run(["TAKE", "a", "b", "a", "0"], on: client)
        #expect(server.executor.pointee.blockedKeyCount == 2)
        server.run("SET", "b", "x")
        #expect(server.replies(client) == [.array(["b", "x"])])
        #expect(server.executor.pointee.blockedKeyCount == 0)
        server.run("SET", "a", "y")
        #expect(server.run("GET", "a") == "y")
    }

    @Test func deadlinesEndInOrderWithANullArray() {
        let (first, second) = (server.connect(), server.connect())
        server.run(["TAKE", "a", "0.2"], on: first)
        server.run(["TAKE", "a", "0.1"], on: second)
        let now = server.executor.pointee.now.instant
        #expect(server.executor.pointee.nextBlockDeadline == now + Milliseconds(100))
        server.advance(milliseconds: 99)
        endIteration()
        #expect(server.executor.pointee.blocked.count == 2)
        server.advance(milliseconds: 1)
        endIteration()
        #expect(server.replies(second) == [.null])
        #expect(server.replies(first).isEmpty)
        server.advance(milliseconds: 100)
        endIteration()
        #expect(server.replies(first) == [.null])
        #expect(server.executor.pointee.blocked.count == 0)
    }

    @Test func whatWasSentMeanwhileRunsAfterwards() {
        let client = server.connect()
        server.run(["TAKE", "a", "0"], on: client)
        server.feed(CommandHarness.encode([Array("PING".utf8)]), client)
        #expect(server.replies(client).isEmpty)
        server.run("SET", "a", "1")
        endIteration()
        #expect(server.replies(client) == [.array(["a", "1"]), .simple("PONG")])
    }

    @Test func anInterruptedRequestDoesNotHoldUpWhatFollowsABlock() {
        let client = server.connect()
        let long = CommandHarness.encode([
            Array("SET".utf8), Array("b".utf8), [UInt8](repeating: 120, count: 5000),
        ])
        server.feed(Array(long.prefix(1000)), client)
        let rest = ["TAKE", "a", "0"].map { Array($0.utf8) }
        server.feed(
            Array(long.dropFirst(1000)) + CommandHarness.encode(rest)
                + CommandHarness.encode([Array("PING".utf8)]), client)
        #expect(server.replies(client) == [.ok])
        server.run("SET", "a", "1")
        endIteration()
        #expect(server.replies(client) == [.array(["a", "1"]), .simple("PONG")])
    }

    @Test(arguments: ["-1", "x", "nan", "inf", "9999999999999999"])
    func badTimeoutsAreRefused(_ timeout: String) {
        #expect(server.run("TAKE", "a", timeout).isError)
        #expect(server.executor.pointee.blocked.count == 0)
    }

    @Test func otherWaysToMakeAKeyReady() {
        let ways: [[[String]]] = [
            [["SET", "b", "1"], ["RENAME", "b", "a"]],
            [["SET", "b", "1"], ["COPY", "b", "a"], ["DEL", "b"]],
            [["SELECT", "1"], ["SET", "a", "1"], ["MOVE", "a", "0"]],
            [["SELECT", "1"], ["SET", "a", "1"], ["SWAPDB", "0", "1"]],
        ]
        for way in ways {
            let client = server.connect()
            server.run(["TAKE", "a", "0"], on: client)
            for words in way { server.run(words) }
            #expect(server.replies(client) == [.array(["a", "1"])], "\(way)")
            server.run("SELECT", "0")
        }
    }

    @Test func aSessionThatLeavesLeavesNothing() {
        let client = server.connect()
        server.run(["TAKE", "a", "b", "10"], on: client)
        server.executor.freeSession(client)
        #expect(server.executor.pointee.blockedKeyCount == 0)
        server.run("SET", "a", "1")
        server.advance(milliseconds: 20_000)
        endIteration()
        #expect(server.run("GET", "a") == "1")
    }

    @Test func thePauseOfWritesHoldsThemBack() {
        let client = server.connect()
        server.run(["TAKE", "a", "0"], on: client)
        server.run("MULTI")
        server.run("CLIENT", "PAUSE", "1000", "WRITE")
        server.run("SET", "a", "1")
        server.run("EXEC")
        #expect(server.replies(client).isEmpty)
        server.run("CLIENT", "UNPAUSE")
        server.executor.resumePostponed()
        #expect(server.replies(client) == [.array(["a", "1"])])
    }

    /// Many clients on few keys, with deadlines, against a naive model of the queues.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func agreesWithAModel(seed: UInt64) {
        var prng = Prng(seed: seed)
        var waiting: [(client: UnsafeMutablePointer<Session>, keys: [String], until: Int64?)] = []
        var time: Int64 = 0
        for _ in 0..<2000 {
            switch prng.below(4) {
            case 0, 1:
                let keys = (0...prng.below(3)).map { _ in "k\(prng.below(5))" }
                let timeout = prng.below(3) == 0 ? 0 : Int64(prng.below(50)) + 1
                let client = server.connect()
                server.run(["TAKE"] + keys + ["\(Double(timeout) / 1000)"], on: client)
                waiting.append((client, keys, timeout == 0 ? nil : time + timeout))
            case 2:
                let key = "k\(prng.below(5))"
                server.run("SET", key, "v")
                guard let index = waiting.firstIndex(where: { $0.keys.contains(key) }) else {
                    #expect(server.run("GETDEL", key) == "v")
                    continue
                }
                let served = waiting.remove(at: index)
                #expect(server.replies(served.client) == [.array([.bulk(key), "v"])])
                server.executor.freeSession(served.client)
            default:
                let step = Int64(prng.below(10))
                time += step
                server.advance(milliseconds: step)
                endIteration()
                for (client, _, until) in waiting where until.map({ $0 <= time }) ?? false {
                    #expect(server.replies(client) == [.null])
                    server.executor.freeSession(client)
                }
                waiting.removeAll { $0.until.map { $0 <= time } ?? false }
            }
            #expect(server.executor.pointee.blocked.count == waiting.count)
        }
    }
}
