// How long a key has to live, or until when: TTL, PTTL, EXPIRETIME, PEXPIRETIME. Answers -2 for a
// missing key, -1 for one that does not expire; seconds are rounded to the nearest.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerTTLCommands() {
        command(
            "ttl", since: "1.0.0", arity: 2, [.readonly, .fast], acl: [.keyspace],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get the time to live for a key in seconds",
            complexity: "O(1)",
            history: "2.8.0 Added the -2 reply.",
            tips: "nondeterministic_output"
        ) { ttl(Call($0)) }

        command(
            "pttl", since: "2.6.0", arity: 2, [.readonly, .fast], acl: [.keyspace],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get the time to live for a key in milliseconds",
            complexity: "O(1)",
            history: "2.8.0 Added the -2 reply.",
            tips: "nondeterministic_output"
        ) { pttl(Call($0)) }

        command(
            "expiretime", since: "7.0.0", arity: 2, [.readonly, .fast], acl: [.keyspace],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get the expiration Unix timestamp for a key",
            complexity: "O(1)"
        ) { expiretime(Call($0)) }

        command(
            "pexpiretime", since: "7.0.0", arity: 2, [.readonly, .fast], acl: [.keyspace],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get the expiration Unix timestamp for a key in milliseconds",
            complexity: "O(1)"
        ) { pexpiretime(Call($0)) }
    }
}

private func ttl(_ call: Call) { answer(call, inSeconds: true, isAbsolute: false) }
private func pttl(_ call: Call) { answer(call, inSeconds: false, isAbsolute: false) }
private func expiretime(_ call: Call) { answer(call, inSeconds: true, isAbsolute: true) }
private func pexpiretime(_ call: Call) { answer(call, inSeconds: false, isAbsolute: true) }

@inline(__always)
private func answer(_ call: Call, inSeconds: Bool, isAbsolute: Bool) {
    guard let entry = call.examine(call.key(1)) else {
        call.reply.integer(-2)
        return
    }
    guard let deadline = entry.expiry else {
        call.reply.integer(-1)
        return
    }
    let time = max(isAbsolute ? deadline : deadline &- call.now.milliseconds, 0)
    call.reply.integer(inSeconds ? time / 1000 + (time % 1000 >= 500 ? 1 : 0) : time)
}
