// Reading what is new: XREAD, and XREADGROUP on behalf of a consumer. Both serve all streams that
// have something, or wait for the first that gets something. A group's reader of an old ID gets its
// own pending entries instead.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerStreamReading() {
        command(
            "xread", since: "5.0.0", arity: -4, [.blocking, .readonly], acl: [.stream],
            keys: [
                KeySpec(
                    .keyword("STREAMS", from: 1), .range(last: -1, step: 1, limit: 2),
                    [.RO, .access]),
            ],
            syntax: """
            [COUNT count:integer] [BLOCK milliseconds:integer] STREAMS <streams: key... \
            id:string...>
            """,
            summary: """
            Return never seen elements in multiple streams, with IDs greater than the ones \
            reported by the caller for each stream. Can block.
            """,
            complexity: """
            For each stream mentioned: O(N) with N being the number of elements being returned, it \
            means that XREAD-ing with a fixed COUNT is O(1). Note that when the BLOCK option is \
            used, XADD will pay O(M) time in order to serve the M clients blocked on the stream \
            getting new data.
            """
        ) { xread(Call($0)) }

        command(
            "xreadgroup", since: "5.0.0", arity: -7, [.blocking, .write], acl: [.stream],
            keys: [
                KeySpec(
                    .keyword("STREAMS", from: 4), .range(last: -1, step: 1, limit: 2),
                    [.RO, .access]),
            ],
            syntax: """
            GROUP <group_consumer: group consumer> [COUNT count:integer] [BLOCK \
            milliseconds:integer] [NOACK] STREAMS <streams: key... id:string...>
            """,
            summary: """
            Return new entries from a stream using a consumer group, or access the history of the \
            pending entries for a given consumer. Can block.
            """,
            complexity: """
            For each stream mentioned: O(M) with M being the number of elements returned. If M is \
            constant (e.g. always asking for the first 10 elements with COUNT), you can consider \
            it O(1). On the other side when XREADGROUP blocks, XADD will pay the O(N) time in \
            order to serve the N clients blocked on the stream getting new data.
            """
        ) { xreadgroup(Call($0)) }
    }
}

private func xread(_ call: Call) { read(call, inGroup: false) }

private func xreadgroup(_ call: Call) { read(call, inGroup: true) }

// MARK: Arguments

private struct ReadOptions {
    var timeout: BlockDeadline?
    /// Entries per stream; 0 for all.
    var count: Int64 = 0
    /// The first key; IDs follow the keys.
    var firstKey = 0
    var streams = 0
    var group: Bytes?
    var consumer = Bytes.empty
    var skipsPending = false
}

private func optionsOrReply(_ call: Call, _ inGroup: Bool) -> ReadOptions? {
    var options = ReadOptions()
    var index = 1
    while index < call.count {
        let word = call[index]
        let left = call.count - index - 1
        if left >= 1, word.matches("block") {
            if call.session.pointee.flags.contains(.denyBlocking) {
                call.reply.error(
                    "ERR \(call[0].string) command is not allowed with BLOCK option from scripts")
                return nil
            }
            guard let timeout = call.timeoutOrReply(index + 1, .milliseconds) else { return nil }
            options.timeout = timeout
            index += 2
        } else if left >= 1, word.matches("count") {
            guard let count = call.integerOrReply(index + 1) else { return nil }
            options.count = max(count, 0)
            index += 2
        } else if left >= 1, word.matches("streams") {
            options.firstKey = index + 1
            options.streams = left / 2
            guard left % 2 == 0 else { return refuseUnbalanced(call, inGroup) }
            break
        } else if left >= 2, word.matches("group") {
            guard inGroup else { return refuseGroupOption(call, "GROUP") }
            options.group = call[index + 1]
            options.consumer = call[index + 2]
            index += 3
        } else if word.matches("noack") {
            guard inGroup else { return refuseGroupOption(call, "NOACK") }
            options.skipsPending = true
            index += 1
        } else {
            call.reply.error(.syntax)
            return nil
        }
    }
    if options.firstKey == 0 {
        call.reply.error(.syntax)
        return nil
    }
    if inGroup, options.group == nil {
        call.reply.error(ErrorReply("ERR Missing GROUP option for XREADGROUP"))
        return nil
    }
    return options
}

