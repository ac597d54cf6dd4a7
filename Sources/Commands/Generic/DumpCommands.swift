// A value as bytes and back: DUMP, RESTORE, and RESTORE-ASKING, which redis-cli and MIGRATE send to
// the node that imports a slot. Payloads are those of the reference.
import Base
import Engine
import Persistence
import RESP
import Storage

extension Registry {
    mutating func registerDumpCommands() {
        command(
            "dump", since: "2.6.0", arity: 2, [.readonly], acl: [.keyspace],
            keys: [.range(1, [.RO, .access])],
            syntax: "key",
            summary: "Return a serialized version of the value stored at the specified key.",
            complexity: """
            O(1) to access the key and additional O(N*M) to serialize it, where N is the number of \
            Redis objects composing the value and M their average size. For small string values \
            the time complexity is thus O(1)+O(1*M) where M is small, so simply O(1).
            """,
            tips: "nondeterministic_output"
        ) { dumpKey(Call($0)) }

        command(
            "restore", since: "2.6.0", arity: -4, [.write, .denyOOM], acl: [.keyspace, .dangerous],
            keys: [.range(1, [.OW, .update])],
            syntax: """
            key ttl:integer serialized-value [REPLACE]{3.0.0} [ABSTTL]{5.0.0} [IDLETIME \
            seconds:integer]{5.0.0} [FREQ frequency:integer]{5.0.0}
            """,
            summary: """
            Create a key using the provided serialized value, previously obtained using DUMP.
            """,
            complexity: """
            O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, \
            where N is the number of Redis objects composing the value and M their average size. \
            For small string values the time complexity is thus O(1)+O(1*M) where M is small, so \
            simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because \
            inserting values into sorted sets is O(log(N)).
            """,
            history: """
            3.0.0 Added the `REPLACE` modifier.
            5.0.0 Added the `ABSTTL` modifier.
            5.0.0 Added the `IDLETIME` and `FREQ` options.
            """
        ) { restore(Call($0)) }

        command(
            "restore-asking", since: "3.0.0", arity: -4, [.write, .denyOOM, .asking],
            acl: [.keyspace, .dangerous], keys: [.range(1, [.OW, .update])],
            syntax: """
            key ttl:integer serialized-value [REPLACE]{3.0.0} [ABSTTL]{5.0.0} [IDLETIME \
            seconds:integer]{5.0.0} [FREQ frequency:integer]{5.0.0}
            """,
            summary: "An internal command for migrating keys in a cluster",
            complexity: """
            O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, \
            where N is the number of Redis objects composing the value and M their average size. \
            For small string values the time complexity is thus O(1)+O(1*M) where M is small, so \
            simply O(1). However for sorted set values the complexity is O(N*M*log(N)) because \
            inserting values into sorted sets is O(log(N)).
            """,
            history: """
            3.0.0 Added the `REPLACE` modifier.
            5.0.0 Added the `ABSTTL` modifier.
            5.0.0 Added the `IDLETIME` and `FREQ` options.
            """,
            system: true,
            group: .server
        ) { restore(Call($0)) }
    }
}

// MARK: DUMP

private func dumpKey(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.null()
        return
    }
    let room = call.executor.pointee.scratch
    invariant(room.pointee.isEmpty, "the work space is in use")
    var writer = DumpWriter(compresses: call.executor.pointee.settings.rdbCompression)
    writer.append(entry, call.executor.objectFormats, to: &room.pointee)
    call.reply.bulk(room.pointee.bytes)
    room.pointee.removeAll()
    room.pointee.shrink(above: 64 * 1024)
}

// MARK: RESTORE

private struct RestoreOptions {
    var replaces = false
    var isAbsolute = false
    var idleSeconds: Int64?
    var frequency: Int64?

    static func orReply(_ call: Call) -> RestoreOptions? {
        var options = RestoreOptions()
        var index = 4
        while index < call.count {
            let word = call[index]
            let hasMore = index + 1 < call.count
            if word.matches("replace") {
                options.replaces = true
            } else if word.matches("absttl") {
                options.isAbsolute = true
            } else if word.matches("idletime"), hasMore, options.frequency == nil {
                guard let idle = call.integerOrReply(index + 1) else { return nil }
                guard idle >= 0 else {
                    call.reply.error("ERR Invalid IDLETIME value, must be >= 0")
                    return nil
                }
                options.idleSeconds = idle
                index += 1
            } else if word.matches("freq"), hasMore, options.idleSeconds == nil {
                guard let frequency = call.integerOrReply(index + 1) else { return nil }
                guard frequency >= 0, frequency <= 255 else {
                    call.reply.error("ERR Invalid FREQ value, must be >= 0 and <= 255")
                    return nil
                }
                options.frequency = frequency
                index += 1
            } else {
                call.reply.error(.syntax)
                return nil
            }
            index += 1
        }
        return options
    }
}

