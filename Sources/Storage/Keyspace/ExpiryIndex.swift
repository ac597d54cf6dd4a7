// Which keys expire, and when: exact, so that active expiry deletes what is due and nothing else is
// looked at (the reference samples at random). A tree of three fixed levels in the order of (time,
// address): a sorted array of nodes, each a sorted array of pages, each an *unordered* array of up
// to 512 entry pointers. An entry knows its position in its page (9 header bits), so removal swaps
// with the last pointer and moves nothing else. Pages grow and shrink by 64 pointers, so that the
// index costs about 9 bytes per key beside the 8 of the time itself. Only the first page is ever
// sorted, when someone asks for the earliest key; taking keys from its end keeps it sorted. Equal
// times are told apart by the address, so that a million keys with one expiry behave like any
// other.
import Base

/// The order of the index.
struct ExpiryKey: Comparable {
    var time: Int64
    var address: UInt

    @inline(__always)
    init(_ entry: Entry) {
        time = entry.expiresAt
        address = UInt(bitPattern: entry.base)
    }

    @inline(__always)
    init(time: Int64, address: UInt) {
        self.time = time
        self.address = address
    }

    @inline(__always)
    static func < (a: ExpiryKey, b: ExpiryKey) -> Bool {
        a.time < b.time || (a.time == b.time && a.address < b.address)
    }
}

/// An unordered run of entries whose keys lie between the separators around the page.
struct ExpiryPage {
    struct Head {
        var count: Int32
        var capacity: Int32
        /// True when the keys descend: the earliest entry is the last.
        var isSorted: Bool
        /// No key of the page is above this.
        var highest: ExpiryKey
    }
    let head: UnsafeMutablePointer<Head>
    static let limit = 512
    private static let headSize = 32
    private static let step = 64

    @inline(__always)
    init(_ base: UnsafeMutableRawPointer) { head = base.assumingMemoryBound(to: Head.self) }

    static func make(_ memory: Memory) -> ExpiryPage {
        let page = ExpiryPage(memory.allocate(size(4)))
        page.head.initialize(
            to: Head(
                count: 0,
                capacity: 4,
                isSorted: true,
                highest: ExpiryKey(time: Int64.min, address: 0)
            )
        )
        return page
    }

    static func size(_ capacity: Int) -> Int { headSize + 8 * capacity }

    @inline(__always)
    var count: Int { Int(head.pointee.count) }

    @inline(__always)
    var items: UnsafeMutablePointer<UnsafeMutableRawPointer> {
        (UnsafeMutableRawPointer(head) + ExpiryPage.headSize)
            .assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    }

    @inline(__always)
    func append(_ entry: Entry, _ key: ExpiryKey) {
        let count = self.count
        invariant(count < Int(head.pointee.capacity), "the page is full")
        if head.pointee.isSorted, count > 0, ExpiryKey(Entry(items[count &- 1])) < key {
            head.pointee.isSorted = false
        }
        if head.pointee.highest < key { head.pointee.highest = key }
        items[count] = entry.base
        entry.indexPosition = count
        head.pointee.count = Int32(truncatingIfNeeded: count &+ 1)
    }

    @inline(__always)
    func remove(_ entry: Entry) {
        let position = entry.indexPosition
        let last = count &- 1
        invariant(position <= last && items[position] == entry.base, "not where the entry says")
        if position != last {
            items[position] = items[last]
            Entry(items[position]).indexPosition = position
            head.pointee.isSorted = false
        }
        head.pointee.count = Int32(truncatingIfNeeded: last)
        if last == 0 { head.pointee.isSorted = true }
    }

    /// The page with room for one more, perhaps elsewhere.
    func grown(_ memory: Memory) -> ExpiryPage {
        let old = Int(head.pointee.capacity)
        return resized(to: old < ExpiryPage.step ? old * 2 : old + ExpiryPage.step, memory)
    }

    /// The page without most of its unused room.
    func shrunk(_ memory: Memory) -> ExpiryPage {
        let needed = (count + ExpiryPage.step) / ExpiryPage.step * ExpiryPage.step
        guard needed + ExpiryPage.step <= Int(head.pointee.capacity) else { return self }
        return resized(to: needed, memory)
    }

