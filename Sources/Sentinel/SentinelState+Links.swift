// Connections to instances: opened and opened again, what is asked of whom and when, and which
// answer belongs to which question. Periods are the reference's; three things differ:
//
// * INFO is not asked again while an answer is awaited, and is asked ten times a second of the
//   replicas that a failover waits for.
// * A sentinel's connection begins with SENTINEL MYID: a process that is not the one whose address
//   it was is noticed (see HelloMessage.swift).
// * Commands that rest on a state that is not on disk yet wait here until it is.
import Base

/// What an answer is for.
enum Purpose: Sendable, Equatable {
    case discard
    case subscribe
    case ping
    case info
    case publish
    case askDown
    case identity
    /// The address and the state of a primary as another sentinel sees it.
    case claimedAddress
    case claimedState
}

struct AwaitedReply: Sendable {
    var instance: InstanceID
    var purpose: Purpose
}

struct Connection: Sendable {
    let link: LinkNumber
    let isSubscription: Bool
    var stream = ReplyStream()
    var awaited: [AwaitedReply] = []
    /// This end's address, once open.
    var localAddress = ""
}

/// Commands that leave together when the state that they rest on is durable.
struct HeldCommand: Sendable {
    var instance: InstanceID
    var connection: ConnectionID
    var purpose: Purpose
    var commands: [[String]]
    var version: UInt64
}

extension SentinelState {
    static var helloChannel: String { "__sentinel__:hello" }
    private static var maximumPending: Int { 100 }

    // MARK: Connecting

    mutating func reconnect(_ id: InstanceID) {
        let record = self[id]
        let number = record.link
        guard self[link: number].isDisconnected, record.address.port != 0 else { return }
        if let last = self[link: number].lastReconnect, instant - last < times.pingPeriod {
            return
        }
        self[link: number].lastReconnect = instant
        if settings.resolveHostnames, record.address.isName {
            askForName(record.address.hostname)
        }
        // Never resolved: a down instance, until a name server says otherwise.
        guard !record.address.ip.isEmpty else { return }
        if self[link: number].command == nil { connectCommands(id) }
        let needsSubscription = record.kind != .sentinel
        if needsSubscription, self[link: number].subscription == nil { connectSubscription(id) }
        self[link: number].isDisconnected = false
    }

    private mutating func connect(_ id: InstanceID, isSubscription: Bool) -> ConnectionID {
        let record = self[id]
        let connection = ConnectionID(raw: nextConnection)
        nextConnection += 1
        connections[connection] = Connection(link: record.link, isSubscription: isSubscription)
        output.connect.append(
            SentinelConnect(
                connection: connection, host: record.address.ip, port: record.address.port))
        return connection
    }

    private mutating func connectCommands(_ id: InstanceID) {
        let connection = connect(id, isSubscription: false)
        let number = self[id].link
        self[link: number].command = connection
        self[link: number].commandSince = instant
        self[link: number].isVerified = false
        authenticate(id, connection)
        introduce(id, connection, "cmd")
        sendPing(id)
        if self[id].kind == .sentinel {
            ask(id, .identity, [name(of: "SENTINEL", for: id), "MYID"])
        }
    }

    private mutating func connectSubscription(_ id: InstanceID) {
        let connection = connect(id, isSubscription: true)
        let number = self[id].link
        self[link: number].subscription = connection
        self[link: number].subscriptionSince = instant
        self[link: number].subscriptionActivity = nil
        authenticate(id, connection)
        introduce(id, connection, "pubsub")
        transmit(
            id, connection, .subscribe, [name(of: "SUBSCRIBE", for: id), Self.helloChannel])
    }

    private mutating func authenticate(_ id: InstanceID, _ connection: ConnectionID) {
        let primary = owner(of: id)
        var user = primary.authUser
        var password = primary.authPassword
        if self[id].kind == .sentinel {
            user = settings.sentinelUser.isEmpty ? nil : settings.sentinelUser
            password = settings.sentinelPassword.isEmpty ? nil : settings.sentinelPassword
            if password == nil {
                // Sentinels that need a password are taken to share it.
                user = nil
                password = settings.requirePassword.isEmpty ? nil : settings.requirePassword
            }
        }
        guard let password else { return }
        let words = [name(of: "AUTH", for: id)] + (user.map { [$0] } ?? []) + [password]
        transmit(id, connection, .discard, words)
    }

