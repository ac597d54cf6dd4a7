// Which part of the replication stream is still at hand, as offsets only; the bytes live with the
// engine. Offsets count the bytes of the stream from 1: `first` is the oldest byte kept and `next`
// the one that will be written next.
import Base

public struct BacklogWindow: Sendable, Equatable {
    /// The reference's least capacity.
    public static let leastCapacity: Int64 = 16 * 1024

    /// Offset of the oldest byte at hand; equals `next` while nothing is kept.
    public private(set) var first: Int64
    /// Bytes at hand.
    public private(set) var length: Int64 = 0
    /// Bytes kept when nobody needs more (repl-backlog-size).
    public private(set) var capacity: Int64

    /// A window that starts after `offset`, the last byte of the stream so far.
    public init(after offset: Int64, capacity: Int64) {
        invariant(offset >= 0, "a negative replication offset")
        first = offset + 1
        self.capacity = max(capacity, Self.leastCapacity)
    }

    /// Offset of the byte that will be written next.
    public var next: Int64 { first + length }

    /// `count` bytes were written to the stream.
    public mutating func append(_ count: Int) {
        invariant(count >= 0, "a negative count of bytes")
        length += Int64(count)
    }

    /// Drops the oldest bytes above the capacity, but none from `needed` on (the oldest offset that
    /// some replica still has to be sent): a slow replica costs memory rather than a full
    /// resynchronisation. Returns how many bytes the engine may drop.
    public mutating func trim(keepingFrom needed: Int64? = nil) -> Int64 {
        var excess = max(0, length - capacity)
        if let needed { excess = min(excess, max(0, needed - first)) }
        first += excess
        length -= excess
        invariant(length >= 0, "trimmed more than there was")
        return excess
    }

    /// The configured size changed; `trim` follows.
    public mutating func resize(_ capacity: Int64) {
        self.capacity = max(capacity, Self.leastCapacity)
    }

    /// Whether a stream may continue with byte `offset`.
    public func canContinue(from offset: Int64) -> Bool {
        offset >= first && offset <= next
    }
}