    func resized(to capacity: Int, _ memory: Memory) -> ExpiryPage {
        invariant(capacity >= count && capacity <= ExpiryPage.limit, "unreasonable page size")
        let fresh = memory.reallocate(
            head,
            from: ExpiryPage.size(Int(head.pointee.capacity)),
            to: ExpiryPage.size(capacity)
        )
        let page = ExpiryPage(fresh)
        page.head.pointee.capacity = Int32(capacity)
        return page
    }

    func free(_ memory: Memory) {
        memory.free(head, ExpiryPage.size(Int(head.pointee.capacity)))
    }

    /// Brings the earliest entry to the end.
    func sort() {
        guard !head.pointee.isSorted else { return }
        withUnsafeTemporaryAllocation(of: ExpiryKey.self, capacity: ExpiryPage.limit) { room in
            for index in 0..<count {
                room.initializeElement(at: index, to: ExpiryKey(Entry(items[index])))
            }
            var keys = UnsafeMutableBufferPointer(rebasing: room[0..<count])
            keys.sort { $1 < $0 }
            for index in 0..<count {
                guard let base = UnsafeMutableRawPointer(bitPattern: keys[index].address) else {
                    unreachable("an entry without an address")
                }
                items[index] = base
                Entry(base).indexPosition = index
            }
        }
        head.pointee.isSorted = true
    }

    /// A key that splits the page in two parts of roughly equal size: the median of a sample.
    func splitKey() -> ExpiryKey {
        let samples = 33
        invariant(count > samples, "too small to split")
        return withUnsafeTemporaryAllocation(of: ExpiryKey.self, capacity: samples) { room in
            for index in 0..<samples {
                let key = ExpiryKey(Entry(items[index * count / samples]))
                room.initializeElement(at: index, to: key)
            }
            var keys = room
            keys.sort()
            return keys[samples / 2]
        }
    }
}

/// A child with the lowest key that belongs to it. The first child takes all lower keys as well.
struct ExpiryChild {
    var low: ExpiryKey
    var child: UnsafeMutableRawPointer
}

/// A sorted array of children; the top level of the index, and each node under it.
struct ExpiryBranch {
    var count: Int
    var capacity: Int
    var children: UnsafeMutablePointer<ExpiryChild>?

    static let nodeLimit = 256

    init() {
        count = 0
        capacity = 0
        children = nil
    }

    @inline(__always)
    subscript(_ index: Int) -> ExpiryChild {
        get {
            invariant(index < count, "no such child")
            guard let children else { unreachable("a branch without children") }
            return children[index]
        }
        nonmutating set { children?[index] = newValue }
    }

    /// The child that `key` belongs to.
    @inline(__always)
    func index(of key: ExpiryKey) -> Int {
        guard let children else { return 0 }
        var low = 0
        var high = count
        while high - low > 1 {
            let middle = (low + high) / 2
            if key < children[middle].low { high = middle } else { low = middle }
        }
        return low
    }

    mutating func insert(_ child: ExpiryChild, at index: Int, _ memory: Memory) {
        invariant(index <= count, "children are inserted side by side")
        let stride = MemoryLayout<ExpiryChild>.stride
        if count == capacity {
            let larger = max(4, capacity * 2)
            let fresh =
                children.map {
                    memory.reallocate($0, from: capacity * stride, to: larger * stride)
                } ?? memory.allocate(larger * stride)
            children = fresh.assumingMemoryBound(to: ExpiryChild.self)
            capacity = larger
        }
        guard let children else { unreachable("a branch without children") }
        moveBytes(to: children + index + 1, from: children + index, count: (count - index) * stride)
        children[index] = child
        count += 1
    }

    mutating func remove(at index: Int) {
        invariant(index < count, "no such child")
        guard let children else { return }
        let stride = MemoryLayout<ExpiryChild>.stride
        moveBytes(
            to: children + index,
            from: children + index + 1,
            count: (count - index - 1) * stride
        )
        count -= 1
    }

