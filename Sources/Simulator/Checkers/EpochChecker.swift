// Epochs only grow: in the life of a process, and across restarts from what was synced. No two
// nodes win an election under the same epoch.
import Base
import Gossip
import NodeCore

struct EpochChecker {
    private struct Marks {
        var current: UInt64 = 0
        var vote: UInt64 = 0
        var syncedCurrent: UInt64 = 0
        var syncedVote: UInt64 = 0
    }

    private var marks: [Marks]
    private var winners = SortedTable<UInt64, Int>()

    init(nodes: Int) { marks = [Marks](repeating: Marks(), count: nodes) }

    mutating func started(_ index: Int, _ node: NodePointer) -> String? {
        guard let (current, vote) = epochs(of: node) else { return nil }
        let old = marks[index]
        marks[index].current = current
        marks[index].vote = vote
        if current < old.syncedCurrent {
            return "node \(index) starts in epoch \(current), synced was \(old.syncedCurrent)"
        }
        if vote < old.syncedVote {
            return "node \(index) starts with last vote \(vote), synced was \(old.syncedVote)"
        }
        return nil
    }

    mutating func iterated(_ index: Int, _ node: NodePointer) -> String? {
        guard let (current, vote) = epochs(of: node) else { return nil }
        if current < marks[index].current || vote < marks[index].vote {
            return "node \(index) goes back to epoch \(current), last vote \(vote)"
        }
        marks[index].current = current
        marks[index].vote = vote
        return nil
    }

    private func epochs(of node: NodePointer) -> (current: UInt64, vote: UInt64)? {
        guard let current = node.pointee.cluster?.currentEpoch,
            let vote = node.pointee.cluster?.lastVoteEpoch
        else { return nil }
        return (current, vote)
    }

    /// nodes.conf is durable: its last line has the epochs.
    mutating func synced(_ index: Int, _ contents: [UInt8]) {
        let end = contents.dropLast().lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        let words = String(decoding: contents[end...].dropLast(), as: UTF8.self)
            .split(separator: " ")
        guard words.count >= 5, words[0] == "vars", let current = UInt64(words[2]),
            let vote = UInt64(words[4])
        else { return }
        marks[index].syncedCurrent = max(marks[index].syncedCurrent, current)
        marks[index].syncedVote = max(marks[index].syncedVote, vote)
    }

    /// A node says in its log that it won an election.
    mutating func logged(_ index: Int, _ text: String) -> String? {
        let start = "configEpoch set to "
        guard text.hasPrefix(start), text.hasSuffix("after successful failover"),
            let epoch = UInt64(text.dropFirst(start.count).prefix { $0.isNumber })
        else { return nil }
        if let other = winners[epoch], other != index {
            return "nodes \(other) and \(index) both won the election of epoch \(epoch)"
        }
        winners[epoch] = index
        return nil
    }
}
