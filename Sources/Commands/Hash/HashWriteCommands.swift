// Writing hashes: HSET, HMSET, HSETNX, HDEL, HINCRBY, HINCRBYFLOAT. A hash comes into being with
// its first field and ends with its last.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHashWriteCommands() {
        command(
            "hset", since: "2.0.0", arity: -4, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            member: 2,
            syntax: "key <field_value: field value>...",
            summary: "Set the string value of a hash field",
            complexity: """
            O(1) for each field/value pair added, so O(N) to add N field/value pairs when the \
            command is called with multiple field/value pairs.
            """,
            history: "4.0.0 Accepts multiple `field` and `value` arguments."
        ) { hset(Call($0)) }

        command(
            "hmset", since: "2.0.0", arity: -4, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .update])],
            member: 2,
            syntax: "key <field_value: field value>...",
            summary: "Set multiple hash fields to multiple values",
            complexity: "O(N) where N is the number of fields being set.",
            deprecated: "4.0.0 `HSET` with multiple field-value pairs"
        ) { hmset(Call($0)) }

        command(
            "hsetnx", since: "2.0.0", arity: 4, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .insert])],
            member: 2,
            syntax: "key field value",
            summary: "Set the value of a hash field, only if the field does not exist",
            complexity: "O(1)"
        ) { hsetnx(Call($0)) }

        command(
            "hdel", since: "2.0.0", arity: -3, [.write, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .delete])],
            member: 2,
            syntax: "key field...",
            summary: "Delete one or more hash fields",
            complexity: "O(N) where N is the number of fields to be removed.",
            history: "2.4.0 Accepts multiple `field` arguments."
        ) { hdel(Call($0)) }

        command(
            "hincrby", since: "2.0.0", arity: 4, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .access, .update])],
            member: 2,
            syntax: "key field increment:integer",
            summary: "Increment the integer value of a hash field by the given number",
            complexity: "O(1)"
        ) { hincrby(Call($0)) }

        command(
            "hincrbyfloat", since: "2.6.0", arity: 4, [.write, .denyOOM, .fast], acl: [.hash],
            keys: [.range(1, [.RW, .access, .update])],
            member: 2,
            syntax: "key field increment:double",
            summary: "Increment the float value of a hash field by the given amount",
            complexity: "O(1)"
        ) { hincrbyfloat(Call($0)) }
    }
}

extension Call {
    /// Changes the hash under `key`, which is made when there is none: `body` gets the hash, and it
    /// is put back afterwards. False when the key holds something else, which is answered.
    @inline(__always)
    func withHash(_ key: KeyRef, _ body: (inout HashObject) -> Void) -> Bool {
        if let entry = writeHash(key) {
            guard var hash = hashOrReply(entry) else { return false }
            keyspace.willChange(entry, key)
            body(&hash)
            hash.store(in: entry)
            if _slowPath(hash.concernsExpiry) { keyspace.noteFields(entry, key) }
            return true
        }
        announceNew(key)
        var hash = HashObject.make(heap)
        body(&hash)
        invariant(hash.count > 0, "a hash without fields is stored")
        hash.shareNames(heap)
        keyspace.tuckIn(keyspace.insertObject(key, .hash, hash.encoding, hash.payload), key)
        return true
    }
}

// MARK: HSET

private func hset(_ call: Call) {
    guard let added = setPairs(call) else { return }
    call.reply.integer(added)
}

private func hmset(_ call: Call) {
    guard setPairs(call) != nil else { return }
    call.reply.ok()
}

/// The number of new fields; nil after an error reply.
@inline(__always)
private func setPairs(_ call: Call) -> Int? {
    guard call.count % 2 == 0 else {
        call.refuseArity()
        return nil
    }
    let key = call.key(1)
    var added = 0
    let count = call.count
    let limits = call.limits
    let heap = call.heap
    let isDone = call.withHash(key) { hash in
        if !hash.isTable, count > 4 {
            hash.prepare(heap, limits, adding: (count - 2) / 2, longest: longest(call, from: 2))
        }
        var index = 2
        while index < count {
            if hash.set(call[index], call[index &+ 1], heap, limits) { added &+= 1 }
            index &+= 2
        }
    }
    guard isDone else { return nil }
    call.changed(.hash, "hset", key)
    call.executor.pointee.dirty &+= Int64((count - 2) / 2 - 1)
    return added
}

