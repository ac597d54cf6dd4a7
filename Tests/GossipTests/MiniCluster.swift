// Some cluster machines, a network between them and a disk below each, all driven by one seed.
// Messages are delayed; connections can be refused, cut or hang; a host can crash between the
// write and the sync of its nodes.conf. The checks that must hold in every run (one vote per epoch
// and node, one winner per epoch, the machines' own invariants) are made while it runs.
import Base
import Gossip
import HashSlots
import Testing

final class MiniCluster {
    struct Host {
        var state: ClusterState?
        var config: GossipConfig
        var seed: UInt64
        /// Distinguishes lives: events of an earlier one are dropped.
        var life = 0
        var isPaused = false
        var nextInbound: UInt64 = 2
        var connections: [LinkID: Int] = [:]
        var tickAt = Int64.max
        // Disk.
        var durable: [UInt8] = []
        var written: [UInt8] = []
        var synced: UInt64 = 0
        var held: [HeldOutgoing] = []
        // The node around the machine.
        var facts = LocalFacts()
        var target: NodeID?
        var actions: [LocalAction] = []
        var log: [(at: Int64, event: ClusterEvent)] = []
        var isPrimary = true
        var refusesReplicas = false
    }

    struct Connection {
        var a: (host: Int, life: Int, link: LinkID)
        var b: (host: Int, life: Int, link: LinkID)?
        var isOpen = true
    }

    enum Event {
        case deliver(connection: Int, toB: Bool, [UInt8])
        case opened(host: Int, life: Int, LinkID)
        case closed(host: Int, life: Int, LinkID, LinkFailure)
        case synced(host: Int, life: Int, UInt64, [UInt8])
        case run(Int)
    }

    var hosts: [Host] = []
    var connections: [Connection] = []
    var now: Int64 = 1_000_000
    var random: Prng
    private var queue: [(at: Int64, order: Int, event: Event)] = []
    private var order = 0
    private var stepCount = 0
    private var scripts: [(MiniCluster) -> Void] = []
    /// Hosts with the same number reach each other.
    var zone: [Int] = []
    /// Messages lost, in percent (whole packets; the machines must cope).
    var lossPercent = 0
    var syncDelay: ClosedRange<Int> = 1...4
    /// Every vote that left a host: (voter, epoch) and for whom.
    private var votes: [String: NodeID] = [:]
    private var winners: [UInt64: NodeID] = [:]
    var writesPerMillisecond: Int64 = 1

    init(hosts count: Int, seed: UInt64, edit: (inout GossipConfig) -> Void = { _ in }) {
        random = Prng(seed: seed)
        for index in 0..<count {
            var config = GossipConfig()
            config.nodeTimeout = Milliseconds(2000)
            config.port = 7001 + index
            edit(&config)
            let hostSeed = random.next()
            hosts.append(Host(state: nil, config: config, seed: hostSeed))
            zone.append(0)
        }
        for index in 0..<count { boot(index) }
    }

    var time: Now {
        Now(
            instant: Instant(microseconds: now * 1000),
            wall: WallTime(milliseconds: 1_700_000_000_000 + now))
    }

    // MARK: Hosts

    func boot(_ index: Int, empty: Bool = false) {
        hosts[index].life += 1
        let config = hosts[index].config
        let seed = hosts[index].seed &+ UInt64(hosts[index].life)
        do {
            if let conf = try NodesConf.parse(hosts[index].durable) {
                hosts[index].state = ClusterState(
                    restoring: conf, config: config, seed: seed, now: time)
            } else {
                hosts[index].state = ClusterState(config: config, seed: seed, now: time)
            }
        } catch {
            Issue.record("nodes.conf of host \(index): \(error)")
        }
        hosts[index].synced = 0
        hosts[index].held = []
        hosts[index].connections = [:]
        hosts[index].nextInbound = 2
        hosts[index].isPrimary = !(hosts[index].state?.isReplica ?? false)
        hosts[index].target = nil
        hosts[index].refusesReplicas = false
        hosts[index].facts.startedEmpty = empty
        hosts[index].facts.hasData = !empty && hosts[index].facts.replicationOffset > 0
        if empty { hosts[index].facts.replicationOffset = 0 }
        hosts[index].facts.primaryLinkIsUp = false
        step(index, .localFacts(hosts[index].facts))
        step(index, .tick)
    }

    /// kill -9: the kernel closes everything; what was not synced may be lost.
    func kill(_ index: Int) {
        guard hosts[index].state != nil else { return }
        if random.chance(1, in: 2) { hosts[index].durable = hosts[index].written }
        hosts[index].state = nil
        hosts[index].life += 1
        for id in hosts[index].connections.values { drop(id, from: index, .closedByPeer) }
        hosts[index].connections = [:]
        hosts[index].tickAt = .max
    }

    private func drop(_ id: Int, from host: Int, _ why: LinkFailure) {
        guard connections[id].isOpen else { return }
        connections[id].isOpen = false
        let a = connections[id].a
        if a.host != host { closeEnd(a, why) }
        if let b = connections[id].b, b.host != host { closeEnd(b, why) }
    }

