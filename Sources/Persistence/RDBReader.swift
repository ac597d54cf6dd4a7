// Reads an RDB stream as it arrives: feed bytes in any pieces, take items until there are none.
// Only the unfinished item is kept, never the file; the checksum runs along. Versions 1 to 11 are
// read; what we cannot represent is an error that names it, never a key silently dropped.
//
//     reader.feed(bytes)
//     while let item = try reader.next() { … }
//
// The views in an item are valid until the next call of `feed` or `next`.
import Base

public enum RDBValue {
    case bytes(Bytes)
    case integer(Int64)
    /// The serialised value of a type other than string, for whoever registered its decoder.
    case payload(Bytes)
}

public struct RDBEntry {
    public var type: UInt8
    public var key: Bytes
    public var value: RDBValue
    public var attributes: RDBAttributes
}

public enum RDBChecksum: Sendable, Equatable {
    case verified
    /// The file was written without a checksum: nothing could be verified.
    case disabledByWriter
    /// Versions before 5 have none.
    case absent
    /// The reader was told not to verify.
    case skipped
}

public enum RDBItem {
    case auxiliary(name: Bytes, value: Bytes)
    case selectDatabase(Int)
    /// Hints: how many keys the database holds, and how many of them expire.
    case resize(keys: UInt64, expires: UInt64)
    case entry(RDBEntry)
    /// The source of a library of functions (only when the reader accepts them).
    case functionLibrary(Bytes)
    case end(RDBChecksum)
}

public struct RDBReader: ~Copyable {
    public struct Limits: Sendable {
        /// The largest string (proto-max-bulk-len).
        public var largestString: Int
        /// Databases that exist.
        public var databases: Int

        public init(largestString: Int = 512 << 20, databases: Int = 16) {
            self.largestString = largestString
            self.databases = databases
        }
    }

    private enum Stage {
        case magic
        case items
        case trailer
        case ended
    }

    private let limits: Limits
    private let verifies: Bool
    private let acceptsFunctions: Bool
    private let decoders: ObjectDecoders

    private var stage = Stage.magic
    private var failure: RDBError?
    private var input = Buffer()
    private var keyScratch = Buffer()
    private var valueScratch = Buffer()
    /// Bytes at the front of `input` that the latest item used.
    private var pending = 0
    private var checksum: UInt64 = 0
    private var attributes = RDBAttributes.none
    /// The search for the end of the value at the front of `input`.
    private var scan: RDBValueScan?

    /// The version in the header; 0 before it was read.
    public private(set) var version = 0
    /// Bytes of the items taken so far.
    public private(set) var consumed = 0

    public init(
        decoders: ObjectDecoders = ObjectDecoders(),
        limits: Limits = Limits(),
        verifiesChecksum: Bool = true,
        acceptsFunctions: Bool = false
    ) {
        self.decoders = decoders
        self.limits = limits
        verifies = verifiesChecksum
        self.acceptsFunctions = acceptsFunctions
    }

    /// The end was reached.
    public var isComplete: Bool { stage == .ended }

    /// What was fed behind the end: the commands that follow an RDB preamble in an AOF.
    public var rest: Bytes {
        invariant(stage == .ended, "the rest begins behind the end")
        return input.bytes[pending..<input.count]
    }

    /// Bytes of the unfinished item.
    public var buffered: Int { input.count - pending }

    /// Takes a piece of the stream.
    public mutating func feed(_ bytes: Bytes) {
        releaseItem()
        input.append(bytes)
    }

    /// The next complete item; nil when more must be fed, or at the end. After an error the same
    /// error again.
    public mutating func next() throws(RDBError) -> RDBItem? {
        if let failure { throw failure }
        releaseItem()
        do {
            return try parse()
        } catch {
            let placed = RDBError(error.reason, at: consumed)
            failure = placed
            throw placed
        }
    }

    /// The input is over: an error when that is too early.
    public func finish() throws(RDBError) {
        if let failure { throw failure }
        if stage != .ended { throw RDBError(.truncated, at: consumed + buffered) }
    }

