// Small lists inside the block of their key: they go in and come out, survive everything that moves
// or copies an entry, are seen by snapshots as they were, and leave no memory behind. With
// `FOOTPRINT=keys` in the environment: prints what a list of ten 16-byte strings takes in both
// forms.
import Base
import Glibc
import Storage
import Testing

private let limits = EncodingLimits()

/// What a key holds, in words.
private struct ListValue: Equatable {
    var elements: [String]
    var expiry: Int64?
}

private func content(_ entry: Entry, _ heap: ObjectHeap) -> ListValue {
    let list = ListObject(entry, heap, limits)
    var out = ListValue(elements: [], expiry: entry.expiry)
    var elements = list.iterate(from: 0)
    while let value = elements.next() { withText(of: value) { out.elements.append($0.string) } }
    return out
}

private let ten = (0..<10).map { "element of 16 b\($0)" }

/// A keyspace of lists.
private struct Lists {
    let keyspace: Keyspace
    /// Blocks and bytes before there was anything.
    let blocks: Int
    let bytes: Int

    init(seed: UInt64 = 1) {
        let keyspace = Keyspace(databases: 1, slotted: false, sipKey: SipKey(seed, 2), seed: seed)
        keyspace.register(.list, .list)
        // The first key brings a table, which stays.
        "first".withBytes { name in
            let key = keyspace.key(name, database: 0)
            keyspace.setString(key, name, expiry: .at(1))
            keyspace.remove(key)
        }
        keyspace.drainLazyFree()
        self.keyspace = keyspace
        blocks = keyspace.memory.liveBlocks
        bytes = keyspace.memory.slabUsed
    }

    func with<R>(_ name: String, _ body: (KeyRef) -> R) -> R {
        name.withBytes { body(keyspace.key($0, database: 0)) }
    }

    /// Puts a complete list under a key.
    @discardableResult
    func put(_ name: String, _ elements: [String], at time: Int64? = nil) -> Entry {
        let list = ListBuilder(keyspace.heap, limits)
        for element in elements { element.withBytes { list.append($0) } }
        let (payload, encoding) = list.finish()
        return with(name) {
            keyspace.replaceObject(
                $0, .list, encoding, payload, expiry: time.map { .at($0) } ?? .clear)
        }
    }

    /// Appends to a list, as a command does.
    @discardableResult
    func push(_ name: String, _ element: String) -> Entry {
        with(name) { key in
            guard let found = keyspace.find(key) else {
                let payload = ListObject.makePayload(keyspace.heap)
                let entry = keyspace.insertObject(key, .list, .listpack, payload)
                return append(element, to: entry)
            }
            let entry = keyspace.takeOut(found, key)
            keyspace.willChange(entry, key)
            return append(element, to: entry)
        }
    }

    private func append(_ element: String, to entry: Entry) -> Entry {
        let list = ListObject(entry, keyspace.heap, limits)
        element.withBytes { text in
            list.willGrow(bytes: text.count, count: 1)
            list.push(text, atFront: false)
        }
        return entry
    }

    func find(_ name: String) -> Entry? { with(name) { keyspace.find($0) } }

    subscript(_ name: String) -> ListValue? {
        find(name).map { content($0, keyspace.heap) }
    }

    var isClean: Bool {
        keyspace.drainLazyFree()
        return keyspace.memory.liveBlocks == blocks && keyspace.memory.slabUsed == bytes
    }
}

@Suite struct InlineListTests {
    private let lists = Lists()
    private var keyspace: Keyspace { lists.keyspace }

