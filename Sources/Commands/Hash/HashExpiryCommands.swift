// Giving fields of a hash a time to live and taking it: HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT
// with NX, XX, GT, LT, and HPERSIST. Whatever the form, the stream gets HPEXPIREAT with the fields
// that got the time; a time that is over deletes a field at once, and the stream gets HDEL.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHashExpiryCommands() {
        command(
            "hexpire", since: "7.4.0", arity: -6, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key seconds:integer [condition: NX|XX|GT|LT] \
            FIELDS <fields: numfields:integer field...>
            """,
            summary: "Set expiry for hash field using relative time to expire (seconds)",
            complexity: "O(N) where N is the number of specified fields"
        ) { setExpiry(Call($0), .seconds) }

        command(
            "hpexpire", since: "7.4.0", arity: -6, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key milliseconds:integer [condition: NX|XX|GT|LT] \
            FIELDS <fields: numfields:integer field...>
            """,
            summary: "Set expiry for hash field using relative time to expire (milliseconds)",
            complexity: "O(N) where N is the number of specified fields"
        ) { setExpiry(Call($0), .milliseconds) }

        command(
            "hexpireat", since: "7.4.0", arity: -6, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key unix-time-seconds:unix-time [condition: NX|XX|GT|LT] \
            FIELDS <fields: numfields:integer field...>
            """,
            summary: "Set expiry for hash field using an absolute Unix timestamp (seconds)",
            complexity: "O(N) where N is the number of specified fields"
        ) { setExpiry(Call($0), .unixSeconds) }

        command(
            "hpexpireat", since: "7.4.0", arity: -6, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            syntax: """
            key unix-time-milliseconds:unix-time [condition: NX|XX|GT|LT] \
            FIELDS <fields: numfields:integer field...>
            """,
            summary: "Set expiry for hash field using an absolute Unix timestamp (milliseconds)",
            complexity: "O(N) where N is the number of specified fields"
        ) { setExpiry(Call($0), .unixMilliseconds) }

        command(
            "hpersist", since: "7.4.0", arity: -5, [.write, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            syntax: "key FIELDS <fields: numfields:integer field...>",
            summary: "Removes the expiration time for each specified field",
            complexity: "O(N) where N is the number of specified fields"
        ) { hpersist(Call($0)) }
    }
}

/// NX, XX, GT or LT, of which there may be one.
private enum Condition {
    case none, nx, xx, gt, lt

    init(word: Bytes) {
        if word.matches("nx") {
            self = .nx
        } else if word.matches("xx") {
            self = .xx
        } else if word.matches("gt") {
            self = .gt
        } else if word.matches("lt") {
            self = .lt
        } else {
            self = .none
        }
    }

    /// A field without a time lives for ever: later than any deadline.
    func allows(_ deadline: Int64, over current: Int64?) -> Bool {
        switch self {
        case .none: true
        case .nx: current == nil
        case .xx: current != nil
        case .gt: current.map { deadline > $0 } ?? false
        case .lt: current.map { deadline < $0 } ?? true
        }
    }
}

private func setExpiry(_ call: Call, _ form: FieldTimeForm) {
    let key = call.key(1)
    var isFine = true
    let found = call.hashToChange(key, &isFine)
    guard isFine, let deadline = form.deadlineOrReply(call, 2) else { return }
    let condition = Condition(word: call[3])
    guard
        let fields = FieldArguments.orReply(
            call, at: condition == .none ? 3 : 4,
            badCount: "ERR Parameter `numFields` should be greater than 0")
    else { return }
    call.reply.array(fields.count)
    guard let (entry, before) = found else {
        for _ in 0..<fields.count { call.reply.integer(-2) }
        return
    }
    call.keyspace.willChange(entry, key)
    var hash = before
    var change = FieldChange()
    for index in fields.indexes {
        let field = call[index]
        guard hash.find(field, call.heap, now: call.fieldTime) != nil else {
            call.reply.integer(-2)
            continue
        }
        guard condition.allows(deadline, over: hash.expiry(of: field, call.heap)) else {
            call.reply.integer(0)
            continue
        }
        change.give(deadline, to: index, of: &hash, call)
        call.reply.integer(call.isOver(deadline) ? 2 : 1)
    }
    hash.store(in: entry)
    change.finish(call, hash, entry, key, at: deadline)
}

/// What a command did to fields that it gave a deadline: those that have it now, and those that
/// went because it is over.
struct FieldChange {
    private(set) var updated: [Int] = []
    private(set) var deleted: [Int] = []

    var isEmpty: Bool { updated.isEmpty && deleted.isEmpty }

    /// Gives the field at argument `index`, which exists, a deadline, or deletes it.
    mutating func give(_ deadline: Int64, to index: Int, of hash: inout HashObject, _ call: Call) {
        if call.isOver(deadline) {
            hash.remove(call[index], call.heap)
            deleted.append(index)
        } else {
            hash.setExpiry(call[index], at: deadline, call.heap)
            updated.append(index)
        }
    }

    /// Says what happened, to observers and in the stream.
    func finish(
        _ call: Call, _ hash: HashObject, _ entry: Entry, _ key: KeyRef, at deadline: Int64
    ) {
        guard !isEmpty else { return }
        call.executor.pointee.dirty &+= Int64(updated.count + deleted.count)
        if !updated.isEmpty {
            call.signal(.hash, "hexpire", key)
            call.propagateFields("HPEXPIREAT", key, at: deadline, updated)
        }
        if !deleted.isEmpty {
            call.signal(.hash, "hdel", key)
            call.propagateFields("HDEL", key, isPlain: true, deleted)
        }
        call.finishHash(hash, entry, key)
    }
}

private func hpersist(_ call: Call) {
    let key = call.key(1)
    var isFine = true
    let found = call.hashToChange(key, &isFine)
    guard isFine,
        let fields = FieldArguments.orReply(call, at: 2, badCount: FieldArguments.notPositive)
    else { return }
    call.reply.array(fields.count)
    guard let (entry, before) = found else {
        for _ in 0..<fields.count { call.reply.integer(-2) }
        return
    }
    call.keyspace.willChange(entry, key)
    var hash = before
    var changed = 0
    for index in fields.indexes {
        let field = call[index]
        if hash.find(field, call.heap, now: call.fieldTime) == nil {
            call.reply.integer(-2)
        } else if hash.expiry(of: field, call.heap) == nil {
            call.reply.integer(-1)
        } else {
            hash.setExpiry(field, at: nil, call.heap)
            call.reply.integer(1)
            changed += 1
        }
    }
    guard changed > 0 else { return }
    call.changed(.hash, "hpersist", key)
    call.finishHash(hash, entry, key)
}
