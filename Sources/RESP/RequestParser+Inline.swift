// Inline commands: one line of words, as typed into a terminal. Words may be quoted with the
// reference's escapes; they are unescaped in place, which never lengthens them.
import Base

extension RequestParser {
    @inline(never)
    mutating func parseInline(
        _ base: UnsafeMutablePointer<UInt8>, _ end: Int, into arguments: inout ArgumentList
    ) -> ParseResult {
        var lineEnd = position
        while lineEnd < end, base[lineEnd] != 10 { lineEnd &+= 1 }
        guard lineEnd < end else {
            if end &- position > RequestParser.lineLimit { return fail(.bigInlineRequest) }
            needed = end &- position &+ 1
            return .incomplete
        }
        let next = lineEnd &+ 1
        var stop = lineEnd
        if stop > position, base[stop &- 1] == 13 { stop &-= 1 }
        let first = arguments.count
        guard InlineWords.split(base + position, stop &- position, into: &arguments) else {
            arguments.truncate(to: first)
            return fail(.unbalancedQuotes)
        }
        position = next
        return arguments.count > first ? .command : .empty
    }
}

/// Splits a line into words the way the reference's command line does.
public enum InlineWords {
    /// Unescapes in place and appends a view per word; false when quotes are unbalanced or a
    /// closing quote is not followed by a space.
    public static func split(
        _ line: UnsafeMutablePointer<UInt8>, _ count: Int, into words: inout ArgumentList
    ) -> Bool {
        var at = 0
        while true {
            while at < count, isSpace(line[at]) { at += 1 }
            // A zero byte ends the line, as it ends the reference's strings.
            guard at < count, line[at] != 0 else { return true }
            let start = at
            var write = at
            guard word(line, count, &at, &write) else { return false }
            words.append(Bytes(UnsafePointer(line + start), write - start))
        }
    }

    /// Copies one word down to `write` while it unescapes it.
    private static func word(
        _ line: UnsafeMutablePointer<UInt8>, _ count: Int, _ at: inout Int, _ write: inout Int
    ) -> Bool {
        while at < count {
            let byte = line[at]
            if isSpace(byte) || byte == 0 { return true }
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                at += 1
                guard quoted(line, count, &at, &write, by: byte) else { return false }
                guard at >= count || isSpace(line[at]) else { return false }
                return true
            }
            line[write] = byte
            write += 1
            at += 1
        }
        return true
    }

    private static func quoted(
        _ line: UnsafeMutablePointer<UInt8>, _ count: Int, _ at: inout Int, _ write: inout Int,
        by quote: UInt8
    ) -> Bool {
        let double = quote == UInt8(ascii: "\"")
        while at < count {
            var byte = line[at]
            at += 1
            if byte == quote { return true }
            if byte == UInt8(ascii: "\\"), at < count {
                if double {
                    byte = escaped(line, count, &at)
                } else if line[at] == UInt8(ascii: "'") {
                    byte = UInt8(ascii: "'")
                    at += 1
                }
            }
            line[write] = byte
            write += 1
        }
        return false
    }

    /// The byte that the escape at `at` (after the backslash) stands for.
    private static func escaped(
        _ line: UnsafeMutablePointer<UInt8>, _ count: Int, _ at: inout Int
    ) -> UInt8 {
        let byte = line[at]
        if byte == UInt8(ascii: "x"), at + 2 < count, let high = hex(line[at + 1]),
            let low = hex(line[at + 2])
        {
            at += 3
            return high * 16 + low
        }
        at += 1
        switch byte {
        case UInt8(ascii: "n"): return 10
        case UInt8(ascii: "r"): return 13
        case UInt8(ascii: "t"): return 9
        case UInt8(ascii: "b"): return 8
        case UInt8(ascii: "a"): return 7
        default: return byte
        }
    }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 97...102: byte - 87
        case 65...70: byte - 55
        default: nil
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (byte >= 9 && byte <= 13) }
}
