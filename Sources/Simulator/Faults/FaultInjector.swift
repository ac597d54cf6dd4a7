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
    /// Since when nothing is wrong, in runs with one fault at a time.
    var wholeSince: Microseconds?
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

    /// Until when `node` may have been on a side of a partition that an administrator gave a
    /// majority of its own, by a TAKEOVER there, while `other` was on the other side. Zero: never.
    ///
    /// The node ordered to take over counts as one more primary on its side, and on the other side
    /// the one that it replaces still does: both may have a majority until they hear each other.
    func secondMajority(
        of node: Int, apartFrom other: Int, at time: Microseconds
    ) -> Microseconds {
        var last: Microseconds = 0
        for cut in log where cut.kind == .partition && cut.start <= time {
            let side = cut.hosts.contains(node)
            guard cut.hosts.contains(other) != side else { continue }
            let isForced = log.contains {
                $0.kind == .takeover && cut.start <= $0.start && $0.start < cut.end
                    && cut.hosts.contains($0.hosts[0]) == side
            }
            if isForced { last = max(last, min(cut.end, time)) }
        }
        return last
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
    ///
    /// `lastAck` tells of a node when it acknowledged a write last before a time.
    func excuse(
        for ack: WriteChecker.Ack, lastAck: (Int, Microseconds) -> Microseconds
    ) -> String? {
        let time = ack.stamp.time
        if options.profile == .powerCuts { return excuseByPowerCut(ack, lastAck: lastAck) }
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

    /// With an append-only file and no replica only a power cut may lose writes: with `always`
    /// none, and with `everysec` those of the last two seconds in which any were acknowledged.
    private func excuseByPowerCut(
        _ ack: WriteChecker.Ack, lastAck: (Int, Microseconds) -> Microseconds
    ) -> String? {
        guard options.settings.appendSync == "everysec",
            let cut = log.first(where: {
                $0.kind == .powerCut && $0.hosts == [ack.node] && $0.start >= ack.stamp.time
            })
        else { return nil }
        let age = lastAck(ack.node, cut.start) - ack.stamp.time
        return age <= FaultInjector.everySecondBound ? "powerCut" : nil
    }

    static let everySecondBound: Microseconds = 2_150_000
}
