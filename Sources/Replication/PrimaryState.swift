// The serving side of replication: the replicas that are attached, what each is being sent, who
// counts for WAIT and min-replicas-to-write, when to ping, when to give up on one, and how long to
// keep a backlog that nobody reads. A replica with replicas of its own runs this as well; it passes
// its primary's stream on verbatim, so it never adds a ping of its own.
//
// Full copies start in groups: the first replica waits for repl-diskless-sync-delay, so that others
// can share its snapshot; whoever comes later waits for the next one. `+Report` has INFO and ROLE.
import Base

public struct PrimaryConfig: Sendable, Equatable {
    /// repl-backlog-size.
    public var backlogSize: Int64 = 1 << 20
    /// repl-backlog-ttl; zero keeps the backlog for ever.
    public var backlogTTL = Milliseconds(3_600_000)
    /// repl-timeout.
    public var timeout = Milliseconds(60_000)
    /// repl-ping-replica-period.
    public var pingPeriod = Milliseconds(10_000)
    /// repl-diskless-sync: without it a snapshot starts as soon as it may.
    public var groupsSnapshots = true
    /// repl-diskless-sync-delay.
    public var snapshotDelay = Milliseconds(5_000)
    /// repl-diskless-sync-max-replicas; 0 for no limit.
    public var snapshotMaxReplicas = 0
    /// min-replicas-to-write and min-replicas-max-lag; 0 turns the check off.
    public var minReplicasToWrite = 0
    public var minReplicasMaxLag = Milliseconds(10_000)

    public init() {}
}

/// How REPLCONF is answered.
public enum ReplconfReply: Sendable, Equatable {
    case ok
    /// ACK and GETACK are never answered.
    case silence
    /// The primary wants an acknowledgement: the link's `ackRequested`.
    case acknowledge
    case error(ReplyError)
}

public struct PrimaryState: Sendable {
    public var config: PrimaryConfig

    /// In order of attachment.
    public private(set) var replicas: [ReplicaRecord] = []
    /// Sessions that announced something and have not asked for synchronisation.
    private var announcements = SortedTable<UInt64, ReplicaAnnouncement>()
    /// Sessions whose snapshot is being taken; empty when none is.
    private var snapshotSessions: [UInt64] = []
    public private(set) var snapshotIsRunning = false
    private var noReplicasSince: Instant
    private var lastPing: Instant
    private var lastNewline: Instant

    /// INFO's sync_full, sync_partial_ok and sync_partial_err.
    public private(set) var fullSyncs = 0
    public private(set) var partialSyncs = 0
    public private(set) var refusedPartialSyncs = 0
    /// Why the latest full copy was necessary.
    public private(set) var lastFullSyncReason: FullSyncReason?

    public init(_ config: PrimaryConfig, at now: Instant) {
        self.config = config
        noReplicasSince = now
        lastPing = now
        lastNewline = now
    }

    public func replica(_ session: UInt64) -> ReplicaRecord? {
        replicas.first { $0.session == session }
    }

    // MARK: REPLCONF

    /// `REPLCONF` with what follows the command's name.
    public mutating func replconf(
        session: UInt64, _ words: [String], isReplica: Bool, at now: Instant,
        into effects: inout [PrimaryEffect]
    ) -> ReplconfReply {
        guard words.count % 2 == 0 else { return .error("ERR syntax error") }
        for index in stride(from: 0, to: words.count, by: 2) {
            let value = words[index + 1]
            switch words[index].lowercased() {
            case "ack":
                guard let offset = Int64(value) else { return .silence }
                if words.count >= index + 4, words[index + 2].lowercased() == "fack",
                    let durable = Int64(words[index + 3]), let place = self.index(of: session)
                {
                    replicas[place].durable = max(replicas[place].durable, durable)
                }
                acknowledge(session: session, offset: offset, at: now, into: &effects)
                return .silence
            case "getack": return isReplica ? .acknowledge : .silence
            default:
                if let error = announce(session, words[index], value) { return .error(error) }
            }
        }
        return .ok
    }

