// MULTI, EXEC, DISCARD, WATCH, UNWATCH. Queueing itself is done at the gates; here are the
// brackets. EXEC answers null when a watched key changed and EXECABORT when a command was refused
// while queueing. What the queue changes is propagated between MULTI and EXEC as one piece; on a
// replica the stream of its primary contains these very commands, and they come this way too.
import Base
import Engine
import RESP
import Storage

extension Extension {
    /// The transactions group.
    public static let transactions = Extension("transactions") { registry in
        registry.group = .transactions
        registry.registerTransactionCommands()
    }
}

extension Registry {
    mutating func registerTransactionCommands() {
        command(
            "multi", since: "1.2.0", arity: 1, [.noScript, .loading, .stale, .fast, .allowBusy],
            acl: [.transaction],
            summary: "Mark the start of a transaction block",
            complexity: "O(1)"
        ) { multi(Call($0)) }

        command(
            "exec", since: "1.2.0", arity: 1, [.noScript, .loading, .stale, .skipSlowlog],
            acl: [.transaction],
            summary: "Execute all commands issued after MULTI",
            complexity: "Depends on commands in the transaction"
        ) { exec(Call($0)) }

        command(
            "discard", since: "2.0.0", arity: 1, [.noScript, .loading, .stale, .fast, .allowBusy],
            acl: [.transaction],
            summary: "Discard all commands issued after MULTI",
            complexity: "O(N), when N is the number of queued commands"
        ) { discard(Call($0)) }

        command(
            "watch", since: "2.2.0", arity: -2, [.noScript, .loading, .stale, .fast, .allowBusy],
            acl: [.transaction], keys: [.range(1, [.RO], last: -1)],
            syntax: "key...",
            summary: "Watch the given keys to determine execution of the MULTI/EXEC block",
            complexity: "O(1) for every key."
        ) { watch(Call($0)) }

        command(
            "unwatch", since: "2.2.0", arity: 1, [.noScript, .loading, .stale, .fast, .allowBusy],
            acl: [.transaction],
            summary: "Forget about all watched keys",
            complexity: "O(1)"
        ) { unwatch(Call($0)) }
    }
}

// MARK: MULTI, EXEC, DISCARD

private func multi(_ call: Call) {
    guard !call.session.pointee.flags.contains(.multi) else {
        call.reply.error("ERR MULTI calls can not be nested")
        return
    }
    let transaction = call.executor.transaction(of: call.session)
    invariant(transaction.pointee.isEmpty, "a new transaction has a queue")
    call.session.pointee.flags.insert(.multi)
    call.reply.ok()
}

private func discard(_ call: Call) {
    guard call.session.pointee.flags.contains(.multi) else {
        call.reply.error("ERR DISCARD without MULTI")
        return
    }
    call.executor.discardTransaction(call.session)
    call.reply.ok()
}

private func exec(_ call: Call) {
    let executor = call.executor
    let session = call.session
    guard session.pointee.flags.contains(.multi), let transaction = session.pointee.transaction
    else {
        call.reply.error("ERR EXEC without MULTI")
        return
    }
    defer { executor.discardTransaction(session) }
    if session.pointee.flags.contains(.dirtyExec) {
        call.reply.error(.execAbort)
        return
    }
    if session.pointee.flags.contains(.dirtyWatch) || hasExpiredWatch(call, transaction) {
        call.reply.nullArray()
        return
    }
    executor.unwatch(session)
    call.reply.array(transaction.pointee.commands.count)
    executor.runTransaction(session)
    // The queued commands have propagated themselves.
    call.propagateNothing()
}

/// A watched key that has expired since has changed, although nobody removed it yet.
private func hasExpiredWatch(
    _ call: Call, _ transaction: UnsafeMutablePointer<Transaction>
) -> Bool {
    for watched in transaction.pointee.watched {
        let isOver = watched.key.withBytes {
            isExpired(call, call.keyspace.key($0, database: Int(watched.database)))
        }
        if isOver, !call.executor.pointee.watch.wasExpired(watched, call.session) { return true }
    }
    return false
}

private func isExpired(_ call: Call, _ key: KeyRef) -> Bool {
    call.keyspace.find(key).map { call.executor.isExpired($0) } ?? false
}

// MARK: WATCH

private func watch(_ call: Call) {
    guard !call.session.pointee.flags.contains(.multi) else {
        call.reply.error("ERR WATCH inside MULTI is not allowed")
        return
    }
    call.reply.ok()
    // EXEC will fail anyway.
    guard !call.session.pointee.flags.contains(.dirtyWatch) else { return }
    let transaction = call.executor.transaction(of: call.session)
    for index in 1..<call.count {
        let watched = WatchedKey(database: Int32(call.database), key: call[index].array)
        guard !transaction.pointee.watched.contains(watched) else { continue }
        transaction.pointee.watch(watched)
        let key = call.keyspace.key(call[index], database: call.database)
        call.executor.pointee.watch.add(
            watched, call.session, isExpired: isExpired(call, key))
    }
}

private func unwatch(_ call: Call) {
    call.executor.unwatch(call.session)
    call.reply.ok()
}
