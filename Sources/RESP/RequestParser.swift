// Reads client requests in place: arguments are views into the session's input buffer, nothing is
// copied. A command that is not yet complete is parsed again from its start when enough bytes
// have come for real progress (`needed`), so no state is kept between reads and a command of n
// arguments is looked at O(log n) times. Limits and error texts are the reference's.
import Base

/// Why parsing stopped. Trivial, for it is asked once per command: what exactly `failed` is in the
/// parser's `failure`.
public enum ParseResult {
    /// One command lies in the argument list.
    case command
    /// More bytes are needed.
    case incomplete
    /// A request without arguments (an empty line, `*0`): consumed, nothing to run.
    case empty
    /// The stream cannot be understood; the session must be answered and closed.
    case failed
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
        if _slowPath(count == capacity) { grow(1) }
        (base + count).initialize(to: bytes)
        count &+= 1
    }

    /// Room for `extra` more arguments; returns where they go. Follow with `wrote`.
    @inline(__always)
    public mutating func reserve(_ extra: Int) -> UnsafeMutablePointer<Bytes> {
        if _slowPath(capacity &- count < extra) { grow(extra) }
        return base + count
    }

    /// Says that `added` arguments were written at the place that `reserve` returned.
    @inline(__always)
    public mutating func wrote(_ added: Int) {
        invariant(added >= 0 && count &+ added <= capacity, "wrote past the reserved room")
        count &+= added
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
    private mutating func grow(_ extra: Int) {
        var size = capacity * 2
        while size < count + extra { size *= 2 }
        let larger = UnsafeMutablePointer<Bytes>.allocate(capacity: size)
        larger.update(from: base, count: count)
        base.deallocate()
        base = larger
        capacity = size
    }
}

public struct RequestParser {
    /// Longest line without its end, as in the reference.
    public static let lineLimit = 64 * 1024

    /// Where the next command begins, from the start of `input`.
    public var position: Int = 0
    /// Bytes, from `position`, below which parsing again is useless.
    public var needed: Int = 1
    /// What was wrong, after `.failed`.
    public internal(set) var failure: ProtocolError?

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

    /// Arguments are written to reserved room and counted only once all are there, and everything
    /// that the loop needs stands in locals: this is where a short command spends its time.
    private mutating func multibulk(
        into arguments: inout ArgumentList, limits: ParseLimits
    ) -> ParseResult {
        let base = self.base
        let end = self.end
        let announced: Int
        var cursor: Int
        // One load sees `*`, one digit and the line's end; the rest is read by `multibulkHead`.
        let head: UInt32 =
            end &- position >= 4
            ? UnsafeRawPointer(base).loadUnaligned(
                fromByteOffset: position, as: UInt32.self).littleEndian : 0
        let digit: UInt32 = ((head &>> 8) & 0xFF) &- 49
        if _fastPath(head & 0xFFFF_00FF == 0x0A0D_002A && digit < 9) {
            announced = Int(digit) &+ 1
            cursor = position &+ 4
        } else {
            let line = multibulkHead(limits)
            guard line.result == .command else { return line.result }
            announced = line.value
            cursor = line.next
        }
        // However many are announced, none takes less than four bytes.
        let out = arguments.reserve(min(announced, (end &- cursor) &>> 2))
        var count = 0
        while count < announced {
            guard end &- cursor >= RequestParser.shortestBulk else {
                return shortInput(cursor, announced &- count, limits)
            }
            var length: Int
            // One load sees `$`, one or two digits and the line's end; see `bulkHead` for the rest.
            let head = UnsafeRawPointer(base).loadUnaligned(
                fromByteOffset: cursor, as: UInt32.self).littleEndian
            let first: UInt32 = ((head &>> 8) & 0xFF) &- 48
            let second: UInt32 = ((head &>> 16) & 0xFF) &- 48
            if head & 0x00FF_00FF == 0x000D_0024, first < 10 {
                length = Int(first)
                cursor &+= 4
            } else if head & 0xFF00_00FF == 0x0D00_0024, first &- 1 < 9, second < 10 {
                length = Int(first &* 10 &+ second)
                cursor &+= 5
            } else {
                let line = bulkHead(cursor, announced &- count, limits)
                guard line.result == .command else { return line.result }
                length = line.value
                cursor = line.next
            }
            guard end &- cursor >= length &+ 2 else {
                return incomplete(cursor &+ length &+ 2, announced &- count &- 1)
            }
            (out + count).initialize(to: Bytes(UnsafePointer(base + cursor), length))
            count &+= 1
            cursor &+= length &+ 2
        }
        arguments.wrote(announced)
        position = cursor
        return .command
    }

