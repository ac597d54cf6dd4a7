// Changing part of a string: APPEND, SETRANGE. The value grows in place where there is room.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerEditCommands() {
        command(
            "append", since: "2.0.0", arity: 3, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.RW, .insert])],
            syntax: "key value",
            summary: "Append a value to a key",
            complexity: """
            O(1). The amortized time complexity is O(1) assuming the appended value is small and \
            the already present value is of any size, since the dynamic string library used by \
            Redis will double the free space available on every reallocation.
            """
        ) { append(Call($0)) }

        command(
            "setrange", since: "2.2.0", arity: 4, [.write, .denyOOM], acl: [.string],
            keys: [.range(1, [.RW, .update])],
            syntax: "key offset:integer value",
            summary: "Overwrite part of a string at key starting at the specified offset",
            complexity: """
            O(1), not counting the time taken to copy the new string in place. Usually, this \
            string is very small so the amortized complexity is O(1). Otherwise, complexity is \
            O(M) with M being the length of the value argument.
            """
        ) { setrange(Call($0)) }
    }
}

private func append(_ call: Call) {
    let key = call.key(1)
    let addition = call[2]
    var total = addition.count
    if let entry = call.lookupWrite(key) {
        guard let string = call.stringOrReply(entry) else { return }
        let length = string.stringLength
        guard call.allowsLengthOrReply(length, plus: addition.count) else { return }
        total = length + addition.count
        let bytes = call.keyspace.resizeString(key, to: total)
        (bytes + length).update(from: addition.base, count: addition.count)
    } else {
        call.announceNew(key)
        call.keyspace.setString(key, addition, expiry: .clear)
    }
    call.changed(.string, "append", key)
    call.reply.integer(total)
}

/// A gap before `offset` is filled with zero bytes.
private func setrange(_ call: Call) {
    guard let offset = call.integerOrReply(2) else { return }
    guard offset >= 0 else {
        call.reply.error(ErrorReply("ERR offset is out of range"))
        return
    }
    let key = call.key(1)
    let patch = call[3]
    let entry = call.lookupWrite(key)
    var length = 0
    if let entry {
        guard let string = call.stringOrReply(entry) else { return }
        length = string.stringLength
    }
    guard !patch.isEmpty else {
        call.reply.integer(length)
        return
    }
    guard call.allowsLengthOrReply(Int(offset), plus: patch.count) else { return }
    if entry == nil { call.announceNew(key) }
    let end = Int(offset) + patch.count
    length = max(length, end)
    let bytes = call.keyspace.resizeString(key, to: length)
    (bytes + Int(offset)).update(from: patch.base, count: patch.count)
    call.changed(.string, "setrange", key)
    call.reply.integer(length)
}
