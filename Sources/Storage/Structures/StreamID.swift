// The ID of a stream entry: milliseconds and a sequence number, ordered as one number of 128 bits.
// As text `ms-seq`, as bytes both parts with the highest byte first, as the reference writes them
// into RDB files.
import Base

public struct StreamID: Comparable, Hashable, Sendable {
    public var ms: UInt64
    public var seq: UInt64

    @inline(__always)
    public init(_ ms: UInt64, _ seq: UInt64) {
        self.ms = ms
        self.seq = seq
    }

    public static let zero = StreamID(0, 0)
    public static let highest = StreamID(.max, .max)
    /// Bytes of the binary form.
    public static let size = 16
    /// Room for the text of any ID.
    public static let textRoom = 41

    @inline(__always)
    public static func < (a: StreamID, b: StreamID) -> Bool {
        a.ms == b.ms ? a.seq < b.seq : a.ms < b.ms
    }

    public var isZero: Bool { ms == 0 && seq == 0 }

    /// The ID right after this one; nil after the highest.
    public var next: StreamID? {
        if seq < .max { return StreamID(ms, seq &+ 1) }
        return ms < .max ? StreamID(ms &+ 1, 0) : nil
    }

    /// The ID right before this one; nil before the lowest.
    public var previous: StreamID? {
        if seq > 0 { return StreamID(ms, seq &- 1) }
        return ms > 0 ? StreamID(ms &- 1, .max) : nil
    }

    // MARK: Text

    /// Writes the text, with another separator where the reference has one; returns its length.
    @inline(__always)
    public func write(
        to out: UnsafeMutablePointer<UInt8>, separator: UInt8 = UInt8(ascii: "-")
    ) -> Int {
        var length = StreamID.writeUnsigned(ms, to: out)
        out[length] = separator
        length &+= 1
        length &+= StreamID.writeUnsigned(seq, to: out + length)
        invariant(length <= StreamID.textRoom, "an ID is longer than the longest")
        return length
    }

    private static func writeUnsigned(
        _ value: UInt64, to out: UnsafeMutablePointer<UInt8>
    ) -> Int {
        if let small = Int64(exactly: value) { return writeDecimal(small, to: out) }
        let length = writeDecimal(Int64(value / 10), to: out)
        out[length] = 48 &+ UInt8(truncatingIfNeeded: value % 10)
        return length &+ 1
    }

    /// Runs `body` on the text; valid inside only.
    @inline(__always)
    public func withText<R>(
        separator: UInt8 = UInt8(ascii: "-"), _ body: (Bytes) -> R
    ) -> R {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: StreamID.textRoom) { room in
            guard let start = room.baseAddress else { unreachable("room without an address") }
            return body(Bytes(start, write(to: start, separator: separator)))
        }
    }

    // MARK: Bytes

    /// The ID in 16 bytes.
    public init(bytes: Bytes) {
        invariant(bytes.count == StreamID.size, "an ID has sixteen bytes")
        let raw = UnsafeRawPointer(bytes.base)
        ms = UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self))
        seq = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }

    /// Runs `body` on the 16 bytes; valid inside only.
    public func withBytes<R>(_ body: (Bytes) -> R) -> R {
        var words: (UInt64, UInt64) = (ms.bigEndian, seq.bigEndian)
        return withUnsafeMutableBytes(of: &words) { raw in
            guard let start = raw.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
                unreachable("a tuple has an address")
            }
            return body(Bytes(start, StreamID.size))
        }
    }
}