    /// How many arguments are announced, checked against the limits; moves past a request of none.
    @inline(never)
    private mutating func multibulkHead(_ limits: ParseLimits) -> NumberLine {
        let line = RequestParser.number(base, position &+ 1, end)
        guard line.result == .command else {
            if line.result == .incomplete {
                return NumberLine(lineIncomplete(position, .bigMultibulkCount))
            }
            return NumberLine(fail(.invalidMultibulkLength))
        }
        guard line.value <= Int(Int32.max) else {
            return NumberLine(fail(.invalidMultibulkLength))
        }
        if line.value > 10 && !limits.authenticated {
            return NumberLine(fail(.unauthenticatedMultibulkLength))
        }
        if line.value <= 0 {
            position = line.next
            return NumberLine(.empty)
        }
        return line
    }

    /// The bytes of `$0\r\n\r\n`: what each further argument takes at least.
    private static let shortestBulk = 6

    /// The length of any bulk string, checked against the limits. Those that `multibulk` reads by
    /// itself are below every limit that can be set.
    @inline(never)
    private mutating func bulkHead(
        _ start: Int, _ remaining: Int, _ limits: ParseLimits
    ) -> NumberLine {
        guard base[start] == UInt8(ascii: "$") else {
            return NumberLine(fail(.expectedDollar(base[start])))
        }
        let line = RequestParser.number(base, start &+ 1, end)
        if line.result == .incomplete {
            if lineIncomplete(start, .bigBulkCount) == .failed { return NumberLine(.failed) }
            _ = incomplete(start, remaining)
            return NumberLine(.incomplete)
        }
        guard line.result == .command, line.value >= 0, line.value <= limits.bulkLength else {
            return NumberLine(fail(.invalidBulkLength))
        }
        if line.value > 16384 && !limits.authenticated {
            return NumberLine(fail(.unauthenticatedBulkLength))
        }
        return line
    }

    /// Too little is left for an argument: what is there may still be wrong.
    @inline(never)
    private mutating func shortInput(
        _ cursor: Int, _ remaining: Int, _ limits: ParseLimits
    ) -> ParseResult {
        guard cursor < end else { return incomplete(cursor, remaining) }
        let line = bulkHead(cursor, remaining, limits)
        guard line.result == .command else { return line.result }
        return incomplete(line.next &+ line.value &+ 2, remaining &- 1)
    }

    /// `remaining` arguments are still to come from `cursor` on.
    @inline(never)
    private mutating func incomplete(_ cursor: Int, _ remaining: Int) -> ParseResult {
        // No more than as much again as is here: nonsense behind a huge count is found soon, and
        // twice as much each time still keeps the whole work linear.
        let have = end &- position
        let more = min(remaining &* RequestParser.shortestBulk, have)
        needed = max(cursor &- position &+ more, have &+ 1)
        return .incomplete
    }

    private mutating func lineIncomplete(_ start: Int, _ error: ProtocolError) -> ParseResult {
        if end &- start > RequestParser.lineLimit { return fail(error) }
        needed = end &- position &+ 1
        return .incomplete
    }

    @inline(never)
    mutating func fail(_ error: ProtocolError) -> ParseResult {
        failure = error
        return .failed
    }

    /// A number on a line of its own, when `result` is `.command`, and where the next line begins.
    private struct NumberLine {
        var result: ParseResult
        var value = 0
        var next = 0

        @inline(__always)
        init(_ result: ParseResult) { self.result = result }

        @inline(__always)
        init(_ value: Int, next: Int) {
            result = .command
            self.value = value
            self.next = next
        }
    }

    /// The number from `start` to the next `\r\n`; `.failed` when it is none.
    @inline(__always)
    private static func number(
        _ base: UnsafeMutablePointer<UInt8>, _ start: Int, _ end: Int
    ) -> NumberLine {
        // The usual case: one or two digits and the line's end, all there.
        if _fastPath(end &- start >= 4) {
            let first = base[start] &- 48
            let second = base[start &+ 1] &- 48
            if first < 10, base[start &+ 1] == 13 {
                return NumberLine(Int(first), next: start &+ 3)
            }
            if first &- 1 < 9, second < 10, base[start &+ 2] == 13 {
                return NumberLine(Int(first) &* 10 &+ Int(second), next: start &+ 4)
            }
        }
        return longNumber(base, start, end)
    }

    @inline(never)
    private static func longNumber(
        _ base: UnsafeMutablePointer<UInt8>, _ start: Int, _ end: Int
    ) -> NumberLine {
        var at = start
        while at < end, base[at] != 13 { at &+= 1 }
        guard at &+ 1 < end else { return NumberLine(.incomplete) }
        guard let value = Bytes(UnsafePointer(base + start), at &- start).decimal else {
            return NumberLine(.failed)
        }
        return NumberLine(Int(value), next: at &+ 2)
    }
}
