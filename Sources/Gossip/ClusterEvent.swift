// What happened, as a value: the log, the transcripts of the tests and the reports that explain a
// failover all come from these. The texts are the reference's where its test suite or operators'
// scripts look for them.
import Base
import HashSlots

public enum VoteDenial: Sendable, Equatable {
    case staleEpoch(request: UInt64, current: UInt64)
    case alreadyVoted(epoch: UInt64)
    case isPrimary
    case unknownPrimary
    case primaryIsUp
    /// The voter confirmed the primary's lease, and it has not run out.
    case leaseRuns(wait: Milliseconds)
    case votedRecently(wait: Milliseconds)
    case newerOwner(slot: Slot, epoch: UInt64, request: UInt64)
    case olderVoters
    /// This node is not a primary with slots. Not logged: everybody gets the request.
    case notEntitled

    public var text: String {
        switch self {
        case .staleEpoch(let request, let current):
            "reqEpoch (\(request)) < curEpoch(\(current))"
        case .alreadyVoted(let epoch): "already voted for epoch \(epoch)"
        case .isPrimary: "it is a master node"
        case .unknownPrimary: "I don't know its master"
        case .primaryIsUp: "its master is up"
        case .leaseRuns(let wait):
            "its master may still take writes, for \(wait.count) milliseconds"
        case .votedRecently(let wait):
            "can't vote about this master before \(wait.count) milliseconds"
        case .newerOwner(let slot, let epoch, let request):
            "slot \(slot) epoch (\(epoch)) > reqEpoch (\(request))"
        case .olderVoters: "it goes by an older set of voters"
        case .notEntitled: "this node has no vote"
        }
    }
}

/// Why a replica of a failed primary does not take over (yet).
public enum FailoverObstacle: Int, Sendable, Equatable {
    case none = 0
    case dataAge
    case waitingDelay
    case expired
    case waitingVotes
    case noData
    case waitingConsents

    public var text: String {
        switch self {
        case .none: "No obstacle."
        case .dataAge:
            "Disconnected from master for longer than allowed. Please check the "
                + "'cluster-replica-validity-factor' configuration option."
        case .waitingDelay: "Waiting the delay before I can start a new failover."
        case .expired: "Failover attempt expired."
        case .waitingVotes: "Waiting for votes, but majority still not reached."
        case .noData: "I hold no data."
        case .waitingConsents:
            "Waiting for the other replicas: with 'min-replicas-ack' one of them may hold "
                + "acknowledged writes that I lack."
        }
    }
}

/// Why a packet or a link was given up.
public enum BadPacket: String, Sendable, CaseIterable {
    case signature
    case length
    case oversized
    case version
    case truncated
    case lengthMismatch
    case extensionPadding
    case extensionOverrun
    case senderName
    /// An epoch beyond anything that counting from zero can reach.
    case epoch
    case unknownType
}

