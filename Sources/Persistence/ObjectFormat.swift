// How values of one type are written to and read from RDB, for files, full synchronisation, DUMP
// and RESTORE alike: there is one serialiser, and it cannot tell which of them it serves. The
// registry of the engine collects the formats of all types.
import Base
import Storage

/// A value that was read, not yet under a key.
public struct LoadedObject {
    public let encoding: Encoding
    public let payload: UnsafeMutableRawPointer

    public init(_ encoding: Encoding, _ payload: UnsafeMutableRawPointer) {
        self.encoding = encoding
        self.payload = payload
    }
}

/// What came of reading a value. In all cases but the first nothing is left to free.
public enum LoadOutcome {
    case loaded(LoadedObject)
    /// A collection without elements: skipped in a file, refused in a payload.
    case empty
    case damaged
}

public struct ObjectFormat: Sendable {
    /// The type codes that `load` takes, each with its layout.
    public let decoders: [ObjectDecoder]
    /// The code that a value is written with.
    public let code: @Sendable (UnsafeMutableRawPointer, Encoding) -> UInt8
    /// Writes a value, without code and key.
    public let save: @Sendable (UnsafeMutableRawPointer, Encoding, ObjectWriter) -> Void
    /// Reads a value of a code. Whatever the bytes are, it must neither crash nor leak.
    public let load: @Sendable (UInt8, inout ObjectReader) -> LoadOutcome
    /// Writes a large value in pieces, for snapshots; nil for a type whose values are not walked.
    public let pieces: ObjectPieces?
    /// Writes the commands that build a value; nil: it becomes RESTORE with a payload.
    public let rewrite: (@Sendable (UnsafeMutableRawPointer, Encoding, CommandSink) -> Void)?

    public init(
        decoders: [ObjectDecoder],
        code: @escaping @Sendable (UnsafeMutableRawPointer, Encoding) -> UInt8,
        save: @escaping @Sendable (UnsafeMutableRawPointer, Encoding, ObjectWriter) -> Void,
        load: @escaping @Sendable (UInt8, inout ObjectReader) -> LoadOutcome,
        pieces: ObjectPieces? = nil,
        rewrite: (@Sendable (UnsafeMutableRawPointer, Encoding, CommandSink) -> Void)? = nil
    ) {
        self.decoders = decoders
        self.code = code
        self.save = save
        self.load = load
        self.pieces = pieces
        self.rewrite = rewrite
    }
}

/// The formats of all types but strings.
public struct ObjectFormats: Sendable {
    private var byType = [ObjectFormat?](repeating: nil, count: ValueType.limit)
    private var typeByCode = [ValueType?](repeating: nil, count: 32)
    /// For the readers.
    public private(set) var decoders = ObjectDecoders()

    public init() {}

    public mutating func insert(_ format: ObjectFormat, for type: ValueType) {
        invariant(byType[Int(type.rawValue)] == nil, "two formats for one type")
        byType[Int(type.rawValue)] = format
        for decoder in format.decoders {
            decoders.insert(decoder)
            typeByCode[Int(decoder.code)] = type
        }
    }

    public subscript(_ type: ValueType) -> ObjectFormat? { byType[Int(type.rawValue)] }

    /// The type of values with this code.
    public func type(ofCode code: UInt8) -> ValueType? {
        Int(code) < typeByCode.count ? typeByCode[Int(code)] : nil
    }

    /// Reads the value of a code from all of its bytes.
    public func load(
        code: UInt8, _ bytes: Bytes, heap: ObjectHeap, limits: EncodingLimits, largestString: Int
    ) -> (type: ValueType, outcome: LoadOutcome) {
        guard let type = type(ofCode: code), let format = self[type] else {
            unreachable("a value of a code without a format was accepted")
        }
        var reader = ObjectReader(
            bytes, heap: heap, limits: limits, largestString: largestString)
        return (type, format.load(code, &reader))
    }
}

/// Where the parts of a value go. A trivial handle, valid during `ObjectFormat.save`.
public struct ObjectWriter {
    let out: UnsafeMutablePointer<Buffer>
    let strings: UnsafeMutablePointer<RDBStringEncoder>

    /// A length, or an unsigned number of any size.
    public func number(_ value: UInt64) {
        out.pointee.wrote(RDBLength.write(value, to: out.pointee.reserve(RDBLength.widest)))
    }

