// Finding keys without knowing them: KEYS, SCAN, RANDOMKEY. A reply is gathered in the executor's
// work space, because its length is known only at the end; expired keys are left out.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerIterationCommands() {
        command(
            "keys", since: "1.0.0", arity: 2, [.readonly], acl: [.keyspace, .dangerous],
            syntax: "pattern:pattern",
            summary: "Find all keys matching the given pattern",
            complexity: """
            O(N) with N being the number of keys in the database, under the assumption that the \
            key names in the database and the given pattern have limited length.
            """,
            tips: """
            request_policy:all_shards
            nondeterministic_output_order
            """
        ) { keys(Call($0)) }

        command(
            "scan", since: "2.8.0", arity: -2, [.readonly], acl: [.keyspace],
            syntax: """
            cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type]{6.0.0}
            """,
            summary: "Incrementally iterate the keys space",
            complexity: """
            O(1) for every call. O(N) for a complete iteration, including enough command calls for \
            the cursor to return back to 0. N is the number of elements inside the collection.
            """,
            history: "6.0.0 Added the `TYPE` subcommand.",
            tips: """
            nondeterministic_output
            request_policy:special
            """
        ) { scan(Call($0)) }

        command(
            "randomkey", since: "1.0.0", arity: 1, [.readonly], acl: [.keyspace],
            summary: "Return a random key from the keyspace",
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            nondeterministic_output
            """
        ) { randomkey(Call($0)) }
    }
}

// MARK: KEYS

private func keys(_ call: Call) {
    let pattern = Glob(call[1])
    var found = GatheredKeys(call)
    call.keyspace.forEach(database: call.database) { entry in
        guard pattern.matchesAll || pattern.matches(entry.key) else { return }
        if !call.executor.isExpired(entry) { found.append(entry.key) }
    }
    found.reply()
}

/// Keys that were found, encoded already as the array that they become.
private struct GatheredKeys {
    private let call: Call
    private let room: UnsafeMutablePointer<Buffer>
    private var count = 0

    init(_ call: Call) {
        self.call = call
        room = call.executor.pointee.scratch
        invariant(room.pointee.isEmpty, "the work space is in use")
    }

    mutating func append(_ key: Bytes) {
        ReplyWriter(room, version: call.session.pointee.protocolVersion).bulk(key)
        count += 1
    }

    func reply() {
        call.reply.array(count)
        call.reply.raw(room.pointee.bytes)
        room.pointee.removeAll()
        room.pointee.shrink(above: 64 * 1024)
    }
}

// MARK: SCAN

private struct ScanOptions {
    var count = 10
    var pattern: Glob?
    var type: ValueType?
    /// TYPE was given a name that no type has: nothing matches.
    var matchesNothing = false

    static func orReply(_ call: Call) -> ScanOptions? {
        var options = ScanOptions()
        var index = 2
        while index < call.count {
            guard index + 1 < call.count, options.take(call[index], call, index + 1) else {
                if options.isRefused { return nil }
                call.reply.error(.syntax)
                return nil
            }
            index += 2
        }
        return options
    }

    private var isRefused = false

    /// Reads one option; false when it is none, or is answered with an error already.
    private mutating func take(_ word: Bytes, _ call: Call, _ index: Int) -> Bool {
        if word.matches("count") {
            guard let value = call.integerOrReply(index) else {
                isRefused = true
                return false
            }
            guard value >= 1 else { return false }
            count = Int(min(value, 1 << 40))
        } else if word.matches("match") {
            let glob = Glob(call[index])
            pattern = glob.matchesAll ? nil : glob
        } else if word.matches("type") {
            type = ValueType(name: call[index])
            matchesNothing = type == nil
        } else {
            return false
        }
        return true
    }

    func matches(_ entry: Entry) -> Bool {
        guard !matchesNothing else { return false }
        if let type, type != entry.type { return false }
        return true
    }
}

private func scan(_ call: Call) {
    guard let cursor = scanCursor(call[1]) else {
        call.reply.error("ERR invalid cursor")
        return
    }
    guard let options = ScanOptions.orReply(call) else { return }
    var found = GatheredKeys(call)
    var expired: [[UInt8]] = []
    let next = call.keyspace.scan(
        database: call.database, cursor: cursor, budget: options.count
    ) { entry in
        if let pattern = options.pattern, !pattern.matches(entry.key) { return }
        if call.executor.isExpired(entry) {
            expired.append(entry.key.array)
        } else if options.matches(entry) {
            found.append(entry.key)
        }
    }
    call.reply.array(2)
    call.reply.bulk(String(next))
    found.reply()
    // The walk may not change what it walks over: the expired are deleted after it.
    for key in expired {
        key.withBytes { _ = call.peek(call.keyspace.key($0, database: call.database)) }
    }
}

/// A cursor as the reference reads it (C's strtoul): a sign is allowed, an empty text is 0.
func scanCursor(_ text: Bytes) -> UInt64? {
    guard text.count > 0 else { return 0 }
    let isSigned = text[0] == UInt8(ascii: "-") || text[0] == UInt8(ascii: "+")
    guard text.count > (isSigned ? 1 : 0) else { return nil }
    var value: UInt64 = 0
    for index in (isSigned ? 1 : 0)..<text.count {
        let digit = text[index] &- 48
        guard digit < 10 else { return nil }
        let (product, overflows) = value.multipliedReportingOverflow(by: 10)
        let (sum, carries) = product.addingReportingOverflow(UInt64(digit))
        guard !overflows, !carries else { return nil }
        value = sum
    }
    return text[0] == UInt8(ascii: "-") ? 0 &- value : value
}

// MARK: RANDOMKEY

/// A replica cannot delete expired keys: after so many it names one of them, as the reference does.
private let randomTries = 100

private func randomkey(_ call: Call) {
    for attempt in 1...randomTries {
        guard let entry = call.keyspace.randomEntry(database: call.database) else { break }
        guard call.executor.isExpired(entry), attempt < randomTries else {
            call.reply.bulk(entry.key)
            return
        }
        entry.key.array.withBytes {
            _ = call.peek(call.keyspace.key($0, database: call.database))
        }
    }
    call.reply.null()
}
