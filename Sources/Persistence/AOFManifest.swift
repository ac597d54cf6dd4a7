// The manifest of a multi-part append-only file, as the reference has it since 7.0: one base (the
// data as of the last rewrite), the increments since then in order, and the files that a rewrite
// made superfluous and that are still to be removed. A pure machine: it parses and formats, and
// says which names come next; whoever has the files carries that out in the safe order (a file
// before the manifest that names it, the manifest before files are removed).
import Base

/// Why a manifest cannot be used. Texts are the reference's.
public struct AOFManifestError: Error, Equatable, Sendable {
    public var reason: String
    /// The line, counted from 1, and its text, when one line is to blame.
    public var line: Int?
    public var text: String

    init(_ reason: String, line: Int? = nil, text: String = "") {
        self.reason = reason
        self.line = line
        self.text = text
    }
}

public struct AOFManifest: Sendable, Equatable {
    public enum Kind: String, Sendable {
        case base = "b"
        case increment = "i"
        case history = "h"
    }

    public struct File: Sendable, Equatable {
        public var name: String
        public var sequence: Int64
        public var kind: Kind
    }

    /// The reference's bound on a line, its end included.
    static let longestLine = 1024

    public private(set) var base: File?
    public private(set) var increments: [File] = []
    /// The latest first.
    public private(set) var history: [File] = []
    private var baseSequence: Int64 = 0
    private var incrementSequence: Int64 = 0

    public init() {}

    /// Nothing is to be loaded.
    public var isEmpty: Bool { base == nil && increments.isEmpty }

    /// What is loaded, in order.
    public var files: [File] { (base.map { [$0] } ?? []) + increments }

    /// The name of the manifest beside the log's files.
    public static func name(for log: String) -> String { "\(log).manifest" }

    /// The log's increment while no base for it exists yet.
    public static func temporaryIncrement(for log: String) -> String { "temp-\(log).incr" }

    // MARK: Changes

    /// A new base takes over: the old one is history.
    public mutating func addBase(for log: String, isRDB: Bool) -> String {
        if let old = base {
            history.insert(File(name: old.name, sequence: old.sequence, kind: .history), at: 0)
        }
        baseSequence += 1
        let name = "\(log).\(baseSequence).base.\(isRDB ? "rdb" : "aof")"
        base = File(name: name, sequence: baseSequence, kind: .base)
        return name
    }

    /// A new increment, to which all further commands go.
    public mutating func addIncrement(for log: String) -> String {
        incrementSequence += 1
        let name = "\(log).\(incrementSequence).incr.aof"
        increments.append(File(name: name, sequence: incrementSequence, kind: .increment))
        return name
    }

    /// Names that may be in use on disk although we gave them up are not given again.
    public mutating func skipBase() { baseSequence += 1 }
    public mutating func skipIncrement() { incrementSequence += 1 }

    /// The base holds everything of the increments, or of all but the last.
    public mutating func retireIncrements(keepsLast: Bool) {
        let count = keepsLast ? increments.count - 1 : increments.count
        guard count > 0 else { return }
        for file in increments[..<count] {
            history.insert(
                File(name: file.name, sequence: file.sequence, kind: .history), at: 0)
        }
        increments.removeFirst(count)
        invariant(increments.count <= 1, "increments are left behind a rewrite")
    }

    /// Forgets the history; the names are those of files to remove. What is in use is never among
    /// them, whatever a damaged manifest says.
    public mutating func dropHistory() -> [String] {
        let used = files.map(\.name)
        let names = history.map(\.name).filter { !used.contains($0) }
        history = []
        return names
    }

    /// A log of one file, from before there were manifests, becomes the base.
    public mutating func adopt(oldFile name: String) {
        invariant(increments.isEmpty, "an old log beside increments")
        base = File(name: name, sequence: 1, kind: .base)
        baseSequence = 1
    }

    // MARK: Text

    /// The manifest as it is written.
    public var contents: [UInt8] {
        var text: [UInt8] = []
        for file in (base.map { [$0] } ?? []) + history + increments {
            text += Array("file ".utf8) + QuotedWord.quoteIfNeeded(Array(file.name.utf8))
            text += Array(" seq \(file.sequence) type \(file.kind.rawValue)\n".utf8)
        }
        return text
    }

    /// Reads a manifest. Unknown words with values are skipped, as later versions may add some.
    public init(parsing contents: [UInt8]) throws(AOFManifestError) {
        guard !contents.isEmpty else { throw AOFManifestError("Found an empty AOF manifest") }
        var number = 0
        var rest = contents[...]
        while !rest.isEmpty {
            number += 1
            let end = rest.prefix(Self.longestLine).firstIndex(of: UInt8(ascii: "\n"))
            guard let end else {
                if rest.first == UInt8(ascii: "#"), rest.count <= Self.longestLine { break }
                throw AOFManifestError("The AOF manifest file contains too long line")
            }
            let line = Array(rest[rest.startIndex..<end])
            rest = rest[(end + 1)...]
            if line.first == UInt8(ascii: "#") { continue }
            try take(Self.trimmed(line), number)
        }
    }

