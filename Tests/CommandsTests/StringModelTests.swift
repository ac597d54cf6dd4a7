// Strings and expiry against a naive model, by seeds; and a replica that is fed the stream must end
// with the same data, also when it applies the stream much later.
import Base
import Engine
import Storage
import Testing

/// Keys with their values and deadlines, as plainly as can be.
private struct Model {
    struct Value {
        var text: String
        var deadline: Int64?
    }
    var keys: [String: Value] = [:]
    var now: Int64 = 1_700_000_000_000

    mutating func live(_ key: String) -> Value? {
        if let deadline = keys[key]?.deadline, now > deadline { keys[key] = nil }
        return keys[key]
    }

    private func bulk(_ text: String?) -> Reply { text.map { .bulk($0) } ?? .null }

    mutating func run(_ words: [String]) -> Reply {
        let key = words[1]
        let old = live(key)
        switch words[0] {
        case "GET": return bulk(old?.text)
        case "SET": return set(words, key, old)
        case "APPEND":
            let text = (old?.text ?? "") + words[2]
            keys[key] = Value(text: text, deadline: old?.deadline)
            return .integer(Int64(text.utf8.count))
        case "SETRANGE": return patch(key, old, Int(words[2]) ?? 0, words[3])
        case "GETRANGE":
            let text = Array((old?.text ?? "").utf8)
            let from = Int(words[2]) ?? 0
            let end = min((Int(words[3]) ?? 0) + 1, text.count)
            guard from < end else { return "" }
            return .bulk(String(decoding: text[from..<end], as: UTF8.self))
        case "INCRBY":
            guard let number = Int64(old?.text ?? "0"), "\(number)" == old?.text ?? "0" else {
                return notInteger
            }
            let sum = number + (Int64(words[2]) ?? 0)
            keys[key] = Value(text: "\(sum)", deadline: old?.deadline)
            return .integer(sum)
        case "DEL":
            keys[key] = nil
            return old == nil ? 0 : 1
        case "PEXPIRE":
            guard old != nil else { return 0 }
            let time = Int64(words[2]) ?? 0
            if time <= 0 { keys[key] = nil } else { keys[key]?.deadline = now + time }
            return 1
        case "PERSIST":
            guard old?.deadline != nil else { return 0 }
            keys[key]?.deadline = nil
            return 1
        case "PTTL":
            guard let old else { return -2 }
            return .integer(old.deadline.map { $0 - now } ?? -1)
        case "GETEX":
            if old != nil { keys[key]?.deadline = now + (Int64(words[3]) ?? 0) }
            return bulk(old?.text)
        case "GETDEL":
            keys[key] = nil
            return bulk(old?.text)
        case "RENAME":
            guard let old else { return .error("ERR no such key") }
            keys[key] = nil
            keys[words[2]] = old
            return .ok
        case "COPY":
            guard let old, key != words[2] else {
                return key == words[2]
                    ? .error("ERR source and destination objects are the same") : 0
            }
            keys[words[2]] = old
            return 1
        case "MGET": return .array(words.dropFirst().map { bulk(live($0)?.text) })
        case "MSET":
            for index in stride(from: 1, to: words.count, by: 2) {
                keys[words[index]] = Value(text: words[index + 1])
            }
            return .ok
        default: return .error("ERR no model")
        }
    }

    private mutating func set(_ words: [String], _ key: String, _ old: Value?) -> Reply {
        var deadline: Int64?
        var reply = Reply.ok
        var index = 3
        while index < words.count {
            switch words[index] {
            case "NX": if old != nil { return words.contains("GET") ? bulk(old?.text) : .null }
            case "XX": if old == nil { return .null }
            case "GET": reply = bulk(old?.text)
            case "KEEPTTL": deadline = old?.deadline
            default:
                index += 1
                deadline = now + (Int64(words[index]) ?? 0)
            }
            index += 1
        }
        keys[key] = Value(text: words[2], deadline: deadline)
        return reply
    }

    private mutating func patch(_ key: String, _ old: Value?, _ at: Int, _ text: String) -> Reply {
        var bytes = Array((old?.text ?? "").utf8)
        guard !text.isEmpty else { return .integer(Int64(bytes.count)) }
        let patch = Array(text.utf8)
        while bytes.count < at + patch.count { bytes.append(0) }
        bytes.replaceSubrange(at..<(at + patch.count), with: patch)
        keys[key] = Value(text: String(decoding: bytes, as: UTF8.self), deadline: old?.deadline)
        return .integer(Int64(bytes.count))
    }
}

