// One key and its value in one block: an 8-byte header, then only what the entry needs. Small
// values live in the block itself, integers and pointers to larger values in a word of it:
//
//     u64 header · [Int64 expiry in ms] · [u64 payload] · [u32 key length] · key · [small value]
//
// The payload is there unless the value is embedded; the key length word only for keys above 255
// bytes. The small value is a string's bytes, or a small list or hash at rest: such a value is
// inline, and whoever reads it need not know (`Keyspace+Inline.swift`). Offsets are computed from
// header bits without branches. The header also holds the access clock (LRU time, or LFU minutes
// and counter, as the reference packs them), the snapshot epoch, and where the entry stands in its
// page of the expiry index. `Entry` is a borrowed handle: it is valid until the next change to its
// keyspace.
import Base

/// What kind of value a key holds; the numbers are the reference's.
public struct ValueType: RawRepresentable, Equatable, Sendable {
    public let rawValue: UInt8
    @inline(__always)
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let string = ValueType(rawValue: 0)
    public static let list = ValueType(rawValue: 1)
    public static let set = ValueType(rawValue: 2)
    public static let sortedSet = ValueType(rawValue: 3)
    public static let hash = ValueType(rawValue: 4)
    public static let module = ValueType(rawValue: 5)
    public static let stream = ValueType(rawValue: 6)
    /// Numbers below this fit the header.
    public static let limit = 16
}

/// How a value is stored. All but `embedded` keep a word of payload in the block.
public struct Encoding: RawRepresentable, Equatable, Sendable {
    public let rawValue: UInt8
    @inline(__always)
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Behind the key: the bytes of a string, the listpack of a list, a `ShapedHash`.
    public static let embedded = Encoding(rawValue: 0)
    /// A string that is the decimal form of the payload.
    public static let integer = Encoding(rawValue: 1)
    /// A string in its own block (`RawString`).
    public static let raw = Encoding(rawValue: 2)
    public static let listpack = Encoding(rawValue: 3)
    public static let intset = Encoding(rawValue: 4)
    public static let hashTable = Encoding(rawValue: 5)
    public static let quickList = Encoding(rawValue: 6)
    public static let skipList = Encoding(rawValue: 7)
    public static let stream = Encoding(rawValue: 8)
    /// A small hash that shares its field names with others (`ShapedHash`).
    public static let shaped = Encoding(rawValue: 9)
    /// What is left of an inline hash without its block: its share in the names. No entry says so.
    static let shape = Encoding(rawValue: 10)
    /// The first of those that modules may use as they like.
    public static let firstFree = Encoding(rawValue: 11)
}

/// The fields of the header word.
enum Header {
    static let encodingShift: UInt64 = 4
    static let hasExpiry: UInt64 = 1 &<< 8
    static let hasLongKey: UInt64 = 1 &<< 9
    static let epochShift: UInt64 = 10
    static let isReportedRaw: UInt64 = 1 &<< 12
    static let valueLengthShift: UInt64 = 13
    static let keyLengthShift: UInt64 = 23
    static let clockShift: UInt64 = 31
    static let positionShift: UInt64 = 55

    static let epochMask: UInt64 = 3 &<< epochShift
    static let valueLengthMask: UInt64 = 0x3FF &<< valueLengthShift
    static let keyLengthMask: UInt64 = 0xFF &<< keyLengthShift
    static let clockMask: UInt64 = 0xFF_FFFF &<< clockShift
    static let positionMask: UInt64 = 0x1FF &<< positionShift
    static let typeMask: UInt64 = 0xF
    static let encodingMask: UInt64 = 0xF &<< encodingShift
}

public struct Entry: Equatable {
    /// The block. Stable until the entry is changed, moved or removed.
    public let base: UnsafeMutableRawPointer

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    /// Values up to this length can be embedded; longer ones have a block of their own.
    static let embeddedLimit = 1000
    /// Entry blocks with an embedded value are at most this large.
    static let embeddedBlockLimit = SlabAllocator.largestBlock

    @inline(__always)
    var header: UInt64 {
        get { base.load(as: UInt64.self) }
        nonmutating set { base.storeBytes(of: newValue, as: UInt64.self) }
    }

    // MARK: What it is

    @inline(__always)
    public var type: ValueType {
        ValueType(rawValue: UInt8(truncatingIfNeeded: header & Header.typeMask))
    }

    /// The encoding bits as they are: where the value is, and who owns its memory.
    @inline(__always)
    public var layout: Encoding {
        Encoding(rawValue: UInt8(truncatingIfNeeded: (header &>> Header.encodingShift) & 0xF))
    }

