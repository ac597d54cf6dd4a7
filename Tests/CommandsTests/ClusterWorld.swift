// A few nodes in one process, wired to each other by a shell that delivers everything in order and
// at once: enough to run CLUSTER, MIGRATE and what clients see of them. Time moves only when a test
// says so. Faults are the simulator's business.
import Base
import Engine
import Gossip
import NodeCore
import RESP
import Testing

final class ClusterWorld {
    /// What is on its way.
    enum Delivery {
        case opened(Int, LinkID)
        case accepted(Int, LinkID, peer: String)
        case linkBytes(Int, LinkID, [UInt8])
        case linkClosed(Int, LinkID, LinkFailure)
        case sessionBytes(Int, UInt64, [UInt8])
        case hungUp(Int, UInt64)
        case fileDone(Int, UInt64)
    }
    enum Peer {
        case link(Int, LinkID)
        case session(Int, UInt64)
    }
    struct End: Hashable {
        var node: Int
        var link: LinkID
    }

    private(set) var nodes: [NodePointer] = []
    var queue: [Delivery] = []
    /// The other end of each link.
    var peers: [End: Peer] = [:]
    /// The link behind a session that another node's link opened.
    var sessionLinks: [UInt64: End] = [:]
    private var inbound: UInt64 = 0
    private var milliseconds: Int64 = 1000
    /// What clients were sent, by node and session.
    var received: [String: [UInt8]] = [:]
    /// Nodes whose accepted client links stay silent: bytes that reach them are kept here.
    var muted: Set<Int> = []
    var kept: [Delivery] = []
    /// Nodes whose disk does not answer: what it did is kept here.
    var slowDisks: Set<Int> = []
    var keptByDisks: [Delivery] = []
    /// Nodes that refuse connections.
    var down: Set<Int> = []
    var log: [String] = []

    static func port(_ node: Int) -> Int { 7000 + node }

    init(nodes count: Int, cluster: Bool = true, configure: (inout Settings) -> Void = { _ in }) {
        for index in 0..<count {
            var settings = Settings()
            settings.clusterEnabled = cluster
            settings.port = ClusterWorld.port(index)
            settings.clusterAnnounceIP = "127.0.0.1"
            settings.protectedMode = false
            settings.savePoints = []
            settings.clusterNodeTimeout = 2000
            settings.disklessSyncDelay = 0
            configure(&settings)
            let node = NodePointer.make(
                settings: settings, now: now, seed: UInt64(index) + 7,
                sipKey: SipKey(1, UInt64(index)))
            do {
                try node.restoreCluster(nodesConf: nil)
            } catch {
                preconditionFailure(error.text)
            }
            nodes.append(node)
            node.startLog(LoadedLog())
            node.start()
        }
        settle()
    }

    deinit { for node in nodes { node.destroy() } }

    var now: Now {
        Now(
            instant: Instant(microseconds: milliseconds * 1000),
            wall: WallTime(milliseconds: 1_700_000_000_000 + milliseconds))
    }

    /// Lets time pass in steps of fifty milliseconds.
    func pass(_ duration: Int64) {
        let end = milliseconds + duration
        while milliseconds < end {
            milliseconds += 50
            for node in nodes { node.setNow(now) }
            settle()
        }
    }

    /// Delivers until nothing is on its way.
    func settle() {
        repeat {
            for index in nodes.indices { runEnd(index) }
            let deliveries = queue
            queue.removeAll()
            for delivery in deliveries { deliver(delivery) }
        } while !queue.isEmpty
        for index in nodes.indices { runEnd(index) }
        if !queue.isEmpty { settle() }
    }

    private func runEnd(_ index: Int) {
        var shell = WorldShell(world: self, index: index)
        _ = nodes[index].beforeSleep(&shell)
    }

