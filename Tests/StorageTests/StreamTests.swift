// Streams against a plain list of entries: adding, deleting, trimming, walking both ways; groups
// and their pending entries; copies; and no block left behind.
import Base
import Storage
import Testing

private struct StreamModel {
    struct Entry: Equatable {
        var id: StreamID
        var words: [String]
    }
    var entries: [Entry] = []

    mutating func remove(_ id: StreamID) -> Bool {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return false }
        entries.remove(at: index)
        return true
    }
}

private func entries(_ stream: Storage.Stream, reverse: Bool = false) -> [StreamModel.Entry] {
    var out: [StreamModel.Entry] = []
    var iterator = StreamIterator(stream, reverse: reverse)
    while let id = iterator.next() {
        var words: [String] = []
        iterator.forEachField { field, value in
            words.append(withText(of: field) { $0.string })
            words.append(withText(of: value) { $0.string })
        }
        out.append(StreamModel.Entry(id: id, words: words))
    }
    return out
}

private func append(
    _ stream: Storage.Stream, _ id: StreamID, _ words: [String], _ limits: EncodingLimits,
    _ memory: Memory
) {
    let arrays = words.map { Array($0.utf8) }
    let list = UnsafeMutablePointer<Bytes>.allocate(capacity: words.count)
    var copies: [UnsafeMutablePointer<UInt8>] = []
    for (index, array) in arrays.enumerated() {
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: array.count + 1)
        for (at, byte) in array.enumerated() { copy[at] = byte }
        copies.append(copy)
        (list + index).initialize(to: Bytes(copy, array.count))
    }
    let size = arrays.reduce(0) { $0 + $1.count }
    stream.append(id, list, words.count / 2, size: size, StreamNodeLimits(limits), memory)
    for copy in copies { copy.deallocate() }
    list.deallocate()
}

@Suite struct StreamTests {
    @Test(arguments: 1...16)
    func againstAList(seed: UInt64) {
        let memory = Memory()
        var random = Prng(seed: seed)
        var limits = EncodingLimits()
        limits.streamNodeEntries = [1, 5, 100, 0][Int(seed % 4)]
        limits.streamNodeBytes = [4096, 120, 0, 700][Int(seed / 4 % 4)]
        let stream = Storage.Stream.make(memory)
        var model = StreamModel()
        var last = StreamID(1, 0)
        for step in 0..<600 {
            switch random.next() % 10 {
            case 0...6:
                last =
                    random.next() % 3 == 0
                    ? StreamID(last.ms + random.next() % 5 + 1, random.next() % 9)
                    : StreamID(last.ms, last.seq + random.next() % 200 + 1)
                let names = random.next() % 4 == 0 ? ["x", "77"] : ["field", "other"]
                let text = String(repeating: "v", count: Int(random.next() % 90))
                let words = [names[0], text, names[1], "\(Int64(bitPattern: random.next()))"]
                append(stream, last, words, limits, memory)
                model.entries.append(StreamModel.Entry(id: last, words: words))
            case 7, 8:
                let index = Int(random.next() % UInt64(max(model.entries.count, 1)))
                let id = index < model.entries.count ? model.entries[index].id : last
                let known = model.remove(id)
                #expect(stream.remove(id, memory) == known)
                #expect(!stream.remove(id, memory))
                stream.refreshFirstID()
            default:
                trim(stream, &model, &random, memory)
            }
            if step % 29 == 0 { stream.checkInvariants() }
        }
        stream.checkInvariants()
        #expect(entries(stream) == model.entries)
        #expect(entries(stream, reverse: true) == model.entries.reversed())
        #expect(stream.length == model.entries.count)
        let copy = stream.copy(memory)
        copy.checkInvariants()
        #expect(entries(copy) == model.entries)
        while !copy.release(memory, effort: 3) {}
        while !stream.release(memory, effort: 3) {}
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }

    private func trim(
        _ stream: Storage.Stream, _ model: inout StreamModel, _ random: inout Prng, _ memory: Memory
    ) {
        let before = model.entries
        let index = Int(random.next() % UInt64(max(before.count, 1)))
        let isApproximate = random.next() % 3 == 0
        let byID = random.next() % 2 == 0 && index < before.count
        let rule: StreamTrim =
            byID ? .minimum(before[index].id) : .length(before.count - index)
        let removed = stream.trim(rule, isApproximate: isApproximate, limit: 0, memory)
        #expect(isApproximate ? removed <= index : removed == index)
        model.entries.removeFirst(removed)
        #expect(stream.firstID == model.entries.first?.id ?? .zero)
    }

    @Test(arguments: 1...8)
    func pendingEntriesHaveOneOwner(seed: UInt64) {
        let memory = Memory()
        var random = Prng(seed: seed)
        let stream = Storage.Stream.make(memory)
        let added = "g".withBytes {
            stream.addGroup($0, lastID: .zero, entriesRead: 0, memory)
        }
        guard let group = added else {
            Issue.record("no group")
            return
        }
        #expect("g".withBytes { stream.addGroup($0, lastID: .zero, entriesRead: 0, memory) == nil })
        var owners: [UInt64: Int] = [:]
        for _ in 0..<3000 {
            let number = random.next() % 150
            let id = StreamID(number, 0)
            let owner = Int(random.next() % 5)
            if random.next() % 3 == 0 {
                #expect(group.removePending(id, memory) == (owners[number] != nil))
                owners[number] = nil
            } else {
                let name = "c\(owner)"
                let consumer = name.withBytes { bytes in
                    group.consumer(bytes) ?? group.addConsumer(bytes, now: 0, memory)
                }
                let fresh = group.addPending(id, time: 1, count: 1, memory)
                #expect((fresh == nil) == (owners[number] != nil))
                guard let entry = fresh ?? group.pendingEntry(id) else { continue }
                group.assign(entry, id, to: consumer, memory)
                owners[number] = owner
            }
            if random.next() % 200 == 0, group.consumerCount > 1 {
                let gone = group.consumer(at: 0)
                let number = Int(gone.name.string.dropFirst()) ?? 0
                group.removeConsumer(gone, memory)
                owners = owners.filter { $0.value != number }
            }
        }
        stream.checkInvariants()
        #expect(group.pending.count == owners.count)
        for (number, owner) in owners {
            #expect(group.pendingEntry(StreamID(number, 0))?.consumer?.name.string == "c\(owner)")
        }
        let copy = stream.copy(memory)
        copy.checkInvariants()
        #expect(copy.freeEffort == stream.freeEffort)
        while !copy.release(memory, effort: 7) {}
        while !stream.release(memory, effort: 7) {}
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }
}
