// Reads client requests in place: arguments are views into the session's input buffer, nothing is
// copied. A command that is not yet complete is parsed again from its start when enough bytes
// have come for real progress (`needed`), so no state is kept between reads and a command of n
// arguments is looked at O(log n) times. Limits and error texts are the reference's.
import Base

/// Why parsing stopped.
public enum ParseResult: Equatable {
    /// One command lies in the argument list.
    case command
    /// More bytes are needed.
    case incomplete
    /// A request without arguments (an empty line, `*0`): consumed, nothing to run.
    case empty
    /// The stream cannot be understood; the session must be answered and closed.
    case failed(ProtocolError)
}

/// What a client can do wrong on the wire. The text follows "ERR Protocol error: ".
public enum ProtocolError: Equatable {
    case bigInlineRequest
    case unbalancedQuotes
    case bigMultibulkCount
    case invalidMultibulkLength
    case unauthenticatedMultibulkLength
    case bigBulkCount
    case expectedDollar(UInt8)
    case invalidBulkLength
    case unauthenticatedBulkLength

    public var text: String {
        switch self {
        case .bigInlineRequest: "too big inline request"
        case .unbalancedQuotes: "unbalanced quotes in request"
        case .bigMultibulkCount: "too big mbulk count string"
        case .invalidMultibulkLength: "invalid multibulk length"
        case .unauthenticatedMultibulkLength: "unauthenticated multibulk length"
        case .bigBulkCount: "too big bulk count string"
        case .expectedDollar(let byte):
            "expected '$', got '\(byte < 128 ? String(UnicodeScalar(byte)) : "?")'"
        case .invalidBulkLength: "invalid bulk length"
        case .unauthenticatedBulkLength: "unauthenticated bulk length"
        }
    }
}

/// The limits that apply to one session.
public struct ParseLimits {
    /// `proto-max-bulk-len`.
    public var bulkLength: Int
    /// False while AUTH is still owed: then only short requests are read.
    public var authenticated: Bool

    @inline(__always)
    public init(bulkLength: Int = 512 << 20, authenticated: Bool = true) {
        self.bulkLength = bulkLength
        self.authenticated = authenticated
    }
}

/// The arguments of the commands of one batch, in memory that is reused for ever.
public struct ArgumentList: ~Copyable {
    /// The arguments of one command, borrowed.
    public struct View {
        public let base: UnsafePointer<Bytes>
        public let count: Int
        public init(base: UnsafePointer<Bytes>, count: Int) {
            self.base = base
            self.count = count
        }
        public subscript(_ index: Int) -> Bytes {
            invariant(index >= 0 && index < count, "argument out of range")
            return base[index]
        }
    }

    public private(set) var base: UnsafeMutablePointer<Bytes>
    public private(set) var count = 0
    private var capacity: Int

    public init(capacity: Int = 1024) {
        self.capacity = capacity
        base = .allocate(capacity: capacity)
    }

    deinit { base.deallocate() }

    @inline(__always)
    public mutating func append(_ bytes: Bytes) {
        if _slowPath(count == capacity) { grow() }
        (base + count).initialize(to: bytes)
        count &+= 1
    }

    @inline(__always)
    public mutating func truncate(to count: Int) {
        invariant(count <= self.count, "truncate grows nothing")
        self.count = count
    }

    /// Gives back the room of one huge command.
    public mutating func shrink() {
        guard count == 0, capacity > 65536 else { return }
        base.deallocate()
        capacity = 1024
        base = .allocate(capacity: capacity)
    }

    @inline(never)
    private mutating func grow() {
        let larger = UnsafeMutablePointer<Bytes>.allocate(capacity: capacity * 2)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
        capacity *= 2
    }
}

public struct RequestParser {
    /// Longest line without its end, as in the reference.
    public static let lineLimit = 64 * 1024

    /// Where the next command begins, from the start of `input`.
    public var position: Int = 0
    /// Bytes, from `position`, below which parsing again is useless.
    public var needed: Int = 1

    private let base: UnsafeMutablePointer<UInt8>
    private let end: Int

    /// Reads `count` bytes at `base`; an inline command may be unescaped in place.
    @inline(__always)
    public init(_ base: UnsafeMutablePointer<UInt8>, _ count: Int) {
        self.base = base
        end = count
    }

