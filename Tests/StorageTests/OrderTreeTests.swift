// The B+tree of sorted sets against a sorted array: random changes of all kinds, every question
// after each batch, and the shapes that rising and falling insertions leave behind.
import Base
import Storage
import Testing

/// A tree with its elements' blocks, and the sorted array that it should equal.
private struct Twin {
    let heap: ObjectHeap
    let table: FieldTable
    var tree = OrderTree()
    var model: [Entry] = []

    init() {
        heap = ObjectHeap(memory: Memory(), sipKey: SipKey(1, 2))
        table = FieldTable.make(heap)
    }

    var memory: Memory { heap.memory }

    func entry(_ name: Bytes, _ score: Double) -> Entry {
        table.insert(name, word: score.bitPattern, heap)
    }

    func free(_ entry: Entry) {
        let removed = table.remove(entry.key, heap)
        #expect(removed)
    }

    func place(_ score: Double, _ name: Bytes, orEqual: Bool = false) -> Int {
        var low = 0
        var high = model.count
        while low < high {
            let middle = (low + high) / 2
            let other = model[middle]
            let below =
                other.score != score
                ? other.score < score : orEqual ? !(name < other.key) : other.key < name
            if below { low = middle + 1 } else { high = middle }
        }
        return low
    }

    mutating func insert(_ score: Double, _ name: String) {
        name.withBytes { bytes in
            guard table.find(bytes, heap) == nil else { return }
            let place = place(score, bytes)
            let entry = entry(bytes, score)
            model.insert(entry, at: place)
            tree.insert(score, entry, memory)
        }
    }

    mutating func remove(at place: Int) {
        let entry = model.remove(at: place)
        tree.remove(entry.score, entry, memory)
        free(entry)
    }

    mutating func update(at place: Int, to score: Double) {
        let entry = model[place]
        tree.update(entry.score, entry, to: score, memory)
        model.remove(at: place)
        entry.score = score
        model.insert(entry, at: self.place(score, entry.key))
    }

    mutating func remove(ranks range: Range<Int>) {
        var seen: [Entry] = []
        tree.remove(ranks: range, memory) { score, entry in
            #expect(score == entry.score)
            seen.append(entry)
        }
        #expect(seen == Array(model[range]))
        for entry in seen { free(entry) }
        model.removeSubrange(range)
    }

    func expectEqual(_ prng: inout Prng) {
        tree.checkInvariants()
        #expect(tree.count == model.count)
        for _ in 0..<8 {
            let ends = [prng.below(model.count + 1), prng.below(model.count + 1)].sorted()
            let range = ends[0]..<ends[1]
            var seen: [Entry] = []
            tree.forEach(in: range) { score, entry in
                seen.append(entry)
                return score == entry.score
            }
            #expect(seen == Array(model[range]))
            seen = []
            tree.forEachReversed(in: range) { _, entry in
                seen.append(entry)
                return true
            }
            #expect(seen == model[range].reversed())
            guard !model.isEmpty else { continue }
            let rank = prng.below(model.count)
            let entry = model[rank]
            #expect(tree[rank].member == entry && tree[rank].score == entry.score)
            #expect(tree.rank(entry.score, entry.key) == rank)
            let score = prng.chance(1, in: 2) ? entry.score : Double(prng.below(40))
            #expect(
                tree.count(below: score, orEqual: false)
                    == model.count { $0.score < score })
            #expect(
                tree.count(below: score, orEqual: true)
                    == model.count { $0.score <= score })
        }
    }

    mutating func finish() {
        while tree.count > 0 { tree.removeLast(37, memory) }
        tree.checkInvariants()
        for entry in model { free(entry) }
        while !table.release(memory, effort: 50) {}
        #expect(memory.liveBlocks == 0 && memory.used == 0)
        memory.destroy()
    }
}