    private func deliver(_ delivery: Delivery) {
        switch delivery {
        case .opened(let node, let link): nodes[node].linkOpened(link)
        case .accepted(let node, let link, let peer):
            nodes[node].busAccepted(link, peer: peer, local: "127.0.0.1")
        case .linkBytes(let node, let link, let bytes):
            bytes.withBytes { nodes[node].linkData(link, $0) }
        case .linkClosed(let node, let link, let why): nodes[node].linkClosed(link, why)
        case .sessionBytes(let node, let id, let bytes):
            if muted.contains(node) { return kept.append(delivery) }
            feed(node, id, bytes)
        case .hungUp(let node, let id):
            guard let session = nodes[node].executor.pointee.sessions.find(id: id) else { return }
            nodes[node].executor.close(session)
        case .fileDone(let node, let ticket):
            if slowDisks.contains(node) { return keptByDisks.append(delivery) }
            nodes[node].fileDone(ticket: ticket, failure: nil)
        }
    }

    func feed(_ node: Int, _ id: UInt64, _ bytes: [UInt8]) {
        guard let session = nodes[node].executor.pointee.sessions.find(id: id) else { return }
        session.pointee.input.pointee.append(bytes)
        nodes[node].clientReadable(session)
    }

    /// Ends the silence of `node`; what it was sent arrives now.
    func unmute(_ node: Int) {
        muted.remove(node)
        queue.append(contentsOf: kept)
        kept.removeAll()
        settle()
    }

    /// Its disk has caught up.
    func speedUp(_ node: Int) {
        slowDisks.remove(node)
        queue.append(contentsOf: keptByDisks)
        keptByDisks.removeAll()
        settle()
    }

    func connect(_ from: Int, _ link: LinkID, _ kind: LinkKind, _ port: Int) {
        let isBus = kind == .bus
        let target = isBus ? port - 17000 : port - 7000
        guard nodes.indices.contains(target), !down.contains(target) else {
            return queue.append(.linkClosed(from, link, .refused))
        }
        let here = End(node: from, link: link)
        if isBus {
            inbound += 1
            let other = NodePointer.inboundLink(inbound)
            peers[here] = .link(target, other)
            peers[End(node: target, link: other)] = .link(from, link)
            queue.append(.accepted(target, other, peer: "127.0.0.1"))
        } else {
            let admission = nodes[target].acceptClient(
                peer: "127.0.0.1:5", local: "127.0.0.1:\(port)", unixSocket: false)
            guard case .session(let session) = admission else {
                return queue.append(.linkClosed(from, link, .refused))
            }
            peers[here] = .session(target, session.pointee.id)
            sessionLinks[session.pointee.id &* 16 &+ UInt64(target)] = here
        }
        queue.append(.opened(from, link))
    }

    func closeLink(_ from: Int, _ link: LinkID) {
        switch peers.removeValue(forKey: End(node: from, link: link)) {
        case .link(let node, let other):
            peers[End(node: node, link: other)] = nil
            queue.append(.linkClosed(node, other, .closedByPeer))
        case .session(let node, let id): queue.append(.hungUp(node, id))
        case nil: break
        }
    }

    /// Joins nodes 0 and 1, with half of the slots each. Returns a client of node 0 and the IDs.
    func pair() -> (client: WorldClient, first: String, second: String) {
        let a = client(0)
        let b = client(1)
        a.run("CLUSTER ADDSLOTSRANGE 0 8191")
        b.run("CLUSTER ADDSLOTSRANGE 8192 16383")
        b.run("CLUSTER SET-CONFIG-EPOCH 2")
        a.run("CLUSTER MEET 127.0.0.1 7001")
        pass(5000)
        return (a, a.identity, b.identity)
    }

    /// Makes node 0 the owner of all slots and node 1 its replica. Returns a client of each.
    func primaryAndReplica() -> (primary: WorldClient, replica: WorldClient) {
        let primary = client(0)
        let replica = client(1)
        primary.run("CLUSTER ADDSLOTSRANGE 0 16383")
        primary.run("CLUSTER MEET 127.0.0.1 7001")
        pass(5000)
        #expect(replica.run("CLUSTER REPLICATE \(primary.identity)") == "+OK|")
        pass(3000)
        return (primary, replica)
    }

