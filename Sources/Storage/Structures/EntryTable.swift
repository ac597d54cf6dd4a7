// The hash table of entries: a power-of-two array of 64-byte buckets, each one cache line of a meta
// byte, seven tags and seven pointers. A look-up reads one line, compares seven tags at once, and
// touches only entries whose tag matches. An overfull bucket makes its last pointer a child bucket.
// The array grows at 6.4 entries per bucket and is rehashed a bucket per write, so that no single
// command pays for it; the bucket index is the low bits of the hash, so that the reverse-binary
// SCAN cursor works as in the reference. All-zero memory is a valid empty table: the 16384 slot
// tables of a cluster node are one lazily touched mapping.
import Base

/// One cache line of the table.
struct Bucket {
    let line: UnsafeMutableRawPointer
    static let size = 64
    static let width = 7

    @inline(__always)
    init(_ line: UnsafeMutableRawPointer) { self.line = line }

    /// Meta byte in the low byte, then the seven tags.
    @inline(__always)
    var word: UInt64 {
        get { line.load(as: UInt64.self) }
        nonmutating set { line.storeBytes(of: newValue, as: UInt64.self) }
    }

    @inline(__always)
    var isChained: Bool { word & 1 != 0 }

    /// Where pointer `index` (0 ..< 7) stands.
    @inline(__always)
    func place(_ index: Int) -> UnsafeMutablePointer<UnsafeMutableRawPointer?> {
        (line + 8).assumingMemoryBound(to: UnsafeMutableRawPointer?.self) + index
    }

    /// The bucket that follows in the chain.
    @inline(__always)
    var child: Bucket? {
        guard isChained, let line = place(6).pointee else { return nil }
        return Bucket(line)
    }

    /// One bit (0x80) in the byte of each place whose tag is `tag`; exact, no false hits.
    @inline(__always)
    func matches(_ tag: UInt64) -> UInt64 {
        let low: UInt64 = 0x7F7F_7F7F_7F7F_7F7F
        let x: UInt64 = word ^ (tag &* 0x0101_0101_0101_0101)
        let zero: UInt64 = ~(((x & low) &+ low) | x | low)
        return zero & ~0xFF
    }

    /// One bit in the byte of each place that holds an entry.
    @inline(__always)
    var occupied: UInt64 {
        ~matches(0) & 0x8080_8080_8080_8000
    }

    /// One bit in the byte of each place that is free (a child pointer is not).
    @inline(__always)
    var vacant: UInt64 {
        let child: UInt64 = (word & 1) &<< 63
        return matches(0) & ~child
    }

    /// The place index of the lowest bit of such a mask.
    @inline(__always)
    static func index(_ mask: UInt64) -> Int { (mask.trailingZeroBitCount &>> 3) &- 1 }

    @inline(__always)
    func set(_ index: Int, _ pointer: UnsafeMutableRawPointer, tag: UInt64) {
        invariant(tag > 0 && tag < 256, "tags are never zero")
        let shift: UInt64 = UInt64(truncatingIfNeeded: (index &+ 1) &<< 3)
        word = (word & ~(0xFF &<< shift)) | (tag &<< shift)
        place(index).pointee = pointer
    }

    @inline(__always)
    func clear(_ index: Int) {
        let shift: UInt64 = UInt64(truncatingIfNeeded: (index &+ 1) &<< 3)
        word = word & ~(0xFF &<< shift)
        place(index).pointee = nil
    }

    @inline(__always)
    func tag(_ index: Int) -> UInt64 {
        (word &>> UInt64(truncatingIfNeeded: (index &+ 1) &<< 3)) & 0xFF
    }
}

/// Where a pointer to an entry stands. Valid until the next change of the table.
typealias EntryPlace = UnsafeMutablePointer<UnsafeMutableRawPointer?>

/// A table. The heap and the hash key are given to each call: they are the same for all tables.
struct EntryTable {
    /// Where new entries go; nil while the table is empty.
    var buckets: UnsafeMutableRawPointer?
    /// The array that is being emptied, during a rehash.
    var oldBuckets: UnsafeMutableRawPointer?
    /// Buckets of the old array below this are empty.
    var rehashed: Int
    var count: Int
    /// Entries that expire.
    var expiring: Int
    /// log₂ of the sizes of both arrays.
    var bits: UInt8
    var oldBits: UInt8
    /// The snapshot epoch that new entries are born with.
    var epoch: UInt8
    /// One bit for each epoch that an entry of the table may carry; 0 stands for "only `epoch`".
    var epochsInUse: UInt8
    /// True while a snapshot has still to visit this table.
    var isInSnapshot: Bool

    init() {
        buckets = nil
        oldBuckets = nil
        rehashed = 0
        count = 0
        expiring = 0
        bits = 0
        oldBits = 0
        epoch = 0
        epochsInUse = 0
        isInSnapshot = false
    }

