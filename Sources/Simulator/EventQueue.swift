// What will happen, in order of virtual time; equal times in the order of asking. A binary heap of
// small values: a run of a minute has a few hundred thousand events.
import Base
import Sentinel

/// Virtual time since the start of the run, in microseconds. Only the simulation knows it; nodes
/// see it through their own clocks.
typealias Microseconds = Int64

extension Microseconds {
    static func milliseconds(_ count: Int) -> Microseconds { Microseconds(count) * 1000 }
    static func seconds(_ count: Int) -> Microseconds { Microseconds(count) * 1_000_000 }
}

enum Event {
    /// A node's loop wakes up; outdated unless the token is the node's.
    case iterate(node: Int, token: UInt64)
    /// The first item of this direction of a connection reaches the far end.
    case arrive(SimConnection, from: Side)
    /// A connection attempt reaches the host that it is for.
    case knock(SimConnection, attempt: Int)
    /// The disk of a node finished its oldest request.
    case diskDone(node: Int, incarnation: Int)
    case restart(node: Int, incarnation: Int)
    case client(index: Int, token: UInt64)
    case faults
    /// The end of a fault.
    case heal(FaultRecord)
    case supervise
    case sentinelTick(index: Int, incarnation: Int)
    /// A sentinel's file is durable.
    case sentinelSynced(
        index: Int, incarnation: Int, version: UInt64, lines: [SentinelConf.Line])
    case restartSentinel(index: Int, incarnation: Int)
    case sentinelFault
}

struct EventQueue {
    private struct Entry {
        var time: Microseconds
        var order: UInt64
        var event: Event
    }

    private var heap: [Entry] = []
    private var nextOrder: UInt64 = 0

    var isEmpty: Bool { heap.isEmpty }
    var nextTime: Microseconds? { heap.first?.time }

    mutating func add(_ event: Event, at time: Microseconds) {
        heap.append(Entry(time: time, order: nextOrder, event: event))
        nextOrder += 1
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard isEarlier(child, parent) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func next() -> (time: Microseconds, event: Event)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        return (first.time, first.event)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            let left = parent * 2 + 1
            guard left < heap.count else { return }
            let right = left + 1
            let child = right < heap.count && isEarlier(right, left) ? right : left
            guard isEarlier(child, parent) else { return }
            heap.swapAt(child, parent)
            parent = child
        }
    }

    private func isEarlier(_ a: Int, _ b: Int) -> Bool {
        let x = heap[a].time
        let y = heap[b].time
        return x != y ? x < y : heap[a].order < heap[b].order
    }

    mutating func removeAll() { heap.removeAll() }
}
