// The loop with a real node and real sockets, turned by hand: a request, a pipeline, a request in
// pieces, a reply larger than the socket takes, clients that vanish.
import Base
import Engine
import Glibc
import NodeCore
import Server
import Testing

/// A loop on a port of its own, and clients of it on the same thread.
private final class Stage {
    let loop: EventLoopPointer
    let port: Int
    let folder = Folder()

    init(_ change: (inout Settings) -> Void = { _ in }) throws {
        port = try freePort()
        var settings = Settings()
        settings.port = port
        settings.bind = ["127.0.0.1"]
        settings.savePoints = []
        settings.dbFilename = folder / "dump.rdb"
        settings.logFile = folder / "log"
        change(&settings)
        let node = NodePointer.make(
            settings: settings, now: Clock.now(), seed: 1, sipKey: SipKey(1, 2))
        var log = LogFile()
        try log.open(folder / "log")
        loop = try EventLoop.make(node: node, lock: nil, log: log)
        try loop.listen()
        node.start()
    }

    deinit { loop.pointee.files.finish() }

    /// Turns until `done`, but not for ever.
    func turn(until done: () -> Bool) {
        for _ in 0..<500 where !done() { loop.turn(atMost: Milliseconds(10)) }
    }

    func connect() -> Client { Client(port: port) }

    /// Sends, and turns until the reply ends as `ending` does.
    func ask(_ client: Client, _ request: String, ending: String) -> String {
        client.send(Array(request.utf8))
        // As bytes: to a String, CR and LF are one character.
        let end = Array(ending.utf8)
        var reply: [UInt8] = []
        turn {
            reply += client.receive()
            return reply.suffix(end.count) == end[...] || client.isClosed
        }
        return String(decoding: reply, as: UTF8.self)
    }
}

private final class Client {
    private let descriptor: Int32
    private(set) var isClosed = false

    init(port: Int) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, size)
            }
        }
    }

    deinit { if !isGone { close(descriptor) } }

    private var isGone = false

    /// Closes so that the other end sees a reset.
    func reset() {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        close(descriptor)
        isGone = true
    }

    func send(_ bytes: [UInt8]) {
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// What has arrived.
    func receive(_ room: Int = 1 << 20) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: room)
        let count = recv(descriptor, &buffer, room, Int32(MSG_DONTWAIT))
        if count == 0 { isClosed = true }
        return count > 0 ? Array(buffer[..<count]) : []
    }
}

@Suite(.serialized) struct EventLoopTests {
    @Test func requestsAndReplies() throws {
        let stage = try Stage()
        let client = stage.connect()
        #expect(stage.ask(client, "PING\r\n", ending: "\n") == "+PONG\r\n")
        let replies = stage.ask(client, "SET k v\r\nGET k\r\n", ending: "v\r\n")
        #expect(replies == "+OK\r\n$1\r\nv\r\n")
    }

    @Test func aRequestInPieces() throws {
        let stage = try Stage()
        let client = stage.connect()
        for byte in Array("*2\r\n$4\r\nECHO\r\n$5\r\nhell".utf8) {
            client.send([byte])
            stage.loop.turn(atMost: Milliseconds(10))
        }
        #expect(stage.ask(client, "o\r\n", ending: "hello\r\n") == "$5\r\nhello\r\n")
    }

    @Test func aValueLargerThanAnyBuffer() throws {
        let stage = try Stage()
        let client = stage.connect()
        let size = 5 << 20
        let value = [UInt8](repeating: UInt8(ascii: "x"), count: size)
        var sent = Array("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$\(size)\r\n".utf8) + value + [13, 10]
        sent += Array("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".utf8)
        for start in stride(from: 0, to: sent.count, by: 100_000) {
            client.send(Array(sent[start..<min(sent.count, start + 100_000)]))
            stage.loop.turn(atMost: .zero)
            stage.loop.turn(atMost: .zero)
        }
        var received: [UInt8] = []
        let head = "+OK\r\n$\(size)\r\n"
        let expected = head.utf8.count + size + 2
        stage.turn {
            received += client.receive(64 << 10)
            return received.count >= expected
        }
        #expect(received.count == expected)
        #expect(String(decoding: received.prefix(head.utf8.count), as: UTF8.self) == head)
    }

    @Test func quitAnswersAndCloses() throws {
        let stage = try Stage()
        let client = stage.connect()
        let before = stage.loop.pointee.registrations.count
        #expect(stage.ask(client, "QUIT\r\n", ending: "never") == "+OK\r\n")
        #expect(client.isClosed)
        stage.turn { stage.loop.pointee.registrations.count == before }
        #expect(stage.loop.pointee.node.executor.pointee.sessions.count == 0)
    }

    @Test func clientsThatVanish() throws {
        let stage = try Stage()
        let before = stage.loop.pointee.registrations.count
        let clients = (0..<20).map { _ in stage.connect() }
        for client in clients { client.send(Array("ECHO hello\r\nSET a".utf8)) }
        stage.turn { stage.loop.pointee.registrations.count == before + 20 }
        for client in clients { client.reset() }
        stage.turn { stage.loop.pointee.registrations.count == before }
        #expect(stage.loop.pointee.registrations.count == before)
        #expect(stage.ask(stage.connect(), "PING\r\n", ending: "\n") == "+PONG\r\n")
    }

    @Test func tooManyClientsAreTold() throws {
        let stage = try Stage { $0.maxClients = 1 }
        let first = stage.connect()
        #expect(stage.ask(first, "PING\r\n", ending: "\n") == "+PONG\r\n")
        let second = stage.connect()
        let refusal = stage.ask(second, "PING\r\n", ending: "\n")
        #expect(refusal == "-ERR max number of clients reached\r\n")
    }

    @Test func anIdleClientOwnsNoInputBuffer() throws {
        let stage = try Stage()
        let client = stage.connect()
        #expect(stage.ask(client, "PING\r\n", ending: "\n") == "+PONG\r\n")
        let session = stage.loop.pointee.node.executor.pointee.sessions[0]
        #expect(session.pointee.input.pointee.capacity == 0)
    }

    @Test func savedDataIsReadBack() throws {
        let stage = try Stage()
        let client = stage.connect()
        let replies = stage.ask(client, "SET k v\r\nSAVE\r\n", ending: "+OK\r\n+OK\r\n")
        #expect(replies == "+OK\r\n+OK\r\n")
        #expect(stage.folder.read("dump.rdb")?.hasPrefix("REDIS") == true)
    }
}
