// Strings on their way from an RDB stream into the table. A key that comes from a file hits a
// bucket that is in no cache; a few dozen are gathered first, and the line of each is asked for as
// it comes, so that the table is written to when they have arrived.
import Base
import Persistence
import Storage

struct LoadBatch: ~Copyable {
    struct Item {
        var key: KeyRef
        var value: RDBValue
        var attributes: RDBAttributes
    }

    static let limit = 32
    /// Key and value; what is longer goes straight into the table.
    static let longest = 512

    /// Copies of the keys and values. It never grows: the items point into it.
    private var text = Buffer()
    private let items: UnsafeMutablePointer<Item>
    private(set) var count = 0

    init() {
        _ = text.reserve(LoadBatch.limit * LoadBatch.longest)
        items = .allocate(capacity: LoadBatch.limit)
    }

    deinit { items.deallocate() }

    var isFull: Bool { count == LoadBatch.limit }

    subscript(index: Int) -> Item {
        invariant(index >= 0 && index < count, "an item of the batch")
        return items[index]
    }

    mutating func removeAll() {
        count = 0
        text.removeAll()
    }

    /// Keeps a copy of a string entry; false when it is of another kind or too long.
    mutating func add(_ entry: RDBEntry, database: Int, to keyspace: Keyspace) -> Bool {
        invariant(!isFull, "room in the batch")
        var size = entry.key.count
        switch entry.value {
        case .bytes(let value): size += value.count
        case .integer: break
        case .payload: return false
        }
        guard size <= LoadBatch.longest else { return false }
        let key = keyspace.key(copy(entry.key), database: database)
        keyspace.prefetchBucket(key)
        var value = entry.value
        if case .bytes(let bytes) = value { value = .bytes(copy(bytes)) }
        (items + count).initialize(
            to: Item(key: key, value: value, attributes: entry.attributes))
        count += 1
        return true
    }

    private mutating func copy(_ bytes: Bytes) -> Bytes {
        let start = text.count
        text.append(bytes)
        return text.bytes[start..<text.count]
    }
}
