// Lists inside the block of their key, as commands meet them: each command does to one what it does
// to a list that grew element by element, those that change it take it out, all others leave it.
import Base
import Commands
import Engine
import RESP
import Storage
import Testing

private let elements = ["e0", "e1", "2", "e3", "e1", "-5", "e6", "e1", "e8", "element nine"]

@Suite struct InlineListTests {
    private let server = CommandHarness()

    private func list(_ key: String) -> [String] {
        server.run("LRANGE", key, "0", "-1").elements.compactMap(\.text)
    }

    private func entry(_ key: String, database: Int = 0) -> Entry? {
        key.withBytes { server.keyspace.find(server.keyspace.key($0, database: database)) }
    }

    private func isInline(_ key: String) -> Bool { entry(key)?.isInline ?? false }

    private func digest(_ key: String) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 20)
        digest.withUnsafeMutableBufferPointer { room in
            if let start = room.baseAddress, let entry = entry(key) {
                server.keyspace.digestValue(entry, to: start)
            }
        }
        return digest
    }

    /// The same list twice: `in` is inline, `out` is not.
    private func prepare() {
        server.run("FLUSHALL")
        server.run(["RPUSH", "in"] + elements)
        for element in elements { server.run("RPUSH", "out", element) }
        #expect(isInline("in") && !isInline("out"))
    }

    @Test func readersNeedNotKnow() {
        prepare()
        let reads: [[String]] = [
            ["LLEN", "KEY"], ["LRANGE", "KEY", "0", "-1"], ["LRANGE", "KEY", "3", "5"],
            ["LRANGE", "KEY", "-2", "100"], ["LRANGE", "KEY", "20", "30"], ["LINDEX", "KEY", "0"],
            ["LINDEX", "KEY", "2"], ["LINDEX", "KEY", "-1"], ["LINDEX", "KEY", "10"],
            ["LPOS", "KEY", "e1"], ["LPOS", "KEY", "e1", "RANK", "-1", "COUNT", "0"],
            ["LPOS", "KEY", "-5", "MAXLEN", "3"], ["SORT", "KEY", "ALPHA"],
            ["SORT", "KEY", "ALPHA", "DESC", "LIMIT", "2", "3"], ["SORT", "KEY", "BY", "nosort"],
            ["SORT_RO", "KEY", "BY", "nosort", "GET", "#"], ["TYPE", "KEY"], ["EXISTS", "KEY"],
            ["OBJECT", "ENCODING", "KEY"], ["OBJECT", "REFCOUNT", "KEY"], ["TTL", "KEY"],
            ["GET", "KEY"], ["STRLEN", "KEY"], ["APPEND", "KEY", "x"], ["INCR", "KEY"],
            ["HGET", "KEY", "f"], ["SADD", "KEY", "m"], ["ZADD", "KEY", "1", "m"],
            ["SCAN", "0", "TYPE", "list", "MATCH", "none*"], ["LMPOP", "1", "none", "LEFT"],
            ["LPOP", "KEY", "0"], ["RPOP", "KEY", "0"],
        ]
        for words in reads {
            let replies = ["in", "out"].map { key in
                server.run(words.map { $0 == "KEY" ? key : $0 })
            }
            #expect(replies[0] == replies[1], "\(words)")
        }
        #expect(server.run("OBJECT", "ENCODING", "in") == "listpack")
        #expect(digest("in") == digest("out"))
        let usage = ["in", "out"].compactMap { entry($0) }
            .map { server.keyspace.memoryUsage($0, samples: 0) }
        #expect(usage.count == 2 && usage[0] > 60 && usage[0] < usage[1])
        #expect(isInline("in") && !isInline("out"))
        server.keyspace.checkInvariants()
    }

    @Test func writersTakeItOut() {
        let writes: [[String]] = [
            ["RPUSH", "KEY", "a"], ["LPUSH", "KEY", "a", "b"], ["RPUSHX", "KEY", "a"],
            ["LPUSHX", "KEY", "a"], ["RPUSH", "KEY", String(repeating: "x", count: 9000)],
            ["LPOP", "KEY"], ["RPOP", "KEY"], ["LPOP", "KEY", "3"], ["RPOP", "KEY", "100"],
            ["LMPOP", "2", "none", "KEY", "LEFT", "COUNT", "3"], ["BLPOP", "none", "KEY", "0"],
            ["BRPOP", "KEY", "0"], ["BLMPOP", "0", "1", "KEY", "RIGHT", "COUNT", "10"],
            ["LSET", "KEY", "3", "other"], ["LSET", "KEY", "-1", "7"], ["LSET", "KEY", "10", "x"],
            ["LINSERT", "KEY", "BEFORE", "2", "a"], ["LINSERT", "KEY", "AFTER", "e8", "a"],
            ["LINSERT", "KEY", "AFTER", "none", "a"], ["LREM", "KEY", "0", "e1"],
            ["LREM", "KEY", "-2", "e1"], ["LREM", "KEY", "1", "-5"], ["LREM", "KEY", "0", "none"],
            ["LTRIM", "KEY", "2", "-3"], ["LTRIM", "KEY", "0", "-1"], ["LTRIM", "KEY", "5", "1"],
            ["LMOVE", "KEY", "KEY", "LEFT", "LEFT"], ["LMOVE", "KEY", "KEY", "LEFT", "RIGHT"],
            ["LMOVE", "KEY", "KEY", "RIGHT", "LEFT"], ["LMOVE", "KEY", "KEY", "RIGHT", "RIGHT"],
            ["RPOPLPUSH", "KEY", "KEY"], ["BLMOVE", "KEY", "KEY", "RIGHT", "LEFT", "0"],
            ["BRPOPLPUSH", "KEY", "KEY", "0"],
        ]
        for words in writes {
            prepare()
            server.run("PEXPIRE", "in", "100000")
            server.run("PEXPIRE", "out", "100000")
            let replies = ["in", "out"].map { key -> Reply in
                let reply = server.run(words.map { $0 == "KEY" ? key : $0 })
                guard case .array(let all) = reply else { return reply }
                return .array(all.map { $0.text == key ? "KEY" : $0 })
            }
            #expect(replies[0] == replies[1], "\(words)")
            #expect(list("in") == list("out") && digest("in") == digest("out"), "\(words)")
            #expect(!isInline("in"), "\(words)")
            let encodings = ["in", "out"].map { server.run("OBJECT", "ENCODING", $0) }
            #expect(encodings[0] == encodings[1], "\(words)")
            #expect(server.run("PTTL", "in") == server.run("PTTL", "out"), "\(words)")
            server.keyspace.checkInvariants()
        }
    }

    @Test func movingBetweenLists() {
        for command in [["RPOPLPUSH", "a", "b"], ["BLMOVE", "a", "b", "RIGHT", "LEFT", "0"]] {
            for (isInlineA, isInlineB) in [(true, true), (true, false), (false, true)] {
                server.run("FLUSHALL")
                server.run("RPUSH", "a", "1", "2", "3")
                server.run("RPUSH", "b", "4", "5")
                // Taken out and unchanged.
                if !isInlineA { server.run("LREM", "a", "0", "none") }
                if !isInlineB { server.run("LREM", "b", "0", "none") }
                #expect(isInline("a") == isInlineA && isInline("b") == isInlineB)
                #expect(server.run(command) == "3")
                #expect(list("a") == ["1", "2"] && list("b") == ["3", "4", "5"])
                #expect(!isInline("a") && !isInline("b"))
                #expect(server.run("RPOPLPUSH", "a", "new") == "2")
                #expect(server.run("RPOPLPUSH", "a", "new") == "1")
                #expect(list("new") == ["1", "2"] && entry("a") == nil)
                server.keyspace.checkInvariants()
            }
        }
        server.run("SET", "s", "v")
        server.run("RPUSH", "a", "1", "2")
        #expect(server.run("LMOVE", "a", "s", "LEFT", "LEFT").isError && isInline("a"))
        #expect(server.run("LMOVE", "s", "a", "LEFT", "LEFT").isError && isInline("a"))
    }

    @Test func whatComesWhole() {
        #expect(server.run("RPUSH", "one", "a") == 1 && !isInline("one"))
        #expect(server.run("RPUSH", "one", "b", "c") == 3 && !isInline("one"))
        #expect(server.run("LPUSH", "two", "a", "b") == 2 && isInline("two"))
        #expect(list("two") == ["b", "a"])
        server.run("RPUSH", "large", "a", String(repeating: "x", count: 2000))
        #expect(!isInline("large") && list("large").count == 2)
        server.executor.pointee.settings.limits.listSize = 2
        server.run("RPUSH", "chain", "a", "b", "c")
        #expect(!isInline("chain") && server.run("OBJECT", "ENCODING", "chain") == "quicklist")
        server.executor.pointee.settings.limits.listSize = -2
        server.run("SORT", "two", "ALPHA", "STORE", "sorted")
        #expect(isInline("sorted") && list("sorted") == ["a", "b"])
        server.keyspace.checkInvariants()
    }

    @Test func whoWaitsIsServed() {
        let client = server.connect()
        server.run(["BLPOP", "l", "m", "0"], on: client)
        server.run("RPUSH", "other", "a", "b")
        #expect(isInline("other") && server.replies(client).isEmpty)
        server.run("RPUSH", "m", "a", "b", "c")
        #expect(server.replies(client) == [.array(["m", "a"])])
        #expect(list("m") == ["b", "c"] && !isInline("m"))
        server.run("RPUSH", "n", "a", "b")
        #expect(isInline("n"))
        // A list that is there already when somebody asks, and one that gets another name.
        #expect(server.run(["BLPOP", "n", "0"], on: client) == .array(["n", "a"]))
        server.run(["BRPOP", "l", "0"], on: client)
        server.run("RENAME", "other", "l")
        #expect(server.replies(client) == [.array(["l", "b"])])
        server.run(["BLMOVE", "p", "q", "LEFT", "LEFT", "0"], on: client)
        server.run("RPUSH", "q", "x", "y")
        server.run("LPUSH", "p", "a", "b")
        #expect(server.replies(client) == ["b"])
        #expect(list("p") == ["a"] && list("q") == ["b", "x", "y"])
        server.keyspace.checkInvariants()
    }

    @Test func commandsOfKeysLeaveItInside() {
        prepare()
        #expect(server.run("EXPIRE", "in", "100") == 1 && isInline("in"))
        #expect(server.run("TTL", "in") == 100)
        #expect(server.run("PEXPIRE", "in", "5000", "LT") == 1 && isInline("in"))
        #expect(server.run("PERSIST", "in") == 1 && isInline("in"))
        #expect(server.run("RENAME", "in", "renamed") == .ok && isInline("renamed"))
        #expect(server.run("COPY", "renamed", "copy") == 1 && isInline("copy"))
        #expect(server.run("COPY", "out", "in") == 1 && isInline("in") && !isInline("out"))
        #expect(server.run("MOVE", "copy", "1") == 1)
        #expect(entry("copy", database: 1)?.isInline == true && entry("copy") == nil)
        let long = String(repeating: "k", count: 1100)
        #expect(server.run("RENAME", "renamed", long) == .ok && !isInline(long))
        for name in ["in", "out", long] { #expect(list(name) == elements) }
        #expect(server.run("TOUCH", "in") == 1 && isInline("in"))
        #expect(server.run("PEXPIRE", "in", "1") == 1)
        server.advance(milliseconds: 10)
        #expect(server.run("LLEN", "in") == 0 && server.run("RPUSH", "in", "new") == 1)
        #expect(list("in") == ["new"])
        server.run("SELECT", "1")
        #expect(server.run("SET", "copy", "text") == .ok && server.run("GET", "copy") == "text")
        server.keyspace.checkInvariants()
    }

    @Test func dumpedAndRestored() {
        prepare()
        var payloads: [[UInt8]] = []
        for key in ["in", "out"] {
            server.feed(CommandHarness.encode([Array("DUMP".utf8), Array(key.utf8)]))
            let dump = server.session.pointee.output.pointee.bytes.array
            server.session.pointee.output.pointee.removeAll()
            let start = dump.firstIndex(of: 10).map { $0 + 1 } ?? 0
            payloads.append(Array(dump[start..<(dump.count - 2)]))
        }
        #expect(payloads[0] == payloads[1])
        let restore = ["RESTORE", "in", "7000"].map { Array($0.utf8) } + [payloads[1]]
        #expect(server.run(bytes: restore).isError)
        #expect(server.run(bytes: restore + [Array("REPLACE".utf8)]) == .ok)
        #expect(isInline("in") && list("in") == elements && server.run("PTTL", "in") == 7000)
        server.keyspace.checkInvariants()
    }
}
