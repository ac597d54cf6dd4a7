// One run: a cluster of production nodes, clients that write and read, faults, and checkers that
// watch all of it, in virtual time and from one seed. First the cluster is made as an administrator
// makes it; then comes the safety phase, with faults; then the liveness phase, in which everything
// is mended and the cluster must become whole within a bound. The same seed gives the same run.
import Base
import Engine
import Gossip
import HashSlots
import NodeCore

public final class Simulation {
    enum Phase: Int {
        case forming
        case safety
        case liveness
        case over
    }

    let options: SwarmOptions
    public let seed: UInt64
    /// The world's dice. Nodes have their own, seeded from these.
    var prng: Prng
    var time: Microseconds = 0
    var queue = EventQueue()
    var network: SimNetwork
    var nodes: [SimNode] = []
    var clients: [SimClient] = []
    var sentinels: [SimSentinel] = []
    var losses = MajorityLosses()
    var scenario = Scenario()
    var faults: FaultInjector
    var checks: Checkers
    var phase = Phase.forming
    var phaseBegan: Microseconds = 0
    var trace = TraceHash()
    var transcript: ((String) -> Void)?
    private var nextConnection: UInt64 = 1
    /// Events handled, for the report.
    var eventCount = 0

    public init(seed: UInt64, options: SwarmOptions, transcript: ((String) -> Void)? = nil) {
        self.seed = seed
        self.options = options
        self.transcript = transcript
        prng = Prng(seed: seed &+ 0x51_7E_ED)
        network = SimNetwork(
            hosts: options.nodes + options.clients + options.sentinels,
            baseDelay: options.baseDelay,
            jitter: options.jitter)
        faults = FaultInjector(options)
        checks = Checkers(options)
        for index in 0..<options.nodes {
            let drift = Int64(prng.below(Int(2 * options.largestDrift + 1))) - options.largestDrift
            let clock = SimClock(drift: drift, prng: &prng)
            nodes.append(SimNode(index: index, settings: options.settings, clock: clock))
        }
        for index in 0..<options.clients {
            clients.append(SimClient(index: index, host: options.nodes + index, options: options))
        }
        for index in 0..<options.sentinels {
            let drift = Int64(prng.below(Int(2 * options.largestDrift + 1))) - options.largestDrift
            let clock = SimClock(drift: drift, prng: &prng)
            let host = options.nodes + options.clients + index
            sentinels.append(SimSentinel(index: index, host: host, clock: clock))
        }
    }

    // MARK: The run

    /// Runs to the end, or to the first failed check.
    public func run() -> RunReport {
        note(nil, "seed \(seed): \(options)")
        for node in nodes { start(node) }
        queue.add(.supervise, at: .milliseconds(10))
        while checks.failure == nil, phase != .over, let (at, event) = queue.next() {
            invariant(at >= time, "time must not go back")
            time = at
            eventCount += 1
            handle(event)
        }
        let report = RunReport(of: self)
        for node in nodes { if node.isRunning { end(node, as: .dead, sendsFin: false) } }
        return report
    }

    private func handle(_ event: Event) {
        switch event {
        case .iterate(let index, let token):
            let node = nodes[index]
            if node.wakeToken == token { iterate(node) }
        case .arrive(let connection, let side): arrive(connection, from: side)
        case .knock(let connection, let attempt): knock(connection, attempt: attempt)
        case .diskDone(let index, let incarnation):
            let node = nodes[index]
            if node.incarnation == incarnation { finishDisk(node) }
        case .restart(let index, let incarnation):
            let node = nodes[index]
            if node.incarnation == incarnation, !node.isRunning { start(node) }
        case .client(let index, let token):
            let client = clients[index]
            if client.wakeToken == token { client.wake(in: self) }
        case .faults: injectFault()
        case .heal(let record): heal(record)
        case .supervise: supervise()
        case .sentinelTick(let index, let incarnation):
            if sentinels[index].incarnation == incarnation { tick(sentinels[index]) }
        case .sentinelSynced(let index, let incarnation, let version, let lines):
            let sentinel = sentinels[index]
            if sentinel.incarnation == incarnation {
                synced(sentinel, version: version, lines: lines)
            }
        case .restartSentinel(let index, let incarnation):
            let sentinel = sentinels[index]
            if sentinel.incarnation == incarnation, sentinel.state == nil { start(sentinel) }
        case .sentinelFault: injectSentinelFault()
        }
    }

    func note(_ node: SimNode?, _ text: @autoclosure () -> String) {
        guard let transcript else { return }
        let seconds = time / 1_000_000
        let rest = String(1_000_000 + time % 1_000_000).dropFirst()
        let name = node.map { "node \($0.index)" } ?? "-"
        transcript("\(seconds).\(rest) \(name): \(text())")
    }

    func logged(_ node: SimNode, _ line: LogLine) {
        if line.level >= .notice { trace.mix(line.text) }
        checks.logged(node, line, at: time)
        note(node, "\(line.level.mark) \(line.text)")
    }

    func fail(_ checker: String, _ message: String) {
        guard checks.failure == nil else { return }
        checks.failure = "\(checker): \(message) (at \(time / 1000) ms, \(phase) phase)"
        note(nil, "FAILED \(checker): \(message)")
    }

    // MARK: Connections

    /// Starts a connection to a port of a host.
    func open(
        from host: Int, _ end: Endpoint, kind: LinkKind?, to target: Int, port: Int
    ) -> SimConnection {
        let connection = SimConnection(
            id: nextConnection, kind: kind, port: port, from: host, to: target, opener: end)
        nextConnection += 1
        queue.add(
            .knock(connection, attempt: 1), at: time + network.delay(from: host, to: target, &prng))
        return connection
    }

