// A replica's link to its primary, from the first connect to the stream and back after a loss. The
// steps are the reference's: PING, AUTH, REPLCONF listening-port, ip-address and capa in one batch,
// PSYNC, then either the stream goes on or a snapshot comes first. The texts in the log are the
// reference's as well, since tools and tests look for them.
//
// The machine never sees the steady stream: once `online`, the driver feeds its applier and reports
// only counts. This file holds the commands, the link's events and time; `+Receive` the bytes.
import Base

public struct ReplicaHandshake: Sendable {
    public var config: ReplicaLinkConfig

    public internal(set) var primary: PrimaryAddress?
    public internal(set) var phase: LinkPhase = .none
    /// What we ask the primary to continue; nil asks for a full copy. While streaming, the ID and
    /// the offset of what was applied.
    public internal(set) var resume: ResumePoint?
    /// Bytes of the stream that arrived.
    public internal(set) var readOffset: Int64 = 0

    /// True while PSYNC carries the word FAILOVER.
    var asksForFailover = false
    /// Tries since the last success.
    var attempts = 0
    /// When the primary was last heard, or the attempt to reach it began.
    public internal(set) var lastIO: Instant = .start
    var lastAck: Instant = .start
    var lastNewline: Instant = .start
    /// When the link was lost; nil while it is up or was never up.
    var downSince: Instant?
    /// The unfinished line.
    var line: [UInt8] = []
    /// What the snapshot stands for, from the answer to PSYNC.
    var incoming: (id: ReplicationID?, offset: Int64) = (nil, -1)
    var framing: SnapshotFraming = .endMark
    var scanner: EndMarkScanner?
    var transferred: Int64 = 0
    /// The link ended while the snapshot was being loaded.
    var lostWhileLoading = false
    /// Stream bytes that arrived behind the snapshot, before it was loaded.
    var streamedWhileLoading: Int64 = 0
    /// The primary answers SYNC only: no offsets, no acknowledgements.
    var primaryLacksPSync = false

    public init(_ config: ReplicaLinkConfig) { self.config = config }

    // MARK: Commands

    /// Follows `address`, from `resume` if the primary can. A primary that becomes a replica passes
    /// its own ID and offset: its new primary knows them. `failover`: ask the target to take over.
    public mutating func follow(
        _ address: PrimaryAddress,
        resume: ResumePoint?,
        failover: Bool = false,
        at now: Instant,
        into effects: inout [ReplicaEffect]
    ) {
        dropLink(into: &effects)
        primary = address
        self.resume = resume
        readOffset = resume?.offset ?? 0
        asksForFailover = failover
        attempts = 0
        downSince = nil
        connect(at: now, announcing: "Connecting to MASTER \(address)", into: &effects)
        checkInvariants()
    }

    /// Up to where our append-only file is synced; nil while there is none.
    public var durableOffset: Int64?

    /// Has no primary any more.
    public mutating func unfollow(into effects: inout [ReplicaEffect]) {
        dropLink(into: &effects)
        primary = nil
        resume = nil
        phase = .none
        asksForFailover = false
        downSince = nil
        checkInvariants()
    }

    /// Drops the link on the node's own wish (CLIENT KILL, a refused full copy) and tries again at
    /// the steady pace.
    public mutating func abandon(
        because reason: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        guard primary != nil, phase != .none else { return }
        effects.append(.log(LogLine(.warning, reason)))
        let wasStreaming = phase == .streaming
        dropLink(into: &effects)
        attempts = config.pacing.quick.count
        if wasStreaming { downSince = now }
        phase = .waiting(until: now + config.pacing.steady)
        checkInvariants()
    }

    /// The stream can no longer be trusted to continue ours (the data was replaced behind its
    /// back).
    public mutating func forgetResumePoint() { if phase != .streaming { resume = nil } }

    /// The data on disk, loaded after the start, stands at this point of a history.
    public mutating func continueFrom(_ point: ResumePoint) {
        guard phase != .streaming else { return }
        resume = point
        readOffset = point.offset
        checkInvariants()
    }

    // MARK: Events of the link

    public mutating func linkOpened(at now: Instant, into effects: inout [ReplicaEffect]) {
        guard phase == .connecting else { return }
        lastIO = now
        effects.append(
            .log(LogLine(.notice, "Non blocking connect for SYNC fired the event.")))
        effects.append(.send(command(["PING"])))
        phase = .awaitingPong
    }

