// Reading fields of a hash and changing them in one go: HGETDEL removes them, HGETEX gives them a
// time to live or takes it.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHashGetAndChangeCommands() {
        command(
            "hgetdel", since: "8.0.0", arity: -5, [.write, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .access, .delete])],
            syntax: "key FIELDS <fields: numfields:integer field...>",
            summary: "Returns the value of a field and deletes it from the hash.",
            complexity: "O(N) where N is the number of specified fields"
        ) { hgetdel(Call($0)) }

        command(
            "hgetex", since: "8.0.0", arity: -5, [.write, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: """
            key [expiration: EX seconds:integer|PX milliseconds:integer|\
            EXAT unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|PERSIST] \
            FIELDS <fields: numfields:integer field...>
            """,
            summary: """
            Get the value of one or more fields of a given hash key, and optionally set their \
            expiration.
            """,
            complexity: "O(N) where N is the number of specified fields"
        ) { hgetex(Call($0)) }
    }
}

// MARK: HGETDEL

private func hgetdel(_ call: Call) {
    let key = call.key(1)
    var isFine = true
    let found = call.hashToChange(key, &isFine)
    guard isFine,
        let fields = FieldArguments.orReply(call, at: 2, badCount: FieldArguments.notPositive)
    else { return }
    call.reply.array(fields.count)
    guard let (entry, before) = found else {
        for _ in 0..<fields.count { call.reply.null() }
        return
    }
    call.keyspace.willChange(entry, key)
    var hash = before
    var deleted: [Int] = []
    for index in fields.indexes {
        guard let value = hash.find(call[index], call.heap, now: call.fieldTime) else {
            call.reply.null()
            continue
        }
        call.reply.bulk(value)
        hash.remove(call[index], call.heap)
        deleted.append(index)
    }
    hash.store(in: entry)
    guard !deleted.isEmpty else { return }
    call.executor.pointee.dirty &+= Int64(deleted.count)
    call.signal(.hash, "hdel", key)
    call.propagateFields("HDEL", key, isPlain: true, deleted)
    call.finishHash(hash, entry, key)
}

// MARK: HGETEX

/// What HGETEX does to the times of the fields.
private enum TimeChange {
    case none
    case persist
    case at(FieldTimeForm)

    /// Where FIELDS stands.
    var end: Int {
        switch self {
        case .none: 2
        case .persist: 3
        case .at: 4
        }
    }
}

private func hgetex(_ call: Call) {
    let key = call.key(1)
    var isFine = true
    let found = call.hashToChange(key, &isFine)
    guard isFine else { return }
    var wanted = TimeChange.none
    if let form = FieldTimeForm(word: call[2]) {
        wanted = .at(form)
    } else if call[2].matches("persist") {
        wanted = .persist
    }
    guard
        let fields = FieldArguments.orReply(
            call, at: wanted.end, badCount: FieldArguments.notPositive)
    else { return }
    var deadline: Int64?
    if case .at(let form) = wanted {
        guard let time = form.deadlineOrReply(call, 3) else { return }
        deadline = time
    }
    call.reply.array(fields.count)
    guard let (entry, hash) = found else {
        for _ in 0..<fields.count { call.reply.null() }
        return
    }
    if let deadline {
        getAndExpire(call, key, entry, hash, fields, at: deadline)
    } else if case .persist = wanted {
        getAndPersist(call, key, entry, hash, fields)
    } else {
        for index in fields.indexes { replyValue(call, hash, index) }
    }
}

/// Whether the field at an argument exists; replies with its value.
@discardableResult
private func replyValue(_ call: Call, _ hash: HashObject, _ index: Int) -> Bool {
    guard let value = hash.find(call[index], call.heap, now: call.fieldTime) else {
        call.reply.null()
        return false
    }
    call.reply.bulk(value)
    return true
}

private func getAndExpire(
    _ call: Call, _ key: KeyRef, _ entry: Entry, _ before: HashObject, _ fields: FieldArguments,
    at deadline: Int64
) {
    call.keyspace.willChange(entry, key)
    var hash = before
    var change = FieldChange()
    for index in fields.indexes where replyValue(call, hash, index) {
        change.give(deadline, to: index, of: &hash, call)
    }
    hash.store(in: entry)
    change.finish(call, hash, entry, key, at: deadline)
}

private func getAndPersist(
    _ call: Call, _ key: KeyRef, _ entry: Entry, _ before: HashObject, _ fields: FieldArguments
) {
    call.keyspace.willChange(entry, key)
    var hash = before
    var changed: [Int] = []
    for index in fields.indexes where replyValue(call, hash, index) {
        guard hash.expiry(of: call[index], call.heap) != nil else { continue }
        hash.setExpiry(call[index], at: nil, call.heap)
        changed.append(index)
    }
    guard !changed.isEmpty else { return }
    call.executor.pointee.dirty &+= Int64(changed.count)
    call.signal(.hash, "hpersist", key)
    call.propagateFields("HPERSIST", key, changed)
    call.finishHash(hash, entry, key)
}
