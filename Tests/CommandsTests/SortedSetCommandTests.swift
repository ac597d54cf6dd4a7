// The commands of sorted sets without a socket: shapes of replies in both protocols, refusals, what
// is propagated, which events are told, and who is served when a set comes into being.
import Base
import Commands
import Engine
import RESP
import Storage
import Testing

@Suite struct SortedSetCommandTests {
    private let server = CommandHarness()

    private func fill() {
        server.run("ZADD", "z", "1", "a", "2", "b", "3", "c")
    }

    private func endIteration() {
        server.executor.expireBlocks()
        server.executor.serveReadyKeys()
        server.executor.processUnblocked()
    }

    // MARK: ZADD

    @Test func addCountsWhatIsNew() {
        #expect(server.run("ZADD", "z", "1", "a", "2", "b", "1", "a") == 2)
        #expect(server.run("ZADD", "z", "5", "a", "3", "c") == 1)
        #expect(server.run("ZADD", "z", "CH", "6", "a", "3", "c") == 1)
        #expect(server.run("ZADD", "z", "XX", "9", "d") == 0)
        #expect(server.run("ZADD", "z", "NX", "CH", "9", "a") == 0)
        #expect(server.run("ZADD", "z", "GT", "CH", "5", "a", "7", "b") == 1)
        #expect(server.run("ZADD", "z", "LT", "CH", "5", "a", "8", "b") == 1)
        #expect(server.run("ZRANGE", "z", "0", "-1") == .array(["c", "a", "b"]))
        #expect(server.run("ZADD", "none", "XX", "1", "a") == 0)
        #expect(server.run("EXISTS", "none") == 0)
    }

    @Test func incrementsAnswerWithTheScore() {
        #expect(server.run("ZINCRBY", "z", "1.5", "a") == "1.5")
        #expect(server.run("ZADD", "z", "INCR", "0.1", "a") == "1.6000000000000001")
        #expect(server.run("ZADD", "z", "NX", "INCR", "1", "a") == .null)
        #expect(server.run("ZADD", "z", "GT", "INCR", "-1", "a") == .null)
        server.run("ZADD", "z", "inf", "i")
        let error = server.run("ZINCRBY", "z", "-inf", "i")
        #expect(error == .error("ERR resulting score is not a number (NaN)"))
        #expect(server.run("ZSCORE", "z", "i") == "inf")
    }

    @Test(arguments: [
        (["ZADD", "z", "1"], "ERR wrong number of arguments for 'zadd' command"),
        (["ZADD", "z", "1", "a", "2"], "ERR syntax error"),
        (["ZADD", "z", "NX", "XX"], "ERR syntax error"),
        (["ZADD", "z", "x", "a"], "ERR value is not a valid float"),
        (["ZADD", "z", "1", "a", "nan", "b"], "ERR value is not a valid float"),
        (
            ["ZADD", "z", "NX", "XX", "1", "a"],
            "ERR XX and NX options at the same time are not compatible"
        ),
        (
            ["ZADD", "z", "GT", "LT", "1", "a"],
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        ),
        (
            ["ZADD", "z", "INCR", "1", "a", "2", "b"],
            "ERR INCR option supports a single increment-element pair"
        ),
        (["ZRANGE", "z", "a", "1"], "ERR value is not an integer or out of range"),
        (["ZRANGE", "z", "0", "1", "BYSCORE", "BYLEX"], "ERR syntax error"),
        (
            ["ZRANGE", "z", "0", "1", "LIMIT", "1", "2"],
            """
            ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
            """
        ),
        (
            ["ZRANGE", "z", "-", "+", "BYLEX", "WITHSCORES"],
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
        ),
        (["ZRANGEBYSCORE", "z", "x", "1"], "ERR min or max is not a float"),
        (["ZRANGEBYLEX", "z", "x", "+"], "ERR min or max not valid string range item"),
        (["ZRANGESTORE", "d", "z", "0", "1", "WITHSCORES"], "ERR syntax error"),
        (["ZRANK", "z", "a", "b"], "ERR syntax error"),
        (["ZRANK", "z", "a", "b", "c"], "ERR wrong number of arguments for 'zrank' command"),
        (["ZPOPMIN", "z", "-1"], "ERR value is out of range, must be positive"),
        (["ZPOPMIN", "z", "1", "2"], "ERR syntax error"),
        (["ZMPOP", "0", "z", "MIN"], "ERR numkeys should be greater than 0"),
        (["ZMPOP", "1", "z", "MID"], "ERR syntax error"),
        (["ZMPOP", "1", "z", "MIN", "COUNT", "0"], "ERR count should be greater than 0"),
        (["ZMPOP", "9223372036854775807", "z", "MIN"], "ERR syntax error"),
        (["BZPOPMIN", "z", "x"], "ERR timeout is not a float or out of range"),
        (["ZUNION", "0", "z"], "ERR at least 1 input key is needed for 'zunion' command"),
        (["ZUNION", "2", "z"], "ERR syntax error"),
        (["ZUNION", "1", "z", "WEIGHTS", "x"], "ERR weight value is not a float"),
        (["ZUNION", "1", "z", "AGGREGATE", "AVG"], "ERR syntax error"),
        (["ZUNIONSTORE", "d", "1", "z", "WITHSCORES"], "ERR syntax error"),
        (["ZDIFF", "1", "z", "WEIGHTS", "1"], "ERR syntax error"),
        (["ZINTERCARD", "1", "z", "LIMIT", "-1"], "ERR LIMIT can't be negative"),
        (["ZSCAN", "z", "x"], "ERR invalid cursor"),
        (["ZSCAN", "z", "0", "COUNT", "0"], "ERR syntax error"),
        (["ZSCAN", "z", "0", "TYPE", "zset"], "ERR syntax error"),
        (["ZRANDMEMBER", "z", "1", "x"], "ERR syntax error"),
        (
            ["ZRANDMEMBER", "z", "-9223372036854775808"],
            """
            ERR value is out of range, value must between -9223372036854775807 and \
            9223372036854775807
            """
        ),
        (["ZRANDMEMBER", "z", "-9223372036854775807"], "ERR value is out of range"),
        (["ZRANDMEMBER", "z", "9223372036854775807", "WITHSCORES"], "ERR value is out of range"),
    ])
    func refusals(words: [String], error: String) {
        fill()
        #expect(server.run(words) == .error(error))
        #expect(server.run("ZCARD", "z") == 3)
    }

