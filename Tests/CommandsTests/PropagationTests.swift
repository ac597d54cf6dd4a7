// What the replication stream gets for each command: itself, a form that means the same whenever
// and wherever it is applied, or nothing. And the key events that go with it.
import Base
import Engine
import Storage
import Testing

@Suite struct PropagationTests {
    /// What a transaction propagates: nothing, one command as it is, several as a whole.
    @Test func transactionsAreWrappedOnlyWhenTheyNeedIt() {
        let server = CommandHarness()
        let bodies: [([[String]], [[String]])] = [
            ([["GET", "k"]], []),
            ([["SET", "k", "v"], ["GET", "k"]], [["SELECT", "0"], ["SET", "k", "v"]]),
            (
                [["SET", "a", "1"], ["SELECT", "1"], ["SET", "b", "2"], ["SELECT", "0"]],
                [["MULTI"], ["SET", "a", "1"], ["SELECT", "1"], ["SET", "b", "2"], ["EXEC"]]
            ),
            ([["SET", "c", "1"]], [["SELECT", "0"], ["SET", "c", "1"]]),
        ]
        for (body, stream) in bodies {
            let start = server.streamEnd
            for words in [["MULTI"]] + body + [["EXEC"]] { server.run(words) }
            #expect(server.stream(from: start) == stream)
        }
    }

    /// Words of a command; the words that the stream gets, several commands divided by `|`.
    private static let forms: [(String, String)] = [
        ("SET k v", "SET k v"), ("set k v", "set k v"),
        ("SET k v EX 10", "SET k v PXAT 1700000010000"),
        ("SET k v PX 10 NX", ""), ("SET n v PX 10 NX", "SET n v PXAT 1700000000010"),
        ("SET k v EXAT 1700000010", "SET k v PXAT 1700000010000"),
        ("SET k v PXAT 1700000010000", "SET k v PXAT 1700000010000"),
        ("SET k v GET", "SET k v"), ("SET k v XX GET KEEPTTL", "SET k v XX KEEPTTL"),
        ("SET k v get EX 10", "SET k v PXAT 1700000010000"), ("SET k v NX GET", ""),
        ("SET k v EX 0", ""), ("SETEX k 10 v", "SET k v PXAT 1700000010000"),
        ("PSETEX k 10 v", "SET k v PXAT 1700000000010"), ("SETNX k v", ""),
        ("SETNX n v", "SETNX n v"),
        ("GETSET k w", "SET k w"), ("GETDEL k", "DEL k"), ("GETDEL n", ""), ("GETEX k", ""),
        ("GETEX k EX 10", "PEXPIREAT k 1700000010000"),
        ("GETEX k PXAT 1700000000010", "PEXPIREAT k 1700000000010"),
        ("GETEX k PXAT 1", "DEL k"), ("GETEX t PERSIST", "PERSIST t"), ("GETEX k PERSIST", ""),
        ("GETEX n EX 10", ""), ("INCR i", "INCR i"), ("INCRBY i 5", "INCRBY i 5"), ("INCR k", ""),
        ("INCRBYFLOAT i 0.5", "SET i 1.5 KEEPTTL"), ("APPEND k x", "APPEND k x"),
        ("SETRANGE k 1 x", "SETRANGE k 1 x"), ("SETRANGE k 1 ''", ""),
        ("MSET k 1 n 2", "MSET k 1 n 2"), ("MSETNX k 1 n 2", ""), ("DEL k n", "DEL k n"),
        ("DEL n", ""), ("UNLINK k", "UNLINK k"), ("GET k", ""), ("MGET k n", ""), ("TTL t", ""),
        ("EXPIRE k 10", "PEXPIREAT k 1700000010000"), ("EXPIRE n 10", ""),
        ("EXPIRE k 10 NX", "PEXPIREAT k 1700000010000 NX"), ("EXPIRE k 10 XX", ""),
        ("PEXPIRE k 10", "PEXPIREAT k 1700000000010"),
        ("EXPIREAT k 1700000010", "PEXPIREAT k 1700000010000"),
        ("PEXPIREAT k 1700000000010", "PEXPIREAT k 1700000000010"), ("EXPIRE k -1", "DEL k"),
        ("EXPIREAT k 1", "DEL k"), ("PERSIST t", "PERSIST t"), ("PERSIST k", ""),
        ("RENAME k n", "RENAME k n"), ("RENAME k k", ""), ("RENAMENX k t", ""),
        ("MOVE k 3", "MOVE k 3"), ("COPY k n", "COPY k n"), ("COPY k t", ""),
        // A key whose time is over is deleted first, by whichever command meets it.
        ("GET old", "DEL old"), ("SET old v", "DEL old|SET old v"), ("EXISTS old k", "DEL old"),
        ("DEL old", "DEL old"), ("INCR old", "DEL old|INCR old"), ("MGET k old", "DEL old"),
        ("SCAN 0 COUNT 100", "DEL old"), ("KEYS *", ""), ("RENAME old n", "DEL old"),
        ("COPY k old", "DEL old|COPY k old"), ("MSET k 1 old 2", "DEL old|MSET k 1 old 2"),
    ]

    @Test func formsInTheStream() {
        for (command, expected) in Self.forms {
            let server = CommandHarness()
            prepare(server)
            let start = server.streamEnd
            server.run(command.split(separator: " ").map { $0 == "''" ? "" : String($0) })
            let stream = server.stream(from: start).map { $0.joined(separator: " ") }
            #expect(stream.joined(separator: "|") == expected, "\(command)")
        }
    }

