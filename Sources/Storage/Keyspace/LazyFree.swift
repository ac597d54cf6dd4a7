// Memory that nobody can reach any more and that is given back in slices: values too large to free
// within a command, databases after FLUSHDB, slots after they moved away. Small blocks belong to
// the thread that owns the data, so the slices run there, with a budget; only long plain strings,
// which come from malloc, may be freed by any thread, and are handed out as a chain for that.
import Base

/// One thing to free; the kinds share the fields.
struct LazyFreeItem {
    enum Kind {
        case value
        case table
        case database
    }
    var next: UnsafeMutablePointer<LazyFreeItem>?
    var kind: Kind
    var value: DetachedValue?
    /// The value counts among those that were freed lazily.
    var isCounted = true
    var table = EntryTable()
    var database: DatabasePointer?
    /// Next table of the database, and next bucket of the table.
    var tableCursor = 0
    var bucketCursor = 0
}

struct LazyFreeQueue {
    var first: UnsafeMutablePointer<LazyFreeItem>?
    /// Values and keys that wait.
    var pending = 0
    /// Items freed since the start or the last reset.
    var freed = 0
    /// Long strings, each starting with the address of the next.
    var background: UnsafeMutableRawPointer?

    /// Values that cost less are freed at once, as in the reference.
    static let effortThreshold = 64
    /// Strings from this size on are worth another thread.
    static let backgroundSize = 1 << 16
    /// The same where nobody asked for it.
    static let impliedBackgroundSize = 1 << 20
}

extension Keyspace {
    /// Keys and values that wait to be freed (INFO `lazyfree_pending_objects`).
    public var lazyFreePending: Int { state.pointee.lazyFree.pending }

    /// Keys and values freed lazily so far (INFO `lazyfreed_objects`).
    public var lazyFreed: Int { state.pointee.lazyFree.freed }

    /// CONFIG RESETSTAT.
    public func resetLazyFreed() { state.pointee.lazyFree.freed = 0 }

    /// Something waits to be freed, if only for the end of a snapshot.
    @inline(__always)
    public var hasLazyFree: Bool { state.pointee.lazyFree.first != nil }

    /// Frees about `effort` elements of what waits. True when more can be done now.
    @discardableResult
    public func lazyFreeSlice(effort: Int) -> Bool {
        var left = max(effort, 1)
        while left > 0 {
            guard let link = nextFreeable() else { return false }
            free(link, &left)
        }
        return nextFreeable() != nil
    }

    /// Frees all that waits, except what a running snapshot still has to read.
    public func drainLazyFree() {
        while lazyFreeSlice(effort: Int.max) {}
        Keyspace.freeBackgroundBlocks(takeBackgroundBlocks())
    }

    /// The long strings that may be freed on any thread, as a chain for `freeBackgroundBlocks`; nil
    /// when there are none. They are not counted as used any more.
    public func takeBackgroundBlocks() -> UnsafeMutableRawPointer? {
        let chain = state.pointee.lazyFree.background
        state.pointee.lazyFree.background = nil
        return chain
    }

    /// Frees such a chain; on any thread.
    public static func freeBackgroundBlocks(_ chain: UnsafeMutableRawPointer?) {
        var block = chain
        while let current = block {
            block = current.load(as: UnsafeMutableRawPointer?.self)
            Memory.freeDetached(current)
        }
    }

    // MARK: What goes in

    /// Frees a value that was deleted or replaced. Nobody asked for that to be lazy, but nobody
    /// should have to wait for it either: a large one is freed in slices, and is not counted.
    @inline(__always)
    func releaseSoon(_ value: DetachedValue) {
        if value.ownsMemory { releaseLater(value, isCounted: false) }
    }

    /// Frees a value now when that is cheap, else later.
    func releaseLater(_ value: DetachedValue, isCounted: Bool = true) {
        guard value.ownsMemory else { return }
        if _slowPath(openWalks > 0), adopt(value) { return }
        if value.type == .string {
            let string = RawString(value.payload)
            let size = string.allocationSize
            let isLong =
                size
                >= (isCounted
                    ? LazyFreeQueue.backgroundSize : LazyFreeQueue.impliedBackgroundSize)
            guard isLong else {
                string.free(memory)
                return
            }
            memory.detach(size)
            string.base.storeBytes(
                of: state.pointee.lazyFree.background,
                as: UnsafeMutableRawPointer?.self
            )
            state.pointee.lazyFree.background = string.base
            if isCounted { state.pointee.lazyFree.freed += 1 }
            return
        }
        let descriptor = state.pointee.types[Int(value.type.rawValue)]
        let effort = descriptor.freeEffort?(value.payload, value.encoding.rawValue) ?? 1
        if effort <= LazyFreeQueue.effortThreshold {
            release(value)
        } else {
            enqueue(
                LazyFreeItem(next: nil, kind: .value, value: value, isCounted: isCounted),
                pending: 1)
        }
    }

