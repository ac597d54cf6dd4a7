// A TCP connection: two directions, each delivering in order and exactly once, until it breaks.
// What is sent while the path is cut waits and arrives after the cut, as retransmission would have
// it. Loss, duplication and reordering are what several connections make of it together: a broken
// one takes with it what was on its way, and a new one overtakes an old one that stalls.
import Base
import Engine
import Gossip
import NodeCore

/// The two ends: the one that connected and the one that accepted.
enum Side: Int {
    case opener
    case acceptor

    var other: Side { self == .opener ? .acceptor : .opener }
}

/// What a connection is, to one of its ends.
enum Endpoint {
    /// Nobody any more: closed here, or the process is dead.
    case none
    case link(LinkID)
    /// Accepted by the kernel, not yet by the process.
    case backlog
    case session(UnsafeMutablePointer<Session>)
    /// A client of the workload, or the administrator.
    case client
    /// A sentinel, which keeps its connections by number itself.
    case sentinel
}

enum Packet {
    /// The connection is established (to the opener).
    case opened
    /// `sent` is when the sender handed the bytes to its kernel; `epoch` and `sender` say who
    /// vouched for them.
    case bytes([UInt8], stamp: Stamp)
    case closed(LinkFailure)
}

/// The state of a node when it wrote something, for the checkers.
struct Stamp {
    var time: Microseconds = 0
    var configEpoch: UInt64 = 0
    /// Whether a replica was online and everything was on its way to it.
    var isReplicated = false
}

final class SimConnection {
    struct Item {
        var arrival: Microseconds
        var packet: Packet
    }

    /// What travels one way.
    struct Direction {
        var items: [Item] = []
        var head = 0
        var lastArrival: Microseconds = 0
        /// An arrival event is in the queue.
        var isScheduled = false
        /// The first item waits for a cut to end.
        var isStalled = false
        /// Bytes sent and not yet taken by the receiving process.
        var unread = 0
        /// The sender wants to know when there is room.
        var wantsRoom = false

        var isEmpty: Bool { head == items.count }

        mutating func pop() -> Packet? {
            guard head < items.count else { return nil }
            let packet = items[head].packet
            head += 1
            if head == items.count {
                items.removeAll(keepingCapacity: true)
                head = 0
            }
            return packet
        }

        mutating func drop() {
            items.removeAll()
            head = 0
        }
    }

    /// Bytes that fit between two processes before the sender must wait.
    static let window = 256 * 1024

    let id: UInt64
    let kind: LinkKind?
    let port: Int
    /// Hosts of the two ends.
    let hosts: (opener: Int, acceptor: Int)
    var opener: Endpoint
    var acceptor = Endpoint.none
    /// From the opener, and from the acceptor.
    var forth = Direction()
    var back = Direction()

    init(
        id: UInt64, kind: LinkKind?, port: Int, from: Int, to: Int, opener: Endpoint
    ) {
        self.id = id
        self.kind = kind
        self.port = port
        hosts = (from, to)
        self.opener = opener
    }

    func host(_ side: Side) -> Int { side == .opener ? hosts.opener : hosts.acceptor }

    subscript(_ side: Side) -> Endpoint {
        get { side == .opener ? opener : acceptor }
        set { if side == .opener { opener = newValue } else { acceptor = newValue } }
    }

    /// What `side` sends.
    subscript(from side: Side) -> Direction {
        get { side == .opener ? forth : back }
        _modify {
            if side == .opener { yield &forth } else { yield &back }
        }
    }

    func isOpen(_ side: Side) -> Bool {
        if case .none = self[side] { return false }
        return true
    }
}
