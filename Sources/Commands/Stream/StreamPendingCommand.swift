// XPENDING: what was delivered and not acknowledged, as a summary or entry by entry.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerStreamPending() {
        command(
            "xpending", since: "5.0.0", arity: -3, [.readonly], acl: [.stream],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key group [filters: [IDLE min-idle-time:integer]{6.2.0} start end count:integer \
            [consumer]]
            """,
            summary: """
            Return information and entries from a stream consumer group pending entries list, that \
            are messages fetched but never acknowledged.
            """,
            complexity: """
            O(N) with N being the number of elements returned, so asking for a small fixed number \
            of entries per call is O(1). O(M), where M is the total number of entries scanned when \
            used with the IDLE filter. When the command returns just the summary and the list of \
            consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for \
            iterating every consumer.
            """,
            history: "6.2.0 Added the `IDLE` option and exclusive range intervals.",
            tips: "nondeterministic_output"
        ) { xpending(Call($0)) }
    }
}

private struct PendingQuery {
    var first: StreamID
    var last: StreamID
    var count: Int64
    var minimumIdle: Int64
    var consumer: Bytes?
}

private func xpending(_ call: Call) {
    guard call.count == 3 || (call.count >= 6 && call.count <= 9) else {
        call.reply.error(.syntax)
        return
    }
    var query: PendingQuery?
    if call.count >= 6 {
        guard let parsed = queryOrReply(call) else { return }
        query = parsed
    }
    var stream: Stream?
    if let entry = call.lookupRead(call.key(1)) {
        guard let found = call.streamOrReply(entry) else { return }
        stream = found
    }
    guard let group = call.groupOrReply(stream, 2, key: 1) else { return }
    if let query {
        list(call, group, query)
    } else {
        summarise(call, group)
    }
}

private func queryOrReply(_ call: Call) -> PendingQuery? {
    var start = 3
    var idle: Int64 = 0
    if call[3].matches("idle") {
        guard let value = call.integerOrReply(4) else { return nil }
        idle = value
        guard call.count >= 8 else {
            call.reply.error(.syntax)
            return nil
        }
        start = 5
    }
    guard let count = call.integerOrReply(start + 2), let first = call.intervalStartOrReply(start),
        let last = call.intervalEndOrReply(start + 1)
    else { return nil }
    return PendingQuery(
        first: first, last: last, count: max(count, 0), minimumIdle: idle,
        consumer: start + 3 < call.count ? call[start + 3] : nil)
}

private func summarise(_ call: Call, _ group: StreamGroup) {
    let reply = call.reply
    reply.array(4)
    reply.integer(group.pending.count)
    guard let first = group.pending.first, let last = group.pending.last else {
        reply.null()
        reply.null()
        reply.nullArray()
        return
    }
    reply.bulk(first.id)
    reply.bulk(last.id)
    let mark = reply.mark()
    var shown = 0
    for index in 0..<group.consumerCount {
        let consumer = group.consumer(at: index)
        guard consumer.pending.count > 0 else { continue }
        reply.array(2)
        reply.bulk(consumer.name)
        reply.bulk(decimal: Int64(consumer.pending.count))
        shown += 1
    }
    reply.closeArray(shown, since: mark)
}

private func list(_ call: Call, _ group: StreamGroup, _ query: PendingQuery) {
    let reply = call.reply
    var pending = group.pending
    if let name = query.consumer {
        guard let consumer = group.consumer(name) else {
            reply.array(0)
            return
        }
        pending = consumer.pending
    }
    let now = call.now.milliseconds
    let mark = reply.mark()
    var shown = 0
    var cursor = query.count > 0 ? pending.lowerBound(query.first) : nil
    while let current = cursor, current.id <= query.last, shown < query.count {
        cursor = current.next
        let entry = current.pending
        let elapsed = now &- entry.deliveryTime
        if query.minimumIdle != 0, elapsed < query.minimumIdle { continue }
        reply.array(4)
        reply.bulk(current.id)
        reply.bulk(entry.consumer?.name ?? .empty)
        reply.integer(max(elapsed, 0))
        reply.integer(Int64(truncatingIfNeeded: entry.deliveryCount))
        shown += 1
    }
    reply.closeArray(shown, since: mark)
}
