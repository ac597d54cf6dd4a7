// ACL LOG: what was denied to whom, the latest first. The same offence again within a minute is
// counted in its entry, which moves to the front.
import Base

/// Where a command came from that was denied.
public enum AccessContext: String, Sendable {
    case toplevel
    case multi
    case lua
    case module
}

public struct AccessLog {
    public struct Entry {
        public var count = 1
        /// `command`, `key`, `channel` or `auth`.
        public let reason: StaticString
        public let context: AccessContext
        public let object: [UInt8]
        public let user: [UInt8]
        public var at: WallTime
        /// The client as CLIENT LIST shows it.
        public var client: String

        func isSame(as other: Entry) -> Bool {
            Bytes(reason) == Bytes(other.reason) && context == other.context
                && object == other.object && user == other.user
                && abs(at.milliseconds - other.at.milliseconds) <= 60_000
        }
    }

    public private(set) var entries: [Entry] = []

    /// How many of the latest are looked at for the same offence.
    private static let searched = 10

    public mutating func add(_ entry: Entry, atMost limit: Int) {
        let latest = entries.prefix(AccessLog.searched)
        if let index = latest.firstIndex(where: { $0.isSame(as: entry) }) {
            var known = entries.remove(at: index)
            known.count += 1
            known.at = entry.at
            known.client = entry.client
            entries.insert(known, at: 0)
            return
        }
        entries.insert(entry, at: 0)
        if entries.count > limit { entries.removeLast(entries.count - limit) }
    }

    public mutating func removeAll() { entries = [] }
}