    /// The connection failed or ended; `reason` is the system's word for it.
    public mutating func linkClosed(
        _ reason: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        switch phase {
        case .none, .waiting: return
        case .connecting:
            fail("Error condition on socket for SYNC: \(reason)", at: now, into: &effects)
        case .awaitingPong, .awaitingAuth, .awaitingPort, .awaitingIP, .awaitingCapabilities:
            effects.append(
                .log(LogLine(.warning, "Failed to read response from the server: \(reason)")))
            fail(
                "Master did not respond to command during SYNC handshake", at: now, into: &effects)
        case .awaitingPSync:
            effects.append(
                .log(LogLine(.warning, "Failed to read response from the server: \(reason)")))
            fail("Master did not reply to PSYNC, will try later", at: now, into: &effects)
        case .awaitingSnapshot:
            fail("I/O error reading bulk count from MASTER: \(reason)", at: now, into: &effects)
        case .receivingSnapshot:
            fail("I/O error trying to sync with MASTER: \(reason)", at: now, into: &effects)
        case .loading:
            // The copy is whole: finish loading, then continue from there on a new link.
            lostWhileLoading = true
        case .streaming: loseStream(at: now, into: &effects)
        }
        checkInvariants()
    }

    /// The snapshot is loaded. `embedded` bytes of the stream came inside of it and are yet to be
    /// applied.
    public mutating func loaded(
        embedded: Int64 = 0, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        invariant(phase == .loading, "loaded what was not received")
        if config.keepsOldData { effects.append(.detachReplicas) }
        effects.append(.restartHistory(id: incoming.id, offset: max(0, incoming.offset)))
        effects.append(
            .log(LogLine(.notice, "MASTER <-> REPLICA sync: Finished with success")))
        resume = incoming.id.map { ResumePoint(id: $0, offset: incoming.offset) }
        readOffset = max(0, incoming.offset) + embedded + streamedWhileLoading
        goOnline(at: now, into: &effects)
        if lostWhileLoading { loseStream(at: now, into: &effects) }
        checkInvariants()
    }

    /// The snapshot is no good.
    public mutating func loadFailed(
        _ reason: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        guard phase == .loading || phase == .receivingSnapshot else { return }
        let source = config.loadsFromLink ? "socket" : "disk"
        fail(
            "Failed trying to load the MASTER synchronization DB from \(source): \(reason)",
            at: now, into: &effects)
        checkInvariants()
    }

    // MARK: The steady stream

    /// `count` bytes of the stream arrived.
    public mutating func streamed(_ count: Int, at now: Instant) {
        invariant(count >= 0, "a negative count of bytes")
        guard phase == .streaming else { return }
        lastIO = now
        readOffset += Int64(count)
    }

    /// The commands up to `offset` are applied.
    public mutating func applied(through offset: Int64) {
        invariant(offset <= readOffset, "applied what has not arrived")
        guard let current = resume else { return }
        invariant(offset >= current.offset, "the applied offset went back")
        resume = ResumePoint(id: current.id, offset: offset)
    }

    /// The primary asked (REPLCONF GETACK).
    public mutating func ackRequested(at now: Instant, into effects: inout [ReplicaEffect]) {
        guard phase == .streaming, !primaryLacksPSync, let resume else { return }
        lastAck = now
        var words = ["REPLCONF", "ACK", String(resume.offset)]
        if let durableOffset { words += ["FACK", String(min(durableOffset, resume.offset))] }
        effects.append(.send(command(words)))
    }

    // MARK: Time

    /// The latest time at which `tick` has something to do.
    public var nextDeadline: Instant? {
        switch phase {
        case .none: nil
        case .waiting(let until): until
        case .streaming where primaryLacksPSync: lastIO + config.timeout
        case .streaming: min(lastAck + Milliseconds(1000), lastIO + config.timeout)
        case .loading: lastNewline + Milliseconds(1000)
        default: lastIO + config.timeout
        }
    }

    public mutating func tick(at now: Instant, into effects: inout [ReplicaEffect]) {
        let silent = now - lastIO > config.timeout
        switch phase {
        case .none: return
        case .waiting(let until):
            guard until <= now, let primary else { return }
            connect(at: now, announcing: "Connecting to MASTER \(primary)", into: &effects)
        case .connecting, .awaitingPong, .awaitingAuth, .awaitingPort, .awaitingIP,
            .awaitingCapabilities, .awaitingPSync:
            if silent { fail("Timeout connecting to the MASTER...", at: now, into: &effects) }
        case .awaitingSnapshot, .receivingSnapshot:
            guard silent else { return }
            fail(
                "Timeout receiving bulk data from MASTER... If the problem persists try to set "
                    + "the 'repl-timeout' parameter in redis.conf to a larger value.",
                at: now, into: &effects)
        case .loading: keepAlive(at: now, into: &effects)
        case .streaming:
            if silent {
                effects.append(
                    .log(LogLine(.warning, "MASTER timeout: no data nor PING received...")))
                effects.append(.close)
                loseStream(at: now, into: &effects)
            } else if now - lastAck >= Milliseconds(1000) {
                ackRequested(at: now, into: &effects)
            }
        }
        checkInvariants()
    }

