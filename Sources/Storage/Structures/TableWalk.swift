// The walk of a snapshot over a large hash, set or sorted set. It works as the walk over the keys
// does: the table gets a new epoch, entries of another epoch are yet to be serialised, new ones are
// born with the new one. What is changed or removed before its turn is set aside, the removed
// block itself, or a copy of one that changes in place. Hashes and sets are walked bucket by bucket
// (their elements have no order); sorted sets from the highest element down, as files have them.
import Base

struct TableWalkState {
    let table: FieldTable
    /// Elements when the walk began.
    let count: Int
    /// When the first field expired, as of the beginning.
    let earliest: Int64?
    /// The order of a sorted set; nil for hashes and sets.
    let tree: UnsafeMutablePointer<OrderTree>?
    /// Elements serialised so far.
    var done = 0
    /// The table was walked to its end.
    var isScanned = false
    /// The next bucket; see `EntryTable.scan`.
    var cursor: UInt64 = 0
    /// Where the walk down a sorted set is: its last element, nil before the first.
    var lastScore = 0.0
    var lastName: RawString?
    /// Old forms of elements that the walk has not reached.
    var aside: UnsafeMutablePointer<AsideEntry>?

    static var size: Int { MemoryLayout<TableWalkState>.size }
}

/// An entry that is in no table any more.
struct AsideEntry {
    let entry: Entry
    let next: UnsafeMutablePointer<AsideEntry>?

    static var size: Int { MemoryLayout<AsideEntry>.size }
}

extension FieldTable {
    /// To be called before an entry changes in place: a walk keeps it as it is.
    @inline(__always)
    func willChange(_ entry: Entry, _ memory: Memory) {
        if _slowPath(state.pointee.walk != nil) { setAsideCopy(entry, memory) }
    }

    /// Frees an entry that left the table, or leaves it to a walk.
    @inline(__always)
    func retire(_ entry: Entry, _ memory: Memory) {
        if _slowPath(state.pointee.walk != nil), entry.epoch != state.pointee.table.epoch {
            setAside(entry, memory)
        } else {
            FieldTable.free(entry, memory)
        }
    }

    @inline(never)
    private func setAsideCopy(_ entry: Entry, _ memory: Memory) {
        guard entry.epoch != state.pointee.table.epoch else { return }
        setAside(FieldTable.clone(entry, memory), memory)
        entry.epoch = state.pointee.table.epoch
    }

    private func setAside(_ entry: Entry, _ memory: Memory) {
        guard let walk = state.pointee.walk else { unreachable("an entry is set aside for none") }
        let block = memory.allocate(AsideEntry.size).bindMemory(to: AsideEntry.self, capacity: 1)
        block.initialize(to: AsideEntry(entry: entry, next: walk.pointee.aside))
        walk.pointee.aside = block
    }

    /// A copy of an entry, with a value that stands apart.
    static func clone(_ entry: Entry, _ memory: Memory) -> Entry {
        let size = entry.allocationSize
        let clone = Entry(memory.allocate(size))
        copyBytes(to: clone.base, from: entry.base, count: size)
        if entry.layout == .raw {
            let bytes = RawString(entry.payload).bytes
            let string = RawString.make(bytes.count, memory)
            copyBytes(to: string.start, from: bytes.base, count: bytes.count)
            clone.payloadWord = UInt64(UInt(bitPattern: string.base))
        }
        return clone
    }
}

/// A walk over the elements as they were when it began; each is visited once.
public struct TableWalk {
    let state: UnsafeMutablePointer<TableWalkState>

    /// The handle again, from what `ObjectType.openWalk` gave.
    public init(_ raw: UnsafeMutableRawPointer) {
        state = raw.assumingMemoryBound(to: TableWalkState.self)
    }

    var raw: UnsafeMutableRawPointer { UnsafeMutableRawPointer(state) }

    /// Elements when the walk began.
    public var count: Int { state.pointee.count }
    /// When the first field of a hash expired, as of the beginning; nil when none did.
    public var earliestExpiry: Int64? { state.pointee.earliest }

    /// Begins; nil when marks of walks that were given up leave no epoch: then all elements must
    /// be serialised at once, and are marked as if they had been.
    static func open(
        _ table: FieldTable, order tree: UnsafeMutablePointer<OrderTree>?, _ memory: Memory
    ) -> TableWalk? {
        invariant(table.state.pointee.walk == nil, "a table is walked once at a time")
        guard table.state.pointee.table.epochsInUse != 0xF else {
            let epoch = table.state.pointee.table.epoch
            table.forEach { $0.epoch = epoch }
            table.state.pointee.table.endEpoch()
            return nil
        }
        table.state.pointee.table.beginEpoch()
        let block = memory.allocate(TableWalkState.size)
            .bindMemory(to: TableWalkState.self, capacity: 1)
        block.initialize(
            to: TableWalkState(
                table: table, count: table.count, earliest: table.earliestExpiry, tree: tree))
        table.state.pointee.walk = block
        return TableWalk(block)
    }