    mutating func free(_ memory: Memory) {
        if let children {
            memory.free(children, capacity * MemoryLayout<ExpiryChild>.stride)
        }
        self = ExpiryBranch()
    }
}

struct ExpiryIndex {
    private(set) var count = 0
    /// The sum of all times, for the mean.
    private(set) var sum: Int128 = 0
    /// No key expires before this; exact after `first`.
    private var earliest = Int64.max
    /// The same, for others to read.
    var bound: Int64 { earliest }
    /// Its children are `ExpiryBranch` nodes, whose children are pages.
    private var top = ExpiryBranch()

    init() {}

    /// False when surely no key's time is before `now`.
    @inline(__always)
    func mayHold(before now: Int64) -> Bool { earliest < now }

    @inline(__always)
    private func node(_ index: Int) -> UnsafeMutablePointer<ExpiryBranch> {
        top[index].child.assumingMemoryBound(to: ExpiryBranch.self)
    }

    // MARK: Change

    mutating func insert(_ entry: Entry, _ memory: Memory) {
        let key = ExpiryKey(entry)
        if count == 0, top.count == 0 { plant(memory) }
        var nodeIndex = top.index(of: key)
        var pageIndex = node(nodeIndex).pointee.index(of: key)
        var page = ExpiryPage(node(nodeIndex).pointee[pageIndex].child)
        if page.count == Int(page.head.pointee.capacity) {
            if page.count < ExpiryPage.limit {
                page = page.grown(memory)
                replace(page, nodeIndex, pageIndex)
            } else {
                split(nodeIndex, pageIndex, for: key, memory)
                nodeIndex = top.index(of: key)
                pageIndex = node(nodeIndex).pointee.index(of: key)
                page = ExpiryPage(node(nodeIndex).pointee[pageIndex].child)
                if page.count == Int(page.head.pointee.capacity) {
                    page = page.grown(memory)
                    replace(page, nodeIndex, pageIndex)
                }
            }
        }
        page.append(entry, key)
        count += 1
        sum += Int128(key.time)
        if key.time < earliest { earliest = key.time }
    }

    mutating func remove(_ entry: Entry, _ memory: Memory) {
        let key = ExpiryKey(entry)
        invariant(count > 0, "the index is empty")
        let nodeIndex = top.index(of: key)
        let pageIndex = node(nodeIndex).pointee.index(of: key)
        let page = ExpiryPage(node(nodeIndex).pointee[pageIndex].child)
        page.remove(entry)
        count -= 1
        sum -= Int128(key.time)
        if page.count == 0 {
            drop(nodeIndex, pageIndex, memory)
        } else if page.count & 63 == 0 {
            tidy(nodeIndex, pageIndex, memory)
        }
        if count == 0 { earliest = Int64.max }
    }

    /// Forgets all entries; they are not touched.
    mutating func removeAll(_ memory: Memory) {
        while top.count > 0 {
            let last = node(top.count - 1)
            for index in 0..<last.pointee.count {
                ExpiryPage(last.pointee[index].child).free(memory)
            }
            freeNode(top.count - 1, memory)
        }
        top.free(memory)
        count = 0
        sum = 0
        earliest = Int64.max
    }

    private func replace(_ page: ExpiryPage, _ nodeIndex: Int, _ pageIndex: Int) {
        var child = node(nodeIndex).pointee[pageIndex]
        child.child = UnsafeMutableRawPointer(page.head)
        node(nodeIndex).pointee[pageIndex] = child
    }

    /// The first node with the first page.
    private mutating func plant(_ memory: Memory) {
        let lowest = ExpiryKey(time: Int64.min, address: 0)
        let raw = memory.allocate(MemoryLayout<ExpiryBranch>.size)
        let node = raw.bindMemory(to: ExpiryBranch.self, capacity: 1)
        node.initialize(to: ExpiryBranch())
        let page = ExpiryPage.make(memory)
        node.pointee.insert(
            ExpiryChild(low: lowest, child: UnsafeMutableRawPointer(page.head)),
            at: 0,
            memory
        )
        top.insert(ExpiryChild(low: lowest, child: raw), at: 0, memory)
    }

