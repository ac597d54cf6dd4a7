// One element of a listpack: the codec over raw bytes, without the frame around it. The format is
// the reference's, byte for byte, because these bytes are what RDB files and DUMP payloads carry:
// a head that gives kind and length, the data, and the size of both once more behind them, so that
// a walk can go backwards. Text that is a strict decimal integer is stored as a number.
import Base

/// An element as it is read, or before it is written.
public enum PackedValue {
    case bytes(Bytes)
    case integer(Int64)

    /// `bytes` as a number when it is a strict decimal integer: the form in which it is stored.
    @inline(__always)
    public static func compact(_ bytes: Bytes) -> PackedValue {
        if bytes.count <= 20, let number = bytes.decimal { return .integer(number) }
        return .bytes(bytes)
    }

    /// The element as text; a number is written to `scratch`, which has room for 21 bytes.
    @inline(__always)
    public func text(_ scratch: UnsafeMutablePointer<UInt8>) -> Bytes {
        switch self {
        case .bytes(let bytes): return bytes
        case .integer(let number): return Bytes(scratch, writeDecimal(number, to: scratch))
        }
    }

    /// The length as text.
    public var byteCount: Int {
        switch self {
        case .bytes(let bytes): return bytes.count
        case .integer: return withText(of: self) { $0.count }
        }
    }

    /// True when the text of the element is `other`.
    public func equals(_ other: Bytes) -> Bool {
        switch self {
        case .bytes(let bytes): return bytes == other
        case .integer(let number): return other.decimal == number
        }
    }

    /// The number that the element is, also when it is kept as text.
    public var integer: Int64? {
        switch self {
        case .bytes(let bytes): return bytes.decimal
        case .integer(let number): return number
        }
    }
}

/// Runs `body` on the text of an element; valid inside only.
@inline(__always)
public func withText<R>(of value: PackedValue, _ body: (Bytes) -> R) -> R {
    var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
    return withUnsafeMutableBytes(of: &digits) { room in
        guard let start = room.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            unreachable("a tuple has an address")
        }
        return body(value.text(start))
    }
}

/// The codec.
public enum PackedElement {
    /// What stands behind the last element.
    public static let terminator: UInt8 = 0xFF
    static let string32: UInt8 = 0xF0
    static let integer16: UInt8 = 0xF1
    static let integer24: UInt8 = 0xF2
    static let integer32: UInt8 = 0xF3
    static let integer64: UInt8 = 0xF4

    // MARK: Sizes

    /// The size of the element that `value` becomes.
    @inline(__always)
    public static func size(of value: PackedValue) -> Int {
        let front = frontSize(of: value)
        return front &+ backSize(front)
    }

    /// Head and data, without the size at the end.
    @inline(__always)
    static func frontSize(of value: PackedValue) -> Int {
        switch value {
        case .bytes(let bytes):
            if bytes.count < 64 { return 1 &+ bytes.count }
            return (bytes.count < 4096 ? 2 : 5) &+ bytes.count
        case .integer(let number):
            if number >= 0, number <= 127 { return 1 }
            if number >= -4096, number <= 4095 { return 2 }
            if number >= -32768, number <= 32767 { return 3 }
            if number >= -8_388_608, number <= 8_388_607 { return 4 }
            return number >= Int64(Int32.min) && number <= Int64(Int32.max) ? 5 : 9
        }
    }

    /// How many bytes the size at the end takes; the bounds are the reference's, odd as they are.
    @inline(__always)
    static func backSize(_ front: Int) -> Int {
        if front <= 127 { return 1 }
        if front < 16383 { return 2 }
        if front < 2_097_151 { return 3 }
        return front < 268_435_455 ? 4 : 5
    }

    /// Head and data of the element at `p`, of valid bytes.
    @inline(__always)
    static func frontSize(_ p: UnsafePointer<UInt8>) -> Int {
        let head = p[0]
        if head < 0x80 { return 1 }
        if head < 0xC0 { return 1 &+ Int(head & 0x3F) }
        if head < 0xE0 { return 2 }
        if head < 0xF0 { return 2 &+ ((Int(head & 0x0F) &<< 8) | Int(p[1])) }
        switch head {
        case string32:
            let count = UnsafeRawPointer(p + 1).loadUnaligned(as: UInt32.self)
            return 5 &+ Int(UInt32(littleEndian: count))
        case integer16: return 3
        case integer24: return 4
        case integer32: return 5
        case integer64: return 9
        default: unreachable("a listpack element of no known kind")
        }
    }

    /// The element at `p` with the size at its end.
    @inline(__always)
    public static func wholeSize(_ p: UnsafePointer<UInt8>) -> Int {
        let front = frontSize(p)
        return front &+ backSize(front)
    }

    /// The start of the element that ends right before `p`.
    @inline(__always)
    public static func previous(_ p: UnsafePointer<UInt8>) -> UnsafePointer<UInt8> {
        var front = 0
        var shift = 0
        var at = p - 1
        while true {
            front |= Int(at[0] & 0x7F) &<< shift
            guard at[0] & 0x80 != 0 else { break }
            shift &+= 7
            invariant(shift <= 28, "a size at the end of an element is too long")
            at -= 1
        }
        return p - (front &+ backSize(front))
    }

