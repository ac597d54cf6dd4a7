// A small world for sentinels: the real machine, several times, against a model of a primary and
// its replicas, over a network that delays, cuts and refuses, on disks that forget what was not
// synced. One seed decides everything.
import Base
import Sentinel

/// Who is at an address: sentinels at port 26379 and nodes at 6379, hosts numbered.
struct Peer: Hashable, Comparable {
    var isSentinel: Bool
    var index: Int

    var host: String { isSentinel ? "10.0.1.\(index + 1)" : "10.0.0.\(index + 1)" }
    var port: Int { isSentinel ? 26379 : 6379 }

    static func < (a: Peer, b: Peer) -> Bool {
        a.isSentinel == b.isSentinel ? a.index < b.index : a.isSentinel
    }

    init(sentinel index: Int) {
        isSentinel = true
        self.index = index
    }

    init(node index: Int) {
        isSentinel = false
        self.index = index
    }

    init?(host: String) {
        let parts = host.split(separator: ".").compactMap { Int($0) }
        guard parts.count == 4 else { return nil }
        isSentinel = parts[2] == 1
        index = parts[3] - 1
    }
}

/// One instance of the model: enough of a server for a sentinel.
struct ModelNode {
    var isUp = true
    var runID: String
    var followed: Peer?
    var followedSince = 0
    var offset: UInt64 = 1000
    var linkDownSince: Int?
    var priority = 100
    var subscribers: Set<UInt64> = []
    var promotions = 0
}

struct SimSentinel {
    var state: SentinelState
    var isUp = true
    /// The file as it is on disk.
    var disk: [SentinelConf.Line] = []
    var events: [String] = []
    var lastVoteForMyself: UInt64 = 0
}

struct World {
    enum Happening {
        case tick(sentinel: Int, life: Int)
        case open(UInt64)
        case refuse(UInt64)
        case data(UInt64, [UInt8], toOpener: Bool)
        case synced(sentinel: Int, life: Int, version: UInt64, lines: [SentinelConf.Line])
        case cut(UInt64)
    }

    struct Wire {
        var opener: Int
        var connection: ConnectionID
        var target: Peer
        var isOpen = false
        var input: [UInt8] = []
        var queue: [[String]]?
        var lastDelivery = 0
    }

    var random: Prng
    /// Milliseconds.
    var time = 1_000_000
    var sentinels: [SimSentinel] = []
    var lives: [Int] = []
    var nodes: [ModelNode] = []
    var wires: [UInt64: Wire] = [:]
    var byConnection: [Int: [ConnectionID: UInt64]] = [:]
    var nextWire: UInt64 = 1
    var happenings: [(time: Int, order: Int, what: Happening)] = []
    var order = 0
    /// Pairs that cannot talk.
    var cuts: Set<[Peer]> = []
    var slowest = 20
    var diskDelay = 5
    var elected: [UInt64: Int] = [:]
    var votes: [String: String] = [:]
    var violations: [String] = []

    var now: Now {
        Now(
            instant: Instant(microseconds: Int64(time) * 1000),
            wall: WallTime(milliseconds: Int64(time) + 1_700_000_000_000))
    }

    init(seed: UInt64, sentinels count: Int, nodes nodeCount: Int, quorum: Int, downAfter: Int) {
        random = Prng(seed: seed)
        for index in 0..<nodeCount {
            var node = ModelNode(runID: random.hex(40))
            if index > 0 { node.followed = Peer(node: 0) }
            nodes.append(node)
        }
        for index in 0..<count {
            let words = [
                ["monitor", "mymaster", Peer(node: 0).host, "6379", "\(quorum)"],
                ["down-after-milliseconds", "mymaster", "\(downAfter)"],
                ["failover-timeout", "mymaster", "10000"],
            ]
            boot(index, words: words)
        }
    }

    // MARK: Sentinels

    mutating func boot(_ index: Int, words: [[String]]) {
        let directives = words.enumerated().map {
            SentinelConf.Directive(number: $0.offset + 1, words: $0.element)
        }
        do {
            var state = try SentinelState.load(
                directives, seed: random.next(), now: now, resolve: { _ in nil },
                isExecutable: { _ in true })
            var effects = SentinelEffects()
            state.announceStart(at: now, into: &effects)
            if index < sentinels.count {
                lives[index] += 1
                sentinels[index].state = state
                sentinels[index].isUp = true
            } else {
                lives.append(0)
                sentinels.append(SimSentinel(state: state))
            }
            carryOut(index, effects)
            plan(random.below(100), .tick(sentinel: index, life: lives[index]))
        } catch {
            violations.append("a saved file cannot be read: \(error)")
        }
    }

