// The HyperLogLog as the reference stores it in a string, byte for byte: the magic HYLL, the
// encoding, three unused bytes, the cached cardinality (its highest bit says that it is stale), and
// the registers. Clients SET and GET such strings, and replicas get them whole, so nothing about
// the layout is ours to choose. There are 16384 registers of six bits; `SparseRegisters` has the
// other encoding of them. Clients can store any bytes they like: whatever is read here may be
// damaged.
import Base

enum HyperLogLog {
    static let registerCount = 16384
    static let headerSize = 16
    static let denseSize = headerSize + registerCount * 6 / 8
    /// The longest run of zeros that a hash can show, plus one.
    static let highestRank = 51
    private static let staleOffset = 15

    enum Encoding: UInt8 {
        case dense = 0
        case sparse = 1
    }

    /// The encoding of a string; nil when it is no HyperLogLog at all.
    static func encoding(of bytes: Bytes) -> Encoding? {
        guard bytes.count >= headerSize, bytes[0..<4] == "HYLL",
            let encoding = Encoding(rawValue: bytes[4])
        else { return nil }
        return encoding == .dense && bytes.count != denseSize ? nil : encoding
    }

    // MARK: Cached cardinality

    /// The cardinality that was worked out before; nil when registers have changed since.
    static func cachedCount(_ bytes: Bytes) -> Int64? {
        invariant(bytes.count >= headerSize, "too short for a header")
        guard bytes[staleOffset] & 0x80 == 0 else { return nil }
        var value: UInt64 = 0
        for index in (8..<16).reversed() { value = (value &<< 8) | UInt64(bytes[index]) }
        return Int64(bitPattern: value)
    }

    static func setCachedCount(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int64) {
        var value = UInt64(bitPattern: count)
        for index in 8..<16 {
            bytes[index] = UInt8(truncatingIfNeeded: value)
            value = value &>> 8
        }
    }

    static func markStale(_ bytes: UnsafeMutablePointer<UInt8>) { bytes[staleOffset] |= 0x80 }

    // MARK: Hashing

    /// The register of an element, and the rank that it shows there.
    @inline(__always)
    static func place(of element: Bytes) -> (register: Int, rank: UInt8) {
        let hash = murmurHash64A(element, seed: 0xadc8_3b19)
        let register = Int(hash & UInt64(registerCount - 1))
        let rest = (hash &>> 14) | (1 &<< 50)
        return (register, UInt8(rest.trailingZeroBitCount + 1))
    }

    // MARK: Dense registers

    /// Register `index` of dense `registers` (the bytes behind the header).
    @inline(__always)
    static func denseRegister(_ registers: UnsafePointer<UInt8>, _ index: Int) -> UInt8 {
        invariant(index >= 0 && index < registerCount, "no such register")
        let bit = index &* 6
        let shift = UInt16(bit & 7)
        var pair = UInt16(registers[bit &>> 3])
        if shift > 2 { pair |= UInt16(registers[(bit &>> 3) &+ 1]) &<< 8 }
        return UInt8(truncatingIfNeeded: (pair &>> shift) & 63)
    }

    @inline(__always)
    static func setDenseRegister(
        _ registers: UnsafeMutablePointer<UInt8>, _ index: Int, _ rank: UInt8
    ) {
        invariant(index >= 0 && index < registerCount && rank < 64, "no such register or rank")
        let bit = index &* 6
        let shift = UInt16(bit & 7)
        let mask: UInt16 = 63 &<< shift
        let value = UInt16(rank) &<< shift
        let first = registers + (bit &>> 3)
        first.pointee = (first.pointee & ~UInt8(truncatingIfNeeded: mask))
            | UInt8(truncatingIfNeeded: value)
        guard shift > 2 else { return }
        let second = first + 1
        second.pointee = (second.pointee & ~UInt8(truncatingIfNeeded: mask &>> 8))
            | UInt8(truncatingIfNeeded: value &>> 8)
    }

    /// Raises a dense register to `rank`; false when it was that high already.
    @inline(__always)
    static func raiseDense(
        _ registers: UnsafeMutablePointer<UInt8>, _ index: Int, _ rank: UInt8
    ) -> Bool {
        guard denseRegister(UnsafePointer(registers), index) < rank else { return false }
        setDenseRegister(registers, index, rank)
        return true
    }

    // MARK: Reading all registers

    /// Raises each of the 16384 bytes at `ranks` to the register of a valid string; false when its
    /// registers are damaged.
    static func merge(_ bytes: Bytes, into ranks: UnsafeMutablePointer<UInt8>) -> Bool {
        let registers = bytes.base + headerSize
        guard encoding(of: bytes) == .dense else {
            return SparseRegisters.forEachRun(bytes) { start, count, rank in
                guard rank > 0 else { return }
                for index in start..<(start + count) where ranks[index] < rank {
                    ranks[index] = rank
                }
            }
        }
        for index in 0..<registerCount {
            let rank = denseRegister(registers, index)
            if rank > ranks[index] { ranks[index] = rank }
        }
        return true
    }

    /// The estimated cardinality of a valid string; nil when its registers are damaged.
    static func estimate(_ bytes: Bytes) -> Int64? {
        var histogram = RankHistogram()
        if encoding(of: bytes) == .dense {
            let registers = bytes.base + headerSize
            for index in 0..<registerCount {
                histogram.add(denseRegister(registers, index), 1)
            }
        } else {
            let isSound = SparseRegisters.forEachRun(bytes) { _, count, rank in
                histogram.add(rank, count)
            }
            guard isSound else { return nil }
        }
        return histogram.cardinality
    }
}

/// The hash that decides which bits an element sets; the same on every machine.
func murmurHash64A(_ bytes: Bytes, seed: UInt64) -> UInt64 {
    let m: UInt64 = 0xc6a4_a793_5bd1_e995
    var hash = seed ^ (UInt64(truncatingIfNeeded: bytes.count) &* m)
    let raw = UnsafeRawPointer(bytes.base)
    var position = 0
    while position &+ 8 <= bytes.count {
        var k = raw.loadUnaligned(fromByteOffset: position, as: UInt64.self) &* m
        k ^= k &>> 47
        hash = (hash ^ (k &* m)) &* m
        position &+= 8
    }
    if position < bytes.count {
        var tail: UInt64 = 0
        for index in (position..<bytes.count).reversed() {
            tail = (tail &<< 8) | UInt64(bytes.base[index])
        }
        hash = (hash ^ tail) &* m
    }
    hash ^= hash &>> 47
    hash = hash &* m
    return hash ^ (hash &>> 47)
}
