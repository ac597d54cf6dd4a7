// A whole node without a shell that does anything: it is fed by hand, one command after another.
import Base
import Engine
import Gossip
import NodeCore

final class LoneNode {
    let node: NodePointer
    /// The client that `run` speaks for.
    let session: UnsafeMutablePointer<Session>

    static let start = Instant(microseconds: 5_000_000)

    static func now(_ instant: Instant) -> Now {
        Now(instant: instant, wall: WallTime(milliseconds: 1_700_000_000_000))
    }

    init(
        seed: UInt64 = 3, sipKey: SipKey = SipKey(1, 2),
        _ configure: (inout Settings) -> Void = { _ in }
    ) {
        var settings = Settings()
        settings.enableDebugCommand = "yes"
        settings.savePoints = []
        configure(&settings)
        node = NodePointer.make(
            settings: settings, now: LoneNode.now(LoneNode.start), seed: seed, sipKey: sipKey)
        node.start()
        session = node.executor.openSession(peer: "10.0.0.9:5000", local: "10.0.0.1:6379")
    }

    deinit { node.destroy() }

    func connect() -> UnsafeMutablePointer<Session> {
        node.executor.openSession(peer: "10.0.0.9:5001", local: "10.0.0.1:6379")
    }

    @discardableResult
    func run(_ words: String...) -> Reply { run(words, on: session) }

    @discardableResult
    func run(_ words: [String], on client: UnsafeMutablePointer<Session>) -> Reply {
        let bytes = CommandHarness.encode(words.map { Array($0.utf8) })
        bytes.withBytes { client.pointee.input.pointee.append($0) }
        node.executor.process(client)
        return answers(client).first ?? .error("NOREPLY")
    }

    func answers(_ client: UnsafeMutablePointer<Session>) -> [Reply] {
        var reader = ReplyReader(client.pointee.output.pointee.bytes.array)
        client.pointee.output.pointee.removeAll()
        var out: [Reply] = []
        while !reader.isAtEnd { out.append(reader.next()) }
        return out
    }
}

/// A shell that does nothing but what its type says otherwise.
protocol QuietShell: Shell {}

extension QuietShell {
    mutating func connect(_ link: LinkID, kind: LinkKind, host: String, port: Int) {}
    mutating func send(_ link: LinkID, _ bytes: [UInt8]) {}
    mutating func close(_ link: LinkID) {}
    mutating func perform(_ request: FileRequest) {}
    mutating func writeLog(_ file: UInt64, _ bytes: Bytes) -> LogWriteResult { .busy }
    mutating func perform(_ request: ProcessRequest) {}
    mutating func log(_ line: LogLine) {}
    mutating func write(_ session: UnsafeMutablePointer<Session>) {}
    mutating func close(_ session: UnsafeMutablePointer<Session>) {}
}
