// One word of ACL SETUSER, of a `user` line or of the ACL file, understood: the rules of a user and
// those of a selector. What a rule means is decided here; whether it fits a user is not. Words,
// their quirks and the texts of errors are the reference's.
import Base
import RESP

/// Why a rule cannot be taken.
public enum AccessProblem: Error, Equatable, Sendable {
    case syntax
    case unknownCommand
    case patternAfterAll
    case channelAfterAll
    case noSuchPassword
    case badHash
    case duplicateUser
    case firstArgumentOfSubcommand

    public var text: String {
        switch self {
        case .syntax: "Syntax error"
        case .unknownCommand: "Unknown command or category name in ACL"
        case .patternAfterAll:
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
                + "not have any effect. Try 'resetkeys' to start with an empty list of patterns"
        case .channelAfterAll:
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
                + "does not have any effect. Try 'resetchannels' to start with an empty list of "
                + "channels"
        case .noSuchPassword:
            "The password you are trying to remove from the user does not exist"
        case .badHash:
            "The password hash must be exactly 64 characters and contain only lowercase "
                + "hexadecimal characters"
        case .duplicateUser: "Duplicate user found. A user can only be defined once in config files"
        case .firstArgumentOfSubcommand: "Allowing first-arg of a subcommand is not supported"
        }
    }
}

/// What a key may be used for.
public struct KeyUse: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let read = KeyUse(rawValue: 1)
    public static let write = KeyUse(rawValue: 2)
    public static let all: KeyUse = [.read, .write]

    /// What a command does with a key, by the flags of its key specification. What neither reads
    /// nor changes a value (EXISTS, WATCH) needs nothing but a pattern that fits.
    public init(_ flags: KeyFlags) {
        var use: KeyUse = []
        if flags.contains(.access) { use.insert(.read) }
        if !flags.isDisjoint(with: [.insert, .delete, .update]) { use.insert(.write) }
        self = use
    }
}

/// A rule that any selector may have.
enum SelectorRule: Equatable {
    case allKeys, resetKeys
    case allChannels, resetChannels
    case allCommands, noCommands
    case keys(KeyUse, pattern: [UInt8])
    case channels(pattern: [UInt8])
    case command(name: [UInt8], isAllowed: Bool)
    /// `+name|word`: a subcommand, or a first argument of a command that has none.
    case part(name: [UInt8], word: [UInt8])
    case category(name: [UInt8], isAllowed: Bool)
}

/// A rule of a user.
enum UserRule: Equatable {
    case nothing
    case on, off
    case skipSanitize, sanitize
    case noPassword, resetPasswords
    /// As hashes.
    case addPassword([UInt8]), removePassword([UInt8])
    case selector([[UInt8]])
    case clearSelectors
    case reset
    case root(SelectorRule)
}

extension SelectorRule {
    static func parse(_ word: [UInt8]) throws(AccessProblem) -> SelectorRule {
        switch AccessWords.lowercased(word) {
        case Array("allkeys".utf8), Array("~*".utf8): return .allKeys
        case Array("resetkeys".utf8): return .resetKeys
        case Array("allchannels".utf8), Array("&*".utf8): return .allChannels
        case Array("resetchannels".utf8): return .resetChannels
        case Array("allcommands".utf8), Array("+@all".utf8): return .allCommands
        case Array("nocommands".utf8), Array("-@all".utf8): return .noCommands
        default: break
        }
        let rest = Array(word.dropFirst())
        switch word.first {
        case UInt8(ascii: "~"):
            return .keys(.all, pattern: try patternOf(rest))
        case UInt8(ascii: "%"):
            return try limitedKeys(rest)
        case UInt8(ascii: "&"):
            return .channels(pattern: try patternOf(rest))
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            return try command(rest, isAllowed: word[0] == UInt8(ascii: "+"))
        default:
            throw .syntax
        }
    }

    /// Spaces would make a rule that does not read back as what it is.
    private static func patternOf(_ bytes: [UInt8]) throws(AccessProblem) -> [UInt8] {
        if AccessWords.hasSpaces(bytes) { throw .syntax }
        return bytes
    }

