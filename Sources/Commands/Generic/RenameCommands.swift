// A value under another key or in another database: RENAME, RENAMENX, MOVE, COPY. The expiry goes
// with the value. Only COPY copies a large value.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerRenameCommands() {
        command(
            "rename", since: "1.0.0", arity: 3, [.write], acl: [.keyspace],
            keys: [.range(1, [.RW, .access, .delete]), .range(2, [.OW, .update])],
            syntax: "key newkey:key",
            summary: "Rename a key",
            complexity: "O(1)"
        ) { rename(Call($0)) }

        command(
            "renamenx", since: "1.0.0", arity: 3, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RW, .access, .delete]), .range(2, [.OW, .insert])],
            syntax: "key newkey:key",
            summary: "Rename a key, only if the new key does not exist",
            complexity: "O(1)",
            history: """
            3.2.0 The command no longer returns an error when source and destination names are the \
            same.
            """
        ) { renamenx(Call($0)) }

        command(
            "move", since: "1.0.0", arity: 3, [.write, .fast], acl: [.keyspace],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key db:integer",
            summary: "Move a key to another database",
            complexity: "O(1)"
        ) { move(Call($0)) }

        command(
            "copy", since: "6.2.0", arity: -3, [.write, .denyOOM], acl: [.keyspace],
            keys: [.range(1, [.RO, .access]), .range(2, [.OW, .update])],
            syntax: "source:key destination:key [DB destination-db:integer] [REPLACE]",
            summary: "Copy a key",
            complexity: """
            O(N) worst case for collections, where N is the number of nested items. O(1) for \
            string values.
            """
        ) { copyKey(Call($0)) }
    }
}

// MARK: RENAME

private func rename(_ call: Call) {
    guard let renamed = renameOrReply(call, replaces: true) else { return }
    maybe(renamed)
    call.reply.ok()
}

private func renamenx(_ call: Call) {
    guard let renamed = renameOrReply(call, replaces: false) else { return }
    call.reply.integer(renamed ? 1 : 0)
}

/// Whether the value has its new key; nil after an error reply. Renaming a key to itself changes
/// nothing, but the key must be there.
private func renameOrReply(_ call: Call, replaces: Bool) -> Bool? {
    let from = call.key(1)
    guard call.lookupWrite(from) != nil else {
        call.reply.error(.noSuchKey)
        return nil
    }
    guard !(call[1] == call[2]) else { return false }
    let to = call.keyspace.key(call[2], database: call.database)
    if call.lookupWrite(to) != nil, !replaces { return false }
    call.announceNew(to)
    call.keyspace.rename(from, to: to)
    call.changed(.generic, "rename_from", from)
    call.signal(.generic, "rename_to", to)
    return true
}

// MARK: MOVE

private func move(_ call: Call) {
    guard call.executor.pointee.routing == nil else {
        call.reply.error("ERR MOVE is not allowed in cluster mode")
        return
    }
    guard let target = call.databaseOrReply(2) else { return }
    guard target != call.database else {
        call.reply.error(.sameObject)
        return
    }
    let from = call.key(1)
    let to = call.keyspace.key(call[1], database: target)
    guard call.lookupWrite(from) != nil, call.lookupWrite(to) == nil else {
        call.reply.integer(0)
        return
    }
    call.announceNew(to)
    call.keyspace.rename(from, to: to)
    call.changed(.generic, "move_from", from)
    call.signal(.generic, "move_to", to)
    call.reply.integer(1)
}

// MARK: COPY

private func copyKey(_ call: Call) {
    var replaces = false
    var target = call.database
    var index = 3
    while index < call.count {
        if call[index].matches("replace") {
            replaces = true
        } else if call[index].matches("db"), index + 1 < call.count {
            guard let database = call.databaseOrReply(index + 1) else { return }
            target = database
            index += 1
        } else {
            call.reply.error(.syntax)
            return
        }
        index += 1
    }
    guard call.executor.pointee.routing == nil || (call.database == 0 && target == 0) else {
        call.reply.error("ERR Copying to another database is not allowed in cluster mode")
        return
    }
    guard target != call.database || !(call[1] == call[2]) else {
        call.reply.error(.sameObject)
        return
    }
    let from = call.key(1)
    let to = call.keyspace.key(call[2], database: target)
    guard call.lookupRead(from) != nil, call.lookupWrite(to) == nil || replaces else {
        call.reply.integer(0)
        return
    }
    call.announceNew(to)
    call.keyspace.copy(from, to: to)
    call.changed(.generic, "copy_to", to)
    call.reply.integer(1)
}
