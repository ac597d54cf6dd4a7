// The stream group, in process: replies in both protocols, options and their mistakes, groups and
// claims, who waits and is served, what replicas get, and payloads that only look like streams.
import Base
import Commands
import Engine
import Storage
import Testing

private let invalidID = Reply.error("ERR Invalid stream ID specified as stream command argument")

/// `1-1 a b` as an entry.
private func entry(_ text: String) -> Reply {
    let words = text.split(separator: " ").map(String.init)
    return .array([.bulk(words[0]), .array(words.dropFirst().map { .bulk($0) })])
}

@Suite struct StreamCommandTests {
    @Test func addingAndReading() {
        check([
            ("XADD s 1-1 a b", "1-1"), ("XADD s 1-* a c", "1-2"), ("XADD s 5 x y", "5-0"),
            ("XLEN s", 3), ("XLEN none", 0), ("TYPE s", .simple("stream")),
            ("OBJECT ENCODING s", "stream"),
            ("XRANGE s - +", [entry("1-1 a b"), entry("1-2 a c"), entry("5-0 x y")]),
            ("XREVRANGE s + - COUNT 2", [entry("5-0 x y"), entry("1-2 a c")]),
            ("XRANGE s (1-1 5", [entry("1-2 a c"), entry("5-0 x y")]),
            ("XRANGE s 1 1", [entry("1-1 a b"), entry("1-2 a c")]),
            ("XRANGE s - + COUNT 0", .null), ("XRANGE none - +", []),
            ("XRANGE s (- +", invalidID), ("XRANGE s x +", invalidID),
            ("XRANGE s - + COUNT", syntaxError), ("XRANGE s - + COUNT x", notInteger),
            ("XRANGE s (18446744073709551615-18446744073709551615 +", badStart),
            ("XADD s 1-1 a b", tooSmall), ("XADD s 0-0 a b", mustBeGreater),
            ("XADD s 5-0 a", wrongArity("xadd")), ("XADD s nonsense a b", invalidID),
            ("XADD n 0-* a b", "0-1"), ("XADD none NOMKSTREAM 1-1 a b", .null),
            ("SET k v", .ok), ("XADD k 1-1 a b", wrongType), ("XRANGE k - +", wrongType),
            ("XADD h 18446744073709551615-18446744073709551615 a b",
                "18446744073709551615-18446744073709551615"),
            ("XADD h * a b", exhausted),
        ])
    }

    private var badStart: Reply { .error("ERR invalid start ID for the interval") }
    private var mustBeGreater: Reply {
        .error("ERR The ID specified in XADD must be greater than 0-0")
    }
    private var exhausted: Reply {
        .error("ERR The stream has exhausted the last possible ID, unable to add more items")
    }
    private var tooSmall: Reply {
        .error("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    }

    @Test func trimmingAndDeleting() {
        let server = CommandHarness()
        server.executor.pointee.settings.limits.streamNodeEntries = 10
        for number in 1...55 { server.run("XADD", "s", "\(number)-0", "f", "v") }
        check(
            [
                ("XTRIM s MAXLEN ~ 42", 10), ("XTRIM s MAXLEN = 42", 3), ("XLEN s", 42),
                ("XTRIM s MINID 20", 6), ("XRANGE s - + COUNT 1", [entry("20-0 f v")]),
                ("XTRIM s MINID ~ 40 LIMIT 1", 1), ("XDEL s 22-0 21-0 99-0", 2),
                ("XDEL s x", invalidID), ("XDEL none 1-1", 0), ("XADD s MAXLEN 2 60-0 f v", "60-0"),
                ("XLEN s", 2), ("XTRIM s MAXLEN 0", 2), ("EXISTS s", 1), ("XLEN s", 0),
                ("XTRIM s MAXLEN -1", .error("ERR The MAXLEN argument must be >= 0.")),
                ("XTRIM s MAXLEN 1 LIMIT 5",
                    .error("ERR syntax error, LIMIT cannot be used without the special ~ option")),
                ("XTRIM s LIMIT 5", withoutStrategy), ("XTRIM s", wrongArity("xtrim")),
                ("XTRIM s MAXLEN 1 MINID 1",
                    .error(
                        "ERR syntax error, MAXLEN and MINID options at the same time are not "
                            + "compatible")),
            ], on: server)
    }

    private var withoutStrategy: Reply {
        .error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
    }

    @Test func theStreamOfChangesIsExact() {
        let server = CommandHarness()
        server.executor.pointee.settings.limits.streamNodeEntries = 2
        for number in 1...4 { server.run("XADD", "s", "\(number)-0", "f", "v") }
        let offset = server.streamEnd
        server.run("XADD", "s", "MAXLEN", "~", "3", "5-*", "f", "v")
        server.run("XTRIM", "s", "MINID", "~", "4")
        server.run("XTRIM", "s", "MAXLEN", "~", "100")
        #expect(
            server.stream(from: offset) == [
                ["XADD", "s", "MAXLEN", "=", "3", "5-0", "f", "v"],
            ])
        server.run("XGROUP", "CREATE", "s", "g", "0")
        let before = server.streamEnd
        server.run("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "s", ">")
        let time = "\(server.executor.pointee.now.wall.milliseconds)"
        let claim = ["XCLAIM", "s", "g", "c", "0"]
        let tail = ["TIME", time, "RETRYCOUNT", "1", "FORCE", "JUSTID", "LASTID"]
        #expect(server.stream(from: before) == [claim + ["3-0"] + tail + ["3-0"]])
        let after = server.streamEnd
        server.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        #expect(
            server.stream(from: after) == [
                ["MULTI"], claim + ["4-0"] + tail + ["4-0"], claim + ["5-0"] + tail + ["5-0"],
                ["EXEC"],
            ])
        let last = server.streamEnd
        server.run("XADD", "s", "9-0", "f", "v")
        server.run("XREADGROUP", "GROUP", "g", "d", "NOACK", "STREAMS", "s", ">")
        #expect(
            Array(server.stream(from: last).dropFirst()) == [
                ["MULTI"], ["XGROUP", "CREATECONSUMER", "s", "g", "d"],
                ["XGROUP", "SETID", "s", "g", "9-0", "ENTRIESREAD", "6"], ["EXEC"],
            ])
    }

