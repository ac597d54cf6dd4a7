import Base
import Replication
import Testing

@Suite struct PrimaryStateTests {
    /// A primary with its history.
    private struct Driver {
        var state: PrimaryState
        var history = ReplicationHistory(id: idA)
        var prng = Prng(seed: 7)
        var now: Int64 = 0
        var isReplica = false
        var effects: [PrimaryEffect] = []

        init(_ configure: (inout PrimaryConfig) -> Void = { _ in }) {
            var config = PrimaryConfig()
            configure(&config)
            state = PrimaryState(config, at: at(0))
        }

        mutating func replconf(_ session: UInt64, _ words: String...) -> ReplconfReply {
            state.replconf(
                session: session, words, isReplica: isReplica, at: at(now), into: &effects)
        }

        mutating func announce(_ session: UInt64, port: Int) {
            _ = replconf(
                session, "listening-port", String(port), "capa", "eof", "capa", "psync2")
        }

        mutating func psync(_ session: UInt64, _ id: String? = "?", _ offset: Int64 = -1) {
            state.synchronize(
                session: session, peerIP: "10.0.0.\(session)", id: id, offset: offset,
                isReplica: isReplica, history: &history, prng: &prng, at: at(now), into: &effects)
        }

        mutating func start(endMark: String? = mark) {
            state.snapshotStarted(
                endMark: endMark, history: history, at: at(now), into: &effects)
        }

        mutating func sent(_ session: UInt64) {
            state.snapshotSent(session: session, at: at(now), into: &effects)
        }

        mutating func finish(_ succeeded: Bool = true) {
            state.snapshotFinished(succeeded: succeeded, at: at(now), into: &effects)
        }

        mutating func tick(_ milliseconds: Int64) {
            now += milliseconds
            state.tick(
                isReplica: isReplica, isPaused: false, history: &history, prng: &prng,
                at: at(now), into: &effects)
        }

        mutating func take() -> [String] {
            let lines = effects.map { describe($0) }
            effects.removeAll()
            return lines
        }

        /// One replica, online and acknowledged.
        mutating func attach(_ session: UInt64, port: Int) {
            announce(session, port: port)
            psync(session)
            if !state.snapshotIsRunning { tick(5_000) }
            start()
            sent(session)
            finish()
            _ = replconf(session, "ACK", String(history.offset))
            _ = take()
        }
    }