    private func closeEnd(_ end: (host: Int, life: Int, link: LinkID), _ why: LinkFailure) {
        hosts[end.host].connections[end.link] = nil
        post(after: 0, .closed(host: end.host, life: end.life, end.link, why))
    }

    // MARK: Steps

    func step(_ index: Int, _ input: ClusterInput) {
        guard var state = hosts[index].state else { return }
        hosts[index].state = nil
        var effects = ClusterEffects()
        state.step(input, at: time, into: &effects)
        stepCount += 1
        // The checks walk all slots: often enough to find a fault near its cause.
        if stepCount % 1000 == 0 { state.checkInvariants() }
        hosts[index].state = state
        carryOut(index, &effects)
        hosts[index].tickAt = max(now + 1, (state.nextDeadline.microseconds + 999) / 1000)
    }

    @discardableResult
    func command(_ index: Int, _ command: ClusterCommand) -> CommandReply? {
        updateFacts(index)
        guard var state = hosts[index].state else { return nil }
        hosts[index].state = nil
        var effects = ClusterEffects()
        state.step(.command(command), at: time, into: &effects)
        hosts[index].state = state
        carryOut(index, &effects)
        return effects.reply
    }

    private func carryOut(_ index: Int, _ effects: inout ClusterEffects) {
        for action in effects.local { carryOut(index, action) }
        for event in effects.log {
            hosts[index].log.append((now, event))
            if case .epochWon(let epoch) = event.kind { noteWinner(index, epoch) }
        }
        if let state = effects.state {
            hosts[index].written = state.contents
            if state.needsSync {
                let delay = syncDelay.lowerBound + random.below(syncDelay.count)
                post(
                    after: delay,
                    .synced(host: index, life: hosts[index].life, state.version, state.contents))
            }
        }
        hosts[index].held.append(contentsOf: effects.sendAfterSync)
        for outgoing in effects.sendNow { transmit(index, outgoing) }
        for link in effects.close {
            if let id = hosts[index].connections.removeValue(forKey: link) {
                drop(id, from: index, .closedByPeer)
            }
        }
        for request in effects.connect { connect(index, request) }
    }

    private func carryOut(_ index: Int, _ action: LocalAction) {
        hosts[index].actions.append(action)
        switch action {
        case .promoteSelf:
            hosts[index].isPrimary = true
            hosts[index].target = nil
        case .replicate(let id, _, _):
            hosts[index].isPrimary = false
            hosts[index].target = id
            hosts[index].facts.primaryLinkIsUp = false
        case .refuseReplicas(let refuses): hosts[index].refusesReplicas = refuses
        default: break
        }
    }

    private func noteWinner(_ index: Int, _ epoch: UInt64) {
        guard let id = hosts[index].state?.myID else { return }
        if let other = winners[epoch], other != id {
            Issue.record("two winners in epoch \(epoch)")
        }
        winners[epoch] = id
    }

    /// Replication, roughly: a replica has what its primary had when they were last connected.
    func updateFacts(_ index: Int) {
        guard hosts[index].state != nil else { return }
        var facts = hosts[index].facts
        if hosts[index].isPrimary {
            if hosts[index].state?.isUp ?? false, !hosts[index].isPaused {
                facts.replicationOffset = max(facts.replicationOffset, 1000) + writesPerMillisecond
                facts.hasData = writesPerMillisecond > 0 ? true : facts.hasData
            }
        } else if let target = hosts[index].target,
            let primary = hosts.firstIndex(where: { $0.state?.myID == target }),
            hosts[primary].isPrimary, !hosts[primary].refusesReplicas,
            zone[primary] == zone[index]
        {
            if !facts.primaryLinkIsUp {
                facts.primaryLinkIsUp = true
                facts.primaryLinkLostAt = nil
                facts.replicationOffset = 0
            }
            facts.replicationOffset = hosts[primary].facts.replicationOffset
            facts.primaryContact = time.instant
            facts.hasData = hosts[primary].facts.hasData
            facts.startedEmpty = false
        } else if facts.primaryLinkIsUp {
            facts.primaryLinkIsUp = false
            facts.primaryLinkLostAt = time.instant
        }
        guard facts != hosts[index].facts else { return }
        hosts[index].facts = facts
        step(index, .localFacts(facts))
    }

    // MARK: Network

    private func connect(_ index: Int, _ request: ConnectRequest) {
        let life = hosts[index].life
        let peer = hosts.firstIndex { $0.config.listeningBusPort == request.port }
        guard let peer, zone[peer] == zone[index] else {
            return post(after: 1000, .closed(host: index, life: life, request.link, .timedOut))
        }
        guard hosts[peer].state != nil else {
            return post(after: 1, .closed(host: index, life: life, request.link, .refused))
        }
        let link = LinkID(raw: hosts[peer].nextInbound)
        hosts[peer].nextInbound += 2
        let id = connections.count
        connections.append(
            Connection(
                a: (index, life, request.link), b: (peer, hosts[peer].life, link)))
        hosts[index].connections[request.link] = id
        hosts[peer].connections[link] = id
        step(peer, .linkAccepted(link, peerAddress: "127.0.0.1", localAddress: "127.0.0.1"))
        post(after: 1, .opened(host: index, life: life, request.link))
    }

