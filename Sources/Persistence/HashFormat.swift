// Hashes in RDB. Small ones are their listpack, larger ones pairs of strings; hashes with fields
// that expire are written as redis-server 7.4 does, with each field's time relative to the earliest
// of them. Read are these, and what older versions wrote: zipmaps and ziplists.
import Base
import Storage

extension ObjectFormat {
    public static var hash: ObjectFormat {
        ObjectFormat(
            decoders: [
                ObjectDecoder(code: RDBType.hash, layout: .repeated([.string, .string])),
                ObjectDecoder(code: RDBType.hashZipmap, layout: .parts([.string])),
                ObjectDecoder(code: RDBType.hashZiplist, layout: .parts([.string])),
                ObjectDecoder(code: RDBType.hashListpack, layout: .parts([.string])),
                ObjectDecoder(
                    code: RDBType.hashExpiring,
                    layout: .parts([.bytes(8), .repeated([.length, .string, .string])])),
                ObjectDecoder(
                    code: RDBType.hashListpackExpiring, layout: .parts([.bytes(8), .string])),
            ],
            code: { payload, encoding in
                if encoding != .hashTable { return RDBType.hashListpack }
                return FieldTable(payload).hasExpiringFields
                    ? RDBType.hashExpiring : RDBType.hash
            },
            save: { payload, encoding, writer in
                let hash = HashObject(encoding, payload)
                if hash.isTable {
                    saveTable(hash.fields, writer)
                } else {
                    hash.withListpack { writer.string($0) }
                }
            },
            load: { code, reader in
                switch code {
                case RDBType.hash: return loadPairs(&reader)
                case RDBType.hashZipmap, RDBType.hashZiplist: return loadOld(code, &reader)
                case RDBType.hashListpack: return loadListpack(&reader)
                case RDBType.hashExpiring: return loadExpiring(&reader)
                default: return loadExpiringListpack(&reader)
                }
            },
            pieces: ObjectPieces(
                code: { walk in
                    TableWalk(walk).earliestExpiry == nil ? RDBType.hash : RDBType.hashExpiring
                },
                begin: { walk, out in
                    let walk = TableWalk(walk)
                    if let earliest = walk.earliestExpiry {
                        out.word64(UInt64(bitPattern: earliest))
                    }
                    out.length(walk.count)
                },
                next: { walk, memory, effort, out in
                    let walk = TableWalk(walk)
                    let earliest = walk.earliestExpiry
                    return walk.advance(effort, memory) { saveField($0, earliest, out) }
                }))
    }
}

private func saveTable(_ fields: FieldTable, _ writer: ObjectWriter) {
    let earliest = fields.earliestExpiry
    if let earliest { writer.word64(UInt64(bitPattern: earliest)) }
    writer.length(fields.count)
    fields.forEach { saveField($0, earliest, writer) }
}

private func saveField(_ entry: Entry, _ earliest: Int64?, _ writer: ObjectWriter) {
    if let earliest {
        // 0 stands for a field that stays.
        let time = entry.expiry.map { UInt64(bitPattern: $0 &- earliest) &+ 1 }
        writer.number(time ?? 0)
    }
    writer.string(entry.key)
    writer.value(HashObject.value(of: entry))
}

/// A hash under construction, from bytes that may lie.
private struct HashBuilder {
    var hash: HashObject
    let heap: ObjectHeap
    let limits: EncodingLimits

    init(_ reader: borrowing ObjectReader, expecting count: Int) {
        heap = reader.heap
        limits = reader.limits
        hash = HashObject.make(heap)
        // Each field takes at least two bytes: a count that claims more reserves nothing.
        let believable = min(count, reader.left / 2)
        hash.prepare(heap, limits, adding: believable, longest: 0)
    }

    /// False when the field was there already.
    mutating func add(_ field: Bytes, _ value: Bytes) -> Bool {
        hash.set(field, value, heap, limits)
    }

    func damaged() -> LoadOutcome {
        hash.free(heap)
        return .damaged
    }

    mutating func finish() -> LoadOutcome {
        guard hash.count > 0 else {
            hash.free(heap)
            return .empty
        }
        hash.shareNames(heap)
        return .loaded(LoadedObject(hash.encoding, hash.payload))
    }
}

private func loadPairs(_ reader: inout ObjectReader) -> LoadOutcome {
    guard let count = reader.length() else { return .damaged }
    var builder = HashBuilder(reader, expecting: count)
    for _ in 0..<count {
        guard let field = reader.string()?.array else { return builder.damaged() }
        let isNew: Bool = field.withBytes { field in
            guard let value = reader.string() else { return false }
            return builder.add(field, value)
        }
        guard isNew else { return builder.damaged() }
    }
    return builder.finish()
}

