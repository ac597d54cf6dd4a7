// Members one by one, and all of them: SADD, SREM, SMOVE, SISMEMBER, SMISMEMBER, SCARD, SMEMBERS,
// SSCAN. A set comes into being with its first member and ends with its last.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerMemberCommands() {
        command(
            "sadd", since: "1.0.0", arity: -3, [.write, .denyOOM, .fast], acl: [.set],
            keys: [.range(1, [.RW, .insert])],
            member: 2,
            syntax: "key member...",
            summary: "Add one or more members to a set",
            complexity: """
            O(1) for each element added, so O(N) to add N elements when the command is called with \
            multiple arguments.
            """,
            history: "2.4.0 Accepts multiple `member` arguments."
        ) { sadd(Call($0)) }

        command(
            "srem", since: "1.0.0", arity: -3, [.write, .fast], acl: [.set],
            keys: [.range(1, [.RW, .delete])],
            member: 2,
            syntax: "key member...",
            summary: "Remove one or more members from a set",
            complexity: "O(N) where N is the number of members to be removed.",
            history: "2.4.0 Accepts multiple `member` arguments."
        ) { srem(Call($0)) }

        command(
            "smove", since: "1.0.0", arity: 4, [.write, .fast], acl: [.set],
            keys: [.range(1, [.RW, .access, .delete]), .range(2, [.RW, .insert])],
            syntax: "source:key destination:key member",
            summary: "Move a member from one set to another",
            complexity: "O(1)"
        ) { smove(Call($0)) }

        command(
            "sismember", since: "1.0.0", arity: 3, [.readonly, .fast], acl: [.set],
            keys: [.range(1, [.RO])],
            member: 2,
            syntax: "key member",
            summary: "Determine if a given value is a member of a set",
            complexity: "O(1)"
        ) { sismember(Call($0)) }

        command(
            "smismember", since: "6.2.0", arity: -3, [.readonly, .fast], acl: [.set],
            keys: [.range(1, [.RO, .access])],
            member: 2,
            syntax: "key member...",
            summary: "Returns the membership associated with the given elements for a set",
            complexity: "O(N) where N is the number of elements being checked for membership"
        ) { smismember(Call($0)) }

        command(
            "scard", since: "1.0.0", arity: 2, [.readonly, .fast], acl: [.set],
            keys: [.range(1, [.RO])],
            syntax: "key",
            summary: "Get the number of members in a set",
            complexity: "O(1)"
        ) { scard(Call($0)) }

        command(
            "smembers", since: "1.0.0", arity: 2, [.readonly], acl: [.set],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get all the members in a set",
            complexity: "O(N) where N is the set cardinality.",
            tips: "nondeterministic_output_order"
        ) { smembers(Call($0)) }

        command(
            "sscan", since: "2.8.0", arity: -3, [.readonly], acl: [.set],
            keys: [.range(1, [.RO, .access])],
            syntax: "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
            summary: "Incrementally iterate Set elements",
            complexity: """
            O(1) for every call. O(N) for a complete iteration, including enough command calls for \
            the cursor to return back to 0. N is the number of elements inside the collection..
            """,
            tips: "nondeterministic_output"
        ) { sscan(Call($0)) }
    }
}

extension Call {
    /// The set of an entry; else answers and returns nil.
    @inline(__always)
    func setOrReply(_ entry: Entry) -> SetObject? {
        guard let entry = typeOrReply(entry, .set) else { return nil }
        return SetObject(entry)
    }

    /// The text at argument `index` as a member.
    @inline(__always)
    func member(_ index: Int) -> PackedValue { .bytes(self[index]) }
}

// MARK: Change

private func sadd(_ call: Call) {
    let key = call.key(1)
    let heap = call.heap
    let limits = call.limits
    let entry = call.lookupWrite(key)
    var set: SetObject
    if let entry {
        guard let found = call.setOrReply(entry) else { return }
        call.keyspace.willChange(entry, key)
        set = found
        set.prepare(heap, limits, adding: call.count - 2)
    } else {
        call.announceNew(key)
        set = SetObject.make(for: call[2], expecting: call.count - 2, heap, limits)
    }
    var added = 0
    var index = 2
    while index < call.count {
        if set.add(call.member(index), heap, limits) { added &+= 1 }
        index &+= 1
    }
    if let entry {
        set.store(in: entry)
    } else {
        call.keyspace.insertObject(key, .set, set.encoding, set.payload)
    }
    if added > 0 {
        call.changed(.set, "sadd", key)
        call.executor.pointee.dirty &+= Int64(added - 1)
    }
    call.reply.integer(added)
}

