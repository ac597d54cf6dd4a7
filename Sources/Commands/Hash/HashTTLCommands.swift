// How long fields of a hash have to live: HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME. -2 stands for a
// field that does not exist, -1 for one that stays.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHashTTLCommands() {
        command(
            "httl", since: "7.4.0", arity: -5, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key FIELDS <fields: numfields:integer field...>",
            summary: "Returns the TTL in seconds of a hash field.",
            complexity: "O(N) where N is the number of specified fields",
            tips: "nondeterministic_output"
        ) { replyTimes(Call($0)) { (max($0 - $1, 0) + 999) / 1000 } }

        command(
            "hpttl", since: "7.4.0", arity: -5, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key FIELDS <fields: numfields:integer field...>",
            summary: "Returns the TTL in milliseconds of a hash field.",
            complexity: "O(N) where N is the number of specified fields",
            tips: "nondeterministic_output"
        ) { replyTimes(Call($0)) { max($0 - $1, 0) } }

        command(
            "hexpiretime", since: "7.4.0", arity: -5, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key FIELDS <fields: numfields:integer field...>",
            summary: "Returns the expiration time of a hash field as a Unix timestamp, in seconds.",
            complexity: "O(N) where N is the number of specified fields"
        ) { replyTimes(Call($0)) { deadline, _ in (deadline + 999) / 1000 } }

        command(
            "hpexpiretime", since: "7.4.0", arity: -5, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            syntax: "key FIELDS <fields: numfields:integer field...>",
            summary: """
            Returns the expiration time of a hash field as a Unix timestamp, in msec.
            """,
            complexity: "O(N) where N is the number of specified fields"
        ) { replyTimes(Call($0)) { deadline, _ in deadline } }
    }
}

/// Replies to each field with what `text` makes of its deadline and the time.
private func replyTimes(_ call: Call, _ number: (Int64, Int64) -> Int64) {
    var hash: HashObject?
    if let entry = call.readHash(call.key(1)) {
        guard let found = call.hashOrReply(entry) else { return }
        hash = found
    }
    guard
        let fields = FieldArguments.orReply(call, at: 2, badCount: FieldArguments.notPositive)
    else { return }
    call.reply.array(fields.count)
    for index in fields.indexes {
        let field = call[index]
        if hash?.find(field, call.heap, now: call.fieldTime) == nil {
            call.reply.integer(-2)
        } else if let deadline = hash?.expiry(of: field, call.heap) {
            call.reply.integer(number(deadline, call.now.milliseconds))
        } else {
            call.reply.integer(-1)
        }
    }
}
