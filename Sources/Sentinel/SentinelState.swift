// A sentinel as a pure machine: which primaries it monitors, who is alive, who may lead a failover
// and how far it has come. It reads no clock, socket, file or random source: `step` takes one
// input and the time and adds to the effects. Messages, events, the configuration file and every
// rule that other sentinels rely on are those of the reference (7.0); where this one is quicker or
// more careful, the file in question says so.
import Base

public struct SentinelState: Sendable {
    public internal(set) var settings = SentinelSettings()
    public internal(set) var times = SentinelTimes()
    public private(set) var myID: String
    var random: Prng
    var now: Now

    // Instances.
    var records = SortedTable<InstanceID, InstanceRecord>()
    var primaries = SortedTable<InstanceID, MonitoredPrimary>()
    /// Monitored primaries by name.
    var byName = SortedTable<String, InstanceID>()
    var links = SortedTable<LinkNumber, InstanceLink>()
    var connections = SortedTable<ConnectionID, Connection>()
    /// Monitored clusters by name, and the connections to their nodes.
    var clusters = SortedTable<String, MonitoredCluster>()
    var peerConnections = SortedTable<ConnectionID, PeerKey>()
    /// Host names in lower case and their last good address.
    var names = SortedTable<String, String>()
    private var nextInstance = 1
    private var nextLink = 1
    var nextConnection: UInt64 = 1

    public internal(set) var currentEpoch: UInt64 = 0
    var tilt = Tilt()
    var scripts = ScriptQueue()
    public internal(set) var simulatedFailures: SimulatedFailures = []

    // Durability.
    public private(set) var version: UInt64 = 0
    public private(set) var syncedVersion: UInt64 = 0
    var isDirty = false
    /// Commands that wait for a version to be durable, in the order in which they were given.
    var held: [HeldCommand] = []

    /// Primaries whose state changed in this step and that are looked at again at its end.
    var urgent: [InstanceID] = []
    var output = SentinelEffects()

    /// A sentinel that monitors nobody. `myID` is nil for a new one.
    public init(myID: String? = nil, seed: UInt64, now: Now) {
        var random = Prng(seed: seed)
        self.now = now
        self.myID = myID ?? random.hex(40)
        self.random = random
        isDirty = myID == nil
        tilt.lastTick = now.instant
        invariant(self.myID.utf8.count == 40, "a sentinel's ID has forty characters")
    }

    var instant: Instant { now.instant }

    /// One input. Adds to `effects`; never removes from them.
    public mutating func step(
        _ input: SentinelInput, at now: Now, into effects: inout SentinelEffects
    ) {
        invariant(now.instant >= self.now.instant, "time must not go back")
        invariant(urgent.isEmpty, "a step must leave nothing urgent")
        self.now = now
        handle(input)
        settle()
        deliver(into: &effects)
    }

    private mutating func handle(_ input: SentinelInput) {
        switch input {
        case .tick: tick()
        case .opened(let connection, let local):
            if let peer = peerConnections[connection] { return peerOpened(peer, local) }
            opened(connection, local)
        case .closed(let connection, let end):
            if let peer = peerConnections[connection] {
                return peerClosed(connection, peer, end)
            }
            closed(connection)
        case .received(let connection, let bytes):
            if let peer = peerConnections[connection] {
                return peerReceived(connection, peer, bytes)
            }
            received(connection, bytes)
        case .stateSynced(let version): synced(version)
        case .resolved(let name, let ip): resolved(name, to: ip)
        case .command(let command): output.reply = run(command)
        case .scriptStarted(let job, let process): scriptStarted(job, process)
        case .scriptFailed(let job): scriptFailed(job)
        case .scriptEnded(let process, let code, let signal):
            scriptEnded(process, code, signal)
        }
    }

    private mutating func tick() {
        noteTilt()
        endTiltIfDue()
        tickClusters()
        for primary in primaries.keys {
            monitor(primary)
            for id in self[primary: primary].replicas + self[primary: primary].sentinels {
                monitor(id)
            }
            urgent.append(primary)
        }
        runScripts()
    }

    /// What one instance needs at each tick.
    private mutating func monitor(_ id: InstanceID) {
        guard exists(id) else { return }
        reconnect(id)
        sendPeriodicCommands(id)
        if !tilt.isOn { checkSubjectivelyDown(id) }
    }

    /// The end of a step: decisions first, then the state, then what may leave with it.
    private mutating func settle() {
        var rounds = 0
        while let primary = urgent.popLast() {
            rounds += 1
            invariant(rounds < 100_000, "a step must come to an end")
            if exists(primary) { act(primary) }
        }
        if isDirty {
            isDirty = false
            version += 1
            output.state = SentinelPersistRequest(version: version, lines: configurationLines)
        }
        releaseHeld()
    }