    /// Parses the command at `position` and appends its arguments to `arguments`. On `.command`
    /// and `.empty` moves past it; else leaves `position` and `arguments` as they were.
    @inline(__always)
    public mutating func next(
        into arguments: inout ArgumentList, limits: ParseLimits
    ) -> ParseResult {
        guard position < end else { return .incomplete }
        if _fastPath(base[position] == UInt8(ascii: "*")) {
            return multibulk(into: &arguments, limits: limits)
        }
        return parseInline(base, end, into: &arguments)
    }

    private mutating func multibulk(
        into arguments: inout ArgumentList, limits: ParseLimits
    ) -> ParseResult {
        var cursor = position &+ 1
        let line = number(&cursor)
        guard case .value(let announced) = line else {
            if line == .incomplete {
                return lineIncomplete(position, .bigMultibulkCount)
            }
            return .failed(.invalidMultibulkLength)
        }
        guard announced <= Int(Int32.max) else { return .failed(.invalidMultibulkLength) }
        if announced > 10 && !limits.authenticated {
            return .failed(.unauthenticatedMultibulkLength)
        }
        if announced <= 0 {
            position = cursor
            return .empty
        }
        let first = arguments.count
        var remaining = announced
        while remaining > 0 {
            guard cursor < end else { return incomplete(&arguments, first, cursor, remaining) }
            guard base[cursor] == UInt8(ascii: "$") else {
                arguments.truncate(to: first)
                return .failed(.expectedDollar(base[cursor]))
            }
            let lineStart = cursor
            cursor &+= 1
            let bulk = number(&cursor)
            guard case .value(let length) = bulk else {
                arguments.truncate(to: first)
                if bulk == .incomplete {
                    if case .failed(let e) = lineIncomplete(lineStart, .bigBulkCount) {
                        return .failed(e)
                    }
                    needed = lineStart &- position &+ remaining &* 5
                    if needed <= end &- position { needed = end &- position &+ 1 }
                    return .incomplete
                }
                return .failed(.invalidBulkLength)
            }
            guard length >= 0, length <= limits.bulkLength else {
                arguments.truncate(to: first)
                return .failed(.invalidBulkLength)
            }
            if length > 16384 && !limits.authenticated {
                arguments.truncate(to: first)
                return .failed(.unauthenticatedBulkLength)
            }
            guard end &- cursor >= length &+ 2 else {
                return incomplete(&arguments, first, cursor &+ length &+ 2, remaining &- 1)
            }
            arguments.append(Bytes(UnsafePointer(base + cursor), length))
            cursor &+= length &+ 2
            remaining &-= 1
        }
        position = cursor
        return .command
    }

    private mutating func incomplete(
        _ arguments: inout ArgumentList, _ first: Int, _ cursor: Int, _ remaining: Int
    ) -> ParseResult {
        arguments.truncate(to: first)
        // Every further argument takes at least six bytes: `$0\r\n\r\n`.
        needed = max(cursor &- position &+ remaining &* 6, end &- position &+ 1)
        return .incomplete
    }

    private mutating func lineIncomplete(_ start: Int, _ error: ProtocolError) -> ParseResult {
        if end &- start > RequestParser.lineLimit { return .failed(error) }
        needed = end &- position &+ 1
        return .incomplete
    }

    private enum Line: Equatable {
        case value(Int)
        case incomplete
        case invalid
    }

    /// The number up to the next `\r\n`; moves `cursor` past it.
    @inline(__always)
    private func number(_ cursor: inout Int) -> Line {
        // The usual case: one or two digits and the line's end, all there.
        if _fastPath(end &- cursor >= 4) {
            let a = base[cursor] &- 48
            if a < 10 {
                if base[cursor &+ 1] == 13 {
                    cursor &+= 3
                    return .value(Int(a))
                }
                let b = base[cursor &+ 1] &- 48
                if b < 10 && a > 0 && base[cursor &+ 2] == 13 {
                    cursor &+= 4
                    return .value(Int(a) &* 10 &+ Int(b))
                }
            }
        }
        return longNumber(&cursor)
    }

    @inline(never)
    private func longNumber(_ cursor: inout Int) -> Line {
        var at = cursor
        while at < end, base[at] != 13 { at &+= 1 }
        guard at &+ 1 < end else { return .incomplete }
        guard let value = Bytes(UnsafePointer(base + cursor), at &- cursor).decimal else {
            return .invalid
        }
        cursor = at &+ 2
        return .value(Int(value))
    }
}