    /// How the bytes of the value are to be read, wherever they are.
    @inline(__always)
    public var encoding: Encoding { isInline ? inlineEncoding : layout }

    /// The form in which a list or hash may be inline.
    @inline(__always)
    var inlineEncoding: Encoding { type == .hash ? .shaped : .listpack }

    /// True for a list or hash that is behind the key, in the block itself. It is only read there
    /// (`Keyspace.takeOut`).
    @inline(__always)
    public var isInline: Bool {
        // No encoding, and a type: a number from 1 to 15.
        header & (Header.typeMask | Header.encodingMask) &- 1 < Header.typeMask
    }

    @inline(__always)
    public var isString: Bool { header & Header.typeMask == 0 }

    /// True when a string was changed in place since it was set: OBJECT ENCODING then says `raw`.
    public var isReportedRaw: Bool { header & Header.isReportedRaw != 0 }

    // MARK: Layout

    /// 8 when there is an expiry, else 0.
    @inline(__always)
    private static func expirySize(_ header: UInt64) -> Int {
        Int(truncatingIfNeeded: (header &>> 5) & 8)
    }

    /// 8 when there is a payload word (the encoding is not zero), else 0.
    @inline(__always)
    private static func payloadSize(_ header: UInt64) -> Int {
        let encoding: UInt64 = (header &>> Header.encodingShift) & 0xF
        return Int(truncatingIfNeeded: ((encoding &+ 15) &>> 4) &<< 3)
    }

    /// 4 when the key length stands before the key, else 0.
    @inline(__always)
    private static func keyWordSize(_ header: UInt64) -> Int {
        Int(truncatingIfNeeded: (header &>> 7) & 4)
    }

    @inline(__always)
    private static func payloadOffset(_ header: UInt64) -> Int { 8 &+ expirySize(header) }

    @inline(__always)
    private static func keyOffset(_ header: UInt64) -> Int {
        8 &+ expirySize(header) &+ payloadSize(header) &+ keyWordSize(header)
    }

