// A keyspace and the dictionary that it should equal, driven by random commands.
import Base
import HashSlots
import Storage
import Testing

/// What a key should hold.
struct ModelValue: Equatable {
    var value: [UInt8]
    var expiry: Int64?
}

/// What an entry holds.
func read(_ entry: Entry) -> ModelValue {
    let value = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { room in
        room.baseAddress.map { entry.bytes(scratch: $0).array } ?? []
    }
    return ModelValue(value: value, expiry: entry.expiry)
}

struct Model {
    let keyspace: Keyspace
    var databases: [[[UInt8]: ModelValue]]
    var prng: Prng

    init(databases count: Int, slotted: Bool, seed: UInt64) {
        keyspace = Keyspace(
            databases: count,
            slotted: slotted,
            sipKey: SipKey(seed, ~seed),
            seed: seed
        )
        databases = Array(repeating: [:], count: count)
        prng = Prng(seed: seed)
    }

    func key<R>(_ bytes: [UInt8], _ database: Int, _ body: (KeyRef) -> R) -> R {
        bytes.withBytes { body(keyspace.key($0, database: database)) }
    }

    func expectEqual(_ comment: Comment) {
        for index in databases.indices {
            var seen: [[UInt8]: ModelValue] = [:]
            keyspace.forEach(database: index) { seen[$0.key.array] = read($0) }
            #expect(seen == databases[index], comment)
            #expect(keyspace.count(database: index) == databases[index].count, comment)
            let expiring = databases[index].values.filter { $0.expiry != nil }
            #expect(keyspace.expiringCount(database: index) == expiring.count, comment)
        }
        keyspace.checkInvariants()
    }

    mutating func randomKey(_ range: Int) -> [UInt8] {
        let number = prng.below(range)
        let tail = number % 17 == 0 ? String(repeating: "k", count: number % 700) : ""
        return Array("key:\(number)\(tail)".utf8)
    }

    mutating func randomValue() -> [UInt8] {
        switch prng.below(16) {
        case 0...2: return Array(String(Int64(bitPattern: prng.next())).utf8)
        case 3...4: return Array(String(prng.below(1000)).utf8)
        case 5: return []
        case 6: return Array(repeating: 7, count: 900 + prng.below(300))
        case 7: return Array(repeating: 8, count: prng.below(3000))
        default: return Array(repeating: UInt8(prng.below(256)), count: prng.below(64))
        }
    }

    mutating func randomTime() -> Int64 {
        switch prng.below(4) {
        case 0: 1_000_000
        case 1: Int64.max - Int64(prng.below(3))
        default: Int64(prng.below(1_000_000))
        }
    }

    /// One random command on both.
    mutating func step(keys: Int) {
        let index = prng.below(databases.count)
        let name = randomKey(keys)
        let old = databases[index][name]
        switch prng.below(16) {
        case 0...4: set(name, index)
        case 5:
            let value = randomValue()
            key(name, index) { key in
                _ = value.withBytes { keyspace.setString(key, $0, expiry: .keep) }
            }
            databases[index][name] = ModelValue(value: value, expiry: old?.expiry)
        case 6:
            let number = Int64(bitPattern: prng.next())
            key(name, index) { _ = keyspace.setInteger($0, number, expiry: .keep) }
            databases[index][name] = ModelValue(
                value: Array(String(number).utf8),
                expiry: old?.expiry
            )
        case 7...8: resize(name, index)
        case 9:
            let time = randomTime()
            key(name, index) { _ = keyspace.setExpiry($0, at: time) }
            databases[index][name]?.expiry = time
        case 10:
            key(name, index) { _ = keyspace.removeExpiry($0) }
            databases[index][name]?.expiry = nil
        case 11: rename(name, index, keys)
        default:
            let removed = key(name, index) {
                name.count % 2 == 0 ? keyspace.remove($0) : keyspace.unlink($0)
            }
            #expect(removed == (old != nil))
            databases[index][name] = nil
        }
        let found = key(name, index) { keyspace.find($0).map { read($0) } }
        #expect(found == databases[index][name])
    }

    private mutating func set(_ name: [UInt8], _ index: Int) {
        let value = randomValue()
        let time: Int64? = prng.below(2) == 0 ? randomTime() : nil
        let entry = key(name, index) { key in
            value.withBytes {
                keyspace.setString(key, $0, expiry: time.map { .at($0) } ?? .clear)
            }
        }
        databases[index][name] = ModelValue(value: value, expiry: time)
        #expect(read(entry) == databases[index][name])
    }

    private mutating func resize(_ name: [UInt8], _ index: Int) {
        var value = databases[index][name]?.value ?? []
        let shrinks = prng.below(4) == 0
        let length = shrinks ? prng.below(value.count + 1) : value.count + prng.below(40)
        let before = min(value.count, length)
        key(name, index) { key in
            let bytes = keyspace.resizeString(key, to: length)
            for position in before..<length {
                #expect(bytes[position] == 0)
                bytes[position] = UInt8(position & 0xFF)
            }
        }
        value = Array(value.prefix(before)) + (before..<length).map { UInt8($0 & 0xFF) }
        databases[index][name] = ModelValue(
            value: value,
            expiry: databases[index][name]?.expiry
        )
    }

    private mutating func rename(_ name: [UInt8], _ index: Int, _ keys: Int) {
        let other = randomKey(keys)
        let target = prng.below(databases.count)
        guard name != other || index != target else { return }
        let isCopy = prng.below(2) == 0
        key(name, index) { from in
            key(other, target) { to in
                _ = isCopy ? keyspace.copy(from, to: to) : keyspace.rename(from, to: to)
            }
        }
        guard let value = databases[index][name] else { return }
        databases[target][other] = value
        if !isCopy { databases[index][name] = nil }
    }
}
