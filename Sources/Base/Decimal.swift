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
    return writeLongDecimal(value, to: out)
}

@inline(never)
public func writeLongDecimal(_ value: Int64, to out: UnsafeMutablePointer<UInt8>) -> Int {
    var magnitude: UInt64 = value.magnitude
    var digits = 1
    var bound: UInt64 = 10
    while digits < 19 && magnitude >= bound {
        digits &+= 1
        bound = bound &* 10
    }
    if digits == 19 && magnitude >= 10_000_000_000_000_000_000 { digits = 20 }
    let sign = value < 0 ? 1 : 0
    if sign == 1 { out[0] = 45 }
    var position = sign &+ digits
    while position > sign {
        position &-= 1
        out[position] = 48 &+ UInt8(truncatingIfNeeded: magnitude % 10)
        magnitude /= 10
    }
    return sign &+ digits
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
