// The directives of what watches a server at work: notifications of key events, the slow log, the
// latency monitor, client-side caching.
import Base

extension ConfigTable {
    static func addObservation(_ table: inout ConfigEntries) {
        table.number(
            "busy-reply-threshold", \.busyReplyThreshold, 0...Int.max, alias: "lua-time-limit")
        table.special(
            "notify-keyspace-events", form: .quoted(emptyIsUnset: false),
            get: { $0.notifiedEvents.text },
            set: { settings, words in
                guard let events = KeyEventClass(letters: words.first ?? "") else {
                    return "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
                }
                settings.notifiedEvents = events
                return nil
            })
        table.number("latency-monitor-threshold", \.latencyMonitorThreshold, 0...Int.max)
        // The slow log has its old names; the newer ones of all three logs mean the same.
        table.number(
            "slowlog-log-slower-than", \.slowLogThreshold, -1...Int.max,
            alias: "commandlog-execution-slower-than")
        table.number(
            "slowlog-max-len", \.slowLogLength, 0...Int.max,
            alias: "commandlog-slow-execution-max-len")
        table.number("commandlog-request-larger-than", \.largeRequestFrom, -1...Int.max)
        table.number("commandlog-large-request-max-len", \.largeRequestLength, 0...Int.max)
        table.number("commandlog-reply-larger-than", \.largeReplyFrom, -1...Int.max)
        table.number("commandlog-large-reply-max-len", \.largeReplyLength, 0...Int.max)
        table.number("tracking-table-max-keys", \.trackingTableMaxKeys, 0...Int.max)
    }
}
