// The rules of users: how they are read, what they allow, how they are written down again; and
// what becomes of sessions when users change.
import Base
import Commands
import Engine
import NodeCore
import RESP
import Testing

private let families = CoreCommands.extensions + nodeExtensions

extension CommandHarness {
    /// The error of ACL SETUSER without its beginning, or nil.
    fileprivate func problem(_ name: String, _ rules: String...) -> String? {
        let text = executor.setUser(Array(name.utf8), rules.map { Array($0.utf8) })
        return text.map { String(decoding: $0, as: UTF8.self) }
    }

    /// A user's line of ACL LIST without its beginning.
    fileprivate func rules(_ name: String) -> String? {
        let start = "user \(name) "
        return executor.pointee.access.pointee.lines
            .map { String(decoding: $0, as: UTF8.self) }
            .first { $0.hasPrefix(start) }.map { String($0.dropFirst(start.count)) }
    }

    /// The rules that a user has after `words`.
    fileprivate func described(_ words: String) -> String? {
        let name = Array("d".utf8)
        _ = executor.deleteUser(name)
        let split = words.split(separator: " ").map { Array($0.utf8) }
        return executor.setUser(name, split).map { String(decoding: $0, as: UTF8.self) }
            ?? rules("d")
    }

    fileprivate func permission(_ name: String, _ words: String...) -> Permission? {
        guard let user = executor.pointee.access.pointee.find(Array(name.utf8)) else { return nil }
        var list = ArgumentList()
        let arrays = words.map { Array($0.utf8) }
        return withExtendedLifetime(arrays) {
            let joined = arrays.flatMap { $0 }
            return joined.withBytes { all in
                var at = 0
                for word in arrays {
                    list.append(all[at..<(at + word.count)])
                    at += word.count
                }
                let arguments = UnsafePointer(list.base)
                guard var command = executor.pointee.commands.pointee.find(arguments[0]) else {
                    return nil
                }
                if command.pointee.flags.contains(.container), words.count > 1,
                    let part = executor.pointee.commands.pointee.find(arguments[1], of: command)
                {
                    command = part
                }
                return executor.permission(of: user, command, arguments, words.count)
            }
        }
    }
}

@Suite struct AccessRuleTests {
    private let server = CommandHarness(families)

    @Test func rulesReadBackAsTheyAreShown() {
        for words in [
            "", "on", "on nopass", "on >a >b", "~a ~b", "%R~a %W~a", "%R~a %W~b %RW~c", "&a &b",
            "allkeys allchannels allcommands", "+get", "+@read", "+@read -get", "+@all -@write",
            "+config|get", "+config -config|set", "-config +config|get", "+select|0 +select|1",
            "+@all -select +select|0", "(~a +get) (%R~b +@read &c)", "on ~* (+set ~x)",
            "skip-sanitize-payload", "+@all -@dangerous +keys", "+@string -@write +set",
        ] {
            guard let first = server.described(words) else {
                Issue.record("no user after \(words)")
                continue
            }
            #expect(server.described(first) == first, "\(words)")
        }
    }

