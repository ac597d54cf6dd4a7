// Voters of last resort: sentinels that are registered with the cluster. Together with the
// primaries that own slots they are the electorate, and one majority of it governs who may go on
// taking writes, who has failed and who may be promoted. They hold no data and are no nodes of the
// bus: they call every node over a client connection (VoterPulse.swift).
//
// Which voters there are is agreed on: a set has a version, every node keeps the newest one that it
// heard of in nodes.conf, and two sets that can be in force at the same time differ by one member,
// so that a majority under the one and a majority under the other share somebody. VoterChange.swift
// has the protocol, docs/sentinel.md the argument.
import Base

public struct VoterSet: Sendable, Equatable {
    /// More voters than anybody needs; keeps messages small.
    static let largest = 15

    /// Twice the epoch in which a primary won the right to make this set, plus the step: 0 repeats
    /// the set before it, 1 changes it by one member.
    public var version: UInt64 = 0
    /// In order.
    public var members: [NodeID] = []

    public init() {}

    public init(version: UInt64, members: [NodeID]) {
        self.version = version
        self.members = members.sorted()
    }

    public var epoch: UInt64 { version / 2 }

    public func contains(_ id: NodeID) -> Bool { members.contains(id) }

    /// As nodes.conf and the voters' pulses write it: IDs with commas between, `-` for none.
    public var memberText: String {
        members.isEmpty ? "-" : members.map(\.description).joined(separator: ",")
    }

    /// nil for text that is no list of voters.
    public init?(version: UInt64, text: String) {
        guard version / 2 <= BusLayout.largestEpoch else { return nil }
        var members: [NodeID] = []
        if text != "-" {
            for word in text.split(separator: ",", omittingEmptySubsequences: false) {
                guard let id = NodeID(String(word)), !members.contains(id) else { return nil }
                members.append(id)
            }
        }
        guard members.count <= VoterSet.largest else { return nil }
        self.init(version: version, members: members)
    }
}

/// What this node knows of a sentinel that called it, registered or not.
struct VoterRecord: Sendable {
    /// Where its clients find it, as it says.
    var address = ""
    var heardAt: Instant?
    /// The time of the last answer of this node that it has confirmed: until then at least it
    /// heard us.
    var confirmedSend: Instant?
    /// The voter set that it holds.
    var version: UInt64 = 0
    var wish = VoterPulse.Wish.none
}

extension ClusterState {
    // MARK: The electorate

    /// Primaries that own slots, and voters.
    var electorate: Int { votingCount + voters.members.count }

    /// The voters alone are no majority, so every majority has a primary in it.
    private var needsPrimary: Bool { voters.members.count < quorum }

    func isReachable(voter id: NodeID) -> Bool {
        guard let heard = voterRecords[id]?.heardAt else { return false }
        return now.instant - heard <= config.nodeTimeout
    }

    var reachableVoters: Int { voters.members.count { isReachable(voter: $0) } }

    /// Whether those that this node sees can decide something, or at least keep everybody else
    /// from deciding: all primaries together do that, as long as voters alone are no majority.
    var seesMajority: Bool {
        var reachable = 0
        var isWhole = true
        for node in nodes.handles where nodes[node].isVoting {
            if nodes[node].isReachable { reachable += 1 } else { isWhole = false }
        }
        if isWhole, needsPrimary, size > 0 { return true }
        return reachable + reachableVoters >= quorum
    }

    /// Until when enough others cannot have given this primary up. nil: no need for any.
    func computeLease() -> Instant? {
        let others = nodes.handles.filter { $0 != NodeTable.myself && nodes[$0].isVoting }
        let needed = quorum - 1
        guard needed > 0 else { return nil }
        let fromPrimaries = others.map { confirmation(of: $0) }
        // All other primaries: whatever majority forms without this one, one of them is in it.
        if needsPrimary, !voters.members.isEmpty, others.isEmpty { return nil }
        var last = Instant.start
        if needsPrimary, !voters.members.isEmpty { last = fromPrimaries.min() ?? .start }
        let confirmed = (fromPrimaries + voters.members.map { confirmation(of: $0) }).sorted(by: >)
        if confirmed.count >= needed { last = max(last, confirmed[needed - 1]) }
        return last == .start ? .start : last + leaseDuration
    }

    /// Somebody who goes by a newer set may help others to a majority that this node does not see.
    private func confirmation(of node: NodeHandle) -> Instant {
        guard nodes[node].voterVersion <= voters.version else { return .start }
        return nodes[node].confirmedSend ?? .start
    }

    private func confirmation(of voter: NodeID) -> Instant {
        guard let record = voterRecords[voter], record.version <= voters.version else {
            return .start
        }
        return record.confirmedSend ?? .start
    }

    // MARK: Adopting a set

    /// Somebody holds another set. The newer one counts, unless this node has promised a primary
    /// with a right of a later epoch that nothing older will.
    mutating func adopt(_ set: VoterSet, from sender: NodeHandle?) {
        guard set.version > voters.version, set.epoch >= voterPromise,
            set.epoch <= BusLayout.largestEpoch
        else { return }
        install(set)
        if let sender { sendPing(.pong, to: sender) }
    }

    mutating func install(_ set: VoterSet) {
        invariant(set.version > voters.version, "a voter set gives way to newer ones only")
        if set.members != voters.members {
            log(.notice, .votersChanged(count: set.members.count, version: set.version))
        }
        voters = set
        currentEpoch = max(currentEpoch, set.epoch)
        if election.isRunning { tryAgain() }
        todo.insert([.save, .sync, .barrier, .updateState])
    }
}
