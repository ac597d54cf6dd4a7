// One node: the composition of key space, engine, replication and cluster machine, without I/O.
// It lives in unsafe memory behind a `NodePointer`. The shell calls its inputs while it handles
// events, and `beforeSleep` once per loop iteration; requests that inputs queue leave only there.
//
// `Node+Clients` has sessions, `Node+Links` peer connections, `Node+Replication` both sides of
// replication, `Node+Snapshot` and `Node+Load` what writes and reads RDB, `Node+Cluster` the
// cluster machine's effects, `Cron` what time alone causes, `BeforeSleep` the order of it all.
import Base
import Commands
import Engine
import Gossip
import HashSlots
import Replication
import Scripting
import Storage

public typealias NodePointer = UnsafeMutablePointer<Node>

/// A start that cannot go on: what is wrong, naming the file.
public struct BootError: Error {
    public var text: String
    public init(_ text: String) { self.text = text }
}

/// What waits for the end of the iteration, in order within each list.
struct NodeRequests {
    enum Link {
        case connect(LinkID, LinkKind, host: String, port: Int)
        case send(LinkID, [UInt8])
        case close(LinkID)
    }
    var links: [Link] = []
    var files: [FileRequest] = []
    var process: [ProcessRequest] = []
    var log: [LogLine] = []
}

/// What a finished file request means.
enum FileTicket {
    /// nodes.conf of this version; synced if `synced`.
    case clusterState(version: UInt64, synced: Bool)
    case snapshot(file: UInt64)
    /// So many bytes of the snapshot's file are written.
    case snapshotProgress(file: UInt64, bytes: Int)
    case lostWrites(commands: Int, bytes: Int, name: String)
    case configRewrite(session: UInt64)
    case accessFile(session: UInt64)
    case log(LogTicket)
}

public struct Node: ~Copyable {
    public let executor: ExecutorPointer

    // Replication.
    public internal(set) var history: ReplicationHistory
    public internal(set) var primary: PrimaryState
    public internal(set) var upstream: ReplicaHandshake
    public internal(set) var failover = FailoverCoordinator()
    var waiters = WaitTracker()
    /// A replica acknowledged something that `min-replicas-ack` may wait for.
    var acksChanged = false
    var acksTimedOut = 0
    /// Our primary asked how far we are.
    var owesAck = false
    /// The sessions that asked for synchronisation, whatever their state.
    var replicaSessions = PointerList()
    /// Where the stream ended when the backlog was last trimmed.
    var trimmedAt: Int64 = 0
    /// Bytes that this iteration added to the stream.
    var streamGrowth = 0
    var streamEndBefore: Int64 = 0
    var upstreamLink: LinkID?
    var upstreamSession: UnsafeMutablePointer<Session>?
    /// The database that the stream of our primary has selected.
    var upstreamDatabase: Int32 = 0
    /// A demoted primary's own writes that no successor has confirmed yet.
    var demotion: Demotion?
    /// The highest offset that any replica of ours ever acknowledged.
    var lastConfirmed: Int64 = 0

    // Cluster.
    public internal(set) var cluster: ClusterState? {
        didSet { clusterTimes = ClusterTimes(cluster) }
    }
    var clusterTimes = ClusterTimes(nil)
    var heldMessages: [HeldOutgoing] = []
    /// The stream inside of full copies, on either side.
    var embedded = EmbeddedStream()
    /// Client replies that wait for nodes.conf.
    var promise = ClusterPromise()
    var clusterFacts = LocalFacts()
    var clusterHistory = ClusterHistory()
    /// CLUSTER FAILOVER, the hand-over of a shutdown: writes wait until then.
    var clusterPauseUntil: Instant?
    var refusesReplicas = false

    // Snapshots and loading.
    var log = AppendLog()
    var snapshot = SnapshotJob()
    var defrag = DefragJob()
    var loader = Loader()
    public internal(set) var persistence = PersistenceState()

    // Links and requests.
    var requests = NodeRequests()
    var linkKinds = SortedTable<LinkID, LinkKind>()
    var nextOwnLink: UInt64 = 1
    var tickets: [UInt64: FileTicket] = [:]
    var nextTicket: UInt64 = 1
    var migrations = MigrationTable()

    // Life.
    public internal(set) var started: Now
    public var cron = CronState()
    var shutdown: ShutdownState?
    var shutdownDeadline: Instant = .start
    public let runID: String
    /// Where the shell found the configuration, for CONFIG REWRITE; empty when there is none.
    public var configPath = ""
    public var configText: [UInt8] = []
    /// What the shell runs beside the node: a sentinel's driver.
    public var companion: UnsafeMutableRawPointer?
    /// What CONFIG, INFO and DEBUG keep.
    public var admin = AdminState()

    init(executor: ExecutorPointer, settings: Settings, now: Now) {
        self.executor = executor
        history = ReplicationHistory(id: .random(&executor.pointee.prng))
        primary = PrimaryState(Node.primaryConfig(settings), at: now.instant)
        upstream = ReplicaHandshake(Node.linkConfig(settings))
        started = now
        runID = executor.pointee.prng.hex(40)
    }
}

