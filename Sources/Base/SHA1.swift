// SHA-1, libcrypto's: the names of scripts, and the hashes that DEBUG DIGEST combines. Not for
// secrets.
import COpenSSL

public enum SHA1 {
    /// Bytes of a hash.
    public static let count = 20

    /// Writes the hash of `bytes` to `out`, which may overlap `bytes`.
    public static func hash(_ bytes: Bytes, to out: UnsafeMutablePointer<UInt8>) {
        copenssl_sha1(bytes.base, bytes.count, out)
    }

    /// The hash of `bytes` in lower-case hexadecimal digits.
    public static func hex(_ bytes: Bytes) -> [UInt8] {
        var hash = [UInt8](repeating: 0, count: count)
        copenssl_sha1(bytes.base, bytes.count, &hash)
        return Hexadecimal.digits(of: hash)
    }
}