private func restore(_ call: Call) {
    guard let options = RestoreOptions.orReply(call) else { return }
    let key = call.key(1)
    let existed = call.lookupWrite(key) != nil
    guard options.replaces || !existed else {
        call.reply.error(.busyKey)
        return
    }
    guard let time = call.integerOrReply(2) else { return }
    guard time >= 0 else {
        call.reply.error("ERR Invalid TTL value, must be >= 0")
        return
    }
    let largest = max(call.executor.pointee.settings.maxBulkLength, 1)
    let formats = call.executor.objectFormats
    var reader = DumpReader(decoders: formats.decoders, largestString: largest)
    do throws(DumpError) {
        let (code, value) = try reader.open(
            call[3], verifiesChecksum: call.executor.pointee.checksDumpPayloads)
        let restored: RestoredValue
        switch value {
        case .bytes(let bytes): restored = .bytes(bytes)
        case .integer(let number): restored = .integer(number)
        case .payload(let bytes):
            let (type, outcome) = formats.load(
                code: code, bytes, heap: call.heap, limits: call.limits, largestString: largest)
            guard case .loaded(let object) = outcome else {
                noteDamage(call, code, key)
                throw .badFormat(.damagedValue(type: code, key: key.bytes.string))
            }
            restored = .object(type, object)
        }
        var deadline: Int64?
        if time > 0 {
            let (sum, tooLate) = time.addingReportingOverflow(
                options.isAbsolute ? 0 : call.now.milliseconds)
            deadline = tooLate ? .max : sum
        }
        store(call, key, restored, deadline, options, replaces: existed)
    } catch {
        call.reply.error(error.reply)
    }
}

/// Tells the log which form was damaged: a client that restores hostile payloads is worth knowing.
private func noteDamage(_ call: Call, _ code: UInt8, _ key: KeyRef) {
    let form = RDBType.compactForm(code) ?? RDBType.name(code) ?? "Value"
    call.executor.pointee.logLines.append(
        "\(form) integrity check failed. Refused to restore the key '\(key.bytes.string)' of "
            + "client id=\(call.session.pointee.id) addr=\(call.session.pointee.peerAddress)")
}

/// A value out of its payload.
private enum RestoredValue {
    case bytes(Bytes)
    case integer(Int64)
    case object(ValueType, LoadedObject)
}

private func store(
    _ call: Call, _ key: KeyRef, _ value: RestoredValue, _ deadline: Int64?,
    _ options: RestoreOptions, replaces: Bool
) {
    if let deadline, call.isOver(deadline) {
        if case .object(let type, let object) = value {
            call.keyspace.discard(type, object.encoding, object.payload)
        }
        if replaces { deleteReplaced(call, key) }
        call.reply.ok()
        return
    }
    let expiry: ExpiryChange = deadline.map { .at($0) } ?? .clear
    // What was there is gone for good: use and form are not inherited.
    if replaces { call.keyspace.unlink(key) }
    call.announceNew(key)
    let entry: Entry
    switch value {
    case .integer(let number): entry = call.keyspace.setInteger(key, number, expiry: expiry)
    case .bytes(let bytes): entry = call.keyspace.setString(key, bytes, expiry: expiry)
    case .object(let type, let object):
        entry = call.keyspace.replaceObject(
            key, type, object.encoding, object.payload, expiry: expiry)
    }
    applyUse(call, entry, options)
    if let deadline, !options.isAbsolute { rewrite(call, deadline) }
    call.changed(.generic, "restore", key)
    call.reply.ok()
}

private func deleteReplaced(_ call: Call, _ key: KeyRef) {
    let isLazy = call.executor.pointee.settings.lazyServerDelete
    let existed = isLazy ? call.keyspace.unlink(key) : call.keyspace.remove(key)
    invariant(existed, "a key that was found can be removed")
    call.changed(.generic, "del", key)
    call.rewrite(2) { stream in
        stream.argument(isLazy ? "UNLINK" : "DEL")
        stream.argument(key.bytes)
    }
}

/// FREQ counts under an LFU policy only, IDLETIME under the others only.
private func applyUse(_ call: Call, _ entry: Entry, _ options: RestoreOptions) {
    let usesFrequency = call.executor.pointee.settings.evictionPolicy.usesFrequency
    if usesFrequency, let frequency = options.frequency {
        call.keyspace.setFrequency(entry, Int(frequency))
    } else if !usesFrequency, let idle = options.idleSeconds {
        call.keyspace.setIdleSeconds(entry, Int(min(idle, 0xFF_FFFF)))
    }
}

private func rewrite(_ call: Call, _ deadline: Int64) {
    call.rewrite(call.count + 1) { stream in
        for index in 0..<call.count {
            if index == 2 {
                stream.argument(decimal: deadline)
            } else {
                stream.argument(call[index])
            }
        }
        stream.argument("ABSTTL")
    }
}
