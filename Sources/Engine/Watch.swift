// WATCH: which sessions must fail their EXEC when a key changes. The table is empty in most
// deployments; commands ask `isEmpty` and nothing else then. A key that was expired already when it
// was watched counts as missing: that its remains are removed later is no change.
import Base

public struct WatchedKey: Hashable {
    public var database: Int32
    public var key: [UInt8]

    public init(database: Int32, key: [UInt8]) {
        self.database = database
        self.key = key
    }
}

/// What a watched key is before or after its whole database is exchanged.
public enum WatchedState {
    case missing
    case alive
    /// There, but its time is over.
    case expired
}

public struct WatchTable {
    private struct Watcher {
        var session: UnsafeMutablePointer<Session>
        var wasExpired: Bool
    }
    private var watchers: [WatchedKey: [Watcher]] = [:]

    public init() {}

    @inline(__always)
    public var isEmpty: Bool { watchers.isEmpty }
    public var count: Int { watchers.count }

    /// Watches a key; `isExpired` when its time is over although it is still there.
    public mutating func add(
        _ key: WatchedKey, _ session: UnsafeMutablePointer<Session>, isExpired: Bool
    ) {
        watchers[key, default: []].append(Watcher(session: session, wasExpired: isExpired))
    }

    public mutating func remove(_ key: WatchedKey, _ session: UnsafeMutablePointer<Session>) {
        guard var list = watchers[key] else { return }
        list.removeAll { $0.session == session }
        watchers[key] = list.isEmpty ? nil : list
    }

    /// True when the key was expired when this session began to watch it, and is still.
    public func wasExpired(_ key: WatchedKey, _ session: UnsafeMutablePointer<Session>) -> Bool {
        watchers[key]?.contains { $0.session == session && $0.wasExpired } ?? false
    }

    /// Marks everyone who watches this key. `exists`: whether it is there after the change.
    @inline(never)
    public mutating func touch(database: Int32, key: Bytes, exists: Bool) {
        let probe = WatchedKey(database: database, key: key.array)
        guard var list = watchers[probe] else { return }
        for index in list.indices {
            if !list[index].wasExpired {
                list[index].session.pointee.flags.insert(.dirtyWatch)
            } else if !exists {
                list[index].wasExpired = false
            }
        }
        watchers[probe] = list
    }

    /// Marks those who watch a key of `database` (of any, if negative) that an exchange or the end
    /// of the whole database changes: FLUSHALL, SWAPDB, a full synchronisation.
    public mutating func touchAll(
        database: Int32, states: (WatchedKey) -> (before: WatchedState, after: WatchedState)
    ) {
        for key in watchers.keys where database < 0 || key.database == database {
            let (before, after) = states(key)
            guard before != .missing || after != .missing, var list = watchers[key] else {
                continue
            }
            for index in list.indices {
                if list[index].wasExpired, after == .missing {
                    list[index].wasExpired = false
                } else if list[index].wasExpired, after == .expired {
                    continue
                } else if !list[index].wasExpired, before == .missing, after == .expired {
                    list[index].wasExpired = true
                } else {
                    list[index].session.pointee.flags.insert(.dirtyWatch)
                }
            }
            watchers[key] = list
        }
    }

    /// As above for the end of a database; `exists`: whether the key was in it.
    public mutating func touchAll(
        database: Int32, exists: (WatchedKey) -> Bool = { _ in true }
    ) {
        touchAll(database: database) { (exists($0) ? .alive : .missing, .missing) }
    }
}
