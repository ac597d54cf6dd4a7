// Which part of a key decides its slot: what stands between the first `{` and the next `}` when
// that is not empty, else the whole key. Source: Redis Cluster specification, "Hash tags".

extension Slot {
    /// The slot of a key.
    public init(key: Span<UInt8>) {
        self.init(hash: crc16(key, Slot.hashedRange(of: key)))
    }

    private static func hashedRange(of key: Span<UInt8>) -> Range<Int> {
        var open = 0
        while open < key.count, key[open] != UInt8(ascii: "{") { open &+= 1 }
        guard open < key.count else { return 0..<key.count }
        var close = open &+ 1
        while close < key.count, key[close] != UInt8(ascii: "}") { close &+= 1 }
        guard close < key.count, close > open &+ 1 else { return 0..<key.count }
        return open &+ 1..<close
    }
}
