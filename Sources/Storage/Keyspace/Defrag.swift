// Active defragmentation: blocks move from sparsely used slabs to fuller ones, until the sparse
// ones are empty and go back to the system. An incremental walk visits the keys, a share at a time,
// and moves the block of each entry and the small blocks of its value; the elements of large values
// are visited in shares too. Only who points to a block can move it, so each type knows how its own
// blocks move (`ObjectType.defragment`). Blocks above 1 KB are the C library's and stay.
//
// A slab moves its blocks only to a fuller one, so the walk makes progress whatever else happens.
import Base

/// Where the walk is.
struct DefragState {
    var database = 0
    var table = 0
    var cursor: UInt64 = 0
    /// The key of a large value that is under way, and where in it.
    var key: RawString?
    var valueCursor: UInt64 = 0
    var counts = DefragCounts()
}

/// What active defragmentation did so far.
public struct DefragCounts: Sendable, Equatable {
    /// Blocks that were moved, and that were well where they were.
    public var hits = 0
    public var misses = 0
    /// Keys with a moved block, and without one.
    public var keyHits = 0
    public var keyMisses = 0

    public init() {}
}

extension Keyspace {
    public var defragCounts: DefragCounts { state.pointee.defrag.counts }

    /// CONFIG RESETSTAT.
    public func resetDefragCounts() { state.pointee.defrag.counts = DefragCounts() }

    /// Visits about `effort` entries and elements. True when the end of the keyspace was reached:
    /// the next call begins anew. Not while a snapshot runs, which holds on to blocks.
    public func defragSlice(effort: Int) -> Bool {
        guard state.pointee.snapshot.phase == .idle else { return true }
        var left = max(effort, 1)
        while left > 0 {
            if state.pointee.defrag.key != nil {
                left -= defragLargeValue()
                continue
            }
            guard state.pointee.defrag.database < databaseCount else {
                state.pointee.defrag.database = 0
                state.pointee.defrag.table = 0
                state.pointee.defrag.cursor = 0
                return true
            }
            left -= defragBucket()
        }
        return false
    }

    /// Visits a bucket of keys; returns what that cost.
    private func defragBucket() -> Int {
        let database = database(state.pointee.defrag.database)
        guard let table = database.pointee.nextTable(from: state.pointee.defrag.table) else {
            state.pointee.defrag.database += 1
            state.pointee.defrag.table = 0
            state.pointee.defrag.cursor = 0
            return 1
        }
        if table != state.pointee.defrag.table {
            state.pointee.defrag.table = table
            state.pointee.defrag.cursor = 0
        }
        var cost = 1
        let place = database.pointee.tables + table
        let cursor = place.pointee.scanPlaces(state.pointee.defrag.cursor) { place in
            cost += defrag(place, database)
        }
        state.pointee.defrag.cursor = cursor
        if cursor == 0 { state.pointee.defrag.table = table + 1 }
        return cost
    }

    /// Moves an entry's block and its value's, as far as that is worth it.
    private func defrag(_ place: EntryPlace, _ database: DatabasePointer) -> Int {
        guard let base = place.pointee else { return 0 }
        var entry = Entry(base)
        let before = state.pointee.defrag.counts.hits
        let size = entry.allocationSize
        if shouldMove(base, size) {
            let hasExpiry = entry.hasExpiry
            if hasExpiry { database.pointee.expiry.remove(entry, memory) }
            entry = Entry(memory.move(base, size))
            place.pointee = entry.base
            if hasExpiry { database.pointee.expiry.insert(entry, memory) }
        }
        var cost = 1
        // An inline value has moved with its block.
        switch entry.layout {
        case .listpack where !entry.isString:
            movePayload(entry, Listpack(entry.payload).totalBytes)
        case .intset where !entry.isString:
            movePayload(entry, Intset(entry.payload).totalBytes)
        case .shaped:
            movePayload(entry, ShapedHash(entry.payload).totalBytes)
        default: break
        }
        if let defragment = state.pointee.types[Int(entry.type.rawValue)].defragment,
            !entry.isString
        {
            var cursor: UInt64 = 0
            cost += defragment(entry.payload, entry.encoding.rawValue, raw, &cursor)
            if cursor != 0 { remember(entry.key, cursor) }
        }
        if state.pointee.defrag.counts.hits > before {
            state.pointee.defrag.counts.keyHits += 1
        } else {
            state.pointee.defrag.counts.keyMisses += 1
        }
        return cost
    }

    private func movePayload(_ entry: Entry, _ size: Int) {
        guard shouldMove(entry.payload, size) else { return }
        entry.setPayload(memory.move(entry.payload, size), encoding: entry.layout)
    }

    /// A large value goes on in the next slices. Of several in one bucket the last one does; the
    /// others get their turn when the walk comes by again.
    private func remember(_ key: Bytes, _ cursor: UInt64) {
        state.pointee.defrag.key?.free(memory)
        let copy = RawString.make(max(1, key.count), memory)
        copyBytes(to: copy.start, from: key.base, count: key.count)
        state.pointee.defrag.key = copy.resized(to: key.count, memory)
        state.pointee.defrag.valueCursor = cursor
    }

    private func defragLargeValue() -> Int {
        guard let name = state.pointee.defrag.key else { return 1 }
        var cost = 1
        var cursor: UInt64 = 0
        let key = key(name.bytes, database: min(state.pointee.defrag.database, databaseCount - 1))
        if let entry = find(key), !entry.isString,
            let defragment = state.pointee.types[Int(entry.type.rawValue)].defragment
        {
            cursor = state.pointee.defrag.valueCursor
            cost += defragment(entry.payload, entry.encoding.rawValue, raw, &cursor)
        }
        state.pointee.defrag.valueCursor = cursor
        if cursor == 0 { forgetDefragValue() }
        return cost
    }