private func longest(_ call: Call, from first: Int) -> Int {
    var longest = 0
    for index in first..<call.count { longest = max(longest, call[index].count) }
    return longest
}

private func hsetnx(_ call: Call) {
    let key = call.key(1)
    if let entry = call.writeHash(key) {
        guard let hash = call.hashOrReply(entry) else { return }
        guard hash.find(call[2], call.heap, now: call.fieldTime) == nil else {
            call.reply.integer(0)
            return
        }
    }
    guard call.withHash(key, { $0.set(call[2], call[3], call.heap, call.limits) }) else { return }
    call.changed(.hash, "hset", key)
    call.reply.integer(1)
}

// MARK: HDEL

private func hdel(_ call: Call) {
    let key = call.key(1)
    guard let entry = call.writeHash(key) else {
        call.reply.integer(0)
        return
    }
    guard var hash = call.hashOrReply(entry) else { return }
    call.keyspace.willChange(entry, key)
    var removed = 0
    var index = 2
    while index < call.count, hash.count > 0 {
        if hash.remove(call[index], call.heap) { removed += 1 }
        index += 1
    }
    hash.store(in: entry)
    if _slowPath(hash.concernsExpiry) { call.keyspace.noteFields(entry, key) }
    let isEmpty = hash.count == 0
    if removed > 0 {
        call.executor.pointee.dirty &+= Int64(removed - 1)
        call.changed(.hash, "hdel", key)
        if isEmpty { call.removeEmptied(key) }
    }
    call.reply.integer(removed)
}

// MARK: Numbers

private func hincrby(_ call: Call) {
    guard let delta = call.integerOrReply(3) else { return }
    let key = call.key(1)
    var old: Int64 = 0
    if let entry = call.writeHash(key) {
        guard let hash = call.hashOrReply(entry) else { return }
        if let value = hash.find(call[2], call.heap, now: call.fieldTime) {
            guard let number = value.integer else {
                call.reply.error("ERR hash value is not an integer")
                return
            }
            old = number
        }
    }
    let (sum, overflows) = old.addingReportingOverflow(delta)
    guard !overflows else {
        call.reply.error(.overflow)
        return
    }
    guard store(call, key, .integer(sum)) else { return }
    call.changed(.hash, "hincrby", key)
    call.reply.integer(sum)
}

/// Gives the field at argument 2 a value; it keeps its deadline, as in the reference.
private func store(_ call: Call, _ key: KeyRef, _ value: PackedValue) -> Bool {
    withText(of: value) { text in
        call.withHash(key) { hash in
            let deadline = hash.expiry(of: call[2], call.heap)
            hash.set(call[2], text, call.heap, call.limits)
            if let deadline { hash.setExpiry(call[2], at: deadline, call.heap) }
        }
    }
}

/// The sum is propagated rather than the increment: replicas may round differently.
private func hincrbyfloat(_ call: Call) {
    let key = call.key(1)
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: LongDoubleSum.room) { room in
        guard let out = room.baseAddress else { return }
        switch LongDoubleSum.of(Bytes("0"), call[3], into: out) {
        case .notNumber: return call.reply.error(.notFloat)
        case .notFinite: return call.reply.error("ERR value is NaN or Infinity")
        case .text: break
        }
        guard let sum = sumOrReply(call, key, out) else { return }
        guard store(call, key, .bytes(sum)) else { return }
        call.changed(.hash, "hincrbyfloat", key)
        call.reply.bulk(sum)
        call.rewrite(4) { stream in
            stream.argument("HSET")
            stream.argument(key.bytes)
            stream.argument(call[2])
            stream.argument(sum)
        }
    }
}

private func sumOrReply(
    _ call: Call, _ key: KeyRef, _ out: UnsafeMutablePointer<UInt8>
) -> Bytes? {
    var old = PackedValue.integer(0)
    if let entry = call.writeHash(key) {
        guard let hash = call.hashOrReply(entry) else { return nil }
        old = hash.find(call[2], call.heap, now: call.fieldTime) ?? old
    }
    switch withText(of: old, { LongDoubleSum.of($0, call[3], into: out) }) {
    case .text(let count): return Bytes(out, count)
    case .notNumber: call.reply.error("ERR hash value is not a float")
    case .notFinite: call.reply.error("ERR increment would produce NaN or Infinity")
    }
    return nil
}