    @Test func inAndOut() {
        let inside = lists.put("list:000000000001", ten, at: 5000)
        #expect(inside.isInline && inside.layout == .embedded && inside.encoding == .listpack)
        inside.accessClock = 0x1234
        #expect(content(inside, keyspace.heap) == ListValue(elements: ten, expiry: 5000))
        let blocks = keyspace.memory.liveBlocks
        let small = keyspace.memoryUsage(inside, samples: 0)
        #expect(small == 16 + Memory.roundedSize(inside.allocationSize))
        keyspace.checkInvariants()

        let outside = lists.with("list:000000000001") { keyspace.takeOut(inside, $0) }
        #expect(!outside.isInline && outside.layout == .listpack)
        #expect(outside.accessClock == 0x1234)
        #expect(content(outside, keyspace.heap) == ListValue(elements: ten, expiry: 5000))
        #expect(keyspace.memory.liveBlocks == blocks + 1)
        #expect(keyspace.memoryUsage(outside, samples: 0) > small)
        #expect(lists.with("list:000000000001") { keyspace.takeOut(outside, $0) } == outside)
        keyspace.checkInvariants()

        let again = lists.with("list:000000000001") { keyspace.tuckIn(outside, $0) }
        #expect(again.isInline && again.accessClock == 0x1234)
        #expect(keyspace.memory.liveBlocks == blocks)
        #expect(lists.with("list:000000000001") { keyspace.tuckIn(again, $0) } == again)
        #expect(lists["list:000000000001"] == ListValue(elements: ten, expiry: 5000))
        keyspace.checkInvariants()
        keyspace.destroy()
    }

