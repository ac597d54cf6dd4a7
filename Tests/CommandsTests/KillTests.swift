// In which order a node's loop closes who was killed and answers who killed.
import Base
import Engine
import Gossip
import NodeCore
import Testing

/// Remembers who was closed and who was written to; takes what is written.
private struct OrderShell: Shell {
    enum Event: Equatable {
        case closed(UInt64)
        case wrote(UInt64)
    }

    let node: NodePointer
    var events: [Event] = []

    mutating func connect(_ link: LinkID, kind: LinkKind, host: String, port: Int) {}
    mutating func send(_ link: LinkID, _ bytes: [UInt8]) {}
    mutating func close(_ link: LinkID) {}
    mutating func perform(_ request: FileRequest) {}
    mutating func writeLog(_ file: UInt64, _ bytes: Bytes) -> LogWriteResult { .busy }
    mutating func perform(_ request: ProcessRequest) {}
    mutating func log(_ line: LogLine) {}
    mutating func write(_ session: UnsafeMutablePointer<Session>) {
        events.append(.wrote(session.pointee.id))
        session.pointee.output.pointee.removeAll()
    }
    mutating func close(_ session: UnsafeMutablePointer<Session>) {
        events.append(.closed(session.pointee.id))
        node.sessionClosed(session)
    }
}

@Suite struct KillTests {
    let node: NodePointer

    init() {
        var settings = Settings()
        settings.savePoints = []
        node = NodePointer.make(
            settings: settings,
            now: Now(
                instant: Instant(microseconds: 5_000_000),
                wall: WallTime(milliseconds: 1_700_000_000_000)),
            seed: 1, sipKey: SipKey(1, 2))
        node.start()
    }

    private func run(_ session: UnsafeMutablePointer<Session>, _ words: String...) {
        CommandHarness.encode(words.map { Array($0.utf8) })
            .withBytes { session.pointee.input.pointee.append($0) }
        node.executor.process(session)
    }

    private func open(_ port: Int) -> UnsafeMutablePointer<Session> {
        node.executor.openSession(peer: "10.0.0.9:\(port)", local: "10.0.0.1:6379")
    }

    /// Who is told that a client was killed may rely on it: its socket is closed by then.
    @Test func whoIsKilledGoesBeforeTheKillerIsAnswered() {
        defer { node.destroy() }
        let victim = open(5001)
        let killer = open(5002)
        let (first, second) = (victim.pointee.id, killer.pointee.id)
        var shell = OrderShell(node: node)
        run(killer, "CLIENT", "KILL", "ID", "\(first)")
        _ = node.beforeSleep(&shell)
        #expect(shell.events == [.closed(first), .wrote(second)])
    }

    /// Nobody is freed while his replies are on the list of those to be written, and who kills
    /// himself gets his reply first.
    @Test func whoHasRepliesGoesAtTheEnd() {
        defer { node.destroy() }
        let victim = open(5001)
        let killer = open(5002)
        let (first, second) = (victim.pointee.id, killer.pointee.id)
        var shell = OrderShell(node: node)
        run(victim, "PING")
        run(killer, "CLIENT", "KILL", "SKIPME", "no", "TYPE", "normal")
        _ = node.beforeSleep(&shell)
        #expect(shell.events.first == .wrote(second))
        #expect(Set([first, second]) == Set(shell.events.compactMap {
            if case .closed(let id) = $0 { id } else { nil }
        }))
        #expect(shell.events.count == 3)
    }
}
