// Large values in snapshots: a file that is written slice by slice, while commands of all families
// change the very values that are being written, must hold the data as it was at the beginning.
import Base
import Engine
import Gossip
import NodeCore
import Storage
import Testing

/// Keeps the file that a node writes.
private struct FileShell: QuietShell {
    var bytes: [UInt8] = []
    var ticket: UInt64?

    mutating func perform(_ request: FileRequest) {
        switch request {
        case .append(_, let more): bytes += more
        case .commit(_, _, let ticket): self.ticket = ticket
        default: break
        }
    }
}

private final class SavingNode {
    let lone: LoneNode
    var shell = FileShell()
    var prng: Prng
    var instant = LoneNode.start
    private var iterations = 0

    var node: NodePointer { lone.node }

    init(seed: UInt64) {
        prng = Prng(seed: seed)
        lone = LoneNode(seed: seed, sipKey: SipKey(seed, 2))
        for (name, value) in [
            ("list-max-listpack-size", "3"), ("stream-node-max-entries", "3"),
            ("hash-max-listpack-entries", "4"), ("set-max-listpack-entries", "4"),
            ("zset-max-listpack-entries", "4"), ("set-max-intset-entries", "4"),
        ] { run("CONFIG", "SET", name, value) }
        node.executor.pointee.keyspace.setWalkThreshold(20)
    }

    @discardableResult
    func run(_ words: String...) -> Reply { run(words) }

    @discardableResult
    func run(_ words: [String]) -> Reply { lone.run(words, on: lone.session) }

    /// One loop iteration. Those with a slice seem slow, so that slices stay small.
    func iterate() {
        iterations += 1
        instant.microseconds += iterations % 8 == 0 ? 50 : 10_000
        node.setNow(LoneNode.now(instant))
        _ = node.beforeSleep(&shell)
    }

    func number(_ limit: Int) -> String { String(prng.below(limit)) }
    func key(_ type: String) -> String { type + number(2) }

    /// A random change of one of a few keys.
    func change() {
        let pick = prng.below(44)
        switch pick {
        case 0...5: changeHash()
        case 6...10: changeSet()
        case 11...16: changeSortedSet()
        case 17...25: changeList(prng.below(10))
        case 26...34: changeStream(prng.below(10))
        case 35...38: if prng.below(8) == 0 { changeKey(pick) }
        case 39: run("SET", "str" + number(40), number(1_000_000))
        case 41 where prng.below(40) == 0: run("SWAPDB", "0", "1")
        case 42 where prng.below(40) == 0: run("FLUSHDB", prng.below(2) == 0 ? "ASYNC" : "SYNC")
        case 43: run("PEXPIREAT", key("s"), "1800000000000")
        default: run("APPEND", "str" + number(40), "x")
        }
    }

    private func changeKey(_ pick: Int) {
        let type = ["h", "s", "z", "l", "x"][prng.below(5)]
        switch pick {
        case 35: run(prng.below(2) == 0 ? "DEL" : "UNLINK", key(type))
        case 36:
            run("SET", key(type), "now a string")
            run("DEL", type + "0", type + "1")
        case 37:
            run("RENAME", key(type), type + "2")
            run("RENAME", type + "2", key(type))
        default: run("COPY", key(type), key(type), "REPLACE")
        }
    }

    private func changeHash() {
        let key = key("h")
        switch prng.below(6) {
        case 2:
            let time = "1800000000" + number(1000)
            run("HPEXPIREAT", key, time, "FIELDS", "1", "f" + number(600))
        case 3: run("HPERSIST", key, "FIELDS", "1", "f" + number(600))
        case 0: run("HDEL", key, "f" + number(600), "f" + number(600))
        case 1: run("HINCRBY", key, "n" + number(100), "3")
        default: run("HSET", key, "f" + number(600), String(repeating: "v", count: prng.below(90)))
        }
    }

    private func changeSet() {
        switch prng.below(4) {
        case 0: run("SREM", key("s"), "m" + number(600))
        case 1: run("SPOP", key("s"))
        case 2: run("SMOVE", key("s"), key("s"), "m" + number(600))
        default: run("SADD", key("s"), "m" + number(600), "m" + number(600))
        }
    }

    private func changeSortedSet() {
        switch prng.below(6) {
        case 0: run("ZREM", key("z"), "m" + number(600))
        case 1: run("ZINCRBY", key("z"), number(100), "m" + number(600))
        case 2: run("ZPOPMIN", key("z"), number(4))
        case 3: run("ZREMRANGEBYSCORE", key("z"), number(500), number(500))
        default: run("ZADD", key("z"), number(1000), "m" + number(600))
        }
    }

    private func changeList(_ pick: Int) {
        let key = key("l")
        switch pick {
        case 0: run("LPUSH", key, number(1000))
        case 1: run("LPOP", key, number(5))
        case 2: run("RPOP", key, number(5))
        case 3: run("LSET", key, number(200), String(repeating: "e", count: prng.below(40)))
        case 4: run("LINSERT", key, "BEFORE", "e" + number(50), "new")
        case 5: run("LREM", key, String(prng.below(5) - 2), "e" + number(50))
        case 6: run("LTRIM", key, number(6), "-" + number(6))
        case 7: run("LMOVE", key, self.key("l"), "LEFT", "RIGHT")
        default: run("RPUSH", key, "e" + number(50), "e" + number(50))
        }
    }

