// Takes commands out of the bytes of an append-only file, in any pieces. Stricter than the parser
// of client requests: whatever is not exactly what a writer writes (line ends, prefixes, lengths
// without signs or leading zeros beyond reason) is damage, because guessing here would replay
// commands that nobody sent. The scanner knows at any time up to where the file is whole: behind
// the last command, and before a MULTI whose EXEC has not come.
import Base

/// Why the bytes at `offset` are no command.
public struct AOFDamage: Equatable, Sendable {
    public var offset: Int64
    public var reason: String
}

public enum AOFItem {
    /// A whole command: its name and all of its bytes. Valid until the next call.
    case command(name: Bytes, bytes: Bytes)
    /// A line that begins with `#`, without its end.
    case annotation(Bytes)
}

public struct AOFScanner: ~Copyable {
    /// No single line that is not an argument is longer.
    static let longestLine = 1024

    private var buffer = Buffer()
    /// Bytes of the item that was returned last.
    private var pending = 0
    private let largestString: Int
    /// The offset in the file of what comes next.
    public private(set) var offset: Int64
    /// Whole commands so far, MULTI and EXEC included.
    public private(set) var commands: Int64 = 0
    /// Lines of whole commands so far, counted from 1 as redis-check-aof does.
    public private(set) var line: Int64 = 1
    public private(set) var damage: AOFDamage?
    /// Where the MULTI that is open begins, and how many commands came before it.
    public private(set) var transaction: (offset: Int64, commands: Int64)?
    /// Whether parsing again before this many bytes are there is useless.
    private var needed = 1

    public init(at offset: Int64 = 0, largestString: Int = 512 << 20) {
        self.offset = offset
        self.largestString = largestString
    }

    /// Up to here the file can be kept.
    public var wholeUpTo: Int64 { transaction?.offset ?? offset }
    /// Commands up to there.
    public var wholeCommands: Int64 { transaction?.commands ?? commands }
    /// Bytes of an item whose end has not come.
    public var unfinished: Int { buffer.count - pending }

    /// The input may end here.
    public var isWhole: Bool { damage == nil && transaction == nil && unfinished == 0 }

    public mutating func feed(_ bytes: Bytes) {
        release()
        buffer.append(bytes)
    }

    /// The next whole item; nil when more is needed, or at damage.
    public mutating func next() -> AOFItem? {
        release()
        guard damage == nil, buffer.count >= needed else { return nil }
        var cursor = Cursor(bytes: buffer.bytes, largestString: largestString)
        guard cursor.left > 0 else { return nil }
        if cursor.bytes[0] == UInt8(ascii: "#") { return annotation(&cursor) }
        return command(&cursor)
    }

    private mutating func release() {
        guard pending > 0 else { return }
        offset += Int64(pending)
        buffer.consume(pending)
        pending = 0
        if buffer.isEmpty { buffer.shrink(above: 4 << 20) }
    }

    private mutating func annotation(_ cursor: inout Cursor) -> AOFItem? {
        switch cursor.lineEnd(limit: Self.longestLine) {
        case .found(let end):
            pending = end + 2
            needed = 1
            return .annotation(cursor.bytes[0..<end])
        case .more: needed = buffer.count + 1
        case .wrong: fail(0, "an annotation without an end")
        }
        return nil
    }

    private mutating func command(_ cursor: inout Cursor) -> AOFItem? {
        switch cursor.command() {
        case .more(let count):
            needed = max(buffer.count + 1, count)
            return nil
        case .wrong(let position, let reason):
            fail(position, reason)
            return nil
        case .whole(let nameRange, let arguments):
            let name = cursor.bytes[nameRange]
            if name.matches("multi") {
                guard transaction == nil else {
                    fail(0, "Unexpected MULTI in AOF")
                    return nil
                }
                transaction = (offset, commands)
            } else if name.matches("exec") {
                guard transaction != nil else {
                    fail(0, "Unexpected EXEC in AOF")
                    return nil
                }
                transaction = nil
            }
            pending = cursor.position
            needed = 1
            commands += 1
            line += Int64(2 * arguments + 1)
            return .command(name: name, bytes: cursor.bytes[0..<cursor.position])
        }
    }