    /// Makes room around a full page. Times that only grow (a fixed time to live) start a new last
    /// page, so that pages stay full; else the page is halved.
    private mutating func split(
        _ nodeIndex: Int,
        _ pageIndex: Int,
        for key: ExpiryKey,
        _ memory: Memory
    ) {
        let page = ExpiryPage(node(nodeIndex).pointee[pageIndex].child)
        invariant(page.count == ExpiryPage.limit, "only full pages are split")
        let isLast = nodeIndex == top.count - 1 && pageIndex == node(nodeIndex).pointee.count - 1
        let fresh = ExpiryPage.make(memory)
        if isLast, page.head.pointee.highest < key {
            insert(fresh, low: key, nodeIndex, pageIndex + 1, memory)
            return
        }
        let low = page.splitKey()
        var upper = fresh
        var kept = 0
        page.head.pointee.isSorted = false
        page.head.pointee.highest = low
        for index in 0..<page.count {
            let entry = Entry(page.items[index])
            let key = ExpiryKey(entry)
            if key < low {
                page.items[kept] = entry.base
                entry.indexPosition = kept
                kept += 1
            } else {
                if upper.count == Int(upper.head.pointee.capacity) { upper = upper.grown(memory) }
                upper.append(entry, key)
            }
        }
        page.head.pointee.count = Int32(kept)
        invariant(kept > 0 && upper.count > 0, "a page was not split")
        replace(page.shrunk(memory), nodeIndex, pageIndex)
        insert(upper, low: low, nodeIndex, pageIndex + 1, memory)
    }

    /// Adds a page to a node, which is halved when it is full.
    private mutating func insert(
        _ page: ExpiryPage,
        low: ExpiryKey,
        _ nodeIndex: Int,
        _ pageIndex: Int,
        _ memory: Memory
    ) {
        let node = self.node(nodeIndex)
        let child = ExpiryChild(low: low, child: UnsafeMutableRawPointer(page.head))
        node.pointee.insert(child, at: pageIndex, memory)
        guard node.pointee.count >= ExpiryBranch.nodeLimit else { return }
        let raw = memory.allocate(MemoryLayout<ExpiryBranch>.size)
        let fresh = raw.bindMemory(to: ExpiryBranch.self, capacity: 1)
        fresh.initialize(to: ExpiryBranch())
        // A node that is filled from its end keeps most of its pages.
        let isAppending = nodeIndex == top.count - 1 && pageIndex == node.pointee.count - 1
        let half = node.pointee.count * (isAppending ? 15 : 8) / 16
        while node.pointee.count > half {
            fresh.pointee.insert(node.pointee[node.pointee.count - 1], at: 0, memory)
            node.pointee.remove(at: node.pointee.count - 1)
        }
        top.insert(ExpiryChild(low: fresh.pointee[0].low, child: raw), at: nodeIndex + 1, memory)
    }

    /// Removes an empty page; its range falls to a neighbour.
    private mutating func drop(_ nodeIndex: Int, _ pageIndex: Int, _ memory: Memory) {
        let node = self.node(nodeIndex)
        ExpiryPage(node.pointee[pageIndex].child).free(memory)
        node.pointee.remove(at: pageIndex)
        if node.pointee.count == 0 {
            freeNode(nodeIndex, memory)
        } else if node.pointee.count < ExpiryBranch.nodeLimit / 4, nodeIndex + 1 < top.count {
            mergeNodes(nodeIndex, memory)
        }
        if top.count == 0 { top.free(memory) }
    }

    private mutating func freeNode(_ index: Int, _ memory: Memory) {
        let node = self.node(index)
        node.pointee.free(memory)
        memory.free(node, MemoryLayout<ExpiryBranch>.size)
        top.remove(at: index)
    }

    /// Takes the next node in when both are sparse.
    private mutating func mergeNodes(_ index: Int, _ memory: Memory) {
        let node = self.node(index)
        let next = self.node(index + 1)
        guard node.pointee.count + next.pointee.count <= ExpiryBranch.nodeLimit / 2 else { return }
        // The next node's first page also held what is below its own low key.
        for position in 0..<next.pointee.count {
            var child = next.pointee[position]
            if position == 0 { child.low = top[index + 1].low }
            node.pointee.insert(child, at: node.pointee.count, memory)
        }
        freeNode(index + 1, memory)
    }

