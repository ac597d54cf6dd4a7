// Which faults strike, when, and what of them is still in force. The log of them is what excuses
// lost writes.
import Base
import Engine

/// One fault, from its start to its end.
struct FaultRecord {
    var number: Int
    var kind: FaultKind
    /// The hosts that it touches.
    var hosts: [Int]
    var start: Microseconds
    var end: Microseconds
    /// Paths that it cut or clogged.
    var paths: [(from: Int, to: Int)] = []
    var delay: Microseconds = 0
}

struct FaultInjector {
    let options: SwarmOptions
    /// No more faults: the liveness phase has begun.
    var isOver = false
    private(set) var log: [FaultRecord] = []
    /// Those whose end somebody must bring about.
    private(set) var active: [FaultRecord] = []
    /// How long the process that ends next stays down, by node.
    var restartDelays: [Microseconds?]

    init(_ options: SwarmOptions) {
        self.options = options
        restartDelays = Array(repeating: nil, count: options.nodes)
    }

    mutating func add(_ record: FaultRecord, isLasting: Bool) {
        log.append(record)
        if isLasting { active.append(record) }
    }

    mutating func end(_ number: Int) -> FaultRecord? {
        guard let index = active.firstIndex(where: { $0.number == number }) else { return nil }
        return active.remove(at: index)
    }

    /// A process is gone: it comes back after the time that its fault chose.
    func ended(_ owner: SimNode, in world: Simulation) {
        let delay = restartDelays[owner.index] ?? 1_000_000
        world.queue.add(
            .restart(node: owner.index, incarnation: owner.incarnation),
            at: world.time + (isOver ? min(delay, 500_000) : delay))
    }

    /// Why this acknowledged write may be lost, or nil: the fault nearest to it of those that can
    /// keep data from a replica, or take it away later.
    func excuse(for ack: WriteChecker.Ack) -> String? {
        let time = ack.stamp.time
        let grace: Microseconds = 10_000_000
        let isKeptInMemory = options.settings.savePoints.isEmpty
        var nearest: (distance: Microseconds, kind: FaultKind)?
        for record in log {
            let distance = max(0, max(record.start - time, time - record.end))
            let mayDestroy = record.start > time
                && record.kind.mayDestroy(withoutFiles: isKeptInMemory)
            guard mayDestroy || (record.kind.maySeparate && distance < grace) else { continue }
            if nearest.map({ distance < $0.distance }) ?? true { nearest = (distance, record.kind) }
        }
        guard let nearest else { return nil }
        return ack.stamp.isReplicated ? "\(nearest.kind)" : "\(nearest.kind), no replica online"
    }
}
