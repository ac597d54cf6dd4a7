// The cluster's recent past as this node saw it, for CLUSTER WHY: who was suspected and by whom,
// who voted for whom, why a failover did or did not happen. The log has the same lines, but only
// above its level and only for those who can read the file.
import Base
import Gossip

/// The latest events, oldest first. What repeats (a peer that refuses connections) is one entry
/// with a count, or it would push the cause of the trouble out.
struct ClusterHistory {
    static let limit = 200
    /// How far back a repetition is looked for.
    private static let window = 16

    struct Entry {
        var event: ClusterEvent
        var first: WallTime
        var last: WallTime
        var times: Int
    }
    private(set) var entries: [Entry] = []

    mutating func note(_ event: ClusterEvent, at now: WallTime) {
        invariant(entries.count <= ClusterHistory.limit, "the history has outgrown its limit")
        let recent = entries.indices.suffix(ClusterHistory.window)
        if let index = recent.last(where: { entries[$0].event == event }) {
            entries[index].times += 1
            entries[index].last = now
            return
        }
        if entries.count == ClusterHistory.limit { entries.removeFirst() }
        entries.append(Entry(event: event, first: now, last: now, times: 1))
    }
}

extension ClusterEvent {
    /// What kind of event this is, in one word.
    var name: String {
        let whole = "\(kind)"
        return String(whole.prefix { $0 != "(" })
    }
}
