// Setting strings: SET with its options, SETNX, SETEX, PSETEX, MSET, MSETNX. A relative expiry
// enters the replication stream as an absolute one, so that a replica that applies it late deletes
// the key no later.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSetCommands() {
        command(
            "set", since: "1.0.0", arity: -3, [.write, .denyOOM, .brief], acl: [.string],
            keys: [
                .range(1, [.RW, .access, .update, .variableFlags],
                    notes: "RW and ACCESS due to the optional `GET` argument"),
            ],
            syntax: """
            key value [condition: NX|XX]{2.6.12} [GET]{6.2.0} [expiration: EX \
            seconds:integer{2.6.12}|PX milliseconds:integer{2.6.12}|EXAT \
            unix-time-seconds:unix-time{6.2.0}|PXAT \
            unix-time-milliseconds:unix-time{6.2.0}|KEEPTTL{6.0.0}]
            """,
            summary: "Set the string value of a key",
            complexity: "O(1)",
            history: """
            2.6.12 Added the `EX`, `PX`, `NX` and `XX` options.
            6.0.0 Added the `KEEPTTL` option.
            6.2.0 Added the `GET`, `EXAT` and `PXAT` option.
            7.0.0 Allowed the `NX` and `GET` options to be used together.
            """,
            finder: setKeys
        ) { set(Call($0)) }

        command(
            "setnx", since: "1.0.0", arity: 3, [.write, .denyOOM, .fast], acl: [.string],
            keys: [.range(1, [.OW, .insert])],
            syntax: "key value",
            summary: "Set the value of a key, only if the key does not exist",
            complexity: "O(1)"
        ) { setnx(Call($0)) }

        command(
            "setex", since: "2.0.0", arity: 4, [.write, .denyOOM], acl: [.string],
            keys: [.range(1, [.OW, .update])],
            syntax: "key seconds:integer value",
            summary: "Set the value and expiration of a key",
            complexity: "O(1)"
        ) { setex(Call($0)) }

        command(
            "psetex", since: "2.6.0", arity: 4, [.write, .denyOOM], acl: [.string],
            keys: [.range(1, [.OW, .update])],
            syntax: "key milliseconds:integer value",
            summary: "Set the value and expiration in milliseconds of a key",
            complexity: "O(1)"
        ) { psetex(Call($0)) }
    }

    mutating func registerSetAllCommands() {
        command(
            "mset", since: "1.0.1", arity: -3, [.write, .denyOOM, .brief], acl: [.string],
            keys: [.range(1, [.OW, .update], last: -1, step: 2)],
            syntax: "<key_value: key value>...",
            summary: "Set multiple keys to multiple values",
            complexity: "O(N) where N is the number of keys to set.",
            tips: """
            request_policy:multi_shard
            response_policy:all_succeeded
            """
        ) { mset(Call($0)) }

        command(
            "msetnx", since: "1.0.1", arity: -3, [.write, .denyOOM], acl: [.string],
            keys: [.range(1, [.OW, .insert], last: -1, step: 2)],
            syntax: "<key_value: key value>...",
            summary: "Set multiple keys to multiple values, only if none of the keys exist",
            complexity: "O(N) where N is the number of keys to set.",
            tips: """
            request_policy:multi_shard
            response_policy:agg_min
            """
        ) { msetnx(Call($0)) }
    }
}

// MARK: SET

private func set(_ call: Call) {
    if _slowPath(call.count > 3) {
        setWithOptions(call)
        return
    }
    let key = call.key(1)
    call.willOverwrite(key)
    call.store(key, call[2], expiry: .clear)
    call.reply.ok()
}

