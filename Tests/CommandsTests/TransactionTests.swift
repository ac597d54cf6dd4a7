// MULTI, EXEC, WATCH, in process, and as a replica applies them from its primary's stream.
import Base
import Engine
import Storage
import Testing

private let queued = Reply.simple("QUEUED")
private let execAbort = Reply.error("EXECABORT Transaction discarded because of previous errors.")

@Suite struct TransactionTests {
    @Test func queueAndRun() {
        check([
            ("EXEC", .error("ERR EXEC without MULTI")),
            ("DISCARD", .error("ERR DISCARD without MULTI")), ("MULTI", .ok),
            ("MULTI", .error("ERR MULTI calls can not be nested")), ("SET k v", queued),
            ("INCR n", queued), ("INCR k", queued), ("GET k", queued),
            ("WATCH k", .error("ERR WATCH inside MULTI is not allowed")),
            ("EXEC", [.ok, 1, notInteger, "v"]), ("GET k", "v"),
            ("MULTI", .ok), ("EXEC", []), ("MULTI", .ok), ("SET k w", queued), ("DISCARD", .ok),
            ("GET k", "v"), ("EXEC", .error("ERR EXEC without MULTI")),
        ])
    }

    @Test func refusedCommandsAbort() {
        check([
            ("MULTI", .ok), ("SET k v", queued), ("SET k", wrongArity("set")), ("SET k w", queued),
            ("EXEC", execAbort), ("EXISTS k", 0), ("MULTI", .ok),
            (
                "NOSUCH a",
                .error("ERR unknown command 'NOSUCH', with args beginning with: 'a' ")
            ), ("EXEC", execAbort), ("MULTI", .ok), ("SET k v", queued),
            (
                "EXEC now",
                .error(
                    "EXECABORT Transaction discarded because of: wrong number of arguments for "
                        + "'exec' command")
            ), ("EXEC", .error("ERR EXEC without MULTI")),
            ("MULTI", .ok), ("SET k v", queued), ("EXEC", [.ok]),
        ])
    }

    @Test(arguments: [2, 3] as [UInt8]) func nullWhenAWatchedKeyChanged(version: UInt8) {
        let server = CommandHarness()
        let other = server.connect()
        server.session.pointee.protocolVersion = version
        for (change, fails) in [
            (["SET", "k", "w"], true), (["DEL", "k"], true), (["EXPIRE", "k", "100"], true),
            (["GET", "k"], false), (["SET", "other", "w"], false), (["APPEND", "k", ""], true),
            (["RENAME", "k", "j"], true), (["PERSIST", "k"], false), (["EXPIRE", "k", "0"], true),
            (["COPY", "k", "j", "REPLACE"], false), (["COPY", "j", "k", "REPLACE"], true),
        ] {
            server.run("SET", "k", "1")
            server.run("SET", "j", "1")
            check([("WATCH k none", .ok)], on: server)
            server.run(change, on: other)
            check([("MULTI", .ok), ("PERSIST none", queued)], on: server)
            server.feed(CommandHarness.encode([Array("EXEC".utf8)]))
            let null = version == 2 ? "*-1\r\n" : "_\r\n"
            let text = server.session.pointee.output.pointee.bytes.string
            server.session.pointee.output.pointee.removeAll()
            #expect(text == (fails ? null : "*1\r\n:0\r\n"), "\(change)")
            #expect(server.executor.pointee.watch.isEmpty)
        }
    }

    @Test func endsOfAWatch() {
        let server = CommandHarness()
        let other = server.connect()
        for end in ["UNWATCH", "EXEC", "DISCARD"] {
            server.run("WATCH", "k")
            if end != "UNWATCH" { server.run("MULTI") }
            server.run(end)
            server.run(["SET", "k", "\(end)"], on: other)
            check([("MULTI", .ok), ("PING2", .error(
                "ERR unknown command 'PING2', with args beginning with: "))], on: server)
            check([("EXEC", execAbort), ("MULTI", .ok), ("EXEC", [])], on: server)
        }
        // UNWATCH also forgives what changed already; a change by oneself counts.
        server.run("WATCH", "k")
        server.run(["SET", "k", "2"], on: other)
        check([("UNWATCH", .ok), ("MULTI", .ok), ("EXEC", [])], on: server)
        check([("WATCH k", .ok), ("SET k 3", .ok), ("MULTI", .ok), ("EXEC", .null)], on: server)
        // A session that leaves takes its watches with it.
        server.run(["WATCH", "k"], on: other)
        server.executor.freeSession(other)
        #expect(server.executor.pointee.watch.isEmpty)
    }

