// The arguments of a command, written as one line in its declaration and read here when COMMAND
// DOCS asks for them. A literal costs the compiler nothing, where nested array literals for 400
// commands cost a minute. The tree must equal the reference's JSON (7.0.15).
//
// Grammar, by example:
//
//     key                       a key, the next key specification (0, 1, …); `@2` names another,
//     destination:key@2         `@-` none; a name other than `key` needs its type
//     value   count:integer     a string; any other type: integer double pattern unix-time string
//     NX                        a token of its own, named by its lower-case form
//     change=CH                 the same, with another name; `none=` has an empty token
//     EX seconds:integer        an argument introduced by a token
//     <condition: NX|XX>        one of several; `<trim: |x>` when there is but one choice
//     <limit: a b>              a block, in this order; `LIMIT <limit: a b>` with its token
//     [x]   [limit: a b]        optional; the second is short for `[<limit: a b>]`
//     x...                      may repeat; `GET... x`: together with its token
//     x{6.2.0}  x{-2.8.12}      since, and deprecated since, this version; after `...`
//
// A word is a token when it holds no lower-case letter; it introduces what follows it unless that
// is a token too, or bracketed, or nothing.
import Base

/// The kinds of arguments that COMMAND DOCS knows.
public enum ArgumentKind: String {
    case string, integer, double, key, pattern
    case unixTime = "unix-time"
    case pureToken = "pure-token"
    case oneOf = "oneof"
    case block
}

/// One argument of a command, as COMMAND DOCS describes it.
public struct ArgumentSyntax {
    public var name: String
    public var kind: ArgumentKind
    public var keySpec: Int?
    public var token: String?
    public var since: String?
    public var deprecatedSince: String?
    public var isOptional = false
    public var isMultiple = false
    public var repeatsToken = false
    public var arguments: [ArgumentSyntax] = []

    init(_ name: String, _ kind: ArgumentKind) {
        self.name = name
        self.kind = kind
    }
}

/// Reads the `syntax` of a declaration. A malformed one is our mistake, found by the tests that
/// read them all.
public struct CommandSyntax {
    private let text: [UInt8]
    private var position = 0
    private var nextKeySpec = 0

    /// The arguments that `syntax` describes.
    public static func arguments(_ syntax: StaticString) -> [ArgumentSyntax] {
        var reader = CommandSyntax(text: Bytes(syntax).array)
        var out: [ArgumentSyntax] = []
        while true {
            reader.skipSpaces()
            guard reader.position < reader.text.count else { return out }
            out.append(reader.item())
        }
    }

    private init(text: [UInt8]) { self.text = text }

    // MARK: Items

    private mutating func item() -> ArgumentSyntax {
        if take("[") {
            var inner = startsGroup() ? group(closedBy: "]") : bracketed()
            inner.isOptional = true
            return suffixed(inner)
        }
        if take("<") { return suffixed(group(closedBy: ">")) }
        let word = takeWord()
        invariant(!word.isEmpty, "a command's syntax has an empty word")
        if let equals = word.firstIndex(of: "=") {
            var token = ArgumentSyntax(String(word[..<equals]), .pureToken)
            token.token = String(word[word.index(after: equals)...])
            return suffixed(token)
        }
        guard !isToken(word) else { return tokenItem(word) }
        return suffixed(named(word))
    }

    private mutating func bracketed() -> ArgumentSyntax {
        let inner = item()
        let closed = take("]")
        invariant(closed, "a command's syntax has an open bracket")
        return inner
    }

    /// A token by itself, or the argument that it introduces.
    private mutating func tokenItem(_ token: String) -> ArgumentSyntax {
        let start = position
        let repeats = take("...")
        if introduces() {
            skipSpaces()
            var argument = item()
            argument.token = token
            if repeats {
                argument.isMultiple = true
                argument.repeatsToken = true
            }
            return argument
        }
        position = start
        var alone = ArgumentSyntax(token.lowercased(), .pureToken)
        alone.token = token
        return suffixed(alone)
    }

