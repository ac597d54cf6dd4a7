// The point-in-time walk that replaces fork (DESIGN: "Snapshots without fork"). Each table has an
// epoch of two bits, and so has each entry. A snapshot gives the tables that it covers a new epoch;
// entries of another epoch are yet to be serialised. The walk does so slice by slice, a change to
// such an entry does it first, and new entries are born with the new epoch: each key is handed to
// the sink exactly once, as it was when the snapshot began. A flushed database is put aside and
// walked to its end before it is freed; SWAPDB changes nothing, as each database remembers its
// number. Two bits instead of one let a snapshot begin right after another was cancelled half-way;
// only after three cancelled ones in a row do the old marks have to be settled by a silent walk.
// One snapshot runs at a time.
import Base
import HashSlots

/// Receives each entry: context, number of its database when the snapshot began, `Entry.base`. It
/// must not change the keyspace and must take the entry: only slices may be delayed.
public typealias SnapshotSink =
    @convention(c) (UnsafeMutableRawPointer?, Int, UnsafeMutableRawPointer) -> Void

/// What came of asking for a snapshot.
public enum SnapshotStart: Equatable, Sendable {
    case started
    /// Another one runs: wait for its end.
    case busy
    /// Marks of cancelled ones must be settled: call `snapshotSlice` until done, then ask again.
    case settling
}

struct SnapshotState {
    enum Phase {
        case idle
        case running
        case settling
    }
    var phase = Phase.idle
    var sink: SnapshotSink?
    var context: UnsafeMutableRawPointer?
    /// The databases as they were at the start.
    var units: UnsafeMutablePointer<DatabasePointer>?
    var unitCount = 0
    var unit = 0
    var table = 0
    var cursor: UInt64 = 0
    /// Buckets ahead of the cursor that were asked for already.
    var prefetched = 0
    var emitted = 0
    var walks = OpenWalks()

    /// The walk asks for so many buckets at once: their memory latencies then overlap.
    static let prefetchedBuckets = 8
}

extension Keyspace {
    /// True from `beginSnapshot` to its last slice or its cancellation.
    public var isSnapshotRunning: Bool { state.pointee.snapshot.phase == .running }

    /// Entries that the running, or last, snapshot has serialised.
    public var snapshotEmitted: Int { state.pointee.snapshot.emitted }

    /// Begins a snapshot of all databases, or of some slots of database 0 on a cluster node. With
    /// `pieces` large values go there; see `SnapshotWalks`.
    public func beginSnapshot(
        slots: SlotSet? = nil,
        sink: SnapshotSink,
        pieces: SnapshotPieceSink? = nil,
        context: UnsafeMutableRawPointer?
    ) -> SnapshotStart {
        invariant(slots == nil || isSlotted, "a snapshot of slots needs slots")
        guard state.pointee.snapshot.phase != .running else { return .busy }
        // When every epoch may still be in use there is none to give; see the header.
        guard !needsSettling(slots) else {
            if state.pointee.snapshot.phase == .idle { openWalk(.settling) }
            return .settling
        }
        if state.pointee.snapshot.phase == .settling { closeWalk() }
        openWalk(.running)
        state.pointee.snapshot.sink = sink
        state.pointee.snapshot.walks.sink = pieces
        state.pointee.snapshot.context = context
        state.pointee.snapshot.emitted = 0
        forEachTable(slots) { $0.pointee.beginEpoch() }
        return .started
    }

    /// Serialises about `entries` entries, or walks that many silently while settling. True when
    /// nothing is left to do, at which the snapshot is over.
    public func snapshotSlice(entries: Int) -> Bool {
        guard state.pointee.snapshot.phase != .idle else { return true }
        var left = max(entries, 1)
        while left > 0 {
            if let open = state.pointee.snapshot.walks.first {
                advanceWalk(open, effort: left)
                left = 0
                continue
            }
            guard let unit = currentUnit() else {
                closeWalk()
                return true
            }
            left -= walk(unit)
        }
        return false
    }

    /// Ends the snapshot without serialising the rest. The sink hears nothing more.
    public func cancelSnapshot() {
        guard state.pointee.snapshot.phase != .idle else { return }
        if let units = state.pointee.snapshot.units {
            for index in 0..<state.pointee.snapshot.unitCount {
                let database = units[index]
                for table in 0..<database.pointee.tableCount {
                    database.pointee.tables[table].isInSnapshot = false
                }
            }
        }
        closeWalk()
    }

    // MARK: The walk

    private func needsSettling(_ slots: SlotSet?) -> Bool {
        var needs = false
        forEachTable(slots) { if $0.pointee.epochsInUse == 0xF { needs = true } }
        return needs
    }

    /// Visits the tables with keys that a snapshot of `slots`, or of everything, covers.
    private func forEachTable(
        _ slots: SlotSet?,
        _ body: (UnsafeMutablePointer<EntryTable>) -> Void
    ) {
        for index in 0..<(slots == nil ? databaseCount : 1) {
            let database = database(index)
            var next = database.pointee.nextTable(from: 0)
            while let table = next {
                if slots?.contains(Slot(hash: UInt16(table))) ?? true {
                    body(database.pointee.tables + table)
                }
                next = database.pointee.nextTable(from: table + 1)
            }
        }
    }