    @Test func groups() {
        check([
            ("XGROUP CREATE s g $", keyNeeded), ("XGROUP CREATE s g $ MKSTREAM", .ok),
            ("XGROUP CREATE s g 0", .error("BUSYGROUP Consumer Group name already exists")),
            ("XADD s 1-1 a b", "1-1"), ("XADD s 2-1 a b", "2-1"),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", [["s", [entry("1-1 a b")]]]),
            ("XPENDING s g", [1, "1-1", "1-1", [["c", "1"]]]),
            ("XREADGROUP GROUP g c STREAMS s 0", [["s", [entry("1-1 a b")]]]),
            ("XPENDING s g - + 10", [["1-1", "c", 0, 2]]), ("XPENDING s g - + 10 other", []),
            ("XPENDING s g IDLE 1000 - + 10", []),
            ("XCLAIM s g d 0 1-1 JUSTID", ["1-1"]), ("XPENDING s g - + 10 c", []),
            ("XCLAIM s g d 0 2-1 FORCE", [entry("2-1 a b")]),
            ("XCLAIM s g d 0 2-1 WHAT", .error("ERR Unrecognized XCLAIM option 'WHAT'")),
            ("XDEL s 1-1", 1), ("XAUTOCLAIM s g e 0 - COUNT 1", ["2-1", [], ["1-1"]]),
            ("XAUTOCLAIM s g e 0 -", ["0-0", [entry("2-1 a b")], []]),
            ("XACK s g 2-1 9-9", 1), ("XPENDING s g", [0, .null, .null, .null]),
            ("XGROUP CREATECONSUMER s g c", 0), ("XGROUP CREATECONSUMER s g new", 1),
            ("XGROUP DELCONSUMER s g new", 0), ("XGROUP SETID s g 0 ENTRIESREAD -2", badRead),
            ("XGROUP SETID s nope 0", noSuchGroup),
            ("XGROUP DESTROY s g", 1), ("XGROUP DESTROY s g", 0),
            ("XPENDING s g", .error("NOGROUP No such key 's' or consumer group 'g'")),
            ("XREADGROUP GROUP g c STREAMS s >", noGroup), ("XACK none g 1-1", 0),
        ])
    }

    private var noSuchGroup: Reply {
        .error("NOGROUP No such consumer group 'nope' for key name 's'")
    }
    private var badRead: Reply { .error("ERR value for ENTRIESREAD must be positive or -1") }
    private var noGroup: Reply {
        .error("NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option")
    }
    private var keyNeeded: Reply {
        .error(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may "
                + "want to use the MKSTREAM option to create an empty stream automatically.")
    }

    @Test func lagIsKnownAsLongAsItCanBe() {
        let server = CommandHarness()
        for number in 1...5 { server.run("XADD", "s", "\(number)-0", "f", "v") }
        server.run("XGROUP", "CREATE", "s", "g", "0")
        func lag() -> Reply? { server.run("XINFO", "GROUPS", "s").elements.first?["lag"] }
        #expect(lag() == 5)
        server.run("XREADGROUP", "GROUP", "g", "c", "COUNT", "2", "STREAMS", "s", ">")
        #expect(lag() == 3)
        server.run("XDEL", "s", "4-0")
        #expect(lag() == .null)
        server.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        #expect(lag() == 0)
    }

