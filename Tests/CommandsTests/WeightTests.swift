// What commands weigh: the logs of large requests and replies, and the hot keys.
import Base
import Commands
import Engine
import Testing

@Suite struct WeightTests {
    // MARK: COMMANDLOG

    private func logging(from bytes: Int) -> CommandHarness {
        let server = CommandHarness()
        server.executor.pointee.settings.largeRequestFrom = bytes
        server.executor.pointee.settings.largeReplyFrom = bytes
        server.executor.applyObservationSettings()
        return server
    }

    @Test func largeRequestsAndRepliesAreLogged() {
        let server = logging(from: 145)
        let value = String(repeating: "v", count: 140)
        server.run("SET", "k", value)
        server.run("GET", "none")
        server.run("GET", "k")
        server.run("SET", "k", "small")
        #expect(server.run("COMMANDLOG", "LEN", "large-request") == 1)
        let requests = server.run("COMMANDLOG", "GET", "-1", "large-request").elements
        #expect(requests.first?.elements[2] == .integer(26 + 140 + 2))
        let cut = String(repeating: "v", count: 128) + "... (12 more bytes)"
        #expect(requests.first?.elements[3] == .array(["SET", "k", .bulk(cut)]))
        #expect(requests.first?.elements[4] == "127.0.0.1:50000")
        // The log of requests was a large reply itself; the newest comes first.
        let replies = server.run("COMMANDLOG", "GET", "5", "LARGE-REPLY").elements
        #expect(replies.map { $0.elements[3].elements.first } == ["COMMANDLOG", "GET"])
        #expect(server.run("COMMANDLOG", "RESET", "large-request") == .ok)
        #expect(server.run("COMMANDLOG", "LEN", "large-request") == 0)
    }

    @Test func nothingIsLoggedBelowTheLimitsOrWithoutThem() {
        let server = logging(from: -1)
        server.run("SET", "k", String(repeating: "v", count: 5000))
        server.run("GET", "k")
        server.executor.pointee.settings.largeReplyFrom = 6000
        server.executor.pointee.settings.largeRequestFrom = 6000
        server.executor.applyObservationSettings()
        // Together they are large; each by itself is not.
        let small = CommandHarness.encode([Array("GET".utf8), Array("k".utf8)])
        let set = CommandHarness.encode(
            ["SET", "k", String(repeating: "v", count: 4000)].map { Array($0.utf8) })
        server.feed(set + small + set + small)
        #expect(server.replies().count == 4)
        for kind in ["large-request", "large-reply", "slow"] {
            #expect(server.run("COMMANDLOG", "LEN", kind) == 0, "\(kind)")
        }
    }

    @Test func theOldestEntriesGo() {
        let server = logging(from: 0)
        server.executor.pointee.settings.largeRequestLength = 3
        for index in 0..<10 { server.run("SET", "k", "\(index)") }
        #expect(server.run("COMMANDLOG", "LEN", "large-request") == 3)
        let entries = server.run("COMMANDLOG", "GET", "-1", "large-request").elements
        #expect(entries.count == 3)
    }

    @Test func refusalsOfCommandLog() {
        let server = logging(from: -1)
        let kinds = "ERR type should be one of the following: slow, large-request, large-reply"
        #expect(server.run("COMMANDLOG", "LEN", "huge") == .error(kinds))
        #expect(server.run("COMMANDLOG", "GET", "1", "huge") == .error(kinds))
        #expect(
            server.run("COMMANDLOG", "GET", "-2", "slow")
                == .error("ERR count should be greater than or equal to -1"))
        #expect(server.run("COMMANDLOG", "GET", "1").isError)
        #expect(server.run("COMMANDLOG", "HELP").elements.count > 5)
        #expect(server.run("SLOWLOG", "LEN") == server.run("COMMANDLOG", "LEN", "slow"))
    }

    // MARK: HOTKEYS

    /// Runs `count` commands in pipelines; `command` makes them.
    private func run(_ server: CommandHarness, _ count: Int, _ command: (Int) -> [String]) {
        var left = count
        while left > 0 {
            var bytes: [UInt8] = []
            for index in 0..<min(left, 40) {
                bytes += CommandHarness.encode(command(left - index).map { Array($0.utf8) })
            }
            left -= 40
            server.feed(bytes)
            #expect(server.replies().isEmpty == false)
            server.advance(milliseconds: 10)
        }
    }

    private func keys(_ reply: Reply) -> [String] {
        reply.elements.compactMap { $0["key"]?.text }
    }

    @Test func theHottestKeysAreFound() {
        let server = CommandHarness(seed: 3)
        var prng = Prng(seed: 5)
        let large = String(repeating: "x", count: 3000)
        server.run("SET", "large", large)
        run(server, 20_000) { _ in
            switch prng.below(10) {
            case 0...3: ["GET", "hot"]
            case 4, 5: ["INCR", "warm"]
            case 6: ["GET", "large"]
            default: ["GET", "cold:\(prng.below(5000))"]
            }
        }
        #expect(keys(server.run("HOTKEYS", "COUNT", "2")) == ["hot", "warm"])
        #expect(keys(server.run("HOTKEYS", "BY", "bytes", "COUNT", "1")) == ["large"])
        let hot = server.run("HOTKEYS").elements[0]
        let share = Double(hot["share-percent"]?.text ?? "") ?? 0
        #expect(share > 28 && share < 55, "about 40 of 100")
        // 40 commands in 10 ms, of which four in ten.
        let rate = hot["requests-per-sec"]?.integer ?? 0
        #expect(rate > 1000 && rate < 2300, "about 1600")
        #expect(hot["db"] == 0)
        #expect(server.run("HOTKEYS", "RESET") == .ok)
        #expect(server.run("HOTKEYS").elements.isEmpty)
    }

    @Test func thePastIsForgotten() {
        let server = CommandHarness(seed: 4)
        run(server, 4000) { _ in ["GET", "yesterday"] }
        server.advance(milliseconds: 600_000)
        run(server, 2000) { _ in ["GET", "today"] }
        #expect(keys(server.run("HOTKEYS", "COUNT", "1")) == ["today"])
    }

    @Test func refusalsOfHotKeys() {
        let server = CommandHarness()
        #expect(server.run("HOTKEYS", "BY") == .error("ERR syntax error"))
        #expect(server.run("HOTKEYS", "WHAT", "1") == .error("ERR syntax error"))
        #expect(
            server.run("HOTKEYS", "BY", "what")
                == .error("ERR BY should be one of REQUESTS, BYTES, CPU"))
        #expect(
            server.run("HOTKEYS", "COUNT", "0") == .error("ERR COUNT should be greater than 0"))
    }
}