    /// Visits about `effort` elements; true when all were visited.
    public func advance(_ effort: Int, _ memory: Memory, _ visit: (Entry) -> Void) -> Bool {
        var left = effort
        while left > 0, let block = state.pointee.aside {
            state.pointee.aside = block.pointee.next
            state.pointee.done += 1
            visit(block.pointee.entry)
            FieldTable.free(block.pointee.entry, memory)
            memory.free(block, AsideEntry.size)
            left -= 1
        }
        while left > 0, !state.pointee.isScanned {
            left -= state.pointee.tree == nil ? visitBucket(visit) : visitRun(left, memory, visit)
        }
        guard state.pointee.isScanned, state.pointee.aside == nil else { return false }
        invariant(state.pointee.done == state.pointee.count, "a walk lost elements")
        state.pointee.table.state.pointee.table.endEpoch()
        return true
    }

    /// Visits the elements of the next bucket; returns what that cost.
    private func visitBucket(_ visit: (Entry) -> Void) -> Int {
        let table = state.pointee.table
        let epoch = table.state.pointee.table.epoch
        var cost = 1
        let next = table.scan(state.pointee.cursor) { entry in
            cost += 1
            take(entry, epoch, visit)
        }
        state.pointee.cursor = next
        if next == 0 { state.pointee.isScanned = true }
        return cost
    }

    /// Visits the next elements below the last one; returns what that cost.
    private func visitRun(_ most: Int, _ memory: Memory, _ visit: (Entry) -> Void) -> Int {
        guard let tree = state.pointee.tree else { unreachable("a walk without an order") }
        let epoch = state.pointee.table.state.pointee.table.epoch
        var end = tree.pointee.count
        if let name = state.pointee.lastName {
            end = tree.pointee.rank(state.pointee.lastScore, name.bytes)
        }
        let start = max(0, end - most)
        var last: Entry?
        tree.pointee.forEachReversed(in: start..<end) { score, entry in
            state.pointee.lastScore = score
            last = entry
            take(entry, epoch, visit)
            return true
        }
        if start == 0 {
            state.pointee.isScanned = true
        } else if let last {
            let name = last.key
            let room = state.pointee.lastName ?? RawString.make(name.count, memory)
            let text = room.resized(to: name.count, memory)
            copyBytes(to: text.start, from: name.base, count: name.count)
            state.pointee.lastName = text
        }
        return end - start + 1
    }

    @inline(__always)
    private func take(_ entry: Entry, _ epoch: UInt8, _ visit: (Entry) -> Void) {
        guard entry.epoch != epoch else { return }
        entry.epoch = epoch
        state.pointee.done += 1
        visit(entry)
    }

    /// Ends the walk, complete or not.
    func close(_ memory: Memory) {
        while let block = state.pointee.aside {
            state.pointee.aside = block.pointee.next
            FieldTable.free(block.pointee.entry, memory)
            memory.free(block, AsideEntry.size)
        }
        state.pointee.lastName?.free(memory)
        state.pointee.table.state.pointee.table.isInSnapshot = false
        state.pointee.table.state.pointee.walk = nil
        memory.free(state, TableWalkState.size)
    }
}

extension ObjectType {
    /// The walks of hashes and sets.
    static let openTableWalk: OpenWalk = { payload, encoding, heap, threshold in
        guard Encoding(rawValue: encoding) == .hashTable else { return nil }
        let table = FieldTable(payload)
        guard table.count >= threshold else { return nil }
        return TableWalk.open(table, order: nil, ObjectHeap(raw: heap).memory)?.raw
    }

    /// The walks of sorted sets.
    static let openSortedSetWalk: OpenWalk = { payload, encoding, heap, threshold in
        guard Encoding(rawValue: encoding) == .skipList else { return nil }
        let set = LargeSortedSet(payload)
        guard set.count >= threshold else { return nil }
        return TableWalk.open(set.table, order: set.tree, ObjectHeap(raw: heap).memory)?.raw
    }

    static let closeTableWalk: CloseWalk = { walk, heap in
        TableWalk(walk).close(ObjectHeap(raw: heap).memory)
    }
}
