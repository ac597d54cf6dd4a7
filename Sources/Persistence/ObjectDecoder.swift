// The types that a reader accepts. A decoder says how a value of one type code is laid out, so that
// the reader can find where it ends, however it arrives; whoever registered it then decodes the
// whole value from its bytes with an `ObjectReader`. Layouts nest, since streams do. Strings are
// built in, since nothing works without them.
import Base

/// One part of a value.
public indirect enum RDBPart: Sendable, Equatable {
    case string
    case length
    /// Eight bytes: a score.
    case double
    /// So many bytes as they are.
    case bytes(Int)
    /// A score as text behind one byte of length: the oldest sorted sets.
    case textDouble
    /// A module's ID and its tagged parts up to the end mark.
    case module
    /// A length, and these parts that many times.
    case repeated([RDBPart])
}

/// How a value is laid out: its parts in order.
public struct RDBLayout: Sendable, Equatable {
    public var parts: [RDBPart]

    /// These parts, once.
    public static func parts(_ parts: [RDBPart]) -> RDBLayout { RDBLayout(parts: parts) }

    /// A length, and these parts that many times.
    public static func repeated(_ parts: [RDBPart]) -> RDBLayout {
        RDBLayout(parts: [.repeated(parts)])
    }
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
        for decoder in [.string] + others { insert(decoder) }
    }

    /// Adds a decoder, in the place of another for the same code.
    public mutating func insert(_ decoder: ObjectDecoder) {
        invariant(RDBType.name(decoder.code) != nil, "a decoder of an undefined type")
        table[Int(decoder.code)] = decoder
    }

    public subscript(_ code: UInt8) -> ObjectDecoder? {
        Int(code) < table.count ? table[Int(code)] : nil
    }
}

/// How far the search for the end of a value has come: kept between attempts, so that a value that
/// arrives in pieces is walked once.
struct RDBValueScan {
    /// A group of parts under way.
    private struct Level {
        var parts: [RDBPart]
        var index = 0
        /// Times that the group is still to come, the one under way included.
        var rounds: UInt64
    }
    private var position: Int
    /// Groups around the one under way, outermost first; nil before the walk begins.
    private var levels: [Level]?
    /// Inside of a module's value: its tagged parts come.
    private var isInModule = false

    init(at position: Int) { self.position = position }

    /// The position after the value; nil when it is not all there.
    mutating func end(
        of layout: RDBLayout, _ cursor: RDBCursor
    ) throws(RDBError) -> Int? {
        var cursor = cursor
        cursor.position = position
        var stack = levels ?? [Level(parts: layout.parts, rounds: 1)]
        while var level = stack.popLast() {
            if try walk(&level, &cursor, &stack) { continue }
            stack.append(level)
            levels = stack
            return nil
        }
        levels = []
        return position
    }

    /// Walks a group until it ends or another begins inside of it; false when bytes are missing.
    private mutating func walk(
        _ level: inout Level, _ cursor: inout RDBCursor, _ stack: inout [Level]
    ) throws(RDBError) -> Bool {
        while level.rounds > 0 {
            while level.index < level.parts.count {
                if case .repeated(let parts) = level.parts[level.index] {
                    guard let count = try cursor.length() else { return false }
                    position = cursor.position
                    level.index += 1
                    guard count > 0, !parts.isEmpty else { continue }
                    stack.append(level)
                    stack.append(Level(parts: parts, rounds: count))
                    return true
                }
                guard try skip(level.parts[level.index], &cursor) else { return false }
                position = cursor.position
                level.index += 1
            }
            level.index = 0
            level.rounds -= 1
        }
        return true
    }

    private mutating func skip(
        _ part: RDBPart, _ cursor: inout RDBCursor
    ) throws(RDBError) -> Bool {
        switch part {
        case .string: return try cursor.string() != nil
        case .length: return try cursor.length() != nil
        case .double: return cursor.skip(8) != nil
        case .bytes(let count): return cursor.skip(count) != nil
        case .textDouble:
            guard let count = cursor.byte() else { return false }
            return count >= RDBTextDouble.firstSpecial || cursor.skip(Int(count)) != nil
        case .module: return try skipModule(&cursor)
        case .repeated: unreachable("groups are walked, not skipped")
        }
    }

    /// Module values are tagged part by part, so that anyone can skip them.
    private mutating func skipModule(_ cursor: inout RDBCursor) throws(RDBError) -> Bool {
        if !isInModule {
            guard try cursor.length() != nil else { return false }
            isInModule = true
            position = cursor.position
        }
        while true {
            guard let tag = try cursor.length() else { return false }
            let isThere: Bool
            switch tag {
            case RDBModulePart.end:
                isInModule = false
                return true
            case RDBModulePart.signed, RDBModulePart.unsigned:
                isThere = try cursor.length() != nil
            case RDBModulePart.float: isThere = cursor.skip(4) != nil
            case RDBModulePart.double: isThere = cursor.skip(8) != nil
            case RDBModulePart.string: isThere = try cursor.string() != nil
            default: throw RDBError(.damagedLength)
            }
            guard isThere else { return false }
            position = cursor.position
        }
    }
}