    private func transmit(_ index: Int, _ outgoing: Outgoing) {
        noteVote(index, outgoing)
        guard let id = hosts[index].connections[outgoing.link], connections[id].isOpen else {
            return
        }
        let toB = connections[id].a.host == index && connections[id].a.link == outgoing.link
        let peer = toB ? connections[id].b?.host ?? index : connections[id].a.host
        if zone[peer] != zone[index] || random.below(100) < lossPercent { return }
        post(after: 1, .deliver(connection: id, toB: toB, outgoing.bytes))
    }

    /// A vote that leaves is final, whatever happens to its sender afterwards.
    private func noteVote(_ index: Int, _ outgoing: Outgoing) {
        guard outgoing.bytes.count > 24, outgoing.bytes[13] == 6,
            let message = try? BusMessage.decode(outgoing.bytes, 0..<outgoing.bytes.count),
            let id = hosts[index].connections[outgoing.link]
        else { return }
        let peer = connections[id].a.host == index
            ? connections[id].b?.host ?? index : connections[id].a.host
        let key = "\(message.header.sender) \(message.header.currentEpoch)"
        guard let receiver = hosts[peer].state?.myID else { return }
        if let earlier = votes[key], earlier != receiver {
            Issue.record("two votes in one epoch: \(key)")
        }
        votes[key] = receiver
    }

    // MARK: Time

    func post(after delay: Int, _ event: Event) {
        let entry = (at: now + Int64(delay), order: order, event: event)
        order += 1
        var low = 0
        var high = queue.count
        // Latest first, so that the next one is at the end.
        while low < high {
            let middle = (low + high) / 2
            let other = queue[middle]
            if (other.at, other.order) > (entry.at, entry.order) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        queue.insert(entry, at: low)
    }

    /// Calls `script` after `delay` milliseconds.
    func after(_ delay: Int, _ script: @escaping (MiniCluster) -> Void) {
        scripts.append(script)
        post(after: delay, .run(scripts.count - 1))
    }

    func run(_ milliseconds: Int) {
        let end = now + Int64(milliseconds)
        while true {
            let nextTick = hosts.indices.filter { !hosts[$0].isPaused && hosts[$0].state != nil }
                .min { hosts[$0].tickAt < hosts[$1].tickAt }
            let tickAt = nextTick.map { hosts[$0].tickAt } ?? .max
            let eventAt = queue.last?.at ?? .max
            if min(tickAt, eventAt) > end { break }
            if eventAt <= tickAt {
                let entry = queue.removeLast()
                now = max(now, entry.at)
                handle(entry.event)
            } else if let nextTick {
                now = max(now, tickAt)
                updateFacts(nextTick)
                step(nextTick, .tick)
            }
        }
        now = end
    }

    /// Runs until `condition` holds; returns how long that took, or nil after `limit`.
    @discardableResult
    func run(until limit: Int, step: Int = 5, _ condition: (MiniCluster) -> Bool) -> Int? {
        let start = now
        while now - start < Int64(limit) {
            if condition(self) { return Int(now - start) }
            run(step)
        }
        return condition(self) ? Int(now - start) : nil
    }

    private func handle(_ event: Event) {
        switch event {
        case .run(let script): scripts[script](self)
        case .opened(let host, let life, let link):
            if isCurrent(host, life, event) { step(host, .linkOpened(link)) }
        case .closed(let host, let life, let link, let why):
            if isCurrent(host, life, event) { step(host, .linkClosed(link, why)) }
        case .synced(let host, let life, let version, let contents):
            guard isCurrent(host, life, event) else { return }
            hosts[host].durable = contents
            hosts[host].synced = max(hosts[host].synced, version)
            let held = hosts[host].held
            hosts[host].held = held.filter { $0.version > hosts[host].synced }
            for item in held where item.version <= hosts[host].synced {
                transmit(host, item.outgoing)
            }
            step(host, .stateSynced(version: version))
        case .deliver(let id, let toB, let bytes):
            let end = toB ? connections[id].b : connections[id].a
            guard let end, connections[id].isOpen, isCurrent(end.host, end.life, event) else {
                return
            }
            step(end.host, .received(end.link, bytes))
        }
    }

    /// A stopped process gets its events when it goes on; a dead one never.
    private func isCurrent(_ host: Int, _ life: Int, _ event: Event) -> Bool {
        guard hosts[host].life == life, hosts[host].state != nil else { return false }
        if hosts[host].isPaused {
            post(after: 20, event)
            return false
        }
        return true
    }
}
