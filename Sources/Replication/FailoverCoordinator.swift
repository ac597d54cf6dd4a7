// The FAILOVER command on a primary: pause the writes, wait until a replica has everything, become
// its replica and ask it to take over with `PSYNC <id> <offset> FAILOVER`. Replies and log lines
// are the reference's.
import Base

public enum FailoverState: Sendable, Equatable {
    case none
    case waitingForSync
    case inProgress

    /// What INFO shows as master_failover_state.
    public var name: String {
        switch self {
        case .none: "no-failover"
        case .waitingForSync: "waiting-for-sync"
        case .inProgress: "failover-in-progress"
        }
    }
}

/// A parsed FAILOVER command.
public enum FailoverRequest: Sendable, Equatable {
    case abort
    case start(target: PrimaryAddress?, timeout: Milliseconds?, force: Bool)

    /// Parses what follows the command's name; the error is the line for the client.
    public static func parse(_ words: [String]) -> Result<FailoverRequest, ReplyError> {
        if words.count == 1, words[0].lowercased() == "abort" { return .success(.abort) }
        var target: PrimaryAddress?
        var timeout: Milliseconds?
        var force = false
        var index = 0
        while index < words.count {
            let left = words.count - index - 1
            switch words[index].lowercased() {
            case "timeout" where left >= 1 && timeout == nil:
                guard let count = Int64(words[index + 1]) else { return .failure(.notAnInteger) }
                guard count > 0 else {
                    return .failure("ERR FAILOVER timeout must be greater than 0")
                }
                timeout = Milliseconds(count)
                index += 2
            case "to" where left >= 2 && target == nil:
                guard let port = Int(words[index + 2]) else { return .failure(.notAnInteger) }
                target = PrimaryAddress(host: words[index + 1], port: port)
                index += 3
            case "force" where !force:
                force = true
                index += 1
            default: return .failure("ERR syntax error")
            }
        }
        return .success(.start(target: target, timeout: timeout, force: force))
    }
}

/// An error line for a client, without the leading minus.
public struct ReplyError: Error, Sendable, Equatable, ExpressibleByStringLiteral {
    public var text: String

    public init(_ text: String) { self.text = text }
    public init(stringLiteral text: String) { self.text = text }

    public static let notAnInteger: ReplyError = "ERR value is not an integer or out of range"
}

public struct FailoverCoordinator: Sendable {
    /// What the coordinator must know about a replica.
    public struct Candidate: Sendable, Equatable {
        public var address: PrimaryAddress
        public var isOnline: Bool
        public var acknowledged: Int64

        public init(address: PrimaryAddress, isOnline: Bool, acknowledged: Int64) {
            self.address = address
            self.isOnline = isOnline
            self.acknowledged = acknowledged
        }
    }

    public private(set) var state: FailoverState = .none
    public private(set) var target: PrimaryAddress?
    private var deadline: Instant?
    private var force = false

    public init() {}

    /// The time at which `tick` has something to do even without acknowledgements.
    public var nextDeadline: Instant? { state == .waitingForSync ? deadline : nil }

    /// The command. Nil answers OK; otherwise the error for the client.
    public mutating func request(
        _ request: FailoverRequest,
        isReplica: Bool,
        replicas: [Candidate],
        at now: Instant,
        into effects: inout [FailoverEffect]
    ) -> ReplyError? {
        guard case .start(let wanted, let timeout, let forced) = request else {
            guard state != .none else { return "ERR No failover in progress." }
            abort("Failover manually aborted", into: &effects)
            return nil
        }
        if state != .none { return "ERR FAILOVER already in progress." }
        if isReplica { return "ERR FAILOVER is not valid when server is a replica." }
        if replicas.isEmpty { return "ERR FAILOVER requires connected replicas." }
        if forced, timeout == nil || wanted == nil {
            return """
                ERR FAILOVER with force option requires both a timeout and target HOST and IP.
                """
        }
        if let wanted {
            guard let replica = replicas.first(where: { Self.same($0.address, wanted) }) else {
                return "ERR FAILOVER target HOST and PORT is not a replica."
            }
            guard replica.isOnline else { return "ERR FAILOVER target replica is not online." }
            log("FAILOVER requested to \(wanted).", into: &effects)
        } else {
            log("FAILOVER requested to any replica.", into: &effects)
        }
        target = wanted
        force = forced
        deadline = timeout.map { now + $0 }
        state = .waitingForSync
        effects.append(.pauseWrites)
        checkInvariants()
        return nil
    }

    /// Time passed or an acknowledgement came; `offset` is our own.
    public mutating func tick(
        replicas: [Candidate], offset: Int64, at now: Instant,
        into effects: inout [FailoverEffect]
    ) {
        guard state == .waitingForSync else { return }
        if let deadline, deadline <= now {
            guard force, let target else {
                return abort("Replica never caught up before timeout", into: &effects)
            }
            log("FAILOVER to \(target) time out exceeded, failing over.", into: &effects)
            return handOver(to: target, into: &effects)
        }
        let ready = replicas.first { replica in
            replica.isOnline && replica.acknowledged == offset
                && (target.map { Self.same($0, replica.address) } ?? true)
        }
        guard let ready else { return }
        let chosen = target ?? ready.address
        log("Failover target \(chosen) is synced, failing over.", into: &effects)
        handOver(to: chosen, into: &effects)
        checkInvariants()
    }

    /// The target took over: we are its replica.
    public mutating func accepted(into effects: inout [FailoverEffect]) {
        guard state == .inProgress else { return }
        clear(into: &effects)
    }

    /// Ends the failover, taking the primary's role back if it was given up already.
    public mutating func abort(_ reason: String, into effects: inout [FailoverEffect]) {
        guard state != .none else { return }
        log(
            "FAILOVER to \(target?.description ?? "any replica") aborted: \(reason)",
            into: &effects)
        if state == .inProgress { effects.append(.resumeAsPrimary) }
        clear(into: &effects)
        checkInvariants()
    }

    private mutating func handOver(
        to target: PrimaryAddress, into effects: inout [FailoverEffect]
    ) {
        self.target = target
        state = .inProgress
        effects.append(.handOver(to: target))
    }

    private mutating func clear(into effects: inout [FailoverEffect]) {
        state = .none
        target = nil
        deadline = nil
        force = false
        effects.append(.unpauseWrites)
    }

    private func log(_ text: String, into effects: inout [FailoverEffect]) {
        effects.append(.log(LogLine(.notice, text)))
    }

    private static func same(_ a: PrimaryAddress, _ b: PrimaryAddress) -> Bool {
        a.port == b.port && a.host.lowercased() == b.host.lowercased()
    }

    public func checkInvariants() {
        invariant(state != .none || (target == nil && deadline == nil), "a leftover target")
        invariant(state != .inProgress || target != nil, "handing over to nobody")
    }
}
