// A set of slots as 16384 bits (2 KiB). The bit order is that of the cluster bus: slot n is bit
// n % 8 of byte n / 8. The bits are shared until they are changed: every node record and every bus
// message carries a set, and copying them was half the time of a simulated cluster.
import Base

public struct SlotSet: Equatable, Sendable {
    private static let none = [UInt64](repeating: 0, count: 256)
    private var words = SlotSet.none
    public private(set) var count = 0

    public init() {}

    public init(_ slots: some Sequence<Slot>) {
        for slot in slots { insert(slot) }
    }

    public static var all: SlotSet {
        var set = SlotSet()
        for index in 0..<256 { set.words[index] = ~0 }
        set.count = Slot.count
        return set
    }

    public var isEmpty: Bool { count == 0 }

    @inline(__always)
    public func contains(_ slot: Slot) -> Bool {
        words[Int(slot.index &>> 6)] & (1 &<< UInt64(slot.index & 63)) != 0
    }

    /// True when the slot was not there before.
    @discardableResult
    public mutating func insert(_ slot: Slot) -> Bool {
        guard !contains(slot) else { return false }
        words[Int(slot.index &>> 6)] |= 1 &<< UInt64(slot.index & 63)
        count += 1
        return true
    }

    /// True when the slot was there before.
    @discardableResult
    public mutating func remove(_ slot: Slot) -> Bool {
        guard contains(slot) else { return false }
        words[Int(slot.index &>> 6)] &= ~(1 &<< UInt64(slot.index & 63))
        count -= 1
        return true
    }

    public mutating func removeAll() { self = SlotSet() }

    public mutating func formUnion(_ other: SlotSet) {
        merge(other) { $0 | $1 }
    }
    public mutating func subtract(_ other: SlotSet) {
        merge(other) { $0 & ~$1 }
    }
    public mutating func formIntersection(_ other: SlotSet) {
        merge(other) { $0 & $1 }
    }

    private mutating func merge(_ other: SlotSet, _ combine: (UInt64, UInt64) -> UInt64) {
        var total = 0
        for index in 0..<256 {
            words[index] = combine(words[index], other.words[index])
            total += words[index].nonzeroBitCount
        }
        count = total
    }

    /// Byte `index` (of 2048) as the cluster bus carries it.
    public func wireByte(_ index: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: words[index / 8] &>> UInt64((index % 8) * 8))
    }

    /// Sets byte `index` (of 2048) from the cluster bus.
    public mutating func setWireByte(_ index: Int, _ byte: UInt8) {
        let shift = UInt64((index % 8) * 8)
        let before = words[index / 8].nonzeroBitCount
        words[index / 8] = (words[index / 8] & ~(0xFF &<< shift)) | (UInt64(byte) &<< shift)
        count += words[index / 8].nonzeroBitCount - before
    }

    /// Bytes `8 * index ..< 8 * index + 8` of the wire as one little-endian number.
    @inline(__always)
    public func wireWord(_ index: Int) -> UInt64 { words[index] }

    /// The set whose wire words are `words`, 256 of them.
    public init(wireWords words: some Sequence<UInt64>) {
        var index = 0
        for word in words {
            self.words[index] = word
            count += word.nonzeroBitCount
            index += 1
        }
        invariant(index == 256, "a slot set has 256 words")
    }

    /// The slots in ascending order.
    public var slots: [Slot] {
        var out: [Slot] = []
        out.reserveCapacity(count)
        for index in 0..<256 {
            var word = words[index]
            while word != 0 {
                out.append(Slot(hash: UInt16(index * 64 + word.trailingZeroBitCount)))
                word &= word &- 1
            }
        }
        return out
    }

    /// The maximal runs of consecutive slots, ascending.
    public var ranges: [ClosedRange<Int>] {
        var out: [ClosedRange<Int>] = []
        var start = 0
        while let first = next(where: true, from: start) {
            start = next(where: false, from: first) ?? Slot.count
            out.append(first...(start - 1))
        }
        return out
    }

    /// The first slot at or after `start` that is in the set, or that is not.
    private func next(where isMember: Bool, from start: Int) -> Int? {
        var above = ~0 &<< UInt64(start & 63)
        for index in (start >> 6)..<256 {
            let word = (isMember ? words[index] : ~words[index]) & above
            if word != 0 { return index * 64 + word.trailingZeroBitCount }
            above = ~0
        }
        return nil
    }

    public static func == (a: SlotSet, b: SlotSet) -> Bool {
        a.count == b.count && a.words == b.words
    }
}
