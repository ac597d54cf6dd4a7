// The list group: what differs from plain reading of the reference's pages, both forms of a list,
// waiting, and what is propagated.
import Base
import Commands
import Engine
import RESP
import Storage
import Testing

@Suite struct ListTests {
    private let server = CommandHarness()

    private func list(_ key: String) -> [String] {
        server.run("LRANGE", key, "0", "-1").elements.compactMap(\.text)
    }

    private func encoding(_ key: String) -> String? { server.run("OBJECT", "ENCODING", key).text }

    @Test func bothEnds() {
        #expect(server.run("RPUSH", "l", "b", "c") == 2)
        #expect(server.run("LPUSH", "l", "a", "1") == 4)
        #expect(list("l") == ["1", "a", "b", "c"])
        #expect(server.run("LPOP", "l") == "1")
        #expect(server.run("RPOP", "l", "2") == .array(["c", "b"]))
        #expect(server.run("LPOP", "l", "0") == .array([]))
        #expect(server.run("LPOP", "l", "9223372036854775807") == .array(["a"]))
        #expect(server.run("EXISTS", "l") == 0)
        #expect(server.run("LPOP", "l") == .null && server.run("LPOP", "l", "1") == .null)
        #expect(server.run("LPUSHX", "l", "a") == 0 && server.run("EXISTS", "l") == 0)
    }

    @Test func hostileNumbersAreNoProblem() {
        server.run("RPUSH", "l", "a", "b", "c")
        let edges = ["9223372036854775807", "-9223372036854775808", "-9223372036854775807"]
        for edge in edges {
            server.run("LINDEX", "l", edge)
            #expect(server.run("LSET", "l", edge, "x").isError)
            for other in edges { server.run("LRANGE", "l", edge, other) }
            server.run("LPOS", "l", "a", "RANK", edge)
            server.run("LPOS", "l", "a", "COUNT", edge)
            server.run("LREM", "l", edge, "nothing")
            server.run("LMPOP", edge, "l", "LEFT")
        }
        #expect(server.run("LPOP", "l", edges[1]).isError)
        #expect(list("l") == ["a", "b", "c"])
        #expect(server.run("LTRIM", "l", edges[1], edges[0]) == .ok)
        #expect(list("l") == ["a", "b", "c"])
        server.run("LTRIM", "l", edges[0], edges[1])
        #expect(server.run("EXISTS", "l") == 0)
    }

    @Test func aListChangesItsFormWhereTheReferenceDoes() {
        server.executor.pointee.settings.limits.listSize = 4
        server.run("RPUSH", "l", "a", "b", "c", "d")
        #expect(encoding("l") == "listpack")
        server.run("RPUSH", "l", "e")
        #expect(encoding("l") == "quicklist")
        server.run("LPOP", "l", "2")
        #expect(list("l") == ["c", "d", "e"] && encoding("l") == "quicklist")
        server.run("LPOP", "l")
        #expect(list("l") == ["d", "e"])
        // Half of the limit in one chunk: a listpack again; two chunks stay a chain.
        #expect(["listpack", "quicklist"].contains(encoding("l")))

        server.executor.pointee.settings.limits.listSize = -1
        server.run("RPUSH", "m", "a", String(repeating: "x", count: 4000))
        #expect(encoding("m") == "listpack")
        server.run("LSET", "m", "0", String(repeating: "y", count: 100))
        #expect(encoding("m") == "quicklist")
        server.run("LSET", "m", "0", "a")
        #expect(encoding("m") == "quicklist")
        server.run("LSET", "m", "1", "b")
        #expect(list("m") == ["a", "b"] && encoding("m") == "listpack")
    }

    @Test func movingWithinOneList() {
        server.run("RPUSH", "l", "a", "b", "c")
        #expect(server.run("RPOPLPUSH", "l", "l") == "c")
        #expect(list("l") == ["c", "a", "b"])
        #expect(server.run("LMOVE", "l", "l", "LEFT", "LEFT") == "c")
        #expect(list("l") == ["c", "a", "b"])
        server.run("RPUSH", "one", "x")
        #expect(server.run("LMOVE", "one", "one", "LEFT", "RIGHT") == "x")
        #expect(list("one") == ["x"])
        #expect(server.run("LMOVE", "one", "l", "RIGHT", "RIGHT") == "x")
        #expect(server.run("EXISTS", "one") == 0 && list("l") == ["c", "a", "b", "x"])
        server.run("SET", "s", "v")
        #expect(server.run("LMOVE", "l", "s", "LEFT", "LEFT").isError)
        #expect(list("l").count == 4)
    }

