// A line for the log, as a value. Machines and the node queue them; the shell writes them.

/// The reference's log levels, lowest first.
public enum LogLevel: Int, Sendable, Comparable {
    case debug = 0
    case verbose
    case notice
    case warning
    case nothing

    public static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }

    /// The mark in a log line: `.`, `-`, `*`, `#`.
    public var mark: String {
        switch self {
        case .debug: "."
        case .verbose: "-"
        case .notice: "*"
        case .warning, .nothing: "#"
        }
    }
}

public struct LogLine: Sendable, Equatable {
    public var level: LogLevel
    public var text: String
    public init(_ level: LogLevel, _ text: String) {
        self.level = level
        self.text = text
    }
}