private func loadListpack(_ reader: inout ObjectReader) -> LoadOutcome {
    guard let bytes = reader.string(), let count = Listpack.validCount(bytes), count % 2 == 0
    else { return .damaged }
    guard count > 0 else { return .empty }
    let heap = reader.heap
    let pack = Listpack.copy(bytes, heap.memory)
    guard pack.isUnique(skip: 1, heap) else {
        pack.free(heap.memory)
        return .damaged
    }
    var hash = HashObject(.listpack, pack.base)
    if count / 2 > reader.limits.hashEntries { hash.convert(heap) }
    hash.shareNames(heap)
    return .loaded(LoadedObject(hash.encoding, hash.payload))
}

private func loadOld(_ code: UInt8, _ reader: inout ObjectReader) -> LoadOutcome {
    guard let bytes = reader.string() else { return .damaged }
    var builder = HashBuilder(reader, expecting: 0)
    var isSound: Bool
    if code == RDBType.hashZipmap {
        isSound = forEachZipmapPair(bytes) { builder.add($0, $1) }
    } else {
        var field: PackedValue?
        isSound = forEachZiplistEntry(bytes) { value in
            guard let name = field else {
                field = value
                return true
            }
            field = nil
            return withText(of: name) { name in withText(of: value) { builder.add(name, $0) } }
        }
        if field != nil { isSound = false }
    }
    return isSound ? builder.finish() : builder.damaged()
}

// MARK: Fields that expire

private func loadExpiring(_ reader: inout ObjectReader) -> LoadOutcome {
    guard let word = reader.word64(), let count = reader.length() else { return .damaged }
    let earliest = Int64(bitPattern: word)
    guard earliest >= 0 else { return .damaged }
    let heap = reader.heap
    let fields = FieldTable.make(heap, reserving: min(count, reader.left / 3))
    for _ in 0..<count {
        guard let time = reader.number(), let field = reader.string()?.array else {
            return discard(fields, heap)
        }
        let (sum, overflows) = earliest.addingReportingOverflow(
            Int64(clamping: time == 0 ? 0 : time - 1))
        let isNew: Bool = field.withBytes { field in
            guard !overflows, let value = reader.string() else { return false }
            return add(field, value, time == 0 ? nil : sum, fields, heap)
        }
        guard isNew else { return discard(fields, heap) }
    }
    return finish(fields, heap, reader.limits)
}

/// Triples of field, value and time in a listpack.
private func loadExpiringListpack(_ reader: inout ObjectReader) -> LoadOutcome {
    guard reader.word64() != nil, let bytes = reader.string(),
        let count = Listpack.validCount(bytes), count % 3 == 0
    else { return .damaged }
    let heap = reader.heap
    let pack = Listpack.copy(bytes, heap.memory)
    defer { pack.free(heap.memory) }
    let fields = FieldTable.make(heap, reserving: count / 3)
    var position = pack.first
    while let field = position {
        guard let value = pack.next(field), let time = pack.next(value),
            case .integer(let deadline) = pack[time], deadline >= 0
        else { return discard(fields, heap) }
        let isNew = withText(of: pack[field]) { name in
            withText(of: pack[value]) {
                add(name, $0, deadline == 0 ? nil : deadline, fields, heap)
            }
        }
        guard isNew else { return discard(fields, heap) }
        position = pack.next(time)
    }
    return finish(fields, heap, reader.limits)
}

private func add(
    _ field: Bytes, _ value: Bytes, _ deadline: Int64?, _ fields: FieldTable, _ heap: ObjectHeap
) -> Bool {
    guard fields.find(field, heap) == nil else { return false }
    fields.insert(field, value: value, heap)
    if let deadline { fields.setExpiry(field, at: deadline, heap) }
    return true
}

private func discard(_ fields: FieldTable, _ heap: ObjectHeap) -> LoadOutcome {
    while !fields.release(heap.memory, effort: .max) {}
    return .damaged
}

private func finish(
    _ fields: FieldTable, _ heap: ObjectHeap, _ limits: EncodingLimits
) -> LoadOutcome {
    guard fields.count > 0 else {
        while !fields.release(heap.memory, effort: .max) {}
        return .empty
    }
    if fields.count <= limits.hashEntries {
        var longest = 0
        fields.forEach { entry in
            longest = max(longest, entry.key.count, HashObject.value(of: entry).byteCount)
        }
        fields.isSmall = longest <= limits.hashValue
    }
    return .loaded(LoadedObject(.hashTable, fields.base))
}
