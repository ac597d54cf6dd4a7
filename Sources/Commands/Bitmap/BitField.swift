// Integers of any width at any bit offset, and what happens when a value does not fit one: the
// arithmetic of BITFIELD. The highest bit comes first, as everywhere in bitmaps.
import Base

/// What a write does when the value does not fit.
enum BitOverflow {
    case wrap, saturate, fail

    init?(_ word: Bytes) {
        if word.matches("wrap") {
            self = .wrap
        } else if word.matches("sat") {
            self = .saturate
        } else if word.matches("fail") {
            self = .fail
        } else {
            return nil
        }
    }
}

/// The type of a field: `i1` to `i64`, `u1` to `u63`.
struct BitFieldType {
    let isSigned: Bool
    let width: Int

    init?(_ text: Bytes) {
        guard text.count > 1, text[0] == UInt8(ascii: "i") || text[0] == UInt8(ascii: "u"),
            let width = text[1..<text.count].decimal
        else { return nil }
        isSigned = text[0] == UInt8(ascii: "i")
        guard width >= 1, width <= (isSigned ? 64 : 63) else { return nil }
        self.width = Int(width)
    }

    private var highest: Int64 {
        let bits = UInt64(isSigned ? width &- 1 : width)
        return Int64(bitPattern: (1 &<< bits) &- 1)
    }
    private var lowest: Int64 { isSigned ? -highest - 1 : 0 }

    /// The value of the field's bits.
    func value(_ bits: UInt64) -> Int64 {
        invariant(width == 64 || bits &>> UInt64(width) == 0, "more bits than the field has")
        guard isSigned else { return Int64(bitPattern: bits) }
        let spare = Int64(64 &- width)
        return (Int64(bitPattern: bits) &<< spare) &>> spare
    }

    /// The bits that stand for `value`.
    func bits(_ value: Int64) -> UInt64 {
        let spare = UInt64(64 &- width)
        return (UInt64(bitPattern: value) &<< spare) &>> spare
    }

    /// `value` plus `increment`, brought into range; nil when it does not fit and must not be
    /// written.
    func sum(_ value: Int64, _ increment: Int64, _ overflow: BitOverflow) -> Int64? {
        let (sum, wraps) = value.addingReportingOverflow(increment)
        let isTooHigh = wraps ? increment > 0 : sum > highest
        let isTooLow = wraps ? increment < 0 : sum < lowest
        guard isTooHigh || isTooLow else { return sum }
        switch overflow {
        case .wrap: return self.value(bits(sum))
        case .saturate: return isTooHigh ? highest : lowest
        case .fail: return nil
        }
    }

    /// A value to be set, brought into range. A negative number is too large for an unsigned
    /// field, not too small: it is read as the unsigned number with the same bits.
    func fitted(_ value: Int64, _ overflow: BitOverflow) -> Int64? {
        if !isSigned, value < 0, case .saturate = overflow { return highest }
        return sum(value, 0, overflow)
    }
}

/// The `width` bits at bit `offset`; what lies behind `count` bytes is zero.
func readBits(
    _ bytes: UnsafePointer<UInt8>, _ count: Int, at offset: Int, width: Int
) -> UInt64 {
    invariant(offset >= 0 && width > 0 && width <= 64, "no such field")
    var value: UInt64 = 0
    var left = width
    var byte = offset &>> 3
    var available = 8 &- (offset & 7)
    while left > 0 {
        let taken = min(available, left)
        let bits = byte < count ? UInt64(bytes[byte]) : 0
        let part = (bits &>> UInt64(available &- taken)) & ((1 &<< UInt64(taken)) &- 1)
        value = (value &<< UInt64(taken)) | part
        left &-= taken
        byte &+= 1
        available = 8
    }
    return value
}

/// Stores the low `width` bits of `value` at bit `offset`; the room must be there.
func writeBits(
    _ bytes: UnsafeMutablePointer<UInt8>, at offset: Int, width: Int, _ value: UInt64
) {
    invariant(offset >= 0 && width > 0 && width <= 64, "no such field")
    var left = width
    var byte = offset &>> 3
    var available = 8 &- (offset & 7)
    while left > 0 {
        let taken = min(available, left)
        let shift = UInt64(available &- taken)
        let mask: UInt64 = ((1 &<< UInt64(taken)) &- 1) &<< shift
        let part = ((value &>> UInt64(left &- taken)) &<< shift) & mask
        bytes[byte] = UInt8(truncatingIfNeeded: (UInt64(bytes[byte]) & ~mask) | part)
        left &-= taken
        byte &+= 1
        available = 8
    }
}
