// Channels, patterns, shard channels and keyspace notifications, in process.
import Base
import Engine
import HashSlots
import Storage
import Testing

@Suite struct PubSubTests {
    private func message(_ words: String...) -> Reply { .array(words.map { .bulk($0) }) }

    @Test func messagesReachChannelsAndPatterns() {
        let server = CommandHarness()
        let reader = server.connect()
        #expect(
            server.run(["SUBSCRIBE", "a"], on: reader) == .array(["subscribe", "a", 1]))
        #expect(
            server.run(["PSUBSCRIBE", "a*"], on: reader) == .array(["psubscribe", "a*", 2]))
        #expect(server.run("PUBLISH", "a", "hello") == 2)
        #expect(
            server.replies(reader) == [
                message("message", "a", "hello"), message("pmessage", "a*", "a", "hello"),
            ])
        #expect(server.run("PUBLISH", "b", "nobody") == 0)
        #expect(
            server.run(["UNSUBSCRIBE"], on: reader) == .array(["unsubscribe", "a", 1]))
        #expect(server.run(["PING"], on: reader) == .array(["pong", ""]))
        #expect(server.run(["GET", "a"], on: reader).isError)
        #expect(
            server.run(["PUNSUBSCRIBE"], on: reader) == .array(["punsubscribe", "a*", 0]))
        #expect(server.run(["PING"], on: reader) == .simple("PONG"))
        #expect(
            server.run(["UNSUBSCRIBE"], on: reader) == .array(["unsubscribe", .null, 0]))
        let isSilent = server.executor.pointee.pubsub.pointee.isSilent
        #expect(isSilent)
    }

    @Test func ownMessagesFollowTheReply() {
        let server = CommandHarness()
        server.run("HELLO", "3")
        server.run("SUBSCRIBE", "me")
        server.feed(CommandHarness.encode([Array("PUBLISH".utf8), Array("me".utf8), [65]]))
        #expect(server.replies() == [1, .push(["message", "me", "A"])])
        for words in [["MULTI"], ["PUBLISH", "me", "B"], ["PING"]] { server.run(words) }
        server.feed(CommandHarness.encode([Array("EXEC".utf8)]))
        #expect(
            server.replies() == [
                .array([1, .simple("PONG")]), .push(["message", "me", "B"]),
            ])
    }

    @Test func repliesOffDoNotSilenceMessages() {
        let server = CommandHarness()
        let reader = server.connect()
        server.run(["HELLO", "3"], on: reader)
        server.run(["CLIENT", "REPLY", "OFF"], on: reader)
        #expect(server.run(["SUBSCRIBE", "x"], on: reader) == .push(["subscribe", "x", 1]))
        #expect(server.run(["SET", "k", "v"], on: reader) == .error("NOREPLY"))
        server.run("PUBLISH", "x", "y")
        #expect(server.replies(reader) == [.push(["message", "x", "y"])])
    }

    @Test func reportsCount() {
        let server = CommandHarness()
        let reader = server.connect()
        server.run(["SUBSCRIBE", "a", "b"], on: reader)
        server.run(["SSUBSCRIBE", "s"], on: reader)
        #expect(server.run("PUBSUB", "NUMSUB", "a", "c") == .array(["a", 1, "c", 0]))
        #expect(Set(server.run("PUBSUB", "CHANNELS").elements.compactMap(\.text)) == ["a", "b"])
        #expect(server.run("PUBSUB", "CHANNELS", "b*") == .array(["b"]))
        #expect(server.run("PUBSUB", "SHARDCHANNELS") == .array(["s"]))
        #expect(server.run("PUBSUB", "SHARDNUMSUB", "s") == .array(["s", 1]))
        #expect(server.run("PUBSUB", "NUMPAT") == 0)
        #expect(
            server.run("PUBSUB", "CHANNELS", "a", "b")
                == .error(
                    "ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. "
                        + "Try PUBSUB HELP."))
        let list = server.run("CLIENT", "LIST", "TYPE", "PUBSUB").text ?? ""
        #expect(list.contains(" sub=2 psub=0 ssub=1 ") && list.contains("flags=P"))
    }

    @Test func publishGoesToReplicas() {
        let server = CommandHarness()
        server.run("PUBLISH", "a", "b")
        server.run("SPUBLISH", "c", "d")
        #expect(
            server.stream(from: 0) == [
                ["SELECT", "0"], ["PUBLISH", "a", "b"], ["SPUBLISH", "c", "d"],
            ])
    }

    @Test func slotsThatLeaveTakeTheirChannels() {
        let server = CommandHarness(slotted: true)
        let reader = server.connect()
        server.run(["SSUBSCRIBE", "{a}1", "{a}2"], on: reader)
        server.run(["SSUBSCRIBE", "{b}1"], on: reader)
        _ = server.replies(reader)
        let slot = "a".withBytes { Slot(hash: server.keyspace.slot(of: $0)) }
        server.executor.dropShardChannels(in: SlotSet([slot]))
        let counts = server.replies(reader).map { $0.elements.last?.integer }
        #expect(counts == [2, 1])
        #expect(server.run("PUBSUB", "SHARDCHANNELS") == .array(["{b}1"]))
    }

    /// Many sessions come, listen, leave: the lists of listeners stay what a plain model says.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func listenersMatchAModel(seed: UInt64) {
        let server = CommandHarness()
        var prng = Prng(seed: seed)
        var sessions: [UnsafeMutablePointer<Session>] = []
        var model: [UInt64: Set<String>] = [:]
        func pick(_ count: Int) -> Int { Int(prng.next() % UInt64(count)) }
        for _ in 0..<3000 {
            if sessions.count < 8 || pick(40) == 0 { sessions.append(server.connect()) }
            let at = pick(sessions.count)
            let session = sessions[at]
            let name = "channel:\(pick(60))"
            switch pick(10) {
            case 0...4:
                server.run(["SUBSCRIBE", name], on: session)
                model[session.pointee.id, default: []].insert(name)
            case 5...8:
                server.run(["UNSUBSCRIBE", name], on: session)
                model[session.pointee.id]?.remove(name)
            default:
                if pick(2) == 0 {
                    server.run(["UNSUBSCRIBE"], on: session)
                    model[session.pointee.id] = nil
                } else {
                    model[session.pointee.id] = nil
                    server.executor.freeSession(session)
                    sessions.remove(at: at)
                }
            }
            let probe = "channel:\(pick(60))"
            let expected = model.values.count { $0.contains(probe) }
            #expect(server.run("PUBLISH", probe, "x") == .integer(Int64(expected)))
            for session in sessions { _ = server.replies(session) }
        }
    }

    // MARK: Keyspace notifications

    private func listening(_ events: String) -> (CommandHarness, UnsafeMutablePointer<Session>) {
        let server = CommandHarness()
        let entry = ConfigTable.entry("notify-keyspace-events")
        #expect(entry?.set(&server.executor.pointee.settings, [events]) == nil)
        server.executor.applyEventSettings()
        let reader = server.connect()
        server.run(["PSUBSCRIBE", "*"], on: reader)
        return (server, reader)
    }

    @Test func eventsOfKeysAreMessages() {
        let (server, reader) = listening("KEA")
        server.run("SET", "foo", "bar")
        #expect(
            server.replies(reader) == [
                message("pmessage", "*", "__keyspace@0__:foo", "set"),
                message("pmessage", "*", "__keyevent@0__:set", "foo"),
            ])
        server.run("SELECT", "9")
        server.run("SET", "foo", "bar", "PX", "5")
        _ = server.replies(reader)
        server.advance(milliseconds: 6)
        server.run("GET", "foo")
        #expect(
            server.replies(reader).last
                == message("pmessage", "*", "__keyevent@9__:expired", "foo"))
    }

    @Test func onlyTheClassesAskedForAreSent() {
        let (server, reader) = listening("Enm")
        server.run("SET", "foo", "bar")
        server.run("SET", "foo", "baz")
        server.run("GET", "missing")
        #expect(
            server.replies(reader) == [
                message("pmessage", "*", "__keyevent@0__:new", "foo"),
                message("pmessage", "*", "__keyevent@0__:keymiss", "missing"),
            ])
    }

    @Test func lettersReadBackAsTheReferenceShowsThem() {
        var settings = Settings()
        let entry = ConfigTable.entry("notify-keyspace-events")
        for (given, shown) in [
            ("KA", "AK"), ("$lshzxeKE", "$lshzxeKE"), ("KE$lshzxegtd", "AKE"), ("Kmn", "nKm"),
            ("", ""), ("AKEnm", "AKEm"),
        ] {
            #expect(entry?.set(&settings, [given]) == nil)
            #expect(entry?.get(settings) == shown)
        }
        #expect(entry?.set(&settings, ["Kq"]) != nil)
    }

    @Test func withoutEventsThereIsNoHook() {
        let (server, _) = listening("KE")
        let hasHook = server.executor.pointee.keyEvent != nil
        #expect(!hasHook)
    }
}
