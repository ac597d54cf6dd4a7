// Elections under `min-replicas-ack`. A client was answered only after N of the R replicas of its
// primary held the write, and only while the primary knew a majority behind it. A replica that has
// compared itself with R - N others, once the primary's authority was over, and is behind none of
// them, has therefore met at least one of those N, or is one: it holds every acknowledged write.
//
// The authority is over when a majority has voted (LeaseConfirmation.swift), so the offsets that
// count are those of answers to questions that were sent after that. The same is asked before the
// votes: who would fail then had better leave them to a brother.
//
// The question is a PING with a flag of ours; a brother that knows too that the primary has failed,
// and whose offset is no higher, sets a flag of ours in the answer, which carries its offset. Redis
// nodes ignore the flag: with them alone as brothers nobody is elected.
//
// Failovers that an administrator asks for are another matter: the coordinated one compares with
// the primary itself, FORCE and TAKEOVER are orders.
import Base

extension Election {
    /// Between two questions to a brother that has not agreed.
    static let consentPeriod = Milliseconds(50)

    /// A brother held no more than `offset`, some time after the question was sent.
    struct Consent: Sendable {
        var offset: Int64
        var askedAt: Instant
    }
}

extension ClusterState {
    /// Whether the offsets of enough brothers are known to be no better.
    func lacksConsent(_ primary: NodeHandle) -> Bool {
        let needed = nodes[primary].replicas.count - config.minReplicasAck
        guard config.minReplicasAck > 0, needed > 0 else { return false }
        return nodes[primary].replicas.count { hasConsent(of: $0) } < needed
    }

    private func hasConsent(of brother: NodeHandle) -> Bool {
        guard let consent = election.consents[nodes[brother].id] else { return false }
        return consent.offset <= facts.replicationOffset
            && consent.askedAt >= election.votedAt ?? .start
    }

    mutating func askForConsent(_ primary: NodeHandle) {
        if let asked = election.consentAskedAt, now.instant - asked < Election.consentPeriod {
            return
        }
        election.consentAskedAt = now.instant
        for brother in nodes[primary].replicas where brother != NodeTable.myself {
            if hasConsent(of: brother) { continue }
            if nodes[primary].isFailed { send(.fail, .fail(nodes[primary].id), to: brother) }
            if let link = openLink(of: brother) {
                sendPing(.ping, on: link, flags: .asksConsent)
            }
        }
    }

    /// The brother's side.
    func consents(to header: BusHeader) -> Bool {
        guard me.isReplica, let primary = me.primary, header.primary == nodes[primary].id else {
            return false
        }
        return (nodes[primary].isFailed || hasLostData(primary))
            && facts.replicationOffset <= Int64(bitPattern: header.offset)
    }

    mutating func takeConsent(
        from brother: NodeHandle, _ header: BusHeader, askedAt: Instant
    ) {
        guard election.phase != .idle, let primary = me.primary,
            header.primary == nodes[primary].id
        else { return }
        election.consents[nodes[brother].id] = Election.Consent(
            offset: Int64(bitPattern: header.offset), askedAt: askedAt)
        todo.insert(.failover)
    }
}