@Suite struct OrderTreeTests {
    @Test(arguments: Array(1...12) as [UInt64])
    func randomChangesKeepTheOrder(seed: UInt64) {
        var prng = Prng(seed: seed)
        var twin = Twin()
        let scores = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 30 : 1_000_000
        for round in 0..<60 {
            let grows = round % 20 < 12
            for _ in 0..<(1 + prng.below(120)) {
                let dice = prng.below(100)
                if dice < (grows ? 75 : 15) || twin.model.isEmpty {
                    twin.insert(Double(prng.below(scores)), "m\(prng.below(100_000))")
                } else if dice < 85 {
                    twin.remove(at: prng.below(twin.model.count))
                } else {
                    let place = prng.below(twin.model.count)
                    let old = twin.model[place].score
                    let new = prng.chance(1, in: 2) ? old + 0.25 : Double(prng.below(scores))
                    twin.update(at: place, to: new)
                }
            }
            if prng.chance(1, in: 4) {
                let ends = [
                    prng.below(twin.model.count + 1), prng.below(twin.model.count + 1),
                ].sorted()
                let width = grows ? min(ends[1] - ends[0], 50) : ends[1] - ends[0]
                twin.remove(ranks: ends[0]..<(ends[0] + width))
            }
            twin.expectEqual(&prng)
        }
        twin.finish()
    }

    @Test(arguments: [1, 2] as [UInt64])
    func namesOrderEqualScores(seed: UInt64) {
        var prng = Prng(seed: seed)
        var twin = Twin()
        for _ in 0..<2000 {
            let name = String(repeating: "ab", count: prng.below(9)) + "\(prng.below(5000))"
            twin.insert(0, name)
        }
        for _ in 0..<200 {
            let name = Array("ab\(prng.below(6000))".utf8)
            name.withBytes { bytes in
                let below = twin.model.count { $0.key < bytes }
                let same = twin.model.count { $0.key == bytes }
                #expect(twin.tree.count(below: bytes, orEqual: false) == below)
                #expect(twin.tree.count(below: bytes, orEqual: true) == below + same)
            }
        }
        twin.finish()
    }

    @Test func infinitiesAndZerosHaveTheirPlaces() {
        var twin = Twin()
        for (index, score) in [0.0, -0.0, .infinity, -.infinity, 1, -1].enumerated() {
            twin.insert(score, "m\(index)")
        }
        #expect(twin.tree.count(below: -.infinity, orEqual: false) == 0)
        #expect(twin.tree.count(below: -.infinity, orEqual: true) == 1)
        #expect(twin.tree.count(below: 0, orEqual: false) == 2)
        #expect(twin.tree.count(below: -0.0, orEqual: true) == 4)
        #expect(twin.tree.count(below: .infinity, orEqual: false) == 5)
        var prng = Prng(seed: 1)
        twin.expectEqual(&prng)
        twin.finish()
    }

    /// Elements that arrive in order fill their nodes: 16 bytes each, and little more.
    @Test(arguments: [1.0, -1.0])
    func orderedInsertionsFillNodes(direction: Double) {
        var twin = Twin()
        for index in 0..<20_000 {
            let name = Array("\(index)".utf8)
            let entry = name.withBytes {
                twin.entry($0, direction * Double(index))
            }
            twin.tree.insert(entry.score, entry, twin.memory)
            twin.model.append(entry)
        }
        if direction < 0 { twin.model.reverse() }
        #expect(twin.tree.memoryUsage < 20_000 * 19)
        var prng = Prng(seed: 2)
        twin.expectEqual(&prng)
        while twin.model.count > 0 {
            twin.remove(at: prng.below(twin.model.count))
            if twin.model.count % 4000 == 0 { twin.expectEqual(&prng) }
        }
        twin.finish()
    }

    @Test func randomInsertionsNeedLessThanThirtyBytesEach() {
        var twin = Twin()
        var prng = Prng(seed: 5)
        for index in 0..<20_000 {
            let name = Array("\(index)".utf8)
            let entry = name.withBytes {
                twin.entry($0, Double(prng.below(1 << 40)))
            }
            twin.tree.insert(entry.score, entry, twin.memory)
            twin.model.append(entry)
        }
        twin.tree.checkInvariants()
        #expect(twin.tree.memoryUsage < 20_000 * 30)
        twin.finish()
    }
}