    private mutating func announce(
        _ session: UInt64, _ option: String, _ value: String
    ) -> ReplyError? {
        var announcement = announcements[session] ?? ReplicaAnnouncement()
        if let index = index(of: session) { announcement = replicas[index].announcement }
        switch option.lowercased() {
        case "listening-port":
            guard let port = Int(value) else { return .notAnInteger }
            announcement.listeningPort = port
        case "ip-address":
            guard value.utf8.count < 256 else {
                return ReplyError(
                    "ERR REPLCONF ip-address provided by replica instance is too long: "
                        + "\(value.utf8.count) bytes")
            }
            announcement.ip = printable(value)
        case "capa":
            if value.lowercased() == "eof" { announcement.capabilities.insert(.endMark) }
            if value.lowercased() == "psync2" { announcement.capabilities.insert(.psync2) }
            if value.lowercased() == "embedded-stream" {
                announcement.capabilities.insert(.embeddedStream)
            }
        case "rdb-only":
            guard value == "0" || value == "1" else {
                return Int(value) == nil
                    ? .notAnInteger : "ERR value is out of range, must be between 0 and 1"
            }
            announcement.snapshotOnly = value == "1"
        case "rdb-filter-only":
            announcement.contents = []
            for word in value.split(whereSeparator: \.isWhitespace) {
                guard word.lowercased() == "functions" else {
                    return ReplyError(
                        "ERR Unsupported rdb-filter-only option: \(printable(String(word)))")
                }
                announcement.contents.insert(.functions)
            }
        default: return ReplyError("ERR Unrecognized REPLCONF option: \(printable(option))")
        }
        if let index = index(of: session) {
            replicas[index].announcement = announcement
        } else {
            announcements[session] = announcement
        }
        return nil
    }

    // MARK: Synchronisation

    /// How a session that asks for synchronisation is called in log lines.
    public func name(of session: UInt64, peerIP: String) -> String {
        ReplicaRecord.name(announcements[session] ?? ReplicaAnnouncement(), peerIP)
    }

    /// Why what this session announced cannot be served, if it cannot.
    public func refusal(of session: UInt64) -> ReplyError? {
        guard let announcement = announcements[session], announcement.contents != .everything,
            !announcement.capabilities.contains(.endMark)
        else { return nil }
        return "ERR Filtered replica requires EOF capability"
    }

    /// Why SYNC and PSYNC are refused right now, if they are. `linkUp`: a replica's link to its own
    /// primary streams.
    public static func refusal(
        isReplica: Bool, linkUp: Bool, failover: FailoverState, hasPendingOutput: Bool
    ) -> ReplyError? {
        if failover != .none { return "NOMASTERLINK Can't SYNC while failing over" }
        if isReplica, !linkUp {
            return "NOMASTERLINK Can't SYNC while not connected with my master"
        }
        if hasPendingOutput { return "ERR SYNC and PSYNC are invalid with pending output" }
        return nil
    }

    /// Why `PSYNC <id> <offset> FAILOVER` is refused; nil when we must take over at once.
    public static func failoverRefusal(
        id: String, isReplica: Bool, history: ReplicationHistory
    ) -> ReplyError? {
        guard isReplica else { return "ERR PSYNC FAILOVER can't be sent to a master." }
        guard history.id.matches(id) else {
            return "ERR PSYNC FAILOVER replid must match my replid."
        }
        return nil
    }

    /// A session asks for synchronisation: PSYNC with `id` and `offset`, or SYNC without. Creates
    /// the backlog when there is none; a primary then starts a new history, since what it wrote
    /// before was kept by nobody.
    public mutating func synchronize(
        session: UInt64,
        peerIP: String,
        id: String?,
        offset: Int64,
        isReplica: Bool,
        history: inout ReplicationHistory,
        prng: inout Prng,
        at now: Instant,
        into effects: inout [PrimaryEffect]
    ) {
        guard index(of: session) == nil else { return }
        let announcement = announcements[session] ?? ReplicaAnnouncement()
        announcements[session] = nil
        let name = ReplicaRecord.name(announcement, peerIP)
        log(.notice, "Replica \(name) asks for synchronization", into: &effects)
        var lines: [LogLine] = []
        let decision = PSync.decide(
            PSyncRequest(
                id: id, offset: offset, capabilities: announcement.capabilities, replicaName: name),
            history, log: &lines)
        effects += lines.map { .log($0) }
        var record = ReplicaRecord(
            session: session, peerIP: peerIP, announcement: announcement, lacksPSync: id == nil,
            state: .waiting, at: now)
        switch decision {
        case .partial(let from, _, let reply):
            partialSyncs += 1
            record.state = .online
            replicas.append(record)
            effects.append(.send(session: session, Array(reply.utf8)))
            effects.append(.startStream(session: session, from: from))
            effects.append(.replicaOnline(session: session))
        case .full(let reason):
            if reason != .requested { refusedPartialSyncs += 1 }
            fullSyncs += 1
            lastFullSyncReason = reason
            replicas.append(record)
            ensureBacklog(isReplica: isReplica, &history, &prng, into: &effects)
            queueSnapshot(for: record, at: now, into: &effects)
        }
        checkInvariants()
    }

