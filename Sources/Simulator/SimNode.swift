// One simulated process: the production node, its clock, its disk and what waits for its loop.
// `SimNode+Loop` has the loop, `SimShell` what the node may ask for, `SimNode+Life` start and end.
import Base
import Engine
import Gossip
import NodeCore

/// What waits for a node's loop, in the order of arrival.
enum Arrival {
    case accepted(SimConnection)
    case packet(SimConnection, Side, Packet)
    /// The peer took bytes: there is room again.
    case room(SimConnection, Side)
    case fileDone(ticket: UInt64, FileFailure?)
    case terminate
}

final class SimNode {
    enum Life: Equatable {
        case running
        /// The host is up, the process is not.
        case dead
        /// The host does not answer at all.
        case hostDown
    }

    let index: Int
    let address: String
    let port: Int
    var settings: Settings
    var clock: SimClock
    var disk = SimDisk()
    var node: NodePointer?
    var life = Life.dead
    /// Counts processes: what belongs to an earlier one is void.
    var incarnation = 0

    var inbox: [Arrival] = []
    /// Outgoing links and accepted bus connections by number.
    var links = SortedTable<LinkID, SimConnection>()
    /// Sessions' connections by connection number.
    var sessions = SortedTable<UInt64, SimConnection>()
    /// Every connection with an end in this process, by number.
    var connections = SortedTable<UInt64, SimConnection>()
    var acceptedLinks: UInt64 = 0

    var wakeAt = Microseconds.max
    var wakeToken: UInt64 = 0
    var pausedUntil: Microseconds = 0
    var diskIsBusy = false
    /// An orderly stop was asked for; the process leaves when its files are written.
    var isStopping = false
    /// Crash after so many more requests to the shell: in the middle of an iteration.
    var crashCountdown: Int?
    /// The crash that the countdown led to, carried out after the iteration.
    var isCrashing = false
    var iterations = 0
    /// Since when its data, as of the last start, is the whole of what it acknowledged.
    var startedFromData = false

    var busPort: Int { port + 10000 }
    var isRunning: Bool { life == .running }

    init(index: Int, settings: Settings, clock: SimClock) {
        self.index = index
        self.clock = clock
        address = SimNode.address(of: index)
        port = 7000 + index
        self.settings = settings
        self.settings.port = port
    }

    static func address(of host: Int) -> String { "10.0.0.\(host + 1)" }

    /// The host with this address.
    static func host(of address: String) -> Int? {
        guard address.hasPrefix("10.0.0."), let last = Int(address.dropFirst(7)) else { return nil }
        return last - 1
    }
}
