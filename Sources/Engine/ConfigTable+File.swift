// Reads the text of a configuration: one directive per line, comments, quoted words, later lines
// win. The caller has put included files in their place already.
import Base
import RESP

/// What is wrong with a configuration, and where.
public struct ConfigError: Error, Equatable {
    /// From 1; 0 when it is not about one line.
    public var line: Int
    /// The line, without the spaces around it.
    public var text: String
    public var reason: String

    public init(line: Int, text: String, reason: String) {
        self.line = line
        self.text = text
        self.reason = reason
    }
}

extension ConfigTable {
    /// Puts the directives of `text` into `settings`. `file` is only named in errors.
    /// `isCommand` decides which commands `rename-command` may name.
    public static func load(
        text: String, file: String, into settings: inout Settings,
        isCommand: (String) -> Bool = { _ in true }
    ) throws(ConfigError) {
        var reader = ConfigReader()
        for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            let line = trimmed(raw)
            if line.isEmpty || line.hasPrefix("#") { continue }
            if let reason = reader.take(line, &settings, isCommand) {
                throw ConfigError(line: index + 1, text: line, reason: reason)
            }
        }
        if let problem = reader.finish(settings) { throw problem }
        settings.hz = min(max(settings.hz, 1), 500)
    }

    static func trimmed(_ line: Substring) -> String {
        let blanks: [Character] = [" ", "\t", "\r"]
        var rest = line
        while let first = rest.first, blanks.contains(first) || first == "\r\n" {
            rest.removeFirst()
        }
        while let last = rest.last, blanks.contains(last) || last == "\r\n" { rest.removeLast() }
        return String(rest)
    }

    /// The words of a line; nil when quotes are unbalanced.
    public static func words(_ line: String) -> [String]? {
        var bytes = Array(line.utf8)
        return bytes.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return [] }
            var list = ArgumentList(capacity: 16)
            guard InlineWords.split(base, buffer.count, into: &list) else { return nil }
            return (0..<list.count).map { list.base[$0].string }
        }
    }
}

/// What must be known from line to line.
private struct ConfigReader {
    /// The first `save` line replaces the default points, further ones add to it.
    private var hasSave = false
    private var users: Set<[UInt8]> = []

    /// Takes one directive; nil, or what is wrong with it.
    mutating func take(
        _ line: String, _ settings: inout Settings, _ isCommand: (String) -> Bool
    ) -> String? {
        guard let words = ConfigTable.words(line) else {
            return "Unbalanced quotes in configuration line"
        }
        guard let name = words.first?.lowercased() else { return nil }
        let values = Array(words.dropFirst())
        if let entry = ConfigTable.entry(name) { return set(entry, values, &settings) }
        switch (name, values.count) {
        case ("list-max-ziplist-entries", 1), ("list-max-ziplist-value", 1),
            ("lua-replicate-commands", 1):
            // Gone from the reference too, which still reads past them.
            return nil
        case ("rename-command", 2):
            return rename(values[0], values[1], &settings, isCommand)
        case ("user", 1...):
            return user(line, &settings)
        case ("loadmodule", 1...):
            return "'loadmodule' is not supported by this version: modules are linked in"
        case ("sentinel", 1...):
            return "sentinel directive while not in sentinel mode"
        case ("include", 1):
            return "include is not possible here"
        default:
            return "Bad directive or wrong number of arguments"
        }
    }

    private mutating func set(
        _ entry: ConfigEntry, _ given: [String], _ settings: inout Settings
    ) -> String? {
        var values = given
        if !entry.flags.contains(.multiple) {
            guard values.count == 1 else { return "wrong number of arguments" }
        } else if values.count == 1, !values[0].isEmpty {
            // `--save "60 1"`: several words in one.
            guard let split = ConfigTable.words(values[0]) else {
                return "Unbalanced quotes in configuration line"
            }
            values = split
        }
        guard entry.name == "save" else { return entry.set(&settings, values) }
        let before = hasSave ? settings.savePoints : []
        hasSave = true
        if let reason = entry.set(&settings, values) { return reason }
        // An empty text forgets the lines before it.
        if values != [""] { settings.savePoints = before + settings.savePoints }
        return nil
    }

    private func rename(
        _ from: String, _ to: String, _ settings: inout Settings, _ isCommand: (String) -> Bool
    ) -> String? {
        let renamed = settings.renamedCommands
        let isGone = renamed.contains { $0.from.lowercased() == from.lowercased() }
        let isNew = renamed.contains { $0.to.lowercased() == from.lowercased() }
        guard isNew || (isCommand(from) && !isGone) else {
            return "No such command in rename-command"
        }
        if !to.isEmpty {
            let isTaken =
                renamed.contains { $0.to.lowercased() == to.lowercased() }
                || (isKnown(to, isCommand)
                    && !renamed.contains { $0.from.lowercased() == to.lowercased() })
            if isTaken { return "Target command name already exists" }
        }
        settings.renamedCommands.append((from, to))
        return nil
    }

    /// With no list of commands at hand every name passes `isCommand`: then none is taken.
    private func isKnown(_ name: String, _ isCommand: (String) -> Bool) -> Bool {
        isCommand(name) && !isCommand("\u{0}")
    }

    /// What can be said of a user without the table of commands, which is not there yet.
    private mutating func user(_ line: String, _ settings: inout Settings) -> String? {
        let words = Array((AccessWords.split(Array(line.utf8)) ?? []).dropFirst())
        guard let name = words.first else { return nil }
        func problem(_ word: [UInt8], _ problem: AccessProblem) -> String {
            "Error in user declaration '\(String(decoding: word, as: UTF8.self))': "
                + problem.text
        }
        guard users.insert(name).inserted else { return problem(name, .duplicateUser) }
        let rules: [[UInt8]]
        switch AccessWords.merged(Array(words.dropFirst())) {
        case .success(let merged): rules = merged
        case .failure(let unclosed):
            return problem(words[1 + unclosed.index], .syntax)
        }
        var tried = AccessDefinition(channelsByDefault: false)
        for rule in rules {
            do throws(AccessProblem) {
                try tried.apply(rule, nil, channelsByDefault: false)
            } catch .unknownCommand {
                continue
            } catch {
                return problem(rule, error)
            }
        }
        settings.users.append(words)
        return nil
    }

    /// What only the whole can be wrong about.
    func finish(_ settings: Settings) -> ConfigError? {
        if settings.clusterEnabled, settings.replicaOf != nil {
            return ConfigError(
                line: 0, text: "",
                reason: "replicaof directive not allowed in cluster mode")
        }
        return nil
    }
}
