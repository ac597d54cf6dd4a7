// The ordered map of stream IDs against a dictionary: every kind of growth and shrinking, cursors
// in both directions, and no block left behind.
import Base
import Storage
import Testing

@Suite struct IDTreeTests {
    private enum Pattern: CaseIterable { case queue, random, dense }

    @Test(arguments: 1...12)
    func againstADictionary(seed: UInt64) {
        let memory = Memory()
        var random = Prng(seed: seed)
        var tree = IDTree()
        var model: [StreamID: UInt64] = [:]
        let pattern = Pattern.allCases[Int(seed % 3)]
        var top: UInt64 = 1
        for step in 0..<4000 {
            let grows = random.next() % 100 < (step / 1000 % 2 == 0 ? 70 : 35)
            if grows {
                top += 1
                let range: UInt64 = pattern == .dense ? 300 : 1 << 40
                let id =
                    pattern == .queue
                    ? StreamID(top, 0) : StreamID(random.next() % range, random.next() % 3)
                #expect(tree.insert(id, top, memory) == (model[id] == nil))
                if model[id] == nil { model[id] = top }
            } else if let id = pattern == .queue
                ? tree.first?.id : model.keys.min(by: { distance($0, step) < distance($1, step) })
            {
                #expect(tree.remove(id, memory) == model[id])
                model[id] = nil
                #expect(tree.remove(id, memory) == nil)
            }
            #expect(tree.count == model.count)
            if step % 97 == 0 { compare(tree, model, &random) }
        }
        compare(tree, model, &random)
        for id in model.keys.sorted() { tree.remove(id, memory) }
        #expect(tree.isEmpty)
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }

    private func distance(_ id: StreamID, _ step: Int) -> UInt64 {
        let target = UInt64(truncatingIfNeeded: step &* 7919) % 300
        return id.ms > target ? id.ms - target : target - id.ms
    }

    private func compare(_ tree: IDTree, _ model: [StreamID: UInt64], _ random: inout Prng) {
        tree.checkInvariants()
        let sorted = model.keys.sorted()
        var forwards: [StreamID] = []
        var cursor = tree.first
        while let current = cursor {
            forwards.append(current.id)
            #expect(current.word == model[current.id])
            cursor = current.next
        }
        #expect(forwards == sorted)
        var backwards: [StreamID] = []
        cursor = tree.last
        while let current = cursor {
            backwards.append(current.id)
            cursor = current.previous
        }
        #expect(backwards == sorted.reversed())
        for _ in 0..<5 {
            let probe = StreamID(random.next() % ((sorted.last?.ms ?? 1) &+ 2), random.next() % 3)
            #expect(tree.lowerBound(probe)?.id == sorted.first { $0 >= probe })
            #expect(tree.floor(probe)?.id == sorted.last { $0 <= probe })
        }
    }

    @Test func releaseFreesAll() {
        let memory = Memory()
        var tree = IDTree()
        for number in 0..<5000 { tree.insert(StreamID(UInt64(number * 37 % 5000), 0), 1, memory) }
        tree.checkInvariants()
        #expect(tree.nodeCount > 100)
        tree.release(memory)
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }

    @Test func textAndBytes() {
        for (id, text) in [
            (StreamID(0, 0), "0-0"), (StreamID(1526919030474, 55), "1526919030474-55"),
            (.highest, "18446744073709551615-18446744073709551615"),
            (StreamID(9223372036854775808, 9223372036854775807),
                "9223372036854775808-9223372036854775807"),
        ] {
            #expect(id.withText { $0.string } == text)
            #expect(id.withBytes { StreamID(bytes: $0) } == id)
        }
        #expect(StreamID(1, .max).next == StreamID(2, 0))
        #expect(StreamID.highest.next == nil)
        #expect(StreamID(2, 0).previous == StreamID(1, .max))
        #expect(StreamID.zero.previous == nil)
    }
}
