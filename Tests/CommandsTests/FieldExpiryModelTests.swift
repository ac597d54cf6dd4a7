// Fields that expire against a naive model, by seeds. Beside the replies the whole keyspace is
// checked against itself, a snapshot that runs meanwhile must hold what was there when it began,
// and a replica that applies the stream much later must end with the same data.
import Base
import Engine
import Storage
import Testing

/// Hashes as plainly as can be.
private struct Model {
    struct Field {
        var value: String
        var deadline: Int64?
    }
    var keys: [String: [String: Field]] = [:]
    var now: Int64 = 1_700_000_000_000

    /// Nothing whose time is over can be seen, and a hash without fields is none.
    mutating func settle() {
        for (key, fields) in keys {
            let live = fields.filter { $0.value.deadline.map { $0 >= now } ?? true }
            keys[key] = live.isEmpty ? nil : live
        }
    }

    private func bulk(_ text: String?) -> Reply { text.map { .bulk($0) } ?? .null }

    private mutating func change<T>(_ key: String, _ body: (inout [String: Field]) -> T) -> T {
        var fields = keys[key] ?? [:]
        let result = body(&fields)
        keys[key] = fields.isEmpty ? nil : fields
        return result
    }

    mutating func run(_ words: [String]) -> Reply {
        settle()
        let key = words[1]
        let old = keys[key] ?? [:]
        switch words[0] {
        case "HGET": return bulk(old[words[2]]?.value)
        case "HMGET": return .array(words[2...].map { bulk(old[$0]?.value) })
        case "HLEN": return .integer(Int64(old.count))
        case "HEXISTS": return old[words[2]] == nil ? 0 : 1
        case "HSTRLEN": return .integer(Int64(old[words[2]]?.value.utf8.count ?? 0))
        case "HSET":
            let pairs = stride(from: 2, to: words.count, by: 2)
            let added = Set(pairs.map { words[$0] }).subtracting(old.keys).count
            change(key) { for at in pairs { $0[words[at]] = Field(value: words[at + 1]) } }
            return .integer(Int64(added))
        case "HSETNX":
            guard old[words[2]] == nil else { return 0 }
            change(key) { $0[words[2]] = Field(value: words[3]) }
            return 1
        case "HDEL":
            let gone = Set(words[2...]).intersection(old.keys)
            change(key) { fields in for field in gone { fields[field] = nil } }
            return .integer(Int64(gone.count))
        case "HINCRBY":
            guard let number = Int64(old[words[2]]?.value ?? "0") else {
                return .error("ERR hash value is not an integer")
            }
            let sum = number + (Int64(words[3]) ?? 0)
            change(key) { $0[words[2], default: Field(value: "")].value = "\(sum)" }
            return .integer(sum)
        case "RENAME":
            guard let fields = keys[key] else { return .error("ERR no such key") }
            keys[key] = nil
            keys[words[2]] = fields
            return .ok
        case "COPY":
            guard key != words[2] else {
                return .error("ERR source and destination objects are the same")
            }
            guard let fields = keys[key] else { return 0 }
            keys[words[2]] = fields
            return 1
        case "DEL":
            keys[key] = nil
            return old.isEmpty ? 0 : 1
        default: return runTimes(words, key, old)
        }
    }

    private mutating func runTimes(
        _ words: [String], _ key: String, _ old: [String: Field]
    ) -> Reply {
        let at = (words.firstIndex(of: "FIELDS") ?? 0) + 2
        let named = Array(words[at...])
        switch words[0] {
        case "HPEXPIRE", "HPEXPIREAT":
            let base = words[0] == "HPEXPIRE" ? now : 0
            let deadline = base + (Int64(words[2]) ?? 0)
            let condition = at == 6 ? words[3] : ""
            return .array(named.map { .integer(expire(key, $0, deadline, condition)) })
        case "HPTTL", "HPEXPIRETIME":
            let base = words[0] == "HPTTL" ? now : 0
            return .array(
                named.map { name in
                    old[name].map { .integer($0.deadline.map { $0 - base } ?? -1) } ?? -2
                })
        case "HPERSIST":
            return .array(
                named.map { name in
                    guard let field = keys[key]?[name] else { return -2 }
                    keys[key]?[name]?.deadline = nil
                    return field.deadline == nil ? -1 : 1
                })
        case "HGETDEL":
            return .array(
                named.map { name in
                    let found = keys[key]?[name]
                    change(key) { $0[name] = nil }
                    return bulk(found?.value)
                })
        case "HGETEX":
            return .array(named.map { getAndChange(words, key, $0) })
        case "HSETEX": return setAll(words, key, old, named)
        default: return .error("the model does not know \(words[0])")
        }
    }

