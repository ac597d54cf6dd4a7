// A hash table from byte strings to values: channels to listeners, tracked keys to those who read
// them. Looking a name up needs no copy of it and no allocation, which a Dictionary cannot offer,
// and the order of iteration follows from the hash key alone, so a simulation repeats.
//
// It grows by linear hashing: each insertion that finds the table full splits one chain, so that no
// single insertion pays for rehashing a million names. Removal merges in the same way.
import Base

public struct NameTable<Value: ~Copyable>: ~Copyable {
    /// A name and its value. Never moved while it is in the table.
    public struct Item: ~Copyable {
        fileprivate var next: UnsafeMutablePointer<Item>?
        fileprivate let hash: UInt64
        private let text: UnsafeMutablePointer<UInt8>
        private let length: Int
        public var value: Value

        fileprivate init(_ name: Bytes, hash: UInt64, value: consuming Value) {
            self.hash = hash
            length = name.count
            text = .allocate(capacity: max(1, name.count))
            text.update(from: name.base, count: name.count)
            self.value = value
        }

        deinit { text.deallocate() }

        /// Valid as long as the item is in the table.
        public var name: Bytes { Bytes(UnsafePointer(text), length) }
    }

    public typealias Place = UnsafeMutablePointer<Item>

    private static var smallest: Int { 4 }
    private let key: SipKey
    private var chains: UnsafeMutablePointer<Place?>
    /// Chains in use, and how many there is room for: a power of two.
    private var used: Int
    private var capacity: Int
    public private(set) var count = 0

    public init(key: SipKey) {
        self.key = key
        used = Self.smallest
        capacity = Self.smallest
        chains = .allocate(capacity: capacity)
        chains.initialize(repeating: nil, count: used)
    }

    deinit {
        for chain in 0..<used {
            var next = chains[chain]
            while let item = next {
                next = item.pointee.next
                item.deinitialize(count: 1)
                item.deallocate()
            }
        }
        chains.deallocate()
    }

    public var isEmpty: Bool { count == 0 }
    /// An estimate of what the table takes, the values' own memory not counted.
    public var memory: Int { capacity * 8 + count * (MemoryLayout<Item>.stride + 32) }

    /// Where the chain of `hash` is: chains above those in use are still part of a lower one.
    private func chain(of hash: UInt64) -> Int {
        let whole = Int(truncatingIfNeeded: hash) & (capacity &- 1)
        return whole < used ? whole : whole & ((capacity &>> 1) &- 1)
    }

    public func find(_ name: Bytes) -> Place? {
        let hash = sipHash(name.base, name.count, key: key)
        var next = chains[chain(of: hash)]
        while let item = next {
            if item.pointee.hash == hash, item.pointee.name == name { return item }
            next = item.pointee.next
        }
        return nil
    }

    /// Adds a name that is not in the table.
    @discardableResult
    public mutating func insert(_ name: Bytes, _ value: consuming Value) -> Place {
        invariant(find(name) == nil, "a name is in the table once")
        if count >= used { split() }
        let hash = sipHash(name.base, name.count, key: key)
        let item = Place.allocate(capacity: 1)
        item.initialize(to: Item(name, hash: hash, value: value))
        push(item, chain(of: hash))
        count += 1
        return item
    }

    public mutating func remove(_ name: Bytes) {
        guard let item = find(name) else { return }
        let place = chain(of: item.pointee.hash)
        if chains[place] == item {
            chains[place] = item.pointee.next
        } else {
            var before = chains[place]
            while let each = before, each.pointee.next != item { before = each.pointee.next }
            before?.pointee.next = item.pointee.next
        }
        item.deinitialize(count: 1)
        item.deallocate()
        count -= 1
        if used > Self.smallest, count < used / 4 {
            merge()
            merge()
        }
    }

    public mutating func removeAll() { self = NameTable(key: key) }

    /// Calls `body` with each item. The table must not change meanwhile.
    public func forEach(_ body: (Place) -> Void) {
        for chain in 0..<used {
            var next = chains[chain]
            while let item = next {
                next = item.pointee.next
                body(item)
            }
        }
    }

    /// The item that an even walk over the table meets first at or after `position` (any number):
    /// a cheap choice of a victim.
    public func any(from position: UInt64) -> Place? {
        guard count > 0 else { return nil }
        var chain = Int(truncatingIfNeeded: position % UInt64(used))
        while true {
            if let item = chains[chain] { return item }
            chain = chain + 1 == used ? 0 : chain + 1
        }
    }

    // MARK: Growing and shrinking

    private mutating func push(_ item: Place, _ place: Int) {
        item.pointee.next = chains[place]
        chains[place] = item
    }

    /// One more chain in use, filled from its buddy in the lower half.
    private mutating func split() {
        if used == capacity { resize(capacity * 2) }
        let buddy = used - capacity / 2
        invariant(buddy >= 0 && buddy < used, "the buddy of a new chain exists")
        var next = chains[buddy]
        (chains + used).initialize(to: nil)
        chains[buddy] = nil
        used += 1
        while let item = next {
            next = item.pointee.next
            push(item, chain(of: item.pointee.hash))
        }
    }

    /// The last chain goes back into its buddy.
    private mutating func merge() {
        guard used > Self.smallest else { return }
        var next = chains[used - 1]
        used -= 1
        if used == capacity / 2 { resize(capacity / 2) }
        while let item = next {
            next = item.pointee.next
            push(item, chain(of: item.pointee.hash))
        }
    }

    private mutating func resize(_ wanted: Int) {
        let fresh = UnsafeMutablePointer<Place?>.allocate(capacity: wanted)
        fresh.moveInitialize(from: chains, count: used)
        chains.deallocate()
        chains = fresh
        capacity = wanted
    }
}
