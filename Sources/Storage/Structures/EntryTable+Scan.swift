// Visiting the entries of a table. `scan` is the reference's reverse-binary cursor: whatever is
// there from the first call to the last is visited at least once, also while the table grows,
// shrinks or is being rehashed between calls.
import Base

extension EntryTable {
    /// Visits the entries of the next bucket (of both arrays during a rehash) and returns the
    /// cursor of the call after, 0 at the end. `visit` must not change the table.
    @inline(__always)
    func scan(_ cursor: UInt64, _ visit: (UnsafeMutableRawPointer) -> Void) -> UInt64 {
        scanBuckets(cursor) { EntryTable.visitChain($0, visit) }
    }

    /// The same with the places of the entries, which `visit` may let point elsewhere.
    func scanPlaces(_ cursor: UInt64, _ visit: (EntryPlace) -> Void) -> UInt64 {
        scanBuckets(cursor) { first in
            var bucket: Bucket? = first
            while let line = bucket {
                var mask: UInt64 = line.occupied
                while mask != 0 {
                    visit(line.place(Bucket.index(mask)))
                    mask &= mask &- 1
                }
                bucket = line.child
            }
        }
    }

    @inline(__always)
    private func scanBuckets(_ cursor: UInt64, _ visit: (Bucket) -> Void) -> UInt64 {
        guard let buckets else { return 0 }
        guard let oldBuckets else {
            visit(EntryTable.bucket(buckets, mask(cursor, bits)))
            return EntryTable.next(cursor, bits)
        }
        let oldIsSmaller = oldBits < bits
        let small = oldIsSmaller ? oldBuckets : buckets
        let large = oldIsSmaller ? buckets : oldBuckets
        let smallBits = min(bits, oldBits)
        let largeBits = max(bits, oldBits)
        visit(EntryTable.bucket(small, mask(cursor, smallBits)))
        // All buckets of the larger array that this bucket of the smaller one expands to.
        let difference: UInt64 =
            ((1 &<< UInt64(largeBits)) &- 1) & ~((1 &<< UInt64(smallBits)) &- 1)
        var position = cursor
        repeat {
            visit(EntryTable.bucket(large, mask(position, largeBits)))
            position = EntryTable.next(position, largeBits)
        } while position & difference != 0
        return position
    }

    /// Asks for the memory that the next `count` calls of `scan` will visit: first the buckets,
    /// then the entries, then the values that stand apart. A hint; left out during a rehash.
    func prefetchScan(_ cursor: UInt64, buckets count: Int) {
        guard let buckets, !isRehashing else { return }
        func forEachBucket(_ body: (Bucket) -> Void) {
            var position = cursor
            for _ in 0..<count {
                body(EntryTable.bucket(buckets, mask(position, bits)))
                position = EntryTable.next(position, bits)
                if position == 0 { return }
            }
        }
        forEachBucket { prefetch($0.line) }
        forEachBucket { EntryTable.visitLine($0) { prefetch($0) } }
        forEachBucket { bucket in
            EntryTable.visitLine(bucket) { base in
                if let value = Entry(base).separateValue {
                    prefetch(value)
                    prefetch(value + 64)
                } else {
                    prefetch(base + 64)
                }
            }
        }
    }

    @inline(__always)
    private func mask(_ cursor: UInt64, _ bits: UInt8) -> Int {
        Int(truncatingIfNeeded: cursor & ((1 &<< UInt64(bits)) &- 1))
    }

    /// Counts up in the `bits` low bits, the highest of them first.
    @inline(__always)
    private static func next(_ cursor: UInt64, _ bits: UInt8) -> UInt64 {
        var position: UInt64 = cursor & ((1 &<< UInt64(bits)) &- 1)
        var bit: UInt64 = (1 &<< UInt64(bits)) &>> 1
        while position & bit != 0 {
            position ^= bit
            bit = bit &>> 1
        }
        return position | bit
    }

    @inline(__always)
    static func visitChain(_ first: Bucket, _ visit: (UnsafeMutableRawPointer) -> Void) {
        var bucket: Bucket? = first
        while let line = bucket {
            visitLine(line, visit)
            bucket = line.child
        }
    }

    @inline(__always)
    static func visitLine(_ line: Bucket, _ visit: (UnsafeMutableRawPointer) -> Void) {
        var mask: UInt64 = line.occupied
        while mask != 0 {
            if let base = line.place(Bucket.index(mask)).pointee { visit(base) }
            mask &= mask &- 1
        }
    }

    /// Bucket `number` of those that are to be emptied for good, old array first.
    func bucketToDrain(_ number: Int) -> Bucket? {
        let old = oldBucketCount - rehashed
        if number < old { return oldBuckets.map { EntryTable.bucket($0, rehashed + number) } }
        guard number - old < bucketCount else { return nil }
        return buckets.map { EntryTable.bucket($0, number - old) }
    }

    /// An entry chosen at random, nearly evenly: a random place of a random bucket is tried until
    /// one is taken.
    func random(_ prng: inout Prng) -> Entry? {
        guard count > 0 else { return nil }
        let total = bucketCount + oldBucketCount - rehashed
        for _ in 0..<256 {
            guard let bucket = bucket(number: prng.below(total)) else { break }
            if let base = EntryTable.entry(bucket, prng.below(2 * Bucket.width)) {
                return Entry(base)
            }
        }
        return firstEntry(from: prng.below(total))
    }

    /// Bucket `number` when those of both arrays that can hold entries are counted through.
    private func bucket(number: Int) -> Bucket? {
        if number < bucketCount { return buckets.map { EntryTable.bucket($0, number) } }
        return oldBuckets.map { EntryTable.bucket($0, rehashed + number - bucketCount) }
    }

    /// Entry number `ordinal` of a chain.
    private static func entry(_ first: Bucket, _ ordinal: Int) -> UnsafeMutableRawPointer? {
        var rest = ordinal
        var bucket: Bucket? = first
        while let line = bucket {
            var mask: UInt64 = line.occupied
            if rest < mask.nonzeroBitCount {
                while rest > 0 {
                    mask &= mask &- 1
                    rest -= 1
                }
                return line.place(Bucket.index(mask)).pointee
            }
            rest -= mask.nonzeroBitCount
            bucket = line.child
        }
        return nil
    }

    /// The first entry in bucket `number` or behind it, going round: for sparse tables.
    private func firstEntry(from number: Int) -> Entry? {
        let total = bucketCount + oldBucketCount - rehashed
        for step in 0..<total {
            guard let bucket = bucket(number: (number + step) % total) else { continue }
            if let base = EntryTable.entry(bucket, 0) { return Entry(base) }
        }
        return nil
    }
}
