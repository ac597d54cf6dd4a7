// Giving keys a time to live and taking it: EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT with NX, XX, GT,
// LT, and PERSIST. Whatever the form, the replication stream gets PEXPIREAT. A time that is over
// deletes the key at once, and the stream gets the deletion.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerExpiryCommands() {
        command(
            "expire", since: "1.0.0", arity: -3, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RW, .update])],
            syntax: "key seconds:integer [condition: NX|XX|GT|LT]{7.0.0}",
            summary: "Set a key's time to live in seconds",
            complexity: "O(1)",
            history: "7.0.0 Added options: `NX`, `XX`, `GT` and `LT`."
        ) { expire(Call($0)) }

        command(
            "pexpire", since: "2.6.0", arity: -3, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RW, .update])],
            syntax: "key milliseconds:integer [condition: NX|XX|GT|LT]{7.0.0}",
            summary: "Set a key's time to live in milliseconds",
            complexity: "O(1)",
            history: "7.0.0 Added options: `NX`, `XX`, `GT` and `LT`."
        ) { pexpire(Call($0)) }

        command(
            "expireat", since: "1.2.0", arity: -3, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RW, .update])],
            syntax: "key unix-time-seconds:unix-time [condition: NX|XX|GT|LT]{7.0.0}",
            summary: "Set the expiration for a key as a UNIX timestamp",
            complexity: "O(1)",
            history: "7.0.0 Added options: `NX`, `XX`, `GT` and `LT`."
        ) { expireat(Call($0)) }

        command(
            "pexpireat", since: "2.6.0", arity: -3, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RW, .update])],
            syntax: "key unix-time-milliseconds:unix-time [condition: NX|XX|GT|LT]{7.0.0}",
            summary: """
            Set the expiration for a key as a UNIX timestamp specified in milliseconds
            """,
            complexity: "O(1)",
            history: "7.0.0 Added options: `NX`, `XX`, `GT` and `LT`."
        ) { pexpireat(Call($0)) }

        command(
            "persist", since: "2.2.0", arity: 2, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RW, .update])],
            syntax: "key",
            summary: "Remove the expiration from a key",
            complexity: "O(1)"
        ) { persist(Call($0)) }
    }
}

/// How the time of a command is meant.
private enum TimeForm {
    case seconds
    case milliseconds
    case unixSeconds
    case unixMilliseconds

    var isInSeconds: Bool { self == .seconds || self == .unixSeconds }
    var isRelative: Bool { self == .seconds || self == .milliseconds }
}

private func expire(_ call: Call) { setExpiry(call, .seconds) }
private func pexpire(_ call: Call) { setExpiry(call, .milliseconds) }
private func expireat(_ call: Call) { setExpiry(call, .unixSeconds) }
private func pexpireat(_ call: Call) { setExpiry(call, .unixMilliseconds) }

private func setExpiry(_ call: Call, _ form: TimeForm) {
    var condition = ExpiryCondition()
    if _slowPath(call.count > 3) {
        guard let parsed = ExpiryCondition.orReply(call) else { return }
        condition = parsed
    }
    guard let time = call.integerOrReply(2) else { return }
    guard let deadline = deadline(call, time, form) else {
        call.refuseExpireTime()
        return
    }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key), condition.allows(deadline, over: entry.expiry) else {
        call.reply.integer(0)
        return
    }
    if _slowPath(call.isOver(deadline)) {
        call.deleteExpired(key)
    } else {
        call.setDeadline(key, deadline)
        if form != .unixMilliseconds { rewrite(call, deadline) }
    }
    call.reply.integer(1)
}

/// Milliseconds since 1970, which may be negative; nil when they are out of range.
@inline(__always)
private func deadline(_ call: Call, _ time: Int64, _ form: TimeForm) -> Int64? {
    let (milliseconds, tooLarge) = time.multipliedReportingOverflow(
        by: form.isInSeconds ? 1000 : 1)
    let (deadline, tooLate) = milliseconds.addingReportingOverflow(
        form.isRelative ? call.now.milliseconds : 0)
    return tooLarge || tooLate ? nil : deadline
}

/// Conditions stay in the stream: a replica holds the same key with the same expiry.
private func rewrite(_ call: Call, _ deadline: Int64) {
    call.rewrite(call.count) { stream in
        stream.argument("PEXPIREAT")
        stream.argument(call[1])
        stream.argument(decimal: deadline)
        for index in 3..<call.count { stream.argument(call[index]) }
    }
}

/// NX, XX, GT, LT.
private struct ExpiryCondition {
    private var nx = false
    private var xx = false
    private var gt = false
    private var lt = false

    init() {}

    static func orReply(_ call: Call) -> ExpiryCondition? {
        var condition = ExpiryCondition()
        for index in 3..<call.count {
            let word = call[index]
            if word.matches("nx") {
                condition.nx = true
            } else if word.matches("xx") {
                condition.xx = true
            } else if word.matches("gt") {
                condition.gt = true
            } else if word.matches("lt") {
                condition.lt = true
            } else {
                call.reply.error("ERR Unsupported option \(word.string)")
                return nil
            }
        }
        if condition.nx, condition.xx || condition.gt || condition.lt {
            call.reply.error(
                "ERR NX and XX, GT or LT options at the same time are not compatible")
            return nil
        }
        if condition.gt, condition.lt {
            call.reply.error("ERR GT and LT options at the same time are not compatible")
            return nil
        }
        return condition
    }

    /// A key without expiry lives for ever: later than any deadline.
    @inline(__always)
    func allows(_ deadline: Int64, over current: Int64?) -> Bool {
        guard let current else { return !xx && !gt }
        if nx { return false }
        if gt, deadline <= current { return false }
        return !(lt && deadline >= current)
    }
}

private func persist(_ call: Call) {
    let key = call.key(1)
    guard call.lookupWrite(key) != nil, call.keyspace.removeExpiry(key) != nil else {
        call.reply.integer(0)
        return
    }
    call.changed(.generic, "persist", key)
    call.reply.integer(1)
}
