// A set of integers as a sorted array, the reference's intset: 4 bytes that say how wide the
// numbers are (2, 4 or 8), 4 bytes of count, the numbers, all little-endian. All numbers get wider
// when one needs it and never narrower again. The block is exactly as large as its bytes.
import Base

public struct Intset: Equatable {
    /// The block; edits may move it.
    public private(set) var base: UnsafeMutableRawPointer
    private static let headerSize = 8

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    // MARK: Life

    /// An empty set.
    public static func make(_ memory: Memory) -> Intset {
        let set = Intset(memory.allocate(headerSize))
        set.setHeader(width: 2, count: 0)
        return set
    }

    /// A copy of bytes that are known to be valid.
    public static func copy(_ bytes: Bytes, _ memory: Memory) -> Intset {
        invariant(bytes.count >= headerSize, "too short for an intset")
        let set = Intset(memory.allocate(bytes.count))
        copyBytes(to: set.base, from: bytes.base, count: bytes.count)
        invariant(set.totalBytes == bytes.count, "an intset of another size")
        return set
    }

    public func free(_ memory: Memory) { memory.free(base, totalBytes) }

    // MARK: Facts

    @inline(__always)
    private var width: Int { Int(UInt32(littleEndian: base.load(as: UInt32.self))) }

    @inline(__always)
    public var count: Int {
        Int(UInt32(littleEndian: base.load(fromByteOffset: 4, as: UInt32.self)))
    }

    @inline(__always)
    public var totalBytes: Int { Intset.headerSize &+ width &* count }

    public var bytes: Bytes { Bytes(base.assumingMemoryBound(to: UInt8.self), totalBytes) }

    private func setHeader(width: Int, count: Int) {
        invariant(count <= Int(UInt32.max), "an intset is too large")
        base.storeBytes(of: UInt32(truncatingIfNeeded: width).littleEndian, as: UInt32.self)
        base.storeBytes(
            of: UInt32(truncatingIfNeeded: count).littleEndian, toByteOffset: 4, as: UInt32.self)
    }

    /// Number `index` in ascending order.
    @inline(__always)
    public subscript(_ index: Int) -> Int64 {
        invariant(index >= 0 && index < count, "no such number in the intset")
        return Intset.load(UnsafeRawPointer(base + Intset.headerSize), width, index)
    }

    @inline(__always)
    private static func load(_ numbers: UnsafeRawPointer, _ width: Int, _ index: Int) -> Int64 {
        let offset = index &* width
        switch width {
        case 2:
            let raw = numbers.loadUnaligned(fromByteOffset: offset, as: Int16.self)
            return Int64(Int16(littleEndian: raw))
        case 4:
            let raw = numbers.loadUnaligned(fromByteOffset: offset, as: Int32.self)
            return Int64(Int32(littleEndian: raw))
        default:
            let raw = numbers.loadUnaligned(fromByteOffset: offset, as: Int64.self)
            return Int64(littleEndian: raw)
        }
    }

    @inline(__always)
    private func store(_ number: Int64, _ width: Int, at index: Int) {
        let offset = Intset.headerSize &+ index &* width
        switch width {
        case 2:
            let raw = Int16(truncatingIfNeeded: number).littleEndian
            base.storeBytes(of: raw, toByteOffset: offset, as: Int16.self)
        case 4:
            let raw = Int32(truncatingIfNeeded: number).littleEndian
            base.storeBytes(of: raw, toByteOffset: offset, as: Int32.self)
        default: base.storeBytes(of: number.littleEndian, toByteOffset: offset, as: Int64.self)
        }
    }

    @inline(__always)
    private static func width(for number: Int64) -> Int {
        if Int16(exactly: number) != nil { return 2 }
        return Int32(exactly: number) != nil ? 4 : 8
    }

    /// Where `number` stands or would stand, and whether it does.
    @inline(__always)
    private func search(_ number: Int64) -> (index: Int, found: Bool) {
        let numbers = UnsafeRawPointer(base + Intset.headerSize)
        let width = self.width
        var low = 0
        var high = count
        if high > 0, Intset.load(numbers, width, high &- 1) < number { return (high, false) }
        while low < high {
            let middle = (low &+ high) &>> 1
            let value = Intset.load(numbers, width, middle)
            if value == number { return (middle, true) }
            if value < number { low = middle &+ 1 } else { high = middle }
        }
        return (low, false)
    }

    public func contains(_ number: Int64) -> Bool {
        Intset.width(for: number) <= width && search(number).found
    }

    // MARK: Change

    /// Adds a number; false when it was there.
    @discardableResult
    public mutating func add(_ number: Int64, _ memory: Memory) -> Bool {
        let wider = Intset.width(for: number)
        if wider > width {
            widen(to: wider, adding: number, memory)
            return true
        }
        let place = search(number)
        guard !place.found else { return false }
        let width = self.width
        let count = self.count
        let old = totalBytes
        base = memory.reallocate(base, from: old, to: old &+ width)
        let from = base + (Intset.headerSize &+ place.index &* width)
        moveBytes(to: from + width, from: from, count: (count &- place.index) &* width)
        store(number, width, at: place.index)
        setHeader(width: width, count: count &+ 1)
        return true
    }

    /// A number that needs more width is beyond all others: it goes first or last.
    private mutating func widen(to wider: Int, adding number: Int64, _ memory: Memory) {
        let width = self.width
        let count = self.count
        let old = totalBytes
        base = memory.reallocate(base, from: old, to: Intset.headerSize &+ wider &* (count &+ 1))
        let shift = number < 0 ? 1 : 0
        let numbers = UnsafeRawPointer(base + Intset.headerSize)
        for index in stride(from: count - 1, through: 0, by: -1) {
            store(Intset.load(numbers, width, index), wider, at: index &+ shift)
        }
        store(number, wider, at: number < 0 ? 0 : count)
        setHeader(width: wider, count: count &+ 1)
        invariant(totalBytes == Intset.headerSize + wider * (count + 1), "a wrong intset size")
    }

    /// Removes a number; false when it was not there.
    @discardableResult
    public mutating func remove(_ number: Int64, _ memory: Memory) -> Bool {
        guard Intset.width(for: number) <= width else { return false }
        let place = search(number)
        guard place.found else { return false }
        let width = self.width
        let count = self.count
        let old = totalBytes
        let to = base + (Intset.headerSize &+ place.index &* width)
        moveBytes(to: to, from: to + width, count: (count &- place.index &- 1) &* width)
        base = memory.reallocate(base, from: old, to: old &- width)
        setHeader(width: width, count: count &- 1)
        return true
    }

    // MARK: Hostile bytes

    /// True when `bytes` are a sound intset: sizes that agree, numbers that ascend.
    public static func isValid(_ bytes: Bytes) -> Bool {
        guard bytes.count >= headerSize else { return false }
        let raw = UnsafeRawPointer(bytes.base)
        let width = Int(UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self)))
        let count = Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        guard width == 2 || width == 4 || width == 8 else { return false }
        guard bytes.count == headerSize + width * count else { return false }
        let numbers = raw + headerSize
        for index in stride(from: 1, to: count, by: 1) {
            guard load(numbers, width, index - 1) < load(numbers, width, index) else {
                return false
            }
        }
        return true
    }
}
