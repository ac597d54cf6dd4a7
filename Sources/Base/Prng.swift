// A small seeded generator (xoshiro256**, Blackman and Vigna 2018; seeded by SplitMix64). The
// whole node draws from one of these, so that a simulation repeats from its seed. Not for secrets.

public struct Prng: Sendable {
    private var a: UInt64
    private var b: UInt64
    private var c: UInt64
    private var d: UInt64

    public init(seed: UInt64) {
        var x: UInt64 = seed
        func next() -> UInt64 {
            x &+= 0x9E37_79B9_7F4A_7C15
            var z: UInt64 = x
            z = (z ^ (z &>> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z &>> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z &>> 31)
        }
        a = next()
        b = next()
        c = next()
        d = next()
    }

    @inline(__always)
    public mutating func next() -> UInt64 {
        let x: UInt64 = b &* 5
        let result: UInt64 = ((x &<< 7) | (x &>> 57)) &* 9
        let t: UInt64 = b &<< 17
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= t
        d = (d &<< 45) | (d &>> 19)
        return result
    }

    /// A number in `0 ..< bound`; `bound` must be positive. Small bounds have a bias below 2^-32.
    @inline(__always)
    public mutating func below(_ bound: Int) -> Int {
        invariant(bound > 0, "bound must be positive")
        return Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// True with the probability `numerator / denominator`.
    public mutating func chance(_ numerator: Int, in denominator: Int) -> Bool {
        below(denominator) < numerator
    }

    /// `count` lower-case hexadecimal digits: node IDs, replication IDs, run IDs.
    public mutating func hex(_ count: Int) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(count)
        for _ in 0..<count {
            let digit = UInt8(below(16))
            out.append(digit < 10 ? 48 + digit : 87 + digit)
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// A summary of the generator's state: equal runs end with equal values ("unseed").
    public var fingerprint: UInt64 { a ^ (b &* 3) ^ (c &* 5) ^ (d &* 7) }
}
