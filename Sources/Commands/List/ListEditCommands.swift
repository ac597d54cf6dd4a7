// Changing the middle of a list: LSET, LINSERT, LREM, LTRIM.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerListEditCommands() {
        command(
            "lset", since: "1.0.0", arity: 4, [.write, .denyOOM], acl: [.list],
            keys: [.range(1, [.RW, .update])],
            syntax: "key index:integer element",
            summary: "Set the value of an element in a list by its index",
            complexity: """
            O(N) where N is the length of the list. Setting either the first or the last element \
            of the list is O(1).
            """
        ) { lset(Call($0)) }

        command(
            "linsert", since: "2.2.0", arity: 5, [.write, .denyOOM], acl: [.list],
            keys: [.range(1, [.RW, .insert])],
            syntax: "key <where: BEFORE|AFTER> pivot element",
            summary: "Insert an element before or after another element in a list",
            complexity: """
            O(N) where N is the number of elements to traverse before seeing the value pivot. This \
            means that inserting somewhere on the left end on the list (head) can be considered \
            O(1) and inserting somewhere on the right end (tail) is O(N).
            """
        ) { linsert(Call($0)) }

        command(
            "lrem", since: "1.0.0", arity: 4, [.write], acl: [.list],
            keys: [.range(1, [.RW, .delete])],
            syntax: "key count:integer element",
            summary: "Remove elements from a list",
            complexity: """
            O(N+M) where N is the length of the list and M is the number of elements removed.
            """
        ) { lrem(Call($0)) }

        command(
            "ltrim", since: "1.0.0", arity: 4, [.write], acl: [.list],
            keys: [.range(1, [.RW, .delete])],
            syntax: "key start:integer stop:integer",
            summary: "Trim a list to the specified range",
            complexity: "O(N) where N is the number of elements to be removed by the operation."
        ) { ltrim(Call($0)) }
    }
}

private func lset(_ call: Call) {
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else { return call.reply.error(.noSuchKey) }
    guard let found = call.listOrReply(entry), let index = call.integerOrReply(2),
        call.fitsListOrReply(call[3].count)
    else { return }
    let list = call.willChange(found, key)
    list.willGrow(bytes: call[3].count, count: 1)
    guard list.replace(at: Int(index), with: call[3]) else {
        return call.reply.error(.outOfRange)
    }
    list.didShrink()
    call.reply.ok()
    call.changed(.list, "lset", key)
}

private func linsert(_ call: Call) {
    let after = call[2].matches("after")
    guard after || call[2].matches("before") else { return call.reply.error(.syntax) }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else { return call.reply.integer(0) }
    guard let found = call.listOrReply(entry), call.fitsListOrReply(call[4].count) else { return }
    let list = call.willChange(found, key)
    list.willGrow(bytes: call[4].count, count: 1)
    guard list.insert(call[4], beside: call[3], after: after) else {
        return call.reply.integer(-1)
    }
    call.reply.integer(list.count)
    call.changed(.list, "linsert", key)
}

private func lrem(_ call: Call) {
    guard let count = call.integerOrReply(2) else { return }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else { return call.reply.integer(0) }
    guard let found = call.listOrReply(entry) else { return }
    let list = call.willChange(found, key)
    let removed = list.remove(
        call[3], count: Int(clamping: count.magnitude), fromEnd: count < 0)
    call.reply.integer(removed)
    guard removed > 0 else { return }
    call.executor.pointee.dirty &+= Int64(removed)
    let isEmpty = list.count == 0
    if !isEmpty { list.didShrink() }
    call.signal(.list, "lrem", key)
    if isEmpty { call.removeEmptied(key) }
}

private func ltrim(_ call: Call) {
    guard let start = call.integerOrReply(2), let stop = call.integerOrReply(3) else { return }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else { return call.reply.ok() }
    guard let found = call.listOrReply(entry) else { return }
    let length = found.count
    let list = call.willChange(found, key)
    let kept = listRange(start, stop, length: length)
    if let kept {
        list.remove(from: kept.upperBound, count: length - kept.upperBound)
        list.remove(from: 0, count: kept.lowerBound)
        list.didShrink()
    }
    call.executor.pointee.dirty &+= Int64(length - (kept?.count ?? 0))
    call.signal(.list, "ltrim", key)
    if kept == nil { call.removeEmptied(key) }
    call.reply.ok()
}
