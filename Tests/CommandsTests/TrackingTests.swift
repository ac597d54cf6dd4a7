// CLIENT TRACKING in process: who is told of which changes, and when.
import Base
import Engine
import Storage
import Testing

@Suite struct TrackingTests {
    /// A server and a second client that tracks with these options.
    private func tracking(
        _ options: String..., version: Int = 3
    ) -> (CommandHarness, UnsafeMutablePointer<Session>) {
        let server = CommandHarness()
        let reader = server.connect()
        server.run(["HELLO", "\(version)"], on: reader)
        #expect(server.run(["CLIENT", "TRACKING", "ON"] + options, on: reader) == .ok)
        return (server, reader)
    }

    private func invalidated(_ keys: String...) -> Reply {
        .push(["invalidate", .array(keys.map { .bulk($0) })])
    }

    @Test func whatWasReadIsInvalidatedOnce() {
        let (server, reader) = tracking()
        server.run(["GET", "a"], on: reader)
        server.run(["MGET", "b", "c"], on: reader)
        server.run("SET", "a", "1")
        server.run("SET", "a", "2")
        server.run("SET", "other", "2")
        server.run("DEL", "a")
        #expect(server.replies(reader) == [invalidated("a")])
        server.run("MSET", "b", "1", "c", "2")
        #expect(server.replies(reader) == [invalidated("b"), invalidated("c")])
        let items = server.executor.pointee.tracking.pointee.items
        #expect(items == 0)
    }

    @Test func ownChangesFollowTheReply() {
        let (server, reader) = tracking()
        server.run(["GET", "a"], on: reader)
        server.feed(CommandHarness.encode([Array("SET".utf8), [97], [98]]), reader)
        #expect(server.replies(reader) == [.ok, invalidated("a")])
        for words in [["MULTI"], ["GET", "a"], ["SET", "a", "x"], ["GET", "b"]] {
            server.run(words, on: reader)
        }
        server.feed(CommandHarness.encode([Array("EXEC".utf8)]), reader)
        #expect(server.replies(reader) == [.array(["b", .ok, .null]), invalidated("a")])
    }

    @Test func noLoopIsNotToldOfItself() {
        let (server, reader) = tracking("NOLOOP")
        server.run(["GET", "a"], on: reader)
        server.feed(CommandHarness.encode([Array("SET".utf8), [97], [98]]), reader)
        #expect(server.replies(reader) == [.ok])
        server.run(["GET", "a"], on: reader)
        server.run("SET", "a", "c")
        #expect(server.replies(reader) == [invalidated("a")])
    }

