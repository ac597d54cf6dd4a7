// What the keyspace does with sorted sets whatever they hold: free in slices, measure, copy, and
// the digest of DEBUG DIGEST, which is the reference's.
import Base

extension ObjectType {
    /// Sorted sets.
    public static var sortedSets: ObjectType {
        ObjectType(
            free: { payload, encoding, heap, effort in
                let heap = ObjectHeap(raw: heap)
                let set = SortedSet(payload, Encoding(rawValue: encoding))
                guard set.isSmall else { return set.large.release(heap.memory, effort: effort) }
                set.pack.free(heap.memory)
                return true
            },
            freeEffort: { payload, encoding in
                let set = SortedSet(payload, Encoding(rawValue: encoding))
                return set.isSmall ? 1 : set.count
            },
            memoryUsage: { payload, encoding, samples in
                let set = SortedSet(payload, Encoding(rawValue: encoding))
                if set.isSmall { return Memory.roundedSize(set.pack.totalBytes) }
                return set.large.memoryUsage(samples: samples)
            },
            copy: { payload, encoding, heap in
                let heap = ObjectHeap(raw: heap)
                let set = SortedSet(payload, Encoding(rawValue: encoding))
                if set.isSmall { return Listpack.copy(set.pack.bytes, heap.memory).base }
                return set.large.copy(heap).base
            },
            digest: { payload, encoding, bytes in
                ObjectType.mix(SortedSet(payload, Encoding(rawValue: encoding)), DigestMixer(bytes))
            },
            openWalk: openSortedSetWalk, closeWalk: closeTableWalk,
            defragment: defragmentSortedSet)
    }

    private static func mix(_ set: SortedSet, _ mixer: DigestMixer) {
        withUnsafeTemporaryAllocation(
            of: UInt8.self, capacity: DigestMixer.size + doubleTextRoom
        ) { room in
            guard let start = room.baseAddress else { return }
            let one = DigestMixer(start)
            let text = start + DigestMixer.size
            set.forEach { member, score in
                one.reset()
                withText(of: member) { one.mix($0) }
                one.mix(Bytes(text, writeDouble(score, to: text)))
                mixer.add(Bytes(start, DigestMixer.size))
            }
        }
    }
}