private func refuseUnbalanced(_ call: Call, _ inGroup: Bool) -> ReadOptions? {
    call.reply.error(
        """
        ERR Unbalanced '\(call.commandName)' list of streams: for each stream key an ID or \
        '\(inGroup ? ">" : "$")' must be specified.
        """)
    return nil
}

private func refuseGroupOption(_ call: Call, _ name: StaticString) -> ReadOptions? {
    call.reply.error(
        """
        ERR The \(name) option is only supported by XREADGROUP. You called XREAD instead.
        """)
    return nil
}

/// One stream of the command.
private struct Source {
    var stream: Stream?
    var group: StreamGroup?
    /// Entries behind this one are wanted; the highest for what the group has not read (`>`).
    var after: StreamID
}

private func sourceOrReply(_ call: Call, _ options: ReadOptions, _ number: Int) -> Source? {
    let keyIndex = options.firstKey + number
    let idIndex = keyIndex + options.streams
    var source = Source(after: .zero)
    if let entry = call.lookupRead(call.key(keyIndex)) {
        guard let stream = call.streamOrReply(entry) else { return nil }
        source.stream = stream
    }
    if let group = options.group {
        source.group = source.stream?.group(group)
        if source.group == nil {
            call.reply.error(
                """
                NOGROUP No such key '\(call[keyIndex].string)' or consumer group \
                '\(group.string)' in XREADGROUP with GROUP option
                """)
            return nil
        }
    }
    let text = call[idIndex]
    if text == "$" {
        guard options.group == nil else { return refuseLastID(call) }
        source.after = source.stream?.lastID ?? .zero
        return source
    }
    if text == ">" {
        guard options.group != nil else {
            call.reply.error(
                ErrorReply(
                    """
                    ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                    <group> <consumer> option.
                    """))
            return nil
        }
        source.after = .highest
        return source
    }
    guard let id = call.streamIDOrReply(idIndex) else { return nil }
    source.after = id
    return source
}

private func refuseLastID(_ call: Call) -> Source? {
    call.reply.error(
        ErrorReply(
            """
            ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history \
            of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ \
            ID would just return an empty result set.
            """))
    return nil
}

// MARK: Serving

private func read(_ call: Call, inGroup: Bool) {
    guard let options = optionsOrReply(call, inGroup) else { return }
    withUnsafeTemporaryAllocation(of: Source.self, capacity: options.streams) { sources in
        for number in 0..<options.streams {
            guard let source = sourceOrReply(call, options, number) else { return }
            sources.initializeElement(at: number, to: source)
        }
        serve(call, options, sources)
    }
}

private func serve(
    _ call: Call, _ options: ReadOptions, _ sources: UnsafeMutableBufferPointer<Source>
) {
    let reply = call.reply
    let mark = reply.mark()
    var served = 0
    var effects = StreamEffects(call, key: .empty, group: options.group ?? .empty)
    for number in 0..<options.streams {
        let source = sources[number]
        let keyIndex = options.firstKey + number
        guard let stream = source.stream else { continue }
        effects.move(to: call[keyIndex])
        if let group = source.group {
            let reader = GroupReader(call, options, stream, group, call.key(keyIndex))
            if reader.serve(after: source.after, &effects) { served += 1 }
        } else if let last = stream.lastLiveID, last > source.after,
            let first = source.after.next
        {
            beginStream(reply, call[keyIndex])
            call.replyEntries(of: stream, from: first, through: .highest, count: options.count)
            served += 1
        }
    }
    effects.finish()
    if served > 0 {
        if reply.version == 2 {
            reply.closeArray(served, since: mark)
        } else {
            reply.closeMap(served, since: mark)
        }
        return
    }
    wait(call, options, sources)
}

/// A pair in RESP2, a key of a map in RESP3.
private func beginStream(_ reply: ReplyWriter, _ key: Bytes) {
    if reply.version == 2 { reply.array(2) }
    reply.bulk(key)
}

