// Hashes that share the names of their fields: random commands beside a dictionary, and that nobody
// can tell such a hash from one that was made field by field.
import Base
import Commands
import Engine
import Storage
import Testing

@Suite struct SharedNamesTests {
    private static let kinds = [
        ["name", "mail", "age"], ["age", "mail", "name"], ["name", "mail"],
        (0..<20).map { "field:\($0)" }, ["1", "22", "333", "-4444", "5555555555"],
    ]

    private func form(_ harness: CommandHarness, _ key: String) -> Encoding? {
        Array(key.utf8).withBytes {
            harness.keyspace.find(harness.keyspace.key($0, database: 0))?.encoding
        }
    }

    private func isInline(_ harness: CommandHarness, _ key: String) -> Bool? {
        Array(key.utf8).withBytes {
            harness.keyspace.find(harness.keyspace.key($0, database: 0))?.isInline
        }
    }

    private func pairs(_ names: [String], _ value: String = "v") -> [String] {
        names.enumerated().flatMap { [$1, "\(value)\($0)"] }
    }

    @Test func theSecondOfAKindSharesItsNames() {
        let harness = CommandHarness()
        for (number, key) in ["a", "b", "c"].enumerated() {
            harness.run(["HSET", key] + pairs(["name", "mail", "age"], "\(number)"))
        }
        #expect(harness.keyspace.hashShapes == 1)
        #expect(form(harness, "a") == .listpack)
        #expect(form(harness, "b") == .shaped)
        #expect(form(harness, "c") == .shaped)
        #expect(harness.run("OBJECT", "ENCODING", "c") == "listpack")
        // A value can be exchanged, also for a longer or a shorter one; a new name ends it.
        harness.run("HSET", "c", "mail", String(repeating: "x", count: 60))
        #expect(harness.run("HSET", "c", "age", "7") == 0)
        #expect(form(harness, "c") == .shaped)
        #expect(harness.run("HMGET", "c", "name", "mail", "age").elements.map(\.text)
            == ["20", String(repeating: "x", count: 60), "7"])
        #expect(harness.run("HSET", "c", "more", "m") == 1)
        #expect(form(harness, "c") == .listpack)
        harness.run("HSET", "b", "mail", String(repeating: "x", count: 65))
        #expect(form(harness, "b") == .hashTable)
        #expect(harness.run("HGET", "b", "age") == "12")
    }

    /// At rest it is inside the block of its key, with its share in the names: whatever ends, moves
    /// or copies the key must see to that share (the end of the harness counts them).
    @Test func atRestItIsInsideTheBlockOfItsKey() {
        let harness = CommandHarness()
        let names = ["name", "mail", "age"]
        for key in ["a", "b", "c", "d", "e", "f", "g"] {
            harness.run(["HSET", key] + pairs(names))
        }
        #expect(isInline(harness, "a") == false)
        #expect(isInline(harness, "b") == true)
        harness.run("EXPIRE", "b", "100")
        harness.run("RENAME", "b", String(repeating: "k", count: 300))
        harness.run("RENAME", String(repeating: "k", count: 300), "b")
        harness.run("PERSIST", "b")
        harness.run("COPY", "b", "h")
        #expect(isInline(harness, "b") == true)
        #expect(isInline(harness, "h") == true)
        harness.run("RENAME", "c", String(repeating: "k", count: 1020))
        #expect(isInline(harness, String(repeating: "k", count: 1020)) == false)
        harness.run("SET", "d", "text")
        harness.run("RENAME", "e", "f")
        harness.run("SORT", "a", "BY", "nosort", "STORE", "g")
        harness.run("HGET", "b", "mail")
        #expect(isInline(harness, "b") == true)
        harness.run("HSET", "b", "mail", "other")
        #expect(isInline(harness, "b") == false)
        #expect(form(harness, "b") == .shaped)
        #expect(harness.run("HVALS", "b").elements.map(\.text) == ["v0", "other", "v2"])
        #expect(harness.run("HVALS", "h").elements.map(\.text) == ["v0", "v1", "v2"])
        harness.keyspace.checkInvariants()
    }

    @Test func oneFieldAndManyKindsShareNothing() {
        let harness = CommandHarness()
        for number in 0..<2000 {
            harness.run("HSET", "one\(number)", "f", "v")
            harness.run("HSET", "own\(number)", "f\(number)", "v", "g\(number)", "w")
        }
        #expect(form(harness, "one1999") == .listpack)
        #expect(form(harness, "own1999") == .listpack)
    }

    @Test(arguments: kinds)
    func nobodyCanTell(names: [String]) {
        let harness = CommandHarness()
        harness.run(["HSET", "first"] + pairs(names))
        harness.run(["HSET", "shared"] + pairs(names))
        for (name, value) in zip(names, names.indices) {
            harness.run("HSET", "plain", name, "v\(value)")
        }
        #expect(form(harness, "shared") == .shaped)
        #expect(form(harness, "plain") == .listpack)
        for command in [
            ["HGETALL"], ["HKEYS"], ["HVALS"], ["HLEN"], ["DUMP"], ["HSCAN", "0"],
            ["OBJECT", "ENCODING"], ["HRANDFIELD", "99", "WITHVALUES"], ["TYPE"],
        ] {
            let isSubcommand = command[0] == "OBJECT"
            let (shared, plain) = (["shared"], ["plain"])
            let head = isSubcommand ? 2 : 1
            let found = harness.run(Array(command[..<head] + shared + command[head...]))
            #expect(found == harness.run(Array(command[..<head] + plain + command[head...])))
        }
        for name in names + ["missing", "v1", ""] {
            #expect(harness.run("HGET", "shared", name) == harness.run("HGET", "plain", name))
            #expect(harness.run("HEXISTS", "shared", name) == harness.run("HEXISTS", "plain", name))
        }
        #expect(digest(harness, "shared") == digest(harness, "plain"))
    }

    private func digest(_ harness: CommandHarness, _ key: String) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: DigestMixer.size) { buffer, count in
            Array(key.utf8).withBytes {
                let keyspace = harness.keyspace
                guard let entry = keyspace.find(keyspace.key($0, database: 0)),
                    let start = buffer.baseAddress
                else { return }
                keyspace.digestValue(entry, to: start)
                count = DigestMixer.size
            }
        }
    }

    /// `HashObject` under every command that changes one.
    @Test(arguments: Array(1...12) as [UInt64])
    func randomCommandsMatchADictionary(seed: UInt64) {
        let harness = CommandHarness(seed: seed)
        var prng = Prng(seed: seed)
        var model: [String: [String: String]] = [:]
        for step in 0..<4000 {
            let key = "k\(prng.below(12))"
            let names = Self.kinds[prng.below(Self.kinds.count)]
            let name = names[prng.below(names.count)]
            let value = prng.below(3) == 0
                ? "\(prng.below(100_000))" : String(repeating: "v", count: prng.below(66))
            switch prng.below(14) {
            case 0...2:
                harness.run("DEL", key)
                harness.run(["HSET", key] + pairs(names, value))
                model[key] = [:]
                for (index, name) in names.enumerated() { model[key]?[name] = "\(value)\(index)" }
            case 3...5:
                harness.run("HSET", key, name, value)
                model[key, default: [:]][name] = value
            case 6:
                harness.run("HSET", key, name, "\(step)")
                harness.run("HINCRBY", key, name, "5")
                model[key, default: [:]][name] = "\(step + 5)"
            case 7:
                harness.run("HDEL", key, name)
                model[key]?[name] = nil
                if model[key]?.isEmpty == true { model[key] = nil }
            case 8:
                let other = "k\(prng.below(12))"
                if other != key {
                    harness.run("COPY", key, other, "REPLACE")
                    if let hash = model[key] { model[other] = hash }
                }
            case 9:
                let other = "k\(prng.below(12))"
                if other != key, let hash = model.removeValue(forKey: key) {
                    harness.run("RENAME", key, other)
                    model[other] = hash
                }
            case 10:
                harness.run(prng.below(2) == 0 ? ["PERSIST", key] : ["EXPIRE", key, "1000"])
            case 11: harness.run("HEXPIRE", key, "1000", "FIELDS", "1", name)
            case 12:
                harness.run("HSETNX", key, name, value)
                if model[key]?[name] == nil { model[key, default: [:]][name] = value }
            default:
                harness.run("UNLINK", key)
                model[key] = nil
            }
            let found = harness.run("HGETALL", key).elements.compactMap(\.text)
            var hash: [String: String] = [:]
            for index in stride(from: 0, to: found.count - 1, by: 2) {
                hash[found[index]] = found[index + 1]
            }
            #expect(hash == model[key] ?? [:], "seed \(seed), step \(step)")
            if hash != model[key] ?? [:] { return }
        }
        harness.keyspace.checkInvariants()
        // What was shared ends with its last user.
        harness.run("FLUSHALL")
        harness.keyspace.drainLazyFree()
        #expect(harness.keyspace.hashShapes == 0)
    }
}
