// The talk between a node and a sentinel: several times a second the sentinel calls every node
// (CLUSTER VOTER PULSE) and the node answers. A pulse carries what a voter has to say: that it
// heard the node's last answer (the lease of a primary), whom it cannot reach (a failure report),
// its vote for the request that the answer showed, the voter set that it holds, whether it wants
// in or out. The answer carries what a voter must know: epochs, role, the request for votes if
// there is one, the voter set, and a stamp that the next pulse repeats.
//
// What a node tells a voter must be durable, as with bus messages: while nodes.conf is being
// written the answer is TRYAGAIN, which says no more than that the node lives.
import Base
import HashSlots

public struct VoterPulse: Sendable, Equatable {
    public enum Wish: String, Sendable {
        case none
        case join
        case leave
    }

    public var voter: NodeID
    /// Where the sentinel listens, for CLUSTER INFO.
    public var address = ""
    public var epoch: UInt64 = 0
    /// The set that the sentinel holds, on its disk.
    public var set = VoterSet()
    /// The stamp of the last answer that it heard; empty for none.
    public var echo = ""
    /// The epoch in which it votes for this node's request; 0 for none.
    public var vote: UInt64 = 0
    /// Whom it takes for failed.
    public var suspects: [NodeID] = []
    public var wish = Wish.none

    public init(voter: NodeID) { self.voter = voter }

    /// The words behind CLUSTER VOTER PULSE; nil for anything that no voter would send.
    public init?(_ words: [String]) {
        guard words.count == 9, let voter = NodeID(words[0]), words[1].utf8.count <= 300,
            let epoch = UInt64(words[2]), epoch <= BusLayout.largestEpoch,
            let version = UInt64(words[3]), let set = VoterSet(version: version, text: words[4]),
            words[5].utf8.count <= 64, let vote = UInt64(words[6]),
            let wish = Wish(rawValue: words[8])
        else { return nil }
        self.voter = voter
        address = words[1]
        self.epoch = epoch
        self.set = set
        echo = words[5]
        self.vote = vote
        self.wish = wish
        guard words[7] != "-" else { return }
        for word in words[7].split(separator: ",") {
            guard let id = NodeID(String(word)), suspects.count < 4096 else { return nil }
            suspects.append(id)
        }
    }
}

extension ClusterState {
    mutating func take(_ pulse: VoterPulse) -> CommandReply {
        if pulseNonce.isEmpty { pulseNonce = random.hex(16) }
        currentEpoch = max(currentEpoch, pulse.epoch)
        adopt(pulse.set, from: nil)
        noteVoter(pulse)
        for node in nodes.handles where node != NodeTable.myself && !nodes[node].isHandshake {
            let isFailing = pulse.suspects.contains(nodes[node].id)
            takeReport(of: node, byVoter: pulse.voter, isFailing: isFailing)
        }
        if pulse.vote != 0 { takeVote(from: pulse.voter, epoch: pulse.vote) }
        advanceVoterChange()
        todo.insert(.updateState)
        return .ok
    }

    private mutating func noteVoter(_ pulse: VoterPulse) {
        // Strangers that call are remembered only for as long as they do.
        let isFull = voterRecords.count >= 4 * VoterSet.largest
        if isFull, !voterRecords.contains(pulse.voter) { return }
        var record = voterRecords[pulse.voter] ?? VoterRecord()
        record.address = pulse.address
        record.heardAt = now.instant
        record.version = pulse.set.version
        record.wish = pulse.wish
        let parts = pulse.echo.split(separator: "-")
        if parts.count == 2, parts[0] == pulseNonce, let time = Int64(parts[1]) {
            let sent = Instant(microseconds: time)
            if sent <= now.instant, sent > record.confirmedSend ?? .start {
                record.confirmedSend = sent
            }
        }
        voterRecords[pulse.voter] = record
        if isUp, me.isVoting { checkLease() }
    }

    mutating func expireVoters() {
        for (id, record) in voterRecords where !voters.contains(id) {
            let isGone = record.heardAt.map { now.instant - $0 > Milliseconds(60000) } ?? true
            if isGone { voterRecords[id] = nil }
        }
    }

    private mutating func takeReport(of node: NodeHandle, byVoter id: NodeID, isFailing: Bool) {
        guard voters.contains(id) else { return }
        let voter = NodeLabel(id: id, humanName: "")
        if isFailing {
            if !nodes[node].reports.contains(id) {
                log(.verbose, .reported(by: voter, label(node)))
            }
            nodes[node].reports[id] = now.instant
            markFailedIfAgreed(node)
        } else if nodes[node].reports.contains(id) {
            nodes[node].reports[id] = nil
            log(.verbose, .reportWithdrawn(by: voter, label(node)))
        }
    }

    private mutating func takeVote(from voter: NodeID, epoch: UInt64) {
        guard voters.contains(voter) else { return }
        if election.phase == .asked, election.epoch == epoch {
            election.votes[voter] = true
            todo.insert(.failover)
        }
        takeRightVote(from: voter, epoch: epoch)
    }

    // MARK: The answer

    /// The answer to a pulse, as names and values; nil while what it would say is not on disk.
    public var voterReport: [(name: String, value: String)]? {
        guard barrierVersion <= syncedVersion else { return nil }
        let source = me.isReplica ? me.primary ?? NodeTable.myself : NodeTable.myself
        return [
            ("id", "\(me.id)"),
            ("epoch", "\(currentEpoch)"),
            ("role", me.isReplica ? "slave" : "master"),
            ("primary", me.primary.map { "\(nodes[$0].id)" } ?? "-"),
            ("config-epoch", "\(nodes[source].configEpoch)"),
            ("node-timeout", "\(config.nodeTimeout.count)"),
            ("stamp", "\(pulseNonce)-\(now.instant.microseconds)"),
            ("voter-version", "\(voters.version)"),
            ("voters", voters.memberText),
            ("request", requestText(source)),
        ]
    }

    /// `-`, `voters EPOCH` or `promotion EPOCH CONFIG-EPOCH forced|failed SLOTS`.
    private func requestText(_ source: NodeHandle) -> String {
        if voterChange.phase == .asked { return "voters \(voterChange.epoch)" }
        guard election.phase == .asked else { return "-" }
        let isForced = manual.canStart || election.lostDataAt != nil
        let slots = nodes[source].slots.rangeText.split(separator: " ").joined(separator: ",")
        return "promotion \(election.epoch) \(nodes[source].configEpoch) "
            + "\(isForced ? "forced" : "failed") \(slots)"
    }

    // MARK: Reports

    /// The lines of CLUSTER INFO about voters; none in a cluster that never had any.
    var voterLines: [String] {
        guard voters.version > 0 || !voterRecords.isEmpty else { return [] }
        var lines = [
            "cluster_voters:\(voters.members.count)",
            "cluster_voters_reachable:\(reachableVoters)",
            "cluster_voters_version:\(voters.version)",
            "cluster_electorate_size:\(electorate)",
            "cluster_majority:\(quorum)",
        ]
        if let refusal = voterChange.refusal { lines.append("cluster_voters_refused:\(refusal)") }
        for (index, id) in voters.members.enumerated() {
            let address = voterRecords[id]?.address ?? ""
            let state = isReachable(voter: id) ? "reachable" : "unreachable"
            lines.append("cluster_voter\(index):id=\(id),address=\(address),state=\(state)")
        }
        return lines
    }

    /// The voters in force, for tests and reports.
    public var voterSet: VoterSet { voters }
}
