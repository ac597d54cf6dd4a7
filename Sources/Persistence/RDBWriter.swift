// Writes an RDB stream, version 10, byte-compatible with what redis-server 7.0 loads: header, the
// auxiliary fields that the reference writes, databases, keys with their expiry and their LRU or
// LFU state, end mark and checksum. Everything goes straight into the caller's `Buffer`, which the
// caller may drain after any call; the writer itself remembers only the checksum so far.
//
// The entry points take raw parts, so that this file knows nothing of the keyspace. Types other
// than strings are written with `beginEntry` and then `length`, `string`, `integer` and `double` in
// the order that their format asks for, in as many slices as the caller likes.
import Base

/// What a key carries besides its value. The eviction fields are -1 when the policy has no use for
/// them (the reference writes IDLE under an LRU policy and FREQ under an LFU policy only).
public struct RDBAttributes: Sendable, Equatable {
    /// Milliseconds since 1970, or -1 for a key without expiry.
    public var expireAt: Int64
    /// Seconds since the key was last used, or -1.
    public var idleSeconds: Int64
    /// The logarithmic access counter (0...255), or -1.
    public var frequency: Int

    @inline(__always)
    public init(expireAt: Int64 = -1, idleSeconds: Int64 = -1, frequency: Int = -1) {
        self.expireAt = expireAt
        self.idleSeconds = idleSeconds
        self.frequency = frequency
    }

    public static let none = RDBAttributes()
}

/// The facts for the auxiliary fields at the start of a stream.
public struct RDBInfo: Sendable, Equatable {
    /// Where the replication stream stood when the snapshot was taken.
    public struct ReplicationPoint: Sendable, Equatable {
        /// The database that the stream has selected.
        public var streamDatabase: Int
        public var replicationID: String
        public var offset: Int64

        public init(streamDatabase: Int, replicationID: String, offset: Int64) {
            self.streamDatabase = streamDatabase
            self.replicationID = replicationID
            self.offset = offset
        }
    }

    public var serverVersion: String
    /// Seconds since 1970.
    public var createdAt: Int64
    public var usedMemory: Int64
    public var replication: ReplicationPoint?
    /// True for the base file of an AOF.
    public var isAOFBase: Bool

    public init(
        serverVersion: String,
        createdAt: Int64,
        usedMemory: Int64,
        replication: ReplicationPoint? = nil,
        isAOFBase: Bool = false
    ) {
        self.serverVersion = serverVersion
        self.createdAt = createdAt
        self.usedMemory = usedMemory
        self.replication = replication
        self.isAOFBase = isAOFBase
    }
}

public struct RDBWriter: ~Copyable {
    private let checksums: Bool
    private var checksum: UInt64 = 0
    private var strings: RDBStringEncoder
    /// Bytes written since the header.
    public private(set) var bytesWritten = 0

    /// `compresses`: rdbcompression. `checksums`: rdbchecksum; without it the trailer is 0.
    public init(compresses: Bool = true, checksums: Bool = true) {
        self.checksums = checksums
        strings = RDBStringEncoder(compresses: compresses, samples: true)
    }

    // MARK: The frame

    /// The magic word and the auxiliary fields, in the reference's order.
    public mutating func header(_ info: RDBInfo, into out: inout Buffer) {
        invariant(bytesWritten == 0, "a header comes first")
        let mark = out.count
        out.append("REDIS00")
        out.append(UInt8(48 + RDBFormat.version / 10))
        out.append(UInt8(48 + RDBFormat.version % 10))
        seal(out, from: mark)
        auxiliary("redis-ver", info.serverVersion, into: &out)
        auxiliary("redis-bits", "64", into: &out)
        auxiliary("ctime", String(info.createdAt), into: &out)
        auxiliary("used-mem", String(info.usedMemory), into: &out)
        if let point = info.replication {
            auxiliary("repl-stream-db", String(point.streamDatabase), into: &out)
            auxiliary("repl-id", point.replicationID, into: &out)
            auxiliary("repl-offset", String(point.offset), into: &out)
        }
        auxiliary("aof-base", info.isAOFBase ? "1" : "0", into: &out)
    }

    /// One auxiliary field with bytes that are not worth compressing.
    public mutating func auxiliary(
        _ name: String, uncompressed value: Bytes, into out: inout Buffer
    ) {
        let mark = out.count
        out.append(RDBOpcode.auxiliary)
        name.withBytes { strings.append($0, to: &out) }
        appendLength(value.count, to: &out)
        out.append(value)
        seal(out, from: mark)
    }