    private mutating func fail(_ position: Int, _ reason: String) {
        damage = AOFDamage(offset: offset + Int64(position), reason: reason)
        invariant(pending == 0, "damage in the middle of an item that was given out")
    }
}

extension AOFScanner {
    enum Line {
        case found(Int)
        case more
        case wrong
    }

    enum Attempt {
        case whole(name: Range<Int>, arguments: Int)
        /// So many bytes are needed at least.
        case more(Int)
        case wrong(Int, String)
    }

    /// Reads one command from its start.
    struct Cursor {
        let bytes: Bytes
        let largestString: Int
        var position = 0

        var left: Int { bytes.count - position }

        /// Where the line at the position ends.
        func lineEnd(limit: Int) -> Line {
            var at = position
            let stop = min(bytes.count, position + limit)
            while at < stop, bytes.base[at] != 13, bytes.base[at] != 10 { at += 1 }
            if at < bytes.count, bytes.base[at] == 10 { return .wrong }
            guard at < stop else { return stop == position + limit ? .wrong : .more }
            guard at + 1 < bytes.count else { return .more }
            return bytes.base[at + 1] == 10 ? .found(at) : .wrong
        }

        mutating func command() -> Attempt {
            let count: Int
            switch number(UInt8(ascii: "*"), limit: Int(Int32.max)) {
            case .success(let value): count = value
            case .failure(let stop): return stop.attempt
            }
            guard count > 0 else { return .wrong(0, "a command without a name") }
            var name = 0..<0
            for index in 0..<count {
                let length: Int
                switch number(UInt8(ascii: "$"), limit: largestString) {
                case .success(let value): length = value
                case .failure(let stop): return stop.attempt
                }
                // What is there of a missing rest may be wrong already.
                guard left >= length + 2 else {
                    return .more(position + length + 2 + (count - index - 1) * 6)
                }
                if index == 0 {
                    guard length > 0 else { return .wrong(position, "an empty name") }
                    name = position..<(position + length)
                }
                position += length
                guard bytes.base[position] == 13, bytes.base[position + 1] == 10 else {
                    let found = [bytes.base[position], bytes.base[position + 1]].map {
                        ($0 < 16 ? "0" : "") + String($0, radix: 16)
                    }
                    return .wrong(position, "Expected \\r\\n, got: \(found.joined())")
                }
                position += 2
            }
            return .whole(name: name, arguments: count)
        }

        struct Stop: Error {
            var attempt: Attempt
        }

        /// A prefix, a decimal number and the line's end.
        private mutating func number(
            _ prefix: UInt8, limit: Int
        ) -> Result<Int, Stop> {
            let start = position
            guard left > 0 else { return .failure(Stop(attempt: .more(position + 1))) }
            guard bytes.base[position] == prefix else {
                let found = bytes.base[position]
                let shown = found > 32 && found < 127 ? String(UnicodeScalar(found)) : "\\\(found)"
                return .failure(
                    Stop(
                        attempt: .wrong(
                            start,
                            "Expected prefix '\(UnicodeScalar(prefix))', got: '\(shown)'")))
            }
            var at = position + 1
            var value = 0
            while at < bytes.count, bytes.base[at] &- 48 < 10, at - start <= 19 {
                value = value &* 10 &+ Int(bytes.base[at] &- 48)
                at += 1
                if value > limit {
                    return .failure(Stop(attempt: .wrong(start, "a length out of range")))
                }
            }
            guard at < bytes.count else { return .failure(Stop(attempt: .more(at + 1))) }
            guard at > start + 1, bytes.base[at] == 13 else {
                return .failure(Stop(attempt: .wrong(start, "a length that is no number")))
            }
            guard at + 1 < bytes.count else { return .failure(Stop(attempt: .more(at + 2))) }
            guard bytes.base[at + 1] == 10 else {
                return .failure(Stop(attempt: .wrong(start, "a length without its line end")))
            }
            position = at + 2
            return .success(value)
        }
    }
}