    private func openWalk(_ phase: SnapshotState.Phase) {
        invariant(state.pointee.snapshot.units == nil, "a walk is open already")
        let units = UnsafeMutablePointer<DatabasePointer>.allocate(capacity: databaseCount)
        for index in 0..<databaseCount {
            let database = database(index)
            (units + index).initialize(to: database)
            database.pointee.snapshotLabel = index
        }
        state.pointee.snapshot.units = units
        state.pointee.snapshot.unitCount = databaseCount
        state.pointee.snapshot.unit = 0
        state.pointee.snapshot.table = 0
        state.pointee.snapshot.cursor = 0
        state.pointee.snapshot.prefetched = 0
        state.pointee.snapshot.phase = phase
    }

    private func closeWalk() {
        closeWalks()
        if let units = state.pointee.snapshot.units {
            for index in 0..<state.pointee.snapshot.unitCount {
                units[index].pointee.snapshotLabel = -1
            }
            units.deallocate()
        }
        state.pointee.snapshot.units = nil
        state.pointee.snapshot.unitCount = 0
        state.pointee.snapshot.sink = nil
        state.pointee.snapshot.context = nil
        state.pointee.snapshot.phase = .idle
    }

    /// The database that the walk is in, nil behind the last.
    private func currentUnit() -> DatabasePointer? {
        guard let units = state.pointee.snapshot.units,
            state.pointee.snapshot.unit < state.pointee.snapshot.unitCount
        else { return nil }
        return units[state.pointee.snapshot.unit]
    }

    /// Walks one bucket, or on to the next table or database. Returns what it cost.
    private func walk(_ database: DatabasePointer) -> Int {
        let from = state.pointee.snapshot.table
        guard from < database.pointee.tableCount, let next = database.pointee.nextTable(from: from)
        else {
            endUnit(database)
            return 1
        }
        if next != from {
            state.pointee.snapshot.table = next
            state.pointee.snapshot.cursor = 0
            state.pointee.snapshot.prefetched = 0
        }
        let table = database.pointee.tables + next
        let isSettling = state.pointee.snapshot.phase == .settling
        guard isSettling ? table.pointee.epochsInUse != 0 : table.pointee.isInSnapshot else {
            state.pointee.snapshot.table = next + 1
            state.pointee.snapshot.cursor = 0
            return 1
        }
        var cost = 1
        let label = database.pointee.snapshotLabel
        let epoch = table.pointee.epoch
        if state.pointee.snapshot.prefetched == 0 {
            table.pointee.prefetchScan(
                state.pointee.snapshot.cursor, buckets: SnapshotState.prefetchedBuckets)
            state.pointee.snapshot.prefetched = SnapshotState.prefetchedBuckets
        }
        state.pointee.snapshot.prefetched -= 1
        let cursor = table.pointee.scan(state.pointee.snapshot.cursor) { base in
            let entry = Entry(base)
            guard entry.epoch != epoch else { return }
            cost += 1
            if isSettling { entry.epoch = epoch } else { emit(entry, label, table) }
        }
        state.pointee.snapshot.cursor = cursor
        if cursor == 0 {
            table.pointee.endEpoch()
            state.pointee.snapshot.table = next + 1
            state.pointee.snapshot.prefetched = 0
        }
        return cost
    }

    /// Tables that became empty during the walk were passed over: nothing of them is left to do.
    private func endUnit(_ database: DatabasePointer) {
        for index in 0..<database.pointee.tableCount {
            let table = database.pointee.tables + index
            if table.pointee.isInSnapshot { table.pointee.endEpoch() }
        }
        state.pointee.snapshot.unit += 1
        state.pointee.snapshot.table = 0
        state.pointee.snapshot.cursor = 0
    }

    /// Hands an entry to the sink and marks it as done.
    @inline(never)
    func emit(_ entry: Entry, _ label: Int, _ table: UnsafeMutablePointer<EntryTable>) {
        invariant(label >= 0, "an entry outside of the snapshot is serialised")
        invariant(entry.epoch != table.pointee.epoch, "an entry is serialised twice")
        entry.epoch = table.pointee.epoch
        state.pointee.snapshot.emitted += 1
        if openWalk(entry, label) { return }
        state.pointee.snapshot.sink?(state.pointee.snapshot.context, label, entry.base)
    }

    /// Serialises what is left of a table that is about to go.
    func emitAll(_ table: UnsafeMutablePointer<EntryTable>, _ label: Int) {
        guard table.pointee.isInSnapshot else { return }
        var cursor: UInt64 = 0
        repeat {
            cursor = table.pointee.scan(cursor) { base in
                let entry = Entry(base)
                if entry.epoch != table.pointee.epoch { emit(entry, label, table) }
            }
        } while cursor != 0
        table.pointee.endEpoch()
    }
}

extension EntryTable {
    /// A new epoch for the table: all entries of today are yet to be serialised.
    mutating func beginEpoch() {
        invariant(!isInSnapshot && epochsInUse != 0xF, "no epoch is left")
        let used: UInt8 = epochsInUse == 0 ? 1 &<< epoch : epochsInUse
        epoch = UInt8((~used).trailingZeroBitCount)
        invariant(epoch < 4, "no epoch is left")
        epochsInUse = used | (1 &<< epoch)
        isInSnapshot = true
    }

    /// Every entry now carries the table's epoch.
    mutating func endEpoch() {
        epochsInUse = 0
        isInSnapshot = false
    }
}
