// WATCH: which sessions must fail their EXEC when a key changes. The table is empty in most
// deployments; commands ask `isEmpty` and nothing else then.
import Base

/// A watched key, and whether it was already expired when it was watched: then its removal is no
/// change.
public struct WatchedKey: Hashable {
    public var database: Int32
    public var key: [UInt8]
    public var expiredAtWatch: Bool

    public init(database: Int32, key: [UInt8], expiredAtWatch: Bool) {
        self.database = database
        self.key = key
        self.expiredAtWatch = expiredAtWatch
    }

    public static func == (a: WatchedKey, b: WatchedKey) -> Bool {
        a.database == b.database && a.key == b.key
    }
    public func hash(into hasher: inout Hasher) {
        hasher.combine(database)
        hasher.combine(key)
    }
}

public struct WatchTable {
    private var watchers: [WatchedKey: [UnsafeMutablePointer<Session>]] = [:]

    public init() {}

    @inline(__always)
    public var isEmpty: Bool { watchers.isEmpty }
    public var count: Int { watchers.count }

    public mutating func add(_ key: WatchedKey, _ session: UnsafeMutablePointer<Session>) {
        watchers[key, default: []].append(session)
    }

    public mutating func remove(_ key: WatchedKey, _ session: UnsafeMutablePointer<Session>) {
        guard var list = watchers[key] else { return }
        list.removeAll { $0 == session }
        watchers[key] = list.isEmpty ? nil : list
    }

    /// Marks everyone who watches this key.
    public func touch(database: Int32, key: Bytes) {
        let probe = WatchedKey(database: database, key: key.array, expiredAtWatch: false)
        for session in watchers[probe] ?? [] { session.pointee.flags.insert(.dirtyWatch) }
    }

    /// Marks everyone who watches a key of `database` (any, if negative) for which `changed`.
    public func touchAll(database: Int32, changed: (WatchedKey) -> Bool = { _ in true }) {
        for (key, list) in watchers where database < 0 || key.database == database {
            guard changed(key) else { continue }
            for session in list { session.pointee.flags.insert(.dirtyWatch) }
        }
    }
}
