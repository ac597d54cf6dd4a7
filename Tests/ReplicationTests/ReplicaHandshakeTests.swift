import Base
import Replication
import Testing

@Suite struct ReplicaHandshakeTests {
    /// Drives one link and keeps what it asked for.
    private struct Driver {
        var link: ReplicaHandshake
        var now: Int64 = 0
        var effects: [ReplicaEffect] = []

        init(_ config: ReplicaLinkConfig = ReplicaLinkConfig(listeningPort: 7000)) {
            link = ReplicaHandshake(config)
        }

        mutating func follow(_ resume: ResumePoint? = nil, failover: Bool = false) {
            link.follow(
                PrimaryAddress(host: "10.0.0.9", port: 6379), resume: resume, failover: failover,
                at: at(now), into: &effects)
        }

        mutating func open() { link.linkOpened(at: at(now), into: &effects) }

        mutating func receive(_ text: String) {
            link.received(Array(text.utf8), at: at(now), into: &effects)
        }

        mutating func close(_ reason: String = "Connection reset by peer") {
            link.linkClosed(reason, at: at(now), into: &effects)
        }

        mutating func tick(_ milliseconds: Int64) {
            now += milliseconds
            link.tick(at: at(now), into: &effects)
        }

        /// The effects since the last call, as lines.
        mutating func take() -> [String] {
            let lines = effects.map { describe($0) }
            effects.removeAll()
            return lines
        }

        /// Up to the answer to PSYNC.
        mutating func handshake() {
            open()
            receive("+PONG\r\n+OK\r\n+OK\r\n")
        }

        mutating func startStreaming() {
            follow(ResumePoint(id: idA, offset: 99))
            handshake()
            receive("+CONTINUE\r\n")
            _ = take()
        }
    }