    /// A client of node `index`.
    func client(_ index: Int) -> WorldClient { WorldClient(self, index) }
}

struct WorldShell: Shell {
    let world: ClusterWorld
    let index: Int

    mutating func connect(_ link: LinkID, kind: LinkKind, host: String, port: Int) {
        world.connect(index, link, kind, port)
    }

    mutating func send(_ link: LinkID, _ bytes: [UInt8]) {
        switch world.peers[ClusterWorld.End(node: index, link: link)] {
        case .link(let node, let other): world.queue.append(.linkBytes(node, other, bytes))
        case .session(let node, let id): world.queue.append(.sessionBytes(node, id, bytes))
        case nil: break
        }
    }

    mutating func close(_ link: LinkID) { world.closeLink(index, link) }

    mutating func perform(_ request: FileRequest) {
        switch request {
        case .replace(_, _, _, let ticket), .checkpoint(_, let ticket), .commit(_, _, let ticket),
            .openLog(_, _, _, let ticket), .writeLog(_, _, _, let ticket),
            .syncLog(_, let ticket), .rename(_, _, let ticket):
            world.queue.append(.fileDone(index, ticket))
        case .create, .append, .discard, .remove, .closeLog, .createFolder: break
        }
    }

    func writeLog(_ file: UInt64, _ bytes: Bytes) -> LogWriteResult { .done }

    mutating func perform(_ request: ProcessRequest) {}

    mutating func log(_ line: LogLine) { world.log.append("\(index) \(line.text)") }

    mutating func write(_ session: UnsafeMutablePointer<Session>) {
        let node = world.nodes[index]
        let id = session.pointee.id
        while true {
            let bytes = node.nextOutput(session).array
            if bytes.isEmpty { return }
            node.wrote(session, bytes.count)
            if let end = world.sessionLinks[id &* 16 &+ UInt64(index)] {
                world.queue.append(.linkBytes(end.node, end.link, bytes))
            } else {
                world.received["\(index)/\(id)", default: []] += bytes
            }
        }
    }

    mutating func close(_ session: UnsafeMutablePointer<Session>) {
        let key = session.pointee.id &* 16 &+ UInt64(index)
        if let end = world.sessionLinks.removeValue(forKey: key) {
            world.peers[end] = nil
            world.queue.append(.linkClosed(end.node, end.link, .closedByPeer))
        }
        world.nodes[index].sessionClosed(session)
    }
}

/// A client that shows replies as text with `|` for the line ends.
struct WorldClient {
    let world: ClusterWorld
    let index: Int
    let id: UInt64

    init(_ world: ClusterWorld, _ index: Int) {
        self.world = world
        self.index = index
        let admission = world.nodes[index].acceptClient(
            peer: "127.0.0.1:9", local: "127.0.0.1:7000", unixSocket: false)
        guard case .session(let session) = admission else {
            preconditionFailure("a client was refused")
        }
        id = session.pointee.id
    }

    /// The node's ID.
    var identity: String { String(run("CLUSTER MYID").split(separator: "|")[1]) }

    /// Sends one command of words separated by spaces and returns everything that came back.
    @discardableResult
    func run(_ line: String) -> String {
        run(line.split(separator: " ").map { $0 == "\"\"" ? "" : String($0) })
    }

    @discardableResult
    func run(_ words: [String]) -> String {
        send(words)
        world.settle()
        return take()
    }

    /// Sends without giving the nodes time to answer.
    func send(_ words: [String]) {
        var text = "*\(words.count)\r\n"
        for word in words { text += "$\(word.utf8.count)\r\n\(word)\r\n" }
        world.feed(index, id, Array(text.utf8))
    }

    /// What came since the last look.
    func take() -> String {
        let key = "\(index)/\(id)"
        let bytes = world.received.removeValue(forKey: key) ?? []
        var out = ""
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars where scalar != "\r" {
            out += scalar == "\n" ? "|" : String(scalar)
        }
        return out
    }
}
