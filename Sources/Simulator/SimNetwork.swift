// The paths between hosts: how long a packet takes, which ways are cut, which are clogged, and
// what waits on cut ones. Connections ask here; faults change it.
import Base

struct SimNetwork {
    let hostCount: Int
    private let baseDelay: Microseconds
    private let jitter: Int
    /// How many faults cut the way from row to column.
    private var cuts: [Int]
    /// Extra delay on the way from row to column.
    private var clogs: [Microseconds]
    /// Connections with a stalled direction, in the order of stalling.
    private(set) var stalled: [(connection: SimConnection, side: Side)] = []

    init(hosts: Int, baseDelay: Microseconds, jitter: Microseconds) {
        invariant(hosts > 0 && jitter > 0, "a network needs hosts and some jitter")
        hostCount = hosts
        self.baseDelay = baseDelay
        self.jitter = Int(jitter)
        cuts = [Int](repeating: 0, count: hosts * hosts)
        clogs = [Microseconds](repeating: 0, count: hosts * hosts)
    }

    private func path(_ from: Int, _ to: Int) -> Int {
        invariant(from < hostCount && to < hostCount, "no such host")
        return from * hostCount + to
    }

    func isOpen(from: Int, to: Int) -> Bool { cuts[path(from, to)] == 0 }

    func delay(from: Int, to: Int, _ prng: inout Prng) -> Microseconds {
        baseDelay + Microseconds(prng.below(jitter)) + clogs[path(from, to)]
    }

    mutating func cut(from: Int, to: Int) { cuts[path(from, to)] += 1 }

    mutating func mend(from: Int, to: Int) {
        invariant(cuts[path(from, to)] > 0, "only a cut path can be mended")
        cuts[path(from, to)] -= 1
    }

    mutating func clog(from: Int, to: Int, by delay: Microseconds) {
        clogs[path(from, to)] += delay
    }

    mutating func stall(_ connection: SimConnection, from side: Side) {
        invariant(!connection[from: side].isStalled, "a direction stalls once")
        connection[from: side].isStalled = true
        stalled.append((connection, side))
    }

    /// The stalled directions whose path is open again.
    mutating func takeMended() -> [(connection: SimConnection, side: Side)] {
        var mended: [(connection: SimConnection, side: Side)] = []
        var rest: [(connection: SimConnection, side: Side)] = []
        for entry in stalled {
            let from = entry.connection.host(entry.side)
            let to = entry.connection.host(entry.side.other)
            if isOpen(from: from, to: to) {
                entry.connection[from: entry.side].isStalled = false
                mended.append(entry)
            } else {
                rest.append(entry)
            }
        }
        stalled = rest
        return mended
    }
}