    @Test func informationInTheThirdProtocol() {
        let server = CommandHarness()
        server.session.pointee.protocolVersion = 3
        server.run("XADD", "s", "1-1", "a", "b")
        server.run("XGROUP", "CREATE", "s", "g", "0")
        server.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        let whole = server.run("XINFO", "STREAM", "s", "FULL")
        #expect(whole["length"] == 1)
        #expect(whole["groups"]?.elements.first?["consumers"]?.elements.first?["name"] == "c")
        #expect(server.run("XINFO", "STREAM", "s")["last-entry"] == entry("1-1 a b"))
        #expect(server.run("XREAD", "STREAMS", "s", "0") == .map(["s", [entry("1-1 a b")]]))
        #expect(server.run("XREAD", "STREAMS", "s", "$") == .null)
    }

    // MARK: Waiting

    @Test func readersWaitForWhatIsNew() {
        let server = CommandHarness()
        let client = server.connect()
        server.run("XADD", "s", "1-1", "a", "b")
        server.run(["XREAD", "BLOCK", "0", "STREAMS", "s", "t", "$", "$"], on: client)
        #expect(client.pointee.flags.contains(.blocked))
        server.run("XADD", "s", "1-2", "c", "d")
        #expect(server.replies(client) == [[["s", [entry("1-2 c d")]]]])
    }