    /// Takes over the entries of a table that nobody refers to any more.
    func releaseLater(_ table: EntryTable) {
        guard table.buckets != nil else { return }
        enqueue(LazyFreeItem(next: nil, kind: .table, table: table), pending: table.count)
    }

    /// Takes over a whole database.
    func releaseLater(_ database: DatabasePointer) {
        enqueue(
            LazyFreeItem(next: nil, kind: .database, database: database),
            pending: database.pointee.count
        )
    }

    private func enqueue(_ item: LazyFreeItem, pending: Int) {
        let raw = memory.allocate(MemoryLayout<LazyFreeItem>.size)
        let pointer = raw.bindMemory(to: LazyFreeItem.self, capacity: 1)
        pointer.initialize(to: item)
        pointer.pointee.next = state.pointee.lazyFree.first
        state.pointee.lazyFree.first = pointer
        state.pointee.lazyFree.pending += pending
    }

    // MARK: What goes out

    /// The first item that no snapshot needs.
    private func nextFreeable() -> UnsafeMutablePointer<LazyFreeItem>? {
        var item = state.pointee.lazyFree.first
        while let current = item {
            guard let database = current.pointee.database, database.pointee.snapshotLabel >= 0
            else { return current }
            item = current.pointee.next
        }
        return nil
    }

    private func free(_ item: UnsafeMutablePointer<LazyFreeItem>, _ left: inout Int) {
        switch item.pointee.kind {
        case .value:
            guard let value = item.pointee.value else { unreachable("an item without a value") }
            let isGone = release(value, effort: left)
            left = isGone ? left - 1 : 0
            if isGone {
                noteFreed(1)
                if !item.pointee.isCounted { state.pointee.lazyFree.freed -= 1 }
                dequeue(item)
            }
        case .table:
            if drain(&item.pointee.table, &item.pointee.bucketCursor, &left) { dequeue(item) }
        case .database:
            guard let database = item.pointee.database else { unreachable("no database") }
            drain(database, item, &left)
        }
    }

    private func drain(
        _ database: DatabasePointer,
        _ item: UnsafeMutablePointer<LazyFreeItem>,
        _ left: inout Int
    ) {
        while left > 0 {
            guard item.pointee.tableCursor < database.pointee.tableCount else {
                database.pointee.count = 0
                database.release(memory)
                dequeue(item)
                return
            }
            let table = database.pointee.tables + item.pointee.tableCursor
            guard drain(&table.pointee, &item.pointee.bucketCursor, &left) else { return }
            item.pointee.tableCursor += 1
            item.pointee.bucketCursor = 0
        }
    }

    /// Frees the entries of the next buckets; true when the table is empty and its arrays are gone.
    private func drain(_ table: inout EntryTable, _ cursor: inout Int, _ left: inout Int) -> Bool {
        while left > 0 {
            guard let bucket = table.bucketToDrain(cursor) else {
                invariant(table.count == 0, "a drained table still counts entries")
                table.releaseDrained(memory)
                return true
            }
            let freed = drain(bucket)
            table.count -= freed
            table.didDrain(cursor, memory)
            noteFreed(freed)
            cursor += 1
            left -= freed + 1
        }
        return false
    }

    private func drain(_ first: Bucket) -> Int {
        var freed = 0
        var bucket: Bucket? = first
        while let line = bucket {
            EntryTable.visitLine(line) { base in
                let entry = Entry(base)
                releaseLater(DetachedValue(entry))
                freeBlock(entry)
                freed += 1
            }
            bucket = line.child
            if line.line != first.line { memory.freeTable(line.line, Bucket.size) }
        }
        first.word = 0
        return freed
    }

    private func noteFreed(_ count: Int) {
        state.pointee.lazyFree.pending -= count
        state.pointee.lazyFree.freed += count
    }

    private func dequeue(_ item: UnsafeMutablePointer<LazyFreeItem>) {
        if state.pointee.lazyFree.first == item {
            state.pointee.lazyFree.first = item.pointee.next
        } else {
            var previous = state.pointee.lazyFree.first
            while let current = previous, current.pointee.next != item {
                previous = current.pointee.next
            }
            invariant(previous != nil, "the item is not in the queue")
            previous?.pointee.next = item.pointee.next
        }
        memory.free(item, MemoryLayout<LazyFreeItem>.size)
    }
}
