// A map kept in key order in one array. The pure machines iterate only these: the order of
// Dictionary and Set differs from run to run, and a simulation must repeat.

public struct SortedTable<Key: Comparable, Value> {
    public private(set) var keys: [Key] = []
    private var storedValues: [Value] = []

    public init() {}

    public var count: Int { keys.count }
    public var isEmpty: Bool { keys.isEmpty }
    public var values: [Value] { storedValues }

    /// Where `key` is, or where it would be inserted.
    private func position(of key: Key) -> (index: Int, found: Bool) {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return (low, low < keys.count && keys[low] == key)
    }

    public subscript(_ key: Key) -> Value? {
        get {
            let (index, found) = position(of: key)
            return found ? storedValues[index] : nil
        }
        set {
            let (index, found) = position(of: key)
            switch (found, newValue) {
            case (true, .some(let value)): storedValues[index] = value
            case (true, .none):
                keys.remove(at: index)
                storedValues.remove(at: index)
            case (false, .some(let value)):
                keys.insert(key, at: index)
                storedValues.insert(value, at: index)
            case (false, .none): break
            }
        }
    }

    /// Changes the value of `key` in place; returns nil when there is none.
    public mutating func update<R>(_ key: Key, _ body: (inout Value) -> R) -> R? {
        let (index, found) = position(of: key)
        return found ? body(&storedValues[index]) : nil
    }

    /// Changes each value in place, in key order.
    public mutating func updateEach(_ body: (Key, inout Value) -> Void) {
        for index in keys.indices { body(keys[index], &storedValues[index]) }
    }

    public func contains(_ key: Key) -> Bool { position(of: key).found }

    public mutating func removeAll() {
        keys.removeAll()
        storedValues.removeAll()
    }
}

extension SortedTable: Sequence {
    public func makeIterator() -> Zip2Sequence<[Key], [Value]>.Iterator {
        zip(keys, storedValues).makeIterator()
    }
}

extension SortedTable: Sendable where Key: Sendable, Value: Sendable {}
extension SortedTable: Equatable where Value: Equatable {}
