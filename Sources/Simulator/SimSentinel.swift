// Simulated sentinels: the production machine, its clock, and a file that keeps only what was
// synced. They watch the run's cluster, and in runs of their own kind they are killed, stopped and
// cut off like nodes.
import Base
import Gossip
import NodeCore
import Sentinel

final class SimSentinel {
    static let cluster = "sim"

    let index: Int
    let host: Int
    var clock: SimClock
    var state: SentinelState?
    /// The file as it is on disk.
    var file: [SentinelConf.Line] = []
    /// Counts processes: what belongs to an earlier one is void.
    var incarnation = 0
    var connections = SortedTable<ConnectionID, SimConnection>()
    var pausedUntil: Microseconds = 0
    /// What arrived while the process stood still.
    var inbox: [SentinelInput] = []
    var tickAt = Microseconds.max
    var slowness: Int64 = 1

    init(index: Int, host: Int, clock: SimClock) {
        self.index = index
        self.host = host
        self.clock = clock
    }

    func id(of connection: SimConnection) -> ConnectionID? {
        connections.first { $0.1 === connection }?.0
    }
}

extension Simulation {
    var firstSentinelHost: Int { nodes.count + clients.count }

    // MARK: Life

    func start(_ sentinel: SimSentinel) {
        invariant(sentinel.state == nil, "a process starts once")
        sentinel.incarnation += 1
        sentinel.pausedUntil = 0
        var directives: [SentinelConf.Directive] = []
        for (index, line) in sentinel.file.enumerated() {
            let words = line.text.split(separator: " ").dropFirst().map(String.init)
            directives.append(SentinelConf.Directive(number: index + 1, words: words))
        }
        if directives.isEmpty {
            let seed = nodes[sentinel.index % nodes.count]
            directives.append(
                SentinelConf.Directive(
                    number: 1,
                    words: [
                        "monitor-cluster", SimSentinel.cluster, seed.address, "\(seed.port)", "2",
                    ]))
        }
        do throws(SentinelConf.Failure) {
            var state = try SentinelState.load(
                directives, seed: prng.next(), now: sentinel.clock.now(time),
                resolve: { _ in nil }, isExecutable: { _ in true })
            var effects = SentinelEffects()
            state.announceStart(at: sentinel.clock.now(time), into: &effects)
            sentinel.state = state
            carryOut(effects, sentinel)
        } catch {
            fail("sentinels", "sentinel \(sentinel.index) refuses its file: \(error.reason)")
        }
        note(nil, "sentinel \(sentinel.index) starts (process \(sentinel.incarnation))")
        scheduleTick(sentinel)
    }

    func crash(_ sentinel: SimSentinel, for duration: Microseconds) {
        guard sentinel.state != nil else { return }
        sentinel.state = nil
        sentinel.inbox.removeAll()
        for connection in sentinel.connections.values {
            connection.opener = .none
            transmit(connection, from: .opener, .closed(.reset))
        }
        sentinel.connections.removeAll()
        note(nil, "sentinel \(sentinel.index) ends")
        queue.add(
            .restartSentinel(index: sentinel.index, incarnation: sentinel.incarnation),
            at: time + duration)
    }

    private func scheduleTick(_ sentinel: SimSentinel) {
        guard let state = sentinel.state else { return }
        let at = max(time + Microseconds(state.tickPeriod.count) * 1000, sentinel.pausedUntil)
        sentinel.tickAt = at
        queue.add(
            .sentinelTick(index: sentinel.index, incarnation: sentinel.incarnation), at: at)
    }

    func tick(_ sentinel: SimSentinel) {
        guard sentinel.state != nil else { return }
        if sentinel.pausedUntil > time { return scheduleTick(sentinel) }
        let waiting = sentinel.inbox
        sentinel.inbox.removeAll()
        // The loop reads the clock and does time's work before it reads what arrived.
        step(sentinel, .tick)
        for input in waiting { step(sentinel, input) }
        scheduleTick(sentinel)
    }

    // MARK: Steps

