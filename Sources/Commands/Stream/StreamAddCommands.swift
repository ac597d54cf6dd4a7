// Adding and trimming: XADD, XTRIM. What goes to replicas is what happened: the ID that was made,
// and in the place of an approximate trim the exact one that has the same result.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerStreamAdding() {
        command(
            "xadd", since: "5.0.0", arity: -5, [.write, .denyOOM, .fast], acl: [.stream],
            keys: [
                .range(1, [.RW, .update],
                    notes: "UPDATE instead of INSERT because of the optional trimming feature"),
            ],
            syntax: """
            key [NOMKSTREAM]{6.2.0} [trim: <strategy: MAXLEN|MINID{6.2.0}> [operator: \
            equal==|approximately=~] threshold [LIMIT count:integer]{6.2.0}] <id_or_auto: \
            auto_id=*|id:string> <field_value: field value>...
            """,
            summary: "Appends a new entry to a stream",
            complexity: """
            O(1) when adding a new entry, O(N) when trimming where N being the number of entries \
            evicted.
            """,
            history: """
            6.2.0 Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option.
            7.0.0 Added support for the `<ms>-*` explicit ID form.
            """,
            tips: "nondeterministic_output"
        ) { xadd(Call($0)) }

        command(
            "xtrim", since: "5.0.0", arity: -4, [.write], acl: [.stream],
            keys: [.range(1, [.RW, .delete])],
            syntax: """
            key <trim: <strategy: MAXLEN|MINID{6.2.0}> [operator: equal==|approximately=~] \
            threshold [LIMIT count:integer]{6.2.0}>
            """,
            summary: "Trims the stream to (approximately if '~' is passed) a certain size",
            complexity: """
            O(N), with N being the number of evicted entries. Constant times are very small \
            however, since entries are organized in macro nodes containing multiple entries that \
            can be released with a single deallocation.
            """,
            history: "6.2.0 Added the `MINID` trimming strategy and the `LIMIT` option.",
            tips: "nondeterministic_output"
        ) { xtrim(Call($0)) }
    }
}

// MARK: Options

/// What XADD and XTRIM were asked for besides the entry.
private struct TrimOptions {
    var rule: StreamTrim?
    var isApproximate = false
    /// The argument with the threshold; the operator stands before it.
    var ruleArgument = 0
    /// Entries that may go at most; 0 for no limit.
    var limit = 0

    // XADD only
    var makesStream = true
    var id: StreamIDText?
    /// The argument with the ID.
    var idArgument = 0
}

/// Reads arguments up to the ID of XADD, or all of XTRIM's.
private struct TrimOptionReader {
    let call: Call
    let isAdd: Bool
    var options = TrimOptions()
    private var hasLimit = false
    private var index = 2

    init(_ call: Call, isAdd: Bool) {
        self.call = call
        self.isAdd = isAdd
    }

    /// nil after an error reply.
    mutating func readOrReply() -> TrimOptions? {
        while index < call.count {
            let word = call[index]
            let hasMore = index + 1 < call.count
            if isAdd, word == "*" { break }
            if hasMore, word.matches("maxlen") || word.matches("minid") {
                guard ruleOrReply(isLength: word.matches("maxlen")) else { return nil }
            } else if hasMore, word.matches("limit") {
                guard let limit = call.integerOrReply(index + 1) else { return nil }
                guard limit >= 0 else { return refuse("ERR The LIMIT argument must be >= 0.") }
                options.limit = Int(limit)
                hasLimit = true
                index += 1
            } else if isAdd, word.matches("nomkstream") {
                options.makesStream = false
            } else if isAdd {
                guard let id = StreamIDText(word, takesAutomatic: true) else {
                    call.reply.error(Call.invalidStreamID)
                    return nil
                }
                options.id = id
                break
            } else {
                call.reply.error(.syntax)
                return nil
            }
            index += 1
        }
        options.idArgument = index
        return finishOrReply()
    }

    private func refuse(_ text: StaticString) -> TrimOptions? {
        call.reply.error(ErrorReply(text))
        return nil
    }

    private mutating func ruleOrReply(isLength: Bool) -> Bool {
        guard options.rule == nil else {
            _ = refuse(
                """
                ERR syntax error, MAXLEN and MINID options at the same time are not compatible
                """)
            return false
        }
        options.isApproximate = false
        if index + 2 < call.count {
            let sign = call[index + 1]
            if sign == "~" { options.isApproximate = true }
            if sign == "~" || sign == "=" { index += 1 }
        }
        index += 1
        options.ruleArgument = index
        if !isLength {
            guard let id = call.streamIDOrReply(index) else { return false }
            options.rule = .minimum(id)
            return true
        }
        guard let length = call.integerOrReply(index) else { return false }
        guard length >= 0 else {
            _ = refuse("ERR The MAXLEN argument must be >= 0.")
            return false
        }
        options.rule = .length(Int(length))
        return true
    }

