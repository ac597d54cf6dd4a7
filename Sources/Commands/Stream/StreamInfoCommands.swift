// XINFO: streams, groups and consumers as they are, for people and for monitoring.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerStreamInfo() {
        command(
            "xinfo", since: "5.0.0", arity: -2,
            summary: "A container for stream introspection commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "consumers", of: "xinfo", since: "5.0.0", arity: 4, [.readonly], acl: [.stream],
            keys: [.range(2, [.RO, .access])],
            syntax: "key groupname",
            summary: "List the consumers in a consumer group",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { infoConsumers(Call($0)) }

        command(
            "groups", of: "xinfo", since: "5.0.0", arity: 3, [.readonly], acl: [.stream],
            keys: [.range(2, [.RO, .access])],
            syntax: "key",
            summary: "List the consumer groups of a stream",
            complexity: "O(1)",
            history: "7.0.0 Added the `entries-read` and `lag` fields"
        ) { infoGroups(Call($0)) }

        command(
            "help", of: "xinfo", since: "5.0.0", arity: 2, [.loading, .stale], acl: [.stream],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { infoHelp(Call($0)) }

        command(
            "stream", of: "xinfo", since: "5.0.0", arity: -3, [.readonly], acl: [.stream],
            keys: [.range(2, [.RO, .access])],
            syntax: "key [FULL <full: [COUNT count:integer]>]",
            summary: "Get information about a stream",
            complexity: "O(1)",
            history: """
            6.0.0 Added the `FULL` modifier.
            7.0.0 Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, \
            `entries-read` and `lag` fields
            """
        ) { infoStream(Call($0)) }
    }
}

/// The stream at argument 2; nil after an error reply.
private func streamOrReply(_ call: Call) -> Stream? {
    guard let entry = call.lookupRead(call.key(2)) else {
        call.reply.error(.noSuchKey)
        return nil
    }
    return call.streamOrReply(entry)
}

// MARK: XINFO STREAM

private func infoStream(_ call: Call) {
    guard let stream = streamOrReply(call) else { return }
    guard call.count > 3 else {
        call.reply.map(10)
        replyFacts(call, stream)
        call.reply.bulk("groups")
        call.reply.integer(stream.groupCount)
        call.reply.bulk("first-entry")
        replyEntry(call, stream, stream.edgeID(withDeleted: false))
        call.reply.bulk("last-entry")
        replyEntry(call, stream, stream.lastLiveID)
        return
    }
    guard call.count == 4 || call.count == 6, call[3].matches("full"),
        call.count == 4 || call[4].matches("count")
    else {
        call.refuseSubcommand("XINFO")
        return
    }
    var count: Int64 = 10
    if call.count == 6 {
        guard let given = call.integerOrReply(5) else { return }
        count = given < 0 ? 10 : given
    }
    call.reply.map(9)
    replyFacts(call, stream)
    call.reply.bulk("entries")
    call.replyEntries(of: stream, from: .zero, through: .highest, count: count)
    call.reply.bulk("groups")
    call.reply.array(stream.groupCount)
    for index in 0..<stream.groupCount {
        replyWhole(call, stream, stream.group(at: index), count)
    }
}

private func replyFacts(_ call: Call, _ stream: Stream) {
    let reply = call.reply
    reply.bulk("length")
    reply.integer(stream.length)
    reply.bulk("radix-tree-keys")
    reply.integer(stream.nodeCount)
    reply.bulk("radix-tree-nodes")
    reply.integer(max(stream.indexNodeCount, 1))
    reply.bulk("last-generated-id")
    reply.bulk(stream.lastID)
    reply.bulk("max-deleted-entry-id")
    reply.bulk(stream.maxDeletedID)
    reply.bulk("entries-added")
    reply.integer(Int64(bitPattern: stream.entriesAdded))
    reply.bulk("recorded-first-entry-id")
    reply.bulk(stream.firstID)
}