    /// After many removals: merges sparse neighbours and returns unused room.
    private mutating func tidy(_ nodeIndex: Int, _ pageIndex: Int, _ memory: Memory) {
        let node = self.node(nodeIndex)
        let page = ExpiryPage(node.pointee[pageIndex].child)
        guard page.count <= ExpiryPage.limit / 4, pageIndex + 1 < node.pointee.count else {
            replace(page.shrunk(memory), nodeIndex, pageIndex)
            return
        }
        let next = ExpiryPage(node.pointee[pageIndex + 1].child)
        guard page.count + next.count <= ExpiryPage.limit * 3 / 4 else {
            replace(page.shrunk(memory), nodeIndex, pageIndex)
            return
        }
        var merged = page
        for index in 0..<next.count {
            let entry = Entry(next.items[index])
            if merged.count == Int(merged.head.pointee.capacity) { merged = merged.grown(memory) }
            merged.append(entry, ExpiryKey(entry))
        }
        next.free(memory)
        node.pointee.remove(at: pageIndex + 1)
        replace(merged.shrunk(memory), nodeIndex, pageIndex)
    }

    // MARK: Questions

    /// The entry that expires first.
    mutating func first() -> Entry? {
        guard count > 0 else { return nil }
        let page = ExpiryPage(node(0).pointee[0].child)
        page.sort()
        let entry = Entry(page.items[page.count - 1])
        earliest = entry.expiresAt
        return entry
    }

    /// An entry chosen at random, evenly: impossible positions are drawn again.
    func random(_ prng: inout Prng) -> Entry? {
        guard count > 0 else { return nil }
        for _ in 0..<128 {
            let branch = node(prng.below(top.count))
            let largest = top.count == 1 ? branch.pointee.count : ExpiryBranch.nodeLimit
            let pageIndex = prng.below(largest)
            guard pageIndex < branch.pointee.count else { continue }
            let page = ExpiryPage(branch.pointee[pageIndex].child)
            let isOnly = top.count == 1 && branch.pointee.count == 1
            let position = prng.below(isOnly ? page.count : ExpiryPage.limit)
            if position < page.count { return Entry(page.items[position]) }
        }
        let branch = node(prng.below(top.count))
        let page = ExpiryPage(branch.pointee[prng.below(branch.pointee.count)].child)
        return Entry(page.items[prng.below(page.count)])
    }

    /// Bytes of the index, without the times in the entries.
    var bytes: Int {
        var total = top.capacity * MemoryLayout<ExpiryChild>.stride
        for index in 0..<top.count {
            let branch = node(index)
            total += branch.pointee.capacity * MemoryLayout<ExpiryChild>.stride
            for position in 0..<branch.pointee.count {
                let page = ExpiryPage(branch.pointee[position].child)
                total += Memory.roundedSize(ExpiryPage.size(Int(page.head.pointee.capacity)))
            }
        }
        return total
    }

    func checkInvariants() {
        var seen = 0
        var total: Int128 = 0
        for index in 0..<top.count {
            let branch = node(index)
            invariant(branch.pointee.count > 0, "an empty node")
            for position in 0..<branch.pointee.count {
                let page = ExpiryPage(branch.pointee[position].child)
                invariant(page.count > 0, "an empty page")
                for item in 0..<page.count {
                    let entry = Entry(page.items[item])
                    let key = ExpiryKey(entry)
                    invariant(entry.indexPosition == item, "an entry with a wrong position")
                    invariant(top.index(of: key) == index, "an entry in a wrong node")
                    invariant(branch.pointee.index(of: key) == position, "in a wrong page")
                    invariant(key.time >= earliest, "the earliest time is too late")
                    total += Int128(key.time)
                }
                seen += page.count
            }
        }
        invariant(seen == count && total == sum, "the expiry index miscounts")
    }
}