    public func length(_ count: Int) {
        invariant(count >= 0, "a negative length")
        number(UInt64(count))
    }

    @inline(__always)
    public func string(_ bytes: Bytes) { strings.pointee.append(bytes, to: &out.pointee) }

    /// A number in a string's place.
    @inline(__always)
    public func integer(_ value: Int64) { strings.pointee.append(value, to: &out.pointee) }

    /// An element of a listpack in a string's place.
    public func value(_ value: PackedValue) {
        switch value {
        case .bytes(let bytes): string(bytes)
        case .integer(let number): integer(number)
        }
    }

    /// Eight bytes, lowest first: a time, a score's bits.
    public func word64(_ word: UInt64) {
        UnsafeMutableRawPointer(out.pointee.reserve(8))
            .storeBytes(of: word.littleEndian, as: UInt64.self)
        out.pointee.wrote(8)
    }

    public func double(_ value: Double) { word64(value.bitPattern) }

    /// Bytes as they are.
    public func raw(_ bytes: Bytes) { out.pointee.append(bytes) }
}

/// Reads the parts of a value whose bytes are all there. Each read gives nil when the bytes are no
/// such part, which is damage.
public struct ObjectReader: ~Copyable {
    public let heap: ObjectHeap
    public let limits: EncodingLimits
    private var cursor: RDBCursor
    private var scratch = Buffer()

    init(_ bytes: Bytes, heap: ObjectHeap, limits: EncodingLimits, largestString: Int) {
        self.heap = heap
        self.limits = limits
        cursor = RDBCursor(bytes, largestString: largestString)
    }

    public var isAtEnd: Bool { cursor.left == 0 }

    /// Bytes that are left: no collection has more elements than that.
    public var left: Int { cursor.left }

    public mutating func number() -> UInt64? {
        do throws(RDBError) { return try cursor.length() } catch { return nil }
    }

    public mutating func length() -> Int? { number().flatMap { Int(exactly: $0) } }

    /// The text of a string; valid until the next one is read.
    public mutating func string() -> Bytes? {
        do throws(RDBError) {
            guard let string = try cursor.string() else { return nil }
            return try cursor.text(of: string, scratch: &scratch)
        } catch { return nil }
    }

    public mutating func word64() -> UInt64? { cursor.word64() }

    public mutating func double() -> Double? { cursor.word64().map { Double(bitPattern: $0) } }

    /// The score of the oldest format.
    public mutating func textDouble() -> Double? {
        guard let count = cursor.byte() else { return nil }
        switch count {
        case RDBTextDouble.nan: return .nan
        case RDBTextDouble.infinity: return .infinity
        case RDBTextDouble.negativeInfinity: return -.infinity
        default: return cursor.skip(Int(count)).flatMap { cursor.bytes[$0].double }
        }
    }

    /// So many bytes as they are.
    public mutating func raw(_ count: Int) -> Bytes? {
        guard count >= 0 else { return nil }
        return cursor.skip(count).map { cursor.bytes[$0] }
    }
}

extension RDBWriter {
    /// A key with a value of any type.
    public mutating func entry(
        _ entry: Entry, _ attributes: RDBAttributes, _ formats: ObjectFormats,
        into out: inout Buffer
    ) {
        if entry.isString {
            if let value = entry.integer {
                self.entry(key: entry.key, value: value, attributes, into: &out)
            } else if let bytes = entry.storedBytes {
                self.entry(key: entry.key, value: bytes, attributes, into: &out)
            }
            return
        }
        guard let format = formats[entry.type] else {
            unreachable("a value of a type without a format")
        }
        let code = format.code(entry.payload, entry.encoding)
        beginEntry(type: code, key: entry.key, attributes, into: &out)
        object(into: &out) { format.save(entry.payload, entry.encoding, $0) }
    }
}

extension DumpWriter {
    /// A value of any type.
    public mutating func append(
        _ entry: Entry, _ formats: ObjectFormats, to out: inout Buffer
    ) {
        if entry.isString {
            if let value = entry.integer {
                append(value, to: &out)
            } else if let bytes = entry.storedBytes {
                append(bytes, to: &out)
            }
            return
        }
        guard let format = formats[entry.type] else {
            unreachable("a value of a type without a format")
        }
        let code = format.code(entry.payload, entry.encoding)
        append(type: code, to: &out) { format.save(entry.payload, entry.encoding, $0) }
    }
}