    private mutating func introduce(
        _ id: InstanceID, _ connection: ConnectionID, _ purpose: String
    ) {
        let client = "sentinel-\(myID.prefix(8))-\(purpose)"
        transmit(
            id, connection, .discard, [name(of: "CLIENT", for: id), "SETNAME", client])
    }

    /// The name under which an instance knows a command.
    func name(of command: String, for id: InstanceID) -> String {
        owner(of: id).renamedCommands[command.lowercased()]?.to ?? command
    }

    // MARK: Asking

    private mutating func transmit(
        _ id: InstanceID, _ connection: ConnectionID, _ purpose: Purpose, _ words: [String]
    ) {
        connections.update(connection) { open in
            open.awaited.append(AwaitedReply(instance: id, purpose: purpose))
        }
        output.send.append(
            SentinelSend(connection: connection, bytes: Request.encode(words)))
    }

    /// Sends a command at once. False when there is no connection.
    @discardableResult
    mutating func ask(_ id: InstanceID, _ purpose: Purpose, _ words: [String]) -> Bool {
        guard let connection = self[link: self[id].link].command else { return false }
        transmit(id, connection, purpose, words)
        return true
    }

    /// Sends commands as soon as everything that was decided until now is on disk.
    @discardableResult
    mutating func askDurably(
        _ id: InstanceID, _ purpose: Purpose, _ commands: [[String]]
    ) -> Bool {
        guard let connection = self[link: self[id].link].command else { return false }
        // One that still waits is out of date: what it asks or says is said again now.
        if purpose != .discard {
            held.removeAll { $0.instance == id && $0.purpose == purpose }
        }
        let needed = isDirty ? version + 1 : version
        held.append(
            HeldCommand(
                instance: id, connection: connection, purpose: purpose, commands: commands,
                version: needed))
        return true
    }

    mutating func releaseHeld() {
        guard !held.isEmpty else { return }
        let ready = held.filter { $0.version <= syncedVersion }
        held.removeAll { $0.version <= syncedVersion }
        for item in ready
        where exists(item.instance) && connections.contains(item.connection) {
            for words in item.commands {
                transmit(item.instance, item.connection, item.purpose, words)
            }
        }
    }

    mutating func sendPing(_ id: InstanceID) {
        guard ask(id, .ping, [name(of: "PING", for: id)]) else { return }
        let number = self[id].link
        self[link: number].lastPing = instant
        if self[link: number].pendingPing == nil { self[link: number].pendingPing = instant }
    }

    mutating func askInfo(_ id: InstanceID) {
        if ask(id, .info, [name(of: "INFO", for: id)]) { self[id].infoAsked = instant }
    }

    func pendingCommands(_ id: InstanceID) -> Int {
        guard let connection = self[link: self[id].link].command else { return 0 }
        return connections[connection]?.awaited.count ?? 0
    }

    mutating func sendPeriodicCommands(_ id: InstanceID) {
        let link = self[link: self[id].link]
        guard !link.isDisconnected,
            pendingCommands(id) < Self.maximumPending * link.users.count
        else { return }
        if self[id].kind != .sentinel, isInfoDue(id) { askInfo(id) }
        let period = min(owner(of: id).downAfter, times.pingPeriod)
        let lastPing = link.lastPing ?? .start
        if instant - link.lastPong > period, instant - lastPing > period / 2 { sendPing(id) }
        if instant - self[id].lastPublished > times.publishPeriod { sendHello(id) }
    }

    private func isInfoDue(_ id: InstanceID) -> Bool {
        let record = self[id]
        let primary = self[record.owner]
        var period = times.infoPeriod
        if record.kind == .replica {
            // Whoever is to be chosen must have answered since its primary went down.
            let isTroubled = !primary.flags.isDisjoint(
                with: [.subjectivelyDown, .objectivelyDown, .failoverInProgress])
            let isAstray = record.reportedRole == .primary
            if isTroubled || isAstray || record.primaryLinkDownTime != .zero {
                period = Milliseconds(1000)
            }
            let isAwaited: InstanceFlags = [
                .promoted, .reconfigurationSent, .reconfigurationRuns,
            ]
            if primary.flags.contains(.failoverInProgress),
                !record.flags.isDisjoint(with: isAwaited)
            {
                period = Milliseconds(100)
            }
        }
        if let received = record.infoReceived, instant - received <= period { return false }
        guard let asked = record.infoAsked else { return true }
        let isAwaited = asked > (record.infoReceived ?? .start)
        return !isAwaited || instant - asked > Milliseconds(1000)
    }

    // MARK: Connections end