extension NodePointer {
    /// A node of these settings, with nothing loaded and nobody connected. With `only`, of the
    /// core's commands it knows those that it accepts.
    public static func make(
        settings: Settings, now: Now, seed: UInt64, sipKey: SipKey,
        extensions: [Extension] = [], only accepts: (@Sendable (String) -> Bool)? = nil
    ) -> NodePointer {
        var registry = Registry()
        registry.accepts = accepts
        for family in CoreCommands.extensions + [.scripting] + nodeExtensions {
            family.register(&registry)
        }
        registry.accepts = nil
        for family in extensions { family.register(&registry) }
        let commands = UnsafeMutablePointer<CommandTable>.allocate(capacity: 1)
        commands.initialize(to: registry.finish())
        let keyspace = Keyspace(
            databases: settings.databases, slotted: settings.clusterEnabled, sipKey: sipKey,
            seed: seed)
        let executor = ExecutorPointer.allocate(capacity: 1)
        executor.initialize(
            to: Executor(keyspace: keyspace, commands: commands, now: now, seed: seed))
        executor.pointee.settings = settings
        executor.setRequiredPassword(settings.requirePassword)
        ScriptEnginePointer.install(on: executor)
        let node = NodePointer.allocate(capacity: 1)
        node.initialize(to: Node(executor: executor, settings: settings, now: now))
        executor.pointee.host = UnsafeMutableRawPointer(node)
        executor.pointee.makeRoom = { makeRoomForWrites($0.assumingMemoryBound(to: Executor.self)) }
        executor.pointee.dataFlushed = {
            guard let host = $0.assumingMemoryBound(to: Executor.self).pointee.host else { return }
            host.assumingMemoryBound(to: Node.self).dataFlushed()
        }
        executor.pointee.evictClients = {
            evictClientsOverLimit($0.assumingMemoryBound(to: Executor.self))
        }
        if settings.clusterEnabled {
            let routing = UnsafeMutablePointer<RoutingTable>.allocate(capacity: 1)
            routing.initialize(to: RoutingTable())
            executor.pointee.routing = routing
            executor.pointee.publishToCluster = { executor, publication in
                let executor = executor.assumingMemoryBound(to: Executor.self)
                guard let host = executor.pointee.host else { return }
                host.assumingMemoryBound(to: Node.self).publishOnBus(
                    publication.assumingMemoryBound(to: Publication.self).pointee)
            }
        }
        node.settingsChanged()
        return node
    }

    /// The node of a running call.
    public static func of(_ call: Call) -> NodePointer {
        guard let host = call.executor.pointee.host else { unreachable("no node runs this call") }
        return host.assumingMemoryBound(to: Node.self)
    }

    /// Frees everything. The shell must have closed all sockets.
    public func destroy() {
        let executor = pointee.executor
        while executor.pointee.sessions.count > 0 {
            executor.freeSession(executor.pointee.sessions[0])
        }
        if let routing = executor.pointee.routing {
            routing.deinitialize(count: 1)
            routing.deallocate()
        }
        let commands = executor.pointee.commands
        ScriptEnginePointer.remove(from: executor)
        pointee.loader.abandon()
        executor.pointee.keyspace.destroy()
        deinitialize(count: 1)
        deallocate()
        executor.deinitialize(count: 1)
        executor.deallocate()
        commands.deinitialize(count: 1)
        commands.deallocate()
    }

    public var executor: ExecutorPointer { pointee.executor }
    /// Its scripts.
    var scripts: ScriptEnginePointer {
        guard let scripts = ScriptEnginePointer.installed(on: executor) else {
            unreachable("every node has scripts")
        }
        return scripts
    }
    public var now: Now { pointee.executor.pointee.now }
    public var instant: Instant { pointee.executor.pointee.now.instant }
    public var settings: Settings { pointee.executor.pointee.settings }

    /// Both clocks; once per loop iteration, before any input.
    public func setNow(_ now: Now) {
        invariant(now.instant >= self.now.instant, "time must not go back")
        executor.pointee.now = now
        executor.pointee.keyspace.advanceClock(milliseconds: now.wall.milliseconds)
        // A process that stood still may have been replaced meanwhile: it asks before it serves.
        if let lease = pointee.clusterTimes.lease, now.instant >= lease {
            stepCluster(.tick)
        }
    }

    public func log(_ level: LogLevel, _ text: String) {
        guard level >= executor.pointee.settings.logLevel else { return }
        pointee.requests.log.append(LogLine(level, text))
    }

    /// A number by which `fileDone` finds what a request was for.
    func ticket(_ meaning: FileTicket) -> UInt64 {
        let number = pointee.nextTicket
        pointee.nextTicket += 1
        pointee.tickets[number] = meaning
        return number
    }

    /// A process-level request of a command or of the cron.
    public func request(_ request: ProcessRequest) { pointee.requests.process.append(request) }