    // MARK: Reading and writing

    @inline(__always)
    public static func read(_ p: UnsafePointer<UInt8>) -> PackedValue {
        let head = p[0]
        if head < 0x80 { return .integer(Int64(head)) }
        if head < 0xC0 { return .bytes(Bytes(p + 1, Int(head & 0x3F))) }
        if head < 0xE0 {
            let raw: Int64 = (Int64(head & 0x1F) &<< 8) | Int64(p[1])
            return .integer(raw >= 4096 ? raw &- 8192 : raw)
        }
        if head < 0xF0 {
            return .bytes(Bytes(p + 2, (Int(head & 0x0F) &<< 8) | Int(p[1])))
        }
        let data = UnsafeRawPointer(p + 1)
        switch head {
        case string32:
            let count = UInt32(littleEndian: data.loadUnaligned(as: UInt32.self))
            return .bytes(Bytes(p + 5, Int(count)))
        case integer16:
            let word = Int16(littleEndian: data.loadUnaligned(as: Int16.self))
            return .integer(Int64(word))
        case integer24:
            let raw: UInt32 = UInt32(p[1]) | (UInt32(p[2]) &<< 8) | (UInt32(p[3]) &<< 16)
            return .integer(Int64(Int32(bitPattern: raw &<< 8) &>> 8))
        case integer32:
            let word = Int32(littleEndian: data.loadUnaligned(as: Int32.self))
            return .integer(Int64(word))
        case integer64: return .integer(Int64(littleEndian: data.loadUnaligned(as: Int64.self)))
        default: unreachable("a listpack element of no known kind")
        }
    }

    /// Writes an element at `p`, which has room for `size(of:)` bytes; returns that size.
    @inline(__always)
    @discardableResult
    public static func write(_ value: PackedValue, to p: UnsafeMutablePointer<UInt8>) -> Int {
        let front = frontSize(of: value)
        switch value {
        case .bytes(let bytes): writeText(bytes, to: p)
        case .integer(let number): writeInteger(number, front, to: p)
        }
        let back = backSize(front)
        var rest = front
        var index = back &- 1
        while index >= 0 {
            let mark: UInt8 = index > 0 ? 0x80 : 0
            p[front &+ index] = UInt8(truncatingIfNeeded: rest & 0x7F) | mark
            rest = rest &>> 7
            index &-= 1
        }
        return front &+ back
    }

    @inline(__always)
    private static func writeText(_ bytes: Bytes, to p: UnsafeMutablePointer<UInt8>) {
        var head = 1
        if bytes.count < 64 {
            p[0] = 0x80 | UInt8(truncatingIfNeeded: bytes.count)
        } else if bytes.count < 4096 {
            p[0] = 0xE0 | UInt8(truncatingIfNeeded: bytes.count &>> 8)
            p[1] = UInt8(truncatingIfNeeded: bytes.count)
            head = 2
        } else {
            p[0] = string32
            let count = UInt32(truncatingIfNeeded: bytes.count).littleEndian
            UnsafeMutableRawPointer(p + 1).storeBytes(of: count, as: UInt32.self)
            head = 5
        }
        copyBytes(to: p + head, from: bytes.base, count: bytes.count)
    }

    @inline(__always)
    private static func writeInteger(
        _ number: Int64, _ size: Int, to p: UnsafeMutablePointer<UInt8>
    ) {
        let raw = UnsafeMutableRawPointer(p)
        switch size {
        case 1: p[0] = UInt8(truncatingIfNeeded: number)
        case 2:
            let bits = UInt16(truncatingIfNeeded: number) & 0x1FFF
            p[0] = 0xC0 | UInt8(truncatingIfNeeded: bits &>> 8)
            p[1] = UInt8(truncatingIfNeeded: bits)
        case 3:
            p[0] = integer16
            let word = Int16(truncatingIfNeeded: number).littleEndian
            raw.storeBytes(of: word, toByteOffset: 1, as: Int16.self)
        case 4:
            p[0] = integer24
            for index in 0..<3 {
                p[index &+ 1] = UInt8(truncatingIfNeeded: number &>> Int64(8 &* index))
            }
        case 5:
            p[0] = integer32
            let word = Int32(truncatingIfNeeded: number).littleEndian
            raw.storeBytes(of: word, toByteOffset: 1, as: Int32.self)
        default:
            p[0] = integer64
            raw.storeBytes(of: number.littleEndian, toByteOffset: 1, as: Int64.self)
        }
    }

    // MARK: Hostile bytes

    /// The size of the element at `p` when it is sound and lies within `room` bytes; else nil.
    public static func validatedSize(_ p: UnsafePointer<UInt8>, room: Int) -> Int? {
        guard room >= 2, p[0] != terminator, p[0] <= integer64 else { return nil }
        if p[0] == string32, room < 6 { return nil }
        let front = frontSize(p)
        let back = backSize(front)
        guard front <= room &- back else { return nil }
        var rest = front
        var index = back &- 1
        while index >= 0 {
            let mark: UInt8 = index > 0 ? 0x80 : 0
            guard p[front &+ index] == UInt8(truncatingIfNeeded: rest & 0x7F) | mark else {
                return nil
            }
            rest = rest &>> 7
            index &-= 1
        }
        return front &+ back
    }
}