    @Test func whatStaysOutside() {
        #expect(!lists.put("one", ["a"]).isInline)
        #expect(lists.put("two", ["a", "b"]).isInline)
        let long = String(repeating: "x", count: 500)
        #expect(lists.put("fits", [long, String(repeating: "y", count: 450)]).isInline)
        #expect(!lists.put("long", [long, long]).isInline)
        #expect(!lists.put("many", (0..<5000).map { "element \($0)" }).isInline)
        // A block with key, value and room for an expiry must be a small one.
        let name = String(repeating: "k", count: 600)
        #expect(lists.put(name, ["a", String(repeating: "z", count: 300)]).isInline)
        #expect(!lists.put(name + "2", ["a", String(repeating: "z", count: 400)]).isInline)
        // One that grows.
        for element in ten { #expect(!lists.push("grown", element).isInline) }
        #expect(lists["grown"]?.elements == ten)
        lists.with("text") { key in
            let text = keyspace.setString(key, Bytes("a text"), expiry: .clear)
            #expect(keyspace.tuckIn(text, key) == text && keyspace.takeOut(text, key) == text)
            #expect(!text.isInline && text.encoding == .embedded)
            let number = keyspace.setInteger(key, 5, expiry: .clear)
            #expect(!number.isInline && number.encoding == .integer)
        }
        keyspace.checkInvariants()
        keyspace.destroy()
    }

    @Test func expiriesComeAndGo() {
        lists.put("l", ten)
        lists.with("l") { key in
            for time in [7000, 8000, 6000] as [Int64] {
                #expect(keyspace.setExpiry(key, at: time)?.isInline == true)
                #expect(lists["l"] == ListValue(elements: ten, expiry: time))
                keyspace.checkInvariants()
            }
            #expect(keyspace.removeExpiry(key)?.isInline == true)
            #expect(lists["l"] == ListValue(elements: ten))
            // Taken out with an expiry that came later.
            keyspace.setExpiry(key, at: 9000)
            lists.push("l", "more")
            #expect(lists["l"] == ListValue(elements: ten + ["more"], expiry: 9000))
            keyspace.checkInvariants()
            keyspace.remove(key)
        }
        #expect(lists.isClean)
        keyspace.destroy()
    }

    @Test func otherNames() {
        lists.put("l", ten, at: 5000)
        let value = ListValue(elements: ten, expiry: 5000)
        let long = String(repeating: "n", count: 300)
        let longer = String(repeating: "o", count: 1020)
        var from = "l"
        for (to, isInline) in [("m", true), (long, true), (longer, false), ("n", false)] {
            lists.with(from) { old in lists.with(to) { _ = keyspace.rename(old, to: $0) } }
            #expect(lists.find(from) == nil && lists[to] == value)
            #expect(lists.find(to)?.isInline == isInline)
            keyspace.checkInvariants()
            from = to
        }
        // Copies are at rest, whatever the original is; each has elements of its own.
        lists.put("inside", ten, at: 5000)
        for original in ["n", "inside"] {
            for (to, isInline) in [("copy", true), (long, true), (longer, false)] {
                lists.with(original) { old in lists.with(to) { _ = keyspace.copy(old, to: $0) } }
                #expect(lists[to] == value && lists.find(to)?.isInline == isInline)
                lists.push(to, "more")
                #expect(lists[to]?.elements == ten + ["more"] && lists[original] == value)
                keyspace.checkInvariants()
            }
        }
        for name in ["n", "inside", "copy", long, longer] {
            lists.with(name) { _ = keyspace.remove($0) }
        }
        #expect(lists.isClean)
        keyspace.destroy()
    }

    @Test func nothingIsLeftBehind() {
        let names = (0..<300).map { "list:\($0)" }
        for (index, name) in names.enumerated() {
            lists.put(name, ten, at: index % 3 == 0 ? 4000 : nil)
            if index % 4 == 0 { lists.push(name, "more") }
        }
        for (index, name) in names.enumerated() {
            lists.with(name) { key in
                switch index % 5 {
                case 0: keyspace.remove(key)
                case 1: keyspace.unlink(key)
                case 2:
                    keyspace.setString(key, Bytes("a text"), expiry: .keep)
                    keyspace.remove(key)
                case 3:
                    lists.put(name, ["x", "y"])
                    #expect(lists[name] == ListValue(elements: ["x", "y"]))
                    keyspace.remove(key)
                default: break
                }
            }
        }
        keyspace.checkInvariants()
        keyspace.flush(database: 0)
        keyspace.drainLazyFree()
        // The table went with the database.
        #expect(keyspace.memory.slabUsed <= lists.bytes && keyspace.count(database: 0) == 0)
        #expect(keyspace.memory.liveBlocks <= lists.blocks)
        keyspace.destroy()
    }

    @Test func defragmentationMovesTheBlock() {
        for index in 0..<5000 { lists.put("list:\(index)", ten + ["\(index)"]) }
        var prng = Prng(seed: 4)
        var kept: [Int] = []
        for index in 0..<5000 {
            if prng.below(8) == 0 {
                kept.append(index)
                if index % 3 == 0 {
                    lists.with("list:\(index)") { _ = keyspace.setExpiry($0, at: 1000) }
                }
            } else {
                lists.with("list:\(index)") { _ = keyspace.remove($0) }
            }
        }
        let used = keyspace.memory.slabUsed
        for _ in 0..<3 { while !keyspace.defragSlice(effort: 100) {} }
        #expect(keyspace.defragCounts.hits > kept.count / 2)
        #expect(keyspace.memory.slabUsed <= used + 4096)
        for index in kept {
            let expected = ListValue(
                elements: ten + ["\(index)"], expiry: index % 3 == 0 ? 1000 : nil)
            #expect(lists["list:\(index)"] == expected)
            #expect(lists.find("list:\(index)")?.isInline == true)
        }
        keyspace.checkInvariants()
        keyspace.destroy()
    }

    @Test func bytesPerList() {
        let count = 20_000
        var bytes: [Double] = []
        for isInline in [false, true] {
            let lists = Lists()
            for index in 0..<count {
                // As `scripts/bench --items` names them: 17 bytes.
                let digits = String(index)
                let name = "list:" + String(repeating: "0", count: 12 - digits.count) + digits
                let entry = lists.put(name, ten)
                if !isInline { lists.with(name) { _ = lists.keyspace.takeOut(entry, $0) } }
            }
            bytes.append(Double(lists.keyspace.memory.used - lists.bytes) / Double(count))
            lists.keyspace.destroy()
        }
        if getenv("FOOTPRINT") != nil {
            let line = "a list of ten: \(bytes[0]) bytes apart, \(bytes[1]) bytes inline\n"
            line.withBytes { _ = write(STDERR_FILENO, $0.base, $0.count) }
        }
        #expect(bytes[1] + 15 < bytes[0])
    }
}

/// Lists of all kinds under random changes, and snapshots that must see them as they were.
private struct ListModel {
    let lists: Lists
    var values: [String: ListValue] = [:]
    var prng: Prng

    init(seed: UInt64) {
        lists = Lists(seed: seed)
        prng = Prng(seed: seed)
    }

    private mutating func name() -> String {
        let number = prng.below(80)
        return "\(number)" + String(repeating: "k", count: number % 9 == 0 ? number * 12 : 0)
    }

