// What commands may cost in memory: once a session is warm, reading and overwriting keys takes no
// memory from the C library and none from the keyspace. Run in a process of its own, because the
// C library counts for the whole process.
import Base
import CLinux
import Engine
import Glibc
import NodeCore
import Storage
import Testing

/// A node with one client, both without sockets.
private struct LoneClient {
    let node: NodePointer
    let session: UnsafeMutablePointer<Session>

    init?(cluster: Bool, _ settings: Settings = Settings()) {
        var settings = settings
        settings.clusterEnabled = cluster
        // The histogram of a command's times grows with the range of times that are seen.
        settings.latencyTracking = false
        let now = Now(
            instant: Instant(microseconds: 1_000_000),
            wall: WallTime(milliseconds: 1_700_000_000_000))
        node = NodePointer.make(settings: settings, now: now, seed: 1, sipKey: SipKey(1, 2))
        guard
            case .session(let session) = node.acceptClient(
                peer: "127.0.0.1:50000", local: "127.0.0.1:6379", unixSocket: false)
        else { return nil }
        self.session = session
    }

    /// Whether ten thousand commands in a row take no memory at all. The samples of HOTKEYS keep
    /// the name of a key when they first meet it, so the first rounds may; what takes memory for
    /// each command does so in every round.
    func takesNothing(_ pipeline: [UInt8]) -> Bool {
        let memory = node.pointee.executor.pointee.keyspace.memory
        for _ in 0..<60 {
            let used = memory.used
            let heap = clinux_live_heap()
            for _ in 0..<100 where !run(pipeline) { return false }
            if memory.used == used && clinux_live_heap() == heap { return true }
        }
        return false
    }

    /// Runs a pipeline and throws its replies away; false when one of them is an error.
    func run(_ pipeline: [UInt8]) -> Bool {
        pipeline.withBytes { session.pointee.input.pointee.append($0) }
        node.clientReadable(session)
        let replies = session.pointee.output.pointee.bytes
        let isFine = !replies.isEmpty && replies[0] != UInt8(ascii: "-")
        session.pointee.output.pointee.removeAll()
        return isFine
    }
}

/// 100 times the same command on different keys.
private func pipeline(_ words: [String]) -> [UInt8] {
    var bytes: [UInt8] = []
    for number in 100..<200 {
        bytes += Array("*\(words.count)\r\n".utf8)
        for word in words {
            let text = word == "KEY" ? "key:\(number)" : word
            bytes += Array("$\(text.utf8.count)\r\n\(text)\r\n".utf8)
        }
    }
    return bytes
}

private func keepsNothing(_ words: [String]) -> Bool {
    guard let client = LoneClient(cluster: false) else { return false }
    // A number of many digits, so that no reply grows longer while it is counted up.
    let start = words[0] == "INCR" ? "1000000" : "a value"
    let work = pipeline(words)
    return client.run(pipeline(["SET", "KEY", start])) && client.takesNothing(work)
}

/// The same for sorted sets of 20 members each, whose scores have seven digits.
private func keepsNothingOfSets(_ words: [String], entries: Int) -> Bool {
    var settings = Settings()
    settings.limits.zsetEntries = entries
    guard let client = LoneClient(cluster: false, settings) else { return false }
    for member in 1...20 {
        guard client.run(pipeline(["ZADD", "KEY", "\(member + 1_000_000)", "m\(member)"])) else {
            return false
        }
    }
    let work = pipeline(words)
    return client.takesNothing(work)
}

@Suite struct MemoryBudgetTests {
    @Test(arguments: [128, 0])
    func scoresTakeNoMemory(entries: Int) async {
        await #expect(processExitsWith: .success) { [entries] in
            let commands = [
                ["ZINCRBY", "KEY", "1", "m7"], ["ZADD", "KEY", "CH", "1000001.5", "m9"],
                ["ZSCORE", "KEY", "m3"], ["ZRANK", "KEY", "m11"], ["ZCOUNT", "KEY", "1", "+inf"],
                ["ZRANGE", "KEY", "0", "5", "WITHSCORES"],
                ["ZRANGEBYSCORE", "KEY", "(1000003", "1000009"],
            ]
            let isFine = commands.allSatisfy { keepsNothingOfSets($0, entries: entries) }
            exit(isFine ? EXIT_SUCCESS : EXIT_FAILURE)
        }
    }

    @Test func readingTakesNoMemory() async {
        await #expect(processExitsWith: .success) {
            exit(keepsNothing(["GET", "KEY"]) ? EXIT_SUCCESS : EXIT_FAILURE)
        }
    }

    @Test func overwritingTakesNoMemory() async {
        await #expect(processExitsWith: .success) {
            exit(keepsNothing(["SET", "KEY", "another"]) ? EXIT_SUCCESS : EXIT_FAILURE)
        }
    }

    @Test func countingTakesNoMemory() async {
        await #expect(processExitsWith: .success) {
            exit(keepsNothing(["INCR", "KEY"]) ? EXIT_SUCCESS : EXIT_FAILURE)
        }
    }
}
