// This sentinel as a voter of a cluster: what it promises, whom it takes for failed, and to whom it
// gives its vote. docs/sentinel.md has the argument why that is safe; the rules are:
//
// * It votes once per epoch, and the vote is in its file before it is told.
// * It votes for the successor of a primary only when that primary must have stopped: it has not
//   heard it for a node timeout (what it told the primary before cannot carry it longer), or knows
//   that the process is dead, or the primary itself or an administrator asked for the change.
// * From such a vote on it extends the primary's lease no more until the attempt must be over.
// * Nobody who goes by an older set of voters gets its vote.
import Base

/// What a voter must not forget.
struct VotingState: Sendable, Equatable {
    var epoch: UInt64 = 0
    var lastVote: UInt64 = 0
    /// The latest epoch in which it voted for a change of the set of voters.
    var promise: UInt64 = 0
    var setVersion: UInt64 = 0
    var set: [String] = []
    /// The primaries that the last votes were against.
    var against: [String] = []

    mutating func note(against primary: String) {
        against = Array((against.filter { $0 != primary } + [primary]).suffix(8))
    }
}

/// The state of one node as this voter sees it.
struct NodeWatch: Sendable {
    var lastHeard: Instant
    /// The process is gone: it ended our connection, and refuses new ones or leaves them hanging.
    var isDead = false
    /// Its last stamp, to be repeated.
    var stamp: String?
    /// The lease is not extended before.
    var withheldUntil: Instant?
    var votedAt: Instant?
    var votedFor: String?

    init(now: Instant) { lastHeard = now }
}

/// A node's answer to a pulse.
struct PulseReply: Sendable, Equatable {
    enum Request: Sendable, Equatable {
        case none
        case voters(epoch: UInt64)
        case promotion(
            epoch: UInt64, configEpoch: UInt64, isForced: Bool, slots: [ClosedRange<Int>])
    }

    var id = ""
    var epoch: UInt64 = 0
    var isReplica = false
    var primary: String?
    var configEpoch: UInt64 = 0
    var nodeTimeout = Milliseconds.zero
    var stamp = ""
    var setVersion: UInt64 = 0
    var set: [String] = []
    var request = Request.none

    /// nil for anything that no node would answer.
    init?(_ reply: Reply) {
        guard case .array(let parts) = reply, parts.count % 2 == 0 else { return nil }
        var fields: [String: String] = [:]
        for index in stride(from: 0, to: parts.count, by: 2) {
            guard let name = parts[index].text, let value = parts[index + 1].text else {
                return nil
            }
            fields[name] = value
        }
        guard let id = fields["id"], ClusterView.isNodeID(id),
            let epoch = fields["epoch"].flatMap(Self.epoch),
            let timeout = fields["node-timeout"].flatMap({ Int64($0) }),
            (1...Int64(Int32.max) * 1000).contains(timeout),
            let stamp = fields["stamp"], stamp.utf8.count <= 64,
            let version = fields["voter-version"].flatMap(Self.epoch),
            let voters = fields["voters"].flatMap(Self.voters),
            let request = fields["request"].flatMap(Self.request)
        else { return nil }
        self.id = id
        self.epoch = epoch
        isReplica = fields["role"] == "slave"
        primary = fields["primary"].flatMap { ClusterView.isNodeID($0) ? $0 : nil }
        configEpoch = fields["config-epoch"].flatMap(Self.epoch) ?? 0
        nodeTimeout = Milliseconds(timeout)
        self.stamp = stamp
        setVersion = version
        set = voters
        self.request = request
    }

    static func epoch(_ text: String) -> UInt64? {
        guard let epoch = UInt64(text), epoch < 1 &<< 63 else { return nil }
        return epoch
    }

    static func voters(_ text: String) -> [String]? {
        if text == "-" { return [] }
        let words = text.split(separator: ",").map(String.init)
        return words.count <= 64 && words.allSatisfy(ClusterView.isNodeID) ? words : nil
    }

    private static func request(_ text: String) -> Request? {
        let words = text.split(separator: " ").map(String.init)
        switch words.first {
        case "-" where words.count == 1: return Request.none
        case "voters" where words.count == 2:
            return epoch(words[1]).map { .voters(epoch: $0) }
        case "promotion" where words.count == 5:
            guard let number = epoch(words[1]), let config = epoch(words[2]) else { return nil }
            var slots: [ClosedRange<Int>] = []
            for word in words[4].split(separator: ",") {
                guard let range = ClusterView.range(word) else { return nil }
                slots.append(range)
            }
            return .promotion(
                epoch: number, configEpoch: config, isForced: words[3] == "forced", slots: slots)
        default: return nil
        }
    }
}

