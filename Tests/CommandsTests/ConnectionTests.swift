// The connection group and COMMAND, in process.
import Base
import Engine
import Testing

@Suite struct ConnectionTests {
    @Test func pingAndEcho() {
        let server = CommandHarness()
        #expect(server.run("PING") == .simple("PONG"))
        #expect(server.run("ping", "hello") == "hello")
        #expect(server.run("PING", "a", "b").isError)
        #expect(server.run("ECHO", "x") == "x")
        #expect(
            server.run("client", "nonsense")
                == .error("ERR unknown subcommand 'nonsense'. Try CLIENT HELP."))
    }

    @Test func helloSwitchesTheProtocol() {
        let server = CommandHarness()
        let two = server.run("HELLO")
        #expect(two["proto"] == 2)
        #expect(two["server"] == "redis")
        guard case .map = server.run("HELLO", "3", "SETNAME", "me") else {
            Issue.record("HELLO 3 answers with a map")
            return
        }
        #expect(server.run("CLIENT", "GETNAME") == "me")
        #expect(server.run("HELLO", "4") == .error("NOPROTO unsupported protocol version"))
        #expect(server.run("RESET") == .simple("RESET"))
        #expect(server.run("CLIENT", "GETNAME") == .null)
    }

    @Test func passwordIsAskedFor() {
        let server = CommandHarness()
        server.executor.setRequiredPassword("secret")
        let client = server.connect()
        #expect(server.run(["PING"], on: client) == .error("NOAUTH Authentication required."))
        #expect(server.run(["AUTH", "wrong"], on: client).text?.hasPrefix("WRONGPASS") == true)
        #expect(server.run(["AUTH", "other", "secret"], on: client).isError)
        #expect(server.run(["HELLO", "3"], on: client).text?.hasPrefix("NOAUTH HELLO") == true)
        #expect(server.run(["AUTH", "default", "secret"], on: client) == .ok)
        #expect(server.run(["PING"], on: client) == .simple("PONG"))
    }

    @Test func selectKnowsItsLimits() {
        let server = CommandHarness()
        #expect(server.run("SELECT", "15") == .ok)
        #expect(server.run("SELECT", "16") == .error("ERR DB index is out of range"))
        #expect(server.run("SELECT", "x").isError)
    }

    @Test func replyOffAndSkip() {
        let server = CommandHarness()
        #expect(server.run("CLIENT", "REPLY", "SKIP") == .error("NOREPLY"))
        #expect(server.run("PING") == .error("NOREPLY"))
        #expect(server.run("PING") == .simple("PONG"))
        server.run("CLIENT", "REPLY", "OFF")
        #expect(server.run("PING") == .error("NOREPLY"))
        #expect(server.run("CLIENT", "REPLY", "ON") == .ok)
        #expect(server.run("PING") == .simple("PONG"))
    }

    @Test func listAndKill() {
        let server = CommandHarness()
        let other = server.connect(peer: "127.0.0.1:4444")
        let id = other.pointee.id
        let list = server.run("CLIENT", "LIST").text ?? ""
        #expect(list.contains("cmd=client|list") && list.contains("addr=127.0.0.1:4444"))
        #expect(server.run("CLIENT", "LIST", "TYPE", "pubsub") == "")
        #expect(server.run("CLIENT", "KILL", "ID", "\(id)") == 1)
        #expect(other.pointee.flags.contains(.closeNow))
        #expect(server.run("CLIENT", "KILL", "1.2.3.4:5") == .error("ERR No such client"))
        #expect(server.run("CLIENT", "KILL", "TYPE", "bad", "ID", "1").isError)
    }

    @Test func pauseHoldsWritesOnly() {
        let server = CommandHarness()
        let client = server.connect()
        #expect(server.run("CLIENT", "PAUSE", "100", "WRITE") == .ok)
        #expect(server.run(["PING"], on: client) == .simple("PONG"))
        #expect(server.run(["FLUSHALL"], on: client) == .error("NOREPLY"))
        server.executor.pauseCron()
        #expect(server.replies(client).isEmpty)
        server.advance(milliseconds: 101)
        server.executor.pauseCron()
        // What waited runs at the end of the iteration, which this harness does not have.
        let mayResume = server.executor.pointee.mayResume
        #expect(mayResume)
        server.executor.resumePostponed()
        #expect(server.replies(client) == [.ok])
    }

    @Test func commandReports() {
        let server = CommandHarness()
        let info = server.run("COMMAND", "INFO", "ping", "nope", "client|kill")
        #expect(info.elements.count == 3)
        #expect(info.elements[0].elements[1] == -1)
        #expect(info.elements[1] == .null)
        #expect(info.elements[2].elements[0] == "client|kill")
        let docs = server.run("COMMAND", "DOCS", "select")
        #expect(docs["select"]?["arguments"]?.elements.first?["type"] == "integer")
        #expect(server.run("COMMAND", "COUNT").integer ?? 0 > 10)
        #expect(
            server.run("COMMAND", "LIST", "FILTERBY", "PATTERN", "sel*") == .array(["select"]))
    }

    @Test func everySyntaxIsReadable() {
        let server = CommandHarness()
        for declaration in server.executor.pointee.commands.pointee.declarations {
            let arguments = CommandSyntax.arguments(declaration.syntax)
            #expect(arguments.isEmpty == Bytes(declaration.syntax).isEmpty)
        }
    }

    @Test func flushAndSwap() {
        let server = CommandHarness()
        let before = server.streamEnd
        #expect(server.run("FLUSHDB", "ASYNC") == .ok)
        #expect(server.run("FLUSHALL", "NOW") == .error("ERR syntax error"))
        #expect(server.stream(from: before).last == ["FLUSHDB", "ASYNC"])
        #expect(server.run("SWAPDB", "0", "1") == .ok)
        #expect(server.run("SWAPDB", "0", "99") == .error("ERR DB index is out of range"))
        #expect(server.run("DBSIZE") == 0)
    }
}
