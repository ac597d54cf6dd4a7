// Which part of a key decides its slot: what stands between the first `{` and the next `}` when
// that is not empty, else the whole key. Source: Redis Cluster specification, "Hash tags".

extension Slot {
    /// The slot of a key. Most keys have no tag: one walk looks for it and hashes.
    public init(key: Span<UInt8>) {
        var crc: UInt16 = 0
        for position in key.indices {
            let byte = key[position]
            if _slowPath(byte == UInt8(ascii: "{")) {
                self.init(hash: crc16(key, Slot.hashedRange(of: key, from: position)))
                return
            }
            crc = crc16(crc, byte)
        }
        self.init(hash: crc)
    }

    /// What is hashed of a key whose first `{` is at `open`.
    @inline(never)
    private static func hashedRange(of key: Span<UInt8>, from open: Int) -> Range<Int> {
        var close = open &+ 1
        while close < key.count, key[close] != UInt8(ascii: "}") { close &+= 1 }
        guard close < key.count, close > open &+ 1 else { return 0..<key.count }
        return open &+ 1..<close
    }
}
