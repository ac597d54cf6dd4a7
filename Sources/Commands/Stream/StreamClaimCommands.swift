// Pending entries change hands or end: XACK, XCLAIM, XAUTOCLAIM. An entry that was deleted from the
// stream meanwhile is forgotten when somebody claims it.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerStreamClaiming() {
        command(
            "xack", since: "5.0.0", arity: -4, [.write, .fast], acl: [.stream],
            keys: [.range(1, [.RW, .update])],
            syntax: "key group id:string...",
            summary: """
            Marks a pending message as correctly processed, effectively removing it from the \
            pending entries list of the consumer group. Return value of the command is the number \
            of messages successfully acknowledged, that is, the IDs we were actually able to \
            resolve in the PEL.
            """,
            complexity: "O(1) for each message ID processed."
        ) { xack(Call($0)) }

        command(
            "xclaim", since: "5.0.0", arity: -6, [.write, .fast], acl: [.stream],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key group consumer min-idle-time id:string... [IDLE ms:integer] [TIME \
            unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID] [LASTID \
            id]
            """,
            summary: """
            Changes (or acquires) ownership of a message in a consumer group, as if the message \
            was delivered to the specified consumer.
            """,
            complexity: """
            O(log N) with N being the number of messages in the PEL of the consumer group.
            """,
            tips: "nondeterministic_output"
        ) { xclaim(Call($0)) }

        command(
            "xautoclaim", since: "6.2.0", arity: -6, [.write, .fast], acl: [.stream],
            keys: [.range(1, [.RW, .delete])],
            syntax: "key group consumer min-idle-time start [COUNT count:integer] [JUSTID]",
            summary: """
            Changes (or acquires) ownership of messages in a consumer group, as if the messages \
            were delivered to the specified consumer.
            """,
            complexity: "O(1) if COUNT is small.",
            history: """
            7.0.0 Added an element to the reply array, containing deleted entries the command \
            cleared from the PEL
            """,
            tips: "nondeterministic_output"
        ) { xautoclaim(Call($0)) }
    }
}

/// The stream at argument 1 and the group at argument 2, as far as they are there; nil after an
/// error reply.
private func lookupOrReply(_ call: Call) -> (stream: Stream?, group: StreamGroup?)? {
    guard let entry = call.lookupRead(call.key(1)) else { return (nil, nil) }
    guard let stream = call.streamOrReply(entry) else { return nil }
    return (stream, stream.group(call[2]))
}

private func xack(_ call: Call) {
    guard let (_, group) = lookupOrReply(call) else { return }
    guard let group else {
        call.reply.integer(0)
        return
    }
    for index in 3..<call.count where call.streamIDOrReply(index) == nil { return }
    call.willChangeStream(call.key(1))
    var count: Int64 = 0
    for index in 3..<call.count {
        guard let id = StreamIDText(call[index])?.id else { continue }
        if group.removePending(id, call.memory) { count += 1 }
    }
    call.executor.pointee.dirty &+= count
    call.reply.integer(count)
}

// MARK: Claiming

/// One claim of several entries for one consumer.
private struct Claim {
    let call: Call
    let stream: Stream
    let group: StreamGroup
    let consumer: StreamConsumer
    let now: Int64
    var minimumIdle: Int64 = 0
    var deliveryTime: Int64
    var retryCount: Int64?
    var onlyIDs = false

    init(_ call: Call, _ stream: Stream, _ group: StreamGroup) {
        self.call = call
        self.stream = stream
        self.group = group
        now = call.now.milliseconds
        deliveryTime = now
        let key = call.key(1)
        if let known = group.consumer(call[3]) {
            consumer = known
        } else {
            consumer = group.addConsumer(call[3], now: now, call.memory)
            call.changedQuietly("xgroup-createconsumer", key)
        }
        consumer.seenTime = now
    }

    /// Whether an entry was idle for long enough.
    func allows(_ entry: PendingEntry) -> Bool {
        minimumIdle <= 0 || now &- entry.deliveryTime >= minimumIdle
    }

    /// Gives an entry of the stream to the consumer and answers with it.
    func take(_ id: StreamID, _ entry: PendingEntry, _ effects: inout StreamEffects) {
        group.assign(entry, id, to: consumer, call.memory)
        entry.deliveryTime = deliveryTime
        if let retryCount {
            entry.deliveryCount = UInt64(retryCount)
        } else if !onlyIDs {
            entry.deliveryCount &+= 1
        }
        if onlyIDs {
            call.reply.bulk(id)
        } else {
            let isThere = call.reply.entry(id, of: stream)
            invariant(isThere, "a claimed entry is not in the stream")
        }
        consumer.activeTime = now
        effects.claim(id, entry, group)
        call.executor.pointee.dirty &+= 1
    }

    /// Forgets an entry that is no longer in the stream.
    func forget(_ id: StreamID, _ entry: PendingEntry, _ effects: inout StreamEffects) {
        effects.claim(id, entry, group)
        group.removePending(id, call.memory)
        call.executor.pointee.dirty &+= 1
    }
}

// MARK: XCLAIM

private struct ClaimOptions {
    var minimumIdle: Int64 = 0
    /// IDs stand from argument 5 up to here.
    var idsEnd = 5
    var isForced = false
    var onlyIDs = false
    var deliveryTime: Int64?
    var retryCount: Int64?
    var lastID = StreamID.zero
}

private func claimOptionsOrReply(_ call: Call) -> ClaimOptions? {
    var options = ClaimOptions()
    let noIdle = ErrorReply("ERR Invalid min-idle-time argument for XCLAIM")
    guard let idle = call.integerOrReply(4, noIdle) else { return nil }
    options.minimumIdle = max(idle, 0)
    while options.idsEnd < call.count, StreamIDText(call[options.idsEnd]) != nil {
        options.idsEnd += 1
    }
    let now = call.now.milliseconds
    var index = options.idsEnd
    while index < call.count {
        let word = call[index]
        let hasMore = index + 1 < call.count
        if word.matches("force") {
            options.isForced = true
        } else if word.matches("justid") {
            options.onlyIDs = true
        } else if hasMore, word.matches("lastid") {
            guard let id = call.streamIDOrReply(index + 1) else { return nil }
            options.lastID = id
            index += 1
        } else if hasMore,
            word.matches("idle") || word.matches("time") || word.matches("retrycount")
        {
            guard let value = numberOrReply(call, index) else { return nil }
            if word.matches("retrycount") {
                options.retryCount = value >= 0 ? value : nil
            } else {
                options.deliveryTime = word.matches("idle") ? now &- value : value
            }
            index += 1
        } else {
            call.reply.error("ERR Unrecognized XCLAIM option '\(word.string)'")
            return nil
        }
        index += 1
    }
    // An unset time is -1 in the reference; nobody claims from the future.
    if let time = options.deliveryTime, time < 0 || time > now { options.deliveryTime = now }
    return options
}

/// The number behind an option.
private func numberOrReply(_ call: Call, _ index: Int) -> Int64? {
    if let value = call[index + 1].decimal { return value }
    let name = call[index].string.uppercased()
    call.reply.error("ERR Invalid \(name) option argument for XCLAIM")
    return nil
}

private func xclaim(_ call: Call) {
    guard let (found, _) = lookupOrReply(call) else { return }
    guard let group = call.groupOrReply(found, 2, key: 1), let stream = found else { return }
    guard let options = claimOptionsOrReply(call) else { return }
    call.willChangeStream(call.key(1))
    var movesGroup = false
    if options.lastID > group.lastID {
        group.lastID = options.lastID
        movesGroup = true
    }
    var effects = StreamEffects(call, key: call[1], group: call[2])
    var claim = Claim(call, stream, group)
    claim.minimumIdle = options.minimumIdle
    claim.deliveryTime = options.deliveryTime ?? claim.now
    claim.retryCount = options.retryCount
    claim.onlyIDs = options.onlyIDs
    let mark = call.reply.mark()
    var taken = 0
    for index in 5..<options.idsEnd {
        guard let id = StreamIDText(call[index])?.id else { continue }
        var entry = group.pendingEntry(id)
        guard stream.contains(id) else {
            if let entry {
                claim.forget(id, entry, &effects)
                movesGroup = false
            }
            continue
        }
        if entry == nil, options.isForced {
            entry = group.addPending(id, time: claim.now, count: 1, call.memory)
        }
        guard let entry, entry.consumer == nil || claim.allows(entry) else { continue }
        claim.take(id, entry, &effects)
        taken += 1
        // Each claim carries the group's position.
        movesGroup = false
    }
    if movesGroup {
        effects.position(group)
        call.executor.pointee.dirty &+= 1
    }
    effects.finish()
    call.reply.closeArray(taken, since: mark)
}

// MARK: XAUTOCLAIM

private func xautoclaim(_ call: Call) {
    let noIdle = ErrorReply("ERR Invalid min-idle-time argument for XAUTOCLAIM")
    guard let idle = call.integerOrReply(4, noIdle), let first = call.intervalStartOrReply(5)
    else { return }
    var count: Int64 = 100
    var onlyIDs = false
    var index = 6
    while index < call.count {
        if call[index].matches("count"), index + 1 < call.count {
            let notPositive = ErrorReply("ERR COUNT must be > 0")
            guard let value = call.integerOrReply(index + 1, notPositive) else { return }
            guard value > 0, value <= Int64.max / 16 else {
                call.reply.error(notPositive)
                return
            }
            count = value
            index += 1
        } else if call[index].matches("justid") {
            onlyIDs = true
        } else {
            call.reply.error(.syntax)
            return
        }
        index += 1
    }
    guard let (found, _) = lookupOrReply(call) else { return }
    guard let group = call.groupOrReply(found, 2, key: 1), let stream = found else { return }
    call.willChangeStream(call.key(1))
    var claim = Claim(call, stream, group)
    claim.minimumIdle = max(idle, 0)
    claim.onlyIDs = onlyIDs
    claimAll(call, claim, from: first, count: Int(count))
}

/// Claims up to `count` entries from `first` on, looking at ten times as many.
private func claimAll(_ call: Call, _ claim: Claim, from first: StreamID, count: Int) {
    let group = claim.group
    var effects = StreamEffects(call, key: call[1], group: call[2])
    let room = max(min(count, group.pending.count), 1)
    withUnsafeTemporaryAllocation(of: StreamID.self, capacity: room) { deleted in
        let reply = call.reply
        reply.array(3)
        let mark = reply.mark()
        var (left, attempts) = (count, count &* 10)
        var (taken, forgotten) = (0, 0)
        var cursor = group.pending.lowerBound(first)
        while attempts > 0, left > 0, let current = cursor {
            attempts -= 1
            let id = current.id
            if !claim.stream.contains(id) {
                claim.forget(id, current.pending, &effects)
                deleted.initializeElement(at: forgotten, to: id)
                forgotten += 1
                left -= 1
                cursor = group.pending.lowerBound(id)
                continue
            }
            if claim.allows(current.pending) {
                claim.take(id, current.pending, &effects)
                taken += 1
                left -= 1
            }
            cursor = current.next
        }
        effects.finish()
        var resume = StreamID.zero
        if let cursor { resume = cursor.id }
        reply.closeArray(taken, since: mark)
        reply.insert(at: mark) { $0.bulk(resume) }
        reply.array(forgotten)
        for index in 0..<forgotten { reply.bulk(deleted[index]) }
    }
}
