// How the set of voters changes. A primary that is asked to (by a sentinel that wants in or out, or
// by an administrator) first wins the right to: in a new epoch it asks the electorate for votes, as
// a replica does that wants to be promoted; a vote is given once per epoch, and only to a primary
// whose own set is not older than the voter's. Then:
//
// 1. It repeats the set as it is under the new epoch (step 0), and waits until a majority of the
//    electorate holds that. From then on nobody who goes by an older set can find a majority.
// 2. It makes the set that differs by one member (step 1), and spreads it with its pings.
//
// Nodes adopt a set that is newer than theirs unless they have voted for the right of a later
// epoch. If the primary fails on the way, whoever tries next builds on the newest set that any
// majority can have seen. A set is part of what is saved before it is told.
//
// A right that came to nothing leaves promises behind: those who gave them refuse a set of an
// earlier epoch that the others have, and can agree on nothing with them. A primary that sees a
// reachable one stay behind repeats its set under a new epoch, which they may adopt (step 0 alone).
//
// All nodes of the cluster must know of voters, or a replica that does not would be elected by the
// ordinary rule: as long as one has not said so, nothing is changed, and CLUSTER INFO says why.
import Base

struct VoterChange: Sendable {
    enum Phase: Sendable, Equatable {
        case idle
        /// Waiting for votes.
        case asked
        /// Waiting for a majority to hold the repeated set.
        case repeated
    }

    struct Change: Sendable, Equatable {
        /// nil: the set is only repeated.
        var voter: NodeID?
        var isRemoval: Bool
    }

    var phase = Phase.idle
    var change: Change?
    var epoch: UInt64 = 0
    var votes = SortedTable<NodeID, Bool>()
    var deadline = Instant.start
    var nextAttempt = Instant.start
    /// Why nothing is done about a wish.
    var refusal: String?
    /// Since when a reachable primary goes by an older set than this one.
    var refusedSince: Instant?
    /// What an administrator asked for.
    var ordered: Change?
}

extension ClusterState {
    private var changeTimeout: Milliseconds {
        min(max(config.nodeTimeout, Milliseconds(500)), Milliseconds(2000))
    }

    /// A wish is as old as the last pulse that repeated it.
    private static let wishValidity = Milliseconds(1000)

    mutating func advanceVoterChange() {
        guard me.isVoting else {
            voterChange = VoterChange()
            return
        }
        switch voterChange.phase {
        case .idle: beginVoterChange()
        case .asked: countRightVotes()
        case .repeated: countHolders()
        }
    }

    private mutating func beginVoterChange() {
        voterChange.refusal = nil
        guard let change = wantedChange ?? repetition() else { return }
        if let problem = obstacle(to: change) {
            voterChange.refusal = problem
            return
        }
        guard isUp || seesMajority, now.instant >= voterChange.nextAttempt else { return }
        currentEpoch += 1
        // The own vote, and the own promise.
        lastVoteEpoch = currentEpoch
        voterPromise = currentEpoch
        voterChange.phase = .asked
        voterChange.change = change
        voterChange.epoch = currentEpoch
        voterChange.votes.removeAll()
        voterChange.votes[me.id] = true
        voterChange.deadline = now.instant + changeTimeout
        log(
            .notice,
            .voterChangeStarted(
                change.voter, isRemoval: change.isRemoval, epoch: currentEpoch))
        broadcast(.authRequest, .empty, flags: .voterChange)
        todo.insert([.save, .sync, .barrier])
        countRightVotes()
    }

    private var wantedChange: VoterChange.Change? {
        if let ordered = voterChange.ordered, let voter = ordered.voter,
            voters.contains(voter) == ordered.isRemoval
        {
            return ordered
        }
        for (id, record) in voterRecords {
            guard let heard = record.heardAt, now.instant - heard <= Self.wishValidity else {
                continue
            }
            if record.wish == .join, !voters.contains(id) {
                return VoterChange.Change(voter: id, isRemoval: false)
            }
            if record.wish == .leave, voters.contains(id) {
                return VoterChange.Change(voter: id, isRemoval: true)
            }
        }
        return nil
    }

    /// Due when somebody has refused this set for longer than it takes to spread.
    private mutating func repetition() -> VoterChange.Change? {
        let isRefused = nodes.handles.contains { node in
            node != NodeTable.myself && nodes[node].isVoting && nodes[node].isReachable
                && nodes[node].voterVersion < voters.version
        }
        guard isRefused else {
            voterChange.refusedSince = nil
            return nil
        }
        let since = voterChange.refusedSince ?? now.instant
        voterChange.refusedSince = since
        guard now.instant - since >= changeTimeout else {
            wake(at: since + changeTimeout)
            return nil
        }
        return VoterChange.Change(voter: nil, isRemoval: false)
    }

