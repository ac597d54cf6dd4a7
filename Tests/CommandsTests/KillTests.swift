// In which order a node's loop closes who was killed and answers who killed.
import Base
import Engine
import NodeCore
import Testing

/// Remembers who was closed and who was written to; takes what is written.
private struct OrderShell: QuietShell {
    enum Event: Equatable {
        case closed(UInt64)
        case wrote(UInt64)
    }

    let node: NodePointer
    var events: [Event] = []

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
    private let lone = LoneNode()
    private let victim: UnsafeMutablePointer<Session>
    /// IDs, which outlive the sessions.
    private let first: UInt64
    private let second: UInt64

    init() {
        victim = lone.connect()
        first = victim.pointee.id
        second = lone.session.pointee.id
    }

    private func iterate() -> [OrderShell.Event] {
        var shell = OrderShell(node: lone.node)
        _ = lone.node.beforeSleep(&shell)
        return shell.events
    }

    /// Who is told that a client was killed may rely on it: its socket is closed by then.
    @Test func whoIsKilledGoesBeforeTheKillerIsAnswered() {
        #expect(lone.run("CLIENT", "KILL", "ID", "\(first)") == 1)
        #expect(iterate() == [.closed(first), .wrote(second)])
    }

    /// Nobody is freed while his replies are on the list of those to be written, and who kills
    /// himself gets his reply first.
    @Test func whoHasRepliesGoesAtTheEnd() {
        #expect(lone.run(["PING"], on: victim) == .simple("PONG"))
        #expect(lone.run("CLIENT", "KILL", "SKIPME", "no", "TYPE", "normal") == 2)
        let events = iterate()
        #expect(events.first == .wrote(second) && events.count == 3)
        #expect(events.contains(.closed(first)) && events.contains(.closed(second)))
    }
}
