// The payload of DUMP, RESTORE and MIGRATE: type code, value as in an RDB file, then a footer of
// two bytes of version and eight of checksum, both little-endian. Payloads of redis-server up to
// 7.4 are read, and ours are read by 7.0. What a client sends is hostile until proven otherwise:
// the checksum is no secret, so every length is checked as if there were none.
import Base

public enum DumpError: Error, Sendable, Equatable {
    /// Newer than ours, too short, or not what was dumped.
    case versionOrChecksum
    case badFormat(RDBError.Reason)
    /// The value is fine, but of a type that is not supported.
    case unsupportedType(name: String)

    /// The line for the client; the first two are the reference's.
    public var reply: String {
        switch self {
        case .versionOrChecksum: "ERR DUMP payload version or checksum are wrong"
        case .badFormat: "ERR Bad data format"
        case .unsupportedType(let name): "ERR Bad data format: no support for type \(name)"
        }
    }
}

enum DumpFooter {
    static let size = 10

    /// Ends the payload that starts at `mark`.
    static func append(to out: inout Buffer, from mark: Int) {
        let version = out.reserve(2)
        version[0] = UInt8(truncatingIfNeeded: RDBFormat.version)
        version[1] = 0
        out.wrote(2)
        let checksum = crc64(0, out.bytes[mark..<out.count])
        UnsafeMutableRawPointer(out.reserve(8))
            .storeBytes(of: checksum.littleEndian, as: UInt64.self)
        out.wrote(8)
    }

    /// The payload without its footer; nil when version or checksum are wrong.
    static func verified(_ payload: Bytes, verifiesChecksum: Bool) -> Bytes? {
        guard payload.count >= size else { return nil }
        let body = payload.count - size
        let version = Int(payload[body]) | (Int(payload[body + 1]) &<< 8)
        guard version <= RDBFormat.readableVersions.upperBound else { return nil }
        if verifiesChecksum {
            let stored = UnsafeRawPointer(payload.base + body + 2)
                .loadUnaligned(as: UInt64.self)
            guard crc64(0, payload[0..<(body + 2)]) == UInt64(littleEndian: stored) else {
                return nil
            }
        }
        return payload[0..<body]
    }
}

/// Writes payloads.
public struct DumpWriter: ~Copyable {
    private var strings: RDBStringEncoder

    /// `compresses`: rdbcompression.
    public init(compresses: Bool = true) { strings = RDBStringEncoder(compresses: compresses) }

    public mutating func append(_ value: Bytes, to out: inout Buffer) {
        let mark = out.count
        out.append(RDBType.string)
        strings.append(value, to: &out)
        DumpFooter.append(to: &out, from: mark)
    }

    public mutating func append(_ value: Int64, to out: inout Buffer) {
        let mark = out.count
        out.append(RDBType.string)
        strings.append(value, to: &out)
        DumpFooter.append(to: &out, from: mark)
    }

    /// A value whose parts `body` writes.
    public mutating func append(
        type: UInt8, to out: inout Buffer, _ body: (ObjectWriter) -> Void
    ) {
        invariant(RDBType.name(type) != nil, "an undefined type code")
        let mark = out.count
        out.append(type)
        withUnsafeMutablePointer(to: &out) { out in
            withUnsafeMutablePointer(to: &strings) { body(ObjectWriter(out: out, strings: $0)) }
        }
        DumpFooter.append(to: &out, from: mark)
    }

    /// A value of any type, serialised already (as `RDBWriter`'s parts would).
    public mutating func append(type: UInt8, serialized: Bytes, to out: inout Buffer) {
        invariant(RDBType.name(type) != nil, "an undefined type code")
        let mark = out.count
        out.append(type)
        out.append(serialized)
        DumpFooter.append(to: &out, from: mark)
    }
}

/// Reads payloads. The value that `open` returns is valid until the next call, and no longer than
/// the payload.
public struct DumpReader: ~Copyable {
    private let decoders: ObjectDecoders
    private let largestString: Int
    private var scratch = Buffer()

    public init(decoders: ObjectDecoders = ObjectDecoders(), largestString: Int = 512 << 20) {
        self.decoders = decoders
        self.largestString = largestString
    }

    /// The type and the value in `payload`.
    public mutating func open(
        _ payload: Bytes, verifiesChecksum: Bool = true
    ) throws(DumpError) -> (type: UInt8, value: RDBValue) {
        guard let body = DumpFooter.verified(payload, verifiesChecksum: verifiesChecksum) else {
            throw .versionOrChecksum
        }
        do {
            return try decode(body)
        } catch {
            if case .unsupportedType(_, let name, _) = error.reason {
                throw .unsupportedType(name: name)
            }
            throw .badFormat(error.reason)
        }
    }

    private mutating func decode(
        _ body: Bytes
    ) throws(RDBError) -> (type: UInt8, value: RDBValue) {
        var cursor = RDBCursor(body, largestString: largestString)
        guard let type = cursor.byte() else { throw RDBError(.truncated) }
        guard let name = RDBType.name(type) else { throw RDBError(.unknownOpcode(type)) }
        guard let decoder = decoders[type] else {
            throw RDBError(.unsupportedType(code: type, name: name, key: ""))
        }
        let start = cursor.position
        let value: RDBValue
        if type == RDBType.string {
            guard let string = try cursor.string() else { throw RDBError(.truncated) }
            if case .integer(let number) = string {
                value = .integer(number)
            } else {
                value = .bytes(try cursor.text(of: string, scratch: &scratch))
            }
        } else {
            var scan = RDBValueScan(at: start)
            guard let end = try scan.end(of: decoder.layout, cursor) else {
                throw RDBError(.truncated)
            }
            cursor.position = end
            value = .payload(body[start..<end])
        }
        // A value that ends early is as damaged as one that ends late.
        guard cursor.left == 0 else { throw RDBError(.damagedLength) }
        return (type, value)
    }
}