    mutating func step() {
        let name = name()
        let keyspace = lists.keyspace
        switch prng.below(12) {
        case 0...2:
            let size = prng.below(40)
            let elements = (0...prng.below(12)).map { String(repeating: "\($0)", count: size + 1) }
            let time: Int64? = prng.below(2) == 0 ? Int64(prng.below(1000)) : nil
            lists.put(name, elements, at: time)
            values[name] = ListValue(elements: elements, expiry: time)
        case 3, 4:
            lists.push(name, "pushed")
            values[name, default: ListValue(elements: [])].elements.append("pushed")
        case 5:
            lists.with(name) { key in
                if let entry = keyspace.find(key) { keyspace.tuckIn(entry, key) }
            }
        case 6:
            lists.with(name) { _ = keyspace.setExpiry($0, at: 2000) }
            values[name]?.expiry = 2000
        case 7:
            lists.with(name) { _ = keyspace.removeExpiry($0) }
            values[name]?.expiry = nil
        case 8:
            lists.with(name) { _ = keyspace.remove($0) }
            values[name] = nil
        case 9: _ = keyspace.defragSlice(effort: 20)
        default: rename(name)
        }
        #expect(lists[name] == values[name])
    }

    private mutating func rename(_ name: String) {
        let other = self.name()
        guard name != other, let value = values[name] else { return }
        let isCopy = prng.below(2) == 0
        lists.with(name) { from in
            lists.with(other) { to in
                _ = isCopy
                    ? lists.keyspace.copy(from, to: to) : lists.keyspace.rename(from, to: to)
            }
        }
        values[other] = value
        if !isCopy { values[name] = nil }
    }
}

/// What a sink of lists has received.
private final class ReceivedLists {
    let heap: ObjectHeap
    var values: [String: ListValue] = [:]
    var duplicates = 0

    init(_ heap: ObjectHeap) { self.heap = heap }

    static let sink: SnapshotSink = { context, _, base in
        guard let context else { return }
        let received = Unmanaged<ReceivedLists>.fromOpaque(context).takeUnretainedValue()
        let entry = Entry(base)
        let value = content(entry, received.heap)
        if received.values.updateValue(value, forKey: entry.key.string) != nil {
            received.duplicates += 1
        }
    }
}

@Suite struct InlineListModelTests {
    @Test(arguments: Array(1...8) as [UInt64])
    func snapshotsSeeListsAsTheyWere(seed: UInt64) {
        var model = ListModel(seed: seed)
        let keyspace = model.lists.keyspace
        for _ in 0..<1000 { model.step() }
        for round in 0..<10 {
            keyspace.checkInvariants()
            let start = model.values
            let received = ReceivedLists(keyspace.heap)
            let context = Unmanaged.passUnretained(received).toOpaque()
            while keyspace.beginSnapshot(sink: ReceivedLists.sink, context: context) != .started {
                while !keyspace.snapshotSlice(entries: 50) {}
            }
            let isCancelled = round % 4 == 3
            var slices = isCancelled ? 3 : Int.max
            while slices > 0, !keyspace.snapshotSlice(entries: 3) {
                slices -= 1
                for _ in 0..<model.prng.below(8) { model.step() }
            }
            if isCancelled {
                keyspace.cancelSnapshot()
            } else {
                #expect(received.values == start, "seed \(seed) round \(round)")
            }
            #expect(received.duplicates == 0)
            for _ in 0..<100 { model.step() }
        }
        for (name, value) in model.values { #expect(model.lists[name] == value) }
        #expect(keyspace.count(database: 0) == model.values.count)
        for name in model.values.keys { model.lists.with(name) { _ = keyspace.remove($0) } }
        keyspace.checkInvariants()
        keyspace.destroy()
    }

    @Test func movingAListIsNoChange() {
        let lists = Lists()
        for index in 0..<50 { lists.put("\(index)", ten) }
        let received = ReceivedLists(lists.keyspace.heap)
        let context = Unmanaged.passUnretained(received).toOpaque()
        #expect(
            lists.keyspace.beginSnapshot(sink: ReceivedLists.sink, context: context) == .started)
        for index in 0..<50 {
            lists.with("\(index)") { key in
                guard let entry = lists.keyspace.find(key) else { return }
                let outside = lists.keyspace.takeOut(entry, key)
                if index % 2 == 0 { lists.keyspace.tuckIn(outside, key) }
            }
        }
        #expect(received.values.isEmpty, "the snapshot has not begun to look")
        lists.push("7", "more")
        #expect(received.values == ["7": ListValue(elements: ten)])
        while !lists.keyspace.snapshotSlice(entries: 10) {}
        #expect(received.values.count == 50 && received.duplicates == 0)
        lists.keyspace.checkInvariants()
        lists.keyspace.destroy()
    }
}