    // MARK: Frame

    private mutating func parse() throws(RDBError) -> RDBItem? {
        switch stage {
        case .magic:
            guard try readMagic() else { return nil }
            return try readItems()
        case .items: return try readItems()
        case .trailer: return try readTrailer()
        case .ended: return nil
        }
    }

    private mutating func readMagic() throws(RDBError) -> Bool {
        let bytes = input.bytes
        let word = Bytes("REDIS")
        let known = min(bytes.count, word.count)
        guard bytes[0..<known] == word[0..<known] else { throw RDBError(.notAnRDB) }
        guard bytes.count >= 9 else { return false }
        var number = 0
        for index in 5..<9 {
            let digit = bytes[index] &- 48
            guard digit < 10 else { throw RDBError(.notAnRDB) }
            number = number * 10 + Int(digit)
        }
        guard RDBFormat.readableVersions.contains(number) else {
            throw RDBError(.unsupportedVersion(number))
        }
        version = number
        take(9)
        stage = .items
        return true
    }

    private mutating func readTrailer() throws(RDBError) -> RDBItem? {
        invariant(attributes == .none, "attributes without a key")
        guard version >= 5 else {
            stage = .ended
            return .end(.absent)
        }
        var cursor = self.cursor
        let expected = checksum
        guard let found = cursor.word64() else { return nil }
        take(8)
        stage = .ended
        if !verifies { return .end(.skipped) }
        if found == 0 { return .end(.disabledByWriter) }
        guard found == expected else {
            throw RDBError(.checksumMismatch(expected: expected, found: found))
        }
        return .end(.verified)
    }

    private mutating func readItems() throws(RDBError) -> RDBItem? {
        while true {
            var cursor = self.cursor
            guard let code = cursor.byte() else { return nil }
            switch code {
            case RDBOpcode.expireSeconds, RDBOpcode.expireMilliseconds, RDBOpcode.idle,
                RDBOpcode.frequency:
                guard try readAttribute(code, &cursor) else { return nil }
                take(cursor.position)
            case RDBOpcode.selectDatabase:
                guard let index = try cursor.length() else { return nil }
                guard index < UInt64(limits.databases) else {
                    throw RDBError(.invalidDatabase(index))
                }
                pending = cursor.position
                return .selectDatabase(Int(index))
            case RDBOpcode.resize:
                guard let keys = try cursor.length(), let expires = try cursor.length() else {
                    return nil
                }
                pending = cursor.position
                return .resize(keys: keys, expires: expires)
            case RDBOpcode.auxiliary: return try readAuxiliary(&cursor)
            case RDBOpcode.functionLibrary, RDBOpcode.functionLibraryPreview:
                return try readFunctions(code, &cursor)
            case RDBOpcode.moduleAuxiliary:
                guard let id = try cursor.length() else { return nil }
                throw RDBError(.moduleData(name: moduleName(id)))
            case RDBOpcode.end:
                take(1)
                attributes = .none
                stage = .trailer
                return try readTrailer()
            default: return try readEntry(code, &cursor)
            }
        }
    }

    // MARK: Items

    private mutating func readAttribute(
        _ code: UInt8, _ cursor: inout RDBCursor
    ) throws(RDBError) -> Bool {
        switch code {
        case RDBOpcode.expireSeconds:
            guard let seconds = cursor.word32() else { return false }
            attributes.expireAt = Int64(Int32(bitPattern: seconds)) * 1000
        case RDBOpcode.expireMilliseconds:
            guard let word = cursor.word64() else { return false }
            attributes.expireAt = Int64(bitPattern: word)
        case RDBOpcode.idle:
            guard let seconds = try cursor.length() else { return false }
            attributes.idleSeconds = Int64(clamping: seconds)
        default:
            guard let counter = cursor.byte() else { return false }
            attributes.frequency = Int(counter)
        }
        guard attributes.expireAt >= -1 else {
            throw RDBError(.invalidExpiry(attributes.expireAt))
        }
        return true
    }

