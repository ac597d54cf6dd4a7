// SORT: the order by elements and by other keys, what takes their place, the part asked for.
import Commands
import Engine
import Testing

@Suite struct SortTests {
    private let server = CommandHarness()

    private func texts(_ words: String...) -> [String?] {
        server.run(words).elements.map(\.text)
    }

    @Test func numbersAndText() {
        server.run("RPUSH", "l", "10", "9", "-1", "1.5")
        #expect(texts("SORT", "l") == ["-1", "1.5", "9", "10"])
        #expect(texts("SORT", "l", "DESC", "LIMIT", "1", "2") == ["9", "1.5"])
        #expect(texts("SORT", "l", "ALPHA") == ["-1", "1.5", "10", "9"])
        server.run("RPUSH", "l", "word")
        #expect(server.run("SORT", "l").isError)
        #expect(server.run("SORT", "none") == .array([]))
        server.run("SET", "s", "v")
        #expect(server.run("SORT", "s").isError)
    }

    @Test func otherKeysDecideAndAnswer() {
        server.run("RPUSH", "l", "1", "2", "3")
        server.run("MSET", "w_1", "30", "w_2", "20", "w_3", "10")
        server.run("HSET", "h_2", "f", "field")
        #expect(texts("SORT", "l", "BY", "w_*") == ["3", "2", "1"])
        #expect(
            texts("SORT", "l", "BY", "w_*", "GET", "#", "GET", "h_*->f", "LIMIT", "0", "2")
                == ["3", nil, "2", "field"])
        #expect(texts("SORT", "l", "BY", "nosort", "DESC") == ["3", "2", "1"])
    }

    @Test func aStoredOrderIsAList() {
        server.run("RPUSH", "l", "3", "1", "2")
        let client = server.connect()
        server.run(["BLPOP", "to", "0"], on: client)
        #expect(server.run("SORT", "l", "STORE", "to") == 3)
        #expect(server.replies(client) == [.array(["to", "1"])])
        #expect(texts("LRANGE", "to", "0", "-1") == ["2", "3"])
        #expect(server.run("SORT", "none", "STORE", "to") == 0)
        #expect(server.run("EXISTS", "to") == 0)
        #expect(server.run("SORT_RO", "l", "STORE", "to").isError)
    }

    @Test func hostileLimits() {
        server.run("RPUSH", "l", "1", "2", "3")
        let edges = ["9223372036854775807", "-9223372036854775808", "0", "-1"]
        for start in edges {
            for count in edges { #expect(!server.run("SORT", "l", "LIMIT", start, count).isError) }
        }
    }
}