    @Test func lazyForms() {
        for (command, expected) in [
            ("GET old", "UNLINK old"), ("EXPIRE k 0", "UNLINK k"), ("GETEX k PXAT 1", "UNLINK k"),
            ("DEL k", "DEL k"),
        ] {
            let server = CommandHarness()
            server.executor.pointee.settings.lazyExpire = true
            server.executor.pointee.settings.lazyUserDelete = true
            prepare(server)
            let start = server.streamEnd
            server.run(command.split(separator: " ").map(String.init))
            let stream = server.stream(from: start).map { $0.joined(separator: " ") }
            #expect(stream.joined(separator: "|") == expected, "\(command)")
        }
    }

    /// k without and t with an expiry, i a number, old over.
    private func prepare(_ server: CommandHarness) {
        check(
            [
                ("SET k v", .ok), ("SET t v EX 100", .ok), ("SET i 1", .ok),
                ("SET old 5 PXAT 1", .ok),
            ], on: server)
    }

    @Test func databasesInTheStream() {
        let server = CommandHarness()
        let other = server.connect()
        other.pointee.database = 3
        let start = server.streamEnd
        server.run("SET", "a", "1")
        server.run(["SET", "b", "1"], on: other)
        server.run(["SET", "c", "1"], on: other)
        server.run("SET", "d", "1")
        #expect(
            server.stream(from: start) == [
                ["SELECT", "0"], ["SET", "a", "1"], ["SELECT", "3"], ["SET", "b", "1"],
                ["SET", "c", "1"], ["SELECT", "0"], ["SET", "d", "1"],
            ])
    }

    @Test func restoreIsAbsolute() {
        let server = CommandHarness()
        let payload: [UInt8] = [0, 0xC0, 7, 10, 0]
        let sum = payload.withBytes { crc64(0, $0) }
        let whole = payload + (0..<8).map { UInt8(truncatingIfNeeded: sum &>> UInt64($0 * 8)) }
        func restore(_ words: String...) -> [[String]] {
            let start = server.streamEnd
            let bytes = words.map { $0 == "P" ? whole : Array($0.utf8) }
            #expect(server.run(bytes: [Array("RESTORE".utf8)] + bytes) == .ok)
            return server.stream(from: start).filter { $0.first != "SELECT" }
        }
        #expect(restore("k", "0", "P").map(\.count) == [4])
        let relative = restore("k", "100", "P", "REPLACE")
        #expect(relative.map(\.count) == [6])
        #expect(relative.first?[2] == "1700000000100")
        #expect(relative.first?.last == "ABSTTL")
        #expect(server.run("GET", "k") == "7")
        #expect(restore("k", "5", "P", "REPLACE", "ABSTTL") == [["DEL", "k"]])
        #expect(restore("k", "5", "P", "ABSTTL") == [])
    }

    // MARK: Key events

    /// Events that the hook has seen. Tests run side by side, so the executor finds its own.
    private final class Events {
        var lines: [String] = []
    }

    private func events(_ command: String) -> String {
        let server = CommandHarness()
        prepare(server)
        let events = Events()
        server.executor.pointee.host = Unmanaged.passUnretained(events).toOpaque()
        server.executor.pointee.keyEvent = { executor, event in
            let executor = executor.assumingMemoryBound(to: Executor.self)
            let event = event.assumingMemoryBound(to: KeyEvent.self).pointee
            guard let host = executor.pointee.host else { return }
            let events = Unmanaged<Events>.fromOpaque(host).takeUnretainedValue()
            events.lines.append(
                "\(event.name):\(event.key.bytes.string)@\(event.key.database)")
        }
        server.run(command.split(separator: " ").map(String.init))
        return withExtendedLifetime(events) { events.lines.joined(separator: " ") }
    }

    @Test(arguments: [
        ("SET k w", "set:k@0"), ("SET n w EX 5", "new:n@0 set:n@0 expire:n@0"),
        ("SET n w", "new:n@0 set:n@0"), ("SET k w NX", ""), ("SETNX n w", "new:n@0 set:n@0"),
        ("SETEX k 5 w", "set:k@0 expire:k@0"), ("GETSET k w", "set:k@0"), ("GETDEL k", "del:k@0"),
        ("GETEX k EX 5", "expire:k@0"), ("GETEX t PERSIST", "persist:t@0"),
        ("GETEX k PXAT 1", "del:k@0"),
        ("INCR i", "incrby:i@0"), ("DECR n", "new:n@0 incrby:n@0"),
        ("INCRBYFLOAT i 1", "incrbyfloat:i@0"),
        ("APPEND n x", "new:n@0 append:n@0"), ("SETRANGE k 0 x", "setrange:k@0"),
        ("MSET k 1 n 2", "set:k@0 new:n@0 set:n@0"), ("DEL k n t", "del:k@0 del:t@0"),
        ("UNLINK k", "del:k@0"), ("EXPIRE k 5", "expire:k@0"), ("EXPIRE k 0", "del:k@0"),
        ("PERSIST t", "persist:t@0"), ("RENAME k n", "new:n@0 rename_from:k@0 rename_to:n@0"),
        ("MOVE k 2", "new:k@2 move_from:k@0 move_to:k@2"), ("COPY k n", "new:n@0 copy_to:n@0"),
        ("GET n", "keymiss:n@0"), ("TTL n", "keymiss:n@0"), ("OBJECT ENCODING n", ""),
        ("GET k", ""),
        ("GET old", "expired:old@0 keymiss:old@0"),
        ("SET old v", "expired:old@0 new:old@0 set:old@0"),
    ])
    func eventsOfCommands(command: String, expected: String) {
        #expect(events(command) == expected)
    }
}