    @inline(__always)
    private func keyLength(_ header: UInt64) -> Int {
        if _slowPath(header & Header.hasLongKey != 0) {
            let offset = Entry.keyOffset(header) &- 4
            return Int(base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        return Int(truncatingIfNeeded: (header & Header.keyLengthMask) &>> Header.keyLengthShift)
    }

    @inline(__always)
    private static func embeddedLength(_ header: UInt64) -> Int {
        Int(truncatingIfNeeded: (header & Header.valueLengthMask) &>> Header.valueLengthShift)
    }

    /// The size that the block was allocated with, up to rounding.
    @inline(__always)
    public var allocationSize: Int {
        let header = self.header
        return Entry.keyOffset(header) &+ keyLength(header) &+ Entry.embeddedLength(header)
    }

    /// What a block for such an entry takes.
    @inline(__always)
    static func size(keyLength: Int, hasExpiry: Bool, hasPayload: Bool, embedded: Int) -> Int {
        let fixed = 8 &+ (hasExpiry ? 8 : 0) &+ (hasPayload ? 8 : 0) &+ (keyLength > 255 ? 4 : 0)
        return fixed &+ keyLength &+ embedded
    }

    // MARK: Key

    @inline(__always)
    public var key: Bytes {
        let header = self.header
        let start = base + Entry.keyOffset(header)
        return Bytes(start.assumingMemoryBound(to: UInt8.self), keyLength(header))
    }

    /// True when the key is `other`; short keys are compared in overlapping loads.
    @inline(__always)
    public func hasKey(_ other: Bytes) -> Bool {
        let header = self.header
        let length = keyLength(header)
        guard length == other.count else { return false }
        let mine = UnsafeRawPointer(base + Entry.keyOffset(header))
        let theirs = UnsafeRawPointer(other.base)
        if length >= 8, length <= 24 {
            // Word by word: the first, the second if there is one, and the last eight bytes.
            @inline(__always)
            func difference(_ offset: Int) -> UInt64 {
                mine.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    ^ theirs.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            }
            let ends = difference(0) | difference(length &- 8)
            return length <= 16 ? ends == 0 : (ends | difference(8)) == 0
        }
        return bytesAreEqual(mine, theirs, count: length)
    }

    // MARK: Expiry

    @inline(__always)
    public var hasExpiry: Bool { header & Header.hasExpiry != 0 }

    /// When the key expires, in milliseconds since 1970; only with `hasExpiry`.
    @inline(__always)
    public var expiresAt: Int64 {
        invariant(hasExpiry, "the key does not expire")
        return base.load(fromByteOffset: 8, as: Int64.self)
    }

    /// When the key expires, or nil.
    @inline(__always)
    public var expiry: Int64? {
        hasExpiry ? base.load(fromByteOffset: 8, as: Int64.self) : nil
    }

    /// True when the key's time is over at `now`, as the reference compares.
    @inline(__always)
    public func isExpired(now: Int64) -> Bool {
        hasExpiry && now > base.load(fromByteOffset: 8, as: Int64.self)
    }

    @inline(__always)
    func storeExpiry(_ time: Int64) {
        invariant(hasExpiry, "the block has no room for an expiry")
        base.storeBytes(of: time, toByteOffset: 8, as: Int64.self)
    }

    /// Where the entry stands in its page of the expiry index.
    @inline(__always)
    var indexPosition: Int {
        get { Int(truncatingIfNeeded: header &>> Header.positionShift) }
        nonmutating set {
            let bits: UInt64 = UInt64(truncatingIfNeeded: newValue) &<< Header.positionShift
            header = (header & ~Header.positionMask) | bits
        }
    }

    // MARK: Snapshot epoch and access clock

    @inline(__always)
    var epoch: UInt8 {
        get { UInt8(truncatingIfNeeded: (header & Header.epochMask) &>> Header.epochShift) }
        nonmutating set {
            let bits: UInt64 = UInt64(newValue) &<< Header.epochShift
            header = (header & ~Header.epochMask) | bits
        }
    }

    /// The 24 bits of LRU time, or of LFU minutes and counter.
    @inline(__always)
    public var accessClock: UInt32 {
        get { UInt32(truncatingIfNeeded: (header & Header.clockMask) &>> Header.clockShift) }
        nonmutating set {
            let bits: UInt64 = UInt64(newValue & 0xFF_FFFF) &<< Header.clockShift
            header = (header & ~Header.clockMask) | bits
        }
    }

    // MARK: Value

    /// The word of a value that is not embedded: an integer, or the address of the value.
    @inline(__always)
    public var payloadWord: UInt64 {
        get {
            invariant(layout != .embedded, "an embedded value has no payload")
            return base.load(fromByteOffset: Entry.payloadOffset(header), as: UInt64.self)
        }
        nonmutating set {
            invariant(layout != .embedded, "an embedded value has no payload")
            base.storeBytes(
                of: newValue,
                toByteOffset: Entry.payloadOffset(header),
                as: UInt64.self
            )
        }
    }

    /// The address of a value in memory of its own, or of an inline one, which must not change.
    @inline(__always)
    public var payload: UnsafeMutableRawPointer {
        if layout == .embedded {
            invariant(!isString, "an embedded string has no payload")
            return UnsafeMutableRawPointer(embeddedStart)
        }
        let word = UInt(truncatingIfNeeded: payloadWord)
        guard let pointer = UnsafeMutableRawPointer(bitPattern: word) else {
            unreachable("a value lost its payload")
        }
        return pointer
    }

    /// The address of a value that has memory of its own; nil when it is in the block.
    @inline(__always)
    var separateValue: UnsafeRawPointer? {
        guard layout.rawValue > Encoding.integer.rawValue else { return nil }
        return UnsafeRawPointer(payload)
    }

    /// The value of a string that is stored as an integer.
    @inline(__always)
    public var integer: Int64? {
        guard header & (Header.typeMask | Header.encodingMask) == 1 &<< Header.encodingShift
        else { return nil }
        return Int64(bitPattern: payloadWord)
    }

    /// The bytes of a string that is stored as bytes, embedded or raw; nil for an integer.
    @inline(__always)
    public var storedBytes: Bytes? {
        invariant(isString, "only strings have bytes")
        switch layout {
        case .embedded: return embeddedBytes
        case .raw:
            return RawString(payload).bytes
        default:
            return nil
        }
    }

    /// What is behind the key: the bytes of a string, or of an inline list or hash.
    @inline(__always)
    var embeddedBytes: Bytes { Bytes(embeddedStart, Entry.embeddedLength(header)) }

    /// The bytes of a string in any form; an integer is written to `scratch` (21 bytes of room).
    @inline(__always)
    public func bytes(scratch: UnsafeMutablePointer<UInt8>) -> Bytes {
        if let bytes = storedBytes { return bytes }
        let length = writeDecimal(Int64(bitPattern: payloadWord), to: scratch)
        return Bytes(scratch, length)
    }

    /// The length of a string in bytes, also of one that is stored as an integer.
    public var stringLength: Int {
        if let bytes = storedBytes { return bytes.count }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 21) { room in
            guard let start = room.baseAddress else { return 0 }
            return writeDecimal(Int64(bitPattern: payloadWord), to: start)
        }
    }
}

extension Entry {
    /// Writes header and key of a fresh block; value, payload and expiry follow.
    @inline(__always)
    static func write(
        at base: UnsafeMutableRawPointer,
        key: Bytes,
        type: ValueType,
        encoding: Encoding,
        flags: UInt64,
        clock: UInt32,
        embedded: Int
    ) -> Entry {
        invariant(embedded >= 0 && embedded <= Entry.embeddedLimit, "too long to embed")
        invariant(key.count < 1 << 32, "the key is too long")
        var header: UInt64 = UInt64(type.rawValue)
        header |= UInt64(encoding.rawValue) &<< Header.encodingShift
        header |= flags
        header |= UInt64(truncatingIfNeeded: embedded) &<< Header.valueLengthShift
        header |= UInt64(clock & 0xFF_FFFF) &<< Header.clockShift
        if key.count > 255 {
            header |= Header.hasLongKey
            let offset = Entry.keyOffset(header) &- 4
            base.storeBytes(
                of: UInt32(truncatingIfNeeded: key.count),
                toByteOffset: offset,
                as: UInt32.self
            )
        } else {
            header |= UInt64(truncatingIfNeeded: key.count) &<< Header.keyLengthShift
        }
        let entry = Entry(base)
        entry.header = header
        moveShort(to: base + Entry.keyOffset(header), from: key.base, count: key.count)
        return entry
    }