public struct ClusterEvent: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case configurationLoaded(NodeID)
        case configurationCreated(NodeID)
        case hardReset(NodeID)
        case linkLost(NodeID, LinkFailure)
        case connectFailed(NodeID, host: String, port: Int, LinkFailure)
        case badPacket(BadPacket, peer: String)
        case packetDropped(type: Int)
        case handshakeCompleted(NodeID)
        case handshakeKnown(NodeID)
        case senderMismatch(NodeID)
        case nodeAdded(NodeID)
        case nodeForgotten(NodeID)
        case addressChanged(NodeID, host: String, port: Int)
        case ownAddressChanged(String)
        case crashSuspected(NodeID)
        case crashEstablished(NodeID, CrashEvidence)
        case possiblyFailing(NodeID)
        case reported(by: NodeLabel, NodeLabel)
        case reportWithdrawn(by: NodeLabel, NodeLabel)
        case markedFailed(NodeID)
        case failReceived(from: NodeID, about: NodeID)
        case failFromUnknown(about: NodeID)
        case failCleared(NodeID, isReplica: Bool)
        case failClearedUnserved(NodeID)
        case stateChanged(isUp: Bool)
        case leaseExpired
        case epochBumped(UInt64)
        case epochCollision(with: NodeID, UInt64)
        case epochWon(UInt64)
        case epochSet(UInt64)
        case epochAfterImport(Slot)
        case staleSlots(NodeID, owner: NodeID)
        case updateAboutMyself
        case becameReplica(of: NodeID)
        case subReplica(of: NodeID)
        case migrating(to: NodeID)
        case electionScheduled(delay: Milliseconds, rank: Int, offset: Int64)
        case rankChanged(Int, added: Milliseconds)
        case electionStarted(UInt64)
        case electionWon
        case electionExpired(epoch: UInt64, votes: Int, quorum: Int)
        case cannotFailOver(FailoverObstacle, votes: Int, quorum: Int)
        case voteGranted(to: NodeID, epoch: UInt64)
        case voteDenied(to: NodeID, VoteDenial)
        case manualAccepted
        case manualForced
        case takeover
        case manualRequested(by: NodeID)
        case manualOffset(Int64)
        case manualReady
        case manualTimedOut
        case handoverStarted(to: NodeID)
        case handoverAccepted(from: NodeID)
        case handoverEnded(String)
        case emptyStart(replicas: Int)
        case emptyWaiting(String)
        case emptyOver(String)
        case replacingEmptyPrimary(NodeID)
        case votersChanged(count: Int, version: UInt64)
        case voterChangeStarted(NodeID?, isRemoval: Bool, epoch: UInt64)
        case votersReset
        case unknownExtension(Int)
        case keysInUnassignedSlot(Slot)
        case keysInForeignSlot(Slot)
    }

    public var level: LogLevel
    public var kind: Kind

    public init(_ level: LogLevel, _ kind: Kind) {
        self.level = level
        self.kind = kind
    }

    public var line: LogLine { LogLine(level, text) }
}

extension ClusterEvent {
    /// One line for the log.
    public var text: String { membershipText ?? failureText ?? epochText ?? failoverText }

    private var membershipText: String? {
        switch kind {
        case .configurationLoaded(let id): "Node configuration loaded, I'm \(id)"
        case .configurationCreated(let id): "No cluster configuration found, I'm \(id)"
        case .hardReset(let id): "Node hard reset, now I'm \(id)"
        case .linkLost(let id, let why): "Link to node \(id) lost: \(why)"
        case .connectFailed(let id, let host, let port, let why):
            "Connection with Node \(id) at \(host):\(port) failed: \(why)"
        case .badPacket(let reason, let peer):
            reason == .signature || reason == .length
                ? "Bad message length or signature received from Cluster bus. (\(reason), \(peer))"
                : "Received invalid packet (\(reason)) from \(peer)"
        case .packetDropped: "Dropping packet that matches debug drop filter"
        case .handshakeCompleted(let id): "Handshake with node \(id) completed."
        case .handshakeKnown(let id):
            "Handshake: we already know node \(id), updating the address if needed."
        case .senderMismatch(let id): "PONG contains mismatching sender ID. About node \(id)"
        case .nodeAdded(let id): "Node \(id) added by gossip."
        case .nodeForgotten(let id): "Node \(id) forgotten."
        case .addressChanged(let id, let host, let port):
            "Address updated for node \(id), now \(host):\(port)"
        case .ownAddressChanged(let ip): "IP address for this node updated to \(ip)"
        case .unknownExtension(let type): "Received unknown extension type \(type)"
        case .keysInUnassignedSlot(let slot):
            "I have keys for unassigned slot \(slot). Taking responsibility for it."
        case .keysInForeignSlot(let slot):
            "I have keys for slot \(slot), but the slot is assigned to another node. "
                + "Setting it to importing state."
        default: nil
        }
    }

    private var failureText: String? {
        switch kind {
        case .crashSuspected(let id): "Node \(id) refused a connection: probing it again at once."
        case .crashEstablished(let id, let evidence):
            "*** NODE \(id) possibly failing: its link broke and \(evidence.text)"
        case .possiblyFailing(let id): "*** NODE \(id) possibly failing"
        case .reported(let by, let id): "Node \(by) reported node \(id) as not reachable."
        case .reportWithdrawn(let by, let id): "Node \(by) reported node \(id) is back online."
        case .markedFailed(let id): "Marking node \(id) as failing (quorum reached)."
        case .failReceived(let from, let about):
            "FAIL message received from \(from) about \(about)"
        case .failFromUnknown(let about): "Ignoring FAIL message from unknown node about \(about)"
        case .failCleared(let id, let isReplica):
            "Clear FAIL state for node \(id): "
                + (isReplica ? "replica" : "master without slots") + " is reachable again."
        case .failClearedUnserved(let id):
            "Clear FAIL state for node \(id): is reachable again and nobody is serving its slots "
                + "after some time."
        case .stateChanged(let isUp): "Cluster state changed: \(isUp ? "ok" : "fail")"
        case .leaseExpired:
            "A majority of primaries has not answered within the node timeout: I stop serving."
        case .emptyStart(let replicas):
            "I am a primary without my data, and \(replicas) replicas may hold it: "
                + "waiting for one of them to take over."
        case .emptyWaiting(let why): "Still without my data: \(why)"
        case .emptyOver(let why): "No longer waiting for a replica to take over: \(why)"
        case .replacingEmptyPrimary(let id): "My primary \(id) lost its data: taking over."
        default: nil
        }
    }