    /// Replaces the configuration file; `session` is answered when that is done.
    public func rewriteConfig(_ contents: [UInt8], session: UInt64) {
        request(
            .rewriteConfig(
                path: pointee.configPath, contents: contents,
                ticket: ticket(.configRewrite(session: session))))
    }

    /// Writes the users into their file; `session` is answered when that is done.
    func saveUsers(session: UInt64) {
        var contents: [UInt8] = []
        for line in executor.pointee.access.pointee.lines { contents += line + [10] }
        request(
            .rewriteConfig(
                path: settings.accessFile, contents: contents,
                ticket: ticket(.accessFile(session: session))))
    }

    /// The lines of users for the configuration file: none when they have a file of their own.
    public var userLines: [String] {
        settings.accessFile.isEmpty ? executor.pointee.access.pointee.configurationLines : []
    }

    /// True when this node follows a primary.
    public var isReplica: Bool { executor.pointee.alerts.contains(.isReplica) }

    /// The letter of the role in a log line: `M` or `S`.
    public var roleMark: UInt8 { isReplica ? UInt8(ascii: "S") : UInt8(ascii: "M") }

    // MARK: Start

    /// After loading: begins to follow, to talk to the cluster, to serve.
    public func start() {
        pointee.started = now
        pointee.persistence.lastSaveAt = now.wall
        pointee.cron.begin(at: instant)
        if pointee.cluster != nil {
            // A log without a key says that there is none; nothing on the disk says nothing.
            pointee.clusterFacts.startedEmpty =
                executor.pointee.keyspace.count(database: 0) == 0 && !pointee.log.wasLoaded
            pointee.clusterFacts.startOffset = pointee.history.offset
            refreshClusterFacts(force: true)
            stepCluster(.dataLoaded(slotsWithKeys: slotsWithKeys()))
        } else if let primary = settings.replicaOf {
            follow(PrimaryAddress(host: primary.host, port: primary.port), keepingHistory: true)
        }
    }

    private func slotsWithKeys() -> SlotSet {
        var set = SlotSet()
        for index in 0..<Slot.count {
            let slot = Slot(hash: UInt16(index))
            if executor.pointee.keyspace.count(inSlot: slot) > 0 { set.insert(slot) }
        }
        return set
    }

    /// The settings changed: hand them to the machines and derive what dispatch looks at.
    public func settingsChanged() {
        let settings = self.settings
        pointee.primary.config = Node.primaryConfig(settings)
        pointee.upstream.config = Node.linkConfig(settings)
        pointee.history.resizeBacklog(Int64(settings.backlogSize))
        configureAccess(executor.pointee.keyspace)
        executor.applyEventSettings()
        executor.applyObservationSettings()
        executor.pointee.access.pointee.channelsByDefault =
            settings.channelsByDefault == "allchannels"
        refreshOutputLimits()
        executor.applyAckSettings()
        logSettingsChanged()
        if pointee.cluster != nil { stepCluster(.configChanged(Node.gossipConfig(settings))) }
        updateAlerts()
        if watchesClientMemory { executor.noteAllMemory() }
    }

    func configureAccess(_ keyspace: Keyspace) {
        let settings = self.settings
        keyspace.configureAccess(
            usesFrequency: settings.evictionPolicy.usesFrequency,
            logFactor: settings.lfuLogFactor, decayMinutes: settings.lfuDecayTime)
    }

    /// Everything that dispatch must look at closer, from the state of the machines.
    public func updateAlerts() {
        var alerts = executor.pointee.alerts.intersection([.isReplica, .busy])
        let settings = self.settings
        if pointee.loader.isBlocking || pointee.log.isStarting { alerts.insert(.loading) }
        if alerts.contains(.isReplica) {
            if settings.replicaReadOnly { alerts.insert(.readOnly) }
            if !settings.replicaServeStaleData, pointee.upstream.phase != .streaming {
                alerts.insert(.stale)
            }
        } else {
            if !pointee.primary.hasEnoughReplicas(at: instant) { alerts.insert(.tooFewReplicas) }
            if settings.stopWritesOnSaveError, !settings.savePoints.isEmpty,
                pointee.persistence.lastSaveFailed
            {
                alerts.insert(.saveFailed)
            }
            if pointee.log.failure != nil { alerts.insert(.logFailed) }
        }
        let exempt = alerts.contains(.isReplica) && settings.replicaIgnoreMaxMemory
        if settings.maxMemory > 0, !exempt { alerts.insert(.memoryLimited) }
        if executor.clientMemoryLimit != nil { alerts.insert(.clientsLimited) }
        switch executor.pointee.pauseMode {
        case .none: break
        case .writes: alerts.insert(.pausedWrites)
        case .all: alerts.formUnion([.pausedWrites, .pausedAll])
        }
        if executor.pointee.internalPause { alerts.insert(.pausedWrites) }
        if !executor.pointee.inFlight.isEmpty { alerts.insert(.migrating) }
        executor.pointee.alerts = alerts
    }
}