    mutating func crash(_ index: Int) {
        sentinels[index].isUp = false
        for (number, wire) in wires
        where wire.opener == index || wire.target == Peer(sentinel: index) {
            drop(number, tellOpener: wire.opener != index)
        }
        byConnection[index] = [:]
    }

    mutating func restart(_ index: Int) {
        // Through the text of the file, as in life.
        let text = SentinelConf.merge(Array("port 26379\n".utf8), sentinels[index].disk)
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
        boot(
            index,
            words: lines.filter { $0.hasPrefix("sentinel ") }.map {
                $0.split(separator: " ").dropFirst().map(String.init)
            })
    }

    mutating func step(_ index: Int, _ input: SentinelInput) -> SentinelReply? {
        guard sentinels[index].isUp else { return nil }
        var effects = SentinelEffects()
        sentinels[index].state.step(input, at: now, into: &effects)
        carryOut(index, effects)
        return effects.reply
    }

    mutating func carryOut(_ index: Int, _ effects: SentinelEffects) {
        for event in effects.events { note(index, event) }
        if let state = effects.state {
            plan(
                1 + random.below(diskDelay),
                .synced(
                    sentinel: index, life: lives[index], version: state.version,
                    lines: state.lines))
        }
        for close in effects.close {
            if let wire = byConnection[index]?[close] { drop(wire, tellOpener: false) }
        }
        for connect in effects.connect { self.connect(index, connect) }
        for send in effects.send {
            guard let wire = byConnection[index]?[send.connection] else { continue }
            transmit(wire, send.bytes, toOpener: false)
        }
    }

    private mutating func note(_ index: Int, _ event: SentinelEvent) {
        sentinels[index].events.append("\(event.type) \(event.message)")
        let words = event.message.split(separator: " ").map(String.init)
        if event.type == "+vote-for-leader", words[0] == sentinels[index].state.myID {
            sentinels[index].lastVoteForMyself = UInt64(words[1]) ?? 0
        }
        if event.type == "+elected-leader" {
            let epoch = sentinels[index].lastVoteForMyself
            if let other = elected[epoch], other != index {
                violations.append("two leaders in epoch \(epoch): \(other) and \(index)")
            }
            elected[epoch] = index
        }
    }

    // MARK: Network

    mutating func plan(_ delay: Int, _ what: Happening) {
        order += 1
        happenings.append((time + delay, order, what))
    }

    func canTalk(_ a: Peer, _ b: Peer) -> Bool { !cuts.contains([min(a, b), max(a, b)]) }

    func isUp(_ peer: Peer) -> Bool {
        if peer.isSentinel {
            return sentinels.indices.contains(peer.index) && sentinels[peer.index].isUp
        }
        return nodes.indices.contains(peer.index) && nodes[peer.index].isUp
    }

    private mutating func connect(_ index: Int, _ request: SentinelConnect) {
        guard let target = Peer(host: request.host) else { return }
        let wire = nextWire
        nextWire += 1
        wires[wire] = Wire(opener: index, connection: request.connection, target: target)
        byConnection[index, default: [:]][request.connection] = wire
        // What is cut off answers nothing at all.
        guard canTalk(Peer(sentinel: index), target) else { return }
        plan(1 + random.below(3), isUp(target) ? .open(wire) : .refuse(wire))
    }

    private mutating func transmit(_ wire: UInt64, _ bytes: [UInt8], toOpener: Bool) {
        guard var open = wires[wire] else { return }
        let arrival = max(time + 1 + random.below(slowest), open.lastDelivery)
        open.lastDelivery = arrival
        wires[wire] = open
        plan(arrival - time, .data(wire, bytes, toOpener: toOpener))
    }

    mutating func drop(_ number: UInt64, tellOpener: Bool) {
        guard let wire = wires.removeValue(forKey: number) else { return }
        if !wire.target.isSentinel { nodes[wire.target.index].subscribers.remove(number) }
        byConnection[wire.opener]?[wire.connection] = nil
        if tellOpener { _ = step(wire.opener, .closed(wire.connection)) }
    }

