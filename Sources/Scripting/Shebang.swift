// The first line of a script or library: `#!lua flags=no-writes` or `#!lua name=mylib`. It is split
// into words like a line of redis-cli, quotes included.
import Base
import CLua
import Engine

struct ShebangError: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

struct Shebang {
    var flags: ScriptFlags = .silent
    /// Bytes before the end of the line, which stays part of the source: lines keep their numbers.
    var length = 0
    /// The name of a library.
    var name = ""

    // MARK: Scripts

    /// Of a script; one without such a line says nothing of itself.
    static func ofScript(_ body: Bytes) throws(ShebangError) -> Shebang {
        var shebang = Shebang()
        guard body.count >= 2, body[0..<2] == Bytes("#!") else { return shebang }
        guard let end = endOfLine(body) else { throw ShebangError("Invalid script shebang") }
        shebang.length = end
        guard let words = split(body[0..<end]), let engine = words.first else {
            throw ShebangError("Invalid engine in script shebang")
        }
        guard engine == Array("#!lua".utf8) else {
            throw ShebangError("Unexpected engine in script shebang: \(text(engine))")
        }
        shebang.flags = []
        for word in words.dropFirst() {
            let prefix = Array("flags=".utf8)
            guard word.starts(with: prefix) else {
                throw ShebangError("Unknown lua shebang option: \(text(word))")
            }
            let list = word.dropFirst(prefix.count)
            guard !list.isEmpty else { continue }
            for name in list.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                guard let flag = flag(named: Array(name)) else {
                    throw ShebangError("Unexpected flag in script shebang: \(text(Array(name)))")
                }
                shebang.flags.insert(flag)
            }
        }
        return shebang
    }

    /// The names of flags with their bits, in the order in which they are listed.
    static var flagNames: [(name: String, flag: ScriptFlags)] {
        var names: [(String, ScriptFlags)] = []
        var bit: Int32 = 0
        while let name = clua_flag_name(Int32(names.count), &bit) {
            names.append((String(cString: name), ScriptFlags(rawValue: UInt8(bit))))
        }
        return names
    }

    private static func flag(named name: [UInt8]) -> ScriptFlags? {
        flagNames.first { Array($0.name.utf8) == name }?.flag
    }

    // MARK: Libraries

    /// Of a library of functions, which must have one.
    static func ofLibrary(_ source: Bytes) throws(ShebangError) -> Shebang {
        guard source.count >= 2, source[0..<2] == Bytes("#!") else {
            throw ShebangError("Missing library metadata")
        }
        guard let end = endOfLine(source), let words = split(source[0..<end]),
            let engine = words.first
        else { throw ShebangError("Invalid library metadata") }
        var shebang = Shebang()
        shebang.length = end
        var name: [UInt8]?
        for word in words.dropFirst() {
            guard text(Array(word.prefix(5))).lowercased() == "name=" else {
                throw ShebangError("Invalid metadata value given: \(text(word))")
            }
            guard name == nil else {
                throw ShebangError(
                    "Invalid metadata value, name argument was given multiple times")
            }
            name = Array(word.dropFirst(5))
        }
        guard let name else { throw ShebangError("Library name was not given") }
        guard isName(name) else { throw ShebangError(nameRule) }
        guard text(Array(engine.dropFirst(2))).lowercased() == "lua" else {
            throw ShebangError("Engine '\(text(Array(engine.dropFirst(2))))' not found")
        }
        shebang.name = text(name)
        return shebang
    }

    static let nameRule =
        "Library names can only contain letters, numbers, or underscores(_) and must be at least "
        + "one character long"

    static func isName(_ name: [UInt8]) -> Bool {
        !name.isEmpty
            && name.allSatisfy {
                ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122)
                    || $0 == UInt8(ascii: "_")
            }
    }

    // MARK: Words

    /// Up to the line's end; nil without one. A zero byte ends all text.
    private static func endOfLine(_ body: Bytes) -> Int? {
        for index in 0..<body.count {
            if body[index] == 10 { return index }
            if body[index] == 0 { return nil }
        }
        return nil
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (byte >= 9 && byte <= 13) }

    /// The words of a line; nil when a quote does not end, or a word follows one at once.
    private static func split(_ line: Bytes) -> [[UInt8]]? {
        var words: [[UInt8]] = []
        var at = 0
        while true {
            while at < line.count, isSpace(line[at]) { at += 1 }
            guard at < line.count else { return words }
            var word: [UInt8] = []
            while at < line.count, !isSpace(line[at]) {
                if line[at] == UInt8(ascii: "\"") || line[at] == UInt8(ascii: "'") {
                    guard quoted(line, &at, into: &word) else { return nil }
                    break
                }
                word.append(line[at])
                at += 1
            }
            words.append(word)
        }
    }

    private static func quoted(_ line: Bytes, _ at: inout Int, into word: inout [UInt8]) -> Bool {
        let quote = line[at]
        at += 1
        while at < line.count {
            let byte = line[at]
            if byte == quote {
                at += 1
                return at == line.count || isSpace(line[at])
            }
            at += 1
            guard byte == UInt8(ascii: "\\"), at < line.count else {
                word.append(byte)
                continue
            }
            if quote == UInt8(ascii: "'") {
                guard line[at] == quote else {
                    word.append(byte)
                    continue
                }
                word.append(quote)
                at += 1
            } else {
                escaped(line, &at, into: &word)
            }
        }
        return false
    }

    private static func escaped(_ line: Bytes, _ at: inout Int, into word: inout [UInt8]) {
        let byte = line[at]
        at += 1
        switch byte {
        case UInt8(ascii: "n"): word.append(10)
        case UInt8(ascii: "r"): word.append(13)
        case UInt8(ascii: "t"): word.append(9)
        case UInt8(ascii: "b"): word.append(8)
        case UInt8(ascii: "a"): word.append(7)
        case UInt8(ascii: "x"):
            let digits = at + 1 < line.count ? line[at..<(at + 2)].string : ""
            if let value = UInt8(digits, radix: 16) {
                word.append(value)
                at += 2
            } else {
                word.append(byte)
            }
        default: word.append(byte)
        }
    }
}
