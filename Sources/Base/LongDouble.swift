// The one sum that is defined in C's long double: INCRBYFLOAT. Swift has no such type on every
// platform, so text goes in and text comes out, in the reference's form: fixed notation with up to
// 17 digits behind the point, without trailing zeros.
import CLinux
import Glibc

public enum LongDoubleSum: Equatable {
    /// The sum in decimal; so many bytes were written.
    case text(count: Int)
    /// One of the operands is no number.
    case notNumber
    /// The sum is infinite or no number.
    case notFinite

    /// Room that any result fits into.
    public static let room = 5 * 1024
    /// Longer operands are not numbers, as in the reference.
    private static let operandLimit = 5 * 1024

    /// Adds two decimal texts and writes the sum at `out`, which has `room` bytes.
    public static func of(
        _ left: Bytes, _ right: Bytes, into out: UnsafeMutablePointer<UInt8>
    ) -> LongDoubleSum {
        guard isOperand(left), isOperand(right) else { return .notNumber }
        let written = withUnsafeTemporaryAllocation(
            of: CChar.self, capacity: operandLimit * 2
        ) { room -> Int32 in
            guard let start = room.baseAddress else { return -2 }
            let second = start + operandLimit
            terminate(left, start)
            terminate(right, second)
            return out.withMemoryRebound(to: CChar.self, capacity: LongDoubleSum.room) {
                clinux_add_long_double(
                    start, left.count, second, right.count, $0, LongDoubleSum.room)
            }
        }
        if written == -1 { return .notFinite }
        guard written > 0 else { return .notNumber }
        invariant(Int(written) < LongDoubleSum.room, "a long double is longer than its room")
        return .text(count: trimmed(out, Int(written)))
    }

    private static func isOperand(_ text: Bytes) -> Bool {
        guard text.count > 0, text.count < operandLimit else { return false }
        return text[0] != 32 && !(text[0] >= 9 && text[0] <= 13)
    }

    private static func terminate(_ text: Bytes, _ to: UnsafeMutablePointer<CChar>) {
        memcpy(to, text.base, text.count)
        to[text.count] = 0
    }

    /// The length without trailing zeros, and `0` rather than `-0`.
    private static func trimmed(_ text: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
        var length = count
        if memchr(text, 46, length) != nil {
            while text[length - 1] == 48 { length -= 1 }
            if text[length - 1] == 46 { length -= 1 }
        }
        if length == 2, text[0] == 45, text[1] == 48 {
            text[0] = 48
            length = 1
        }
        return length
    }
}
