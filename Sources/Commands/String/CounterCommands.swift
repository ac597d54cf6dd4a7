// Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT. A number that is stored as one is
// changed in its entry; the expiry stays.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerCounterCommands() {
        command(
            "incr", since: "1.0.0", arity: 2, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key",
            summary: "Increment the integer value of a key by one",
            complexity: "O(1)"
        ) { incr(Call($0)) }

        command(
            "decr", since: "1.0.0", arity: 2, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key",
            summary: "Decrement the integer value of a key by one",
            complexity: "O(1)"
        ) { decr(Call($0)) }

        command(
            "incrby", since: "1.0.0", arity: 3, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key increment:integer",
            summary: "Increment the integer value of a key by the given amount",
            complexity: "O(1)"
        ) { incrby(Call($0)) }

        command(
            "decrby", since: "1.0.0", arity: 3, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key decrement:integer",
            summary: "Decrement the integer value of a key by the given number",
            complexity: "O(1)"
        ) { decrby(Call($0)) }

        command(
            "incrbyfloat", since: "2.6.0", arity: 3, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key increment:double",
            summary: "Increment the float value of a key by the given amount",
            complexity: "O(1)"
        ) { incrbyfloat(Call($0)) }
    }
}

// MARK: Integers

private func incr(_ call: Call) { add(call, 1) }

private func decr(_ call: Call) { add(call, -1) }

private func incrby(_ call: Call) {
    guard let delta = call.integerOrReply(2) else { return }
    add(call, delta)
}

private func decrby(_ call: Call) {
    guard let delta = call.integerOrReply(2) else { return }
    guard delta != .min else {
        call.reply.error(ErrorReply("ERR decrement would overflow"))
        return
    }
    add(call, -delta)
}

@inline(__always)
private func add(_ call: Call, _ delta: Int64) {
    let key = call.key(1)
    let entry = call.lookupWrite(key)
    var old: Int64 = 0
    if let entry {
        guard let value = integerOrReply(call, entry) else { return }
        old = value
    }
    let (value, overflows) = old.addingReportingOverflow(delta)
    if _slowPath(overflows) {
        call.reply.error(.overflow)
        return
    }
    if let entry, _fastPath(entry.layout == .integer) {
        call.keyspace.willModify(entry, key)
        entry.payloadWord = UInt64(bitPattern: value)
    } else {
        if entry == nil { call.announceNew(key) }
        call.keyspace.setInteger(key, value, expiry: entry == nil ? .clear : .keep)
    }
    call.changed(.string, "incrby", key)
    call.reply.integer(value)
}

/// The number that a string is, or nil after an error reply.
@inline(__always)
private func integerOrReply(_ call: Call, _ entry: Entry) -> Int64? {
    if let value = entry.integer { return value }
    guard let string = call.stringOrReply(entry) else { return nil }
    if let value = string.storedBytes?.decimal { return value }
    call.reply.error(.notInteger)
    return nil
}

// MARK: Floating point

/// The sum is propagated rather than the increment: replicas may round differently.
private func incrbyfloat(_ call: Call) {
    let key = call.key(1)
    let entry = call.lookupWrite(key)
    if let entry, call.stringOrReply(entry) == nil { return }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: LongDoubleSum.room) { room in
        guard let out = room.baseAddress else { return }
        switch sum(entry, call[2], out) {
        case .notNumber:
            call.reply.error(.notFloat)
        case .notFinite:
            call.reply.error(ErrorReply("ERR increment would produce NaN or Infinity"))
        case .text(let count):
            storeSum(call, key, Bytes(out, count), isNew: entry == nil)
        }
    }
}

private func sum(
    _ entry: Entry?, _ increment: Bytes, _ out: UnsafeMutablePointer<UInt8>
) -> LongDoubleSum {
    guard let entry else { return LongDoubleSum.of(Bytes("0"), increment, into: out) }
    return withBytes(of: entry) { LongDoubleSum.of($0, increment, into: out) }
}

private func storeSum(_ call: Call, _ key: KeyRef, _ text: Bytes, isNew: Bool) {
    if isNew { call.announceNew(key) }
    call.keyspace.setString(key, text, expiry: isNew ? .clear : .keep, asBytes: true)
    call.changed(.string, "incrbyfloat", key)
    call.reply.bulk(text)
    call.rewrite(4) { stream in
        stream.argument("SET")
        stream.argument(key.bytes)
        stream.argument(text)
        stream.argument("KEEPTTL")
    }
}
