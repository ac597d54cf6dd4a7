// SHA-256 as the passwords of users are kept, and the comparison of secrets: both libcrypto's, for
// neither is anything to write by hand.
import COpenSSL

public enum SHA256 {
    /// The length of `hex`.
    public static let hexCount = 64

    /// The hash of `bytes` in lower-case hexadecimal digits.
    public static func hex(_ bytes: Bytes) -> [UInt8] {
        var hash = [UInt8](repeating: 0, count: 32)
        copenssl_sha256(bytes.base, bytes.count, &hash)
        return Hexadecimal.digits(of: hash)
    }

    /// Whether two secrets of one length are the same. The time taken tells nothing of where they
    /// differ.
    public static func isSame(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
    }
}