    @Test func aGroupsReaderHearsOfItsEnd() {
        let server = CommandHarness()
        let client = server.connect()
        server.run("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        let words = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"]
        server.run(words, on: client)
        server.run("XADD", "s", "1-1", "a", "b")
        #expect(server.replies(client) == [[["s", [entry("1-1 a b")]]]])
        for end in [["XGROUP", "DESTROY", "s", "g"], ["DEL", "s"]] {
            server.run(words, on: client)
            #expect(client.pointee.flags.contains(.blocked))
            server.run(end)
            #expect(server.replies(client) == [noGroup])
            server.run("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        }
    }

    @Test func aTransactionDoesNotWait() {
        let server = CommandHarness()
        server.run("MULTI")
        server.run("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        #expect(server.run("EXEC") == .array([.null]))
    }

    // MARK: Payloads

    private func makeStream(_ server: CommandHarness, _ random: inout Prng) {
        server.executor.pointee.settings.limits.streamNodeEntries = 4
        for number in 1...13 {
            let words = ["XADD", "s", "\(number)-*", "f", "\(random.next() % 5000)", "g", "x"]
            server.run(number % 3 == 0 ? words + ["more", "fields"] : words)
        }
        server.run("XDEL", "s", "5-0", "6-0")
        for group in ["g", "h"] {
            server.run("XGROUP", "CREATE", "s", group, "0")
            for consumer in ["c", "d"] {
                server.run(
                    ["XREADGROUP", "GROUP", group, consumer, "COUNT", "3", "STREAMS", "s", ">"])
            }
        }
    }

    private func dump(_ server: CommandHarness, _ key: String) -> [UInt8] {
        server.feed(CommandHarness.encode([Array("DUMP".utf8), Array(key.utf8)]))
        let bytes = server.session.pointee.output.pointee.bytes.array
        _ = server.replies()
        guard let start = bytes.firstIndex(of: 10) else { return [] }
        return Array(bytes[(start + 1)..<(bytes.count - 2)])
    }

    private func stream(_ server: CommandHarness, _ key: String) -> Storage.Stream? {
        key.withBytes { name in
            server.keyspace.find(server.keyspace.key(name, database: 0))
                .map { Storage.Stream($0.payload) }
        }
    }

    @Test func payloadsKeepEverything() {
        let server = CommandHarness()
        var random = Prng(seed: 7)
        makeStream(server, &random)
        let payload = dump(server, "s")
        let words = ["RESTORE", "t", "0"].map { Array($0.utf8) }
        #expect(server.run(bytes: words + [payload]) == .ok)
        stream(server, "t")?.checkInvariants()
        for query in [["FULL", "COUNT", "0"], []] {
            #expect(
                server.run(["XINFO", "STREAM", "t"] + query)
                    == server.run(["XINFO", "STREAM", "s"] + query))
        }
        server.run("COPY", "s", "u")
        #expect(dump(server, "u") == payload)
        #expect((server.run("MEMORY", "USAGE", "s").integer ?? 1000) > 500)
    }

    /// The same group in the formats of 5.0, 7.0 and 7.2.
    @Test(arguments: [15, 19, 21] as [UInt8])
    func formatsOfAllVersions(code: UInt8) {
        let server = CommandHarness()
        server.executor.pointee.checksDumpPayloads = false
        let id: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]
        func time(_ low: UInt8) -> [UInt8] { [low, 1, 0, 0, 0, 0, 0, 0] }
        let isOld = code == 15
        var bytes: [UInt8] = [code, 0, 0, 5, 1]
        if !isOld { bytes += [0, 0, 4, 9, 7] }
        bytes += [1, 1, UInt8(ascii: "g"), 5, 1] + (isOld ? [] : [3])
        bytes += [1] + id + time(2) + [6]
        bytes += [1, 1, UInt8(ascii: "c")] + time(8) + (code == 21 ? time(9) : []) + [1] + id
        bytes += [10, 0] + [UInt8](repeating: 0, count: 8)
        let words = ["RESTORE", "s", "0"].map { Array($0.utf8) }
        #expect(server.run(bytes: words + [bytes]) == .ok)
        let whole = server.run("XINFO", "STREAM", "s", "FULL")
        #expect(whole["last-generated-id"] == "5-1")
        #expect(whole["max-deleted-entry-id"] == (isOld ? "0-0" : "4-9"))
        #expect(whole["entries-added"] == (isOld ? 0 : 7))
        let group = whole["groups"]?.elements.first
        #expect(group?["entries-read"] == (isOld ? 0 : 3))
        #expect(group?["pending"] == [["5-1", "c", 258, 6]])
        let consumer = group?["consumers"]?.elements.first
        #expect(consumer?["seen-time"] == 264)
        #expect(consumer?["active-time"] == (code == 21 ? 265 : 264))
        // One byte less, or one pending entry with nobody, is damage.
        for (at, value) in [(bytes.count - 11, 6), (bytes.count - 27, 0)] as [(Int, UInt8)] {
            var damaged = bytes
            damaged[at] = value
            #expect(server.run(bytes: words + [damaged, Array("REPLACE".utf8)]).isError)
        }
    }

    /// Any bytes: a refusal, or a stream that everything can be done with.
    @Test(arguments: 1...30)
    func hostilePayloads(seed: UInt64) {
        let server = CommandHarness()
        server.executor.pointee.checksDumpPayloads = false
        // Mostly uncompressed: a changed byte is then a changed stream, not a damaged string.
        server.executor.pointee.settings.rdbCompression = seed % 5 == 0
        var random = Prng(seed: seed)
        makeStream(server, &random)
        let sound = dump(server, "s")
        var accepted = 0
        for _ in 0..<60 {
            var bytes = sound
            for _ in 0..<(random.next() % 2 + 1) {
                let at = Int(random.next() % UInt64(bytes.count - 10))
                switch random.next() % 8 {
                case 0: bytes.remove(at: at)
                case 1: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: at)
                case 2, 3: bytes[at] = UInt8(truncatingIfNeeded: random.next())
                default: bytes[at] = bytes[at] &+ 1
                }
            }
            let words = ["RESTORE", "k", "0"].map { Array($0.utf8) }
            let reply = server.run(bytes: words + [bytes, Array("REPLACE".utf8)])
            guard reply == .ok, server.run("TYPE", "k") == .simple("stream") else { continue }
            accepted += 1
            exercise(server)
        }
        #expect(accepted > 0 || seed % 5 == 0)
        server.keyspace.checkInvariants()
    }

    private func exercise(_ server: CommandHarness) {
        stream(server, "k")?.checkInvariants()
        for words in [
            ["XINFO", "STREAM", "k", "FULL", "COUNT", "0"], ["XRANGE", "k", "-", "+"],
            ["XREVRANGE", "k", "+", "-"], ["XINFO", "GROUPS", "k"], ["XPENDING", "k", "g"],
            ["XADD", "k", "*", "f", "v"], ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">"],
            ["XAUTOCLAIM", "k", "g", "e", "0", "-"], ["XDEL", "k", "3-0", "4-0"],
            ["XTRIM", "k", "MINID", "7"], ["COPY", "k", "copy", "REPLACE"],
            ["XGROUP", "DELCONSUMER", "k", "h", "c"], ["XTRIM", "k", "MAXLEN", "1"],
            ["XGROUP", "DESTROY", "k", "g"], ["DEBUG", "DIGEST-VALUE", "k"],
        ] {
            #expect(server.run(words) != .error("NOREPLY"))
        }
        stream(server, "k")?.checkInvariants()
    }
}