    @Test func usersAreDescribedAsTheReferenceDoes() {
        #expect(server.rules("default") == "on nopass ~* &* +@all")
        #expect(server.described("") == "off resetchannels -@all")
        #expect(server.described("%R~a %w~a ~b") == "off ~a ~b resetchannels -@all")
        #expect(server.described("+get|x +GET|X +get|y") == "off resetchannels -@all +get|x +get|y")
        #expect(server.described("on reset") == "off sanitize-payload resetchannels -@all")
        #expect(server.described("+config|set +config -config|set")?.contains("+config") == true)
        #expect(
            server.described("(~a (b)")
                == "Error in ACL SETUSER modifier '(~a (b)': Syntax error")
        #expect(server.described("+@all -client|list") == "off resetchannels +@all -client|list")
        #expect(server.described("clearselectors (+get) clearselectors")?.contains("(") == false)
    }

    @Test func wrongRulesChangeNothing() {
        let start = "Error in ACL SETUSER modifier "
        #expect(server.problem("u", "on", "nonsense") == start + "'nonsense': Syntax error")
        #expect(server.rules("u") == nil)
        #expect(server.problem("u", "+get") == nil)
        let before = server.rules("u")
        let unknown = "Unknown command or category name in ACL"
        for (rule, reason) in [
            ("+nosuch", unknown), ("-nosuch", unknown), ("+@nosuch", unknown), ("+", unknown),
            ("+@", unknown), ("-select|0", unknown), ("+config|nosuch", unknown),
            ("+nosuch|x", unknown), ("+get|", "Syntax error"), ("+config|", "Syntax error"),
            ("+config|get|x", "Allowing first-arg of a subcommand is not supported"),
            ("%~x", "Syntax error"), ("%", "Syntax error"), ("%X~x", "Syntax error"),
            ("%RR~x", "Syntax error"), ("~a b", "Syntax error"), ("&a\tb", "Syntax error"),
            ("~a\u{0}", "Syntax error"), (")", "Syntax error"),
            ("(on)", "Syntax error"), ("(>x)", "Syntax error"), ("(\"\")", "Syntax error"),
            ("(+nosuch)", unknown), ("+get|a b", "Syntax error"),
            ("<none", "The password you are trying to remove from the user does not exist"),
            (
                "#abc",
                "The password hash must be exactly 64 characters and contain only lowercase "
                    + "hexadecimal characters"
            ),
        ] {
            #expect(server.problem("u", "on", rule) == start + "'\(rule)': \(reason)")
            #expect(server.rules("u") == before)
        }
        #expect(
            server.problem("u", "(+get", "~x")
                == "Unmatched parenthesis in acl selector starting at '(+get'.")
        #expect(server.problem("u", "~*", "~x")?.contains("Try 'resetkeys'") == true)
        #expect(server.problem("u", "&*", "&x")?.contains("Try 'resetchannels'") == true)
        #expect(server.problem("u", "") == nil)
    }

    @Test func noiseIsReadWithoutHarm() {
        var random = Prng(seed: 7)
        let pieces = [
            "+", "-", "@", "all", "get", "config", "|", "~", "%", "R", "W", "&", "*", "(", ")",
            " ", "\"", "'", "\\", "\u{0}", ">", "<", "#", "!", "x", "on", "reset", "\u{ff}",
        ]
        for _ in 0..<1000 {
            let rules = (0..<random.below(4)).map { _ in
                (0..<random.below(6)).map { _ in pieces[random.below(pieces.count)] }
                    .joined()
            }
            _ = server.executor.setUser(Array("n".utf8), rules.map { Array($0.utf8) })
            guard let text = server.rules("n"), !text.contains(where: { "\"'\\".contains($0) })
            else { continue }
            #expect(server.described(text) == text, "\(rules)")
        }
    }

    @Test func passwordsAreKeptAsHashes() {
        let hash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        #expect(server.problem("p", "on", ">x", ">x") == nil)
        #expect(server.rules("p")?.contains("#\(hash) reset") == true)
        #expect(server.problem("p", "!\(hash)", "#\(hash)", "<x") == nil)
        #expect(server.rules("p")?.contains("#") == false)
        #expect(server.problem("p", ">y", "nopass") == nil)
        #expect(server.rules("p")?.hasPrefix("on nopass reset") == true)
    }

    // MARK: What is allowed

    @Test func commandsAndTheirParts() {
        #expect(server.problem("u", "allkeys", "+get", "+config|get", "+select|0") == nil)
        #expect(server.permission("u", "GET", "k") == .granted)
        #expect(server.permission("u", "SET", "k", "v") == .deniedCommand)
        #expect(server.permission("u", "CONFIG", "GET", "x") == .granted)
        #expect(server.permission("u", "CONFIG", "SET", "x", "y") == .deniedCommand)
        #expect(server.permission("u", "SELECT", "0") == .granted)
        #expect(server.permission("u", "SELECT", "1") == .deniedCommand)
        #expect(server.permission("u", "AUTH", "x") == .granted)
        #expect(server.permission("u", "HELLO") == .granted)
        #expect(server.problem("u", "+@all", "-@write", "-config|get") == nil)
        #expect(server.permission("u", "SET", "k", "v") == .deniedCommand)
        #expect(server.permission("u", "CONFIG", "GET", "x") == .deniedCommand)
        #expect(server.permission("u", "CONFIG", "SET", "x", "y") == .granted)
    }

    @Test func keysByWhatIsDoneWithThem() {
        #expect(server.problem("u", "+@all", "%R~r:*", "%W~w:*", "~b:*") == nil)
        #expect(server.permission("u", "GET", "r:1") == .granted)
        #expect(server.permission("u", "GET", "w:1") == .deniedKey(1))
        #expect(server.permission("u", "SET", "w:1", "v") == .granted)
        #expect(server.permission("u", "SET", "r:1", "v") == .deniedKey(1))
        #expect(server.permission("u", "SET", "w:1", "v", "GET") == .deniedKey(1))
        #expect(server.permission("u", "SET", "b:1", "v", "GET") == .granted)
        #expect(server.permission("u", "COPY", "r:1", "w:1") == .granted)
        #expect(server.permission("u", "COPY", "w:1", "r:1") == .deniedKey(1))
        #expect(server.permission("u", "EXISTS", "w:1", "r:1") == .granted)
        #expect(server.permission("u", "MGET", "r:1", "x") == .deniedKey(2))
        #expect(server.permission("u", "INCR", "w:1") == .deniedKey(1))
        #expect(server.permission("u", "GET", "") == .deniedKey(1))
        #expect(server.permission("u", "PING") == .granted)
        #expect(server.permission("u", "SSUBSCRIBE", "r:1") == .deniedChannel(1))
        #expect(server.permission("u", "XREAD", "STREAMS", "r:1", "x", "0", "0") == .deniedKey(3))
    }

    @Test func selectorsAreAskedOneByOne() {
        #expect(server.problem("u", "+get", "~a", "(+set ~b)", "(+@pubsub &c*)") == nil)
        #expect(server.permission("u", "GET", "a") == .granted)
        #expect(server.permission("u", "GET", "b") == .deniedKey(1))
        #expect(server.permission("u", "SET", "b", "v") == .granted)
        #expect(server.permission("u", "DEL", "b") == .deniedCommand)
        #expect(server.permission("u", "PUBLISH", "cat", "m") == .granted)
        #expect(server.permission("u", "SUBSCRIBE", "cat", "dog") == .deniedChannel(2))
        #expect(server.permission("u", "PSUBSCRIBE", "cat") == .deniedChannel(1))
        #expect(server.permission("u", "PSUBSCRIBE", "c*") == .granted)
        #expect(server.permission("u", "UNSUBSCRIBE", "dog") == .granted)
    }
}

