// Everything that watches a run. The checkers see only what a node does to the world (packets,
// files, replies) and what it reports about itself; they know nothing of how it decides.
import Base
import Engine
import Gossip
import NodeCore
import Replication

struct Checkers {
    /// The first failed check: what, where, when.
    var failure: String?
    var votes = VoteChecker()
    var epochs: EpochChecker
    var writes: WriteChecker
    var failovers = 0
    var fullSyncs = 0
    var partialSyncs = 0
    var lostWriteFiles = 0
    var starts = 0

    init(_ options: SwarmOptions) {
        epochs = EpochChecker(nodes: options.nodes)
        writes = WriteChecker(options)
    }

    mutating func logged(_ owner: SimNode, _ line: LogLine, at time: Microseconds) {
        if line.text.hasPrefix("Failover election won") { failovers += 1 }
        if line.text.hasPrefix("Taking over the master") { failovers += 1 }
        if let problem = epochs.logged(owner.index, line.text), failure == nil {
            failure = "epochs: \(problem) (at \(time / 1000) ms)"
        }
    }

    mutating func started(_ owner: SimNode, _ node: NodePointer) -> String? {
        starts += 1
        return epochs.started(owner.index, node)
    }

    /// After each iteration of a node's loop.
    mutating func iterated(_ owner: SimNode, _ node: NodePointer) -> String? {
        if let problem = epochs.iterated(owner.index, node) { return problem }
        guard owner.iterations % 128 == 0 else { return nil }
        node.pointee.cluster?.checkInvariants()
        node.pointee.history.checkInvariants()
        node.pointee.primary.checkInvariants()
        node.pointee.upstream.checkInvariants()
        return nil
    }

    mutating func synced(_ owner: SimNode, name: String, contents: [UInt8]) {
        guard name == owner.settings.clusterConfigFile else { return }
        epochs.synced(owner.index, contents)
    }

    /// Counts what the ended process knows.
    mutating func ended(_ owner: SimNode, at time: Microseconds) {}

    /// What a node vouches for when it answers a client now.
    func stamp(
        of node: NodePointer, _ session: UnsafeMutablePointer<Session>, at time: Microseconds
    ) -> Stamp {
        guard !session.pointee.flags.contains(.replica), let cluster = node.pointee.cluster else {
            return Stamp(time: time)
        }
        let epoch = cluster.configEpoch(of: cluster.myID) ?? 0
        return Stamp(
            time: time, configEpoch: epoch,
            isReplicated: node.pointee.primary.replicas.contains { $0.isStreaming })
    }

    mutating func finish(_ simulation: Simulation) {
        if let problem = writes.finish(simulation), failure == nil { failure = problem }
    }
}