    private mutating func deliver(into effects: inout SentinelEffects) {
        if let state = output.state { effects.state = state }
        effects.connect += output.connect
        effects.send += output.send
        effects.close += output.close
        effects.resolve += output.resolve
        effects.events += output.events
        effects.log += output.log
        effects.startScripts += output.startScripts
        effects.killScripts += output.killScripts
        if let exit = output.exit { effects.exit = exit }
        if let reply = output.reply { effects.reply = reply }
        output.removeAll()
    }

    private mutating func synced(_ version: UInt64) {
        invariant(version <= self.version, "only a version that was asked for can be synced")
        syncedVersion = max(syncedVersion, version)
        votersSynced()
    }

    /// The state changed in a way that must reach the disk before others hear of it.
    mutating func save() { isDirty = true }

    /// How long the driver may sleep: short while milliseconds decide about a failover.
    public var tickPeriod: Milliseconds {
        let pulses = clusters.values.map { pulsePeriod($0) / 2 }.min()
        return min(monitoringPeriod, max(pulses ?? Milliseconds(100), Milliseconds(5)))
    }

    private var monitoringPeriod: Milliseconds {
        for primary in primaries.values {
            if primary.step != .none || self[primary.id].isDown { return Milliseconds(20) }
            let link = self[link: self[primary.id].link]
            if let ping = link.pendingPing, instant - ping > primary.downAfter / 2 {
                return Milliseconds(20)
            }
        }
        return Milliseconds(100)
    }

    // MARK: Tables

    subscript(_ id: InstanceID) -> InstanceRecord {
        get {
            guard let record = records[id] else { unreachable("an instance that is not there") }
            return record
        }
        set { records[id] = newValue }
    }

    subscript(primary id: InstanceID) -> MonitoredPrimary {
        get {
            guard let primary = primaries[id] else { unreachable("a primary that is not there") }
            return primary
        }
        set { primaries[id] = newValue }
    }

    subscript(link number: LinkNumber) -> InstanceLink {
        get {
            guard let link = links[number] else { unreachable("a link that is not there") }
            return link
        }
        set { links[number] = newValue }
    }

    func exists(_ id: InstanceID) -> Bool { records.contains(id) }

    /// The primary that an instance belongs to.
    func owner(of id: InstanceID) -> MonitoredPrimary { self[primary: self[id].owner] }

    // MARK: Instances

    mutating func createPrimary(
        _ name: String, _ host: String, _ port: Int, quorum: Int
    ) throws(CreateFailure) -> InstanceID {
        let address = try address(host, port)
        if byName.contains(name) { throw .duplicate }
        let id = newID()
        add(.primary, id, owner: id, name: name, address)
        primaries[id] = MonitoredPrimary(
            id: id, name: name, quorum: quorum, times: times, now: instant)
        byName[name] = id
        return id
    }

    mutating func createReplica(
        of primary: InstanceID, _ host: String, _ port: Int
    ) throws(CreateFailure) -> InstanceID {
        let address = try address(host, port)
        let name = Self.text(address.announced(hostnames: settings.announceHostnames), port)
        let isKnown = self[primary: primary].replicas.contains { self[$0].name == name }
        if isKnown { throw .duplicate }
        let id = newID()
        add(.replica, id, owner: primary, name: name, address)
        self[primary: primary].replicas.append(id)
        return id
    }

    mutating func createSentinel(
        of primary: InstanceID, _ runID: String, _ host: String, _ port: Int
    ) throws(CreateFailure) -> InstanceID {
        let address = try address(host, port)
        let isKnown = self[primary: primary].sentinels.contains { self[$0].name == runID }
        if isKnown { throw .duplicate }
        let id = newID()
        add(.sentinel, id, owner: primary, name: runID, address)
        self[id].runID = runID
        self[primary: primary].sentinels.append(id)
        shareLink(id)
        return id
    }

    private mutating func newID() -> InstanceID {
        defer { nextInstance += 1 }
        return InstanceID(nextInstance)
    }

    private mutating func add(
        _ kind: InstanceKind, _ id: InstanceID, owner: InstanceID, name: String,
        _ address: SentinelAddress
    ) {
        let link = LinkNumber(raw: nextLink)
        nextLink += 1
        links[link] = InstanceLink(user: id, now: instant)
        records[id] = InstanceRecord(
            id: id, kind: kind, owner: owner, name: name, address: address, link: link,
            now: instant)
    }

    /// A sentinel that is known under another primary is reached by the link that is there.
    private mutating func shareLink(_ id: InstanceID) {
        let record = self[id]
        for other in records.values
        where other.kind == .sentinel && other.owner != record.owner
            && other.runID == record.runID && other.id != id
        {
            dropLink(of: id)
            self[id].link = other.link
            self[link: other.link].users.append(id)
            return
        }
    }

