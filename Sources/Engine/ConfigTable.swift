// Every directive of the configuration, once: its name, its legal values, where its value lives in
// `Settings`, and what may be done with it. The file, the command line, CONFIG GET, SET and REWRITE
// all go through these entries. Names, ranges and error texts are the reference's (7.0.15, and a
// few directives of 7.2).
//
// `ConfigTable+Entries` has the entries, `+Inert` those that change nothing, `+File` reads a
// configuration, `+Rewrite` writes one.
import Base

public struct ConfigFlags: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Only at the start.
    public static let immutable = ConfigFlags(rawValue: 1 << 0)
    /// CONFIG SET needs `enable-protected-configs`.
    public static let protected = ConfigFlags(rawValue: 1 << 1)
    /// The value must not be shown in logs.
    public static let sensitive = ConfigFlags(rawValue: 1 << 2)
    /// CONFIG GET shows it only by its exact name.
    public static let hidden = ConfigFlags(rawValue: 1 << 3)
    /// Takes several words.
    public static let multiple = ConfigFlags(rawValue: 1 << 4)
    /// Not while the data set is loaded.
    public static let denyLoading = ConfigFlags(rawValue: 1 << 5)
    /// The process (sockets, log, folder) must act on a change.
    public static let process = ConfigFlags(rawValue: 1 << 6)
}

/// How a value is written into a file.
enum ConfigForm {
    /// As CONFIG GET shows it.
    case plain
    /// Between quotes, with escapes; left out when empty and not in the file.
    case quoted(emptyIsUnset: Bool)
    /// `100mb`, or a percentage as it is.
    case memory
    /// As lines of its own making; whether each must be there even if it was not.
    case lines(@Sendable (Settings) -> [(line: String, isForced: Bool)])
}

public struct ConfigEntry: Sendable {
    public let name: String
    public let alias: String?
    public let flags: ConfigFlags
    let form: ConfigForm
    /// The value as CONFIG GET shows it.
    public let get: @Sendable (Settings) -> String
    /// Checks and stores a value; nil, or what is wrong with it.
    public let set: @Sendable (inout Settings, [String]) -> String?

    /// Changes nothing in this version; see `ConfigTable.inertDirectives`.
    public var isInert: Bool { ConfigTable.inertReason(name) != nil }
}

/// What CONFIG SET may know of its situation.
public struct ConfigContext {
    public var isLoading: Bool
    /// Whether directives that are protected may be set by this client.
    public var allowsProtected: Bool

    public init(isLoading: Bool, allowsProtected: Bool) {
        self.isLoading = isLoading
        self.allowsProtected = allowsProtected
    }
}

/// Why CONFIG SET changed nothing.
public enum ConfigSetFailure: Error, Equatable {
    case unknown(String)
    case refused(argument: String, reason: String)
    case loading

    /// The error line.
    public var text: String {
        switch self {
        case .unknown(let name):
            "ERR Unknown option or number of arguments for CONFIG SET - '\(name)'"
        case .refused(let argument, let reason):
            "ERR CONFIG SET failed (possibly related to argument '\(argument)') - \(reason)"
        case .loading:
            "LOADING Redis is loading the dataset in memory"
        }
    }
}

public enum ConfigTable {
    /// The entry of a directive, by name or alias, without regard to case.
    public static func entry(_ name: String) -> ConfigEntry? {
        places[name.lowercased()].map { entries[$0] }
    }

    /// Every directive by name and by alias.
    static let places: [String: Int] = {
        var out: [String: Int] = [:]
        for (index, entry) in entries.enumerated() {
            invariant(out[entry.name] == nil, "a directive is declared twice")
            out[entry.name] = index
            if let alias = entry.alias { out[alias] = index }
        }
        return out
    }()

    // MARK: CONFIG GET

    /// The directives that the patterns name, with their values. A name without wildcards is
    /// answered as it was asked for; hidden directives need that.
    public static func get(_ patterns: [String], _ settings: Settings) -> [(String, String)] {
        var seen: Set<String> = []
        var out: [(String, String)] = []
        for pattern in patterns {
            guard pattern.contains(where: { "[*?".contains($0) }) else {
                if let entry = entry(pattern), seen.insert(pattern.lowercased()).inserted {
                    out.append((pattern, entry.get(settings)))
                }
                continue
            }
            for entry in entries where !entry.flags.contains(.hidden) {
                for name in [entry.name] + (entry.alias.map { [$0] } ?? []) {
                    let fits = pattern.withBytes { glob in
                        name.withBytes { $0.matches(glob: glob, ignoringCase: true) }
                    }
                    guard fits, seen.insert(name).inserted else { continue }
                    out.append((name, entry.get(settings)))
                }
            }
        }
        return out
    }

    // MARK: CONFIG SET

    /// Sets all of `pairs`, or none; returns the names of those whose value changed.
    public static func set(
        _ pairs: [(name: String, value: String)], in settings: inout Settings,
        _ context: ConfigContext
    ) throws(ConfigSetFailure) -> [String] {
        let chosen = try choose(pairs, context)
        var next = settings
        var changed: [String] = []
        for (entry, pair) in zip(chosen, pairs) {
            let before = entry.get(next)
            let words =
                entry.flags.contains(.multiple)
                ? pair.value.split(separator: " ", omittingEmptySubsequences: false)
                    .map(String.init)
                : [pair.value]
            if let reason = entry.set(&next, words) {
                throw .refused(argument: pair.name.lowercased(), reason: reason)
            }
            if entry.get(next) != before { changed.append(entry.name) }
        }
        settings = next
        return changed
    }

    /// The entries of `pairs`, in order. The first offence decides the error; that the data set
    /// is loading comes before all others, since clients handle it on their own.
    private static func choose(
        _ pairs: [(name: String, value: String)], _ context: ConfigContext
    ) throws(ConfigSetFailure) -> [ConfigEntry] {
        var chosen: [ConfigEntry] = []
        var failure: ConfigSetFailure?
        for pair in pairs {
            guard let entry = entry(pair.name) else {
                failure = failure ?? .unknown(pair.name)
                continue
            }
            if failure != nil { continue }
            var reason: String?
            if entry.flags.contains(.immutable) {
                reason = "can't set immutable config"
            } else if entry.flags.contains(.protected), !context.allowsProtected {
                reason = "can't set protected config"
            } else if context.isLoading, entry.flags.contains(.denyLoading) {
                failure = .loading
                continue
            } else if chosen.contains(where: { $0.name == entry.name }) {
                reason = "duplicate parameter"
            }
            if let reason { failure = .refused(argument: pair.name, reason: reason) }
            chosen.append(entry)
        }
        if let failure { throw failure }
        invariant(chosen.count == pairs.count, "each pair has its entry")
        return chosen
    }
}
