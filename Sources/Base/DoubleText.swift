// Scores to text and back without allocation, byte-exact with the reference: `%.17g` with short
// integers as such, `inf` and `-inf`; and C's strtod for reading, with exact short cuts for the
// numbers that clients really send.
import CLinux
import Glibc

/// Room that the text of any double fits into.
public let doubleTextRoom = 40

/// Writes `value` as replies show it at `out` (`doubleTextRoom` bytes); returns the length.
@inline(__always)
public func writeDouble(_ value: Double, to out: UnsafeMutablePointer<UInt8>) -> Int {
    if let integer = shortInteger(value) { return writeDecimal(integer, to: out) }
    return writeLongDouble(value, to: out)
}

/// The value as an integer when its text is one that fits 52 bits; never for a negative zero.
@inline(__always)
public func shortInteger(_ value: Double) -> Int64? {
    guard value > -4_503_599_627_370_495, value < 4_503_599_627_370_496 else { return nil }
    let integer = Int64(value)
    guard Double(integer) == value, integer != 0 || value.sign == .plus else { return nil }
    return integer
}

@inline(never)
private func writeLongDouble(_ value: Double, to out: UnsafeMutablePointer<UInt8>) -> Int {
    if !value.isFinite {
        let text = Bytes(value.isNaN ? "nan" : value < 0 ? "-inf" : "inf")
        memcpy(out, text.base, text.count)
        return text.count
    }
    let length = out.withMemoryRebound(to: CChar.self, capacity: doubleTextRoom) {
        Int(clinux_format_double($0, doubleTextRoom, 17, value))
    }
    invariant(length > 0 && length < doubleTextRoom, "a double is longer than its room")
    return length
}

/// Room that the longest fixed text of a double fits into.
public let fixedTextRoom = 400

/// Writes `value` with `digits` digits behind the point (C's `%.*f`) at `out` (`fixedTextRoom`
/// bytes); returns the length.
public func writeFixed(
    _ value: Double, digits: Int, to out: UnsafeMutablePointer<UInt8>
) -> Int {
    invariant(digits >= 0 && digits <= 17, "no such precision")
    let length = out.withMemoryRebound(to: CChar.self, capacity: fixedTextRoom) {
        Int(clinux_format_fixed($0, fixedTextRoom, Int32(digits), value))
    }
    invariant(length > 0 && length < fixedTextRoom, "a double is longer than its room")
    return length
}

/// Powers of ten that a double holds exactly.
private func exactPowerOfTen(_ exponent: Int) -> Double {
    invariant(exponent >= 0 && exponent <= 22, "this power of ten is not exact")
    var power = 1.0
    for _ in 0..<exponent { power *= 10 }
    return power
}

extension Bytes {
    /// The value of a double in C's syntax: the whole text, no space in front, not NaN.
    @inline(__always)
    public var score: Double? {
        if let value = plainDecimal { return value }
        guard count > 0, base[0] != 32, base[0] &- 9 >= 5 else { return nil }
        return parsedByC(allowsOverflow: false)
    }

    /// As `score`, but as lenient as C: space in front is skipped, nothing at all is 0, and what
    /// is too large is infinite.
    public var lenientDouble: Double? {
        if let value = plainDecimal { return value }
        var start = 0
        while start < count, base[start] == 32 || base[start] &- 9 < 5 { start += 1 }
        if start == count { return count == 0 ? 0 : nil }
        return self[start..<count].parsedByC(allowsOverflow: true)
    }

    /// Digits with perhaps a sign and a point, few enough that one exact division gives the
    /// correctly rounded value; nil leaves the text to C.
    @inline(__always)
    private var plainDecimal: Double? {
        guard count > 0, count <= 17 else { return nil }
        let isNegative = base[0] == UInt8(ascii: "-")
        var position = isNegative ? 1 : 0
        var digits: Int64 = 0
        var seen = 0
        var behindPoint = -1
        while position < count {
            let byte = base[position]
            if byte &- 48 < 10 {
                digits = digits &* 10 &+ Int64(byte &- 48)
                seen &+= 1
                if behindPoint >= 0 { behindPoint &+= 1 }
            } else if byte == UInt8(ascii: "."), behindPoint < 0 {
                behindPoint = 0
            } else {
                return nil
            }
            position &+= 1
        }
        guard seen > 0, seen <= 15, !isNegative || digits != 0 else { return nil }
        let magnitude = Double(digits)
        let value = behindPoint <= 0 ? magnitude : magnitude / exactPowerOfTen(behindPoint)
        return isNegative ? -value : value
    }

    @inline(never)
    private func parsedByC(allowsOverflow: Bool) -> Double? {
        guard count > 0, count < 512 else { return nil }
        let value = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { room -> Double in
            guard let text = room.baseAddress else { return .nan }
            memcpy(text, base, count)
            text[count] = 0
            var value = 0.0
            if clinux_parse_double(text, count, &value) == 1 { return value }
            guard allowsOverflow else { return .nan }
            var end: UnsafeMutablePointer<CChar>?
            value = strtod(text, &end)
            return end == text + count ? value : .nan
        }
        return value.isNaN ? nil : value
    }
}