    /// Closes both connections of a link.
    mutating func closeConnections(_ number: LinkNumber) {
        closeCommands(number)
        closeSubscription(number)
    }

    mutating func closeCommands(_ number: LinkNumber) {
        guard let connection = self[link: number].command else { return }
        self[link: number].command = nil
        self[link: number].isVerified = false
        drop(connection, of: number)
    }

    mutating func closeSubscription(_ number: LinkNumber) {
        guard let connection = self[link: number].subscription else { return }
        self[link: number].subscription = nil
        drop(connection, of: number)
    }

    private mutating func drop(_ connection: ConnectionID, of number: LinkNumber) {
        self[link: number].isDisconnected = true
        connections[connection] = nil
        output.close.append(connection)
    }

    // MARK: Inputs

    mutating func opened(_ connection: ConnectionID, _ localAddress: String) {
        connections.update(connection) { $0.localAddress = localAddress }
    }

    mutating func closed(_ connection: ConnectionID) {
        guard let number = connections[connection]?.link else { return }
        connections[connection] = nil
        self[link: number].isDisconnected = true
        if self[link: number].command == connection {
            self[link: number].command = nil
            self[link: number].isVerified = false
            for user in self[link: number].users { self[user].claim = nil }
        } else {
            self[link: number].subscription = nil
        }
    }

    mutating func received(_ connection: ConnectionID, _ bytes: [UInt8]) {
        guard connections.contains(connection) else { return }
        connections.update(connection) { $0.stream.append(bytes) }
        // An answer may close the connection that it came by.
        while connections.contains(connection) {
            let next = connections.update(connection) { $0.stream.next() }
            switch next {
            case .reply(let reply): take(reply, from: connection)
            case .malformed: return endForBadReply(connection)
            case .incomplete, nil: return
            }
        }
    }

    private mutating func endForBadReply(_ connection: ConnectionID) {
        guard let open = connections[connection] else { return }
        if let user = self[link: open.link].users.first {
            event(.debug, "-cmd-link-reconnection", user, " #Protocol error")
        }
        if open.isSubscription {
            closeSubscription(open.link)
        } else {
            closeCommands(open.link)
        }
    }

    private mutating func take(_ reply: Reply, from connection: ConnectionID) {
        guard let open = connections[connection] else { return }
        if open.isSubscription { return takeMessage(reply, connection, open) }
        guard !open.awaited.isEmpty else { return endForBadReply(connection) }
        let awaited = open.awaited[0]
        connections.update(connection) { _ = $0.awaited.removeFirst() }
        guard exists(awaited.instance) else { return }
        let id = awaited.instance
        switch awaited.purpose {
        case .discard, .subscribe: break
        case .ping: takePong(reply, id)
        case .info:
            if case .bulk(let text) = reply { refresh(id, String(decoding: text, as: UTF8.self)) }
        case .publish:
            if case .error = reply { break }
            self[id].lastPublished = instant
        case .askDown: takeDownReply(reply, id)
        case .identity: takeIdentity(reply, id)
        case .claimedAddress: takeClaimedAddress(reply, id)
        case .claimedState: takeClaimedState(reply, id)
        }
    }

    private mutating func takeMessage(
        _ reply: Reply, _ connection: ConnectionID, _ open: Connection
    ) {
        if let awaited = open.awaited.first {
            connections.update(connection) { _ = $0.awaited.removeFirst() }
            // Without the right to listen the connection is worth nothing: it is tried again.
            if awaited.purpose == .subscribe, case .error = reply {
                return closeSubscription(open.link)
            }
        }
        self[link: open.link].subscriptionActivity = instant
        guard case .array(let parts) = reply, parts.count == 3, parts[0].text == "message",
            case .bulk(let message) = parts[2]
        else { return }
        takeHello(message)
    }

    private mutating func takePong(_ reply: Reply, _ id: InstanceID) {
        let number = self[id].link
        switch reply {
        case .simple(let text), .error(let text):
            let isAlive = ["PONG", "LOADING", "MASTERDOWN"].contains { text.hasPrefix($0) }
            if isAlive {
                self[link: number].available = instant
                self[link: number].pendingPing = nil
                if text.hasPrefix("PONG") { self[id].flags.remove(.rebooted) }
            } else if text.hasPrefix("BUSY"), self[id].isDown,
                !self[id].flags.contains(.scriptKillSent)
            {
                ask(id, .discard, [name(of: "SCRIPT", for: id), "KILL"])
                self[id].flags.insert(.scriptKillSent)
            }
        default: break
        }
        self[link: number].lastPong = instant
    }
}
