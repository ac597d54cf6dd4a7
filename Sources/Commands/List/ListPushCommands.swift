// LPUSH, RPUSH and their forms for lists that exist already. All elements of one call go in one by
// one, so that LPUSH leaves them in reverse.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerListPushCommands() {
        command(
            "lpush", since: "1.0.0", arity: -3, [.write, .denyOOM, .fast], acl: [.list],
            keys: [.range(1, [.RW, .insert])],
            syntax: "key element...",
            summary: "Prepend one or multiple elements to a list",
            complexity: """
            O(1) for each element added, so O(N) to add N elements when the command is called with \
            multiple arguments.
            """,
            history: "2.4.0 Accepts multiple `element` arguments."
        ) { lpush(Call($0)) }

        command(
            "rpush", since: "1.0.0", arity: -3, [.write, .denyOOM, .fast], acl: [.list],
            keys: [.range(1, [.RW, .insert])],
            syntax: "key element...",
            summary: "Append one or multiple elements to a list",
            complexity: """
            O(1) for each element added, so O(N) to add N elements when the command is called with \
            multiple arguments.
            """,
            history: "2.4.0 Accepts multiple `element` arguments."
        ) { rpush(Call($0)) }

        command(
            "lpushx", since: "2.2.0", arity: -3, [.write, .denyOOM, .fast], acl: [.list],
            keys: [.range(1, [.RW, .insert])],
            syntax: "key element...",
            summary: "Prepend an element to a list, only if the list exists",
            complexity: """
            O(1) for each element added, so O(N) to add N elements when the command is called with \
            multiple arguments.
            """,
            history: "4.0.0 Accepts multiple `element` arguments."
        ) { lpushx(Call($0)) }

        command(
            "rpushx", since: "2.2.0", arity: -3, [.write, .denyOOM, .fast], acl: [.list],
            keys: [.range(1, [.RW, .insert])],
            syntax: "key element...",
            summary: "Append an element to a list, only if the list exists",
            complexity: """
            O(1) for each element added, so O(N) to add N elements when the command is called with \
            multiple arguments.
            """,
            history: "4.0.0 Accepts multiple `element` arguments."
        ) { rpushx(Call($0)) }
    }
}

private func lpush(_ call: Call) { push(call, atFront: true, creates: true) }
private func rpush(_ call: Call) { push(call, atFront: false, creates: true) }
private func lpushx(_ call: Call) { push(call, atFront: true, creates: false) }
private func rpushx(_ call: Call) { push(call, atFront: false, creates: false) }

private func push(_ call: Call, atFront: Bool, creates: Bool) {
    let key = call.key(1)
    var bytes = 0
    for index in 2..<call.count { bytes &+= call[index].count }
    guard call.fitsListOrReply(bytes) else { return }
    let found = call.lookupWrite(key)
    if found == nil, !creates { return call.reply.integer(0) }
    guard let list = call.listForChangeOrReply(found, key) else { return }
    list.willGrow(bytes: bytes, count: call.count &- 2)
    for index in 2..<call.count { list.push(call[index], atFront: atFront) }
    call.reply.integer(list.count)
    // What comes whole mostly stays so. Not for somebody who waits and takes from it at once.
    if found == nil, call.count > 3, !call.isAwaited(key) {
        call.keyspace.tuckIn(list.entry, key)
    }
    call.executor.pointee.dirty &+= Int64(call.count &- 2)
    call.signal(.list, atFront ? "lpush" : "rpush", key)
}
