// The types that a reader accepts. A decoder says how a value of one type code is laid out, so that
// the reader can find where it ends, however it arrives; whoever registered it then decodes the
// whole value from its bytes with an `RDBCursor`. Strings are built in, since nothing works without
// them.
import Base

/// One part of a value.
public enum RDBPart: Sendable, Equatable {
    case string
    case length
    /// Eight bytes: a score.
    case double
}

/// How a value is laid out.
public enum RDBLayout: Sendable, Equatable {
    /// These parts, once.
    case parts([RDBPart])
    /// A length, and these parts that many times.
    case repeated([RDBPart])
}

public struct ObjectDecoder: Sendable, Equatable {
    public var code: UInt8
    public var layout: RDBLayout

    public init(code: UInt8, layout: RDBLayout) {
        self.code = code
        self.layout = layout
    }

    public static let string = ObjectDecoder(code: RDBType.string, layout: .parts([.string]))
}

/// The decoders of a reader, by type code.
public struct ObjectDecoders: Sendable {
    private var table: [ObjectDecoder?]

    /// The decoder of strings, and `others`.
    public init(_ others: [ObjectDecoder] = []) {
        table = [ObjectDecoder?](repeating: nil, count: 32)
        for decoder in [.string] + others {
            invariant(RDBType.name(decoder.code) != nil, "a decoder of an undefined type")
            table[Int(decoder.code)] = decoder
        }
    }

    public subscript(_ code: UInt8) -> ObjectDecoder? {
        Int(code) < table.count ? table[Int(code)] : nil
    }
}

/// How far the search for the end of a value has come: kept between attempts, so that a value that
/// arrives in pieces is walked once.
struct RDBValueScan {
    private var position: Int
    /// Parts still to come; nil before the count is known.
    private var partsLeft: UInt64?

    init(at position: Int) { self.position = position }

    /// The position after the value; nil when it is not all there.
    mutating func end(
        of layout: RDBLayout, _ cursor: RDBCursor
    ) throws(RDBError) -> Int? {
        var cursor = cursor
        cursor.position = position
        let parts: [RDBPart]
        switch layout {
        case .parts(let list):
            parts = list
            partsLeft = partsLeft ?? UInt64(list.count)
        case .repeated(let list):
            parts = list
            if partsLeft == nil {
                guard let count = try cursor.length() else { return nil }
                let (total, overflow) = count.multipliedReportingOverflow(by: UInt64(list.count))
                if overflow { throw RDBError(.damagedLength) }
                partsLeft = total
                position = cursor.position
            }
        }
        invariant(!parts.isEmpty, "a layout without parts")
        while let left = partsLeft, left > 0 {
            let index = (parts.count - Int(left % UInt64(parts.count))) % parts.count
            guard try skip(parts[index], &cursor) else { return nil }
            position = cursor.position
            partsLeft = left - 1
        }
        return position
    }

    private func skip(_ part: RDBPart, _ cursor: inout RDBCursor) throws(RDBError) -> Bool {
        switch part {
        case .string: return try cursor.string() != nil
        case .length: return try cursor.length() != nil
        case .double: return cursor.skip(8) != nil
        }
    }
}