    /// `R~pattern`, `W~pattern` and `RW~pattern`.
    private static func limitedKeys(_ rest: [UInt8]) throws(AccessProblem) -> SelectorRule {
        var use: KeyUse = []
        var at = 0
        while at < rest.count {
            let letter = lowercased(rest[at])
            at += 1
            if letter == UInt8(ascii: "r"), !use.contains(.read) {
                use.insert(.read)
            } else if letter == UInt8(ascii: "w"), !use.contains(.write) {
                use.insert(.write)
            } else if letter == UInt8(ascii: "~"), !use.isEmpty {
                break
            } else {
                throw .syntax
            }
        }
        if use.isEmpty { throw .syntax }
        return .keys(use, pattern: try patternOf(Array(rest[at...])))
    }

    private static func command(
        _ rest: [UInt8], isAllowed: Bool
    ) throws(AccessProblem) -> SelectorRule {
        if rest.first == UInt8(ascii: "@") {
            return .category(name: Array(rest.dropFirst()), isAllowed: isAllowed)
        }
        guard isAllowed, let bar = rest.lastIndex(of: UInt8(ascii: "|")) else {
            return .command(name: rest, isAllowed: isAllowed)
        }
        return .part(name: Array(rest[..<bar]), word: Array(rest[(bar + 1)...]))
    }
}

extension UserRule {
    static func parse(_ word: [UInt8]) throws(AccessProblem) -> UserRule {
        guard let first = word.first, let last = word.last else { return .nothing }
        switch AccessWords.lowercased(word) {
        case Array("on".utf8): return .on
        case Array("off".utf8): return .off
        case Array("skip-sanitize-payload".utf8): return .skipSanitize
        case Array("sanitize-payload".utf8): return .sanitize
        case Array("nopass".utf8): return .noPassword
        case Array("resetpass".utf8): return .resetPasswords
        case Array("clearselectors".utf8): return .clearSelectors
        case Array("reset".utf8): return .reset
        default: break
        }
        let rest = Array(word.dropFirst())
        switch first {
        case UInt8(ascii: ">"): return .addPassword(rest.withBytes { SHA256.hex($0) })
        case UInt8(ascii: "<"): return .removePassword(rest.withBytes { SHA256.hex($0) })
        case UInt8(ascii: "#"): return .addPassword(try hashOf(rest))
        case UInt8(ascii: "!"): return .removePassword(try hashOf(rest))
        case UInt8(ascii: "(") where last == UInt8(ascii: ")"):
            // Unbalanced quotes make a selector without rules: it allows nothing.
            return .selector(AccessWords.split(Array(rest.dropLast())) ?? [])
        default: return .root(try SelectorRule.parse(word))
        }
    }

    private static func hashOf(_ bytes: [UInt8]) throws(AccessProblem) -> [UInt8] {
        let isHash =
            bytes.count == SHA256.hexCount
            && bytes.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
        guard isHash else { throw .badHash }
        return bytes
    }
}

/// The words that rules are made of.
public enum AccessWords {
    static func lowercased(_ word: [UInt8]) -> [UInt8] { word.map { Base.lowercased($0) } }

    static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }

    /// Names and patterns may have no spaces: what is written down could not be read again.
    public static func hasSpaces(_ word: [UInt8]) -> Bool {
        word.contains { $0 == 0 || isSpace($0) }
    }

    /// The words of a line with its quotes undone; nil when they are unbalanced.
    public static func split(_ line: [UInt8]) -> [[UInt8]]? {
        var copy = line
        return copy.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return [] }
            var list = ArgumentList(capacity: 16)
            guard InlineWords.split(base, buffer.count, into: &list) else { return nil }
            return (0..<list.count).map { list.base[$0].array }
        }
    }

    /// Puts selectors together that came in several words; fails with the index of the word that
    /// opens the one which is never closed.
    static func merged(_ words: [[UInt8]]) -> Result<[[UInt8]], UnclosedSelector> {
        var out: [[UInt8]] = []
        var open: (index: Int, text: [UInt8])?
        for (index, word) in words.enumerated() {
            let closes = word.last == UInt8(ascii: ")")
            if word.first == UInt8(ascii: "("), !closes {
                open = (index, word)
            } else if let begun = open {
                let text = begun.text + [UInt8(ascii: " ")] + word
                open = closes ? nil : (begun.index, text)
                if closes { out.append(text) }
            } else {
                out.append(word)
            }
        }
        if let open { return .failure(UnclosedSelector(index: open.index)) }
        return .success(out)
    }
}

struct UnclosedSelector: Error { let index: Int }
