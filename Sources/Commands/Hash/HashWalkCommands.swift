// Reading hashes as a whole or at random: HGETALL, HKEYS, HVALS, HRANDFIELD, HSCAN.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHashWalkCommands() {
        command(
            "hgetall", since: "2.0.0", arity: 2, [.readonly], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get all the fields and values in a hash",
            complexity: "O(N) where N is the size of the hash.",
            tips: "nondeterministic_output_order"
        ) { hgetall(Call($0)) }

        command(
            "hkeys", since: "2.0.0", arity: 2, [.readonly], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get all the fields in a hash",
            complexity: "O(N) where N is the size of the hash.",
            tips: "nondeterministic_output_order"
        ) { hkeys(Call($0)) }

        command(
            "hvals", since: "2.0.0", arity: 2, [.readonly], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get all the values in a hash",
            complexity: "O(N) where N is the size of the hash.",
            tips: "nondeterministic_output_order"
        ) { hvals(Call($0)) }

        command(
            "hrandfield", since: "6.2.0", arity: -2, [.readonly], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key [options: count:integer [WITHVALUES]]",
            summary: "Get one or multiple random fields from a hash",
            complexity: "O(N) where N is the number of fields returned",
            tips: "nondeterministic_output"
        ) { hrandfield(Call($0)) }

        command(
            "hscan", since: "2.8.0", arity: -3, [.readonly], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOVALUES]
            """,
            summary: "Incrementally iterate hash fields and associated values",
            complexity: """
            O(1) for every call. O(N) for a complete iteration, including enough command calls for \
            the cursor to return back to 0. N is the number of elements inside the collection..
            """,
            tips: "nondeterministic_output"
        ) { hscan(Call($0)) }
    }
}

// MARK: Everything

private func hgetall(_ call: Call) {
    walk(call, emptyReply: { $0.map(0) }) { hash in
        guard !hash.hasExpiringFields else {
            var found = GatheredReply(call)
            hash.forEach(now: call.fieldTime) { field, value in
                found.bulk(field)
                found.bulk(value)
            }
            return found.reply { $0.map($1 / 2) }
        }
        let reply = call.reply
        reply.map(hash.count)
        hash.forEach(now: call.fieldTime) { field, value in
            reply.bulk(field)
            reply.bulk(value)
        }
    }
}

private func hkeys(_ call: Call) {
    walk(call, emptyReply: { $0.array(0) }) { hash in
        var found = GatheredReply(call)
        hash.forEach(now: call.fieldTime) { field, _ in found.bulk(field) }
        found.reply()
    }
}

private func hvals(_ call: Call) {
    walk(call, emptyReply: { $0.array(0) }) { hash in
        var found = GatheredReply(call)
        hash.forEach(now: call.fieldTime) { _, value in found.bulk(value) }
        found.reply()
    }
}

private func walk(
    _ call: Call, emptyReply: (ReplyWriter) -> Void, _ body: (HashObject) -> Void
) {
    guard let entry = call.readHash(call.key(1)) else { return emptyReply(call.reply) }
    guard let hash = call.hashOrReply(entry) else { return }
    body(hash)
}

// MARK: HRANDFIELD

private func hrandfield(_ call: Call) {
    guard call.count > 2 else { return randomField(call) }
    guard let count = call.integerOrReply(2, in: -Int64.max...Int64.max) else { return }
    var hasValues = false
    if call.count > 3 {
        guard call.count == 4, call[3].matches("withvalues") else {
            return call.reply.error(.syntax)
        }
        hasValues = true
        guard count >= -(Int64.max / 2), count <= Int64.max / 2 else {
            return call.reply.error("ERR value is out of range")
        }
    }
    guard let entry = call.readHash(call.key(1)) else { return call.reply.array(0) }
    guard let hash = call.hashOrReply(entry) else { return }
    guard count != 0 else { return call.reply.array(0) }
    let reply = RandomFieldsReply(call, hasValues: hasValues)
    if _slowPath(hash.mayHoldExpired(now: call.fieldTime)) {
        reply.amongLive(liveFields(call, hash), Int(count))
    } else if count > 0 {
        reply.distinct(hash, Int(count))
    } else {
        reply.repeating(hash, Int(0 &- count))
    }
}

private func randomField(_ call: Call) {
    guard let entry = call.readHash(call.key(1)) else { return call.reply.null() }
    guard let hash = call.hashOrReply(entry) else { return }
    if _slowPath(hash.mayHoldExpired(now: call.fieldTime)) {
        let live = liveFields(call, hash)
        guard !live.isEmpty else { return call.reply.null() }
        return call.reply.bulk(live[call.executor.pointee.prng.below(live.count)].key)
    }
    guard !hash.isTable else {
        guard let field = hash.fields.random(&call.executor.pointee.prng) else {
            return call.reply.null()
        }
        return call.reply.bulk(field.key)
    }
    call.reply.bulk(hash.name(at: call.executor.pointee.prng.below(hash.count)))
}

/// The fields of a large hash that are not over, where some that are cannot be deleted now.
private func liveFields(_ call: Call, _ hash: HashObject) -> [Entry] {
    var live: [Entry] = []
    hash.fields.forEach { if !$0.isExpired(now: call.fieldTime) { live.append($0) } }
    return live
}

/// Fields at random, with or without their values; pairs are arrays of their own in RESP3.
private struct RandomFieldsReply {
    let call: Call
    let hasValues: Bool

    init(_ call: Call, hasValues: Bool) {
        self.call = call
        self.hasValues = hasValues
    }

    private func heading(_ fields: Int) {
        let isFlat = hasValues && call.session.pointee.protocolVersion == 2
        call.reply.array(isFlat ? fields * 2 : fields)
    }

    private func append(_ reply: ReplyWriter, _ field: PackedValue, _ value: PackedValue) {
        if hasValues, reply.version > 2 { reply.array(2) }
        reply.bulk(field)
        if hasValues { reply.bulk(value) }
    }

    /// Different fields, at most as many as there are.
    func distinct(_ hash: HashObject, _ wanted: Int) {
        let total = hash.count
        // Few of many are drawn one by one; else one walk decides on each.
        if hash.isTable, wanted < total / 4 { return drawn(hash.fields, wanted) }
        var sampler = SelectionSampler(wanted, of: total)
        var found = GatheredReply(call)
        hash.forEach(now: .min) { field, value in
            guard sampler.takes(&call.executor.pointee.prng) else { return }
            append(found.writer, field, value)
            found.added()
        }
        found.reply { _, count in heading(count) }
    }

    private func drawn(_ fields: FieldTable, _ wanted: Int) {
        var seen = Set<UnsafeMutableRawPointer>()
        heading(wanted)
        while seen.count < wanted {
            guard let entry = fields.random(&call.executor.pointee.prng) else { return }
            guard seen.insert(entry.base).inserted else { continue }
            append(call.reply, .bytes(entry.key), HashObject.value(of: entry))
        }
    }

    /// Some of these: so many different ones, or with a negative number any.
    func amongLive(_ live: [Entry], _ count: Int) {
        guard !live.isEmpty else { return call.reply.array(0) }
        guard count > 0 else {
            heading(0 &- count)
            for _ in 0..<(0 &- count) {
                let chosen = live[call.executor.pointee.prng.below(live.count)]
                append(call.reply, .bytes(chosen.key), HashObject.value(of: chosen))
            }
            return
        }
        heading(min(count, live.count))
        var sampler = SelectionSampler(count, of: live.count)
        for entry in live where sampler.takes(&call.executor.pointee.prng) {
            append(call.reply, .bytes(entry.key), HashObject.value(of: entry))
        }
    }

    /// As many as asked for, the same one perhaps more than once.
    func repeating(_ hash: HashObject, _ wanted: Int) {
        heading(wanted)
        guard !hash.isTable else {
            for _ in 0..<wanted {
                guard let entry = hash.fields.random(&call.executor.pointee.prng) else { return }
                append(call.reply, .bytes(entry.key), HashObject.value(of: entry))
                if call.isTooLong { return }
            }
            return
        }
        var pairs: [(field: PackedValue, value: PackedValue)] = []
        hash.forEach(now: .min) { pairs.append(($0, $1)) }
        for _ in 0..<wanted {
            let chosen = pairs[call.executor.pointee.prng.below(pairs.count)]
            append(call.reply, chosen.field, chosen.value)
            if call.isTooLong { return }
        }
    }
}

// MARK: HSCAN

private func hscan(_ call: Call) {
    guard let cursor = CollectionScan.cursorOrReply(call) else { return }
    guard let entry = call.readHash(call.key(1)) else { return CollectionScan.replyEmpty(call) }
    guard let hash = call.hashOrReply(entry) else { return }
    guard let scan = CollectionScan.orReply(call, cursor: cursor, allowsNoValues: true) else {
        return
    }
    guard !hash.isTable else {
        return scan.reply(call, hash.fields, now: call.fieldTime) { found, field in
            found.bulk(field.key)
            if !scan.omitsValues { found.bulk(HashObject.value(of: field)) }
        }
    }
    var found = GatheredReply(call)
    hash.forEach(now: call.fieldTime) { field, value in
        guard withText(of: field, { scan.matches($0) }) else { return }
        found.bulk(field)
        if !scan.omitsValues { found.bulk(value) }
    }
    CollectionScan.reply(call, 0, found)
}