    /// Changes type and encoding of an entry that has a payload both before and after.
    @inline(__always)
    public func setPayload(_ word: UInt64, type: ValueType, encoding: Encoding) {
        invariant(layout != .embedded && encoding != .embedded, "the block has another form")
        var header = self.header & ~(Header.typeMask | Header.encodingMask | Header.isReportedRaw)
        header |= UInt64(type.rawValue)
        header |= UInt64(encoding.rawValue) &<< Header.encodingShift
        self.header = header
        payloadWord = word
    }

    @inline(__always)
    func setEmbeddedLength(_ length: Int) {
        invariant(layout == .embedded && length <= Entry.embeddedLimit, "not embeddable")
        let bits: UInt64 = UInt64(truncatingIfNeeded: length) &<< Header.valueLengthShift
        header = (header & ~Header.valueLengthMask) | bits
    }

    /// True for a string in its block that has no expiry, when `count` bytes need a block of the
    /// same size: the usual case of overwriting.
    @inline(__always)
    func takes(embedded count: Int) -> Bool {
        let header = self.header
        let form: UInt64 = Header.typeMask | Header.encodingMask | Header.hasExpiry
        guard header & form == 0 else { return false }
        let old = Entry.embeddedLength(header)
        if _fastPath(old == count) { return true }
        guard count <= Entry.embeddedLimit else { return false }
        let size = Entry.keyOffset(header) &+ keyLength(header)
        return Memory.roundedSize(size &+ old) == Memory.roundedSize(size &+ count)
    }

    /// Puts `bytes` in the place of an embedded value; they may be a part of it.
    @inline(__always)
    func replaceEmbedded(_ bytes: Bytes, _ clock: UInt32) {
        invariant(takes(embedded: bytes.count), "the block is too small, or not for bytes")
        let kept: UInt64 = ~(Header.valueLengthMask | Header.clockMask | Header.isReportedRaw)
        var header = self.header & kept
        header |= UInt64(truncatingIfNeeded: bytes.count) &<< Header.valueLengthShift
        header |= UInt64(clock & 0xFF_FFFF) &<< Header.clockShift
        self.header = header
        moveShort(to: embeddedStart, from: bytes.base, count: bytes.count)
    }

    @inline(__always)
    func setFlag(_ flag: UInt64, _ value: Bool) {
        header = value ? header | flag : header & ~flag
    }

    /// Where an embedded value starts.
    @inline(__always)
    var embeddedStart: UnsafeMutablePointer<UInt8> {
        let header = self.header
        let start = base + (Entry.keyOffset(header) &+ keyLength(header))
        return start.assumingMemoryBound(to: UInt8.self)
    }
}
