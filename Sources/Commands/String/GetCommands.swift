// Reading strings: GET, MGET, GETRANGE with its old name SUBSTR, STRLEN. A value that is stored as
// an integer is written as its decimal text without ever being one in memory.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerGetCommands() {
        command(
            "get", since: "1.0.0", arity: 2, [.readonly, .fast], acl: [.string],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Get the value of a key",
            complexity: "O(1)"
        ) { get(Call($0)) }

        command(
            "mget", since: "1.0.0", arity: -2, [.readonly, .fast], acl: [.string],
            keys: [.range(1, [.RO, .access], last: -1)],
            syntax: "key...",
            summary: "Get the values of all the given keys",
            complexity: "O(N) where N is the number of keys to retrieve.",
            tips: "request_policy:multi_shard"
        ) { mget(Call($0)) }

        command(
            "getrange", since: "2.4.0", arity: 4, [.readonly], acl: [.string],
            keys: [.range(1, [.RO, .access])],
            syntax: "key start:integer end:integer",
            summary: "Get a substring of the string stored at a key",
            complexity: """
            O(N) where N is the length of the returned string. The complexity is ultimately \
            determined by the returned length, but because creating a substring from an existing \
            string is very cheap, it can be considered O(1) for small strings.
            """
        ) { getrange(Call($0)) }

        command(
            "substr", since: "1.0.0", arity: 4, [.readonly], acl: [.string],
            keys: [.range(1, [.RO, .access])],
            syntax: "key start:integer end:integer",
            summary: "Get a substring of the string stored at a key",
            complexity: """
            O(N) where N is the length of the returned string. The complexity is ultimately \
            determined by the returned length, but because creating a substring from an existing \
            string is very cheap, it can be considered O(1) for small strings.
            """,
            deprecated: "2.0.0 `GETRANGE`"
        ) { getrange(Call($0)) }

        command(
            "strlen", since: "2.2.0", arity: 2, [.readonly, .fast], acl: [.string],
            keys: [.range(1, [.RO])],
            syntax: "key",
            summary: "Get the length of the value stored in a key",
            complexity: "O(1)"
        ) { strlen(Call($0)) }
    }
}

// MARK: Whole values

private func get(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.null()
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    call.replyString(string)
}

/// A key of another type counts as missing here.
private func mget(_ call: Call) {
    let reply = call.reply
    reply.array(call.count - 1)
    call.forEachKey(from: 1, step: 1) { _, key in
        if let entry = call.lookupRead(key), entry.isString {
            call.replyString(entry)
        } else {
            reply.null()
        }
    }
}

private func strlen(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    call.reply.integer(string.stringLength)
}

// MARK: Parts

private func getrange(_ call: Call) {
    guard let start = call.integerOrReply(2), let end = call.integerOrReply(3) else { return }
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.raw("$0\r\n\r\n")
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    withBytes(of: string) { bytes in
        call.reply.bulk(bytes[range(from: start, through: end, of: bytes.count)])
    }
}

/// The positions of a range whose ends may count from the end of `count` bytes.
private func range(from start: Int64, through end: Int64, of count: Int) -> Range<Int> {
    if start < 0, end < 0, start > end { return 0..<0 }
    let length = Int64(count)
    let first = max(start < 0 ? length &+ start : start, 0)
    let last = min(max(end < 0 ? length &+ end : end, 0), length - 1)
    guard first <= last else { return 0..<0 }
    return Int(first)..<(Int(last) + 1)
}