    @Test func firstSynchronizationWithLength() {
        var driver = Driver()
        driver.follow()
        driver.open()
        driver.receive("+PONG\r\n")
        driver.receive("+OK\r\n+OK\r\n")
        driver.receive("\n\n+FULLRESYNC \(idA) 1000\r\n")
        driver.receive("\n$10\r\n0123456")
        driver.receive("789*1\r\n")
        #expect(
            driver.take() == [
                "* Connecting to MASTER 10.0.0.9:6379",
                "* MASTER <-> REPLICA sync started",
                "connect 10.0.0.9:6379",
                "* Non blocking connect for SYNC fired the event.",
                "send *1|$4|PING|",
                "* Master replied to PING, replication can continue...",
                "send *3|$8|REPLCONF|$14|listening-port|$4|7000|"
                    + "*7|$8|REPLCONF|$4|capa|$3|eof|$4|capa|$6|psync2|"
                    + "$4|capa|$15|embedded-stream|",
                "* Partial resynchronization not possible (no cached master)",
                "send *3|$5|PSYNC|$1|?|$2|-1|",
                "* Full resync from master: \(idA):1000",
                "full sync aaaa 1000",
                "* MASTER <-> REPLICA sync: receiving 10 bytes from master to parser",
                "detach replicas",
                "* MASTER <-> REPLICA sync: Flushing old data",
                "* MASTER <-> REPLICA sync: Loading DB in memory",
                "snapshot length(10)",
                "snapshot bytes 6..<13",
                "snapshot bytes 0..<3",
                "snapshot ended",
                "stream 3..<7",
            ])
        #expect(driver.link.phase == .loading)
        driver.link.loaded(at: at(0), into: &driver.effects)
        #expect(
            driver.take() == [
                "history aaaa 1000",
                "* MASTER <-> REPLICA sync: Finished with success",
                "online",
                "send *3|$8|REPLCONF|$3|ACK|$4|1000|",
            ])
        #expect(driver.link.readOffset == 1_004)
        driver.link.applied(through: 1_004)
        #expect(driver.link.resume == ResumePoint(id: idA, offset: 1_004))
        driver.tick(1_000)
        #expect(driver.take() == ["send *3|$8|REPLCONF|$3|ACK|$4|1004|"])
        driver.link.ackRequested(at: at(1_500), into: &driver.effects)
        #expect(driver.take() == ["send *3|$8|REPLCONF|$3|ACK|$4|1004|"])
    }

    @Test func authenticationAndAnnouncements() {
        var driver = Driver(
            ReplicaLinkConfig(
                user: "repl", password: "secret", listeningPort: 7000, announcedIP: "1.2.3.4"))
        driver.follow(ResumePoint(id: idA, offset: 41))
        driver.open()
        driver.receive("-NOAUTH Authentication required.\r\n")
        _ = driver.take()
        driver.receive("+OK\r\n-ERR port\r\n-ERR ip\r\n-ERR capa\r\n")
        #expect(
            driver.take() == [
                "* (Non critical) Master does not understand REPLCONF listening-port: -ERR port",
                "* (Non critical) Master does not understand REPLCONF ip-address: -ERR ip",
                "* (Non critical) Master does not understand REPLCONF capa: -ERR capa",
                "* Trying a partial resynchronization (request \(idA):42).",
                "send *3|$5|PSYNC|$40|\(idA)|$2|42|",
            ])
        var refused = Driver(ReplicaLinkConfig(password: "wrong"))
        refused.follow()
        refused.open()
        refused.receive("+PONG\r\n")
        let batch = refused.take().last ?? ""
        #expect(batch.hasPrefix("send *2|$4|AUTH|$5|wrong|*3|$8|REPLCONF|"))
        refused.receive("-WRONGPASS invalid\r\n")
        let first = refused.take().first
        #expect(first == "# Unable to AUTH to MASTER: -WRONGPASS invalid")
    }

    @Test func partialUnderANewName() {
        var driver = Driver()
        driver.follow(ResumePoint(id: idA, offset: 99))
        driver.handshake()
        _ = driver.take()
        driver.receive("+CONTINUE \(idB)\r\n*1\r\n$4\r\nPING\r\n")
        #expect(
            driver.take() == [
                "* Successful partial resynchronization with master.",
                "# Master replication ID changed to \(idB)",
                "continue bbbb",
                "disconnect replicas",
                "* MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.",
                "online",
                "send *3|$8|REPLCONF|$3|ACK|$2|99|",
                "stream 52..<66",
            ])
        #expect(driver.link.readOffset == 113)
        #expect(driver.link.resume == ResumePoint(id: idB, offset: 99))
    }

    @Test func lostLinkComesBackAtOnce() {
        var driver = Driver()
        driver.startStreaming()
        driver.link.streamed(50, at: at(10))
        driver.link.applied(through: 120)
        driver.close()
        #expect(
            driver.take() == [
                "# Connection with master lost.",
                "* Caching the disconnected master state.",
                "link lost",
                "* Reconnecting to MASTER 10.0.0.9:6379",
                "* MASTER <-> REPLICA sync started",
                "connect 10.0.0.9:6379",
            ])
        driver.handshake()
        #expect(driver.take().last == "send *3|$5|PSYNC|$40|\(idA)|$3|121|")
        let report = driver.link.report(at: at(5_000))
        #expect(report?.downSeconds == 5)
    }

    @Test func pacing() {
        var driver = Driver()
        driver.follow()
        var delays: [Int64] = []
        for _ in 0..<8 {
            driver.close("Connection refused")
            let failedAt = driver.now
            while case .waiting = driver.link.phase { driver.tick(10) }
            delays.append(driver.now - failedAt)
        }
        #expect(delays == [0, 20, 50, 100, 100, 1_000, 1_000, 1_000])
        let lines = driver.take()
        #expect(lines.contains("# Error condition on socket for SYNC: Connection refused"))
        #expect(lines.contains("* Reconnecting to MASTER 10.0.0.9:6379 after failure"))
    }

    @Test func timeouts() {
        let config = ReplicaLinkConfig(timeout: Milliseconds(5_000))
        var connecting = Driver(config)
        connecting.follow()
        connecting.tick(5_000)
        #expect(connecting.link.phase == .connecting)
        connecting.tick(1)
        #expect(connecting.take().contains("# Timeout connecting to the MASTER..."))

        var transfer = Driver(config)
        transfer.follow()
        transfer.handshake()
        transfer.receive("+FULLRESYNC \(idA) 1\r\n")
        transfer.now = 4_000
        // The primary's sign of life counts.
        transfer.receive("\n")
        transfer.tick(4_000)
        #expect(transfer.link.phase == .awaitingSnapshot)
        transfer.tick(1_001)
        let lines = transfer.take()
        #expect(lines.contains { $0.hasPrefix("# Timeout receiving bulk data from MASTER...") })
        #expect(lines.contains("abort full sync"))

        var streaming = Driver(config)
        streaming.startStreaming()
        streaming.tick(5_001)
        let lost = streaming.take()
        #expect(lost.contains("# MASTER timeout: no data nor PING received..."))
        #expect(lost.contains("close"))
        #expect(lost.contains("* Reconnecting to MASTER 10.0.0.9:6379"))
    }

    @Test func signsOfLifeWhileLoading() {
        var driver = Driver()
        driver.follow()
        driver.handshake()
        driver.receive("+FULLRESYNC \(idA) 1\r\n$1\r\nx")
        _ = driver.take()
        for _ in 0..<30 { driver.tick(100) }
        #expect(driver.take() == ["send ~", "send ~", "send ~"])
    }

    @Test func linkEndsWhileLoading() {
        var driver = Driver()
        driver.follow()
        driver.handshake()
        driver.receive("+FULLRESYNC \(idA) 77\r\n$1\r\nx")
        driver.close()
        _ = driver.take()
        driver.link.loaded(at: at(0), into: &driver.effects)
        #expect(driver.take().last == "connect 10.0.0.9:6379")
        driver.handshake()
        #expect(driver.take().last == "send *3|$5|PSYNC|$40|\(idA)|$2|78|")
    }

    @Test func loadFailure() {
        var driver = Driver()
        driver.follow()
        driver.handshake()
        driver.receive("+FULLRESYNC \(idA) 1\r\n$1\r\nx")
        _ = driver.take()
        driver.link.loadFailed("damaged", at: at(0), into: &driver.effects)
        #expect(
            driver.take().prefix(3) == [
                "# Failed trying to load the MASTER synchronization DB from socket: damaged",
                "close", "abort full sync",
            ])
    }

    @Test func primaryIsNotReady() {
        for reply in ["-NOMASTERLINK Can't SYNC", "-LOADING wait"] {
            var driver = Driver()
            driver.follow(ResumePoint(id: idA, offset: 99))
            driver.handshake()
            _ = driver.take()
            driver.receive("\(reply)\r\n")
            let first = driver.take().first
            #expect(
                first
                    == "# Master is currently unable to PSYNC but should be in the future: \(reply)"
            )
            #expect(driver.link.resume == ResumePoint(id: idA, offset: 99))
        }
    }

    @Test func fallsBackToSync() {
        var driver = Driver()
        driver.follow()
        driver.handshake()
        _ = driver.take()
        driver.receive("-ERR unknown command 'PSYNC'\r\n$1\r\nx")
        #expect(
            driver.take().prefix(4) == [
                "* Master does not support PSYNC or is in error state (reply: -ERR unknown "
                    + "command 'PSYNC')",
                "* Retrying with SYNC...",
                "full sync - -1",
                "send SYNC|",
            ])
        driver.link.loaded(at: at(0), into: &driver.effects)
        #expect(
            driver.take() == [
                "history - 0", "* MASTER <-> REPLICA sync: Finished with success", "online",
            ])
        driver.tick(3_000)
        #expect(driver.take().isEmpty)
        #expect(driver.link.nextDeadline == at(60_000))
    }

    @Test func failover() {
        var accepted = Driver()
        accepted.follow(ResumePoint(id: idA, offset: 99), failover: true)
        accepted.handshake()
        #expect(accepted.take().last == "send *4|$5|PSYNC|$40|\(idA)|$3|100|$8|FAILOVER|")
        accepted.receive("+CONTINUE \(idB)\r\n")
        #expect(accepted.take().first == "failover accepted")
        var rejected = Driver()
        rejected.follow(ResumePoint(id: idA, offset: 99), failover: true)
        rejected.handshake()
        _ = rejected.take()
        rejected.receive("-ERR PSYNC FAILOVER replid must match my replid.\r\n")
        #expect(
            rejected.take().last == "failover rejected: Failover target rejected psync request")
    }

    @Test func nonsense() {
        let cases: [(String, String)] = [
            ("$-5\r\n", "# Bad protocol from MASTER, the first byte is not '$'"),
            ("hello\r\n", "# Bad protocol from MASTER, the first byte is not '$'"),
            ("$99999999999999999999\r\n", "# Bad protocol from MASTER"),
            ("$EOF:short\r\n", "# Bad protocol from MASTER"),
            ("-ERR no\r\n", "# MASTER aborted replication with an error: ERR no"),
            (String(repeating: "x", count: 2_000), "# Failed to read response from the server"),
        ]
        for (input, expected) in cases {
            var driver = Driver()
            driver.follow()
            driver.handshake()
            driver.receive("+FULLRESYNC \(idA) 1\r\n")
            _ = driver.take()
            driver.receive(input)
            #expect(driver.take().first?.hasPrefix(expected) == true)
        }
        for reply in [
            "+FULLRESYNC", "+FULLRESYNC x 1", "+FULLRESYNC \(idA) -1",
            "+FULLRESYNC \(idA) 9223372036854775807", "+CONTINUE",
        ] {
            var driver = Driver()
            driver.follow()
            driver.handshake()
            driver.receive("\(reply)\r\n")
            #expect(driver.link.phase == .connecting, "after \(reply)")
        }
    }

    @Test func unfollow() {
        var driver = Driver()
        driver.startStreaming()
        driver.link.unfollow(into: &driver.effects)
        #expect(driver.take() == ["close", "link lost"])
        #expect(driver.link.report(at: at(0)) == nil)
        driver.close()
        driver.receive("+OK\r\n")
        driver.tick(100_000)
        #expect(driver.take().isEmpty)
    }

    @Test func abandonWaits() {
        var driver = Driver()
        driver.startStreaming()
        driver.link.abandon(because: "no", at: at(0), into: &driver.effects)
        #expect(driver.take() == ["# no", "close", "link lost"])
        #expect(driver.link.phase == .waiting(until: at(1_000)))
    }

    // MARK: The snapshot's end

    /// What the snapshot held, however the bytes were cut.
    private func snapshot(
        _ stream: [UInt8], _ sizes: () -> Int
    ) -> (body: [UInt8], rest: [UInt8])? {
        var driver = Driver()
        driver.follow()
        driver.handshake()
        driver.receive("+FULLRESYNC \(idA) 1\r\n$EOF:\(mark)\r\n")
        driver.effects.removeAll()
        var body: [UInt8] = []
        var rest: [UInt8] = []
        var position = 0
        while position < stream.count {
            let size = min(max(1, sizes()), stream.count - position)
            let piece = Array(stream[position..<(position + size)])
            position += size
            driver.link.received(piece, at: at(0), into: &driver.effects)
            for effect in driver.effects {
                switch effect {
                case .snapshotRange(let range): body += piece[range]
                case .snapshotBytes(let bytes): body += bytes
                case .stream(let range): rest += piece[range]
                default: break
                }
            }
            driver.effects.removeAll()
        }
        return driver.link.phase == .loading ? (body, rest) : nil
    }

    @Test(arguments: Array(1...60) as [UInt64])
    func findsTheMarkWhereverItLies(seed: UInt64) {
        var prng = Prng(seed: seed)
        var body: [UInt8] = []
        let pieces = prng.below(12)
        for _ in 0..<pieces {
            // Near misses: prefixes of the mark, and noise of its characters.
            body += Array(mark.utf8.prefix(prng.below(40)))
            body += (0..<prng.below(50)).map { _ in UInt8(48 + prng.below(11)) }
        }
        let rest = (0..<prng.below(100)).map { _ in UInt8(prng.below(256)) }
        let stream = body + Array(mark.utf8) + rest
        for largest in [1, 2, 39, 40, 41, 500] {
            let found = snapshot(stream) { 1 + prng.below(largest) }
            #expect(found?.body == body)
            #expect(found?.rest == rest)
        }
        #expect(snapshot(Array(stream.prefix(body.count + 39))) { 7 } == nil)
    }

    // MARK: Hostile peers

    /// Noise in each phase, and a good start cut anywhere: never a crash, never a stuck link.
    @Test(arguments: Array(1...60) as [UInt64])
    func survivesHostileBytes(seed: UInt64) {
        var prng = Prng(seed: seed)
        let good = Array(
            "+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC \(idA) 10\r\n$EOF:\(mark)\r\nbody\(mark)".utf8)
        for _ in 0..<60 {
            var driver = Driver(ReplicaLinkConfig(password: prng.chance(1, in: 3) ? "p" : nil))
            driver.follow(prng.chance(1, in: 2) ? ResumePoint(id: idA, offset: 5) : nil)
            driver.open()
            var input = Array(good.prefix(prng.below(good.count + 1)))
            input += (0..<prng.below(300)).map { _ in
                prng.chance(1, in: 4)
                    ? Array("\r\n+-$*:".utf8)[prng.below(7)] : UInt8(prng.below(256))
            }
            var position = 0
            while position < input.count {
                let size = min(1 + prng.below(50), input.count - position)
                driver.link.received(
                    Array(input[position..<(position + size)]), at: at(driver.now),
                    into: &driver.effects)
                position += size
                if prng.chance(1, in: 10) { driver.tick(Int64(prng.below(70_000))) }
                if prng.chance(1, in: 10), driver.link.phase == .connecting { driver.open() }
            }
            if driver.link.phase == .loading {
                driver.link.loaded(at: at(driver.now), into: &driver.effects)
            }
            driver.close()
            driver.tick(61_000)
            driver.tick(61_000)
            driver.link.checkInvariants()
            #expect(driver.link.phase != .none)
        }
    }

    @Test func report() {
        var driver = Driver()
        driver.follow()
        driver.handshake()
        driver.receive("+FULLRESYNC \(idA) 1\r\n$300\r\n")
        driver.receive(String(repeating: "x", count: 100))
        #expect(
            driver.link.report(at: at(2_000))?.infoLines
                == [
                    "master_host:10.0.0.9", "master_port:6379", "master_link_status:down",
                    "master_last_io_seconds_ago:-1", "master_sync_in_progress:1",
                    "slave_read_repl_offset:1", "slave_repl_offset:1",
                    "master_sync_total_bytes:300", "master_sync_read_bytes:100",
                    "master_sync_left_bytes:200", "master_sync_perc:33.33",
                    "master_sync_last_io_seconds_ago:2", "master_link_down_since_seconds:-1", "",
                ].joined(separator: "\r\n"))
        driver.startStreaming()
        #expect(driver.link.report(at: at(3_000))?.phase.roleWord == "connected")
        #expect(driver.link.report(at: at(3_000))?.roleOffset == 99)
    }
}
