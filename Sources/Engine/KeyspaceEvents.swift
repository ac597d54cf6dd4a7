// Keyspace notifications: each event of a key is a message, `__keyspace@0__:key` with the event's
// name or `__keyevent@0__:event` with the key, as `notify-keyspace-events` asks. They go to this
// node's subscribers only, as in the reference. While the setting is empty there is no hook, and
// commands do nothing for it.
import Base
import RESP
import Storage

extension KeyEventClass {
    /// Messages on the channel of the key.
    public static let keyspaceChannel = KeyEventClass(rawValue: 1 << 0)
    /// Messages on the channel of the event.
    public static let keyeventChannel = KeyEventClass(rawValue: 1 << 1)
    /// Events of types that modules bring.
    public static let module = KeyEventClass(rawValue: 1 << 13)

    /// What the letter `A` stands for.
    static let all: KeyEventClass = [
        .generic, .string, .list, .set, .hash, .sortedSet, .expired, .evicted, .stream, .module,
    ]

    /// The letters, in the order in which they are shown.
    private static let letters: [(Character, KeyEventClass)] = [
        ("A", .all), ("g", .generic), ("$", .string), ("l", .list), ("s", .set), ("h", .hash),
        ("z", .sortedSet), ("x", .expired), ("e", .evicted), ("t", .stream), ("d", .module),
        ("n", .new), ("K", .keyspaceChannel), ("E", .keyeventChannel), ("m", .keyMiss),
    ]

    /// From the letters of the configuration; nil when one is unknown.
    init?(letters text: String) {
        self = []
        for letter in text {
            guard let known = KeyEventClass.letters.first(where: { $0.0 == letter }) else {
                return nil
            }
            formUnion(known.1)
        }
    }

    /// As CONFIG GET shows it. All classes together are `A`, which hides `n` as the reference does.
    var text: String {
        let isAll = isSuperset(of: .all)
        let shown = KeyEventClass.letters.filter { letter, events in
            if letter == "A" { return isAll }
            if isAll, !events.isSubset(of: [.keyspaceChannel, .keyeventChannel, .keyMiss]) {
                return false
            }
            return isSuperset(of: events)
        }
        return String(shown.map(\.0))
    }
}

extension ExecutorPointer {
    /// Begins or ends the notifications, as the settings say.
    public func applyEventSettings() {
        let wanted = pointee.settings.notifiedEvents
        let channels: KeyEventClass = [.keyspaceChannel, .keyeventChannel]
        guard !wanted.isDisjoint(with: channels), !wanted.subtracting(channels).isEmpty else {
            pointee.keyEvent = nil
            return
        }
        pointee.keyEvent = { executor, event in
            executor.assumingMemoryBound(to: Executor.self).announce(
                event.assumingMemoryBound(to: KeyEvent.self).pointee)
        }
    }

    private func announce(_ event: KeyEvent) {
        let wanted = pointee.settings.notifiedEvents
        guard !wanted.isDisjoint(with: event.eventClass), !pointee.pubsub.pointee.isSilent else {
            return
        }
        let database = Int64(event.key.database)
        let name = Bytes(event.name)
        let channel = pointee.eventChannel
        if wanted.contains(.keyspaceChannel) {
            channel.pointee.setChannel("__keyspace@", database, event.key.bytes)
            publish(channel.pointee.bytes, name)
        }
        if wanted.contains(.keyeventChannel) {
            channel.pointee.setChannel("__keyevent@", database, name)
            publish(channel.pointee.bytes, event.key.bytes)
        }
    }
}

extension Buffer {
    /// `prefix`, the database's number, `__:`, `suffix`.
    fileprivate mutating func setChannel(
        _ prefix: StaticString, _ database: Int64, _ suffix: Bytes
    ) {
        removeAll()
        append(prefix)
        let count = writeDecimal(database, to: reserve(24))
        wrote(count)
        append("__:")
        append(suffix)
    }
}