    private mutating func readAuxiliary(
        _ cursor: inout RDBCursor
    ) throws(RDBError) -> RDBItem? {
        guard let name = try cursor.string(), let value = try cursor.string() else { return nil }
        pending = cursor.position
        return .auxiliary(
            name: try cursor.text(of: name, scratch: &keyScratch),
            value: try cursor.text(of: value, scratch: &valueScratch))
    }

    private mutating func readFunctions(
        _ code: UInt8, _ cursor: inout RDBCursor
    ) throws(RDBError) -> RDBItem? {
        guard code == RDBOpcode.functionLibrary else {
            throw RDBError(.functionLibrary(name: "of a preview version"))
        }
        guard let source = try cursor.string() else { return nil }
        let text = try cursor.text(of: source, scratch: &valueScratch)
        guard acceptsFunctions else {
            throw RDBError(.functionLibrary(name: libraryName(text)))
        }
        pending = cursor.position
        return .functionLibrary(text)
    }

    private mutating func readEntry(
        _ type: UInt8, _ cursor: inout RDBCursor
    ) throws(RDBError) -> RDBItem? {
        guard let typeName = RDBType.name(type) else { throw RDBError(.unknownOpcode(type)) }
        guard let keyString = try cursor.string() else { return nil }
        let key = try cursor.text(of: keyString, scratch: &keyScratch)
        guard let decoder = decoders[type] else {
            throw RDBError(.unsupportedType(code: type, name: typeName, key: key.string))
        }
        let value: RDBValue
        if type == RDBType.string {
            guard let string = try cursor.string() else { return nil }
            if case .integer(let number) = string {
                value = .integer(number)
            } else {
                value = .bytes(try cursor.text(of: string, scratch: &valueScratch))
            }
        } else {
            guard let payload = try readPayload(decoder, &cursor) else { return nil }
            value = .payload(payload)
        }
        pending = cursor.position
        let entry = RDBEntry(type: type, key: key, value: value, attributes: attributes)
        attributes = .none
        return .entry(entry)
    }

    private mutating func readPayload(
        _ decoder: ObjectDecoder, _ cursor: inout RDBCursor
    ) throws(RDBError) -> Bytes? {
        let start = cursor.position
        var search = scan ?? RDBValueScan(at: start)
        let end = try search.end(of: decoder.layout, cursor)
        scan = search
        guard let end else { return nil }
        scan = nil
        cursor.position = end
        return cursor.bytes[start..<end]
    }

    // MARK: Helpers

    private var cursor: RDBCursor {
        RDBCursor(input.bytes, largestString: limits.largestString)
    }

    /// Gives back what the latest item used.
    @inline(__always)
    private mutating func releaseItem() {
        guard pending > 0 else { return }
        let count = pending
        pending = 0
        take(count)
    }

    @inline(__always)
    private mutating func take(_ count: Int) {
        if verifies, stage == .items || stage == .magic {
            checksum = crc64(checksum, input.bytes[0..<count])
        }
        input.consume(count)
        consumed &+= count
        if input.isEmpty { input.shrink(above: 1 << 20) }
    }

    /// The name in the first line of a library: `#!lua name=<name>`.
    private func libraryName(_ source: Bytes) -> String {
        let line = source[0..<min(source.count, 256)].string.prefix { !$0.isNewline }
        let word = line.split(separator: " ").first { $0.hasPrefix("name=") }
        return word.map { String($0.dropFirst("name=".count)) } ?? "unnamed"
    }
}

/// The nine characters in a module's 64-bit ID.
func moduleName(_ id: UInt64) -> String {
    let alphabet = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    var rest = id &>> 10
    var name: [UInt8] = []
    for _ in 0..<9 {
        name.append(alphabet[Int(rest & 63)])
        rest &>>= 6
    }
    return String(decoding: name.reversed(), as: UTF8.self)
}