    private var epochText: String? {
        switch kind {
        case .epochBumped(let epoch): "New configEpoch set to \(epoch)"
        case .epochCollision(let id, let epoch):
            "WARNING: configEpoch collision with node \(id). configEpoch set to \(epoch)"
        case .epochWon(let epoch): "configEpoch set to \(epoch) after successful failover"
        case .epochSet(let epoch):
            epoch == 0
                ? "configEpoch set to 0 via CLUSTER RESET HARD"
                : "configEpoch set to \(epoch) via CLUSTER SET-CONFIG-EPOCH"
        case .epochAfterImport(let slot): "configEpoch updated after importing slot \(slot)"
        case .staleSlots(let id, let owner):
            "Node \(id) has old slots configuration, sending an UPDATE message about \(owner)"
        case .updateAboutMyself: "Discarding UPDATE message about myself."
        case .becameReplica(let id):
            "Configuration change detected. Reconfiguring myself as a replica of \(id)"
        case .subReplica(let id):
            "I'm a sub-replica! Reconfiguring myself as a replica of grandmaster \(id)"
        case .migrating(let id): "Migrating to orphaned master \(id)"
        case .voteGranted(let id, let epoch): "Failover auth granted to \(id) for epoch \(epoch)"
        case .voteDenied(let id, let why): "Failover auth denied to \(id): \(why.text)"
        case .votersChanged(let count, let version):
            "Sentinels with a vote: \(count) (version \(version) of the set)"
        case .voterChangeStarted(nil, _, let epoch):
            "Asking for the right to repeat the set of voters in epoch \(epoch)"
        case .voterChangeStarted(let id?, let isRemoval, let epoch):
            "Asking for the right to \(isRemoval ? "remove" : "add") voter \(id) in epoch "
                + "\(epoch)"
        case .votersReset: "Voters reset (user request): primaries alone decide from now on."
        default: nil
        }
    }

    private var failoverText: String {
        switch kind {
        case .electionScheduled(let delay, let rank, let offset):
            "Start of election delayed for \(delay.count) milliseconds "
                + "(rank #\(rank), offset \(offset))."
        case .rankChanged(let rank, let added):
            "Replica rank updated to #\(rank), added \(added.count) milliseconds of delay."
        case .electionStarted(let epoch): "Starting a failover election for epoch \(epoch)."
        case .electionWon: "Failover election won: I'm the new master."
        case .electionExpired(let epoch, let votes, let quorum):
            "Failover election for epoch \(epoch) expired with \(votes) of \(quorum) votes."
        case .cannotFailOver(let why, let votes, let quorum):
            "Currently unable to failover: \(why.text)"
                + (why == .waitingVotes || why == .expired
                    ? " Needed quorum: \(quorum). Number of votes received so far: \(votes)" : "")
        case .manualAccepted: "Manual failover user request accepted."
        case .manualForced: "Forced failover user request accepted."
        case .takeover: "Taking over the master (user request)."
        case .manualRequested(let id): "Manual failover requested by replica \(id)."
        case .manualOffset(let offset):
            "Received replication offset for paused master manual failover: \(offset)"
        case .manualReady: "All master replication stream processed, manual failover can start."
        case .manualTimedOut: "Manual failover timed out."
        case .handoverStarted(let id): "Handing my slots over to replica \(id)."
        case .handoverAccepted(let id): "My primary \(id) hands its slots over to me."
        case .handoverEnded(let how): "Hand-over ended: \(how)"
        default: "\(kind)"
        }
    }
}