    private func ensureBacklog(
        isReplica: Bool, _ history: inout ReplicationHistory, _ prng: inout Prng,
        into effects: inout [PrimaryEffect]
    ) {
        guard history.backlog == nil else { return }
        if !isReplica { history.startOver(as: .random(&prng)) }
        history.createBacklog(capacity: config.backlogSize)
        effects.append(.backlogCreated)
        log(
            .notice,
            "Replication backlog created, my new replication IDs are '\(history.id)' and "
                + "'\(history.secondID)'", into: &effects)
    }

    private mutating func queueSnapshot(
        for record: ReplicaRecord, at now: Instant, into effects: inout [PrimaryEffect]
    ) {
        if snapshotIsRunning {
            log(
                .notice,
                "Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC",
                into: &effects)
        } else if config.groupsSnapshots, config.snapshotDelay > .zero,
            record.announcement.capabilities.contains(.endMark)
        {
            log(.notice, "Delay next BGSAVE for diskless SYNC", into: &effects)
            startDueSnapshot(at: now, into: &effects)
        } else {
            startSnapshot(into: &effects)
        }
    }

    /// Starts the next group when its first member has waited long enough, or when it is full.
    private mutating func startDueSnapshot(at now: Instant, into effects: inout [PrimaryEffect]) {
        guard !snapshotIsRunning else { return }
        let waiting = replicas.filter { $0.state == .waiting }
        guard let first = waiting.first else { return }
        let isFull =
            config.snapshotMaxReplicas > 0 && waiting.count >= config.snapshotMaxReplicas
        let isDue = now - first.attachedAt >= config.snapshotDelay
        if !config.groupsSnapshots || isFull || isDue { startSnapshot(into: &effects) }
    }

    private mutating func startSnapshot(into effects: inout [PrimaryEffect]) {
        invariant(!snapshotIsRunning, "two snapshots at once")
        // One snapshot is for those that want the same of it; the others have their turn behind it.
        guard let contents = replicas.first(where: { $0.state == .waiting })?.announcement.contents
        else { return }
        let waiting = replicas.filter {
            $0.state == .waiting && $0.announcement.contents == contents
        }
        let endMark = waiting.allSatisfy { $0.announcement.capabilities.contains(.endMark) }
        // Whoever wants the snapshot alone wants no stream in it, whatever it can take.
        let embedsStream =
            endMark
            && waiting.allSatisfy {
                $0.announcement.capabilities.contains(.embeddedStream) && !$0.lacksPSync
                    && !$0.announcement.snapshotOnly && contents == .everything
            }
        log(
            .notice,
            "Starting BGSAVE for SYNC with target: \(endMark ? "replicas sockets" : "disk")",
            into: &effects)
        snapshotIsRunning = true
        snapshotSessions = waiting.map(\.session)
        effects.append(
            .startSnapshot(
                sessions: snapshotSessions, contents, endMark: endMark,
                embedsStream: embedsStream))
    }

    /// The snapshot that `startSnapshot` asked for starts now: it stands for the history's offset.
    /// With `endMark` (40 random characters) the frame's first line goes out as well; otherwise
    /// `snapshotSized` sends it once the size is known.
    public mutating func snapshotStarted(
        endMark: String?, history: ReplicationHistory, at now: Instant,
        into effects: inout [PrimaryEffect]
    ) {
        invariant(snapshotIsRunning, "a snapshot that nobody asked for")
        invariant((endMark?.utf8.count ?? 40) == 40, "an end mark has 40 bytes")
        for session in snapshotSessions {
            guard let index = index(of: session), replicas[index].state == .waiting else {
                continue
            }
            replicas[index].state = .receiving(endMark: endMark != nil)
            replicas[index].sentThrough = history.offset
            replicas[index].lastProgress = now
            var head = ""
            if !replicas[index].lacksPSync {
                head = "+FULLRESYNC \(history.id) \(history.offset)\r\n"
            }
            if let endMark { head += "$EOF:\(endMark)\r\n" }
            effects.append(.send(session: session, Array(head.utf8)))
        }
    }

    /// The snapshot of announced length is ready: its bytes follow.
    public mutating func snapshotSized(
        session: UInt64, bytes: Int64, at now: Instant, into effects: inout [PrimaryEffect]
    ) {
        guard let index = index(of: session) else { return }
        replicas[index].lastProgress = now
        effects.append(.send(session: session, Array("$\(bytes)\r\n".utf8)))
    }