    /// Ends the part of an instance in its link; the last user closes the connections.
    private mutating func dropLink(of id: InstanceID) {
        let number = self[id].link
        self[link: number].users.removeAll { $0 == id }
        if self[link: number].users.isEmpty {
            closeConnections(number)
            links[number] = nil
        }
    }

    /// Removes a replica or a sentinel.
    mutating func removeMember(_ id: InstanceID) {
        let record = self[id]
        invariant(record.kind != .primary, "a primary is removed with everything that it has")
        dropLink(of: id)
        primaries.update(record.owner) { primary in
            primary.replicas.removeAll { $0 == id }
            primary.sentinels.removeAll { $0 == id }
            if primary.promoted == id { primary.promoted = nil }
        }
        records[id] = nil
    }

    mutating func removePrimary(_ id: InstanceID) {
        for member in self[primary: id].replicas + self[primary: id].sentinels {
            removeMember(member)
        }
        dropLink(of: id)
        byName[self[primary: id].name] = nil
        primaries[id] = nil
        records[id] = nil
        invariant(!records.contains { $1.owner == id }, "nobody belongs to a removed primary")
    }

    /// Forgets what was found out about a primary: replicas, sentinels if asked, flags, timers. A
    /// failover in progress is undone.
    mutating func reset(_ id: InstanceID, keepingSentinels: Bool) {
        for replica in self[primary: id].replicas { removeMember(replica) }
        if !keepingSentinels {
            for sentinel in self[primary: id].sentinels { removeMember(sentinel) }
        }
        closeConnections(self[id].link)
        self[link: self[id].link].resetHealth(at: instant)
        self[primary: id].leader = nil
        self[primary: id].step = .none
        self[primary: id].stepSince = instant
        self[primary: id].attemptStarted = nil
        self[primary: id].startAt = nil
        self[primary: id].splitVotes = 0
        self[primary: id].promoted = nil
        self[id].flags = []
        self[id].runID = nil
        self[id].primaryHost = nil
        self[id].reportedRole = .primary
        self[id].roleReportedAt = instant
    }

    /// The primary moved: its replicas are kept, the old address becomes one of them.
    mutating func reset(_ id: InstanceID, movingTo address: SentinelAddress) {
        let old = self[id].address
        var kept = self[primary: id].replicas.map { self[$0].address }
            .filter { !$0.isSame(as: address) }
        if !old.isSame(as: address) { kept.append(old) }
        reset(id, keepingSentinels: true)
        self[id].address = address
        self[id].downSince = nil
        self[id].objectivelyDownSince = nil
        for replica in kept {
            guard let new = try? createReplica(of: id, replica.hostname, replica.port) else {
                continue
            }
            self[new].isFormerPrimary = replica.isSame(as: old)
            event(.notice, "+slave", new)
        }
        save()
    }

    /// Where the primary is: the promoted replica as soon as that is known to have taken over.
    func currentAddress(_ primary: InstanceID) -> SentinelAddress {
        let monitored = self[primary: primary]
        if self[primary].flags.contains(.failoverInProgress), let promoted = monitored.promoted,
            monitored.step >= .reconfigureReplicas
        {
            return self[promoted].address
        }
        return self[primary].address
    }

    // MARK: Events

    static func text(_ host: String, _ port: Int) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    func announced(_ address: SentinelAddress) -> String {
        address.announced(hostnames: settings.announceHostnames)
    }

    /// `<type> <name> <ip> <port>`, and for members ` @ <primary> <ip> <port>`.
    func describe(_ id: InstanceID) -> String {
        let record = self[id]
        let text =
            "\(record.kind.word) \(record.name) \(announced(record.address)) "
            + "\(record.address.port)"
        if record.kind == .primary { return text }
        let primary = self[record.owner]
        return text
            + " @ \(primary.name) \(announced(primary.address)) \(primary.address.port)"
    }

    /// An event about an instance, which the message begins with.
    mutating func event(
        _ level: LogLevel, _ type: String, _ id: InstanceID, _ rest: String = ""
    ) {
        plainEvent(level, type, about: id, describe(id) + rest)
    }

    /// An event with a message of its own. Warnings about an instance run its script.
    mutating func plainEvent(
        _ level: LogLevel, _ type: String, about id: InstanceID? = nil, _ message: String
    ) {
        output.events.append(SentinelEvent(level: level, type: type, message: message))
        guard level == .warning, let id, exists(id),
            let script = owner(of: id).notificationScript
        else { return }
        schedule([script, type, message])
    }

    mutating func note(_ level: LogLevel, _ text: String) {
        output.log.append(LogLine(level, text))
    }
}
