// SHA-1 (FIPS 180-4): the names of scripts, and the hashes that DEBUG DIGEST combines. Not for
// secrets.

public struct SHA1 {
    private var h0: UInt32 = 0x6745_2301
    private var h1: UInt32 = 0xEFCD_AB89
    private var h2: UInt32 = 0x98BA_DCFE
    private var h3: UInt32 = 0x1032_5476
    private var h4: UInt32 = 0xC3D2_E1F0

    private init() {}

    /// Writes the 20 bytes of the hash of `bytes` to `out`, which may overlap `bytes`.
    public static func hash(_ bytes: Bytes, to out: UnsafeMutablePointer<UInt8>) {
        var state = SHA1()
        let whole = bytes.count / 64
        for block in 0..<whole { state.mix(bytes.base + block * 64) }
        let rest = bytes.count - whole * 64
        let tail = rest < 56 ? 64 : 128
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 128) { room in
            room.initialize(repeating: 0)
            for index in 0..<rest { room[index] = bytes.base[whole * 64 + index] }
            room[rest] = 0x80
            let bits = UInt64(bytes.count) &* 8
            for index in 0..<8 {
                room[tail - 1 - index] = UInt8(
                    truncatingIfNeeded: bits &>> UInt64(index * 8)
                )
            }
            guard let start = room.baseAddress else { return }
            state.mix(UnsafePointer(start))
            if tail == 128 { state.mix(UnsafePointer(start + 64)) }
        }
        state.write(to: out)
    }

    private func write(to out: UnsafeMutablePointer<UInt8>) {
        SHA1.store(h0, to: out)
        SHA1.store(h1, to: out + 4)
        SHA1.store(h2, to: out + 8)
        SHA1.store(h3, to: out + 12)
        SHA1.store(h4, to: out + 16)
    }

    private static func store(_ word: UInt32, to out: UnsafeMutablePointer<UInt8>) {
        for index in 0..<4 {
            out[index] = UInt8(truncatingIfNeeded: word &>> UInt32(24 - index * 8))
        }
    }

    @inline(__always)
    private static func rotate(_ x: UInt32, _ by: UInt32) -> UInt32 {
        (x &<< by) | (x &>> (32 &- by))
    }

    private mutating func mix(_ block: UnsafePointer<UInt8>) {
        var w: [80 of UInt32] = .init(repeating: 0)
        for index in 0..<16 {
            let word = UnsafeRawPointer(block + index * 4).loadUnaligned(as: UInt32.self)
            w[index] = UInt32(bigEndian: word)
        }
        for index in 16..<80 {
            w[index] = SHA1.rotate(
                w[index - 3] ^ w[index - 8] ^ w[index - 14] ^ w[index - 16],
                1
            )
        }
        var a = h0
        var b = h1
        var c = h2
        var d = h3
        var e = h4
        for index in 0..<80 {
            let f: UInt32
            let k: UInt32
            switch index {
            case 0..<20: (f, k) = ((b & c) | (~b & d), 0x5A82_7999)
            case 20..<40: (f, k) = (b ^ c ^ d, 0x6ED9_EBA1)
            case 40..<60: (f, k) = ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC)
            default: (f, k) = (b ^ c ^ d, 0xCA62_C1D6)
            }
            let next: UInt32 = SHA1.rotate(a, 5) &+ f &+ e &+ k &+ w[index]
            e = d
            d = c
            c = SHA1.rotate(b, 30)
            b = a
            a = next
        }
        h0 = h0 &+ a
        h1 = h1 &+ b
        h2 = h2 &+ c
        h3 = h3 &+ d
        h4 = h4 &+ e
    }
}