extension SentinelState {
    // MARK: Time

    /// How often each node is called: several times within a node timeout, more often while
    /// somebody is missing, since then votes may be wanted.
    func pulsePeriod(_ cluster: MonitoredCluster) -> Milliseconds {
        guard let timeout = cluster.nodeTimeout else { return Milliseconds(100) }
        let usual = min(max(timeout / 10, Milliseconds(10)), Milliseconds(100))
        return cluster.suspects.isEmpty ? usual : min(usual, Milliseconds(30))
    }

    /// What time alone changes: who is missing, and whom to call.
    mutating func tickVoter(_ name: String) {
        noteStandstill(name)
        findSuspects(name)
        guard let cluster = clusters[name] else { return }
        let period = pulsePeriod(cluster)
        for (key, peer) in cluster.peers where peer.isOpen && peer.nodeID != nil {
            if let sent = peer.pulseSent, instant - sent < period { continue }
            sendPulse(PeerKey(cluster: name, peer: key))
        }
        finishLeaving(name)
    }

    /// The process stood still: answers may be waiting to be read, so nobody is late.
    private mutating func noteStandstill(_ name: String) {
        guard let cluster = clusters[name] else { return }
        let gap = instant - cluster.lastTick
        let now = instant
        clusters.update(name) { cluster in
            cluster.lastTick = now
            guard let timeout = cluster.nodeTimeout, gap > timeout / 2 else { return }
            cluster.watches.updateEach { _, watch in watch.lastHeard = max(watch.lastHeard, now) }
        }
    }

    private mutating func findSuspects(_ name: String) {
        guard let cluster = clusters[name], let timeout = cluster.nodeTimeout else { return }
        var suspects: [String] = []
        for id in cluster.topology.nodes.keys {
            guard let watch = cluster.watches[id] else {
                let watch = NodeWatch(now: instant)
                clusters.update(name) { $0.watches[id] = watch }
                continue
            }
            if watch.isDead || instant - watch.lastHeard >= timeout { suspects.append(id) }
        }
        guard suspects != cluster.suspects else { return }
        for id in suspects where !cluster.suspects.contains(id) {
            let why = cluster.watches[id]?.isDead == true ? "its process is gone" : "no answer"
            plainEvent(.warning, "+cluster-node-down", "\(name) \(id) #\(why)")
        }
        for id in cluster.suspects where !suspects.contains(id) {
            plainEvent(.warning, "-cluster-node-down", "\(name) \(id)")
        }
        clusters.update(name) { $0.suspects = suspects }
        reportLostShards(name, suspects)
        // Everybody hears of it now.
        for key in cluster.peers.keys { sendPulse(PeerKey(cluster: name, peer: key)) }
    }

    /// A shard of which no node is left is reported: nobody can make up its data.
    private mutating func reportLostShards(_ name: String, _ suspects: [String]) {
        guard let cluster = clusters[name] else { return }
        for shard in cluster.topology.shards {
            let isLost = suspects.contains(shard.primary)
                && shard.replicas.allSatisfy(suspects.contains)
            guard isLost != cluster.lostShards.contains(shard.firstSlot) else { continue }
            plainEvent(
                .warning, isLost ? "+cluster-shard-lost" : "-cluster-shard-lost",
                "\(cluster.shardName(shard.firstSlot)) #\(shard.slots) slots, "
                    + (isLost ? "no node of it is left" : "a node of it is back"))
            clusters.update(name) { cluster in
                cluster.lostShards.removeAll { $0 == shard.firstSlot }
                if isLost { cluster.lostShards.append(shard.firstSlot) }
            }
        }
    }

    // MARK: Calling

    mutating func sendPulse(_ key: PeerKey) {
        guard let cluster = clusters[key.cluster], let peer = cluster.peers[key.peer],
            let id = peer.nodeID, peer.isOpen, !peer.awaited.contains(.pulse)
        else { return }
        let durable = cluster.durable
        // What is not in the file yet is not said; the lease is withheld from the moment of the
        // vote all the same.
        let vote = peer.vote.flatMap { $0 == durable.lastVote ? $0 : nil }
        let watch = cluster.watches[id]
        let isWithheld = watch?.withheldUntil.map { instant < $0 } ?? false
        let stamp = isWithheld ? nil : watch?.stamp
        let port = settings.announcePort == 0 ? settings.port : settings.announcePort
        let local = peer.localAddress.isEmpty ? "?" : peer.localAddress
        let host = settings.announceIP.isEmpty ? local : settings.announceIP
        tell(
            key, .pulse,
            [
                "CLUSTER", "VOTER", "PULSE", myID, Self.text(host, port), "\(durable.epoch)",
                "\(durable.setVersion)",
                durable.set.isEmpty ? "-" : durable.set.joined(separator: ","),
                stamp ?? "-", "\(vote ?? 0)",
                cluster.suspects.isEmpty ? "-" : cluster.suspects.joined(separator: ","),
                wish(of: id, in: cluster),
            ])
        let now = instant
        update(key) { $0.pulseSent = now }
    }