    private func obstacle(to change: VoterChange.Change) -> String? {
        if change.voter != nil, !change.isRemoval, voters.members.count >= VoterSet.largest {
            return "there are \(VoterSet.largest) voters already"
        }
        for node in nodes.handles where node != NodeTable.myself {
            if nodes[node].isHandshake { return "a node is being met" }
            if !nodes[node].knowsVoters {
                return "node \(nodes[node].id) has not said that it knows voters"
            }
        }
        return nil
    }

    /// The vote of a member of the electorate for this primary's right to change the set.
    mutating func takeRightVote(from member: NodeID, epoch: UInt64) {
        guard voterChange.phase == .asked, epoch == voterChange.epoch else { return }
        voterChange.votes[member] = true
        countRightVotes()
    }

    private mutating func countRightVotes() {
        guard voterChange.phase == .asked else { return }
        if voterChange.votes.count >= quorum {
            if voterPromise > voterChange.epoch || voters.epoch >= voterChange.epoch {
                return giveUpVoterChange()
            }
            install(VoterSet(version: voterChange.epoch * 2, members: voters.members))
            voterChange.phase = .repeated
            voterChange.deadline = now.instant + changeTimeout
            pingAll()
            return countHolders()
        }
        if now.instant >= voterChange.deadline { return giveUpVoterChange() }
        wake(at: voterChange.deadline)
    }

    private mutating func countHolders() {
        guard voterChange.phase == .repeated, let change = voterChange.change else { return }
        let version = voterChange.epoch * 2
        guard voters.version == version, voterPromise <= voterChange.epoch else {
            return giveUpVoterChange()
        }
        var holders = 0
        for node in nodes.handles where nodes[node].isVoting {
            let isHolder = node == NodeTable.myself || nodes[node].voterVersion == version
            if isHolder { holders += 1 }
        }
        for id in voters.members where voterRecords[id]?.version == version { holders += 1 }
        if holders >= quorum {
            voterChange.phase = .idle
            voterChange.nextAttempt = now.instant + Milliseconds(100)
            voterChange.refusedSince = nil
            guard let voter = change.voter else { return }
            var members = voters.members.filter { $0 != voter }
            if !change.isRemoval { members.append(voter) }
            voterChange.ordered = nil
            install(VoterSet(version: version + 1, members: members))
            return pingAll()
        }
        if now.instant >= voterChange.deadline { return giveUpVoterChange() }
        wake(at: voterChange.deadline)
    }

    /// Somebody else was quicker, or too few answered. The wish is still there: tried again after a
    /// pause that keeps two primaries apart.
    private mutating func giveUpVoterChange() {
        voterChange.phase = .idle
        voterChange.nextAttempt = now.instant + Milliseconds(Int64(500 + random.below(1000)))
    }

    private mutating func pingAll() {
        for node in nodes.handles where node != NodeTable.myself && !nodes[node].isHandshake {
            sendPing(.ping, to: node)
        }
    }

    // MARK: The administrator

    /// CLUSTER VOTER FORGET: a sentinel that is gone for good.
    mutating func forgetVoter(_ name: String) -> CommandReply {
        guard let id = NodeID(name), voters.contains(id) else {
            return .error("ERR Unknown voter \(name)")
        }
        guard me.isVoting else {
            return .error("ERR Voters are changed by a primary that owns slots")
        }
        let change = VoterChange.Change(voter: id, isRemoval: true)
        if let problem = obstacle(to: change) { return .error("ERR Not possible now: \(problem)") }
        voterChange.ordered = change
        voterRecords[id]?.wish = .none
        advanceVoterChange()
        return .ok
    }

    /// CLUSTER VOTER RESET: no voters any more, without anybody's agreement. For a cluster that
    /// lost its voters and cannot have a majority again; as with TAKEOVER the administrator answers
    /// for it.
    mutating func resetVoters() -> CommandReply {
        currentEpoch = max(maxEpoch, voterPromise) + 1
        voterPromise = currentEpoch
        voterChange = VoterChange()
        log(.warning, .votersReset)
        install(VoterSet(version: currentEpoch * 2 + 1, members: []))
        pingAll()
        return .ok
    }
}
