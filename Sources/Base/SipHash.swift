// SipHash-1-2 with a random 128-bit key (Aumasson and Bernstein 2012): the hash of every table.
// One compression and two finalisation rounds, as the reference does.

public struct SipKey: Sendable {
    public var first: UInt64
    public var second: UInt64
    @inline(__always)
    public init(_ first: UInt64, _ second: UInt64) {
        self.first = first
        self.second = second
    }
}

/// The 64-bit hash of `count` bytes at `base`.
@inline(__always)
public func sipHash(_ base: UnsafePointer<UInt8>, _ count: Int, key: SipKey) -> UInt64 {
    var v0: UInt64 = key.first ^ 0x736f_6d65_7073_6575
    var v1: UInt64 = key.second ^ 0x646f_7261_6e64_6f6d
    var v2: UInt64 = key.first ^ 0x6c79_6765_6e65_7261
    var v3: UInt64 = key.second ^ 0x7465_6462_7974_6573
    @inline(__always)
    func round() {
        v0 = v0 &+ v1
        v1 = (v1 &<< 13) | (v1 &>> 51)
        v1 ^= v0
        v0 = (v0 &<< 32) | (v0 &>> 32)
        v2 = v2 &+ v3
        v3 = (v3 &<< 16) | (v3 &>> 48)
        v3 ^= v2
        v0 = v0 &+ v3
        v3 = (v3 &<< 21) | (v3 &>> 43)
        v3 ^= v0
        v2 = v2 &+ v1
        v1 = (v1 &<< 17) | (v1 &>> 47)
        v1 ^= v2
        v2 = (v2 &<< 32) | (v2 &>> 32)
    }
    let raw = UnsafeRawPointer(base)
    let whole: Int = count & ~7
    var offset = 0
    while offset < whole {
        let word: UInt64 = raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        v3 ^= word
        round()
        v0 ^= word
        offset &+= 8
    }
    var last: UInt64 = UInt64(truncatingIfNeeded: count) &<< 56
    let rest: Int = count & 7
    if rest >= 4 {
        last |= UInt64(raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        var i = 4
        while i < rest {
            last |= UInt64(base[offset &+ i]) &<< UInt64(truncatingIfNeeded: i &* 8)
            i &+= 1
        }
    } else {
        var i = 0
        while i < rest {
            last |= UInt64(base[offset &+ i]) &<< UInt64(truncatingIfNeeded: i &* 8)
            i &+= 1
        }
    }
    v3 ^= last
    round()
    v0 ^= last
    v2 ^= 0xff
    round()
    round()
    return v0 ^ v1 ^ v2 ^ v3
}
