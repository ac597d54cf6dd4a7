// Growing, shrinking and the incremental rehash between both arrays of an `EntryTable`. Small
// tables are rehashed at once: the 16384 slot tables of a cluster must not each hold two arrays.
// Large old arrays are released while they are being emptied, so that neither the peak nor one
// unmapping of hundreds of megabytes is felt.
import Base

extension EntryTable {
    /// Arrays up to this many buckets are rehashed in one go.
    private static let smallTable = 64
    /// A mapped old array gives its pages back in pieces of this size.
    private static let releasePiece = 1 << 21

    @inline(__always)
    private static func arraySize(_ bits: UInt8) -> Int { Bucket.size &<< Int(bits) }

    /// Gives an empty table room for about `entries` from the start.
    mutating func reserve(_ entries: Int, _ memory: Memory) {
        invariant(buckets == nil && count == 0, "only an empty table is given room")
        guard entries > 0 else { return }
        var target: UInt8 = 0
        while entries &* 5 >= 32 &<< Int(target), target < 39 { target += 1 }
        buckets = memory.allocateTable(EntryTable.arraySize(target))
        bits = target
    }

    @inline(never)
    mutating func grow(_ memory: Memory, _ key: SipKey) {
        guard buckets != nil else {
            buckets = memory.allocateTable(EntryTable.arraySize(0))
            bits = 0
            return
        }
        // A rehash that still runs must end first; writes drive it fast enough that this is rare.
        while isRehashing { rehash(buckets: 64, memory, key) }
        startRehash(to: bits + 1, memory, key)
    }

    @inline(never)
    mutating func shrink(_ memory: Memory, _ key: SipKey) {
        if count == 0 {
            release(memory)
            return
        }
        guard !isRehashing, bits > 0 else { return }
        var target: UInt8 = 0
        while (count &* 5) >= (16 &<< Int(target)) { target += 1 }
        if target < bits { startRehash(to: target, memory, key) }
    }

    private mutating func startRehash(to newBits: UInt8, _ memory: Memory, _ key: SipKey) {
        invariant(!isRehashing, "one rehash at a time")
        invariant(newBits < 40, "unreasonable table size")
        oldBuckets = buckets
        oldBits = bits
        rehashed = 0
        buckets = memory.allocateTable(EntryTable.arraySize(newBits))
        bits = newBits
        if oldBucketCount <= EntryTable.smallTable {
            rehash(buckets: oldBucketCount, memory, key)
            invariant(!isRehashing, "a small table is rehashed at once")
        }
    }

    /// The share of a write: growing needs one bucket per write, shrinking empties sparse buckets.
    @inline(never)
    mutating func rehashForWrite(_ memory: Memory, _ key: SipKey) {
        rehash(buckets: bits > oldBits ? 1 : 16, memory, key)
    }

    /// Moves the entries of up to `limit` old buckets; returns how many buckets it looked at.
    @discardableResult
    mutating func rehash(buckets limit: Int, _ memory: Memory, _ key: SipKey) -> Int {
        guard let oldBuckets else { return 0 }
        let end = min(rehashed + limit, oldBucketCount)
        let from = rehashed
        while rehashed < end {
            moveBucket(EntryTable.bucket(oldBuckets, rehashed), memory, key)
            rehashed += 1
        }
        releaseMoved(from, memory)
        if rehashed == oldBucketCount { endRehash(memory) }
        return end - from
    }

    private func moveBucket(_ first: Bucket, _ memory: Memory, _ key: SipKey) {
        guard let buckets else { unreachable("a rehash without a new array") }
        var bucket = first
        while true {
            var ahead: UInt64 = bucket.occupied
            while ahead != 0 {
                if let base = bucket.place(Bucket.index(ahead)).pointee { prefetch(base) }
                ahead &= ahead &- 1
            }
            var mask: UInt64 = bucket.occupied
            while mask != 0 {
                let index = Bucket.index(mask)
                guard let base = bucket.place(index).pointee else {
                    unreachable("a tag without an entry")
                }
                let bytes = Entry(base).key
                let hash = sipHash(bytes.base, bytes.count, key: key)
                let target = EntryTable.bucket(buckets, EntryTable.index(hash, bits))
                EntryTable.put(base, bucket.tag(index), in: target, memory)
                mask &= mask &- 1
            }
            let child = bucket.child
            if bucket.line != first.line { memory.freeTable(bucket.line, Bucket.size) }
            guard let child else { break }
            bucket = child
        }
        clearBytes(first.line, count: Bucket.size)
    }

    /// Bytes of the old array that went back to the kernel, when `rehashed` buckets are moved.
    private func released(_ rehashed: Int) -> Int {
        guard EntryTable.arraySize(oldBits) >= Memory.mappedTableSize else { return 0 }
        return (rehashed &* Bucket.size) / EntryTable.releasePiece &* EntryTable.releasePiece
    }

    private func releaseMoved(_ from: Int, _ memory: Memory) {
        let before = released(from)
        let after = released(rehashed)
        guard after > before, let oldBuckets else { return }
        memory.releaseTablePart(oldBuckets + before, after - before)
    }

    private mutating func endRehash(_ memory: Memory) {
        guard let old = oldBuckets else { return }
        memory.freeTable(old, EntryTable.arraySize(oldBits), released: released(rehashed))
        oldBuckets = nil
        oldBits = 0
        rehashed = 0
    }

    /// Bucket `number` of those that `bucketToDrain` gives is empty for good: a large array goes
    /// back page by page, as one unmapping of hundreds of megabytes would be felt.
    @inline(__always)
    func didDrain(_ number: Int, _ memory: Memory) {
        let index = number &- (oldBucketCount &- rehashed)
        let buckets = EntryTable.releasePiece / Bucket.size
        guard index >= 0, (index &+ 1) & (buckets &- 1) == 0, let array = self.buckets
        else { return }
        let start = array + (index &+ 1) &* Bucket.size - EntryTable.releasePiece
        memory.releaseTablePart(start, EntryTable.releasePiece)
    }

    /// Frees the arrays of a table whose buckets were all drained.
    mutating func releaseDrained(_ memory: Memory) {
        invariant(count == 0, "only an empty table can be released")
        if oldBuckets != nil { endRehash(memory) }
        if let buckets {
            let size = EntryTable.arraySize(bits)
            memory.freeTable(buckets, size, released: size < EntryTable.releasePiece ? 0 : size)
        }
        buckets = nil
        bits = 0
    }

    /// Frees the arrays of an empty table.
    mutating func release(_ memory: Memory) {
        invariant(count == 0, "only an empty table can be released")
        if oldBuckets != nil { endRehash(memory) }
        if let buckets { memory.freeTable(buckets, EntryTable.arraySize(bits)) }
        buckets = nil
        bits = 0
    }

    /// Bytes of the arrays, without child buckets.
    var arrayBytes: Int {
        let old = oldBuckets == nil ? 0 : EntryTable.arraySize(oldBits) - released(rehashed)
        return (buckets == nil ? 0 : EntryTable.arraySize(bits)) + old
    }
}