    private static func trimmed(_ line: [UInt8]) -> [UInt8] {
        let blanks = Array(" \t\r\n".utf8)
        let front = line.drop { blanks.contains($0) }
        guard let last = front.lastIndex(where: { !blanks.contains($0) }) else { return [] }
        return Array(front[front.startIndex...last])
    }

    private mutating func take(_ line: [UInt8], _ number: Int) throws(AOFManifestError) {
        let text = String(decoding: line, as: UTF8.self)
        func wrong(_ reason: String) -> AOFManifestError {
            AOFManifestError(reason, line: number, text: text)
        }
        let malformed = "Invalid AOF manifest file format"
        guard !line.isEmpty else { throw wrong(malformed) }
        guard let words = QuotedWord.split(line), words.count >= 6, words.count % 2 == 0 else {
            throw wrong(malformed)
        }
        var name = ""
        var sequence: Int64 = 0
        var kind = ""
        for index in stride(from: 0, to: words.count, by: 2) {
            let value = String(decoding: words[index + 1], as: UTF8.self)
            switch String(decoding: words[index], as: UTF8.self).lowercased() {
            case "file":
                guard !value.contains("/"), value != "..", value != "." else {
                    throw wrong("File can't be a path, just a filename")
                }
                name = value
            case "seq": sequence = Int64(value) ?? 0
            case "type": kind = String(value.prefix(1))
            default: continue
            }
        }
        guard !name.isEmpty, sequence > 0, !kind.isEmpty else { throw wrong(malformed) }
        guard let kind = Kind(rawValue: kind) else { throw wrong("Unknown AOF file type") }
        if let reason = add(File(name: name, sequence: sequence, kind: kind)) {
            throw wrong(reason)
        }
    }

    /// Takes a file that the manifest names; what is wrong with it otherwise.
    private mutating func add(_ file: File) -> String? {
        switch file.kind {
        case .base:
            guard base == nil else { return "Found duplicate base file information" }
            base = file
            baseSequence = file.sequence
        case .history:
            history.append(file)
        case .increment:
            guard file.sequence > (increments.last?.sequence ?? 0) else {
                return "Found a non-monotonic sequence number"
            }
            increments.append(file)
            incrementSequence = file.sequence
        }
        // The same file twice would be loaded twice.
        return files.count { $0.name == file.name } > 1 ? "Found duplicate file name" : nil
    }
}

/// Words of a line as the reference quotes them: between double quotes with escapes when they hold
/// blanks or bytes that cannot be printed.
enum QuotedWord {
    private static let escapes: [(UInt8, UInt8)] = [
        (UInt8(ascii: "n"), 10), (UInt8(ascii: "r"), 13), (UInt8(ascii: "t"), 9),
        (UInt8(ascii: "b"), 8), (UInt8(ascii: "a"), 7),
    ]
    private static let quote = UInt8(ascii: "\"")
    private static let backslash = UInt8(ascii: "\\")

    static func quoteIfNeeded(_ word: [UInt8]) -> [UInt8] {
        let isPlain = !word.isEmpty && word.allSatisfy {
            $0 > 32 && $0 < 127 && $0 != quote && $0 != backslash
        }
        if isPlain { return word }
        let digits = Array("0123456789abcdef".utf8)
        var out = [quote]
        for byte in word {
            if byte == quote || byte == backslash {
                out += [backslash, byte]
            } else if let escape = escapes.first(where: { $0.1 == byte }) {
                out += [backslash, escape.0]
            } else if byte >= 32, byte < 127 {
                out.append(byte)
            } else {
                out += [backslash, UInt8(ascii: "x")]
                out += [digits[Int(byte &>> 4)], digits[Int(byte & 15)]]
            }
        }
        return out + [quote]
    }

    /// The words of a line; nil when its quotes do not match.
    static func split(_ line: [UInt8]) -> [[UInt8]]? {
        var words: [[UInt8]] = []
        var at = 0
        while true {
            while at < line.count, isBlank(line[at]) { at += 1 }
            guard at < line.count else { return words }
            var word: [UInt8] = []
            if line[at] == quote {
                guard let end = unquote(line, at + 1, into: &word) else { return nil }
                at = end
            } else {
                while at < line.count, !isBlank(line[at]) {
                    if line[at] == quote { return nil }
                    word.append(line[at])
                    at += 1
                }
            }
            words.append(word)
        }
    }

    /// Reads up to the closing quote, which must end the word; returns where it goes on.
    private static func unquote(
        _ line: [UInt8], _ start: Int, into word: inout [UInt8]
    ) -> Int? {
        var at = start
        while at < line.count {
            let byte = line[at]
            if byte == quote {
                let next = at + 1
                return next == line.count || isBlank(line[next]) ? next : nil
            }
            guard byte == backslash, at + 1 < line.count else {
                word.append(byte)
                at += 1
                continue
            }
            let mark = line[at + 1]
            if mark == UInt8(ascii: "x"), at + 3 < line.count, let high = digit(line[at + 2]),
                let low = digit(line[at + 3])
            {
                word.append((high &<< 4) | low)
                at += 4
            } else {
                word.append(escapes.first { $0.0 == mark }?.1 ?? mark)
                at += 2
            }
        }
        return nil
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 32 || (byte >= 9 && byte <= 13)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
