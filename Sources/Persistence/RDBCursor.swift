// Reads the parts of the RDB format from bytes that may end anywhere: each read gives nil when more
// is needed and throws when no continuation could be right. Nothing is allocated for a length that
// a peer merely claims.
import Base

/// A string as it lies in the stream.
public enum RDBString: Sendable, Equatable {
    case plain(Range<Int>)
    case integer(Int64)
    case compressed(Range<Int>, size: Int)
}

public struct RDBCursor {
    public let bytes: Bytes
    public var position: Int
    /// The largest string, also after decompression (proto-max-bulk-len).
    public let largestString: Int

    @inline(__always)
    public init(_ bytes: Bytes, at position: Int = 0, largestString: Int) {
        invariant(position >= 0 && position <= bytes.count, "a cursor outside its bytes")
        self.bytes = bytes
        self.position = position
        self.largestString = largestString
    }

    @inline(__always)
    public var left: Int { bytes.count &- position }

    @inline(__always)
    public mutating func byte() -> UInt8? {
        guard position < bytes.count else { return nil }
        position &+= 1
        return bytes.base[position &- 1]
    }

    /// `count` bytes as they are.
    public mutating func skip(_ count: Int) -> Range<Int>? {
        guard count <= left else { return nil }
        position &+= count
        return (position &- count)..<position
    }

    /// A little-endian word of eight bytes: times, scores.
    public mutating func word64() -> UInt64? {
        guard left >= 8 else { return nil }
        let word = UnsafeRawPointer(bytes.base + position).loadUnaligned(as: UInt64.self)
        position &+= 8
        return UInt64(littleEndian: word)
    }

    /// A little-endian word of four bytes: the expiry times of old versions.
    public mutating func word32() -> UInt32? {
        guard left >= 4 else { return nil }
        let word = UnsafeRawPointer(bytes.base + position).loadUnaligned(as: UInt32.self)
        position &+= 4
        return UInt32(littleEndian: word)
    }

    /// A length or an unsigned number; a special string's mark in its place is damage.
    @inline(__always)
    public mutating func length() throws(RDBError) -> UInt64? {
        let start = position
        guard let first = byte() else { return nil }
        if let value = try lengthBody(first) { return value }
        position = start
        return nil
    }

    @inline(__always)
    private mutating func lengthBody(_ first: UInt8) throws(RDBError) -> UInt64? {
        switch first &>> 6 {
        case 0: return UInt64(first)
        case 1:
            guard let second = byte() else { return nil }
            return (UInt64(first & 0x3F) &<< 8) | UInt64(second)
        case 2:
            if first == RDBLength.thirtyTwoBits {
                return word32().map { UInt64($0.byteSwapped) }
            }
            guard first == RDBLength.sixtyFourBits else { throw RDBError(.damagedLength) }
            return word64()?.byteSwapped
        default: throw RDBError(.damagedLength)
        }
    }

    /// A string in any of its forms; nil when it is not all there yet.
    @inline(__always)
    public mutating func string() throws(RDBError) -> RDBString? {
        let start = position
        if let string = try stringBody() { return string }
        position = start
        return nil
    }

    private mutating func stringBody() throws(RDBError) -> RDBString? {
        guard let first = byte() else { return nil }
        switch first {
        case RDBLength.int8: return byte().map { .integer(Int64(Int8(bitPattern: $0))) }
        case RDBLength.int16:
            guard let low = byte(), let high = byte() else { return nil }
            let word = UInt16(low) | (UInt16(high) &<< 8)
            return .integer(Int64(Int16(bitPattern: word)))
        case RDBLength.int32:
            return word32().map { .integer(Int64(Int32(bitPattern: $0))) }
        case RDBLength.compressed: return try compressedBody()
        default:
            guard first < RDBLength.special else { throw RDBError(.damagedString) }
            guard let length = try lengthBody(first) else { return nil }
            let count = try bounded(length, "string")
            return skip(count).map { .plain($0) }
        }
    }

    private mutating func compressedBody() throws(RDBError) -> RDBString? {
        guard let packed = try length(), let unpacked = try length() else { return nil }
        let count = try bounded(packed, "compressed string")
        let size = try bounded(unpacked, "string")
        guard size <= lzfLargestOutput(ofCompressed: count) else {
            throw RDBError(.damagedString)
        }
        return skip(count).map { .compressed($0, size: size) }
    }

    private func bounded(_ length: UInt64, _ what: String) throws(RDBError) -> Int {
        guard length <= UInt64(largestString) else {
            throw RDBError(
                .tooLarge(what: what, size: length, limit: UInt64(largestString)))
        }
        return Int(length)
    }

    /// The text of `string`; decompressed or formatted text goes to `scratch` and lives there.
    public func text(
        of string: RDBString, scratch: inout Buffer
    ) throws(RDBError) -> Bytes {
        switch string {
        case .plain(let range): return bytes[range]
        case .integer(let value):
            scratch.removeAll()
            scratch.wrote(writeDecimal(value, to: scratch.reserve(20)))
            return scratch.bytes
        case .compressed(let range, let size):
            scratch.removeAll()
            guard lzfDecompress(bytes[range], to: scratch.reserve(max(1, size)), count: size) else {
                throw RDBError(.damagedString)
            }
            scratch.wrote(size)
            return scratch.bytes
        }
    }
}