    @Test func otherTypesAreRefused() {
        server.run("SET", "s", "x")
        for words in [
            ["ZADD", "s", "1", "a"], ["ZRANGE", "s", "0", "1"], ["ZMSCORE", "s", "a"],
            ["ZREM", "s", "a"], ["ZUNION", "1", "s"], ["ZPOPMIN", "s"], ["ZMPOP", "1", "s", "MIN"],
            ["BZPOPMIN", "s", "0"], ["ZSCAN", "s", "0"], ["ZRANGESTORE", "d", "s", "0", "1"],
            ["GEOADD", "s", "1", "1", "a"], ["GEOPOS", "s", "a"], ["GEODIST", "s", "a", "b"],
        ] {
            #expect(server.run(words).text?.hasPrefix("WRONGTYPE") == true, "\(words)")
        }
    }

    // MARK: Shapes of replies

    @Test func scoresAreTextInOneProtocolAndDoublesInTheOther() {
        fill()
        #expect(server.run("ZSCORE", "z", "a") == "1")
        let pairs = ["ZRANGE", "z", "0", "1", "WITHSCORES"]
        #expect(server.run(pairs) == .array(["a", "1", "b", "2"]))
        #expect(server.run("ZRANK", "z", "b", "WITHSCORE") == .array([1, "2"]))
        #expect(server.run("ZRANK", "z", "x", "WITHSCORE") == .null)
        #expect(server.run("ZPOPMIN", "z", "1") == .array(["a", "1"]))
        server.run("HELLO", "3")
        #expect(server.run("ZSCORE", "z", "b") == .double("2"))
        #expect(server.run("ZSCORE", "z", "x") == .null)
        #expect(
            server.run(pairs)
                == .array([.array(["b", .double("2")]), .array(["c", .double("3")])])
        )
        #expect(server.run("ZUNION", "1", "z", "WITHSCORES").elements.count == 2)
        #expect(server.run("ZPOPMAX", "z") == .array(["c", .double("3")]))
        #expect(server.run("ZPOPMAX", "z", "9") == .array([.array(["b", .double("2")])]))
        #expect(server.run("ZPOPMAX", "z") == .array([]))
        #expect(server.run("ZMPOP", "1", "z", "MIN") == .null)
        server.run("ZADD", "z", "1.5", "a")
        #expect(server.run("ZSCAN", "z", "0") == .array(["0", .array(["a", "1.5"])]))
        #expect(
            server.run("ZMPOP", "2", "none", "z", "MAX", "COUNT", "5")
                == .array(["z", .array([.array(["a", .double("1.5")])])])
        )
    }

    @Test func rangesOfEveryKind() {
        fill()
        #expect(server.run("ZRANGE", "z", "0", "-2", "REV") == .array(["c", "b"]))
        #expect(server.run("ZRANGE", "z", "(1", "+inf", "BYSCORE") == .array(["b", "c"]))
        #expect(
            server.run("ZRANGE", "z", "3", "1", "BYSCORE", "REV", "LIMIT", "1", "1")
                == .array(["b"])
        )
        #expect(server.run("ZRANGE", "z", "[b", "+", "BYLEX") == .array(["b", "c"]))
        #expect(server.run("ZREVRANGEBYLEX", "z", "(c", "-") == .array(["b", "a"]))
        #expect(server.run("ZRANGEBYSCORE", "z", "-inf", "inf", "LIMIT", "-1", "5") == .array([]))
        #expect(
            server.run("ZRANGEBYSCORE", "z", "-inf", "inf", "LIMIT", "1", "-1").elements.count == 2
        )
        #expect(
            server.run("ZRANGE", "z", "-9223372036854775808", "9223372036854775807").elements.count
                == 3
        )
        #expect(server.run("ZCOUNT", "z", "(1", "(3") == 1)
        #expect(server.run("ZLEXCOUNT", "z", "-", "(c") == 2)
        #expect(server.run("ZREMRANGEBYRANK", "z", "-9223372036854775808", "0") == 1)
        #expect(server.run("ZRANGESTORE", "d", "z", "0", "0") == 1)
        #expect(server.run("ZRANGE", "d", "0", "-1") == .array(["b"]))
        #expect(server.run("ZRANGESTORE", "d", "z", "5", "6") == 0)
        #expect(server.run("EXISTS", "d") == 0)
    }

    @Test func formsAreReported() {
        server.executor.pointee.settings.limits.zsetEntries = 2
        server.run("ZADD", "z", "1", "a", "2", "b")
        #expect(server.run("OBJECT", "ENCODING", "z") == "listpack")
        server.run("ZADD", "z", "3", "c")
        #expect(server.run("OBJECT", "ENCODING", "z") == "skiplist")
        server.run("ZRANGESTORE", "y", "z", "0", "0")
        #expect(server.run("OBJECT", "ENCODING", "y") == "listpack")
        server.run("COPY", "z", "x")
        server.run("ZREM", "z", "a", "b", "c")
        #expect(server.run("EXISTS", "z") == 0)
        #expect(server.run("ZCARD", "x") == 3)
        #expect(server.run("TYPE", "x") == .simple("zset"))
    }

    @Test func samplesAreDistinctUnlessTheyMayRepeat() {
        for index in 0..<300 { server.run("ZADD", "z", "\(index)", "m\(index)") }
        for count in [1, 5, 50, 150, 299, 300, 900] {
            let names = server.run("ZRANDMEMBER", "z", "\(count)").elements.compactMap(\.text)
            #expect(Set(names).count == min(count, 300) && names.count == min(count, 300))
        }
        #expect(server.run("ZRANDMEMBER", "z", "-1000").elements.count == 1000)
        #expect(server.run("ZRANDMEMBER", "z", "-3", "WITHSCORES").elements.count == 6)
        #expect(server.run("ZRANDMEMBER", "none") == .null)
        #expect(server.run("ZRANDMEMBER", "none", "5") == .array([]))
    }

    // MARK: Propagation and events

    @Test func poppedFromSeveralKeysIsPropagatedAsOnePop() {
        fill()
        server.run("PING")
        let start = server.streamEnd
        server.run("ZMPOP", "2", "none", "z", "MIN", "COUNT", "2")
        server.run("BZPOPMAX", "none", "z", "0")
        server.run("ZMPOP", "1", "z", "MIN")
        server.run("GEOADD", "g", "NX", "13.361389", "38.115556", "Palermo")
        server.run("GEOADD", "g", "NX", "13.361389", "38.115556", "Palermo")
        server.run("ZREM", "g", "nobody")
        #expect(
            server.stream(from: start) == [
                ["ZPOPMIN", "z", "2"], ["ZPOPMAX", "z"],
                ["ZADD", "g", "NX", "3479099956230698", "Palermo"],
            ]
        )
    }

    @Test func whoWaitsIsServedByTheFirstChange() {
        let (first, second) = (server.connect(), server.connect())
        server.run(["BZPOPMIN", "z", "0"], on: first)
        server.run(["BZMPOP", "0", "2", "y", "z", "MAX", "COUNT", "2"], on: second)
        server.run("ZADD", "z", "1", "a", "2", "b", "3", "c", "4", "d")
        endIteration()
        #expect(server.replies(first) == [.array(["z", "a", "1"])])
        #expect(
            server.replies(second)
                == [.array(["z", .array([.array(["d", "4"]), .array(["c", "3"])])])]
        )
        #expect(server.run("ZRANGE", "z", "0", "-1") == .array(["b"]))
        server.run(["BZPOPMAX", "none", "0.1"], on: first)
        server.advance(milliseconds: 200)
        endIteration()
        #expect(server.replies(first) == [.null])
        server.run("MULTI")
        server.run("BZPOPMIN", "none", "0")
        #expect(server.run("EXEC") == .array([.null]))
    }
}