    @inline(__always)
    var bucketCount: Int { buckets == nil ? 0 : 1 &<< Int(bits) }

    @inline(__always)
    var oldBucketCount: Int { oldBuckets == nil ? 0 : 1 &<< Int(oldBits) }

    @inline(__always)
    var isRehashing: Bool { oldBuckets != nil }

    @inline(__always)
    static func tag(_ hash: UInt64) -> UInt64 { max(hash &>> 56, 1) }

    @inline(__always)
    static func bucket(_ array: UnsafeMutableRawPointer, _ index: Int) -> Bucket {
        Bucket(array + (index &<< 6))
    }

    @inline(__always)
    static func index(_ hash: UInt64, _ bits: UInt8) -> Int {
        Int(truncatingIfNeeded: hash & ((1 &<< UInt64(bits)) &- 1))
    }

    /// The bucket of `hash` in the old array when it was not moved yet.
    @inline(__always)
    private func oldBucket(_ hash: UInt64) -> Bucket? {
        guard let oldBuckets else { return nil }
        let index = EntryTable.index(hash, oldBits)
        return index >= rehashed ? EntryTable.bucket(oldBuckets, index) : nil
    }

    // MARK: Look-up

    /// Where the entry of `key` stands.
    @inline(__always)
    func locate(_ key: Bytes, hash: UInt64) -> EntryPlace? {
        guard let buckets else { return nil }
        let bucket = EntryTable.bucket(buckets, EntryTable.index(hash, bits))
        var mask: UInt64 = bucket.matches(EntryTable.tag(hash))
        while mask != 0 {
            let place = bucket.place(Bucket.index(mask))
            if let base = place.pointee, Entry(base).hasKey(key) { return place }
            mask &= mask &- 1
        }
        if _fastPath(!bucket.isChained && oldBuckets == nil) { return nil }
        return locateFurther(bucket, key, hash)
    }

    /// The rest of the chain and, during a rehash, the old array: apart, so that each look-up
    /// contains only the line where the key nearly always is.
    @inline(never)
    private func locateFurther(_ first: Bucket, _ key: Bytes, _ hash: UInt64) -> EntryPlace? {
        let tag = EntryTable.tag(hash)
        if let child = first.child, let place = EntryTable.search(child, key, tag) { return place }
        guard let old = oldBucket(hash) else { return nil }
        return EntryTable.search(old, key, tag)
    }

    @inline(__always)
    func find(_ key: Bytes, hash: UInt64) -> Entry? {
        guard let base = locate(key, hash: hash)?.pointee else { return nil }
        return Entry(base)
    }

    @inline(__always)
    private static func search(_ first: Bucket, _ key: Bytes, _ tag: UInt64) -> EntryPlace? {
        var bucket = first
        while true {
            var mask: UInt64 = bucket.matches(tag)
            while mask != 0 {
                let place = bucket.place(Bucket.index(mask))
                if let base = place.pointee, Entry(base).hasKey(key) { return place }
                mask &= mask &- 1
            }
            guard let child = bucket.child else { return nil }
            bucket = child
        }
    }

    /// Where the entry at `base` stands; `hash` is that of its key. Compares addresses only.
    func locate(_ base: UnsafeMutableRawPointer, hash: UInt64) -> EntryPlace? {
        guard let buckets else { return nil }
        let bucket = EntryTable.bucket(buckets, EntryTable.index(hash, bits))
        if let place = EntryTable.search(bucket, base, EntryTable.tag(hash)) { return place }
        guard let old = oldBucket(hash) else { return nil }
        return EntryTable.search(old, base, EntryTable.tag(hash))
    }

    private static func search(
        _ first: Bucket,
        _ base: UnsafeMutableRawPointer,
        _ tag: UInt64
    ) -> EntryPlace? {
        var bucket = first
        while true {
            var mask: UInt64 = bucket.matches(tag)
            while mask != 0 {
                let place = bucket.place(Bucket.index(mask))
                if place.pointee == base { return place }
                mask &= mask &- 1
            }
            guard let child = bucket.child else { return nil }
            bucket = child
        }
    }

    @inline(__always)
    func prefetchBucket(_ hash: UInt64) {
        guard let buckets else { return }
        prefetch(buckets + (EntryTable.index(hash, bits) &<< 6))
        if _slowPath(isRehashing), let old = oldBucket(hash) { prefetch(old.line) }
    }

    /// Prefetches the entries whose tags match; the bucket should be in the cache by now.
    @inline(__always)
    func prefetchEntries(_ hash: UInt64) {
        guard let buckets else { return }
        let bucket = EntryTable.bucket(buckets, EntryTable.index(hash, bits))
        EntryTable.prefetchMatches(bucket, EntryTable.tag(hash))
        if _slowPath(isRehashing), let old = oldBucket(hash) {
            EntryTable.prefetchMatches(old, EntryTable.tag(hash))
        }
    }

