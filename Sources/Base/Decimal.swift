// Numbers to text and back, byte-exact with the reference: strict 64-bit integers, and doubles in
// the shortest form that reads back the same.
import CLinux

/// Writes `value` in decimal at `out` (at least 20 bytes of room); returns the length.
@inline(__always)
public func writeDecimal(_ value: Int64, to out: UnsafeMutablePointer<UInt8>) -> Int {
    if value >= 0 && value < 10 {
        out[0] = 48 &+ UInt8(truncatingIfNeeded: value)
        return 1
    }
    if value >= 10 && value < 100 {
        let digits = UInt32(truncatingIfNeeded: value)
        let tens: UInt32 = (digits &* 103) &>> 10
        out[0] = 48 &+ UInt8(truncatingIfNeeded: tens)
        out[1] = 48 &+ UInt8(truncatingIfNeeded: digits &- tens &* 10)
        return 2
    }
    return writeLongDecimal(value, to: out)
}

@inline(never)
public func writeLongDecimal(_ value: Int64, to out: UnsafeMutablePointer<UInt8>) -> Int {
    invariant(value != 0, "zero has no first digit")
    let block: UInt64 = 100_000_000
    let magnitude = value.magnitude
    var length = 0
    if value < 0 {
        out[0] = 45
        length = 1
    }
    if magnitude < block { return length &+ writeFirst(magnitude, to: out + length) }
    let upper = magnitude / block
    if upper < block {
        length &+= writeFirst(upper, to: out + length)
    } else {
        length &+= writeFirst(upper / block, to: out + length)
        store(eightDigits(upper % block) | asciiZeros, to: out + length)
        length &+= 8
    }
    store(eightDigits(magnitude % block) | asciiZeros, to: out + length)
    return length &+ 8
}

private let asciiZeros: UInt64 = 0x3030_3030_3030_3030

/// Writes a number of one to eight digits, and zeros behind it up to eight bytes.
@inline(__always)
private func writeFirst(_ value: UInt64, to out: UnsafeMutablePointer<UInt8>) -> Int {
    let digits = eightDigits(value)
    let leading = digits.trailingZeroBitCount &>> 3
    store((digits | asciiZeros) &>> UInt64(truncatingIfNeeded: leading &* 8), to: out)
    return 8 &- leading
}

@inline(__always)
private func store(_ word: UInt64, to out: UnsafeMutablePointer<UInt8>) {
    UnsafeMutableRawPointer(out).storeBytes(of: word.littleEndian, as: UInt64.self)
}

/// The eight digits of a number below 10^8, one per byte, the first in the lowest: divided in
/// halves by 10^4, 10^2 and 10, all parts of a word at once.
@inline(__always)
private func eightDigits(_ value: UInt64) -> UInt64 {
    let upper = value / 10_000
    let halves: UInt64 = upper | ((value &- upper &* 10_000) &<< 32)
    let hundreds: UInt64 = ((halves &* 10_486) &>> 20) & 0x0000_007F_0000_007F
    let pairs: UInt64 = hundreds | ((halves &- hundreds &* 100) &<< 16)
    let tens: UInt64 = ((pairs &* 103) &>> 10) & 0x000F_000F_000F_000F
    return tens | ((pairs &- tens &* 10) &<< 8)
}

extension Bytes {
    /// The value of a strict decimal integer: optional minus, no plus, no spaces, no leading
    /// zeros, no overflow (the reference's string2ll).
    @inline(__always)
    public var decimal: Int64? {
        var position = 0
        guard count > 0, count <= 20 else { return nil }
        var byte: UInt8 = base[0]
        if count == 1 {
            let digit = byte &- 48
            return digit < 10 ? Int64(digit) : nil
        }
        let negative = byte == 45
        if negative {
            position = 1
            byte = base[1]
        }
        guard byte &- 49 < 9 else { return nil }
        var value: UInt64 = UInt64(byte &- 48)
        position &+= 1
        while position < count {
            let digit = base[position] &- 48
            guard digit < 10 else { return nil }
            let (high, low) = value.multipliedFullWidth(by: 10)
            let (sum, carry) = low.addingReportingOverflow(UInt64(digit))
            guard high == 0, !carry else { return nil }
            value = sum
            position &+= 1
        }
        if negative {
            guard value <= 1 &<< 63 else { return nil }
            return Int64(truncatingIfNeeded: 0 &- value)
        }
        guard value <= UInt64(Int64.max) else { return nil }
        return Int64(value)
    }

    /// The value of a double in C's syntax, the whole text, not NaN; `inf` forms are accepted.
    public var double: Double? {
        guard count > 0, count < 512, !isSpace(base[0]) else { return nil }
        var text: [CChar] = array.map { CChar(bitPattern: $0) }
        text.append(0)
        var value: Double = 0
        guard clinux_parse_double(text, count, &value) == 1, !value.isNaN else { return nil }
        return value
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (byte >= 9 && byte <= 13) }
}

/// The text of a double as replies show it: `%.17g`, or the shortest integer form.
public func formatDouble(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    if value == 0 { return value.sign == .minus ? "-0" : "0" }
    if value > -4_503_599_627_370_495, value < 4_503_599_627_370_496, value == value.rounded() {
        return String(Int64(value))
    }
    var text = [CChar](repeating: 0, count: 64)
    let length = clinux_format_double(&text, 64, 17, value)
    return String(decoding: text.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