private func srem(_ call: Call) {
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else {
        call.reply.integer(0)
        return
    }
    guard var set = call.setOrReply(entry) else { return }
    call.keyspace.willChange(entry, key)
    var removed = 0
    var index = 2
    while index < call.count, set.count > 0 {
        if set.remove(call.member(index), call.heap) { removed &+= 1 }
        index &+= 1
    }
    set.store(in: entry)
    let isEmpty = set.count == 0
    if removed > 0 {
        call.executor.pointee.dirty &+= Int64(removed - 1)
        call.changed(.set, "srem", key)
        if isEmpty { call.removeEmptied(key) }
    }
    call.reply.integer(removed)
}

private func smove(_ call: Call) {
    let from = call.key(1)
    let to = call.keyspace.key(call[2], database: call.database)
    let source = call.lookupWrite(from)
    let target = call.lookupWrite(to)
    guard let source else {
        call.reply.integer(0)
        return
    }
    guard var set = call.setOrReply(source) else { return }
    if let target, call.setOrReply(target) == nil { return }
    if source == target {
        call.reply.integer(set.contains(call.member(3), call.heap) ? 1 : 0)
        return
    }
    call.keyspace.willChange(source, from)
    let wasThere = set.remove(call.member(3), call.heap)
    set.store(in: source)
    guard wasThere else {
        call.reply.integer(0)
        return
    }
    let isEmpty = set.count == 0
    call.changed(.set, "srem", from)
    if isEmpty { call.removeEmptied(from) }
    if addMoved(call, to, target) { call.changed(.set, "sadd", to) }
    call.reply.integer(1)
}

/// Adds the member at argument 3 to the target of SMOVE; false when it was there.
private func addMoved(_ call: Call, _ to: KeyRef, _ target: Entry?) -> Bool {
    guard let target else {
        call.announceNew(to)
        var set = SetObject.make(for: call[3], expecting: 1, call.heap, call.limits)
        set.add(call.member(3), call.heap, call.limits)
        call.keyspace.insertObject(to, .set, set.encoding, set.payload)
        return true
    }
    var set = SetObject(target)
    call.keyspace.willChange(target, to)
    let isNew = set.add(call.member(3), call.heap, call.limits)
    set.store(in: target)
    return isNew
}

// MARK: Questions

private func sismember(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let set = call.setOrReply(entry) else { return }
    call.reply.integer(set.contains(call.member(2), call.heap) ? 1 : 0)
}

private func smismember(_ call: Call) {
    let entry = call.lookupRead(call.key(1))
    var set: SetObject?
    if let entry {
        guard let found = call.setOrReply(entry) else { return }
        set = found
    }
    call.reply.array(call.count - 2)
    for index in 2..<call.count {
        let isMember = set?.contains(call.member(index), call.heap) ?? false
        call.reply.integer(isMember ? 1 : 0)
    }
}

private func scard(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let set = call.setOrReply(entry) else { return }
    call.reply.integer(set.count)
}

private func smembers(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.set(0)
        return
    }
    guard let set = call.setOrReply(entry) else { return }
    let reply = call.reply
    reply.set(set.count)
    set.forEach { reply.bulk($0) }
}

private func sscan(_ call: Call) {
    guard let cursor = CollectionScan.cursorOrReply(call) else { return }
    guard let entry = call.lookupRead(call.key(1)) else { return CollectionScan.replyEmpty(call) }
    guard let set = call.setOrReply(entry) else { return }
    guard let scan = CollectionScan.orReply(call, cursor: cursor, allowsNoValues: false) else {
        return
    }
    guard !set.isTable else {
        return scan.reply(call, set.fields, now: .min) { $0.bulk($1.key) }
    }
    var found = GatheredReply(call)
    set.forEach { member in
        if withText(of: member, { scan.matches($0) }) { found.bulk(member) }
    }
    CollectionScan.reply(call, 0, found)
}
