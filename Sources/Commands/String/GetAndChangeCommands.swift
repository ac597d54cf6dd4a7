// Reading a string and changing its key in one step: GETSET, GETDEL, GETEX. In the replication
// stream only the change is left.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerGetAndChangeCommands() {
        command(
            "getset", since: "1.0.0", arity: 3, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key value",
            summary: "Set the string value of a key and return its old value",
            complexity: "O(1)",
            deprecated: "6.2.0 `SET` with the `!GET` argument"
        ) { getset(Call($0)) }

        command(
            "getdel", since: "6.2.0", arity: 2, [.write, .fast], acl: [.string],
            keys: [.range(1, [.RW, .access, .delete])],
            syntax: "key",
            summary: "Get the value of a key and delete the key",
            complexity: "O(1)"
        ) { getdel(Call($0)) }

        command(
            "getex", since: "6.2.0", arity: -2, [.write, .fast], acl: [.string],
            keys: [
                .range(1, [.RW, .access, .update],
                    notes: "RW and UPDATE because it changes the TTL"),
            ],
            syntax: """
            key [expiration: EX seconds:integer|PX milliseconds:integer|EXAT \
            unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|PERSIST]
            """,
            summary: "Get the value of a key and optionally set its expiration",
            complexity: "O(1)"
        ) { getex(Call($0)) }
    }
}

private func getset(_ call: Call) {
    let key = call.key(1)
    if let entry = call.lookupRead(key) {
        guard let string = call.stringOrReply(entry) else { return }
        call.replyString(string)
    } else {
        call.reply.null()
    }
    call.willOverwrite(key)
    call.store(key, call[2], expiry: .clear)
    call.rewrite(3) { stream in
        stream.argument("SET")
        stream.argument(key.bytes)
        stream.argument(call[2])
    }
}

private func getdel(_ call: Call) {
    let key = call.key(1)
    guard let entry = call.lookupRead(key) else {
        call.reply.null()
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    call.replyString(string)
    call.keyspace.remove(key)
    call.changed(.generic, "del", key)
    call.rewrite(2) { stream in
        stream.argument("DEL")
        stream.argument(key.bytes)
    }
}

private func getex(_ call: Call) {
    guard let parsed = ParsedStringOptions.orReply(call, from: 2, allowed: .ofGetEx) else {
        return
    }
    let key = call.key(1)
    guard let entry = call.lookupRead(key) else {
        call.reply.null()
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    guard parsed.hasTime else {
        call.replyString(string)
        if parsed.options.contains(.persist) { persist(call, key) }
        return
    }
    guard let deadline = parsed.deadlineOrReply(call) else { return }
    call.replyString(string)
    // Only an absolute time can be over already.
    if !parsed.options.isDisjoint(with: [.exAt, .pxAt]), call.isOver(deadline) {
        call.deleteExpired(key)
        return
    }
    call.setDeadline(key, deadline)
    call.rewrite(3) { stream in
        stream.argument("PEXPIREAT")
        stream.argument(key.bytes)
        stream.argument(decimal: deadline)
    }
}

private func persist(_ call: Call, _ key: KeyRef) {
    guard call.keyspace.removeExpiry(key) != nil else { return }
    call.changed(.generic, "persist", key)
    call.rewrite(2) { stream in
        stream.argument("PERSIST")
        stream.argument(key.bytes)
    }
}
