// The faults themselves: what each of them does to processes, network, disks and clocks, and how it
// ends.
import Base
import Engine
import Gossip
import NodeCore

extension Simulation {
    func scheduleFault() {
        guard !options.kinds.isEmpty else { return }
        let wait = Microseconds(prng.below(Int(2 * options.faultInterval))) + 1000
        queue.add(.faults, at: time + wait)
    }

    func injectFault() {
        guard phase == .safety else { return }
        if options.profile.losesNothing {
            // By the book: only while the cluster is whole.
            guard isAtEase else {
                faults.wholeSince = nil
                return queue.add(.faults, at: time + 100_000)
            }
            let since = faults.wholeSince ?? time
            faults.wholeSince = since
            // Replicas that were away have caught up by then.
            if options.profile == .guarded, time - since < 2_000_000 {
                return queue.add(.faults, at: time + 100_000)
            }
            faults.wholeSince = nil
        }
        let kind = options.kinds[prng.below(options.kinds.count)]
        strike(kind)
        scheduleFault()
    }

    /// The cluster is whole, and no fault is in force.
    private var isAtEase: Bool {
        guard nodes.allSatisfy({ !$0.isStopping }), Convergence.problem(of: self) == nil else {
            return false
        }
        guard options.profile == .guarded else { return true }
        return faults.active.isEmpty
            && nodes.allSatisfy { $0.pausedUntil <= time && $0.crashCountdown == nil }
    }

    private func strike(_ kind: FaultKind) {
        switch kind {
        case .crash, .crashLosingData, .powerCut, .orderlyStop: bringDown(kind)
        case .partition: partition()
        case .oneWayCut: cutOneWay()
        case .clog: clog()
        case .resets: resetConnections()
        case .pause: pause()
        case .clockJump: jumpClock()
        case .slowDisk, .fullDisk: spoilDisk(kind)
        case .manualFailover, .forcedFailover, .takeover: failOver(kind)
        case .save: save()
        }
    }

    private func begin(
        _ kind: FaultKind, hosts: [Int], lasting duration: Microseconds,
        paths: [(from: Int, to: Int)] = [], delay: Microseconds = 0, needsHealing: Bool = false
    ) {
        let record = FaultRecord(
            number: faults.log.count, kind: kind, hosts: hosts, start: time,
            end: time + duration, paths: paths, delay: delay)
        faults.add(record, isLasting: needsHealing)
        note(nil, "FAULT \(kind) of \(hosts) for \(duration / 1000) ms")
        if needsHealing { queue.add(.heal(record), at: record.end) }
    }

    private func randomDuration() -> Microseconds {
        10_000 + Microseconds(prng.below(Int(options.longestFault)))
    }

    private func randomNode() -> SimNode { nodes[prng.below(nodes.count)] }

    // MARK: Processes

    private func bringDown(_ kind: FaultKind) {
        let owner = randomNode()
        let down = nodes.count { !$0.isRunning || $0.isStopping || $0.crashCountdown != nil }
        guard owner.isRunning, !owner.isStopping, owner.crashCountdown == nil,
            down < options.largestOutage
        else { return }
        // Often back before anybody could react, often long after.
        let isQuick = prng.chance(1, in: 3)
        let delay = isQuick ? 5000 + Microseconds(prng.below(200_000)) : randomDuration()
        faults.restartDelays[owner.index] = delay
        begin(kind, hosts: [owner.index], lasting: delay)
        switch kind {
        case .powerCut: crash(owner, as: .hostDown)
        case .orderlyStop:
            owner.isStopping = true
            deliver(.terminate, to: owner)
        case .crashLosingData:
            crash(owner, as: .dead)
            owner.disk.lose(owner.settings.dbFilename)
        default:
            if prng.chance(1, in: 2) {
                owner.crashCountdown = prng.below(12)
            } else {
                crash(owner, as: .dead)
            }
        }
    }

    private func pause() {
        let owner = randomNode()
        guard owner.isRunning, owner.pausedUntil <= time else { return }
        let duration = randomDuration()
        owner.pausedUntil = time + duration
        owner.wakeAt = .max
        wake(owner, at: time)
        begin(.pause, hosts: [owner.index], lasting: duration)
    }