private func setWithOptions(_ call: Call) {
    guard let parsed = ParsedStringOptions.orReply(call, from: 3, allowed: .ofSet) else { return }
    var deadline: Int64?
    if parsed.hasTime {
        guard let time = parsed.deadlineOrReply(call) else { return }
        deadline = time
    }
    let key = call.key(1)
    let returnsOld = parsed.options.contains(.get)
    if returnsOld, !replyOldValue(call, key) { return }
    let exists = call.lookupWrite(key) != nil
    if parsed.options.contains(exists ? .nx : .xx) {
        if !returnsOld { call.reply.null() }
        return
    }
    if !exists { call.announceNew(key) }
    if let deadline {
        storeUntil(call, key, call[2], deadline)
        rewriteAsSet(call, key, call[2], deadline)
    } else {
        let keeps = exists && parsed.options.contains(.keepTTL)
        call.store(key, call[2], expiry: keeps ? .keep : .clear)
        if returnsOld { rewriteWithoutGet(call) }
    }
    if !returnsOld { call.reply.ok() }
}

/// Answers with the value before the command; false when that is no string and so an error.
private func replyOldValue(_ call: Call, _ key: KeyRef) -> Bool {
    guard let entry = call.lookupRead(key) else {
        call.reply.null()
        return true
    }
    guard let string = call.stringOrReply(entry) else { return false }
    call.replyString(string)
    return true
}

@inline(__always)
private func storeUntil(_ call: Call, _ key: KeyRef, _ value: Bytes, _ deadline: Int64) {
    call.store(key, value, expiry: .at(deadline))
    call.signal(.generic, "expire", key)
}

@inline(__always)
private func rewriteAsSet(_ call: Call, _ key: KeyRef, _ value: Bytes, _ deadline: Int64) {
    call.rewrite(5) { stream in
        stream.argument("SET")
        stream.argument(key.bytes)
        stream.argument(value)
        stream.argument("PXAT")
        stream.argument(decimal: deadline)
    }
}

/// Nobody reads the reply of a replica: the stream gets the command without GET.
private func rewriteWithoutGet(_ call: Call) {
    var kept = 0
    for index in 0..<call.count where index < 3 || !call[index].matches("get") { kept += 1 }
    call.rewrite(kept) { stream in
        for index in 0..<call.count where index < 3 || !call[index].matches("get") {
            stream.argument(call[index])
        }
    }
}

/// What SET does with its key depends on GET.
private func setKeys(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> [KeyPosition]? {
    guard count > 1 else { return nil }
    var flags: KeyFlags = [.OW, .update]
    for index in 3..<max(count, 3) where arguments[index].matches("get") {
        flags = [.RW, .access, .update]
    }
    return [KeyPosition(index: 1, flags: flags)]
}

// MARK: The older forms

private func setnx(_ call: Call) {
    let key = call.key(1)
    guard call.lookupWrite(key) == nil else {
        call.reply.integer(0)
        return
    }
    call.announceNew(key)
    call.store(key, call[2], expiry: .clear)
    call.reply.integer(1)
}

private func setex(_ call: Call) { setExpiring(call, inSeconds: true) }

private func psetex(_ call: Call) { setExpiring(call, inSeconds: false) }

@inline(__always)
private func setExpiring(_ call: Call, inSeconds: Bool) {
    guard let deadline = deadlineOrReply(call, 2, inSeconds: inSeconds, isRelative: true) else {
        return
    }
    let key = call.key(1)
    call.willOverwrite(key)
    storeUntil(call, key, call[3], deadline)
    rewriteAsSet(call, key, call[3], deadline)
    call.reply.ok()
}

// MARK: Several keys

private func mset(_ call: Call) {
    guard call.count % 2 == 1 else {
        call.refuseArity()
        return
    }
    setAll(call)
    call.reply.ok()
}

/// Sets nothing when one of the keys exists.
private func msetnx(_ call: Call) {
    guard call.count % 2 == 1 else {
        call.refuseArity()
        return
    }
    var found = false
    call.forEachKey(from: 1, step: 2) { _, key in
        if !found, call.lookupWrite(key) != nil { found = true }
    }
    if !found { setAll(call) }
    call.reply.integer(found ? 0 : 1)
}

@inline(__always)
private func setAll(_ call: Call) {
    call.forEachKey(from: 1, step: 2) { position, key in
        call.willOverwrite(key)
        call.store(key, call[position + 1], expiry: .clear)
    }
}
