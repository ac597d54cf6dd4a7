// Lists in RDB: written as a sequence of listpacks (code 18), whatever form they have in memory;
// read also as a plain sequence of strings (1), one ziplist (10) and a sequence of ziplists (14).
import Base
import Storage

extension ObjectFormat {
    public static var list: ObjectFormat {
        ObjectFormat(
            decoders: [
                ObjectDecoder(code: RDBType.list, layout: .repeated([.string])),
                ObjectDecoder(code: RDBType.listZiplist, layout: .parts([.string])),
                ObjectDecoder(code: RDBType.listQuicklist, layout: .repeated([.string])),
                ObjectDecoder(code: RDBType.listQuicklist2, layout: .repeated([.length, .string])),
            ],
            code: { _, _ in RDBType.listQuicklist2 },
            save: saveList,
            load: loadList,
            pieces: listPieces)
    }
}

/// What stands before each part of a list of code 18.
private enum ListContainer {
    /// The part is one element.
    static let plain = 1
    /// The part is a listpack.
    static let packed = 2
    /// From this size on the reference keeps an element by itself.
    static let plainLimit = 1 << 30
}

private func saveList(
    _ payload: UnsafeMutableRawPointer, _ encoding: Encoding, _ out: ObjectWriter
) {
    guard encoding == .quickList else {
        out.length(1)
        out.length(ListContainer.packed)
        return out.string(Listpack(payload).bytes)
    }
    let list = ChunkList(payload)
    out.length(list.chunkCount)
    list.forEachChunk { saveChunk($0, $1, out) }
}

private func saveChunk(_ packed: Bytes, _ single: PackedValue?, _ out: ObjectWriter) {
    if case .bytes(let text)? = single, text.count >= ListContainer.plainLimit {
        out.length(ListContainer.plain)
        out.string(text)
    } else {
        out.length(ListContainer.packed)
        out.string(packed)
    }
}

private let listPieces = ObjectPieces(
    code: { _ in RDBType.listQuicklist2 },
    begin: { walk, out in out.length(ListWalk(walk).chunkCount) },
    next: { walk, memory, effort, out in
        // A chunk is as much work as many elements.
        ListWalk(walk).advance(max(1, effort / 16), memory) { saveChunk($0, $1, out) }
    })

private func loadList(_ code: UInt8, _ reader: inout ObjectReader) -> LoadOutcome {
    let list = ListBuilder(reader.heap, reader.limits)
    guard readList(code, &reader, into: list) else {
        list.discard()
        return .damaged
    }
    guard !list.isEmpty else {
        list.discard()
        return .empty
    }
    let (payload, encoding) = list.finish()
    return .loaded(LoadedObject(encoding, payload))
}

/// False when the bytes are damaged.
private func readList(
    _ code: UInt8, _ reader: inout ObjectReader, into list: ListBuilder
) -> Bool {
    if code == RDBType.listZiplist { return readZiplist(&reader, into: list) }
    guard let count = reader.length() else { return false }
    for _ in 0..<count {
        switch code {
        case RDBType.list:
            guard let text = reader.string() else { return false }
            list.append(text)
        case RDBType.listQuicklist:
            guard readZiplist(&reader, into: list) else { return false }
        default:
            guard let container = reader.length(), let bytes = reader.string(), !bytes.isEmpty
            else { return false }
            if container == ListContainer.plain {
                list.append(alone: bytes)
            } else if container != ListContainer.packed || !list.append(listpack: bytes) {
                return false
            }
        }
    }
    return true
}

private func readZiplist(_ reader: inout ObjectReader, into list: ListBuilder) -> Bool {
    guard let bytes = reader.string() else { return false }
    return forEachZiplistEntry(bytes) {
        list.append($0)
        return true
    }
}