    @Test func optInAndOptOut() {
        let (server, reader) = tracking("OPTIN")
        server.run(["GET", "a"], on: reader)
        server.run(["CLIENT", "CACHING", "YES"], on: reader)
        #expect(
            server.run(["CLIENT", "TRACKINGINFO"], on: reader)["flags"]
                == .set(["on", "optin", "caching-yes"]))
        server.run(["GET", "b"], on: reader)
        server.run(["GET", "c"], on: reader)
        for key in ["a", "b", "c"] { server.run("SET", key, "1") }
        #expect(server.replies(reader) == [invalidated("b")])
        #expect(server.run(["CLIENT", "CACHING", "NO"], on: reader).isError)
        #expect(server.run(["CLIENT", "TRACKING", "ON", "OPTOUT"], on: reader).isError)
        server.run(["CLIENT", "TRACKING", "OFF"], on: reader)
        server.run(["CLIENT", "TRACKING", "ON", "OPTOUT"], on: reader)
        server.run(["CLIENT", "CACHING", "NO"], on: reader)
        server.run(["GET", "a"], on: reader)
        server.run(["GET", "b"], on: reader)
        for key in ["a", "b"] { server.run("SET", key, "2") }
        #expect(server.replies(reader) == [invalidated("b")])
    }

    @Test func broadcastsAreCollected() {
        let (server, reader) = tracking("BCAST", "PREFIX", "foo", "PREFIX", "bar")
        for key in ["foo:2", "bar:1", "foo:1", "other", "foo:2"] { server.run("SET", key, "1") }
        #expect(server.replies(reader) == [])
        server.executor.finishInvalidations()
        let messages = server.replies(reader)
        #expect(messages.count == 2)
        #expect(messages.contains(invalidated("foo:1", "foo:2")))
        #expect(messages.contains(invalidated("bar:1")))
        #expect(
            server.run(["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "fo"], on: reader)
                == .error(
                    "ERR Prefix 'fo' overlaps with an existing prefix 'foo'. Prefixes for a "
                        + "single client must not overlap."))
        let list = server.run("CLIENT", "LIST").text ?? ""
        #expect(list.contains("flags=tB"))
        #expect(server.run(["RESET"], on: reader) == .simple("RESET"))
        let prefixes = server.executor.pointee.tracking.pointee.prefixCount
        #expect(prefixes == 0)
    }

    /// Of two changes in one iteration, one by the session itself and one by time, it hears.
    @Test func whatExpiresIsNobodysChange() {
        let (server, reader) = tracking("BCAST", "NOLOOP")
        server.run(["SET", "mine", "1"], on: reader)
        server.run(["SET", "short", "1", "PX", "5"], on: reader)
        server.advance(milliseconds: 6)
        server.run(["GET", "short"], on: reader)
        server.executor.finishInvalidations()
        #expect(server.replies(reader) == [invalidated("short")])
    }

    @Test func redirectionNeedsASubscriberInOldProtocol() {
        let server = CommandHarness()
        let receiver = server.connect()
        let id = "\(receiver.pointee.id)"
        #expect(server.run("CLIENT", "TRACKING", "ON", "REDIRECT", id) == .ok)
        #expect(server.run("CLIENT", "GETREDIR") == .integer(Int64(receiver.pointee.id)))
        server.run("GET", "a")
        server.run("SET", "a", "1")
        #expect(server.replies(receiver) == [])
        server.run(["SUBSCRIBE", "__redis__:invalidate"], on: receiver)
        server.run("GET", "a")
        server.run("SET", "a", "2")
        #expect(
            server.replies(receiver)
                == [.array(["message", "__redis__:invalidate", .array(["a"])])])
        server.run("FLUSHALL")
        #expect(
            server.replies(receiver) == [.array(["message", "__redis__:invalidate", .null])])
        server.run("HELLO", "3")
        server.run("GET", "a")
        server.executor.freeSession(receiver)
        server.feed(CommandHarness.encode([Array("SET".utf8), [97], [98]]))
        #expect(
            server.replies() == [.ok, .push(["tracking-redir-broken", .integer(Int64(id) ?? 0)])])
        #expect(
            server.run("CLIENT", "TRACKINGINFO")["flags"] == .set(["on", "broken_redirect"]))
        #expect(server.run("CLIENT", "TRACKING", "ON", "REDIRECT", "999").isError)
    }

    @Test func expiryEvictionAndFlushesInvalidate() {
        let (server, reader) = tracking()
        server.run("SET", "a", "1", "PX", "10")
        server.run(["GET", "a"], on: reader)
        server.advance(milliseconds: 11)
        server.run("GET", "a")
        #expect(server.replies(reader) == [invalidated("a")])
        server.run("FLUSHDB")
        #expect(server.replies(reader) == [.push(["invalidate", .null])])
        server.run("SET", "b", "1")
        server.run(["GET", "b"], on: reader)
        "b".withBytes { server.executor.evict(server.keyspace.key($0, database: 0)) }
        #expect(server.replies(reader) == [invalidated("b")])
    }

    @Test func theTableKeepsToItsLimit() {
        let (server, reader) = tracking()
        server.executor.pointee.settings.trackingTableMaxKeys = 10
        for number in 0..<50 { server.run(["GET", "key:\(number)"], on: reader) }
        server.executor.finishInvalidations()
        #expect(server.replies(reader).count == 40)
        let count = server.executor.pointee.tracking.pointee.keyCount
        #expect(count == 10)
    }

    /// Random sessions read and write: exactly those are told who have read since they were told.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func invalidationsMatchAModel(seed: UInt64) {
        let server = CommandHarness()
        var prng = Prng(seed: seed)
        func pick(_ count: Int) -> Int { Int(prng.next() % UInt64(count)) }
        let sessions = (0..<6).map { _ in server.connect() }
        var holders: [String: Set<Int>] = [:]
        var tracks: Set<Int> = []
        for _ in 0..<3000 {
            let who = pick(sessions.count)
            let key = "k\(pick(30))"
            switch pick(10) {
            case 0:
                server.run(["HELLO", "3"], on: sessions[who])
                server.run(["CLIENT", "TRACKING", "ON"], on: sessions[who])
                tracks.insert(who)
            case 1:
                server.run(["CLIENT", "TRACKING", "OFF"], on: sessions[who])
                tracks.remove(who)
            case 2...6:
                server.run(["GET", key], on: sessions[who])
                if tracks.contains(who) { holders[key, default: []].insert(who) }
            default:
                server.run(pick(2) == 0 ? ["SET", key, "v"] : ["APPEND", key, "v"])
                let told = (holders[key] ?? []).intersection(tracks)
                holders[key] = nil
                for (index, session) in sessions.enumerated() {
                    #expect(
                        server.replies(session) == (told.contains(index) ? [invalidated(key)] : []))
                }
            }
        }
    }
}