    func connect(_ owner: SimNode, _ link: LinkID, kind: LinkKind, host: String, port: Int) {
        guard let target = SimNode.host(of: host), target >= 0, target < nodes.count else {
            return fail("addresses", "node \(owner.index) connects to \(host):\(port)")
        }
        let connection = open(
            from: owner.index, .link(link), kind: kind, to: target,
            port: port)
        owner.links[link] = connection
        owner.connections[connection.id] = connection
    }

    private func isPathOpen(from: Int, to: Int) -> Bool {
        guard network.isOpen(from: from, to: to) else { return false }
        return to >= nodes.count || nodes[to].life != .hostDown
    }

    /// A connection attempt arrives, or is lost and tried again as TCP does.
    private func knock(_ connection: SimConnection, attempt: Int) {
        guard connection.isOpen(.opener) else { return }
        let from = connection.hosts.opener
        let to = connection.hosts.acceptor
        guard isPathOpen(from: from, to: to), isPathOpen(from: to, to: from) else {
            guard attempt <= 6 else { return }
            let wait = Microseconds.seconds(1 << (attempt - 1))
            return queue.add(.knock(connection, attempt: attempt + 1), at: time + wait)
        }
        // Nothing listens on the hosts of clients and sentinels.
        guard to < nodes.count else {
            return transmit(connection, from: .acceptor, .closed(.refused))
        }
        let target = nodes[to]
        guard target.isRunning, connection.port == target.port || connection.port == target.busPort
        else { return transmit(connection, from: .acceptor, .closed(.refused)) }
        connection.acceptor = .backlog
        target.connections[connection.id] = connection
        deliver(.accepted(connection), to: target)
        transmit(connection, from: .acceptor, .opened)
    }

    /// What a process sends; nothing leaves a closed end.
    func send(_ connection: SimConnection, from side: Side, _ packet: Packet) {
        guard connection.isOpen(side) else { return }
        transmit(connection, from: side, packet)
    }

    /// Puts a packet on its way, behind those before it.
    func transmit(_ connection: SimConnection, from side: Side, _ packet: Packet) {
        let delay = network.delay(
            from: connection.host(side), to: connection.host(side.other), &prng)
        let arrival = max(time + delay, connection[from: side].lastArrival)
        connection[from: side].lastArrival = arrival
        if case .bytes(let bytes, _) = packet { connection[from: side].unread += bytes.count }
        connection[from: side].items.append(SimConnection.Item(arrival: arrival, packet: packet))
        let waits = connection[from: side].isScheduled || connection[from: side].isStalled
        guard !waits else { return }
        connection[from: side].isScheduled = true
        queue.add(.arrive(connection, from: side), at: arrival)
    }

    private func arrive(_ connection: SimConnection, from side: Side) {
        connection[from: side].isScheduled = false
        guard !connection[from: side].isEmpty else { return }
        guard isPathOpen(from: connection.host(side), to: connection.host(side.other)) else {
            return network.stall(connection, from: side)
        }
        guard let packet = connection[from: side].pop() else { return }
        let direction = connection[from: side]
        if !direction.isEmpty {
            let next = max(time, direction.items[direction.head].arrival)
            connection[from: side].isScheduled = true
            queue.add(.arrive(connection, from: side), at: next)
        }
        received(connection, at: side.other, packet)
    }

    private func received(_ connection: SimConnection, at side: Side, _ packet: Packet) {
        trace.mix(connection.id)
        trace.mix(UInt64(bitPattern: time))
        switch connection[side] {
        case .none:
            // A closed end answers data with a reset.
            if case .closed = packet { return }
            guard connection.isOpen(side.other) else { return }
            transmit(connection, from: side, .closed(.reset))
        case .client:
            if case .bytes(let bytes, _) = packet {
                connection[from: side.other].unread -= bytes.count
            }
            clients[connection.host(side) - nodes.count].received(connection, packet, in: self)
        case .sentinel:
            received(
                connection, packet, by: sentinels[connection.host(side) - firstSentinelHost])
        case .link, .backlog, .session:
            deliver(.packet(connection, side, packet), to: nodes[connection.host(side)])
        }
    }

    /// Closes one end; the other one hears of it after what was sent before.
    func close(_ connection: SimConnection, _ side: Side, of owner: SimNode) {
        guard connection.isOpen(side) else { return }
        forget(connection, side, of: owner)
        transmit(connection, from: side, .closed(.closedByPeer))
    }

    /// Takes a connection out of a node's tables.
    func forget(_ connection: SimConnection, _ side: Side, of owner: SimNode) {
        switch connection[side] {
        case .link(let link): owner.links[link] = nil
        case .session: owner.sessions[connection.id] = nil
        case .none, .backlog, .client, .sentinel: break
        }
        connection[side] = .none
        owner.connections[connection.id] = nil
    }

    /// Breaks a connection: both ends learn it, and what was on its way is gone.
    func reset(_ connection: SimConnection) {
        for side in [Side.opener, .acceptor] {
            connection[from: side].drop()
            transmit(connection, from: side, .closed(.reset))
        }
    }

    /// Packets that waited for a cut to end come in now, some retransmission later.
    func releaseMended() {
        for (connection, side) in network.takeMended() where !connection[from: side].isScheduled {
            connection[from: side].isScheduled = true
            queue.add(
                .arrive(connection, from: side),
                at: time + Microseconds(prng.below(400_000)))
        }
    }
}
