// Entries by ID: XRANGE and XREVRANGE, XLEN, XDEL, and XSETID, which sets what a stream remembers.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerStreamRanges() {
        command(
            "xlen", since: "5.0.0", arity: 2, [.readonly, .fast], acl: [.stream],
            keys: [.range(1, [.RO])],
            syntax: "key",
            summary: "Return the number of entries in a stream",
            complexity: "O(1)"
        ) { xlen(Call($0)) }

        command(
            "xrange", since: "5.0.0", arity: -4, [.readonly], acl: [.stream],
            keys: [.range(1, [.RO, .access])],
            syntax: "key start end [COUNT count:integer]",
            summary: """
            Return a range of elements in a stream, with IDs matching the specified IDs interval
            """,
            complexity: """
            O(N) with N being the number of elements being returned. If N is constant (e.g. always \
            asking for the first 10 elements with COUNT), you can consider it O(1).
            """,
            history: "6.2.0 Added exclusive ranges."
        ) { xrange(Call($0)) }

        command(
            "xrevrange", since: "5.0.0", arity: -4, [.readonly], acl: [.stream],
            keys: [.range(1, [.RO, .access])],
            syntax: "key end start [COUNT count:integer]",
            summary: """
            Return a range of elements in a stream, with IDs matching the specified IDs interval, \
            in reverse order (from greater to smaller IDs) compared to XRANGE
            """,
            complexity: """
            O(N) with N being the number of elements returned. If N is constant (e.g. always \
            asking for the first 10 elements with COUNT), you can consider it O(1).
            """,
            history: "6.2.0 Added exclusive ranges."
        ) { xrevrange(Call($0)) }

        command(
            "xdel", since: "5.0.0", arity: -3, [.write, .fast], acl: [.stream],
            keys: [.range(1, [.RW, .delete])],
            syntax: "key id:string...",
            summary: """
            Removes the specified entries from the stream. Returns the number of items actually \
            deleted, that may be different from the number of IDs passed in case certain IDs do \
            not exist.
            """,
            complexity: """
            O(1) for each single item to delete in the stream, regardless of the stream size.
            """
        ) { xdel(Call($0)) }

        command(
            "xsetid", since: "5.0.0", arity: -3, [.write, .denyOOM, .fast], acl: [.stream],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key last-id [ENTRIESADDED entries_added:integer]{7.0.0} [MAXDELETEDID \
            max_deleted_entry_id]{7.0.0}
            """,
            summary: "An internal command for replicating stream values",
            complexity: "O(1)",
            history: "7.0.0 Added the `entries_added` and `max_deleted_entry_id` arguments."
        ) { xsetid(Call($0)) }
    }
}

// MARK: Reading

private func xlen(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let stream = call.streamOrReply(entry) else { return }
    call.reply.integer(stream.length)
}

private func xrange(_ call: Call) { range(call, reverse: false) }

private func xrevrange(_ call: Call) { range(call, reverse: true) }

private func range(_ call: Call, reverse: Bool) {
    guard let first = call.intervalStartOrReply(reverse ? 3 : 2),
        let last = call.intervalEndOrReply(reverse ? 2 : 3)
    else { return }
    var count: Int64?
    var index = 4
    while index < call.count {
        guard call[index].matches("count"), index + 1 < call.count else {
            call.reply.error(.syntax)
            return
        }
        guard let given = call.integerOrReply(index + 1) else { return }
        count = max(given, 0)
        index += 2
    }
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.array(0)
        return
    }
    guard let stream = call.streamOrReply(entry) else { return }
    if count == 0 {
        call.reply.nullArray()
        return
    }
    call.replyEntries(
        of: stream, from: first, through: last, count: count ?? 0, reverse: reverse)
}

extension Call {
    /// Answers with up to `count` entries between two IDs; all when that is 0.
    func replyEntries(
        of stream: Stream, from first: StreamID, through last: StreamID, count: Int64,
        reverse: Bool = false
    ) {
        let reply = reply
        let mark = reply.mark()
        var iterator = StreamIterator(stream, from: first, through: last, reverse: reverse)
        var found = 0
        while let id = iterator.next() {
            reply.entry(id, iterator)
            found &+= 1
            if found == count { break }
        }
        reply.closeArray(found, since: mark)
    }
}

// MARK: Removing

private func xdel(_ call: Call) {
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else {
        call.reply.integer(0)
        return
    }
    guard let stream = call.streamOrReply(entry) else { return }
    // A mistake in one of them must change nothing.
    for index in 2..<call.count where call.streamIDOrReply(index) == nil { return }
    call.keyspace.willChange(entry, key)
    var removed: Int64 = 0
    var firstIsGone = false
    for index in 2..<call.count {
        guard let id = StreamIDText(call[index])?.id, stream.remove(id, call.memory) else {
            continue
        }
        if id == stream.firstID { firstIsGone = true }
        if id > stream.maxDeletedID { stream.maxDeletedID = id }
        removed += 1
    }
    if removed > 0 {
        if firstIsGone || stream.length == 0 { stream.refreshFirstID() }
        call.signal(.stream, "xdel", key)
        call.executor.pointee.dirty &+= removed
    }
    call.reply.integer(removed)
}

// MARK: XSETID

private func xsetid(_ call: Call) {
    guard let id = call.streamIDOrReply(2) else { return }
    var added: Int64?
    var maxDeleted = StreamID.zero
    var index = 3
    while index < call.count {
        let hasMore = index + 1 < call.count
        if hasMore, call[index].matches("entriesadded") {
            guard let value = call.integerOrReply(index + 1) else { return }
            guard value >= 0 else {
                call.reply.error(ErrorReply("ERR entries_added must be positive"))
                return
            }
            added = value
        } else if hasMore, call[index].matches("maxdeletedid") {
            guard let value = call.streamIDOrReply(index + 1) else { return }
            guard id >= value else {
                refuse(call, "smaller than the provided max_deleted_entry_id")
                return
            }
            maxDeleted = value
        } else {
            call.reply.error(.syntax)
            return
        }
        index += 2
    }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else {
        call.reply.error(.noSuchKey)
        return
    }
    guard let stream = call.streamOrReply(entry) else { return }
    guard id >= stream.maxDeletedID else {
        refuse(call, "smaller than current max_deleted_entry_id")
        return
    }
    if stream.length > 0 {
        guard id >= stream.lastLiveID ?? .zero else {
            refuse(call, "smaller than the target stream top item")
            return
        }
        if let added, Int64(stream.length) > added {
            call.reply.error(
                ErrorReply(
                    """
                    ERR The entries_added specified in XSETID is smaller than the target stream \
                    length
                    """))
            return
        }
    }
    call.keyspace.willChange(entry, key)
    stream.lastID = id
    if let added { stream.entriesAdded = UInt64(added) }
    if !maxDeleted.isZero { stream.maxDeletedID = maxDeleted }
    call.reply.ok()
    call.changedQuietly("xsetid", key)
}

private func refuse(_ call: Call, _ reason: StaticString) {
    call.reply.error("ERR The ID specified in XSETID is \(reason)")
}