    /// The running snapshot carries the stream up to `offset`.
    public mutating func embedded(through offset: Int64) {
        invariant(snapshotIsRunning, "a stream in a snapshot that nobody asked for")
        for session in snapshotSessions {
            guard let index = index(of: session) else { continue }
            invariant(offset >= replicas[index].sentThrough, "the stream went back")
            replicas[index].sentThrough = offset
        }
    }

    /// A replica's connection took bytes of the snapshot.
    public mutating func snapshotProgressed(session: UInt64, at now: Instant) {
        if let index = index(of: session) { replicas[index].lastProgress = now }
    }

    /// The whole snapshot (and the mark) is on its way to a replica. After a mark the stream waits
    /// for the replica's acknowledgement: older ones look for the mark at the end of what they
    /// read.
    public mutating func snapshotSent(
        session: UInt64, at now: Instant, into effects: inout [PrimaryEffect]
    ) {
        guard let index = index(of: session),
            case .receiving(let endMark) = replicas[index].state
        else { return }
        let name = replicas[index].name
        if replicas[index].announcement.snapshotOnly {
            log(
                .notice,
                "RDB transfer completed, rdb only replica (\(name)) should be disconnected asap",
                into: &effects)
            return drop(session, at: now, into: &effects)
        }
        let waitsForAck = endMark && !replicas[index].lacksPSync
        replicas[index].state = .online
        replicas[index].lastAck = now
        replicas[index].streamsOnAck = waitsForAck
        if waitsForAck {
            log(
                .notice,
                "Streamed replica with replica \(name) succeeded (socket). Waiting for REPLCONF "
                    + "ACK from slave to enable streaming", into: &effects)
        } else {
            effects.append(
                .startStream(session: session, from: replicas[index].sentThrough + 1))
        }
        log(.notice, "Synchronization with replica \(name) succeeded", into: &effects)
        effects.append(.replicaOnline(session: session))
        checkInvariants()
    }

    /// The snapshot ended, for better or worse: the next group may start.
    public mutating func snapshotFinished(
        succeeded: Bool, at now: Instant, into effects: inout [PrimaryEffect]
    ) {
        guard snapshotIsRunning else { return }
        if !succeeded {
            log(.warning, "SYNC failed. BGSAVE child returned an error", into: &effects)
            for session in snapshotSessions where replica(session)?.isOnline == false {
                drop(session, at: now, into: &effects)
            }
        }
        snapshotIsRunning = false
        snapshotSessions = []
        startDueSnapshot(at: now, into: &effects)
        checkInvariants()
    }

    // MARK: Acknowledgements

    private mutating func acknowledge(
        session: UInt64, offset: Int64, at now: Instant, into effects: inout [PrimaryEffect]
    ) {
        guard let index = index(of: session) else { return }
        replicas[index].acknowledged = max(replicas[index].acknowledged, offset)
        replicas[index].lastAck = now
        guard replicas[index].streamsOnAck, replicas[index].isOnline else { return }
        replicas[index].streamsOnAck = false
        effects.append(.startStream(session: session, from: replicas[index].sentThrough + 1))
    }

    /// A replica sent an empty line, as it does while it loads its snapshot: it is alive.
    public mutating func newlineReceived(session: UInt64, at now: Instant) {
        if let index = index(of: session) { replicas[index].lastAck = now }
    }

    /// Online replicas that acknowledged `offset`.
    public func acknowledgements(of offset: Int64) -> Int {
        replicas.count { $0.isOnline && $0.acknowledged >= offset }
    }

    /// Online replicas whose append-only file is safe up to `offset`.
    public func durableAcknowledgements(of offset: Int64) -> Int {
        replicas.count { $0.isOnline && $0.durable >= offset }
    }

    /// Online replicas that acknowledged something within min-replicas-max-lag.
    public func goodReplicas(at now: Instant) -> Int {
        let limit = config.minReplicasMaxLag.count / 1000
        return replicas.count { $0.isOnline && $0.lag(at: now) <= limit }
    }

    /// Whether writes are allowed as far as min-replicas-to-write goes.
    public func hasEnoughReplicas(at now: Instant) -> Bool {
        guard config.minReplicasToWrite > 0, config.minReplicasMaxLag > .zero else { return true }
        return goodReplicas(at: now) >= config.minReplicasToWrite
    }

    /// The oldest offset that a replica under full synchronisation will ask for: the backlog must
    /// reach back to it.
    public var oldestNeededOffset: Int64? {
        replicas.filter { record in
            switch record.state {
            case .receiving: true
            case .online: record.streamsOnAck
            case .waiting: false
            }
        }.map { $0.sentThrough + 1 }.min()
    }

