// Long lists against an array, with chunks of every size, and what they must not leave behind.
import Base
import Storage
import Testing

/// A text for an element: short, long, numeric.
private func element(_ prng: inout Prng) -> [UInt8] {
    switch prng.below(6) {
    case 0: Array("\(Int64(bitPattern: prng.next()) >> prng.below(64))".utf8)
    case 1: [UInt8](repeating: UInt8(97 + prng.below(3)), count: prng.below(300))
    case 2: [UInt8](repeating: 120, count: prng.below(40) == 0 ? 9000 : 5)
    default: [UInt8(97 + prng.below(5))]
    }
}

private func elements(of list: ChunkList) -> [[UInt8]] {
    (0..<list.count).map { index in
        guard let position = list.seek(index) else { return [] }
        return withText(of: list[position]) { $0.array }
    }
}

@Suite struct ChunkListTests {
    @Test(arguments: [1, 2, 3, 10, 128, -1, -2, -5] as [Int], [1, 2, 3] as [UInt64])
    func agreesWithAnArray(size: Int, seed: UInt64) {
        let memory = Memory()
        let limit = ChunkLimit(listSize: size)
        let list = ChunkList.make(memory)
        var model: [[UInt8]] = []
        var prng = Prng(seed: seed &* 31 &+ UInt64(bitPattern: Int64(size)))
        for step in 0..<1500 {
            edit(list, &model, limit, memory, &prng)
            if step % 50 == 0 {
                list.checkInvariants()
                #expect(elements(of: list) == model)
            }
        }
        list.checkInvariants()
        #expect(elements(of: list) == model)
        let copy = list.copy(memory)
        copy.checkInvariants()
        #expect(elements(of: copy) == model)
        list.free(memory)
        copy.free(memory)
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }

    private func edit(
        _ list: ChunkList, _ model: inout [[UInt8]], _ limit: ChunkLimit, _ memory: Memory,
        _ prng: inout Prng
    ) {
        let text = element(&prng)
        switch prng.below(12) {
        case 0...2:
            text.withBytes { list.push($0, atFront: true, limit, memory) }
            model.insert(text, at: 0)
        case 3...5:
            text.withBytes { list.push($0, atFront: false, limit, memory) }
            model.append(text)
        case 6 where !model.isEmpty:
            let atFront = prng.chance(1, in: 2)
            list.pop(atFront: atFront, memory)
            if atFront { model.removeFirst() } else { model.removeLast() }
        case 7, 8:
            guard !model.isEmpty else { return }
            let index = prng.below(model.count)
            guard let position = list.seek(index) else { return }
            if prng.chance(1, in: 3) {
                text.withBytes { list.replace(at: position, with: $0, limit, memory) }
                model[index] = text
            } else {
                let after = prng.chance(1, in: 2)
                text.withBytes { list.insert($0, at: position, after: after, limit, memory) }
                model.insert(text, at: after ? index + 1 : index)
            }
        case 9:
            guard !model.isEmpty, prng.chance(1, in: 3) else { return }
            let index = prng.below(model.count)
            let count = prng.below(min(20, model.count - index) + 1)
            list.remove(from: index, count: count, memory)
            model.removeSubrange(index..<(index + count))
        default:
            guard !model.isEmpty else { return }
            let victim = model[prng.below(model.count)]
            let most = prng.below(3)
            let fromEnd = prng.chance(1, in: 2)
            let removed = victim.withBytes {
                list.remove(Needle($0), count: most, fromEnd: fromEnd, memory)
            }
            #expect(removed == remove(victim, most, fromEnd, &model))
        }
    }

    private func remove(
        _ victim: [UInt8], _ most: Int, _ fromEnd: Bool, _ model: inout [[UInt8]]
    ) -> Int {
        var places = model.indices.filter { model[$0] == victim }
        if fromEnd { places.reverse() }
        if most > 0 { places = Array(places.prefix(most)) }
        for place in places.sorted(by: >) { model.remove(at: place) }
        return places.count
    }

    @Test func aQueueStaysSmall() {
        let memory = Memory()
        let limit = ChunkLimit(listSize: -2)
        let list = ChunkList.make(memory)
        for _ in 0..<100 { list.push(Bytes("element"), atFront: true, limit, memory) }
        for _ in 0..<100_000 {
            list.push(Bytes("element"), atFront: true, limit, memory)
            list.pop(atFront: false, memory)
        }
        list.checkInvariants()
        #expect(list.count == 100 && list.chunkCount <= 2)
        #expect(memory.used < 20_000)
        list.free(memory)
        memory.destroy()
    }

    @Test func aLongListIsFreedInSlices() {
        let memory = Memory()
        let limit = ChunkLimit(listSize: 1)
        let list = ChunkList.make(memory)
        for _ in 0..<100 { list.push(Bytes("element"), atFront: true, limit, memory) }
        var calls = 1
        while !list.release(memory, effort: 60) { calls += 1 }
        #expect(calls == 4 && memory.liveBlocks == 0)
        memory.destroy()
    }

    /// A thousand chunks of 8 KB in one go held everybody up for tens of milliseconds.
    @Test func aSliceIsBoundedInBytes() {
        let memory = Memory()
        let limit = ChunkLimit(listSize: -2)
        let list = ChunkList.make(memory)
        for _ in 0..<100_000 { list.push(Bytes("element"), atFront: false, limit, memory) }
        var before = memory.used
        while !list.release(memory, effort: 1000) {
            #expect(before - memory.used > 200_000 && before - memory.used < 300_000)
            before = memory.used
        }
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }

    @Test func limitsAreTheReferences() {
        #expect((-6 ... -1).map { ChunkLimit(listSize: $0).bytes } == [
            65536, 65536, 32768, 16384, 8192, 4096,
        ])
        #expect(ChunkLimit(listSize: 0).count == 1 && ChunkLimit(listSize: 7).count == 7)
        #expect(ChunkLimit(listSize: Int(Int32.min)).bytes == 65536)
    }
}
