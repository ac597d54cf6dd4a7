// Where a command on keys may run: here, elsewhere, later or not at all. Same order of questions
// and same error lines as the reference's getNodeByQuery and clusterRedirectClient, for clients
// parse these lines.
import Base

/// What the decision must know about a command and its client.
public struct RedirectRequest: Sendable {
    /// The command (or the transaction as a whole) may write.
    public var isWrite = false
    /// SSUBSCRIBE, SUNSUBSCRIBE, SPUBLISH: channels, not keys.
    public var isShardPubSub = false
    /// MIGRATE works on the local keys of an open slot.
    public var isMigrate = false
    /// The client sent ASKING just before, or the command implies it (RESTORE-ASKING).
    public var isAsking = false
    /// The client sent READONLY.
    public var isReadOnlyClient = false
    /// The command names at least two different keys.
    public var hasSeveralKeys = false

    public init() {}
}

/// How many of a command's keys exist here.
public struct KeyPresence: Sendable {
    public var existing: Int
    public var missing: Int

    public init(existing: Int, missing: Int) {
        self.existing = existing
        self.missing = missing
    }
}

public enum Redirect: Equatable, Sendable {
    case serve
    /// Keys of different slots in one command.
    case crossSlot
    /// Several keys of a slot that is on the move, and not all of them are here.
    case tryAgain
    case ask(Slot, node: Int)
    case moved(Slot, node: Int)
    /// The cluster is down.
    case down
    /// The cluster is down and this was a write; reads are allowed.
    case downForWrites
    /// Nobody serves the slot.
    case unbound
}

extension RoutingTable {
    /// The slow half of the decision, for when `serves` said no. `presence` is asked only when
    /// the slot is open. All keys are in `slot`; when they are not, ask `decideAcrossSlots`.
    public func decide(
        _ slot: Slot,
        _ request: RedirectRequest,
        presence: () -> KeyPresence
    ) -> Redirect {
        guard let owner = owner(of: slot) else { return .unbound }
        if let refusal = refusalWhenDown(request) { return refusal }

        let isMine = owner == myself
        let target = isMine ? migrationTarget(of: slot) : nil
        let isImporting = target == nil && importSource(of: slot) != nil
        if (target != nil || isImporting), request.isMigrate { return .serve }

        // Shard channels stay with the source until the slot has changed hands.
        var keys = KeyPresence(existing: 0, missing: 0)
        if target != nil || isImporting, !request.isShardPubSub { keys = presence() }
        if let target, keys.missing > 0 {
            return keys.existing > 0 ? .tryAgain : .ask(slot, node: target)
        }
        if isImporting, request.isAsking {
            return request.hasSeveralKeys && keys.missing > 0 ? .tryAgain : .serve
        }
        if isMine { return .serve }
        let mayReadHere = request.isReadOnlyClient || request.isShardPubSub
        if mayReadHere, !request.isWrite, facts.isReplica, facts.primary == owner { return .serve }
        return .moved(slot, node: owner)
    }

    /// The answer to a command whose keys are in different slots, `first` being the first key's.
    public func decideAcrossSlots(first: Slot) -> Redirect {
        owner(of: first) == nil ? .unbound : .crossSlot
    }

    /// Whether a client that waits on a key of `slot` must be woken with an error: the slot went
    /// away while it slept.
    public func decideForBlocked(
        _ slot: Slot,
        isReadOnlyClient: Bool,
        isWrite: Bool
    ) -> Redirect {
        guard facts.clusterIsUp else { return .down }
        if importSource(of: slot) != nil { return .serve }
        guard let owner = owner(of: slot) else { return .unbound }
        if owner == myself { return .serve }
        let mayReadHere = isReadOnlyClient && !isWrite && facts.isReplica
        if mayReadHere, facts.primary == owner { return .serve }
        return .moved(slot, node: owner)
    }

    private func refusalWhenDown(_ request: RedirectRequest) -> Redirect? {
        if facts.clusterIsUp { return nil }
        if request.isShardPubSub { return facts.allowsShardPubSubWhenDown ? nil : .down }
        guard facts.allowsReadsWhenDown else { return .down }
        return request.isWrite ? .downForWrites : nil
    }

    /// The error line for `redirect`, without the leading `-` and the line end; nil for `serve`.
    /// `otherPort` chooses the second port: a plaintext client in a TLS cluster.
    public func errorLine(_ redirect: Redirect, otherPort: Bool = false) -> [UInt8]? {
        switch redirect {
        case .serve: nil
        case .crossSlot: Array("CROSSSLOT Keys in request don't hash to the same slot".utf8)
        case .tryAgain:
            Array("TRYAGAIN Multiple keys request during rehashing of slot".utf8)
        case .down: Array("CLUSTERDOWN The cluster is down".utf8)
        case .downForWrites:
            Array("CLUSTERDOWN The cluster is down and only accepts read commands".utf8)
        case .unbound: Array("CLUSTERDOWN Hash slot not served".utf8)
        case .ask(let slot, let node): line("ASK ", slot, node, otherPort)
        case .moved(let slot, let node): line("MOVED ", slot, node, otherPort)
        }
    }

    private func line(_ word: String, _ slot: Slot, _ node: Int, _ otherPort: Bool) -> [UInt8] {
        let target = endpoint(node)
        var out = Array(word.utf8)
        out.append(contentsOf: String(slot.index).utf8)
        out.append(UInt8(ascii: " "))
        out.append(contentsOf: otherPort ? target.otherText : target.text)
        return out
    }
}
