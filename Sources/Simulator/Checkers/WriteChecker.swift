// What became of acknowledged writes. Each client's writes to a key count up, so the final value
// says which took effect. A write may be lost only where asynchronous replication allows it: the
// node that acknowledged it, or the way to its replicas, was hit by a fault around that time. In
// runs whose faults leave no such excuse, none may be lost. It also sees two nodes acknowledge
// writes for one slot under different epochs for longer than the bound.
import Base
import Engine
import HashSlots
import NodeCore
import Storage

struct WriteChecker {
    struct Ack {
        var value: Int
        var node: Int
        var stamp: Stamp
    }

    struct History {
        var acks: [Ack] = []
        var unsure: [Int] = []
        /// Answered with an error, never tried again.
        var refused: [Int] = []
    }

    /// An owner of a tag's slot, as far as its acknowledgements show.
    private struct Reign {
        var node: Int
        var epoch: UInt64
        var first: Microseconds
    }

    private let options: SwarmOptions
    /// By client, then key.
    private var histories: [[History]]
    private var reigns: [[Reign]]
    /// When processes ended, by node.
    private var ends: [[Microseconds]]
    var acknowledged = 0
    var errors = 0
    var reads = 0
    var unsure = 0
    /// Lost acknowledged writes, by the reason that excuses them.
    var lost = SortedTable<String, Int>()
    /// The longest time that an outdated primary went on acknowledging.
    var longestOverlap: Microseconds = 0

    init(_ options: SwarmOptions) {
        self.options = options
        let keys = options.tags * Workload.KeyKind.allCases.count
        histories = Array(
            repeating: Array(repeating: History(), count: keys), count: options.clients)
        reigns = Array(repeating: [], count: options.tags)
        ends = Array(repeating: [], count: options.nodes)
    }

    var lostCount: Int { lost.values.reduce(0, +) }

    // MARK: During the run

    mutating func acknowledged(
        _ operation: Workload.Operation, _ reply: Reply, by node: Int, _ stamp: Stamp,
        tag: Int, client: Int, _ faults: FaultInjector
    ) -> String? {
        guard operation.isWrite else {
            reads += 1
            return nil
        }
        acknowledged += 1
        switch operation.verb {
        case .append(let value), .set(let value):
            histories[client][operation.key].acks.append(
                Ack(value: value, node: node, stamp: stamp))
        case .expiring, .delete, .get: break
        }
        return reigned(tag: tag, node: node, stamp, faults)
    }

    mutating func abandoned(
        _ operation: Workload.Operation, isUnsure: Bool, client: Int
    ) {
        switch operation.verb {
        case .append(let value), .set(let value):
            if isUnsure {
                unsure += 1
                histories[client][operation.key].unsure.append(value)
            } else {
                histories[client][operation.key].refused.append(value)
            }
        case .expiring, .delete, .get: break
        }
    }

    mutating func ended(node: Int, at time: Microseconds) { ends[node].append(time) }

    /// Its process ended before anybody must have heard that it was in office.
    private func wasBrief(_ reign: Reign) -> Bool {
        ends[reign.node].contains {
            $0 >= reign.first && $0 - reign.first <= .milliseconds(options.nodeTimeout)
        }
    }

    /// Notes who acknowledged for `tag`. Returns what is wrong.
    private mutating func reigned(
        tag: Int, node: Int, _ stamp: Stamp, _ faults: FaultInjector
    ) -> String? {
        // An administrator may put a second primary in office by force: the first one hears of it,
        // or stops when it sees no majority. It hears nothing of one that dies at once, nor before
        // the end of a partition whose smaller side was made a majority by force. Otherwise it must
        // have stopped before.
        let isForced = options.kinds.contains { $0 == .takeover || $0 == .forcedFailover }
        let bound: Microseconds = isForced ? .milliseconds(options.nodeTimeout) + 250_000 : 10_000
        for other in reigns[tag] where other.node != node && other.epoch >= stamp.configEpoch {
            let apart = faults.secondMajority(of: node, apartFrom: other.node, at: stamp.time)
            let overlap = stamp.time - max(other.first, apart)
            guard overlap > 0, !isForced || !wasBrief(other) else { continue }
            longestOverlap = max(longestOverlap, overlap)
            if overlap > bound {
                return "node \(node) acknowledges a write in epoch \(stamp.configEpoch) at "
                    + "\(stamp.time / 1000) ms, \(overlap / 1000) ms after node \(other.node) "
                    + "did in epoch \(other.epoch)"
            }
        }
        if !reigns[tag].contains(where: { $0.node == node && $0.epoch == stamp.configEpoch }) {
            reigns[tag].append(Reign(node: node, epoch: stamp.configEpoch, first: stamp.time))
        }
        return nil
    }