    private func changeStream(_ pick: Int) {
        let key = key("x")
        switch pick {
        case 0: run("XTRIM", key, "MAXLEN", number(300))
        case 1:
            let all = run("XRANGE", key, "-", "+").elements
            guard !all.isEmpty, let id = all[prng.below(all.count)].elements.first?.text
            else { return }
            run("XDEL", key, id)
        case 2: run("XGROUP", "CREATE", key, "g" + number(3), "0", "MKSTREAM")
        case 3, 4:
            run("XREADGROUP", "GROUP", "g" + number(3), "c", "COUNT", "5", "STREAMS", key, ">")
        case 5: run("XACK", key, "g" + number(3), "1-" + number(900))
        case 6: run("XSETID", key, "1-" + number(3000))
        default: run("XADD", key, "1-*", "f", number(1000))
        }
    }

    func fill() {
        for index in 0..<300 {
            for which in ["0", "1"] {
                run("HSET", "h" + which, "f\(index)", String(repeating: "v", count: index % 80))
                run("SADD", "s" + which, "m\(index)")
                run("ZADD", "z" + which, "\(index * 7 % 501)", "m\(index)")
                run("RPUSH", "l" + which, "e\(index % 50)")
                run("XADD", "x" + which, "1-*", "f", "\(index)")
            }
            run("SET", "str\(index % 40)", "\(index)")
        }
        run("XGROUP", "CREATE", "x0", "g0", "0")
    }

    /// What DEBUG DIGEST leaves out.
    var groups: [Reply] {
        var out: [Reply] = []
        for stream in ["x0", "x1"] {
            out.append(run("XINFO", "GROUPS", stream))
            let facts = run("XINFO", "STREAM", stream)
            for name in ["last-generated-id", "max-deleted-entry-id", "entries-added"] {
                out.append(facts[name] ?? .null)
            }
            for group in ["g0", "g1", "g2"] {
                out.append(run("XPENDING", stream, group, "-", "+", "1000"))
            }
        }
        return out
    }

    var digest: String { run("DEBUG", "DIGEST").text ?? "" }

    func load(_ bytes: [UInt8]) throws {
        run("FLUSHALL")
        node.beginLoad(totalBytes: Int64(bytes.count))
        var failure: BootError?
        bytes.withBytes { bytes in
            do throws(BootError) { try node.load(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
        try node.endLoad()
    }
}

@Suite struct SnapshotPiecesTests {
    @Test(arguments: Array(1...6) as [UInt64])
    func theFileIsOfTheBeginning(seed: UInt64) throws {
        let saving = SavingNode(seed: seed)
        for round in 0..<3 {
            saving.fill()
            for _ in 0..<20 { saving.change() }
            let digest = saving.digest
            let groups = saving.groups
            saving.shell = FileShell()
            #expect(saving.run("BGSAVE") == .simple("Background saving started"))
            var slices = 0
            var walked = false
            while saving.shell.ticket == nil {
                saving.iterate()
                slices += 1
                if saving.node.executor.pointee.keyspace.openWalks > 0 { walked = true }
                for _ in 0..<saving.prng.below(8) { saving.change() }
                try #require(slices < 100_000)
            }
            #expect(walked && slices > 10)
            if let ticket = saving.shell.ticket {
                saving.node.fileDone(ticket: ticket, failure: nil)
            }
            checkLists(saving)
            let loaded = SavingNode(seed: seed)
            try loaded.load(saving.shell.bytes)
            #expect(loaded.digest == digest, "seed \(seed) round \(round)")
            #expect(loaded.groups == groups, "seed \(seed) round \(round)")
        }
    }

    private func checkLists(_ saving: SavingNode) {
        let keyspace = saving.node.executor.pointee.keyspace
        for database in 0..<keyspace.databaseCount {
            keyspace.forEach(database: database) { entry in
                if entry.encoding == .quickList { ChunkList(entry.payload).checkInvariants() }
                if entry.type == .stream { Stream(entry.payload).checkInvariants() }
            }
        }
    }

    /// A walk may end anywhere, and the next one begin at once.
    @Test(arguments: Array(1...6) as [UInt64])
    func walksMayBeGivenUp(seed: UInt64) {
        let saving = SavingNode(seed: seed)
        saving.fill()
        let keyspace = saving.node.executor.pointee.keyspace
        for _ in 0..<12 {
            let start = keyspace.beginSnapshot(
                sink: { _, _, _ in }, pieces: { _, _, _, _, _ in false }, context: nil)
            if start == .settling {
                while !keyspace.snapshotSlice(entries: 1000) {}
                continue
            }
            for _ in 0..<saving.prng.below(60) {
                _ = keyspace.snapshotSlice(entries: 20)
                saving.change()
            }
            keyspace.cancelSnapshot()
            #expect(keyspace.openWalks == 0)
            for _ in 0..<20 { saving.change() }
        }
        checkLists(saving)
    }
}