private func wait(
    _ call: Call, _ options: ReadOptions, _ sources: UnsafeMutableBufferPointer<Source>
) {
    guard let timeout = options.timeout, !call.mayNotBlock else {
        call.reply.nullArray()
        return
    }
    let firstID = options.firstKey + options.streams
    call.block(
        on: options.firstKey..<firstID, holding: .stream, until: timeout,
        wakesWhenGone: options.group != nil)
    // What is the last ID now must be what the command goes on from when it is run again.
    for number in 0..<options.streams where call[firstID + number] == "$" {
        sources[number].after.withText { call.replaceHeldArgument(firstID + number, with: $0) }
    }
}

// MARK: Groups

/// Reads one stream for a consumer.
private struct GroupReader {
    let call: Call
    let options: ReadOptions
    let stream: Stream
    let group: StreamGroup
    let key: KeyRef
    let now: Int64

    init(
        _ call: Call, _ options: ReadOptions, _ stream: Stream, _ group: StreamGroup, _ key: KeyRef
    ) {
        self.call = call
        self.options = options
        self.stream = stream
        self.group = group
        self.key = key
        now = call.now.milliseconds
    }

    /// False, and no reply, when there is nothing.
    func serve(after: StreamID, _ effects: inout StreamEffects) -> Bool {
        call.willChangeStream(key)
        let wantsHistory = after != .highest
        let hasNews = (stream.lastLiveID ?? .zero) > group.lastID
        let consumer = consumer(&effects)
        consumer.seenTime = now
        guard wantsHistory || hasNews else { return false }
        beginStream(call.reply, key.bytes)
        if wantsHistory {
            replyHistory(of: consumer, from: after.next ?? .zero)
        } else {
            replyNews(to: consumer, &effects)
        }
        call.executor.pointee.dirty &+= 1
        return true
    }

    private func consumer(_ effects: inout StreamEffects) -> StreamConsumer {
        if let known = group.consumer(options.consumer) { return known }
        let fresh = group.addConsumer(options.consumer, now: now, call.memory)
        call.changedQuietly("xgroup-createconsumer", key)
        // With pending entries the claims create it.
        if options.skipsPending { effects.newConsumer(options.consumer) }
        return fresh
    }

    /// The consumer's own pending entries; those that were deleted have no fields any more.
    private func replyHistory(of consumer: StreamConsumer, from first: StreamID) {
        let reply = call.reply
        let mark = reply.mark()
        var found = 0
        var cursor = consumer.pending.lowerBound(first)
        while let current = cursor, options.count == 0 || found < options.count {
            if reply.entry(current.id, of: stream) {
                current.pending.deliveryTime = now
                current.pending.deliveryCount &+= 1
            } else {
                reply.array(2)
                reply.bulk(current.id)
                reply.nullArray()
            }
            found += 1
            cursor = current.next
        }
        reply.closeArray(found, since: mark)
    }

    /// Entries that the group has not read; they become pending with the consumer.
    private func replyNews(to consumer: StreamConsumer, _ effects: inout StreamEffects) {
        let reply = call.reply
        let mark = reply.mark()
        var found = 0
        var moved = false
        var iterator = StreamIterator(stream, from: group.lastID.next ?? .highest)
        while let id = iterator.next() {
            if id > group.lastID {
                stream.advance(group, to: id)
                moved = true
            }
            reply.entry(id, iterator)
            if !options.skipsPending {
                let entry = deliver(id, to: consumer)
                consumer.activeTime = now
                effects.claim(id, entry, group)
            }
            found += 1
            if found == options.count { break }
        }
        if options.skipsPending, moved { effects.position(group) }
        reply.closeArray(found, since: mark)
    }

    /// After XGROUP SETID an entry may be pending already; it changes hands then.
    private func deliver(_ id: StreamID, to consumer: StreamConsumer) -> PendingEntry {
        let fresh = group.addPending(id, time: now, count: 1, call.memory)
        guard let entry = fresh ?? group.pendingEntry(id) else {
            unreachable("an ID that is pending and is not")
        }
        entry.deliveryTime = now
        entry.deliveryCount = 1
        group.assign(entry, id, to: consumer, call.memory)
        return entry
    }
}