    /// One auxiliary field. Loaders ignore the names that they do not know.
    public mutating func auxiliary(_ name: String, _ value: String, into out: inout Buffer) {
        let mark = out.count
        out.append(RDBOpcode.auxiliary)
        name.withBytes { strings.append($0, to: &out) }
        value.withBytes { strings.append($0, to: &out) }
        seal(out, from: mark)
    }

    /// The following keys belong to `database`, which holds about so many; the counts are hints.
    public mutating func selectDatabase(
        _ database: Int, keys: Int, expires: Int, into out: inout Buffer
    ) {
        invariant(database >= 0 && keys >= 0 && expires >= 0, "a negative count")
        let mark = out.count
        out.append(RDBOpcode.selectDatabase)
        appendLength(database, to: &out)
        out.append(RDBOpcode.resize)
        appendLength(keys, to: &out)
        appendLength(expires, to: &out)
        seal(out, from: mark)
    }

    /// The end mark and the checksum; nothing may follow.
    public mutating func end(into out: inout Buffer) {
        let mark = out.count
        out.append(RDBOpcode.end)
        seal(out, from: mark)
        let trailer = checksums ? checksum : 0
        UnsafeMutableRawPointer(out.reserve(8))
            .storeBytes(of: trailer.littleEndian, as: UInt64.self)
        out.wrote(8)
        bytesWritten += 8
    }

    // MARK: Entries

    /// A string key.
    @inline(__always)
    public mutating func entry(
        key: Bytes, value: Bytes, _ attributes: RDBAttributes = .none, into out: inout Buffer
    ) {
        let mark = out.count
        appendPrefix(RDBType.string, key, attributes, to: &out)
        strings.append(value, to: &out)
        seal(out, from: mark)
    }

    /// A string key that holds an integer.
    @inline(__always)
    public mutating func entry(
        key: Bytes, value: Int64, _ attributes: RDBAttributes = .none, into out: inout Buffer
    ) {
        let mark = out.count
        appendPrefix(RDBType.string, key, attributes, to: &out)
        strings.append(value, to: &out)
        seal(out, from: mark)
    }

    /// The start of an entry of any type: attributes, type code and key. The value's parts follow.
    public mutating func beginEntry(
        type: UInt8, key: Bytes, _ attributes: RDBAttributes = .none, into out: inout Buffer
    ) {
        invariant(RDBType.name(type) != nil, "an undefined type code")
        let mark = out.count
        appendPrefix(type, key, attributes, to: &out)
        seal(out, from: mark)
    }

    /// A part of a value: a length or an unsigned number.
    public mutating func length(_ length: Int, into out: inout Buffer) {
        invariant(length >= 0, "a negative length")
        let mark = out.count
        appendLength(length, to: &out)
        seal(out, from: mark)
    }

    /// A part of a value: a string.
    public mutating func string(_ bytes: Bytes, into out: inout Buffer) {
        let mark = out.count
        strings.append(bytes, to: &out)
        seal(out, from: mark)
    }

    /// A part of a value: an integer in a string's place.
    public mutating func integer(_ value: Int64, into out: inout Buffer) {
        let mark = out.count
        strings.append(value, to: &out)
        seal(out, from: mark)
    }

    /// A part of a value: eight bytes of a score.
    public mutating func double(_ value: Double, into out: inout Buffer) {
        let mark = out.count
        UnsafeMutableRawPointer(out.reserve(8))
            .storeBytes(of: value.bitPattern.littleEndian, as: UInt64.self)
        out.wrote(8)
        seal(out, from: mark)
    }

    /// The parts of a value, written by `body`.
    public mutating func object(into out: inout Buffer, _ body: (ObjectWriter) -> Void) {
        let mark = out.count
        withUnsafeMutablePointer(to: &out) { out in
            withUnsafeMutablePointer(to: &strings) { body(ObjectWriter(out: out, strings: $0)) }
        }
        seal(out, from: mark)
    }

    /// Whole entries, or their parts, that another writer made.
    public mutating func splice(_ bytes: Bytes, into out: inout Buffer) {
        let mark = out.count
        out.append(bytes)
        seal(out, from: mark)
    }

    // MARK: Helpers