    mutating func killNode(_ index: Int) {
        nodes[index].isUp = false
        nodes[index].subscribers = []
        for number in wires.keys.sorted() where wires[number]?.target == Peer(node: index) {
            plan(1, .cut(number))
        }
        for other in nodes.indices where nodes[other].followed == Peer(node: index) {
            nodes[other].linkDownSince = time
        }
    }

    mutating func startNode(_ index: Int) {
        nodes[index].isUp = true
        nodes[index].runID = random.hex(40)
        for other in nodes.indices where nodes[other].followed == Peer(node: index) {
            nodes[other].linkDownSince = nil
        }
    }

    // MARK: Running

    mutating func run(for duration: Int) {
        let end = time + duration
        while true {
            let next = happenings.indices.min { a, b in
                (happenings[a].time, happenings[a].order)
                    < (happenings[b].time, happenings[b].order)
            }
            guard let next, happenings[next].time <= end else { break }
            let happening = happenings[next]
            happenings.swapAt(next, happenings.count - 1)
            happenings.removeLast()
            time = max(time, happening.time)
            perform(happening.what)
        }
        time = end
    }

    private mutating func perform(_ what: Happening) {
        switch what {
        case .tick(let index, let life):
            guard lives[index] == life, sentinels[index].isUp else { return }
            _ = step(index, .tick)
            let period = Int(sentinels[index].state.tickPeriod.count)
            plan(period, .tick(sentinel: index, life: life))
        case .open(let wire):
            guard let open = wires[wire] else { return }
            wires[wire]?.isOpen = true
            _ = step(
                open.opener,
                .opened(open.connection, localAddress: Peer(sentinel: open.opener).host))
        case .refuse(let wire), .cut(let wire):
            drop(wire, tellOpener: true)
        case .data(let wire, let bytes, let toOpener):
            guard let open = wires[wire] else { return }
            guard canTalk(Peer(sentinel: open.opener), open.target) else { return }
            guard isUp(open.target) else { return }
            if toOpener {
                _ = step(open.opener, .received(open.connection, bytes))
            } else {
                wires[wire]?.input += bytes
                serve(wire)
            }
        case .synced(let index, let life, let version, let lines):
            guard lives[index] == life, sentinels[index].isUp else { return }
            sentinels[index].disk = lines
            _ = step(index, .stateSynced(version: version))
        }
    }

    // MARK: What instances answer

    private mutating func serve(_ number: UInt64) {
        while let words = nextCommand(number) {
            guard let wire = wires[number] else { return }
            let answer =
                wire.target.isSentinel
                ? answerOfSentinel(wire.target.index, words)
                : answerOfNode(wire.target.index, words, number)
            if let answer { transmit(number, Array(answer.utf8), toOpener: true) }
        }
    }

    private mutating func nextCommand(_ number: UInt64) -> [String]? {
        guard let wire = wires[number], !wire.input.isEmpty else { return nil }
        var position = 0
        func line() -> String {
            var end = position
            while wire.input[end] != 13 { end += 1 }
            defer { position = end + 2 }
            return String(decoding: wire.input[position..<end], as: UTF8.self)
        }
        let count = Int(line().dropFirst()) ?? 0
        var words: [String] = []
        for _ in 0..<count {
            let length = Int(line().dropFirst()) ?? 0
            let word = wire.input[position..<(position + length)]
            words.append(String(decoding: word, as: UTF8.self))
            position += length + 2
        }
        wires[number]?.input.removeFirst(position)
        return words
    }

