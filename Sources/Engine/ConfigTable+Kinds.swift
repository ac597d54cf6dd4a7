// The kinds of directives: booleans, numbers, memory, texts, choices. Each makes an entry from a
// place in `Settings` and the legal values.
import Base

/// A place in the settings that an entry can keep.
typealias SettingPath<Value> = any WritableKeyPath<Settings, Value> & Sendable

/// How a number is written.
enum ConfigNumber {
    case plain, memory, octal
}

/// Collects entries; one statement per directive keeps the compiler quick.
struct ConfigEntries {
    var all: [ConfigEntry] = []

    mutating func bool(
        _ name: String, _ path: SettingPath<Bool>,
        alias: String? = nil, flags: ConfigFlags = []
    ) {
        all.append(
            ConfigEntry(
                name: name, alias: alias, flags: flags, form: .plain,
                get: { $0[keyPath: path] ? "yes" : "no" },
                set: { settings, words in
                    guard let value = ConfigValue.bool(words) else { return ConfigValue.notBool }
                    settings[keyPath: path] = value
                    return nil
                }))
    }

    mutating func number(
        _ name: String, _ path: SettingPath<Int>,
        _ range: ClosedRange<Int>, _ kind: ConfigNumber = .plain, alias: String? = nil,
        flags: ConfigFlags = []
    ) {
        all.append(
            ConfigEntry(
                name: name, alias: alias, flags: flags, form: kind == .memory ? .memory : .plain,
                get: { ConfigValue.text($0[keyPath: path], kind) },
                set: { settings, words in
                    switch ConfigValue.number(words, range, kind) {
                    case .failure(let reason): return reason.text
                    case .success(let value):
                        settings[keyPath: path] = value
                        return nil
                    }
                }))
    }

    mutating func text(
        _ name: String, _ path: SettingPath<String>,
        emptyIsUnset: Bool = true, alias: String? = nil, flags: ConfigFlags = [],
        check: @escaping @Sendable (String) -> String? = { _ in nil }
    ) {
        all.append(
            ConfigEntry(
                name: name, alias: alias, flags: flags, form: .quoted(emptyIsUnset: emptyIsUnset),
                get: { $0[keyPath: path] },
                set: { settings, words in
                    let value = words.first ?? ""
                    if let reason = check(value) { return reason }
                    settings[keyPath: path] = value
                    return nil
                }))
    }

    /// One of `names`, kept as its name.
    mutating func choice(
        _ name: String, _ path: SettingPath<String>, _ names: [String],
        alias: String? = nil, flags: ConfigFlags = []
    ) {
        choice(
            name, names, alias: alias, flags: flags, get: { $0[keyPath: path] },
            set: { $0[keyPath: path] = $1 })
    }

    mutating func choice(
        _ name: String, _ names: [String], alias: String? = nil, flags: ConfigFlags = [],
        get: @escaping @Sendable (Settings) -> String,
        set: @escaping @Sendable (inout Settings, String) -> Void
    ) {
        all.append(
            ConfigEntry(
                name: name, alias: alias, flags: flags, form: .plain, get: get,
                set: { settings, words in
                    guard let value = ConfigValue.choice(words, names) else {
                        return ConfigValue.notOneOf(names)
                    }
                    set(&settings, value)
                    return nil
                }))
    }

    mutating func special(
        _ name: String, alias: String? = nil, flags: ConfigFlags = [], form: ConfigForm,
        get: @escaping @Sendable (Settings) -> String,
        set: @escaping @Sendable (inout Settings, [String]) -> String?
    ) {
        all.append(
            ConfigEntry(name: name, alias: alias, flags: flags, form: form, get: get, set: set))
    }
}

/// What is wrong with a value.
struct ConfigReason: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

/// Reading and showing values, apart from where they live.
enum ConfigValue {
    static let notBool = "argument must be 'yes' or 'no'"

    static func bool(_ words: [String]) -> Bool? {
        switch words.first?.lowercased() {
        case "yes": true
        case "no": false
        default: nil
        }
    }

    static func choice(_ words: [String], _ names: [String]) -> String? {
        guard words.count == 1 else { return nil }
        return names.first { $0 == words[0].lowercased() }
    }

    static func notOneOf(_ names: [String]) -> String {
        "argument(s) must be one of the following: " + names.joined(separator: ", ")
    }

    static func number(
        _ words: [String], _ range: ClosedRange<Int>, _ kind: ConfigNumber
    ) -> Result<Int, ConfigReason> {
        let word = words.first ?? ""
        let parsed: Int?
        switch kind {
        case .memory: parsed = MemoryText.bytes(word)
        case .octal: parsed = Int(word, radix: 8)
        case .plain: parsed = word.withBytes { $0.decimal.map { Int($0) } }
        }
        guard let value = parsed else {
            switch kind {
            case .memory: return .failure(ConfigReason("argument must be a memory value"))
            case .octal:
                return .failure(ConfigReason("argument couldn't be parsed as an octal number"))
            case .plain:
                return .failure(ConfigReason("argument couldn't be parsed into an integer"))
            }
        }
        guard range.contains(value) else {
            let low = text(range.lowerBound, kind)
            let high = text(range.upperBound, kind)
            return .failure(ConfigReason("argument must be between \(low) and \(high) inclusive"))
        }
        return .success(value)
    }

    static func text(_ value: Int, _ kind: ConfigNumber) -> String {
        kind == .octal ? String(value, radix: 8) : String(value)
    }

    /// Text between quotes, so that it reads back the same.
    static func quoted(_ text: String) -> String { quoted(Array(text.utf8)) }

    /// A word of a line: as it is when it reads back like that, else between quotes.
    static func quotedIfNeeded(_ word: [UInt8]) -> String {
        let special = Array("\"'\\".utf8)
        let isPlain = !word.isEmpty
            && word.allSatisfy { (33...126).contains($0) && !special.contains($0) }
        return isPlain ? String(decoding: word, as: UTF8.self) : quoted(word)
    }

    private static func quoted(_ text: [UInt8]) -> String {
        var out = "\""
        for byte in text {
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: "\""):
                out += "\\"
                out.unicodeScalars.append(UnicodeScalar(byte))
            case 10: out += "\\n"
            case 13: out += "\\r"
            case 9: out += "\\t"
            case 7: out += "\\a"
            case 8: out += "\\b"
            case 32...126: out.unicodeScalars.append(UnicodeScalar(byte))
            default:
                let digits = String(byte, radix: 16)
                out += "\\x" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return out + "\""
    }
}