    // MARK: Time and endings

    /// Call at least ten times a second. `isPaused`: a failover holds the writes, and a ping would
    /// move the offset that it waits for.
    public mutating func tick(
        isReplica: Bool,
        isPaused: Bool,
        history: inout ReplicationHistory,
        prng: inout Prng,
        at now: Instant,
        into effects: inout [PrimaryEffect]
    ) {
        if now - lastPing >= config.pingPeriod {
            lastPing = now
            if !replicas.isEmpty, !isReplica, !isPaused { effects.append(.feedPing) }
        }
        if now - lastNewline >= Milliseconds(1000) {
            lastNewline = now
            for record in replicas where record.state == .waiting {
                effects.append(.send(session: record.session, [UInt8(ascii: "\n")]))
            }
        }
        // After the newlines: whoever gets a snapshot now must hear nothing else before it.
        startDueSnapshot(at: now, into: &effects)
        dropSilentReplicas(at: now, into: &effects)
        if !isReplica { freeIdleBacklog(&history, &prng, at: now, into: &effects) }
        checkInvariants()
    }

    private mutating func dropSilentReplicas(
        at now: Instant, into effects: inout [PrimaryEffect]
    ) {
        for record in replicas {
            switch record.state {
            case .waiting: continue
            case .online:
                guard !record.lacksPSync, now - record.lastAck > config.timeout else { continue }
                log(
                    .warning,
                    "Disconnecting timedout replica (streaming sync): \(record.name)",
                    into: &effects)
            case .receiving:
                guard now - record.lastProgress > config.timeout else { continue }
                log(
                    .warning, "Disconnecting timedout replica (full sync): \(record.name)",
                    into: &effects)
            }
            drop(record.session, at: now, into: &effects)
        }
    }

    /// A backlog without readers is given up in the end. The history ends with it: from here on the
    /// offset would stand still while we write, and an equal offset must mean equal data.
    private func freeIdleBacklog(
        _ history: inout ReplicationHistory, _ prng: inout Prng, at now: Instant,
        into effects: inout [PrimaryEffect]
    ) {
        guard replicas.isEmpty, history.backlog != nil, config.backlogTTL > .zero,
            now - noReplicasSince > config.backlogTTL
        else { return }
        history.startOver(as: .random(&prng))
        history.freeBacklog()
        effects.append(.backlogFreed)
        log(
            .notice,
            "Replication backlog freed after \(config.backlogTTL.count / 1000) seconds without "
                + "connected replicas.", into: &effects)
    }

    /// A session ended; whether it was a replica.
    public mutating func disconnected(
        session: UInt64, at now: Instant, into effects: inout [PrimaryEffect]
    ) -> Bool {
        announcements[session] = nil
        guard let index = index(of: session) else { return false }
        log(
            .warning, "Connection with replica \(replicas[index].name) lost.", into: &effects)
        remove(at: index, now)
        return true
    }

    /// All replicas must reconnect: they have to learn that the history changed.
    public mutating func disconnectAll(at now: Instant, into effects: inout [PrimaryEffect]) {
        for record in replicas { drop(record.session, at: now, into: &effects) }
        invariant(replicas.isEmpty, "a replica stayed")
    }

    /// The node became a primary: the backlog's time without readers starts now.
    public mutating func becamePrimary(at now: Instant) { noReplicasSince = now }

    private mutating func drop(
        _ session: UInt64, at now: Instant, into effects: inout [PrimaryEffect]
    ) {
        guard let index = index(of: session) else { return }
        remove(at: index, now)
        effects.append(.close(session: session))
    }

    private mutating func remove(at index: Int, _ now: Instant) {
        let session = replicas.remove(at: index).session
        snapshotSessions.removeAll { $0 == session }
        if replicas.isEmpty { noReplicasSince = now }
    }

    private func index(of session: UInt64) -> Int? {
        replicas.firstIndex { $0.session == session }
    }

    private func log(
        _ level: LogLevel, _ text: String, into effects: inout [PrimaryEffect]
    ) {
        effects.append(.log(LogLine(level, text)))
    }

    public func checkInvariants() {
        invariant(snapshotIsRunning || snapshotSessions.isEmpty, "a snapshot without an end")
        for session in snapshotSessions {
            invariant(index(of: session) != nil, "a snapshot for a replica that left")
        }
        for record in replicas {
            invariant(!record.streamsOnAck || record.isOnline, "waits for an ACK too early")
        }
    }
}
