// A borrowed run of bytes: pointer and count, no ownership. Valid only as long as the buffer that
// it points into; the hot path passes it by value and never stores it.
import Glibc

public struct Bytes {
    public let base: UnsafePointer<UInt8>
    public let count: Int

    @inline(__always)
    public init(_ base: UnsafePointer<UInt8>, _ count: Int) {
        self.base = base
        self.count = count
    }

    /// The bytes of a literal; they live as long as the program.
    @inline(__always)
    public init(_ literal: StaticString) {
        self.init(literal.utf8Start, literal.utf8CodeUnitCount)
    }

    public static var empty: Bytes { Bytes("") }

    @inline(__always)
    public var isEmpty: Bool { count == 0 }

    @inline(__always)
    public subscript(_ index: Int) -> UInt8 {
        invariant(index >= 0 && index < count, "byte index out of range")
        return base[index]
    }

    /// The bytes in `range`, which must lie inside.
    @inline(__always)
    public subscript(_ range: Range<Int>) -> Bytes {
        invariant(range.lowerBound >= 0 && range.upperBound <= count, "byte range out of range")
        return Bytes(base + range.lowerBound, range.count)
    }

    @inline(__always)
    public static func == (a: Bytes, b: Bytes) -> Bool {
        a.count == b.count && memcmp(a.base, b.base, a.count) == 0
    }

    /// True when both are the same 4 to 24 bytes, as most keys are that long: two or three
    /// overlapping loads. False also for what is shorter or longer.
    @inline(__always)
    public func isSameShort(as other: Bytes) -> Bool {
        guard count == other.count, count <= 24, count >= 4 else { return false }
        let mine = UnsafeRawPointer(base)
        let theirs = UnsafeRawPointer(other.base)
        if count < 8 {
            let end = count &- 4
            return mine.loadUnaligned(as: UInt32.self) == theirs.loadUnaligned(as: UInt32.self)
                && mine.loadUnaligned(fromByteOffset: end, as: UInt32.self)
                    == theirs.loadUnaligned(fromByteOffset: end, as: UInt32.self)
        }
        @inline(__always)
        func difference(_ offset: Int) -> UInt64 {
            mine.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                ^ theirs.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        }
        // What tells keys apart mostly stands at their end.
        guard difference(count &- 8) == 0, difference(0) == 0 else { return false }
        return count <= 16 || difference(8) == 0
    }

    @inline(__always)
    public static func == (a: Bytes, b: StaticString) -> Bool { a == Bytes(b) }

    /// Bytewise order, a prefix before what it is a prefix of.
    public static func < (a: Bytes, b: Bytes) -> Bool {
        let order = memcmp(a.base, b.base, min(a.count, b.count))
        return order == 0 ? a.count < b.count : order < 0
    }

    /// Equal to `word`, which must be lower case, without regard to ASCII case.
    @inline(__always)
    public func matches(_ word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        let other = word.utf8Start
        for i in 0..<count where lowercased(base[i]) != other[i] {
            return false
        }
        return true
    }

    /// A copy as an array (cold code only).
    public var array: [UInt8] { Array(UnsafeBufferPointer(start: base, count: count)) }

    /// A copy as text; damaged UTF-8 is repaired (cold code only).
    public var string: String {
        String(decoding: UnsafeBufferPointer(start: base, count: count), as: UTF8.self)
    }

    /// A view without bounds of ownership for the machines that take spans.
    @inline(__always)
    public func withSpan<R>(_ body: (Span<UInt8>) -> R) -> R {
        body(Span(_unsafeStart: base, count: count))
    }
}

/// The ASCII lower-case form of one byte.
@inline(__always)
public func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- 65 < 26 ? byte | 0x20 : byte
}

extension Array where Element == UInt8 {
    /// With spaces in place of line ends, which would end a reply of one line.
    public var onOneLine: [UInt8] { map { $0 == 10 || $0 == 13 ? 32 : $0 } }

    /// Runs `body` on a borrowed view of this array (cold code only).
    public func withBytes<R>(_ body: (Bytes) throws -> R) rethrows -> R {
        try withUnsafeBufferPointer { buffer in
            try body(buffer.baseAddress.map { Bytes($0, buffer.count) } ?? .empty)
        }
    }
}

extension String {
    /// Runs `body` on a borrowed view of the UTF-8 of this string (cold code only).
    public func withBytes<R>(_ body: (Bytes) throws -> R) rethrows -> R {
        try Array(utf8).withBytes(body)
    }
}