    @inline(__always)
    private mutating func appendPrefix(
        _ type: UInt8, _ key: Bytes, _ attributes: RDBAttributes, to out: inout Buffer
    ) {
        invariant(attributes.frequency <= 255, "an access counter is one byte")
        let room = out.reserve(32)
        var used = 0
        if attributes.expireAt != -1 {
            room[0] = RDBOpcode.expireMilliseconds
            UnsafeMutableRawPointer(room)
                .storeBytes(
                    of: attributes.expireAt.littleEndian, toByteOffset: 1, as: Int64.self)
            used = 9
        }
        if attributes.idleSeconds >= 0 {
            room[used] = RDBOpcode.idle
            used &+= 1
            used &+= RDBLength.write(UInt64(attributes.idleSeconds), to: room + used)
        }
        if attributes.frequency >= 0 {
            room[used] = RDBOpcode.frequency
            room[used &+ 1] = UInt8(truncatingIfNeeded: attributes.frequency)
            used &+= 2
        }
        room[used] = type
        out.wrote(used &+ 1)
        strings.append(key, to: &out)
    }

    private func appendLength(_ length: Int, to out: inout Buffer) {
        out.wrote(RDBLength.write(UInt64(length), to: out.reserve(RDBLength.widest)))
    }

    /// Takes what was appended since `mark` into the checksum.
    @inline(__always)
    mutating func seal(_ out: borrowing Buffer, from mark: Int) {
        invariant(out.count >= mark, "the buffer was drained inside a part")
        bytesWritten &+= out.count &- mark
        if checksums { checksum = crc64(checksum, out.bytes[mark..<out.count]) }
    }
}

/// Strings in the shortest of the format's forms: an integer of 8, 16 or 32 bits, compressed, or as
/// they are. Used by the writer and by DUMP.
struct RDBStringEncoder: ~Copyable {
    /// The reference's bound: shorter strings are not worth the attempt.
    private static let shortestCompressed = 21

    /// After so many strings in a row that did not compress, only every eighth is tried.
    private static let patience = 16

    private let compresses: Bool
    private let samples: Bool
    private var compressor = LZFCompressor()
    /// Strings in a row that did not compress, or were not tried.
    private var fruitless = 0

    /// `samples`: long runs of incompressible strings, such as compressed or encrypted ones, are
    /// mostly not tried. What a string becomes then depends on those before it.
    init(compresses: Bool, samples: Bool = false) {
        self.compresses = compresses
        self.samples = samples
    }

    @inline(__always)
    mutating func append(_ bytes: Bytes, to out: inout Buffer) {
        if bytes.count <= 11, let value = bytes.decimal {
            let used = RDBLength.writeInteger(value, to: out.reserve(5))
            if used > 0 {
                out.wrote(used)
                return
            }
        }
        if compresses, bytes.count >= Self.shortestCompressed, appendCompressed(bytes, to: &out) {
            return
        }
        let room = out.reserve(RDBLength.widest &+ bytes.count)
        let head = RDBLength.write(UInt64(bytes.count), to: room)
        (room + head).update(from: bytes.base, count: bytes.count)
        out.wrote(head &+ bytes.count)
    }

    @inline(__always)
    mutating func append(_ value: Int64, to out: inout Buffer) {
        let room = out.reserve(1 + 20)
        var used = RDBLength.writeInteger(value, to: room)
        if used == 0 {
            used = 1 &+ writeDecimal(value, to: room + 1)
            room[0] = UInt8(truncatingIfNeeded: used &- 1)
        }
        out.wrote(used)
    }

    /// False, with nothing written, when compression would not save at least four bytes.
    private mutating func appendCompressed(_ bytes: Bytes, to out: inout Buffer) -> Bool {
        fruitless &+= 1
        if samples, fruitless > Self.patience, fruitless & 7 != 0 { return false }
        let widestHead = 1 + 2 * RDBLength.widest
        let room = out.reserve(widestHead + bytes.count)
        let data = room + widestHead
        let size = compressor.compress(bytes, to: data, room: bytes.count - 4)
        guard size > 0 else { return false }
        fruitless = 0
        room[0] = RDBLength.compressed
        var head = 1
        head += RDBLength.write(UInt64(size), to: room + head)
        head += RDBLength.write(UInt64(bytes.count), to: room + head)
        (room + head).update(from: data, count: size)
        out.wrote(head + size)
        return true
    }
}
