// The simulator's side of `Shell`: what a node asks for at the end of an iteration becomes packets
// and disk requests of the simulated world. A crash can strike between any two requests.
import Base
import Engine
import Gossip
import NodeCore

struct SimShell: Shell {
    let simulation: Simulation
    let owner: SimNode

    /// False once the process died in this iteration; counts down to a planned death.
    private func isAlive() -> Bool {
        if owner.isCrashing { return false }
        guard let left = owner.crashCountdown else { return true }
        if left == 0 {
            owner.isCrashing = true
            return false
        }
        owner.crashCountdown = left - 1
        return true
    }

    func connect(_ link: LinkID, kind: LinkKind, host: String, port: Int) {
        guard isAlive() else { return }
        simulation.connect(owner, link, kind: kind, host: host, port: port)
    }

    func send(_ link: LinkID, _ bytes: [UInt8]) {
        guard isAlive(), let connection = owner.links[link] else { return }
        let side: Side = link.isAccepted ? .acceptor : .opener
        if connection.kind == .bus || link.isAccepted {
            simulation.busMessageSent(by: owner, on: connection, from: side, bytes)
        }
        simulation.send(connection, from: side, .bytes(bytes, stamp: Stamp()))
    }

    func close(_ link: LinkID) {
        guard isAlive(), let connection = owner.links[link] else { return }
        simulation.close(connection, link.isAccepted ? .acceptor : .opener, of: owner)
    }

    func perform(_ request: FileRequest) {
        guard isAlive() else { return }
        owner.disk.add(.file(request))
        simulation.startDisk(owner)
    }

    func writeLog(_ file: UInt64, _ bytes: Bytes) -> LogWriteResult {
        guard isAlive() else { return .busy }
        return owner.disk.writeNow(file, bytes.array)
    }

    func perform(_ request: ProcessRequest) {
        guard isAlive() else { return }
        switch request {
        case .exit(let code):
            simulation.note(owner, "exits with code \(code)")
            owner.disk.add(.exit)
            simulation.startDisk(owner)
        case .sleep(let microseconds):
            owner.pausedUntil = max(owner.pausedUntil, simulation.time + microseconds)
        case .crash, .restart: owner.isCrashing = true
        case .applySettings, .rewriteConfig: break
        }
    }

    func log(_ line: LogLine) {
        simulation.logged(owner, line)
    }

    func write(_ session: UnsafeMutablePointer<Session>) {
        guard isAlive(), let connection = owner.connection(of: session) else { return }
        simulation.write(owner, session, to: connection)
    }

    func close(_ session: UnsafeMutablePointer<Session>) {
        guard isAlive(), let node = owner.node else { return }
        if let connection = owner.connection(of: session) {
            simulation.close(connection, .acceptor, of: owner)
        }
        node.sessionClosed(session)
    }
}

extension LinkID {
    /// Numbered by the shell; the node numbers those that it opens.
    var isAccepted: Bool { raw % 4 == 2 }
}

extension SimNode {
    /// The connection of a session: its driver is the connection's number.
    func connection(of session: UnsafeMutablePointer<Session>) -> SimConnection? {
        guard let driver = session.pointee.driver else { return nil }
        return sessions[UInt64(UInt(bitPattern: driver))]
    }
}