    @Test func fullSynchronization() {
        var driver = Driver()
        driver.announce(1, port: 7001)
        driver.psync(1)
        let id = driver.history.id
        #expect(id != idA)
        #expect(
            driver.take() == [
                "* Replica 10.0.0.1:7001 asks for synchronization",
                "* Full resync requested by replica 10.0.0.1:7001",
                "backlog created",
                "* Replication backlog created, my new replication IDs are '\(id)' and "
                    + "'\(ReplicationID.none)'",
                "* Delay next BGSAVE for diskless SYNC",
            ])
        driver.tick(1_000)
        #expect(driver.take() == ["send 1 ~"])
        // The second one shares the snapshot; the third comes too late.
        driver.announce(2, port: 7002)
        driver.psync(2)
        _ = driver.take()
        driver.tick(4_000)
        #expect(
            driver.take() == [
                // Signs of life first: behind the snapshot's head they would be part of it.
                "send 1 ~", "send 2 ~",
                "* Starting BGSAVE for SYNC with target: replicas sockets",
                "snapshot for [1, 2] mark true",
            ])
        driver.history.append(100)
        driver.start()
        #expect(
            driver.take() == [
                "send 1 +FULLRESYNC \(id) 100|$EOF:\(mark)|",
                "send 2 +FULLRESYNC \(id) 100|$EOF:\(mark)|",
            ])
        driver.announce(3, port: 7003)
        driver.psync(3)
        #expect(
            driver.take().last
                == "* Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC")
        #expect(driver.state.oldestNeededOffset == 101)
        driver.sent(1)
        #expect(
            driver.take() == [
                "* Streamed replica with replica 10.0.0.1:7001 succeeded (socket). Waiting for "
                    + "REPLCONF ACK from slave to enable streaming",
                "* Synchronization with replica 10.0.0.1:7001 succeeded",
                "online 1",
            ])
        #expect(driver.replconf(1, "ACK", "100") == .silence)
        #expect(driver.take() == ["stream 1 from 101"])
        #expect(driver.replconf(1, "ACK", "100") == .silence)
        #expect(driver.take().isEmpty)
        driver.sent(2)
        driver.now += 5_000
        driver.finish()
        #expect(driver.take().last == "snapshot for [3] mark true")
        #expect(driver.state.fullSyncs == 3)
        #expect(driver.state.refusedPartialSyncs == 0)
    }

    /// What the snapshot carries need not be kept, and is not sent again behind it.
    @Test func theStreamMayComeInsideOfTheSnapshot() {
        var driver = Driver { $0.snapshotDelay = .zero }
        driver.announce(1, port: 7001)
        _ = driver.replconf(1, "capa", "embedded-stream")
        driver.psync(1)
        #expect(driver.take().last == "snapshot for [1] mark true with stream")
        driver.history.append(100)
        driver.start()
        driver.history.append(900)
        driver.state.embedded(through: 400)
        #expect(driver.state.oldestNeededOffset == 401)
        driver.state.embedded(through: 950)
        driver.sent(1)
        driver.finish()
        #expect(driver.state.oldestNeededOffset == 951)
        _ = driver.take()
        // It has loaded the copy, and says so before it applies what came with it.
        #expect(driver.replconf(1, "ACK", "100") == .silence)
        #expect(driver.take() == ["stream 1 from 951"])
    }

    /// One that cannot take it there is enough.
    @Test func theStreamComesBehindASnapshotForOthers() {
        var driver = Driver { $0.snapshotDelay = Milliseconds(1000) }
        driver.announce(1, port: 7001)
        _ = driver.replconf(1, "capa", "embedded-stream")
        driver.psync(1)
        driver.announce(2, port: 7002)
        driver.psync(2)
        driver.tick(1000)
        #expect(driver.take().last == "snapshot for [1, 2] mark true")
    }

    @Test func groupsEndEarlyWhenFullOrUngrouped() {
        var full = Driver { $0.snapshotMaxReplicas = 2 }
        full.announce(1, port: 1)
        full.psync(1)
        full.announce(2, port: 2)
        full.psync(2)
        #expect(full.take().last == "snapshot for [1, 2] mark true")
        var single = Driver { $0.groupsSnapshots = false }
        single.announce(1, port: 1)
        single.psync(1)
        #expect(single.take().last == "snapshot for [1] mark true")
    }

    @Test func oldReplicasGetASize() {
        var driver = Driver()
        driver.psync(1, nil, 0)
        #expect(driver.take().last == "snapshot for [1] mark false")
        driver.start(endMark: nil)
        driver.state.snapshotSized(session: 1, bytes: 1_234, at: at(0), into: &driver.effects)
        driver.sent(1)
        #expect(
            driver.take() == [
                "send 1 ", "send 1 $1234|", "stream 1 from 1",
                "* Synchronization with replica 10.0.0.1:<unknown-replica-port> succeeded",
                "online 1",
            ])
        // It never acknowledges, and never times out.
        driver.tick(1_000_000)
        #expect(!driver.take().contains("close 1"))
    }

    @Test func partialSynchronization() {
        var driver = Driver()
        driver.attach(1, port: 7001)
        driver.history.append(500)
        #expect(driver.state.disconnected(session: 1, at: at(driver.now), into: &driver.effects))
        #expect(driver.take() == ["# Connection with replica 10.0.0.1:7001 lost."])
        driver.announce(2, port: 7001)
        driver.psync(2, driver.history.id.text, 301)
        #expect(
            Array(driver.take().suffix(3)) == [
                "send 2 +CONTINUE \(driver.history.id)|", "stream 2 from 301", "online 2",
            ])
        #expect(driver.state.partialSyncs == 1)
        driver.psync(3, idC.text, 301)
        #expect(driver.state.lastFullSyncReason == .differentHistory(asked: idC.text))
        #expect(driver.state.refusedPartialSyncs == 1)
    }

    @Test func failedSnapshot() {
        var driver = Driver()
        driver.announce(1, port: 1)
        driver.psync(1)
        driver.tick(5_000)
        driver.start()
        _ = driver.take()
        driver.finish(false)
        #expect(
            driver.take() == ["# SYNC failed. BGSAVE child returned an error", "close 1"])
        #expect(driver.state.replicas.isEmpty)
    }

    @Test func replicaThatLeavesDuringItsSnapshot() {
        var driver = Driver()
        driver.announce(1, port: 1)
        driver.psync(1)
        driver.tick(5_000)
        _ = driver.state.disconnected(session: 1, at: at(5_000), into: &driver.effects)
        _ = driver.take()
        driver.start()
        driver.sent(1)
        driver.finish()
        #expect(driver.take().isEmpty)
        driver.state.checkInvariants()
    }

    @Test func pingsAndTimeouts() {
        var driver = Driver { $0.timeout = Milliseconds(30_000) }
        driver.attach(1, port: 7001)
        driver.tick(10_000)
        #expect(driver.take() == ["feed PING"])
        driver.isReplica = true
        driver.tick(10_000)
        #expect(driver.take().isEmpty)
        driver.isReplica = false
        driver.tick(10_001)
        #expect(
            driver.take() == [
                "feed PING", "# Disconnecting timedout replica (streaming sync): 10.0.0.1:7001",
                "close 1",
            ])
        #expect(driver.state.replicas.isEmpty)
    }

    /// Loading a large snapshot takes longer than repl-timeout.
    @Test func newlinesKeepALoadingReplica() {
        var driver = Driver()
        driver.announce(1, port: 1)
        driver.psync(1)
        driver.tick(5_000)
        driver.start()
        driver.sent(1)
        for _ in 0..<5 {
            driver.tick(50_000)
            driver.state.newlineReceived(session: 1, at: at(driver.now))
        }
        #expect(!driver.take().contains("close 1"))
        #expect(driver.replconf(1, "ack", "0") == .silence)
        #expect(driver.take() == ["stream 1 from 1"])
    }

    @Test func stuckFullSynchronization() {
        var driver = Driver()
        driver.announce(1, port: 1)
        driver.psync(1)
        driver.tick(5_000)
        driver.start()
        driver.now += 50_000
        driver.state.snapshotProgressed(session: 1, at: at(driver.now))
        driver.tick(60_000)
        #expect(!driver.take().contains("close 1"))
        driver.tick(1)
        #expect(
            driver.take() == [
                "# Disconnecting timedout replica (full sync): 10.0.0.1:1", "close 1",
            ])
    }

    @Test func idleBacklogIsFreed() {
        var driver = Driver { $0.backlogTTL = Milliseconds(10_000) }
        driver.attach(1, port: 7001)
        let id = driver.history.id
        _ = driver.state.disconnected(session: 1, at: at(driver.now), into: &driver.effects)
        _ = driver.take()
        driver.tick(10_000)
        #expect(driver.history.backlog != nil)
        driver.tick(1)
        #expect(
            driver.take() == [
                "backlog freed",
                "* Replication backlog freed after 10 seconds without connected replicas.",
            ])
        #expect(driver.history.backlog == nil)
        #expect(driver.history.id != id)
    }

    @Test func enoughReplicas() {
        var driver = Driver {
            $0.minReplicasToWrite = 1
            $0.minReplicasMaxLag = Milliseconds(3_000)
        }
        #expect(!driver.state.hasEnoughReplicas(at: at(0)))
        driver.attach(1, port: 7001)
        #expect(driver.state.hasEnoughReplicas(at: at(driver.now + 3_999)))
        #expect(!driver.state.hasEnoughReplicas(at: at(driver.now + 4_000)))
        #expect(driver.state.acknowledgements(of: 0) == 1)
        #expect(driver.state.acknowledgements(of: 1) == 0)
        _ = driver.replconf(1, "ack", "10")
        _ = driver.replconf(1, "ack", "5")
        #expect(driver.state.acknowledgements(of: 10) == 1)
    }

    @Test func replconfErrors() {
        var driver = Driver()
        #expect(driver.replconf(1, "capa") == .error("ERR syntax error"))
        #expect(driver.replconf(1, "listening-port", "x") == .error(.notAnInteger))
        #expect(
            driver.replconf(1, "what", "x") == .error("ERR Unrecognized REPLCONF option: what"))
        let long = String(repeating: "x", count: 300)
        #expect(
            driver.replconf(1, "ip-address", long)
                == .error(
                    "ERR REPLCONF ip-address provided by replica instance is too long: 300 bytes"))
        #expect(driver.replconf(1, "capa", "future") == .ok)
        #expect(driver.replconf(1, "getack", "*") == .silence)
        driver.isReplica = true
        #expect(driver.replconf(1, "GETACK", "*") == .acknowledge)
        #expect(driver.replconf(9, "ack", "5") == .silence)
    }

    @Test func chainedReplicaKeepsItsPrimarysID() {
        var driver = Driver()
        driver.isReplica = true
        driver.announce(1, port: 1)
        driver.psync(1, idA.text, 1)
        #expect(driver.history.id == idA)
        #expect(driver.history.backlog != nil)
    }

    @Test func refusals() {
        typealias State = PrimaryState
        #expect(
            State.refusal(
                isReplica: true, linkUp: false, failover: .none, hasPendingOutput: false)?.text
                == "NOMASTERLINK Can't SYNC while not connected with my master")
        #expect(
            State.refusal(
                isReplica: false, linkUp: false, failover: .waitingForSync,
                hasPendingOutput: false)?.text == "NOMASTERLINK Can't SYNC while failing over")
        #expect(
            State.refusal(
                isReplica: false, linkUp: false, failover: .none, hasPendingOutput: false) == nil)
        let history = ReplicationHistory(id: idA)
        #expect(State.failoverRefusal(id: idA.text, isReplica: true, history: history) == nil)
        #expect(State.failoverRefusal(id: idB.text, isReplica: true, history: history) != nil)
        #expect(State.failoverRefusal(id: idA.text, isReplica: false, history: history) != nil)
    }

    @Test func infoAndRole() {
        var driver = Driver()
        _ = driver.replconf(1, "ip-address", "1.2.3.4")
        driver.attach(1, port: 7001)
        driver.history.append(20)
        driver.announce(2, port: 7002)
        driver.psync(2)
        let info = driver.state.infoLines(
            history: driver.history, failover: .none, at: at(driver.now + 2_500))
        #expect(
            info.split(separator: "\r\n") == [
                "connected_slaves:2",
                "slave0:ip=1.2.3.4,port=7001,state=online,offset=0,lag=2",
                "slave1:ip=10.0.0.2,port=7002,state=wait_bgsave,offset=0,lag=0",
                "master_failover_state:no-failover",
                "master_replid:\(driver.history.id)",
                "master_replid2:\(ReplicationID.none)",
                "master_repl_offset:20",
                "second_repl_offset:-1",
                "repl_backlog_active:1",
                "repl_backlog_size:1048576",
                "repl_backlog_first_byte_offset:1",
                "repl_backlog_histlen:20",
            ])
        #expect(driver.state.roleReplicas.map(\.session) == [1])
    }

    /// Random calls keep the invariants and end with nobody attached.
    @Test(arguments: Array(1...40) as [UInt64])
    func anyOrderOfEvents(seed: UInt64) {
        var prng = Prng(seed: seed)
        var driver = Driver { $0.snapshotMaxReplicas = prng.below(3) }
        var snapshotAsked = false
        for _ in 0..<400 {
            let session = UInt64(1 + prng.below(6))
            switch prng.below(10) {
            case 0: driver.announce(session, port: 7000)
            case 1: driver.psync(session)
            case 2: driver.psync(session, driver.history.id.text, Int64(prng.below(2_000)))
            case 3: _ = driver.replconf(session, "ack", String(prng.below(2_000)))
            case 4:
                _ = driver.state.disconnected(
                    session: session, at: at(driver.now), into: &driver.effects)
            case 5: driver.history.append(prng.below(100))
            case 6: driver.sent(session)
            case 7: if snapshotAsked { driver.start(endMark: prng.chance(1, in: 2) ? mark : nil) }
            case 8: if snapshotAsked { driver.finish(prng.chance(3, in: 4)) }
            default: driver.tick(Int64(prng.below(8_000)))
            }
            snapshotAsked = driver.state.snapshotIsRunning
            driver.state.checkInvariants()
            driver.history.checkInvariants()
        }
        driver.state.disconnectAll(at: at(driver.now), into: &driver.effects)
        #expect(driver.state.replicas.isEmpty)
    }
}
