// Reading hashes field by field: HGET, HMGET, HEXISTS, HLEN, HSTRLEN.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHashReadCommands() {
        command(
            "hget", since: "2.0.0", arity: 3, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            member: 2,
            syntax: "key field",
            summary: "Get the value of a hash field",
            complexity: "O(1)"
        ) { hget(Call($0)) }

        command(
            "hmget", since: "2.0.0", arity: -3, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO, .access])],
            member: 2,
            syntax: "key field...",
            summary: "Get the values of all the given hash fields",
            complexity: "O(N) where N is the number of fields being requested."
        ) { hmget(Call($0)) }

        command(
            "hexists", since: "2.0.0", arity: 3, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO])],
            member: 2,
            syntax: "key field",
            summary: "Determine if a hash field exists",
            complexity: "O(1)"
        ) { hexists(Call($0)) }

        command(
            "hlen", since: "2.0.0", arity: 2, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO])],
            syntax: "key",
            summary: "Get the number of fields in a hash",
            complexity: "O(1)"
        ) { hlen(Call($0)) }

        command(
            "hstrlen", since: "3.2.0", arity: 3, [.readonly, .fast], acl: [.hash],
            keys: [.range(1, [.RO])],
            member: 2,
            syntax: "key field",
            summary: "Get the length of the value of a hash field",
            complexity: "O(1)"
        ) { hstrlen(Call($0)) }
    }
}

private func hget(_ call: Call) {
    guard let entry = call.readHash(call.key(1)) else {
        call.reply.null()
        return
    }
    guard let hash = call.hashOrReply(entry) else { return }
    guard let value = hash.find(call[2], call.heap, now: call.fieldTime) else {
        call.reply.null()
        return
    }
    call.reply.bulk(value)
}

private func hmget(_ call: Call) {
    let entry = call.readHash(call.key(1))
    var hash: HashObject?
    if let entry {
        guard let found = call.hashOrReply(entry) else { return }
        hash = found
    }
    let reply = call.reply
    reply.array(call.count - 2)
    for index in 2..<call.count {
        if let value = hash?.find(call[index], call.heap, now: call.fieldTime) {
            reply.bulk(value)
        } else {
            reply.null()
        }
    }
}

private func hexists(_ call: Call) {
    guard let entry = call.readHash(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let hash = call.hashOrReply(entry) else { return }
    let value = hash.find(call[2], call.heap, now: call.fieldTime)
    call.reply.integer(value == nil ? 0 : 1)
}

private func hlen(_ call: Call) {
    guard let entry = call.readHash(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let hash = call.hashOrReply(entry) else { return }
    call.reply.integer(hash.count)
}

private func hstrlen(_ call: Call) {
    guard let entry = call.readHash(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let hash = call.hashOrReply(entry) else { return }
    let value = hash.find(call[2], call.heap, now: call.fieldTime)
    call.reply.integer(value?.byteCount ?? 0)
}
