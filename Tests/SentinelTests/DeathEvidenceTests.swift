// When a sentinel takes a node of a cluster for dead before the node timeout: a cluster of one
// node, whose every packet is given by hand.
import Base
import Sentinel
import Testing

private let node = String(repeating: "a", count: 40)

private struct Watch {
    var state: SentinelState
    var milliseconds: Int64 = 1_000_000
    /// What happens to the connection for votes happens to those by which the shard is monitored.
    private var pending: [SentinelConnect] = []
    private var opened: [ConnectionID] = []
    var events: [String] = []

    var now: Now {
        Now(
            instant: Instant(microseconds: milliseconds * 1000),
            wall: WallTime(milliseconds: milliseconds))
    }

    init() throws {
        let directive = SentinelConf.Directive(
            number: 1, words: ["monitor-cluster", "m", "10.0.0.1", "6379", "2"])
        let start = Now(
            instant: Instant(microseconds: 1_000_000_000), wall: WallTime(milliseconds: 1_000_000))
        state = try SentinelState.load(
            [directive], seed: 1, now: start, resolve: { _ in nil }, isExecutable: { _ in false })
        pass(100)
        open()
        answer("+OK\r\n")
        answer(bulk(node))
        answer(bulk("\(node) 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-16383\n"))
        pass(100)
        let fields = [
            "id", node, "epoch", "1", "role", "master", "config-epoch", "1", "node-timeout", "5000",
            "stamp", "1", "voter-version", "0", "voters", "-", "request", "-",
        ]
        answer("*\(fields.count)\r\n" + fields.map(bulk).joined())
        #expect(events.isEmpty)
    }

    private func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }

    /// The ports that new connections are under way to.
    var ports: Set<Int> { Set(pending.map(\.port)) }

    mutating func step(_ input: SentinelInput) {
        var effects = SentinelEffects()
        state.step(input, at: now, into: &effects)
        pending += effects.connect
        pending.removeAll { effects.close.contains($0.connection) }
        opened.removeAll(where: effects.close.contains)
        if let request = effects.state { step(.stateSynced(version: request.version)) }
        events += effects.events.filter { $0.type.contains("cluster-node") }.map {
            "\($0.type) \($0.message)"
        }
    }

    mutating func open() {
        let those = pending.map(\.connection)
        pending = []
        opened += those
        for connection in those { step(.opened(connection, localAddress: "10.0.0.9")) }
    }

    mutating func answer(_ text: String) {
        for connection in opened { step(.received(connection, Array(text.utf8))) }
    }

    /// What stands breaks or is lost, and what does not stand is refused.
    mutating func end(_ end: ConnectionEnd) {
        let those = end == .refused ? pending.map(\.connection) : opened
        if end == .refused { pending = [] } else { opened = [] }
        for connection in those { step(.closed(connection, end)) }
    }

    /// What the listening socket of a dying process still does for new connections.
    mutating func acceptAndHangUp() {
        open()
        end(.broken)
    }

    mutating func pass(_ time: Int64) {
        for _ in 0..<time / 10 {
            milliseconds += 10
            step(.tick)
        }
    }
}

@Suite struct DeathEvidenceTests {
    private let isGone = ["+cluster-node-down m \(node) #its process is gone"]
    private let isSilent = ["+cluster-node-down m \(node) #no answer"]

    @Test func twoRefusalsAfterALossAreADeath() throws {
        var watch = try Watch()
        watch.end(.broken)
        #expect(watch.ports.contains(6379))
        watch.end(.refused)
        #expect(watch.events.isEmpty)
        watch.pass(30)
        #expect(watch.ports.contains(16379))
        watch.end(.refused)
        #expect(watch.events == isGone)
    }

    /// A container's address dies with it.
    @Test func noNewConnectionForSoLongIsADeath() throws {
        var watch = try Watch()
        watch.end(.broken)
        watch.pass(390)
        #expect(watch.events.isEmpty)
        watch.pass(10)
        #expect(watch.events == isGone)
    }

    /// The kernel closes the sockets of a dying process one by one: a new connection may still be
    /// accepted on its behalf.
    @Test func aListeningSocketMayDieLast() throws {
        var watch = try Watch()
        watch.end(.broken)
        watch.acceptAndHangUp()
        watch.pass(30)
        #expect(watch.ports.contains(6379))
        watch.end(.refused)
        watch.pass(30)
        #expect(watch.ports.contains(16379))
        watch.end(.refused)
        #expect(watch.events == isGone)
    }

    @Test func aListeningSocketMayDieLastAndTheAddressWithIt() throws {
        var watch = try Watch()
        watch.end(.broken)
        watch.acceptAndHangUp()
        watch.pass(390)
        #expect(watch.events.isEmpty)
        watch.pass(20)
        #expect(watch.events == isGone)
    }

    @Test func aPortThatAcceptsAndHangsUpIsNoDeath() throws {
        var watch = try Watch()
        watch.end(.broken)
        for _ in 0..<100 {
            watch.acceptAndHangUp()
            watch.pass(30)
        }
        watch.pass(1900)
        #expect(watch.events.isEmpty)
        watch.pass(200)
        #expect(watch.events == isSilent)
    }

    @Test func whoAnswersLives() throws {
        var watch = try Watch()
        watch.end(.broken)
        watch.open()
        watch.answer("+OK\r\n")
        watch.end(.broken)
        watch.pass(1000)
        #expect(watch.events.isEmpty)
    }

    @Test func whoListensOnTheBusLives() throws {
        var watch = try Watch()
        watch.end(.broken)
        watch.end(.refused)
        watch.pass(30)
        #expect(watch.ports.contains(16379))
        watch.open()
        watch.pass(1000)
        #expect(watch.events.isEmpty)
    }

    @Test func aConnectionThatIsLostProvesNothing() throws {
        var watch = try Watch()
        watch.end(.lost)
        watch.pass(110)
        watch.end(.refused)
        watch.pass(110)
        watch.end(.refused)
        watch.pass(1000)
        #expect(watch.events.isEmpty)
    }
}