@Suite struct AccessSessionTests {
    private let server = CommandHarness(families)

    private func login(_ name: String) -> UnsafeMutablePointer<Session> {
        let client = server.connect()
        #expect(server.run(["AUTH", name, "x"], on: client) == .ok)
        return client
    }

    @Test func usersLogInAndAreHeldToTheirRules() {
        #expect(server.run("ACL", "SETUSER", "eve", "on", ">x", "+get", "~k*") == .ok)
        let eve = login("eve")
        #expect(server.run(["GET", "k1"], on: eve) == .null)
        #expect(
            server.run(["GET", "x"], on: eve)
                == .error(
                    "NOPERM this user has no permissions to access one of the keys used as "
                        + "arguments"))
        #expect(
            server.run(["ACL", "WHOAMI"], on: eve)
                == .error("NOPERM this user has no permissions to run the 'acl|whoami' command"))
        #expect(server.run("ACL", "SETUSER", "eve", "+acl|whoami") == .ok)
        #expect(server.run(["ACL", "WHOAMI"], on: eve) == "eve")
        #expect(server.run(["RESET"], on: eve) == .simple("RESET"))
        #expect(server.run(["ACL", "WHOAMI"], on: eve) == "default")
        #expect(server.executor.pointee.stats.deniedKeys == 1)
        #expect(server.executor.pointee.stats.deniedCommands == 1)
    }

    @Test func execAsksAgain() {
        #expect(server.run("ACL", "SETUSER", "eve", "on", "nopass", "~*", "+@all") == .ok)
        let eve = login("eve")
        server.run(["MULTI"], on: eve)
        server.run(["SET", "a", "1"], on: eve)
        server.run(["GET", "a"], on: eve)
        #expect(server.run("ACL", "SETUSER", "eve", "-set") == .ok)
        let reply = server.run(["EXEC"], on: eve)
        #expect(reply.elements.count == 2)
        #expect(
            reply.elements.first?.text
                == "NOPERM ACLs rules changed between the moment the transaction was accumulated "
                + "and the EXEC call. This command is no longer allowed for the following reason: "
                + "no permission to execute the command or subcommand")
        server.run(["MULTI"], on: eve)
        #expect(server.run(["SET", "a", "1"], on: eve).isError)
        #expect(server.run(["EXEC"], on: eve).text?.hasPrefix("EXECABORT") == true)
    }

    @Test func deletedUsersLoseTheirClients() {
        #expect(server.run("ACL", "SETUSER", "eve", "on", "nopass", "+@all") == .ok)
        let eve = login("eve")
        #expect(server.run("ACL", "DELUSER", "eve", "nobody") == 1)
        #expect(eve.pointee.flags.contains(.closeNow))
        #expect(!eve.pointee.flags.contains(.authenticated) || eve.pointee.user != nil)
        #expect(server.run("ACL", "DELUSER", "default").isError)
        #expect(server.run("ACL", "SETUSER", "bob", "on", "nopass", "+@all") == .ok)
        let bob = login("bob")
        #expect(server.run(["ACL", "DELUSER", "bob"], on: bob) == 1)
        #expect(bob.pointee.flags.contains(.closeAfterReply))
    }

    @Test func subscribersGoWithTheirChannels() {
        #expect(
            server.run("ACL", "SETUSER", "eve", "on", "nopass", "+@all", "&a*", "&b") == .ok)
        let both = login("eve")
        let one = login("eve")
        server.run(["SUBSCRIBE", "a1", "b"], on: both)
        server.run(["PSUBSCRIBE", "a*"], on: one)
        #expect(server.run("ACL", "SETUSER", "eve", "&c") == .ok)
        #expect(both.pointee.flags.isDisjoint(with: .closeNow))
        #expect(server.run("ACL", "SETUSER", "eve", "resetchannels", "&a*") == .ok)
        #expect(both.pointee.flags.contains(.closeNow))
        #expect(one.pointee.flags.isDisjoint(with: .closeNow))
        #expect(server.run("ACL", "SETUSER", "eve", "resetchannels", "&a1") == .ok)
        #expect(one.pointee.flags.contains(.closeNow))
    }

    @Test func loggedInIsNotTheSameAsNoPasswordNeeded() {
        let early = server.connect()
        server.executor.setRequiredPassword("secret")
        let late = server.connect()
        #expect(server.run(["PING"], on: early) == .simple("PONG"))
        #expect(server.run(["PING"], on: late).isError)
        server.executor.setRequiredPassword("")
        #expect(server.run(["PING"], on: late) == .simple("PONG"))
        server.executor.setRequiredPassword("secret")
        #expect(server.run(["PING"], on: late).isError)
        #expect(server.run("ACL", "SETUSER", "default", "off") == .ok)
        #expect(server.run(["AUTH", "secret"], on: late).isError)
        #expect(server.executor.pointee.stats.deniedLogins == 1)
    }

    @Test func offencesOfOneKindAreCountedTogether() {
        #expect(server.run("ACL", "SETUSER", "eve", "on", "nopass", "+get", "~k") == .ok)
        let eve = login("eve")
        for _ in 0..<3 { server.run(["GET", "x"], on: eve) }
        server.run(["SET", "x", "y"], on: eve)
        var log = server.run("ACL", "LOG").elements
        #expect(log.count == 2)
        #expect(log.last?["count"] == 3)
        #expect(log.last?["object"] == "x" && log.first?["object"] == "set")
        server.advance(milliseconds: 61_000)
        server.run(["GET", "x"], on: eve)
        log = server.run("ACL", "LOG").elements
        #expect(log.count == 3)
        #expect(server.run("ACL", "LOG", "1").elements.count == 1)
        server.executor.pointee.settings.accessLogLength = 2
        server.run(["GET", "y"], on: eve)
        #expect(server.run("ACL", "LOG").elements.count == 2)
        #expect(server.run("ACL", "LOG", "RESET") == .ok)
        #expect(server.run("ACL", "LOG").elements.isEmpty)
    }

    @Test func filesAreTakenWholeOrNotAtAll() {
        let executor = server.executor
        #expect(server.run("ACL", "SETUSER", "eve", "on", "nopass", "+get") == .ok)
        let eve = login("eve")
        let bad = """
            user bob on +nosuch +alsono
            nonsense

            user bob on
            user  on
            user eve on yes no
            user tom (+get ~x
            """
        let problem = executor.loadUsers(file: Array(bad.utf8), path: "f")
        #expect(
            problem.map { String(decoding: $0, as: UTF8.self) }
                == "f:1: Error in applying operation '+nosuch': Unknown command or category name "
                + "in ACL. f:1: Error in applying operation '+alsono': Unknown command or "
                + "category name in ACL. f:2 should start with user keyword followed by the "
                + "username. WARNING: Duplicate user 'bob' found on line 4. f:6: Syntax error. "
                + "f:7: Unmatched parenthesis in selector definition.WARNING: ACL errors "
                + "detected, no change to the previously active ACL rules was performed")
        #expect(server.run(["GET", "k"], on: eve).isError)
        #expect(eve.pointee.flags.isDisjoint(with: .closeNow))
        #expect(executor.loadUsers(file: Array("user bob on\r\n\n".utf8), path: "f") == nil)
        #expect(eve.pointee.flags.contains(.closeNow))
        #expect(server.run("ACL", "USERS") == .array(["bob", "default"]))
    }
}
