// The snapshot walk: under random changes each key is serialised exactly once, as it was when the
// snapshot began, also across FLUSHDB, SWAPDB, dropped slots, rehashing and cancelled snapshots.
import Base
import HashSlots
import Storage
import Testing

/// What a sink has received.
final class Received {
    var databases: [[[UInt8]: ModelValue]]
    var duplicates = 0
    init(_ count: Int) { databases = Array(repeating: [:], count: count) }

    var context: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    static let sink: SnapshotSink = { context, database, base in
        guard let context else { return }
        let received = Unmanaged<Received>.fromOpaque(context).takeUnretainedValue()
        let entry = Entry(base)
        let old = received.databases[database].updateValue(read(entry), forKey: entry.key.array)
        if old != nil { received.duplicates += 1 }
    }
}

@Suite struct SnapshotTests {
    @Test(arguments: Array(1...12) as [UInt64])
    func eachKeyOnceAsOfTheStart(seed: UInt64) {
        let slotted = seed % 2 == 0
        var model = Model(databases: slotted ? 1 : 3, slotted: slotted, seed: seed)
        for _ in 0..<2000 { model.step(keys: 800) }
        for round in 0..<25 {
            let start = model.databases
            let received = Received(start.count)
            let answer = model.keyspace.beginSnapshot(
                sink: Received.sink,
                context: received.context
            )
            if answer == .settling {
                while !model.keyspace.snapshotSlice(entries: 50) { model.step(keys: 800) }
                model.expectEqual("settled, seed \(seed)")
                continue
            }
            #expect(answer == .started)
            #expect(
                model.keyspace.beginSnapshot(sink: Received.sink, context: nil) == .busy
            )
            let isCancelled = model.prng.below(2) == 0
            run(&model, cancelling: isCancelled, slotted)
            if isCancelled {
                model.keyspace.cancelSnapshot()
                let count = received.databases.map(\.count).reduce(0, +)
                for _ in 0..<50 { model.step(keys: 800) }
                #expect(received.databases.map(\.count).reduce(0, +) == count)
            } else {
                #expect(received.databases == start, "seed \(seed) round \(round)")
            }
            #expect(received.duplicates == 0)
            #expect(!model.keyspace.isSnapshotRunning)
            model.expectEqual("seed \(seed) round \(round)")
        }
        model.keyspace.destroy()
    }

    /// Changes of all kinds between the slices.
    private func run(_ model: inout Model, cancelling: Bool, _ slotted: Bool) {
        let keys = [50, 800, 3000][model.prng.below(3)]
        var slices = cancelling ? model.prng.below(20) : Int.max
        while slices > 0, !model.keyspace.snapshotSlice(entries: 1 + model.prng.below(20)) {
            slices -= 1
            for _ in 0..<model.prng.below(12) { model.step(keys: keys) }
            let keyspace = model.keyspace
            switch model.prng.below(40) {
            case 0:
                let index = model.prng.below(model.databases.count)
                keyspace.flush(database: index)
                model.databases[index] = [:]
            case 1 where !slotted:
                keyspace.swap(0, 2)
                model.databases.swapAt(0, 2)
            case 2 where slotted:
                guard let any = model.databases[0].keys.first else { break }
                let slot = any.withBytes { $0.withSpan { Slot(key: $0) } }
                keyspace.removeSlot(slot)
                model.databases[0] = model.databases[0].filter { item in
                    item.key.withBytes { $0.withSpan { Slot(key: $0) } } != slot
                }
            case 3...5: keyspace.lazyFreeSlice(effort: 30)
            case 6: keyspace.rehashSlice(buckets: 10)
            default: break
            }
        }
    }

    @Test func someSlotsOnly() {
        var model = Model(databases: 1, slotted: true, seed: 77)
        for _ in 0..<4000 { model.step(keys: 3000) }
        var slots = SlotSet()
        for index in stride(from: 0, to: Slot.count, by: 3) {
            if let slot = Slot(index) { slots.insert(slot) }
        }
        for _ in 0..<4 {
            let start = model.databases[0].filter { item in
                slots.contains(item.key.withBytes { $0.withSpan { Slot(key: $0) } })
            }
            let received = Received(1)
            let answer = model.keyspace.beginSnapshot(
                slots: slots,
                sink: Received.sink,
                context: received.context
            )
            #expect(answer == .started)
            while !model.keyspace.snapshotSlice(entries: 30) {
                for _ in 0..<10 { model.step(keys: 3000) }
            }
            #expect(received.databases[0] == start)
            #expect(received.duplicates == 0)
            #expect(model.keyspace.snapshotEmitted == start.count)
        }
        model.expectEqual("after slot snapshots")
        model.keyspace.destroy()
    }
}

/// Room that is made before keys come.
@Suite struct ReserveTests {
    @Test(arguments: [0, 1, 5000, Int.max])
    func roomIsAHint(keys: Int) {
        let keyspace = Keyspace(databases: 2, slotted: false, sipKey: SipKey(1, 2))
        keyspace.reserve(keys, database: 1)
        keyspace.reserve(keys, database: 1)
        for number in 0..<3000 {
            "key:\(number)".withBytes { bytes in
                let key = keyspace.key(bytes, database: 1)
                keyspace.setString(key, bytes, expiry: .clear)
            }
        }
        keyspace.reserve(keys, database: 1)
        #expect(keyspace.count(database: 1) == 3000)
        keyspace.destroy()
    }

    @Test func roomThatNobodyUsedIsGivenBack() {
        let keyspace = Keyspace(databases: 1, slotted: false, sipKey: SipKey(1, 2))
        keyspace.reserve(100_000, database: 0)
        keyspace.flush(database: 0)
        keyspace.destroy()
    }
}