    /// A newline keeps the primary from timing us out while we load; it means nothing else.
    private mutating func keepAlive(at now: Instant, into effects: inout [ReplicaEffect]) {
        invariant(phase == .loading, "a sign of life outside loading")
        guard !lostWhileLoading, now - lastNewline >= Milliseconds(1000) else { return }
        lastNewline = now
        effects.append(.send([UInt8(ascii: "\n")]))
    }

    // MARK: Transitions

    private mutating func connect(
        at now: Instant, announcing text: String, into effects: inout [ReplicaEffect]
    ) {
        guard let primary else { unreachable("connecting to nobody") }
        effects.append(.log(LogLine(.notice, text)))
        effects.append(.log(LogLine(.notice, "MASTER <-> REPLICA sync started")))
        lastIO = now
        line.removeAll()
        primaryLacksPSync = false
        phase = .connecting
        effects.append(.connect(primary))
    }

    /// The link works: the stream follows.
    mutating func goOnline(at now: Instant, into effects: inout [ReplicaEffect]) {
        phase = .streaming
        attempts = 0
        lastIO = now
        downSince = nil
        scanner = nil
        effects.append(.online)
        // At once rather than within a second: the primary counts us from the first one on.
        if !lostWhileLoading { ackRequested(at: now, into: &effects) }
    }

    private mutating func loseStream(at now: Instant, into effects: inout [ReplicaEffect]) {
        guard let primary else { unreachable("lost a link to nobody") }
        effects.append(.log(LogLine(.warning, "Connection with master lost.")))
        effects.append(.log(LogLine(.notice, "Caching the disconnected master state.")))
        effects.append(.linkLost)
        lostWhileLoading = false
        readOffset = resume?.offset ?? 0
        downSince = now
        attempts = 1
        connect(at: now, announcing: "Reconnecting to MASTER \(primary)", into: &effects)
    }

    /// This try failed; the next one follows as the pacing says.
    mutating func fail(_ text: String, at now: Instant, into effects: inout [ReplicaEffect]) {
        guard let primary else { unreachable("failed to reach nobody") }
        effects.append(.log(LogLine(.warning, text)))
        dropLink(into: &effects)
        let delay = config.pacing.delay(attempts)
        attempts += 1
        if delay == .zero {
            connect(
                at: now, announcing: "Reconnecting to MASTER \(primary) after failure",
                into: &effects)
        } else {
            phase = .waiting(until: now + delay)
        }
    }

    /// Closes what is open and forgets what was under way.
    private mutating func dropLink(into effects: inout [ReplicaEffect]) {
        switch phase {
        case .none, .waiting: break
        default: effects.append(.close)
        }
        if phase.isTransfer || phase == .loading { effects.append(.abortFullSync) }
        if phase == .streaming {
            effects.append(.linkLost)
            readOffset = resume?.offset ?? 0
        }
        line.removeAll()
        scanner = nil
        transferred = 0
        lostWhileLoading = false
        streamedWhileLoading = 0
        primaryLacksPSync = false
        incoming = (nil, -1)
    }

    // MARK: Reports

    /// INFO's facts; nil without a primary.
    public func report(at now: Instant) -> ReplicaReport? {
        guard let primary else { return nil }
        let idle = (now - lastIO).count / 1000
        return ReplicaReport(
            primary: primary,
            phase: phase,
            secondsSinceLastIO: phase == .streaming ? idle : nil,
            readOffset: resume == nil ? 1 : readOffset,
            appliedOffset: resume?.offset ?? 1,
            transferSize: framing.size,
            transferred: transferred,
            secondsSinceTransferIO: idle,
            downSeconds: downSince.map { (now - $0).count / 1000 })
    }

    public func checkInvariants() {
        invariant((primary == nil) == (phase == .none), "a phase without a primary")
        invariant(readOffset >= (resume?.offset ?? 0), "applied more than arrived")
        invariant(line.count <= Self.longestLine, "an endless line")
    }
}

/// A command as the protocol's array of bulk strings.
func command(_ words: [String]) -> [UInt8] {
    var out = Array("*\(words.count)\r\n".utf8)
    for word in words {
        out += Array("$\(word.utf8.count)\r\n".utf8)
        out += Array(word.utf8)
        out += [13, 10]
    }
    return out
}
