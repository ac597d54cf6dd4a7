// Sets in RDB. Sets of integers are their intset; all others are written as strings, since only
// redis-server 7.2 knows sets in listpacks. Read are these, and 7.2's.
import Base
import Storage

extension ObjectFormat {
    public static var set: ObjectFormat {
        ObjectFormat(
            decoders: [
                ObjectDecoder(code: RDBType.set, layout: .repeated([.string])),
                ObjectDecoder(code: RDBType.setIntset, layout: .parts([.string])),
                ObjectDecoder(code: RDBType.setListpack, layout: .parts([.string])),
            ],
            code: { _, encoding in encoding == .intset ? RDBType.setIntset : RDBType.set },
            save: { payload, encoding, writer in
                if encoding == .intset {
                    writer.string(Intset(payload).bytes)
                    return
                }
                let set = SetObject(encoding, payload)
                writer.length(set.count)
                set.forEach { writer.value($0) }
            },
            load: { code, reader in
                switch code {
                case RDBType.set: return loadMembers(&reader)
                case RDBType.setIntset: return loadIntset(&reader)
                default: return loadListpack(&reader)
                }
            },
            pieces: ObjectPieces(
                code: { _ in RDBType.set },
                begin: { walk, out in out.length(TableWalk(walk).count) },
                next: { walk, memory, effort, out in
                    TableWalk(walk).advance(effort, memory) { out.string($0.key) }
                }))
    }
}

private func loadMembers(_ reader: inout ObjectReader) -> LoadOutcome {
    guard let count = reader.length() else { return .damaged }
    guard count > 0 else { return .empty }
    let heap = reader.heap
    var set = SetObject.make(heap)
    // Each member takes at least a byte: a count that claims more reserves nothing.
    if count > reader.limits.setIntset {
        set.convert(heap, reserving: min(count, reader.left))
    }
    for _ in 0..<count {
        guard let member = reader.string(), set.add(.bytes(member), heap, reader.limits) else {
            set.free(heap.memory)
            return .damaged
        }
    }
    return .loaded(LoadedObject(set.encoding, set.payload))
}

private func loadIntset(_ reader: inout ObjectReader) -> LoadOutcome {
    guard let bytes = reader.string(), Intset.isValid(bytes) else { return .damaged }
    let numbers = Intset.copy(bytes, reader.heap.memory)
    guard numbers.count > 0 else {
        numbers.free(reader.heap.memory)
        return .empty
    }
    var set = SetObject(.intset, numbers.base)
    if set.count > reader.limits.setIntset { set.convert(reader.heap) }
    return .loaded(LoadedObject(set.encoding, set.payload))
}

private func loadListpack(_ reader: inout ObjectReader) -> LoadOutcome {
    guard let bytes = reader.string(), let count = Listpack.validCount(bytes) else {
        return .damaged
    }
    guard count > 0 else { return .empty }
    let heap = reader.heap
    let pack = Listpack.copy(bytes, heap.memory)
    guard pack.isUnique(skip: 0, heap) else {
        pack.free(heap.memory)
        return .damaged
    }
    var set = SetObject(.listpack, pack.base)
    if count > reader.limits.setEntries { set.convert(heap) }
    return .loaded(LoadedObject(set.encoding, set.payload))
}