private struct Generator {
    var prng: Prng

    mutating func key() -> String { "key:\(prng.below(12))" }

    mutating func value() -> String {
        switch prng.below(6) {
        case 0: "\(prng.below(1000))"
        case 1: ""
        case 2: String(repeating: "x", count: prng.below(1200))
        default: "value\(prng.below(100))"
        }
    }

    mutating func time() -> String { "\(1 + prng.below(60))" }

    mutating func command() -> [String] {
        switch prng.below(22) {
        case 0, 1, 2: return ["SET", key(), value()] + options()
        case 3, 4: return ["GET", key()]
        case 5: return ["APPEND", key(), value()]
        case 6: return ["SETRANGE", key(), "\(prng.below(50))", value()]
        case 7: return ["GETRANGE", key(), "\(prng.below(20))", "\(prng.below(1000))"]
        case 8, 9: return ["INCRBY", key(), "\(prng.below(100) - 50)"]
        case 10: return ["DEL", key()]
        case 11, 12: return ["PEXPIRE", key(), "\(prng.below(60) - 3)"]
        case 13: return ["PERSIST", key()]
        case 14: return ["PTTL", key()]
        case 15: return ["GETEX", key(), "PX", time()]
        case 16: return ["GETDEL", key()]
        case 17: return ["RENAME", key(), key()]
        case 18: return ["COPY", key(), key(), "REPLACE"]
        case 19: return ["MGET"] + (0..<(1 + prng.below(40))).map { _ in key() }
        default: return ["MSET"] + (0..<(1 + prng.below(20))).flatMap { _ in [key(), value()] }
        }
    }

    private mutating func options() -> [String] {
        var out: [String] = []
        if prng.chance(1, in: 4) { out.append(prng.chance(1, in: 2) ? "NX" : "XX") }
        if prng.chance(1, in: 4) { out.append("GET") }
        switch prng.below(4) {
        case 0: out.append("KEEPTTL")
        case 1: out += ["PX", time()]
        default: break
        }
        return out
    }
}

@Suite struct StringModelTests {
    @Test(arguments: 1...20 as ClosedRange<UInt64>) func againstTheModel(seed: UInt64) {
        let server = CommandHarness(slotted: seed % 2 == 0, seed: seed)
        let replica = CommandHarness(seed: seed &+ 100)
        replica.executor.pointee.alerts.insert(.isReplica)
        let link = replica.connect()
        link.pointee.flags.insert([.fromPrimary, .authenticated])
        var generator = Generator(prng: Prng(seed: seed))
        var model = Model()
        let start = server.streamEnd
        for _ in 0..<1500 {
            if generator.prng.chance(1, in: 4) {
                let pause = Int64(generator.prng.below(12))
                server.advance(milliseconds: pause)
                model.now += pause
            }
            let words = generator.command()
            let reply = server.run(words)
            #expect(reply == model.run(words), "seed \(seed): \(words)")
        }
        // What is over counts no longer; what is left must be equal everywhere.
        for key in model.keys.keys.sorted() { server.run("GET", key) }
        for key in Array(model.keys.keys) where model.live(key) == nil {
            #expect(server.run("EXISTS", key) == 0)
        }
        #expect(server.keyspace.count(database: 0) == model.keys.count)
        replica.advance(milliseconds: 1_000_000)
        feed(server, from: start, to: replica, link)
        #expect(digest(server) == digest(replica), "seed \(seed)")
    }

    private func digest(_ server: CommandHarness) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 20) { room, count in
            guard let start = room.baseAddress else { return }
            server.keyspace.digest(to: start)
            count = 20
        }
    }

    private func feed(
        _ server: CommandHarness, from start: Int64, to replica: CommandHarness,
        _ link: UnsafeMutablePointer<Session>
    ) {
        var at = start
        while at < server.streamEnd {
            let piece = server.executor.pointee.backlog.pointee.read(from: at)
            replica.feed(piece.array, link)
            at += Int64(piece.count)
        }
        #expect(link.pointee.appliedOffset == server.streamEnd - start)
    }
}
