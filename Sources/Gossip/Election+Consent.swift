// Elections under `min-replicas-ack`. A client was answered only after N of the R replicas of its
// primary held the write, and only while the primary knew a majority behind it. A replica that has
// compared itself with R - N others, after the primary had failed, and is behind none of them, has
// therefore met at least one of those N, or is one: it holds every acknowledged write. So before it
// asks for votes it asks its brothers, in a PING with a flag of ours; a brother answers with a flag
// of ours in a PONG, which carries its offset, if it too knows that the primary has failed and its
// offset is no higher. Redis nodes ignore the flag: with them alone as brothers nobody is elected.
//
// Failovers that an administrator asks for are another matter: the coordinated one compares with
// the primary itself, FORCE and TAKEOVER are orders.
import Base

extension Election {
    /// Between two questions to a brother that has not agreed.
    static let consentPeriod = Milliseconds(50)
}

extension ClusterState {
    mutating func askForConsent(_ primary: NodeHandle) {
        if let asked = election.consentAskedAt, now.instant - asked < Election.consentPeriod {
            return
        }
        election.consentAskedAt = now.instant
        for brother in nodes[primary].replicas where brother != NodeTable.myself {
            if let offset = election.consents[nodes[brother].id],
                offset <= facts.replicationOffset
            {
                continue
            }
            if nodes[primary].isFailed { send(.fail, .fail(nodes[primary].id), to: brother) }
            if let link = openLink(of: brother) {
                sendPing(.ping, on: link, flags: .asksConsent)
            }
        }
    }

    mutating func considerConsent(to candidate: NodeHandle, _ header: BusHeader) {
        guard me.isReplica, let primary = me.primary, header.primary == nodes[primary].id,
            nodes[primary].isFailed || hasLostData(primary),
            facts.replicationOffset <= Int64(bitPattern: header.offset),
            let link = openLink(of: candidate)
        else { return }
        sendPing(.pong, on: link, flags: .consents)
    }

    mutating func takeConsent(from brother: NodeHandle, _ header: BusHeader) {
        guard election.isWaiting, let primary = me.primary, header.primary == nodes[primary].id
        else { return }
        election.consents[nodes[brother].id] = Int64(bitPattern: header.offset)
        todo.insert(.failover)
    }
}