    /// Whether the options go together. Our primary's word is law, and its threshold is exact.
    private mutating func finishOrReply() -> TrimOptions? {
        if options.limit > 0, options.rule == nil {
            return refuse(
                """
                ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
                """)
        }
        if !isAdd, options.rule == nil {
            return refuse("ERR syntax error, XTRIM must be called with a trimming strategy")
        }
        if call.session.pointee.flags.contains(.fromPrimary) {
            options.limit = 0
        } else if hasLimit {
            if !options.isApproximate {
                return refuse(
                    "ERR syntax error, LIMIT cannot be used without the special ~ option")
            }
        } else if options.isApproximate {
            let (limit, overflows) = call.limits.streamNodeEntries
                .multipliedReportingOverflow(by: 100)
            options.limit = overflows ? 1_000_000 : limit <= 0 ? 10_000 : min(limit, 1_000_000)
        }
        return options
    }
}

// MARK: XADD

private func xadd(_ call: Call) {
    var reader = TrimOptionReader(call, isAdd: true)
    guard let options = reader.readOrReply() else { return }
    let first = options.idArgument + 1
    guard call.count - first >= 2, (call.count - first) % 2 == 0 else {
        call.refuseArity()
        return
    }
    if let given = options.id, given.hasSequence, given.id.isZero {
        call.reply.error(ErrorReply("ERR The ID specified in XADD must be greater than 0-0"))
        return
    }
    let key = call.key(1)
    var stream: Stream?
    if let entry = call.lookupWrite(key) {
        guard let found = call.streamOrReply(entry) else { return }
        stream = found
        call.keyspace.willChange(entry, key)
    } else if !options.makesStream {
        call.reply.null()
        return
    }
    guard let id = newIDOrReply(call, options.id, last: stream?.lastID ?? .zero) else { return }
    guard let size = sizeOrReply(call, from: first) else { return }
    let target = stream ?? call.makeStream(key)
    target.append(
        id, call.arguments + first, (call.count - first) / 2, size: size,
        StreamNodeLimits(call.limits), call.memory)
    call.reply.bulk(id)
    call.changed(.stream, "xadd", key)
    if let rule = options.rule {
        let removed = target.trim(
            rule, isApproximate: options.isApproximate, limit: options.limit, call.memory)
        if removed > 0 { call.tell(.stream, "xtrim", key) }
    }
    if options.isApproximate || options.id?.hasSequence != true {
        rewrite(call, options, target, id)
    }
}

/// The ID of the new entry, which must be above all others; nil after an error reply.
private func newIDOrReply(_ call: Call, _ given: StreamIDText?, last: StreamID) -> StreamID? {
    guard last != .highest else {
        call.reply.error(
            ErrorReply(
                "ERR The stream has exhausted the last possible ID, unable to add more items"))
        return nil
    }
    var id: StreamID?
    if let given, given.hasSequence {
        id = given.id
    } else if let given {
        // The next in this millisecond, never in the one after it.
        id = given.id
        if given.id.ms == last.ms {
            id = last.seq < .max ? StreamID(last.ms, last.seq + 1) : nil
        }
    } else {
        let now = UInt64(max(call.now.milliseconds, 0))
        id = now > last.ms ? StreamID(now, 0) : last.next
    }
    if let id, id > last { return id }
    call.reply.error(
        ErrorReply(
            """
            ERR The ID specified in XADD is equal or smaller than the target stream top item
            """))
    return nil
}

/// Bytes of all fields and values; nil after an error reply when no node could hold them.
private func sizeOrReply(_ call: Call, from first: Int) -> Int? {
    var size = 0
    for index in first..<call.count { size += call[index].count }
    if size <= StreamNode.sizeLimit { return size }
    call.reply.error(ErrorReply("ERR Elements are too large to be stored"))
    return nil
}

// MARK: XTRIM

private func xtrim(_ call: Call) {
    var reader = TrimOptionReader(call, isAdd: false)
    guard let options = reader.readOrReply(), let rule = options.rule else { return }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else {
        call.reply.integer(0)
        return
    }
    guard let stream = call.streamOrReply(entry) else { return }
    call.keyspace.willChange(entry, key)
    let removed = stream.trim(
        rule, isApproximate: options.isApproximate, limit: options.limit, call.memory)
    if removed > 0 {
        call.signal(.stream, "xtrim", key)
        call.executor.pointee.dirty &+= Int64(removed)
        if options.isApproximate { rewrite(call, options, stream, nil) }
    }
    call.reply.integer(removed)
}

/// Propagates the command with the ID that was made and the trim that was done.
private func rewrite(_ call: Call, _ options: TrimOptions, _ stream: Stream, _ id: StreamID?) {
    call.rewrite(call.count) { out in
        for index in 0..<call.count {
            if let id, index == options.idArgument {
                id.withText { out.argument($0) }
            } else if options.isApproximate, index == options.ruleArgument - 1 {
                out.argument("=")
            } else if options.isApproximate, index == options.ruleArgument {
                if case .length = options.rule {
                    out.argument(decimal: Int64(stream.length))
                } else {
                    (stream.edgeID(withDeleted: true) ?? .highest).withText { out.argument($0) }
                }
            } else {
                out.argument(call[index])
            }
        }
    }
}
