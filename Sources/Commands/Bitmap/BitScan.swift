// Counting and finding bits eight bytes at a time. Positions count from the highest bit of the
// first byte, so a word is turned around before its leading zeros are counted.
import Base

extension Bytes {
    /// The number of set bits.
    var setBitCount: Int {
        let raw = UnsafeRawPointer(base)
        var position = 0
        var counts = (0, 0, 0, 0)
        while position &+ 32 <= count {
            counts.0 &+= word(raw, position).nonzeroBitCount
            counts.1 &+= word(raw, position &+ 8).nonzeroBitCount
            counts.2 &+= word(raw, position &+ 16).nonzeroBitCount
            counts.3 &+= word(raw, position &+ 24).nonzeroBitCount
            position &+= 32
        }
        var total = counts.0 &+ counts.1 &+ counts.2 &+ counts.3
        while position &+ 8 <= count {
            total &+= word(raw, position).nonzeroBitCount
            position &+= 8
        }
        while position < count {
            total &+= base[position].nonzeroBitCount
            position &+= 1
        }
        invariant(total >= 0 && total <= count &<< 3, "more set bits than bits")
        return total
    }

    /// The number of set bits from bit `first` through bit `last`.
    func setBitCount(from first: Int, through last: Int) -> Int {
        invariant(first >= 0 && first <= last && last < count &<< 3, "bits out of range")
        let start = first &>> 3
        let end = last &>> 3
        let before = self[start] & ~(0xFF &>> UInt8(first & 7))
        let after = self[end] & UInt8((1 &<< (7 &- (last & 7))) &- 1)
        return self[start..<(end + 1)].setBitCount
            - before.nonzeroBitCount - after.nonzeroBitCount
    }

    /// The position of the first bit that is set (or clear) from bit `first` through bit `last`.
    func firstBit(isSet: Bool, from first: Int, through last: Int) -> Int? {
        invariant(first >= 0 && first <= last && last < count &<< 3, "bits out of range")
        let flip: UInt8 = isSet ? 0 : 0xFF
        let boring: UInt64 = isSet ? 0 : .max
        let raw = UnsafeRawPointer(base)
        var byte = first &>> 3
        var found = (base[byte] ^ flip) & (0xFF &>> UInt8(first & 7))
        while found == 0 {
            byte &+= 1
            while byte &+ 8 <= count, word(raw, byte) == boring { byte &+= 8 }
            guard byte <= last &>> 3 else { return nil }
            found = base[byte] ^ flip
        }
        let position = (byte &<< 3) &+ found.leadingZeroBitCount
        return position <= last ? position : nil
    }

    @inline(__always)
    private func word(_ raw: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }
}