    /// One primary at a time is asked to register (or remove) this voter, and only when all of them
    /// are within reach: a primary that a voter does not reach would count it in vain.
    private func wish(of id: String, in cluster: MonitoredCluster) -> String {
        let isMember = cluster.durable.set.contains(myID)
        guard isMember == cluster.isLeaving else { return "none" }
        let primaries = cluster.topology.shards.map(\.primary).sorted()
        guard !primaries.isEmpty else { return "none" }
        let open = Set(cluster.peers.values.filter(\.isOpen).compactMap(\.nodeID))
        let isWhole = primaries.allSatisfy { open.contains($0) && !cluster.suspects.contains($0) }
        if !cluster.isLeaving, !isWhole { return "none" }
        let turn = Int(instant.microseconds / 3_000_000) % primaries.count
        guard primaries[turn] == id else { return "none" }
        return cluster.isLeaving ? "leave" : "join"
    }

    // MARK: Answers

    mutating func takePulseReply(_ reply: Reply, _ key: PeerKey) {
        guard let id = self[peer: key]?.nodeID else { return }
        if case .error(let text) = reply {
            // It lives; more it cannot say at the moment.
            if text.hasPrefix("TRYAGAIN") || text.hasPrefix("LOADING") { heard(id, key, nil) }
            return
        }
        guard let answer = PulseReply(reply), answer.id == id else { return }
        heard(id, key, answer.stamp)
        noteRole(answer, key)
        let now = instant
        clusters.update(key.cluster) { cluster in
            cluster.timeouts[id] = answer.nodeTimeout
            cluster.nodeTimeout = cluster.timeouts.values.max()
            if cluster.lastTick == .start { cluster.lastTick = now }
        }
        adopt(answer, key.cluster)
        consider(answer, key)
    }

    /// A node that changed its role or its epoch has news about the slots.
    private mutating func noteRole(_ answer: PulseReply, _ key: PeerKey) {
        let role = "\(answer.isReplica) \(answer.primary ?? "") \(answer.configEpoch)"
        guard let peer = self[peer: key], peer.role != role else { return }
        update(key) { $0.role = role }
        if !peer.awaited.contains(.nodes) { askView(key) }
    }

    private mutating func heard(_ id: String, _ key: PeerKey, _ stamp: String?) {
        let now = instant
        clusters.update(key.cluster) { cluster in
            var watch = cluster.watches[id] ?? NodeWatch(now: now)
            watch.lastHeard = now
            watch.isDead = false
            if let stamp { watch.stamp = stamp }
            cluster.watches[id] = watch
        }
    }

    /// Epochs and sets of voters that are newer.
    private mutating func adopt(_ answer: PulseReply, _ name: String) {
        guard let cluster = clusters[name] else { return }
        var state = cluster.voting
        if answer.epoch > state.epoch, isPlausible(answer.epoch, after: state.epoch) {
            state.epoch = answer.epoch
        }
        if answer.setVersion > state.setVersion, answer.setVersion / 2 >= state.promise {
            let wasMember = state.set.contains(myID)
            state.setVersion = answer.setVersion
            state.set = answer.set
            let isMember = state.set.contains(myID)
            if isMember != wasMember {
                plainEvent(
                    .warning, isMember ? "+cluster-voter" : "-cluster-voter",
                    "\(name) #\(state.set.count) voters, version \(state.setVersion)")
            }
        }
        remember(state, name)
    }

    private func isPlausible(_ epoch: UInt64, after known: UInt64) -> Bool {
        epoch - known <= Self.epochReach
    }

    /// New promises: into the file, and only then to others.
    private mutating func remember(_ state: VotingState, _ name: String) {
        guard clusters[name]?.voting != state else { return }
        let needed = version + 1
        clusters.update(name) { cluster in
            cluster.voting = state
            cluster.votingVersion = needed
        }
        save()
    }

    /// The file of `version` is on disk.
    mutating func votersSynced() {
        for name in clusters.keys {
            guard let cluster = clusters[name], cluster.durable != cluster.voting,
                cluster.votingVersion <= syncedVersion
            else { continue }
            clusters.update(name) { $0.durable = $0.voting }
            // A vote that is on disk is told at once.
            for (key, peer) in cluster.peers where peer.vote == cluster.voting.lastVote {
                sendPulse(PeerKey(cluster: name, peer: key))
            }
        }
    }