    private mutating func expire(
        _ key: String, _ name: String, _ deadline: Int64, _ condition: String
    ) -> Int64 {
        guard let field = keys[key]?[name] else { return -2 }
        let current = field.deadline ?? .max
        switch condition {
        case "NX": guard field.deadline == nil else { return 0 }
        case "XX": guard field.deadline != nil else { return 0 }
        case "GT": guard deadline > current else { return 0 }
        case "LT": guard deadline < current else { return 0 }
        default: break
        }
        give(key, name, deadline)
        return deadline <= now ? 2 : 1
    }

    private mutating func give(_ key: String, _ name: String, _ deadline: Int64) {
        let isOver = deadline <= now
        change(key) { if isOver { $0[name] = nil } else { $0[name]?.deadline = deadline } }
    }

    private mutating func getAndChange(_ words: [String], _ key: String, _ name: String) -> Reply {
        guard let field = keys[key]?[name] else { return .null }
        switch words[2] {
        case "PX": give(key, name, now + (Int64(words[3]) ?? 0))
        case "PERSIST": keys[key]?[name]?.deadline = nil
        default: break
        }
        return .bulk(field.value)
    }

    private mutating func setAll(
        _ words: [String], _ key: String, _ old: [String: Field], _ data: [String]
    ) -> Reply {
        let names = stride(from: 0, to: data.count, by: 2).map { data[$0] }
        if words.contains("FNX"), names.contains(where: { old[$0] != nil }) { return 0 }
        if words.contains("FXX"), names.contains(where: { old[$0] == nil }) { return 0 }
        var deadline: Int64?
        if let at = words.firstIndex(of: "PX") { deadline = now + (Int64(words[at + 1]) ?? 0) }
        let isOver = deadline.map { $0 <= now } ?? false
        let keeps = words.contains("KEEPTTL")
        change(key) { fields in
            for at in stride(from: 0, to: data.count, by: 2) {
                let time = keeps ? fields[data[at]]?.deadline : deadline
                fields[data[at]] = isOver ? nil : Field(value: data[at + 1], deadline: time)
            }
        }
        return 1
    }

    /// All fields of all hashes, as lines.
    func lines() -> [String] {
        keys.flatMap { key, fields in
            fields.map { "\(key) \($0) \($1.value) \($1.deadline ?? -1)" }
        }.sorted()
    }
}

private struct Generator {
    var prng: Prng

    private mutating func key() -> String { "h\(prng.below(5))" }
    private mutating func field() -> String { "f\(prng.below(prng.chance(1, in: 8) ? 300 : 8))" }
    private mutating func value() -> String {
        switch prng.below(6) {
        case 0: "\(prng.below(1000))"
        case 1: String(repeating: "v", count: 30 + prng.below(60))
        case 2: String(repeating: "w", count: prng.below(1500))
        default: "value\(prng.below(50))"
        }
    }
    private mutating func time() -> String { prng.chance(1, in: 10) ? "0" : "\(prng.below(60))" }
    private mutating func fields() -> [String] {
        let count = 1 + prng.below(prng.chance(1, in: 10) ? 20 : 4)
        return ["FIELDS", "\(count)"] + (0..<count).map { _ in field() }
    }

    mutating func command(now: Int64) -> [String] {
        switch prng.below(22) {
        case 0, 1, 2:
            let count = prng.chance(1, in: 12) ? 150 : 1 + prng.below(4)
            return ["HSET", key()] + (0..<count).flatMap { _ in [field(), value()] }
        case 3: return ["HGET", key(), field()]
        case 4: return ["HMGET", key(), field(), field(), field()]
        case 5: return ["HLEN", key()]
        case 6: return [prng.chance(1, in: 2) ? "HEXISTS" : "HSTRLEN", key(), field()]
        case 7: return ["HSETNX", key(), field(), value()]
        case 8: return ["HDEL", key(), field(), field()]
        case 9: return ["HINCRBY", key(), field(), "\(prng.below(9))"]
        case 10: return prng.chance(1, in: 4) ? ["DEL", key()] : ["RENAME", key(), key()]
        case 11: return ["COPY", key(), key(), "REPLACE"]
        case 12, 13: return ["HPEXPIRE", key(), time()] + condition() + fields()
        case 14:
            return ["HPEXPIREAT", key(), "\(now + Int64(prng.below(80)) - 20)"] + condition()
                + fields()
        case 15: return [prng.chance(1, in: 2) ? "HPTTL" : "HPEXPIRETIME", key()] + fields()
        case 16: return ["HPERSIST", key()] + fields()
        case 17: return ["HGETDEL", key()] + fields()
        case 18: return ["HGETEX", key(), "PX", time()] + fields()
        case 19: return ["HGETEX", key()] + (prng.chance(1, in: 2) ? ["PERSIST"] : []) + fields()
        default: return setEx()
        }
    }

    private mutating func condition() -> [String] {
        prng.chance(1, in: 2) ? [] : [["NX", "XX", "GT", "LT"][prng.below(4)]]
    }

