// The slot of a key, four bytes at a time: the same CRC and the same tags as `Slot(key:)`, whose
// byte-wise walk is the specification, with three more tables. A cluster node does this once per
// key of every command.
import Base
import HashSlots

struct SlotHash {
    private static let slices = 4
    /// Entry `b` of slice `n` is the CRC of byte `b` and `n` zero bytes behind it.
    private let tables: UnsafeMutablePointer<UInt16>

    init() {
        tables = .allocate(capacity: SlotHash.slices * 256)
        for byte in 0..<256 {
            var crc = crc16(0, UInt8(byte))
            for slice in 0..<SlotHash.slices {
                (tables + slice * 256 + byte).initialize(to: crc)
                crc = crc16(crc, 0)
            }
        }
    }

    func destroy() { tables.deallocate() }

    /// The number of the slot that `key` belongs to.
    @inline(__always)
    func slot(of key: Bytes) -> UInt16 {
        let raw = UnsafeRawPointer(key.base)
        var crc: UInt16 = 0
        var offset = 0
        while offset &+ 8 <= key.count {
            let word = raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian
            if _slowPath(SlotHash.mayHoldBrace(word)) { return tagged(key) }
            crc = step(crc, UInt32(truncatingIfNeeded: word))
            crc = step(crc, UInt32(truncatingIfNeeded: word &>> 32))
            offset &+= 8
        }
        while offset < key.count {
            let byte = key.base[offset]
            if _slowPath(byte == UInt8(ascii: "{")) { return tagged(key) }
            crc = (crc &<< 8) ^ tables[Int(UInt8(truncatingIfNeeded: crc &>> 8) ^ byte)]
            offset &+= 1
        }
        return Slot(hash: crc).index
    }

    /// The CRC with four more bytes, the first in the low bits.
    @inline(__always)
    private func step(_ crc: UInt16, _ bytes: UInt32) -> UInt16 {
        let mixed: UInt32 = bytes ^ UInt32(crc.byteSwapped)
        let first: Int = Int(mixed & 0xFF)
        let second: Int = Int((mixed &>> 8) & 0xFF)
        let third: Int = Int((mixed &>> 16) & 0xFF)
        let fourth: Int = Int(mixed &>> 24)
        return tables[768 &+ first] ^ tables[512 &+ second] ^ tables[256 &+ third] ^ tables[fourth]
    }

    /// True when one of eight bytes is `{`.
    @inline(__always)
    private static func mayHoldBrace(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let other: UInt64 = word ^ (UInt64(UInt8(ascii: "{")) &* ones)
        return (other &- ones) & ~other & (0x80 &* ones) != 0
    }

    @inline(never)
    private func tagged(_ key: Bytes) -> UInt16 { key.withSpan { Slot(key: $0).index } }
}