    private func jumpClock() {
        let owner = randomNode()
        let span = [1000, 60_000, 3_600_000][prng.below(3)]
        owner.clock.jumpWall(by: Int64(prng.below(2 * span) - span))
        begin(.clockJump, hosts: [owner.index], lasting: 0)
    }

    // MARK: Network

    private func partition() {
        // A minority of the nodes with some of the clients, against the rest.
        var inside: [Int] = []
        for host in 0..<network.hostCount where prng.chance(1, in: 3) { inside.append(host) }
        guard !inside.isEmpty, inside.count < network.hostCount else { return }
        var paths: [(from: Int, to: Int)] = []
        for a in inside {
            for b in 0..<network.hostCount where !inside.contains(b) {
                paths.append((a, b))
                paths.append((b, a))
            }
        }
        cut(.partition, inside, paths)
    }

    private func cutOneWay() {
        let host = prng.below(network.hostCount)
        var paths: [(from: Int, to: Int)] = []
        for other in 0..<network.hostCount where other != host && prng.chance(2, in: 3) {
            paths.append((host, other))
        }
        cut(.oneWayCut, [host], paths)
    }

    private func cut(_ kind: FaultKind, _ hosts: [Int], _ paths: [(from: Int, to: Int)]) {
        for path in paths { network.cut(from: path.from, to: path.to) }
        begin(kind, hosts: hosts, lasting: randomDuration(), paths: paths, needsHealing: true)
    }

    private func clog() {
        let from = prng.below(network.hostCount)
        let to = prng.below(network.hostCount)
        let delay = 10_000 + Microseconds(prng.below(1_000_000))
        network.clog(from: from, to: to, by: delay)
        begin(
            .clog, hosts: [from, to], lasting: randomDuration(), paths: [(from, to)],
            delay: delay, needsHealing: true)
    }

    private func resetConnections() {
        let owner = randomNode()
        begin(.resets, hosts: [owner.index], lasting: 0)
        for connection in owner.connections.values where prng.chance(1, in: 2) {
            reset(connection)
        }
    }

    // MARK: Disks

    private func spoilDisk(_ kind: FaultKind) {
        let owner = randomNode()
        guard owner.disk.slowness == 1, !owner.disk.isFull else { return }
        if kind == .slowDisk {
            owner.disk.slowness = [10, 100, 1000][prng.below(3)]
        } else {
            owner.disk.isFull = true
        }
        begin(kind, hosts: [owner.index], lasting: randomDuration(), needsHealing: true)
    }

    // MARK: Administrators

    private func failOver(_ kind: FaultKind) {
        let owner = randomNode()
        guard let node = owner.node, node.isReplica, owner.pausedUntil <= time else { return }
        begin(kind, hosts: [owner.index], lasting: 0)
        switch kind {
        case .forcedFailover: command(owner, "CLUSTER", "FAILOVER", "FORCE")
        case .takeover: command(owner, "CLUSTER", "FAILOVER", "TAKEOVER")
        default: command(owner, "CLUSTER", "FAILOVER")
        }
    }

    private func save() {
        let owner = randomNode()
        guard owner.isRunning, owner.pausedUntil <= time else { return }
        command(owner, "BGSAVE")
    }

    // MARK: The end of a fault

    func heal(_ record: FaultRecord) {
        guard faults.end(record.number) != nil else { return }
        note(nil, "end of \(record.kind) of \(record.hosts)")
        switch record.kind {
        case .partition, .oneWayCut:
            for path in record.paths { network.mend(from: path.from, to: path.to) }
            releaseMended()
        case .clog:
            for path in record.paths {
                network.clog(from: path.from, to: path.to, by: -record.delay)
            }
        case .slowDisk: nodes[record.hosts[0]].disk.slowness = 1
        case .fullDisk: nodes[record.hosts[0]].disk.isFull = false
        default: break
        }
    }

    func busMessageSent(
        by owner: SimNode, on connection: SimConnection, from side: Side, _ bytes: [UInt8]
    ) {
        let receiver = connection.host(side.other)
        if let problem = checks.votes.sent(bytes, from: owner.index, to: receiver) {
            fail("votes", problem)
        }
    }
}