    func deliver(_ input: SentinelInput, to sentinel: SimSentinel) {
        guard sentinel.state != nil else { return }
        if sentinel.pausedUntil > time { return sentinel.inbox.append(input) }
        step(sentinel, input)
    }

    private func step(_ sentinel: SimSentinel, _ input: SentinelInput) {
        guard sentinel.state != nil else { return }
        var effects = SentinelEffects()
        sentinel.state?.step(input, at: sentinel.clock.now(time), into: &effects)
        carryOut(effects, sentinel)
    }

    private func carryOut(_ effects: SentinelEffects, _ sentinel: SimSentinel) {
        for line in effects.log { note(nil, "sentinel \(sentinel.index): \(line.text)") }
        for event in effects.events where event.level >= .notice {
            trace.mix(event.message)
            note(nil, "sentinel \(sentinel.index): \(event.type) \(event.message)")
        }
        for connection in effects.close {
            guard let open = sentinel.connections[connection] else { continue }
            sentinel.connections[connection] = nil
            open.opener = .none
            transmit(open, from: .opener, .closed(.closedByPeer))
        }
        for request in effects.connect { connect(sentinel, request) }
        for message in effects.send {
            guard let open = sentinel.connections[message.connection] else { continue }
            checkVote(message.bytes, of: sentinel, to: open.hosts.acceptor)
            send(open, from: .opener, .bytes(message.bytes, stamp: Stamp()))
        }
        if let state = effects.state {
            let delay = sentinel.slowness * Microseconds(500 + prng.below(4000))
            queue.add(
                .sentinelSynced(
                    index: sentinel.index, incarnation: sentinel.incarnation,
                    version: state.version, lines: state.lines),
                at: time + delay)
        }
    }

    private func connect(_ sentinel: SimSentinel, _ request: SentinelConnect) {
        guard let target = SimNode.host(of: request.host), target >= 0,
            target < network.hostCount
        else { return fail("addresses", "a sentinel connects to \(request.host)") }
        let connection = open(
            from: sentinel.host, .sentinel, kind: nil, to: target, port: request.port)
        sentinel.connections[request.connection] = connection
    }

    func synced(_ sentinel: SimSentinel, version: UInt64, lines: [SentinelConf.Line]) {
        guard let state = sentinel.state, version > state.syncedVersion else { return }
        sentinel.file = lines
        deliver(.stateSynced(version: version), to: sentinel)
    }

    func received(_ connection: SimConnection, _ packet: Packet, by sentinel: SimSentinel) {
        if case .bytes(let bytes, _) = packet { connection[from: .acceptor].unread -= bytes.count }
        guard let id = sentinel.id(of: connection) else { return }
        switch packet {
        case .opened:
            deliver(
                .opened(id, localAddress: SimNode.address(of: sentinel.host)), to: sentinel)
        case .bytes(let bytes, _): deliver(.received(id, bytes), to: sentinel)
        case .closed(let why):
            sentinel.connections[id] = nil
            connection.opener = .none
            let end: ConnectionEnd =
                why == .refused ? .refused : why == .reset || why == .closedByPeer ? .broken : .lost
            deliver(.closed(id, end), to: sentinel)
        }
    }

    // MARK: Checks

    /// A sentinel's votes, read off the wire: one per epoch, whatever restarts come between.
    private func checkVote(_ bytes: [UInt8], of sentinel: SimSentinel, to receiver: Int) {
        let words = String(decoding: bytes, as: UTF8.self).split(separator: "\r\n")
        guard words.count >= 25, words[4] == "VOTER", words[6] == "PULSE",
            let epoch = UInt64(words[20]), epoch > 0
        else { return }
        let voter = 1000 + sentinel.index
        if let problem = checks.votes.vote(by: voter, epoch: epoch, to: receiver) {
            fail("votes", problem)
        }
    }

    /// What of the sentinels' registration is still to come, or nil.
    var registrationProblem: String? {
        guard options.sentinels > 0 else { return nil }
        for owner in nodes {
            let count = owner.node?.pointee.cluster?.voterSet.members.count ?? 0
            if count != options.sentinels { return "node \(owner.index) knows \(count) voters" }
        }
        return nil
    }
}