    @Test func watchedKeysThatExpire() {
        let server = CommandHarness()
        // Alive when watched, over at EXEC, removed by nobody.
        check([("SET k v PX 5", .ok), ("WATCH k", .ok)], on: server)
        server.advance(milliseconds: 6)
        check([("MULTI", .ok), ("EXEC", .null)], on: server)
        // The same, removed by another client in between.
        let other = server.connect()
        check([("SET k v PX 5", .ok), ("WATCH k", .ok)], on: server)
        server.advance(milliseconds: 6)
        #expect(server.run(["GET", "k"], on: other) == .null)
        check([("MULTI", .ok), ("EXEC", .null)], on: server)
        // Over already when watched: its removal is no change.
        check([("SET k v PX 5", .ok)], on: server)
        server.advance(milliseconds: 6)
        check([("WATCH k", .ok)], on: server)
        #expect(server.run(["GET", "k"], on: other) == .null)
        check([("MULTI", .ok), ("EXEC", [])], on: server)
        // But a new value is.
        check([("SET k v PX 5", .ok)], on: server)
        server.advance(milliseconds: 6)
        check([("WATCH k", .ok)], on: server)
        #expect(server.run(["SET", "k", "w"], on: other) == .ok)
        check([("MULTI", .ok), ("EXEC", .null)], on: server)
    }

    @Test func wholeDatabasesUnderWatch() {
        let server = CommandHarness()
        func outcome(_ before: WatchedState, _ after: WatchedState, expired: Bool = false) -> Bool {
            var table = WatchTable()
            let key = WatchedKey(database: 0, key: [1])
            table.add(key, server.session, isExpired: expired)
            table.touchAll(database: 0) { _ in (before, after) }
            defer { server.session.pointee.flags.remove(.dirtyWatch) }
            return server.session.pointee.flags.contains(.dirtyWatch)
        }
        #expect(!outcome(.missing, .missing))
        #expect(outcome(.alive, .missing))
        #expect(outcome(.missing, .alive))
        #expect(outcome(.alive, .alive))
        #expect(!outcome(.missing, .expired))
        #expect(!outcome(.expired, .missing, expired: true))
        #expect(!outcome(.expired, .expired, expired: true))
        #expect(outcome(.expired, .alive, expired: true))
    }

    @Test func asOneInTheStream() {
        let server = CommandHarness()
        let start = server.streamEnd
        check(
            [
                ("MULTI", .ok), ("SET a 1", queued), ("GET a", queued), ("INCR a", queued),
                ("SET b x EX 10", queued), ("EXEC", [.ok, "1", 2, .ok]),
                ("MULTI", .ok), ("GET a", queued), ("EXEC", ["2"]),
            ], on: server)
        #expect(
            server.stream(from: start) == [
                ["SELECT", "0"], ["MULTI"], ["SET", "a", "1"], ["INCR", "a"],
                ["SET", "b", "x", "PXAT", "1700000010000"], ["EXEC"],
            ])
    }

    /// A primary's stream holds MULTI and EXEC; until EXEC has come whole, neither offset nor
    /// backlog move, and nobody is answered.
    @Test func fromThePrimary() {
        let server = CommandHarness()
        server.executor.pointee.alerts.insert(.isReplica)
        let primary = server.connect()
        primary.pointee.flags.insert([.fromPrimary, .authenticated])
        let lines = [
            ["SELECT", "0"], ["MULTI"], ["SET", "a", "1"], ["INCR", "a"], ["EXEC"],
            ["SET", "b", "2"],
        ]
        let stream = lines.map { CommandHarness.encode($0.map { Array($0.utf8) }) }
        let all = stream.flatMap { $0 }
        for split in stride(from: 0, through: all.count, by: 7) {
            let start = server.streamEnd
            let applied = primary.pointee.appliedOffset
            server.feed(Array(all[..<split]), primary)
            let inside = split >= (stream[0] + stream[1]).count
                && split < stream[0...4].joined().count
            if inside {
                #expect(server.streamEnd - start <= Int64(stream[0].count))
                #expect(primary.pointee.appliedOffset == applied + (server.streamEnd - start))
            }
            server.feed(Array(all[split...]), primary)
            #expect(server.streamEnd == start + Int64(all.count))
            #expect(primary.pointee.appliedOffset == applied + Int64(all.count))
            #expect(primary.pointee.output.pointee.count == 0)
            #expect(server.run("MGET", "a", "b") == ["2", "2"])
        }
    }
}