    @Test func positions() {
        server.run("RPUSH", "l", "a", "b", "1", "a", "b", "a")
        #expect(server.run("LPOS", "l", "a") == 0)
        #expect(server.run("LPOS", "l", "a", "RANK", "-2") == 3)
        #expect(server.run("LPOS", "l", "a", "RANK", "2", "COUNT", "0") == .array([3, 5]))
        #expect(server.run("LPOS", "l", "a", "COUNT", "0", "MAXLEN", "4") == .array([0, 3]))
        #expect(server.run("LPOS", "l", "1") == 2 && server.run("LPOS", "l", "01") == .null)
        #expect(server.run("LPOS", "none", "a", "COUNT", "1") == .array([]))
    }

    @Test func waitingIsPropagatedAsWhatItBecame() {
        let client = server.connect()
        let cases: [(command: [String], becomes: [String])] = [
            (["BLPOP", "none", "l", "0"], ["LPOP", "l"]),
            (["BRPOP", "l", "0"], ["RPOP", "l"]),
            (["BLMPOP", "0", "2", "none", "l", "RIGHT", "COUNT", "5"], ["RPOP", "l", "1"]),
            (["BLMOVE", "l", "m", "left", "RIGHT", "0"], ["LMOVE", "l", "m", "left", "RIGHT"]),
            (["BRPOPLPUSH", "l", "m", "0"], ["RPOPLPUSH", "l", "m"]),
        ]
        for (command, becomes) in cases {
            server.run(command, on: client)
            #expect(client.pointee.flags.contains(.blocked))
            let start = server.streamEnd
            server.run("RPUSH", "l", "x")
            #expect(server.replies(client).count == 1)
            #expect(server.stream(from: start).suffix(2) == [["RPUSH", "l", "x"], becomes])
            // The same when there is no need to wait.
            server.run("RPUSH", "l", "x")
            let next = server.streamEnd
            server.run(command, on: client)
            #expect(server.stream(from: next) == [becomes])
        }
    }

    @Test func oneMoveServesTheNext() {
        let (first, second) = (server.connect(), server.connect())
        server.run(["BLPOP", "b", "0"], on: second)
        server.run(["BLMOVE", "a", "b", "LEFT", "LEFT", "0"], on: first)
        server.run("RPUSH", "a", "x")
        #expect(server.replies(first) == ["x"])
        #expect(server.replies(second) == [.array(["b", "x"])])
        #expect(server.run("EXISTS", "a", "b") == 0)
    }

    @Test func whoWaitsForAListIgnoresOtherTypes() {
        let client = server.connect()
        server.run(["BLPOP", "l", "0"], on: client)
        server.run("SET", "l", "v")
        #expect(server.replies(client).isEmpty)
        server.run("DEL", "l")
        server.run("LPUSH", "l", "1", "2")
        #expect(server.replies(client) == [.array(["l", "2"])])
        #expect(server.run("LLEN", "l") == 1)
    }

    @Test func aWrongTargetIsAnErrorOnceThereIsAnElement() {
        let client = server.connect()
        server.run("SET", "s", "v")
        server.run(["BLMOVE", "l", "s", "LEFT", "LEFT", "0"], on: client)
        server.run("RPUSH", "l", "x")
        #expect(server.replies(client).first?.isError == true)
        #expect(list("l") == ["x"])
    }

    @Test(arguments: [3, -1, -2] as [Int])
    func copiesAndPayloadsAreWhole(size: Int) {
        server.executor.pointee.settings.limits.listSize = size
        for number in 0..<300 {
            server.run("RPUSH", "l", "\(number)", String(repeating: "v", count: number % 70))
        }
        #expect(server.run("COPY", "l", "copy") == 1)
        #expect(list("copy") == list("l"))
        server.feed(CommandHarness.encode([Array("DUMP".utf8), Array("l".utf8)]))
        let dump = server.session.pointee.output.pointee.bytes.array
        server.session.pointee.output.pointee.removeAll()
        let start = dump.firstIndex(of: 10).map { $0 + 1 } ?? 0
        let payload = Array(dump[start..<(dump.count - 2)])
        let restore = ["RESTORE", "restored", "0"].map { Array($0.utf8) } + [payload]
        #expect(server.run(bytes: restore) == .ok)
        #expect(list("restored") == list("l") && encoding("restored") == encoding("l"))
    }
}