    @inline(__always)
    private static func prefetchMatches(_ bucket: Bucket, _ tag: UInt64) {
        var mask: UInt64 = bucket.matches(tag)
        while mask != 0 {
            if let base = bucket.place(Bucket.index(mask)).pointee { prefetch(base) }
            mask &= mask &- 1
        }
    }

    // MARK: Change

    /// Adds an entry whose key is not there yet.
    @inline(__always)
    mutating func insert(_ entry: Entry, hash: UInt64, _ memory: Memory, _ key: SipKey) {
        if _slowPath(isRehashing) { rehashForWrite(memory, key) }
        // 6.4 entries per bucket: 5 × count ≥ 32 × buckets.
        if _slowPath(count &* 5 >= bucketCount &* 32) { grow(memory, key) }
        guard let buckets else { unreachable("a table that grew has buckets") }
        let bucket = EntryTable.bucket(buckets, EntryTable.index(hash, bits))
        EntryTable.put(entry.base, EntryTable.tag(hash), in: bucket, memory)
        count &+= 1
    }

    /// Puts a pointer in the first free place of a chain; lengthens the chain when there is none.
    @inline(__always)
    static func put(
        _ base: UnsafeMutableRawPointer,
        _ tag: UInt64,
        in first: Bucket,
        _ memory: Memory
    ) {
        var bucket = first
        while true {
            let vacant = bucket.vacant
            if _fastPath(vacant != 0) {
                bucket.set(Bucket.index(vacant), base, tag: tag)
                return
            }
            bucket = bucket.child ?? chain(bucket, memory)
        }
    }

    /// Makes the last place of a full bucket a child, which takes over the entry that was there.
    @inline(never)
    private static func chain(_ bucket: Bucket, _ memory: Memory) -> Bucket {
        invariant(!bucket.isChained && bucket.vacant == 0, "only full buckets are chained")
        let child = Bucket(memory.allocateTable(Bucket.size))
        guard let last = bucket.place(6).pointee else { unreachable("a full bucket has a hole") }
        child.set(0, last, tag: bucket.tag(6))
        bucket.clear(6)
        bucket.place(6).pointee = child.line
        bucket.word |= 1
        return child
    }

    /// Removes the pointer at `place`, which `locate` returned for `hash`.
    mutating func remove(at place: EntryPlace, hash: UInt64, _ memory: Memory, _ key: SipKey) {
        invariant(place.pointee != nil && count > 0, "nothing stands at this place")
        let line = UnsafeMutableRawPointer(bitPattern: UInt(bitPattern: place) & ~63)
        guard let line, let buckets else { unreachable("a place outside of its table") }
        let home = Bucket(line)
        let index = (UnsafeMutableRawPointer(place) - line) / 8 - 1
        home.clear(index)
        let main = EntryTable.bucket(buckets, EntryTable.index(hash, bits))
        if home.line == main.line {
            EntryTable.closeHole(home, index, chain: main, memory)
        } else if main.isChained || isRehashing {
            closeHole(home, index, main, hash, memory)
        }
        count &-= 1
        if _slowPath(isRehashing) { rehashForWrite(memory, key) }
        if _slowPath(count &* 5 < bucketCount &* 4) { shrink(memory, key) }
    }

    /// The hole may be in a child, and in either array: finds the chain that it belongs to.
    private func closeHole(
        _ home: Bucket,
        _ index: Int,
        _ main: Bucket,
        _ hash: UInt64,
        _ memory: Memory
    ) {
        var bucket: Bucket? = main
        while let next = bucket {
            if next.line == home.line {
                EntryTable.closeHole(home, index, chain: main, memory)
                return
            }
            bucket = next.child
        }
        guard let old = oldBucket(hash) else { unreachable("the hole is in no chain") }
        EntryTable.closeHole(home, index, chain: old, memory)
    }

    /// Fills the hole from the end of the chain, and drops the last bucket once it is empty.
    @inline(__always)
    private static func closeHole(_ home: Bucket, _ index: Int, chain: Bucket, _ memory: Memory) {
        guard chain.isChained else { return }
        var parent = chain
        guard var last = chain.child else { return }
        while let child = last.child {
            parent = last
            last = child
        }
        if last.line != home.line {
            let from = Bucket.index(last.occupied)
            guard let moved = last.place(from).pointee else { unreachable("an empty child") }
            home.set(index, moved, tag: last.tag(from))
            last.clear(from)
        }
        if last.occupied == 0 {
            memory.freeTable(last.line, Bucket.size)
            parent.place(6).pointee = nil
            parent.word &= ~1
        }
    }
}
