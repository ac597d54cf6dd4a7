// Commands about the server as a whole that need nothing but the key space: TIME, DBSIZE, the
// flushes, SWAPDB. COMMAND is in a file of its own; CONFIG, INFO and DEBUG need the node.
import Base
import Engine
import RESP
import Storage

extension Extension {
    /// The server group, as far as it needs no node.
    public static let server = Extension("server") { registry in
        registry.group = .server
        registry.registerServerCommands()
        registry.registerCommandCommands()
        registry.registerSlowLogCommands()
        registry.registerCommandLogCommands()
        registry.registerHotKeysCommand()
        registry.registerLatencyCommands()
        registry.registerMonitorCommand()
        registry.registerLolwutCommand()
    }
}

extension Registry {
    mutating func registerServerCommands() {
        command(
            "dbsize", since: "1.0.0", arity: 1, [.readonly, .fast], acl: [.keyspace],
            summary: "Return the number of keys in the selected database",
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            response_policy:agg_sum
            """
        ) { dbsize(Call($0)) }

        command(
            "flushall", since: "1.0.0", arity: -1, [.write], acl: [.keyspace, .dangerous],
            syntax: "[async: ASYNC{4.0.0}|SYNC{6.2.0}]",
            summary: "Remove all keys from all databases",
            complexity: "O(N) where N is the total number of keys in all databases",
            history: """
            4.0.0 Added the `ASYNC` flushing mode modifier.
            6.2.0 Added the `SYNC` flushing mode modifier.
            """,
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { flushAll(Call($0)) }

        command(
            "flushdb", since: "1.0.0", arity: -1, [.write], acl: [.keyspace, .dangerous],
            syntax: "[async: ASYNC{4.0.0}|SYNC{6.2.0}]",
            summary: "Remove all keys from the current database",
            complexity: "O(N) where N is the number of keys in the selected database",
            history: """
            4.0.0 Added the `ASYNC` flushing mode modifier.
            6.2.0 Added the `SYNC` flushing mode modifier.
            """,
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { flushDatabase(Call($0)) }

        command(
            "swapdb", since: "4.0.0", arity: 3, [.write, .fast], acl: [.keyspace, .dangerous],
            syntax: "index1:integer index2:integer",
            summary: "Swaps two Redis databases",
            complexity: """
            O(N) where N is the count of clients watching or blocking on keys from both databases.
            """
        ) { swapDatabases(Call($0)) }

        command(
            "time", since: "2.6.0", arity: 1, [.loading, .stale, .fast],
            summary: "Return the current server time",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { time(Call($0)) }
    }
}

private func time(_ call: Call) {
    let now = call.executor.pointee.now
    // A script that waits for a time to come must see it pass.
    if call.executor.pointee.scripts.run != nil, let clock = call.executor.pointee.scripts.clock {
        let microseconds = clock()
        call.reply.array(2)
        call.reply.bulk(decimal: microseconds / 1_000_000)
        call.reply.bulk(decimal: microseconds % 1_000_000)
        return
    }
    // The wall clock is kept in milliseconds; the monotonic one lends the rest, so that two
    // calls in a row rarely say the same.
    let microseconds = (now.wall.milliseconds % 1000) * 1000 + now.instant.microseconds % 1000
    call.reply.array(2)
    call.reply.bulk(decimal: now.wall.seconds)
    call.reply.bulk(decimal: microseconds)
}

private func dbsize(_ call: Call) {
    call.reply.integer(call.keyspace.count(database: call.database))
}

// MARK: Flushing

/// Checks `[ASYNC|SYNC]`. Both forms cost the same here: a database is replaced by an empty one
/// and the old one's memory is given back little by little.
private func flushModeOrReply(_ call: Call) -> Bool {
    if call.count == 1 { return true }
    if call.count == 2, call[1].matches("async") || call[1].matches("sync") { return true }
    call.reply.error(.syntax)
    return false
}

private func flush(_ call: Call, _ database: Int) {
    let keys = call.keyspace.count(database: database)
    if !call.executor.pointee.watch.isEmpty {
        call.executor.pointee.watch.touchAll(database: Int32(database)) { watched in
            watched.key.withBytes { bytes in
                call.keyspace.find(call.keyspace.key(bytes, database: database)) != nil
            }
        }
    }
    call.keyspace.flush(database: database)
    call.executor.databaseChanged(database)
    call.executor.pointee.dirty &+= Int64(keys)
    invariant(call.keyspace.count(database: database) == 0, "a flushed database is empty")
}

private func flushDatabase(_ call: Call) {
    guard flushModeOrReply(call) else { return }
    flush(call, call.database)
    call.executor.invalidateEverything()
    call.forcePropagation()
    call.reply.ok()
}

private func flushAll(_ call: Call) {
    guard flushModeOrReply(call) else { return }
    for database in 0..<call.keyspace.databaseCount { flush(call, database) }
    call.executor.invalidateEverything()
    // Counts as a change even when all was empty: a replica may hold keys that expired here.
    call.executor.pointee.dirty &+= 1
    call.forcePropagation()
    call.executor.pointee.dataFlushed(call.executor)
    call.reply.ok()
}

private func swapDatabases(_ call: Call) {
    if call.executor.pointee.settings.clusterEnabled {
        call.reply.error("ERR SWAPDB is not allowed in cluster mode")
        return
    }
    guard
        let first = call.integerOrReply(1, ErrorReply("ERR invalid first DB index")),
        let second = call.integerOrReply(2, ErrorReply("ERR invalid second DB index"))
    else { return }
    let all = 0..<Int64(call.keyspace.databaseCount)
    guard all.contains(first), all.contains(second) else {
        call.reply.error(.dbIndex)
        return
    }
    if first != second {
        touchExchanged(call, Int(first), Int(second))
        touchExchanged(call, Int(second), Int(first))
        call.keyspace.swap(Int(first), Int(second))
        call.executor.databaseChanged(Int(first))
        call.executor.databaseChanged(Int(second))
    }
    call.executor.pointee.dirty &+= 1
    call.reply.ok()
}

/// Fails the transactions that watch a key of `old` which is another, or missing, in `new`.
private func touchExchanged(_ call: Call, _ old: Int, _ new: Int) {
    guard !call.executor.pointee.watch.isEmpty else { return }
    call.executor.pointee.watch.touchAll(database: Int32(old)) { watched in
        watched.key.withBytes { bytes in
            (watchedState(call, bytes, old), watchedState(call, bytes, new))
        }
    }
}

private func watchedState(_ call: Call, _ key: Bytes, _ database: Int) -> WatchedState {
    guard let entry = call.keyspace.find(call.keyspace.key(key, database: database)) else {
        return .missing
    }
    return entry.isExpired(now: call.now.milliseconds) ? .expired : .alive
}
