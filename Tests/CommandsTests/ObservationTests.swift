// SLOWLOG, MONITOR, LATENCY and the statistics of commands, in process. No counter of time is set
// but where a test counts its readings, so everything else takes no time at all.
import Base
import Engine
import Testing

/// A counter that moves when it is read. One test uses it.
private nonisolated(unsafe) var readings: UInt64 = 0

@Suite struct ObservationTests {
    /// Reading the counter is a part of a short command's time, so a pipeline reads it once for
    /// many; the statistics are complete all the same.
    @Test func shortCommandsInARowAreTimedTogether() throws {
        let server = server(("slowlog-log-slower-than", "10000"))
        server.executor.pointee.timer.ticks = {
            readings += 1
            return readings * 100
        }
        var pipeline: [UInt8] = []
        for _ in 0..<20 { pipeline += CommandHarness.encode([Array("GET".utf8), [65]]) }
        pipeline += CommandHarness.encode([Array("LLEN".utf8), [65]])
        for _ in 0..<20 { pipeline += CommandHarness.encode([Array("GET".utf8), [65]]) }
        func usage(_ name: String) throws -> (calls: Int64, timed: Int64, nanoseconds: UInt64) {
            let name = Array(name.utf8)
            let command = try #require(
                name.withBytes { server.executor.pointee.commands.pointee.find($0) })
            let timed = command.pointee.times.count
            return (command.pointee.calls, timed, command.pointee.nanoseconds)
        }
        readings = 0
        server.feed(pipeline)
        #expect(server.replies().count == 41)
        // The batch, 16 and 4, one, 16 and 4; the hot keys look at one command more closely.
        #expect((6...8).contains(readings))
        let gets = try usage("get")
        #expect(gets.calls == 40 && gets.timed == 40 && gets.nanoseconds > 0)
        let lengths = try usage("llen")
        #expect(lengths.calls == 1 && lengths.timed == 1)
        // Whoever asks for each command gets each.
        #expect(ConfigTable.entry("slowlog-log-slower-than")?
            .set(&server.executor.pointee.settings, ["0"]) == nil)
        server.executor.applyObservationSettings()
        readings = 0
        server.feed(pipeline)
        #expect(server.replies().count == 41)
        #expect(readings >= 42)
        #expect(server.run("SLOWLOG", "LEN") == 41)
        #expect(try usage("get").calls == 80)
    }

    private func server(_ directives: (String, String)...) -> CommandHarness {
        let server = CommandHarness()
        for (name, value) in directives {
            #expect(
                ConfigTable.entry(name)?.set(&server.executor.pointee.settings, [value]) == nil)
        }
        server.executor.applyObservationSettings()
        return server
    }

    // MARK: Slow log

    @Test func slowLogKeepsTheNewest() {
        let server = server(("slowlog-log-slower-than", "0"), ("slowlog-max-len", "3"))
        for number in 1...5 { server.run("SET", "k", "\(number)") }
        #expect(server.run("SLOWLOG", "LEN") == 3)
        let all = server.run("SLOWLOG", "GET", "-1").elements
        #expect(all.count == 3)
        #expect(all[0].elements[3] == .array(["SLOWLOG", "LEN"]))
        #expect(all[1].elements[3] == .array(["SET", "k", "5"]))
        #expect(all[0].elements[0].integer == 5)
        #expect(server.run("SLOWLOG", "GET", "1").elements.count == 1)
        #expect(
            server.run("SLOWLOG", "GET", "-2")
                == .error("ERR count should be greater than or equal to -1"))
        #expect(server.run("SLOWLOG", "RESET") == .ok)
        #expect(server.run("SLOWLOG", "LEN") == 1)
    }

    @Test func slowLogCutsLongArguments() {
        let server = server(("slowlog-log-slower-than", "0"))
        server.run(["DEL"] + (1...40).map { "\($0)" })
        server.run("SET", "k", String(repeating: "x", count: 200))
        let entries = server.run("SLOWLOG", "GET").elements
        #expect(
            entries[0].elements[3].elements[2]
                == .bulk(String(repeating: "x", count: 128) + "... (72 more bytes)"))
        let many = entries[1].elements[3].elements
        #expect(many.count == 32)
        #expect(many[31] == "... (10 more arguments)")
    }

    @Test func secretsAreNotKept() {
        let server = server(("slowlog-log-slower-than", "0"))
        server.run("AUTH", "default", "secret")
        server.run("HELLO", "2", "AUTH", "default", "secret")
        let entries = server.run("SLOWLOG", "GET").elements.map { $0.elements[3] }
        #expect(
            entries == [
                .array(["HELLO", "2", "AUTH", "(redacted)", "(redacted)"]),
                .array(["AUTH", "(redacted)", "(redacted)"]),
            ])
    }

    @Test func nothingIsKeptWhenOff() {
        let server = server(("slowlog-log-slower-than", "-1"))
        server.run("SET", "k", "v")
        #expect(server.run("SLOWLOG", "LEN") == 0)
        server.executor.pointee.settings.slowLogThreshold = 0
        server.executor.pointee.settings.slowLogLength = 0
        server.executor.applyObservationSettings()
        server.run("SET", "k", "v")
        #expect(server.run("SLOWLOG", "LEN") == 0)
    }

    // MARK: Monitor

    private func shown(_ server: CommandHarness, _ session: UnsafeMutablePointer<Session>)
        -> [String]
    {
        server.replies(session).compactMap { reply in
            guard let text = reply.text, let end = text.firstIndex(of: "]") else { return nil }
            return String(text[text.index(end, offsetBy: 2)...])
        }
    }

    @Test func monitorsSeeCommandsInTheirOrder() {
        let server = server()
        let monitor = server.connect()
        #expect(server.run(["MONITOR"], on: monitor) == .ok)
        server.run("SET", "foo", "a\"b\\c\n\u{1}")
        server.run("GET", "foo")
        server.run("CLIENT", "LIST")
        server.run("AUTH", "default", "secret")
        for words in [["MULTI"], ["INCR", "n"], ["EXEC"]] { server.run(words) }
        #expect(
            shown(server, monitor) == [
                #""SET" "foo" "a\"b\\c\n\x01""#, #""GET" "foo""#,
                #""AUTH" "(redacted)" "(redacted)""#, #""MULTI""#, #""INCR" "n""#, #""EXEC""#,
            ])
        #expect(
            server.run(["GET", "foo"], on: monitor)
                == .error("ERR Replica can't interact with the keyspace"))
        #expect(server.run(["RESET"], on: monitor) == .simple("RESET"))
        _ = server.replies(monitor)
        server.run("SET", "foo", "b")
        #expect(shown(server, monitor) == [])
    }

    @Test func aMonitorThatGoesIsForgotten() {
        let server = server()
        let monitor = server.connect()
        server.run(["MONITOR"], on: monitor)
        server.executor.freeSession(monitor)
        #expect(server.run("PING") == .simple("PONG"))
        let left = server.executor.pointee.monitors.count
        #expect(left == 0)
    }

    // MARK: Latency

    @Test func histogramsCountCalls() {
        let server = server()
        for _ in 0..<3 { server.run("SET", "k", "v") }
        server.run("CLIENT", "ID")
        let reply = server.run("LATENCY", "HISTOGRAM", "set", "client", "nonsense")
        #expect(reply["set"]?["calls"] == 3)
        #expect(reply["set"]?["histogram_usec"] == .array([1, 3]))
        #expect(reply["client|id"]?["calls"] == 1)
        #expect(reply.elements.count == 4)
        server.executor.pointee.settings.latencyTracking = false
        server.run("GET", "k")
        #expect(server.run("LATENCY", "HISTOGRAM", "get") == .array([]))
    }

    @Test func withoutEventsThereIsNothingToReport() {
        let server = server()
        #expect(server.run("LATENCY", "LATEST") == .array([]))
        #expect(server.run("LATENCY", "HISTORY", "command") == .array([]))
        #expect(server.run("LATENCY", "RESET", "command") == 0)
        #expect(
            server.run("LATENCY", "GRAPH", "x")
                == .error("ERR No samples available for event 'x'"))
        #expect(server.run("LATENCY", "DOCTOR").text?.isEmpty == false)
        #expect(server.run("LATENCY", "NONSENSE").isError)
    }

    /// The steps are those of the reference's histograms: 1024 ns and its doubles.
    @Test func timesAddUp() {
        var times = CommandTimes()
        for nanoseconds: UInt64 in [0, 5, 900, 1500, 3000, 40_000, 1 << 50] {
            times.add(nanoseconds)
        }
        let steps = times.cumulative
        #expect(steps.map(\.microseconds).prefix(4) == [1, 2, 4, 66])
        #expect(steps.map(\.count) == [3, 4, 5, 6, 7])
        #expect(times.percentile(50) == 1503)
        #expect(times.count == 7)
        times.free()
    }
}
