// The vocabulary of the RDB format: opcodes, type codes, string encodings and lengths, as numbers
// with names. Shared by writer, reader and DUMP payloads.
import Base

public enum RDBFormat {
    /// The version that we write: redis-server 7.0's.
    public static let version = 10
    /// The versions that the reader takes; 11 is redis-server 7.2's, 12 is 7.4's.
    public static let readableVersions = 1...12
}

public enum RDBOpcode {
    public static let functionLibrary: UInt8 = 245
    public static let functionLibraryPreview: UInt8 = 246
    public static let moduleAuxiliary: UInt8 = 247
    public static let idle: UInt8 = 248
    public static let frequency: UInt8 = 249
    public static let auxiliary: UInt8 = 250
    public static let resize: UInt8 = 251
    public static let expireMilliseconds: UInt8 = 252
    public static let expireSeconds: UInt8 = 253
    public static let selectDatabase: UInt8 = 254
    public static let end: UInt8 = 255
}

public enum RDBType {
    public static let string: UInt8 = 0
    public static let list: UInt8 = 1
    public static let set: UInt8 = 2
    public static let sortedSetText: UInt8 = 3
    public static let hash: UInt8 = 4
    public static let sortedSet: UInt8 = 5
    public static let module: UInt8 = 6
    public static let module2: UInt8 = 7
    public static let hashZipmap: UInt8 = 9
    public static let listZiplist: UInt8 = 10
    public static let setIntset: UInt8 = 11
    public static let sortedSetZiplist: UInt8 = 12
    public static let hashZiplist: UInt8 = 13
    public static let listQuicklist: UInt8 = 14
    public static let stream: UInt8 = 15
    public static let hashListpack: UInt8 = 16
    public static let sortedSetListpack: UInt8 = 17
    public static let listQuicklist2: UInt8 = 18
    public static let stream2: UInt8 = 19
    public static let setListpack: UInt8 = 20
    public static let stream3: UInt8 = 21
    /// Hashes with fields that expire, as redis-server 7.4 writes them.
    public static let hashExpiring: UInt8 = 24
    public static let hashListpackExpiring: UInt8 = 25

    /// The compact form that a code stands for, as the reference's log names it.
    public static func compactForm(_ code: UInt8) -> String? {
        switch code {
        case hashZipmap: "Zipmap"
        case listZiplist: "List ziplist"
        case setIntset: "Intset"
        case sortedSetZiplist: "Zset ziplist"
        case hashZiplist: "Hash ziplist"
        case listQuicklist: "Ziplist"
        case listQuicklist2: "Listpack"
        case hashListpack: "Hash listpack"
        case sortedSetListpack: "Zset listpack"
        case setListpack: "Set listpack"
        case stream, stream2, stream3: "Stream listpack"
        default: nil
        }
    }

    /// What `code` stands for, for messages; nil when no version of the format defines it.
    public static func name(_ code: UInt8) -> String? {
        switch code {
        case string: "string"
        case list: "list"
        case set: "set"
        case sortedSetText: "sorted set (text scores)"
        case hash: "hash"
        case sortedSet: "sorted set"
        case module: "module (version 1)"
        case module2: "module"
        case hashZipmap: "hash (zipmap)"
        case listZiplist: "list (ziplist)"
        case setIntset: "set (intset)"
        case sortedSetZiplist: "sorted set (ziplist)"
        case hashZiplist: "hash (ziplist)"
        case listQuicklist: "list (quicklist)"
        case stream: "stream"
        case hashListpack: "hash (listpack)"
        case sortedSetListpack: "sorted set (listpack)"
        case listQuicklist2: "list (quicklist 2)"
        case stream2: "stream (version 2)"
        case setListpack: "set (listpack)"
        case stream3: "stream (version 3)"
        case hashExpiring: "hash (fields expire)"
        case hashListpackExpiring: "hash (listpack, fields expire)"
        default: nil
        }
    }
}

/// The tags of the parts of a module's value.
public enum RDBModulePart {
    public static let end: UInt64 = 0
    public static let signed: UInt64 = 1
    public static let unsigned: UInt64 = 2
    public static let float: UInt64 = 3
    public static let double: UInt64 = 4
    public static let string: UInt64 = 5
}

/// The lengths that stand for what has no digits, in a score that is written as text.
enum RDBTextDouble {
    static let firstSpecial: UInt8 = 253
    static let nan: UInt8 = 253
    static let infinity: UInt8 = 254
    static let negativeInfinity: UInt8 = 255
}

/// The forms of a length: two bits choose between 6, 14, 32 and 64 bits, or a special string.
enum RDBLength {
    static let thirtyTwoBits: UInt8 = 0x80
    static let sixtyFourBits: UInt8 = 0x81
    /// The two high bits that announce a specially encoded string.
    static let special: UInt8 = 0xC0
    static let int8: UInt8 = 0xC0
    static let int16: UInt8 = 0xC1
    static let int32: UInt8 = 0xC2
    static let compressed: UInt8 = 0xC3
    /// The most bytes that a length takes.
    static let widest = 9

    /// Writes `length` at `out` (nine bytes of room); returns the bytes taken.
    @inline(__always)
    static func write(_ length: UInt64, to out: UnsafeMutablePointer<UInt8>) -> Int {
        if length < 1 << 6 {
            out[0] = UInt8(truncatingIfNeeded: length)
            return 1
        }
        if length < 1 << 14 {
            out[0] = 0x40 | UInt8(truncatingIfNeeded: length &>> 8)
            out[1] = UInt8(truncatingIfNeeded: length)
            return 2
        }
        let raw = UnsafeMutableRawPointer(out)
        if length <= UInt64(UInt32.max) {
            out[0] = thirtyTwoBits
            raw.storeBytes(
                of: UInt32(truncatingIfNeeded: length).bigEndian, toByteOffset: 1, as: UInt32.self)
            return 5
        }
        out[0] = sixtyFourBits
        raw.storeBytes(of: length.bigEndian, toByteOffset: 1, as: UInt64.self)
        return 9
    }

    /// Writes `value` as a special string at `out` (five bytes of room); 0 when it needs more than
    /// 32 bits and must be written as text.
    @inline(__always)
    static func writeInteger(_ value: Int64, to out: UnsafeMutablePointer<UInt8>) -> Int {
        let raw = UnsafeMutableRawPointer(out)
        if let small = Int8(exactly: value) {
            out[0] = int8
            out[1] = UInt8(bitPattern: small)
            return 2
        }
        if let small = Int16(exactly: value) {
            out[0] = int16
            raw.storeBytes(of: small.littleEndian, toByteOffset: 1, as: Int16.self)
            return 3
        }
        if let small = Int32(exactly: value) {
            out[0] = int32
            raw.storeBytes(of: small.littleEndian, toByteOffset: 1, as: Int32.self)
            return 5
        }
        return 0
    }
}