    // MARK: Votes

    private mutating func consider(_ answer: PulseReply, _ key: PeerKey) {
        guard let cluster = clusters[key.cluster] else { return }
        switch answer.request {
        case .none:
            if self[peer: key]?.vote != nil { update(key) { $0.vote = nil } }
        case .voters(let epoch):
            if self[peer: key]?.vote == epoch { return }
            guard mayVote(in: epoch, answer, cluster), !answer.isReplica else { return }
            var state = cluster.voting
            state.epoch = max(state.epoch, epoch)
            state.lastVote = epoch
            state.promise = epoch
            give(epoch, state, key)
        case .promotion(let epoch, let configEpoch, let isForced, let slots):
            if self[peer: key]?.vote == epoch { return }
            guard mayVote(in: epoch, answer, cluster) else { return }
            let denial = denial(
                of: answer, configEpoch: configEpoch, isForced: isForced, slots, cluster)
            if let denial { return deny(answer.id, epoch, denial, key.cluster) }
            guard let primary = answer.primary else { return }
            var state = cluster.voting
            state.epoch = max(state.epoch, epoch)
            state.lastVote = epoch
            state.note(against: primary)
            withhold(from: primary, for: answer.id, key.cluster)
            plainEvent(
                .warning, "+cluster-vote",
                "\(key.cluster) \(answer.id) \(epoch) #to succeed \(primary)")
            give(epoch, state, key)
        }
    }

    private func mayVote(
        in epoch: UInt64, _ answer: PulseReply, _ cluster: MonitoredCluster
    ) -> Bool {
        let state = cluster.voting
        // Several elections may be under way, and a later one may be heard of before an earlier:
        // that only the last vote counts, and not the latest epoch, costs no safety, for each
        // epoch has one vote all the same.
        let isNear = epoch <= state.epoch || isPlausible(epoch, after: state.epoch)
        return epoch > state.lastVote && isNear && answer.setVersion >= state.setVersion
    }

    private mutating func give(_ epoch: UInt64, _ state: VotingState, _ key: PeerKey) {
        update(key) { $0.vote = epoch }
        remember(state, key.cluster)
    }

    /// Why the candidate does not get the vote, or nil.
    private func denial(
        of answer: PulseReply, configEpoch: UInt64, isForced: Bool,
        _ slots: [ClosedRange<Int>], _ cluster: MonitoredCluster
    ) -> String? {
        guard answer.isReplica, let primary = answer.primary else { return "it is no replica" }
        guard let timeout = cluster.nodeTimeout else { return "the node timeout is not known" }
        let watch = cluster.watches[primary] ?? NodeWatch(now: instant)
        let mustHaveStopped = watch.isDead || instant - watch.lastHeard >= timeout
        if !isForced, !mustHaveStopped { return "its primary may still take writes" }
        if let voted = watch.votedAt, watch.votedFor != answer.id, instant - voted < timeout {
            return "another replica of its primary has the vote"
        }
        for range in slots {
            for slot in range {
                let (isOwner, epoch) = cluster.topology.owns(primary, slot)
                if !isOwner, epoch > configEpoch { return "slot \(slot) has a newer owner" }
                if isOwner, epoch > configEpoch { return "its slots are out of date" }
            }
        }
        return nil
    }

    private mutating func deny(_ id: String, _ epoch: UInt64, _ why: String, _ name: String) {
        let text = "No vote for \(id) in epoch \(epoch) of cluster \(name): \(why)"
        guard clusters[name]?.lastDenial != text else { return }
        clusters.update(name) { $0.lastDenial = text }
        note(.notice, text)
    }

    /// No lease for a primary that is voted against before the attempt must be over: a candidate
    /// counts votes for at most two node timeouts, or two seconds.
    private mutating func withhold(from primary: String, for candidate: String, _ name: String) {
        let now = instant
        clusters.update(name) { cluster in
            var watch = cluster.watches[primary] ?? NodeWatch(now: now)
            watch.votedAt = now
            watch.votedFor = candidate
            watch.stamp = nil
            watch.withheldUntil = now + MonitoredCluster.attemptLimit(cluster.nodeTimeout)
            cluster.watches[primary] = watch
        }
    }

    // MARK: Leaving

    /// SENTINEL REMOVE: the cluster is told first, unless that is asked for a second time.
    private mutating func finishLeaving(_ name: String) {
        guard let cluster = clusters[name], cluster.isLeaving,
            !cluster.durable.set.contains(myID)
        else { return }
        plainEvent(.warning, "-monitor-cluster", name)
        removeCluster(name)
        save()
    }
}
