// A client of the cluster, as a cluster-aware library behaves: it remembers who serves which key,
// follows MOVED and ASK, gives up on a silent node after a while and tries another one. One request
// at a time; what it cannot know, whether a request that was not answered took effect, it says.
import Base
import Gossip
import HashSlots

final class SimClient {
    struct Peer {
        var connection: SimConnection
        var isOpen = false
    }

    struct Request {
        var operation: Workload.Operation
        var target: Int
        var redirects = 0
        var isAsking = false
        /// Sent at least once, to somebody who may have carried it out.
        var isUnsure = false
        /// Replies to plumbing that come before the one that counts.
        var skippedReplies = 0
        var deadline: Microseconds
    }

    let index: Int
    let host: Int
    private let thinkTime: Int64
    private let patience: Microseconds
    var workload: Workload
    private var peers = SortedTable<Int, Peer>()
    private var reader = ReplyReader()
    private(set) var request: Request?
    private var isStopping = true
    private(set) var lastAck: Microseconds = 0
    private(set) var wakeToken: UInt64 = 0

    var isIdle: Bool { request == nil && isStopping }

    init(index: Int, host: Int, options: SwarmOptions) {
        self.index = index
        self.host = host
        thinkTime = options.thinkTime
        patience = Microseconds(options.nodeTimeout) * 500
        workload = Workload(client: index, tags: options.tags, nodes: options.nodes)
    }

    func start(in world: Simulation) {
        isStopping = false
        sleep(Microseconds(world.prng.below(100_000)), world)
    }

    /// Finishes the request under way and asks no more.
    func stop() { isStopping = true }

    private func sleep(_ duration: Microseconds, _ world: Simulation) {
        wakeToken += 1
        world.queue.add(.client(index: index, token: wakeToken), at: world.time + duration)
    }

    func wake(in world: Simulation) {
        if let request {
            // The answer did not come in time.
            disconnect(request.target, world)
            return giveUp("timeout", in: world)
        }
        guard !isStopping else { return }
        let operation = workload.next(&world.prng)
        request = Request(
            operation: operation, target: workload.node(of: operation), deadline: 0)
        submit(in: world)
    }

    // MARK: One request

    private func submit(in world: Simulation) {
        guard let target = request?.target else { return }
        let deadline = world.time + patience + Microseconds(world.prng.below(200_000))
        request?.deadline = deadline
        sleep(deadline - world.time, world)
        if let peer = peers[target] {
            if peer.isOpen { transmit(peer.connection, world) }
            return
        }
        let connection = world.open(
            from: host, .client, kind: nil, to: target, port: world.nodes[target].port)
        peers[target] = Peer(connection: connection)
    }

    private func transmit(_ connection: SimConnection, _ world: Simulation) {
        guard let request else { return }
        reader.removeAll()
        var bytes: [UInt8] = []
        if request.isAsking { bytes += Workload.encoded(["ASKING"]) }
        bytes += Workload.encoded(workload.words(of: request.operation))
        self.request?.skippedReplies = request.isAsking ? 1 : 0
        self.request?.isUnsure = true
        world.send(connection, from: .opener, .bytes(bytes, stamp: Stamp()))
    }

    func received(_ connection: SimConnection, _ packet: Packet, in world: Simulation) {
        let node = connection.hosts.acceptor
        guard let peer = peers[node], peer.connection === connection else { return }
        switch packet {
        case .opened:
            _ = peers.update(node) { $0.isOpen = true }
            if request?.target == node { transmit(connection, world) }
        case .closed:
            connection.opener = .none
            peers[node] = nil
            if request?.target == node { giveUp("closed", in: world) }
        case .bytes(let bytes, let stamp):
            reader.append(bytes)
            while let reply = reader.next() { take(reply, from: node, stamp, world) }
        }
    }

    private func disconnect(_ node: Int, _ world: Simulation) {
        guard let peer = peers[node] else { return }
        peers[node] = nil
        peer.connection.opener = .none
        world.transmit(peer.connection, from: .opener, .closed(.closedByPeer))
    }

    private func take(_ reply: Reply, from node: Int, _ stamp: Stamp, _ world: Simulation) {
        guard let request, request.target == node else { return }
        if request.skippedReplies > 0 {
            self.request?.skippedReplies -= 1
            return
        }
        guard case .error(let text) = reply else {
            return succeed(reply, from: node, stamp, world)
        }
        let words = text.split(separator: " ")
        // Applied where it was asked for, and not known to be safe.
        self.request?.isUnsure = words.first == "UNACKED"
        if words.count == 3, words[0] == "MOVED" || words[0] == "ASK",
            let target = Workload.node(of: words[2])
        {
            return redirect(to: target, isAsk: words[0] == "ASK", world)
        }
        world.checks.writes.errors += 1
        world.trace.mix(text)
        giveUp(String(words.first ?? ""), in: world)
    }

    private func redirect(to target: Int, isAsk: Bool, _ world: Simulation) {
        guard let request, request.redirects < 5 else { return giveUp("redirects", in: world) }
        if !isAsk { workload.learn(request.operation, node: target) }
        self.request?.redirects += 1
        self.request?.target = target
        self.request?.isAsking = isAsk
        submit(in: world)
    }

    private func succeed(
        _ reply: Reply, from node: Int, _ stamp: Stamp, _ world: Simulation
    ) {
        guard let request else { return }
        workload.learn(request.operation, node: node)
        self.request = nil
        if request.operation.isWrite { lastAck = world.time }
        let tag = workload.keys[request.operation.key].tag
        let problem = world.checks.writes.acknowledged(
            request.operation, reply, by: node, stamp, tag: tag, client: index, world.faults)
        if let problem { world.fail("writes", problem) }
        sleep(Microseconds(world.prng.below(Int(2 * thinkTime))), world)
    }

    /// Ends the request without an answer that counts; asks somebody else next time.
    private func giveUp(_ reason: String, in world: Simulation) {
        guard let request else { return }
        world.note(
            nil, "client \(index) gives up on node \(request.target) (\(reason)): "
                + workload.words(of: request.operation).joined(separator: " "))
        self.request = nil
        world.checks.writes.abandoned(
            request.operation, isUnsure: request.isUnsure, client: index)
        workload.learn(request.operation, node: world.prng.below(world.nodes.count))
        sleep(Microseconds(20_000 + world.prng.below(100_000)), world)
    }
}
