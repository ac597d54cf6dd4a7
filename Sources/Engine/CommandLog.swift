// The commands that were remarkable: that took long, or whose request or reply was large. One log
// for each kind, of the last so many. Long argument lists and long arguments are cut as in the
// reference: at most 32 arguments, of at most 128 bytes each, the rest only counted.
import Base

/// What a command is remembered for.
public enum CommandLogKind: Int, CaseIterable, Sendable {
    /// It took at least `commandlog-execution-slower-than` microseconds.
    case slow
    /// Its request had at least `commandlog-request-larger-than` bytes.
    case largeRequest
    /// Its reply had at least `commandlog-reply-larger-than` bytes.
    case largeReply
}

public struct CommandLog {
    public struct Entry {
        public let id: Int64
        /// Seconds since 1970.
        public let time: Int64
        /// Microseconds, or bytes.
        public let value: Int64
        public let arguments: [[UInt8]]
        public let peer: String
        public let clientName: String
    }

    private static let argumentLimit = 32
    private static let byteLimit = 128

    private var entries: [Entry] = []
    /// Entries before this one are dropped already.
    private var first = 0
    private var nextID: Int64 = 0

    public init() {}

    public var count: Int { entries.count - first }

    /// The entries, the newest first.
    public var newestFirst: ReversedCollection<ArraySlice<Entry>> {
        entries[first...].reversed()
    }

    public mutating func removeAll() {
        entries.removeAll()
        first = 0
    }

    mutating func append(
        _ arguments: [[UInt8]], _ session: UnsafeMutablePointer<Session>, value: Int64,
        at now: WallTime, keeping limit: Int
    ) {
        entries.append(
            Entry(
                id: nextID, time: now.seconds, value: value, arguments: arguments,
                peer: session.pointee.peerAddress, clientName: session.pointee.name))
        nextID += 1
        while count > limit { first += 1 }
        // Dropped in large pieces, so that a long log costs nothing per entry.
        if first > 64, first > entries.count / 2 {
            entries.removeFirst(first)
            first = 0
        }
        invariant(count <= limit, "the log keeps to its length")
    }

    /// The arguments as they are kept.
    static func trimmed(_ count: Int, _ argument: (Int) -> Bytes) -> [[UInt8]] {
        let kept = count > argumentLimit ? argumentLimit - 1 : count
        var out: [[UInt8]] = []
        out.reserveCapacity(kept + 1)
        for index in 0..<kept {
            let bytes = argument(index)
            let left = bytes.count - byteLimit
            guard left > 0 else {
                out.append(bytes.array)
                continue
            }
            out.append(bytes[0..<byteLimit].array + Array("... (\(left) more bytes)".utf8))
        }
        if kept < count { out.append(Array("... (\(count - kept) more arguments)".utf8)) }
        return out
    }
}

/// The three logs.
public struct CommandLogs {
    private var logs = Array(repeating: CommandLog(), count: CommandLogKind.allCases.count)

    public init() {}

    public subscript(_ kind: CommandLogKind) -> CommandLog {
        get { logs[kind.rawValue] }
        set { logs[kind.rawValue] = newValue }
    }
}
