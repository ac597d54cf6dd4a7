// Whether keys are there, what they hold, and their removal: EXISTS, TYPE, TOUCH, DEL, UNLINK.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerKeyCommands() {
        command(
            "del", since: "1.0.0", arity: -2, [.write], acl: [.keyspace],
            keys: [.range(1, [.RM, .delete], last: -1)],
            syntax: "key...",
            summary: "Delete a key",
            complexity: """
            O(N) where N is the number of keys that will be removed. When a key to remove holds a \
            value other than a string, the individual complexity for this key is O(M) where M is \
            the number of elements in the list, set, sorted set or hash. Removing a single key \
            that holds a string value is O(1).
            """,
            tips: """
            request_policy:multi_shard
            response_policy:agg_sum
            """
        ) { del(Call($0)) }

        command(
            "unlink", since: "4.0.0", arity: -2, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RM, .delete], last: -1)],
            syntax: "key...",
            summary: """
            Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non \
            blocking.
            """,
            complexity: """
            O(1) for each key removed regardless of its size. Then the command does O(N) work in a \
            different thread in order to reclaim memory, where N is the number of allocations the \
            deleted objects where composed of.
            """,
            tips: """
            request_policy:multi_shard
            response_policy:agg_sum
            """
        ) { unlink(Call($0)) }
    }

    mutating func registerPresenceCommands() {
        command(
            "exists", since: "1.0.0", arity: -2, [.readonly, .fast], acl: [.keyspace],
            keys: [.range(1, [.RO], last: -1)],
            syntax: "key...",
            summary: "Determine if a key exists",
            complexity: "O(N) where N is the number of keys to check.",
            history: "3.0.3 Accepts multiple `key` arguments.",
            tips: """
            request_policy:multi_shard
            response_policy:agg_sum
            """
        ) { exists(Call($0)) }

        command(
            "touch", since: "3.2.1", arity: -2, [.readonly, .fast], acl: [.keyspace],
            keys: [.range(1, [.RO], last: -1)],
            syntax: "key...",
            summary: """
            Alters the last access time of a key(s). Returns the number of existing keys \
            specified.
            """,
            complexity: "O(N) where N is the number of keys that will be touched.",
            tips: """
            request_policy:multi_shard
            response_policy:agg_sum
            """
        ) { touch(Call($0)) }

        command(
            "type", since: "1.0.0", arity: 2, [.readonly, .fast], acl: [.keyspace],
            keys: [.range(1, [.RO])],
            syntax: "key",
            summary: "Determine the type stored at key",
            complexity: "O(1)"
        ) { typeName(Call($0)) }
    }
}

// MARK: Removal

private func del(_ call: Call) {
    remove(call, isLazy: call.executor.pointee.settings.lazyUserDelete)
}

/// A value that is costly to free is freed later, in slices.
private func unlink(_ call: Call) { remove(call, isLazy: true) }

@inline(__always)
private func remove(_ call: Call, isLazy: Bool) {
    var removed = 0
    call.forEachKey(from: 1, step: 1) { _, key in
        // An expired key ends as such, and does not count as deleted.
        if _slowPath(call.keyspace.expiringCount(database: call.database) > 0) {
            _ = call.peek(key)
        }
        let existed = isLazy ? call.keyspace.unlink(key) : call.keyspace.remove(key)
        if existed {
            call.changed(.generic, "del", key)
            removed &+= 1
        }
    }
    call.reply.integer(removed)
}

// MARK: Presence

/// A key that is named twice counts twice.
private func exists(_ call: Call) {
    var found = 0
    call.forEachKey(from: 1, step: 1) { _, key in
        if call.examine(key) != nil { found &+= 1 }
    }
    call.reply.integer(found)
}

/// The one command that marks an access also for a session that asked for none (CLIENT NO-TOUCH).
private func touch(_ call: Call) {
    var found = 0
    call.forEachKey(from: 1, step: 1) { _, key in
        if let entry = call.examine(key) {
            call.keyspace.touch(entry)
            found &+= 1
        }
    }
    call.reply.integer(found)
}

private func typeName(_ call: Call) {
    guard let entry = call.examine(call.key(1)) else {
        call.reply.simple("none")
        return
    }
    call.reply.simple(entry.type.name)
}
