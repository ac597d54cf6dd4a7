// Giving a vote. Each denial has its reason; the first that applies is logged. The safety of
// elections rests on two lines here: one vote per epoch, and that vote on disk before it leaves.
//
// Where we differ: the reference gives no second vote about one primary within two node timeouts,
// whoever asks. Here the same candidate may ask again in a new epoch at once (its first vote may
// be lost; no second winner can come of it), and another one after one node timeout.
import Base
import HashSlots

extension ClusterState {
    mutating func considerVote(for candidate: NodeHandle, _ header: BusHeader) {
        if header.messageFlags.contains(.voterChange) {
            return considerRight(for: candidate, header)
        }
        noteRival(candidate, header)
        if let denial = denial(for: candidate, header) {
            if denial != .notEntitled {
                log(.warning, .voteDenied(to: nodes[candidate].id, denial))
            }
            return
        }
        guard let primary = nodes[candidate].primary else { return }
        invariant(lastVoteEpoch < currentEpoch, "one vote per epoch")
        lastVoteEpoch = currentEpoch
        nodes[primary].votedTime = now.instant
        nodes[primary].votedFor = nodes[candidate].id
        nodes[primary].leaseWithheldUntil = now.instant + attemptLimit
        todo.insert([.save, .sync, .barrier])
        send(.authAck, .empty, to: candidate)
        log(.notice, .voteGranted(to: nodes[candidate].id, epoch: currentEpoch))
    }

    /// A primary asks for the right to change the voters.
    private mutating func considerRight(for sender: NodeHandle, _ header: BusHeader) {
        guard me.isVoting else { return }
        if let denial = rightDenial(for: sender, header) {
            return log(.verbose, .voteDenied(to: nodes[sender].id, denial))
        }
        invariant(lastVoteEpoch < currentEpoch, "one vote per epoch")
        lastVoteEpoch = currentEpoch
        voterPromise = currentEpoch
        todo.insert([.save, .sync, .barrier])
        send(.authAck, .empty, to: sender)
    }

    private func rightDenial(for sender: NodeHandle, _ header: BusHeader) -> VoteDenial? {
        if header.currentEpoch < currentEpoch {
            return .staleEpoch(request: header.currentEpoch, current: currentEpoch)
        }
        if lastVoteEpoch >= currentEpoch { return .alreadyVoted(epoch: currentEpoch) }
        if header.voterVersion < voters.version { return .olderVoters }
        return nodes[sender].isVoting ? nil : .notEntitled
    }

    private func denial(for candidate: NodeHandle, _ header: BusHeader) -> VoteDenial? {
        // A primary without its data votes: its promises are in nodes.conf, and when several
        // primaries lost theirs at once, their replicas need these votes.
        guard me.isVoting else { return .notEntitled }
        if header.currentEpoch < currentEpoch {
            return .staleEpoch(request: header.currentEpoch, current: currentEpoch)
        }
        if lastVoteEpoch >= currentEpoch { return .alreadyVoted(epoch: currentEpoch) }
        if header.voterVersion < voters.version { return .olderVoters }
        if nodes[candidate].isPrimary { return .isPrimary }
        guard let primary = nodes[candidate].primary else { return .unknownPrimary }
        let isForced = header.messageFlags.contains(.forceAck)
        if !nodes[primary].isFailed, !isForced { return .primaryIsUp }
        if !isForced, let wait = leaseWait(of: primary) { return .leaseRuns(wait: wait) }
        if let voted = nodes[primary].votedTime, nodes[primary].votedFor != nodes[candidate].id,
            now.instant - voted < config.nodeTimeout
        {
            return .votedRecently(wait: config.nodeTimeout - (now.instant - voted))
        }
        for slot in header.slots.slots {
            guard !isUnclaimed(slot), let owner = ownership.owner(of: slot) else { continue }
            let epoch = nodes[owner].configEpoch
            if epoch > header.configEpoch {
                return .newerOwner(slot: slot, epoch: epoch, request: header.configEpoch)
            }
        }
        return nil
    }
}