    private func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }

    private mutating func answerOfSentinel(_ index: Int, _ words: [String]) -> String? {
        let state = sentinels[index].state
        switch (words[0].uppercased(), words.count > 1 ? words[1].uppercased() : "") {
        case ("PING", _): return "+PONG\r\n"
        case ("SENTINEL", "MYID"): return bulk(state.myID)
        case ("SENTINEL", "MASTER"):
            let fields = state.primaryFields(words[2]) ?? []
            return "*\(fields.count * 2)\r\n"
                + fields.map { bulk($0.name) + bulk($0.value) }.joined()
        case ("SENTINEL", "GET-MASTER-ADDR-BY-NAME"):
            guard let address = state.clientAddress(of: words[2]) else { return "*-1\r\n" }
            return "*2\r\n" + bulk(address.host) + bulk("\(address.port)")
        case ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR"):
            let reply = step(
                index,
                .command(
                    .isPrimaryDown(
                        host: words[2], port: Int(words[3]) ?? 0, epoch: UInt64(words[4]) ?? 0,
                        runID: words[5])))
            guard case .primaryState(let answer)? = reply else { return "-ERR\r\n" }
            let isTold = sentinels[index].state.isDurable(answer.version)
            let leader = isTold ? answer.leader ?? "*" : "*"
            if leader != "*" { noteVote(index, answer.epoch, leader) }
            return "*3\r\n:\(answer.isDown ? 1 : 0)\r\n" + bulk(leader)
                + ":\(isTold ? answer.epoch : 0)\r\n"
        case ("PUBLISH", _):
            _ = step(index, .command(.hello(Array(words[2].utf8))))
            return ":1\r\n"
        default: return "+OK\r\n"
        }
    }

    private mutating func noteVote(_ voter: Int, _ epoch: UInt64, _ leader: String) {
        let key = "\(voter)/\(epoch)"
        if let before = votes[key], before != leader {
            violations.append("sentinel \(voter) voted twice in epoch \(epoch)")
        }
        votes[key] = leader
    }

    private mutating func answerOfNode(
        _ index: Int, _ words: [String], _ wire: UInt64
    ) -> String? {
        switch words[0].uppercased() {
        case "PING": return "+PONG\r\n"
        case "INFO": return bulk(info(index))
        case "SUBSCRIBE":
            nodes[index].subscribers.insert(wire)
            return "*3\r\n" + bulk("subscribe") + bulk(words[1]) + ":1\r\n"
        case "PUBLISH":
            let message = "*3\r\n" + bulk("message") + bulk(words[1]) + bulk(words[2])
            for listener in nodes[index].subscribers.sorted() {
                transmit(listener, Array(message.utf8), toOpener: true)
            }
            return ":\(nodes[index].subscribers.count)\r\n"
        case "MULTI":
            wires[wire]?.queue = []
            return "+OK\r\n"
        case "EXEC":
            let queue = wires[wire]?.queue ?? []
            wires[wire]?.queue = nil
            for command in queue where command[0].uppercased() == "SLAVEOF" {
                follow(index, command[1], command[2])
            }
            return "*1\r\n+OK\r\n"
        default:
            guard wires[wire]?.queue != nil else { return "+OK\r\n" }
            wires[wire]?.queue?.append(words)
            return "+QUEUED\r\n"
        }
    }

    private mutating func follow(_ index: Int, _ host: String, _ port: String) {
        if host.uppercased() == "NO" {
            if nodes[index].followed != nil { nodes[index].promotions += 1 }
            nodes[index].followed = nil
            nodes[index].linkDownSince = nil
            return
        }
        nodes[index].followed = Peer(host: host)
        nodes[index].followedSince = time
        let isThere = nodes[index].followed.map(isUp) ?? false
        nodes[index].linkDownSince = isThere ? nil : time
    }

    private func info(_ index: Int) -> String {
        let node = nodes[index]
        var text = "# Server\r\nrun_id:\(node.runID)\r\n# Replication\r\n"
        if let followed = node.followed {
            let isLinked = node.linkDownSince == nil && time - node.followedSince > 50
            text += "role:slave\r\nmaster_host:\(followed.host)\r\nmaster_port:6379\r\n"
            text += "master_link_status:\(isLinked ? "up" : "down")\r\n"
            if let since = node.linkDownSince {
                text += "master_link_down_since_seconds:\((time - since) / 1000)\r\n"
            }
            text += "slave_priority:\(node.priority)\r\nslave_repl_offset:\(node.offset)\r\n"
        } else {
            text += "role:master\r\n"
            var count = 0
            for (other, replica) in nodes.enumerated()
            where replica.followed == Peer(node: index) && replica.isUp {
                text += "slave\(count):ip=\(Peer(node: other).host),port=6379,state=online,"
                text += "offset=1,lag=0\r\n"
                count += 1
            }
        }
        return text
    }
}
