// The only source of randomness: the kernel, asked once at start for the seed of the node's
// generator and the key of its hash tables. Everything random afterwards follows from the seed,
// but passwords, which nobody may guess.
import Base
import CLinux
import Glibc

enum Entropy {
    static func sipKey() -> SipKey { SipKey(word(), word()) }

    static func seed() -> UInt64 { word() }

    static func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: word()) }
    }

    private static func word() -> UInt64 {
        var value: UInt64 = 0
        let size = MemoryLayout<UInt64>.size
        while true {
            // Requests of up to 256 bytes are answered whole, or not at all when interrupted.
            let count = getrandom(&value, size, 0)
            if count == size { return value }
            invariant(count < 0 && errno == EINTR, "the kernel gives no random bytes")
        }
    }
}