private func replyEntry(_ call: Call, _ stream: Stream, _ id: StreamID?) {
    if let id, call.reply.entry(id, of: stream) { return }
    call.reply.null()
}

/// How far a group has read, and how far behind it is.
private func replyProgress(_ call: Call, _ stream: Stream, _ group: StreamGroup) {
    let reply = call.reply
    reply.bulk("last-delivered-id")
    reply.bulk(group.lastID)
    reply.bulk("entries-read")
    if group.entriesRead == StreamGroup.unknown {
        reply.null()
    } else {
        reply.integer(group.entriesRead)
    }
    reply.bulk("lag")
    if let lag = stream.lag(of: group) { reply.integer(lag) } else { reply.null() }
}

private func replyWhole(_ call: Call, _ stream: Stream, _ group: StreamGroup, _ count: Int64) {
    let reply = call.reply
    reply.map(7)
    reply.bulk("name")
    reply.bulk(group.name)
    replyProgress(call, stream, group)
    reply.bulk("pel-count")
    reply.integer(group.pending.count)
    reply.bulk("pending")
    replyPending(call, group.pending, count, withConsumer: true)
    reply.bulk("consumers")
    reply.array(group.consumerCount)
    for index in 0..<group.consumerCount {
        let consumer = group.consumer(at: index)
        reply.map(5)
        reply.bulk("name")
        reply.bulk(consumer.name)
        reply.bulk("seen-time")
        reply.integer(consumer.seenTime)
        reply.bulk("active-time")
        reply.integer(consumer.activeTime)
        reply.bulk("pel-count")
        reply.integer(consumer.pending.count)
        reply.bulk("pending")
        replyPending(call, consumer.pending, count, withConsumer: false)
    }
}

private func replyPending(_ call: Call, _ pending: IDTree, _ count: Int64, withConsumer: Bool) {
    let reply = call.reply
    let shown = count == 0 ? pending.count : Int(min(count, Int64(pending.count)))
    reply.array(shown)
    var cursor = pending.first
    for _ in 0..<shown {
        guard let current = cursor else { unreachable("a list is shorter than its count") }
        let entry = current.pending
        reply.array(withConsumer ? 4 : 3)
        reply.bulk(current.id)
        if withConsumer { reply.bulk(entry.consumer?.name ?? .empty) }
        reply.integer(entry.deliveryTime)
        reply.integer(Int64(truncatingIfNeeded: entry.deliveryCount))
        cursor = current.next
    }
}

// MARK: XINFO GROUPS and CONSUMERS

private func infoGroups(_ call: Call) {
    guard let stream = streamOrReply(call) else { return }
    let reply = call.reply
    reply.array(stream.groupCount)
    for index in 0..<stream.groupCount {
        let group = stream.group(at: index)
        reply.map(6)
        reply.bulk("name")
        reply.bulk(group.name)
        reply.bulk("consumers")
        reply.integer(group.consumerCount)
        reply.bulk("pending")
        reply.integer(group.pending.count)
        replyProgress(call, stream, group)
    }
}

private func infoConsumers(_ call: Call) {
    guard let stream = streamOrReply(call),
        let group = call.knownGroupOrReply(stream, 3, key: 2)
    else { return }
    let now = call.now.milliseconds
    let reply = call.reply
    reply.array(group.consumerCount)
    for index in 0..<group.consumerCount {
        let consumer = group.consumer(at: index)
        reply.map(4)
        reply.bulk("name")
        reply.bulk(consumer.name)
        reply.bulk("pending")
        reply.integer(consumer.pending.count)
        reply.bulk("idle")
        reply.integer(max(now &- consumer.seenTime, 0))
        reply.bulk("inactive")
        reply.integer(consumer.activeTime == -1 ? -1 : now &- consumer.activeTime)
    }
}

private func infoHelp(_ call: Call) {
    call.replyHelp([
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
    ])
}
