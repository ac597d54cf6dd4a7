// What the keyspace does with the values of list keys: free them in slices, copy, measure, digest.
import Base

extension ObjectType {
    /// Lists, as a listpack or a chain of chunks.
    public static var list: ObjectType {
        ObjectType(
            free: { payload, encoding, heap, effort in
                let memory = ObjectHeap(raw: heap).memory
                if Encoding(rawValue: encoding) == .quickList {
                    return ChunkList(payload).release(memory, effort: effort)
                }
                Listpack(payload).free(memory)
                return true
            },
            freeEffort: { payload, encoding in
                Encoding(rawValue: encoding) == .quickList ? ChunkList(payload).chunkCount : 1
            },
            memoryUsage: { payload, encoding, samples in
                Encoding(rawValue: encoding) == .quickList
                    ? ChunkList(payload).memoryUsage(samples: samples)
                    : Listpack(payload).totalBytes
            },
            copy: { payload, encoding, heap in
                let memory = ObjectHeap(raw: heap).memory
                return Encoding(rawValue: encoding) == .quickList
                    ? ChunkList(payload).copy(memory).base
                    : Listpack.copy(Listpack(payload).bytes, memory).base
            },
            digest: { payload, encoding, bytes in
                let mixer = DigestMixer(bytes)
                var elements =
                    Encoding(rawValue: encoding) == .quickList
                    ? ListIterator(ChunkList(payload), from: 0, isReverse: false)
                    : ListIterator(Listpack(payload), from: 0, isReverse: false)
                while let value = elements.next() { withText(of: value) { mixer.mix($0) } }
            },
            openWalk: ObjectType.openListWalk, closeWalk: ObjectType.closeListWalk,
            defragment: ObjectType.defragmentList)
    }
}

/// Builds a list from parts that come from outside (files, payloads).
public struct ListBuilder {
    private let chunks: ChunkList
    private let memory: Memory
    private let limit: ChunkLimit

    public init(_ heap: ObjectHeap, _ limits: EncodingLimits) {
        memory = heap.memory
        limit = ChunkLimit(listSize: limits.listSize)
        chunks = .make(memory)
    }

    public var isEmpty: Bool { chunks.count == 0 }

    /// Appends one element.
    public func append(_ text: Bytes) {
        chunks.push(text, atFront: false, limit, memory)
    }

    public func append(_ value: PackedValue) {
        chunks.push(value, length: value.byteCount, atFront: false, limit, memory)
    }

    /// Appends the elements of a listpack; false when the bytes are none. An empty one is skipped.
    public func append(listpack bytes: Bytes) -> Bool {
        guard let count = Listpack.validCount(bytes) else { return false }
        if count > 0 { chunks.append(packed: bytes, count: count, memory) }
        return true
    }

    /// Appends an element that has a chunk of its own, as very large ones do.
    public func append(alone text: Bytes) { chunks.append(alone: text, memory) }

    /// The value in the form that fits; nothing else may be called afterwards.
    public func finish() -> (payload: UnsafeMutableRawPointer, encoding: Encoding) {
        invariant(!isEmpty, "a list without elements")
        let (payload, encoding) = ListObject.compacted(
            chunks, limit, isShrinking: false, memory)
        return (payload, encoding)
    }

    /// Frees what was built.
    public func discard() { chunks.free(memory) }
}