    /// Whether an argument, not another token, follows.
    private func introduces() -> Bool {
        guard peek(0) == UInt8(ascii: " ") else { return false }
        if peek(1) == UInt8(ascii: "<") { return true }
        var ahead = self
        ahead.position += 1
        let next = ahead.takeWord()
        return !next.isEmpty && !next.contains("=") && !isToken(next)
    }

    /// `name`, `name:type`, `name:key@1`.
    private mutating func named(_ word: String) -> ArgumentSyntax {
        var name = word
        var spec: String?
        if let at = name.lastIndex(of: "@") {
            spec = String(name[name.index(after: at)...])
            name = String(name[..<at])
        }
        var kind = name == "key" ? ArgumentKind.key : .string
        if let colon = name.lastIndex(of: ":"), colon > name.startIndex,
            let stated = ArgumentKind(rawValue: String(name[name.index(after: colon)...]))
        {
            kind = stated
            name = String(name[..<colon])
        }
        var out = ArgumentSyntax(name, kind)
        if let spec, let number = Int(spec) {
            out.keySpec = number
        } else if kind == .key, spec == nil {
            out.keySpec = nextKeySpec
        }
        if kind == .key, let number = out.keySpec { nextKeySpec = number + 1 }
        return out
    }

    /// `name: a b` or `name: a|b`, the opening bracket already taken.
    private mutating func group(closedBy close: StaticString) -> ArgumentSyntax {
        let word = takeWord()
        invariant(word.hasSuffix(":"), "a group in a command's syntax needs a name")
        var out = ArgumentSyntax(String(word.dropLast()), .block)
        while true {
            skipSpaces()
            invariant(position < text.count, "a group in a command's syntax is not closed")
            if take(close) { return out }
            if take("|") {
                out.kind = .oneOf
            } else {
                out.arguments.append(item())
            }
        }
    }

    /// `...`, `{since}`, `{-deprecated}` after an item.
    private mutating func suffixed(_ argument: ArgumentSyntax) -> ArgumentSyntax {
        var out = argument
        if take("...") { out.isMultiple = true }
        guard take("{") else { return out }
        var versions = ""
        while position < text.count, text[position] != UInt8(ascii: "}") {
            versions.unicodeScalars.append(UnicodeScalar(text[position]))
            position += 1
        }
        position += 1
        for version in versions.split(separator: " ") {
            if version.hasPrefix("-") {
                out.deprecatedSince = String(version.dropFirst())
            } else {
                out.since = String(version)
            }
        }
        return out
    }

    // MARK: Words

    private func isToken(_ word: String) -> Bool {
        !word.utf8.contains { $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") }
    }

    private func startsGroup() -> Bool {
        var ahead = self
        return ahead.takeWord().hasSuffix(":") && ahead.peek(0) == UInt8(ascii: " ")
    }

    private mutating func takeWord() -> String {
        let start = position
        while position < text.count, !isDelimiter(text[position]), !startsWith("...") {
            position += 1
        }
        return String(decoding: text[start..<position], as: UTF8.self)
    }

    private func isDelimiter(_ byte: UInt8) -> Bool {
        Bytes(" \n[]<>|{}").array.contains(byte)
    }

    private mutating func skipSpaces() {
        while peek(0) == UInt8(ascii: " ") || peek(0) == UInt8(ascii: "\n") { position += 1 }
    }

    private func peek(_ ahead: Int) -> UInt8? {
        position + ahead < text.count ? text[position + ahead] : nil
    }

    private func startsWith(_ literal: StaticString) -> Bool {
        let bytes = Bytes(literal)
        guard position + bytes.count <= text.count else { return false }
        for index in 0..<bytes.count where text[position + index] != bytes[index] { return false }
        return true
    }

    private mutating func take(_ literal: StaticString) -> Bool {
        guard startsWith(literal) else { return false }
        position += Bytes(literal).count
        return true
    }
}