    private mutating func setEx() -> [String] {
        var out = ["HSETEX", key()]
        if prng.chance(1, in: 3) { out.append(prng.chance(1, in: 2) ? "FNX" : "FXX") }
        switch prng.below(3) {
        case 0: out += ["PX", time()]
        case 1: out.append("KEEPTTL")
        default: break
        }
        let count = 1 + prng.below(3)
        return out + ["FIELDS", "\(count)"] + (0..<count).flatMap { _ in [field(), value()] }
    }
}

/// What a snapshot hands out.
private final class SnapshotLines {
    var lines: [String] = []
}

@Suite struct FieldExpiryModelTests {
    @Test(arguments: 1...10 as ClosedRange<UInt64>) func againstTheModel(seed: UInt64) {
        let server = CommandHarness(slotted: seed % 2 == 0, seed: seed)
        var generator = Generator(prng: Prng(seed: seed))
        var model = Model()
        let start = server.streamEnd
        for step in 0..<900 {
            if generator.prng.chance(1, in: 4) {
                let pause = Int64(generator.prng.below(15))
                server.advance(milliseconds: pause)
                model.now += pause
                if generator.prng.chance(1, in: 2) { expireAll(server) }
            }
            check(server, &model, &generator, "seed \(seed), step \(step)")
            if step % 100 == 0 {
                server.keyspace.checkInvariants()
                snapshot(server, &model, &generator, "seed \(seed), step \(step)")
            }
        }
        expireAll(server)
        model.settle()
        #expect(lines(server) == model.lines(), "seed \(seed)")
        server.keyspace.checkInvariants()
        let replica = CommandHarness(seed: seed &+ 100)
        replica.executor.pointee.alerts.insert(.isReplica)
        let link = replica.connect()
        link.pointee.flags.insert([.fromPrimary, .authenticated])
        replica.advance(milliseconds: 1_000_000)
        feed(server, from: start, to: replica, link)
        #expect(lines(server) == lines(replica), "seed \(seed)")
        replica.keyspace.checkInvariants()
        server.run("FLUSHALL")
        #expect(server.keyspace.expiringHashes(database: 0) == 0)
    }

    /// One command to both. What looks at whole keys, or counts fields, sees those that are over
    /// until they are deleted: that is done first.
    private func check(
        _ server: CommandHarness, _ model: inout Model, _ generator: inout Generator,
        _ place: String
    ) {
        let words = generator.command(now: model.now)
        if ["HLEN", "COPY", "RENAME", "DEL"].contains(words[0]) { expireAll(server) }
        #expect(server.run(words) == model.run(words), "\(place): \(words)")
    }

    /// What the node's expiry cycle does.
    private func expireAll(_ server: CommandHarness) {
        let keyspace = server.keyspace
        let now = server.executor.pointee.now.wall.milliseconds
        while let entry = keyspace.nextHashToExpire(database: 0, now: now) {
            entry.key.array.withBytes {
                _ = server.executor.expireFields(keyspace.key($0, database: 0), entry, limit: 3)
            }
        }
    }

    private static func describe(_ entry: Entry, into out: inout [String]) {
        let hash = HashObject(entry)
        guard hash.isTable else {
            hash.forEach(now: .min) { field, value in
                let texts = [field, value].map { withText(of: $0) { $0.string } }
                out.append("\(entry.key.string) \(texts[0]) \(texts[1]) -1")
            }
            return
        }
        hash.fields.forEach { field in
            let value = withText(of: HashObject.value(of: field)) { $0.string }
            out.append(
                "\(entry.key.string) \(field.key.string) \(value) \(field.expiry ?? -1)")
        }
    }

    private func lines(_ server: CommandHarness) -> [String] {
        var out: [String] = []
        server.keyspace.forEach(database: 0) { Self.describe($0, into: &out) }
        return out.sorted()
    }

    /// Changes and expiry while a snapshot is under way are not in it.
    private func snapshot(
        _ server: CommandHarness, _ model: inout Model, _ generator: inout Generator,
        _ place: String
    ) {
        let taken = SnapshotLines()
        let before = lines(server)
        let begun = server.keyspace.beginSnapshot(
            sink: { context, _, base in
                guard let context else { return }
                let taken = Unmanaged<SnapshotLines>.fromOpaque(context).takeUnretainedValue()
                FieldExpiryModelTests.describe(Entry(base), into: &taken.lines)
            },
            context: Unmanaged.passUnretained(taken).toOpaque())
        #expect(begun == .started, "\(place)")
        var isDone = false
        while !isDone {
            check(server, &model, &generator, place)
            server.advance(milliseconds: 5)
            model.now += 5
            expireAll(server)
            isDone = server.keyspace.snapshotSlice(entries: 1)
        }
        #expect(withExtendedLifetime(taken) { taken.lines.sorted() } == before, "\(place)")
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
