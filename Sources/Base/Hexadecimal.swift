// Bytes as lower-case hexadecimal digits, as hashes and secrets are shown.

public enum Hexadecimal {
    private static let digits = Array("0123456789abcdef".utf8)

    /// Two digits for each byte.
    public static func digits(of bytes: [UInt8]) -> [UInt8] {
        bytes.flatMap { [digits[Int($0 &>> 4)], digits[Int($0 & 15)]] }
    }
}