    // MARK: At the end

    mutating func finish(_ world: Simulation) -> String? {
        for client in world.clients {
            for (index, key) in client.workload.keys.enumerated() {
                guard key.kind != .volatile else { continue }
                if let problem = check(key, histories[client.index][index], world) {
                    return "writes: \(key.name): \(problem)"
                }
            }
        }
        return nil
    }

    private mutating func check(
        _ key: Workload.Key, _ history: History, _ world: Simulation
    ) -> String? {
        let slot = key.name.withBytes { $0.withSpan { Slot(key: $0) } }
        guard let node = Convergence.owner(of: slot, in: world)?.node else {
            return "slot \(slot) has no owner"
        }
        let text = WriteChecker.value(of: key.name, node) ?? ""
        return key.kind == .log ? checkLog(text, key, history, world)
            : checkRegister(text, key, history, world)
    }

    static func value(of name: String, _ node: NodePointer) -> String? {
        name.withBytes { bytes in
            let keyspace = node.executor.pointee.keyspace
            guard let entry = keyspace.find(keyspace.key(bytes, database: 0)) else { return nil }
            if let integer = entry.integer { return "\(integer)" }
            return entry.storedBytes?.string
        }
    }

    private mutating func checkLog(
        _ text: String, _ key: Workload.Key, _ history: History, _ world: Simulation
    ) -> String? {
        let values = text.split(separator: ",").map { Int($0) ?? -1 }
        var count = [Int](repeating: 0, count: key.issued + 1)
        for value in values {
            guard value >= 1, value <= key.issued else { return "holds \(value), never written" }
            count[value] += 1
            if count[value] > 1 { return "write \(value) took effect twice" }
        }
        for value in history.refused where count[value] > 0 {
            return "write \(value) took effect although it was refused"
        }
        var isAcknowledged = [Bool](repeating: false, count: key.issued + 1)
        for ack in history.acks { isAcknowledged[ack.value] = true }
        let settled = values.filter { isAcknowledged[$0] }
        for (earlier, later) in zip(settled, settled.dropFirst()) where earlier > later {
            return "write \(later) took effect after write \(earlier)"
        }
        for ack in history.acks where count[ack.value] == 0 {
            if let problem = lose(ack, world) { return problem }
        }
        return nil
    }

    private mutating func checkRegister(
        _ text: String, _ key: Workload.Key, _ history: History, _ world: Simulation
    ) -> String? {
        let value = text.isEmpty ? 0 : Int(text) ?? -1
        guard value >= 0, value <= key.issued else { return "holds \(text), never written" }
        if history.refused.contains(value) {
            return "write \(value) took effect although it was refused"
        }
        // A request that nobody answered may take effect late and cover what came after it.
        guard !history.unsure.contains(value) else { return nil }
        for ack in history.acks where ack.value > value {
            if let problem = lose(ack, world) { return problem }
        }
        return nil
    }

    private func lastAck(by node: Int, before time: Microseconds) -> Microseconds {
        var last: Microseconds = 0
        for history in histories.joined() {
            for ack in history.acks where ack.node == node && ack.stamp.time <= time {
                last = max(last, ack.stamp.time)
            }
        }
        return last
    }

    private mutating func lose(_ ack: Ack, _ world: Simulation) -> String? {
        let reason = world.faults.excuse(for: ack) { lastAck(by: $0, before: $1) }
        // What only one process had, because the last crash was not made good yet, dies with it.
        let mayBeLost = !options.profile.losesNothing || !ack.stamp.isReplicated
        guard let reason, mayBeLost else {
            return "acknowledged write \(ack.value) is lost: node \(ack.node) acknowledged it at "
                + "\(ack.stamp.time / 1000) ms in epoch \(ack.stamp.configEpoch), "
                + (ack.stamp.isReplicated ? "with a replica online" : "without a replica")
                + (reason == nil ? ", and no fault explains it" : "")
        }
        lost[reason] = (lost[reason] ?? 0) + 1
        return nil
    }
}