    func forgetDefragValue() {
        state.pointee.defrag.key?.free(memory)
        state.pointee.defrag.key = nil
    }

    /// Whether a small block would be better off elsewhere; counts the answer.
    func shouldMove(_ block: UnsafeMutableRawPointer, _ size: Int) -> Bool {
        guard size <= SlabAllocator.largestBlock else { return false }
        let answer = memory.shouldMove(block, size)
        if answer {
            state.pointee.defrag.counts.hits += 1
        } else {
            state.pointee.defrag.counts.misses += 1
        }
        return answer
    }
}

// MARK: The types

/// Elements of a value that are visited in one go.
private let defragRun = 64

extension FieldTable {
    /// Moves the entries of about `defragRun` buckets; returns the cost. `moved` is told old and
    /// new entry.
    func defragment(
        _ keyspace: Keyspace, _ cursor: inout UInt64, _ moved: (Entry, Entry) -> Void = { _, _ in }
    ) -> Int {
        let memory = keyspace.memory
        var cost = 0
        repeat {
            cursor = state.pointee.table.scanPlaces(cursor) { place in
                guard let base = place.pointee else { return }
                cost += 1
                let old = Entry(base)
                let size = old.allocationSize
                guard keyspace.shouldMove(base, size) else { return }
                if old.hasExpiry { unindex(old, memory) }
                let fresh = Entry(memory.copyElsewhere(base, size))
                moved(old, fresh)
                place.pointee = fresh.base
                memory.free(base, size)
                if fresh.hasExpiry { index(fresh, memory) }
            }
        } while cursor != 0 && cost < defragRun
        return cost
    }
}

extension ObjectType {
    /// Hashes and sets.
    static let defragmentTable: Defragment = { payload, encoding, raw, cursor in
        let keyspace = Keyspace(raw: raw)
        guard Encoding(rawValue: encoding) == .hashTable else { return 1 }
        return FieldTable(payload).defragment(keyspace, &cursor.pointee)
    }

    /// Sorted sets: first the entries, which the order points to and has to be told of, then the
    /// nodes of the order.
    static let defragmentSortedSet: Defragment = { payload, encoding, raw, cursor in
        guard Encoding(rawValue: encoding) == .skipList else { return 1 }
        let keyspace = Keyspace(raw: raw)
        let set = LargeSortedSet(payload)
        let isOrder: UInt64 = 1 &<< 63
        guard cursor.pointee & isOrder == 0 else {
            let rank = set.tree.pointee.defragment(
                from: Int(truncatingIfNeeded: cursor.pointee & ~isOrder), keyspace)
            cursor.pointee = rank.map { UInt64(truncatingIfNeeded: $0) | isOrder } ?? 0
            return defragRun
        }
        let cost = set.table.defragment(keyspace, &cursor.pointee) { old, fresh in
            set.tree.pointee.replace(old, with: fresh)
        }
        if cursor.pointee == 0 { cursor.pointee = isOrder }
        return cost
    }

    /// Lists: mostly the C library's blocks; of the small ones those near the front.
    static let defragmentList: Defragment = { payload, encoding, raw, cursor in
        guard Encoding(rawValue: encoding) == .quickList else { return 1 }
        return ChunkList(payload).defragment(Keyspace(raw: raw))
    }
}

extension ChunkList {
    fileprivate func defragment(_ keyspace: Keyspace) -> Int {
        var cost = 0
        var next = first
        while let chunk = next, cost < defragRun {
            cost += 1
            next = chunk.next
            guard keyspace.shouldMove(chunk.base, chunk.capacity) else { continue }
            let size = chunk.capacity
            let fresh = Chunk(keyspace.memory.copyElsewhere(chunk.base, size))
            relink(chunk, as: fresh)
            keyspace.memory.free(chunk.base, size)
        }
        return cost
    }
}

extension OrderTree {
    /// The block of a member moved; both hold the same now.
    fileprivate func replace(_ old: Entry, with fresh: Entry) {
        guard var node = root else { unreachable("a member of an empty tree") }
        let (score, name) = (old.score, old.key)
        while !node.isLeaf {
            let index = node.countBelow(score, name, orEqual: true) &- 1
            invariant(index >= 0, "the element comes before all others")
            if node.members[index] == old.base { node.members[index] = fresh.base }
            node = node.child(index)
        }
        let place = node.countBelow(score, name, orEqual: false)
        invariant(
            place < node.count && node.members[place] == old.base, "the element is not in the tree")
        node.members[place] = fresh.base
    }

    /// Moves the nodes of some leaves from a rank on, and those above them; returns the rank to go
    /// on from, nil at the end.
    fileprivate mutating func defragment(from rank: Int, _ keyspace: Keyspace) -> Int? {
        var rank = rank
        for _ in 0..<16 {
            guard rank < count, let top = root else { return nil }
            var node = moved(top, keyspace)
            root = node
            var rest = rank
            while !node.isLeaf {
                var index = 0
                while rest >= node.counts[index] {
                    rest -= node.counts[index]
                    index += 1
                }
                let child = moved(node.child(index), keyspace)
                node.setChild(index, child)
                node = child
            }
            rank += node.count - rest
        }
        return rank
    }

    private func moved(_ node: OrderNode, _ keyspace: Keyspace) -> OrderNode {
        let size = node.isLeaf ? OrderNode.leafSize : OrderNode.innerSize
        guard keyspace.shouldMove(node.base, size) else { return node }
        return OrderNode(keyspace.memory.move(node.base, size))
    }
}
