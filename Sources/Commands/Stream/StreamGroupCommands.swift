// XGROUP: consumer groups and consumers come and go, and are set to another position.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerStreamGroups() {
        command(
            "xgroup", since: "5.0.0", arity: -2,
            summary: "A container for consumer groups commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "create", of: "xgroup", since: "5.0.0", arity: -5, [.write, .denyOOM], acl: [.stream],
            keys: [.range(2, [.RW, .insert])],
            syntax: """
            key groupname <id: id:string|new_id=$> [MKSTREAM] [ENTRIESREAD entries_read:integer]
            """,
            summary: "Create a consumer group.",
            complexity: "O(1)",
            history: "7.0.0 Added the `entries_read` named argument."
        ) { createGroup(Call($0)) }

        command(
            "createconsumer", of: "xgroup", since: "6.2.0", arity: 5, [.write, .denyOOM],
            acl: [.stream], keys: [.range(2, [.RW, .insert])],
            syntax: "key groupname consumername",
            summary: "Create a consumer in a consumer group.",
            complexity: "O(1)"
        ) { createConsumer(Call($0)) }

        command(
            "delconsumer", of: "xgroup", since: "5.0.0", arity: 5, [.write], acl: [.stream],
            keys: [.range(2, [.RW, .delete])],
            syntax: "key groupname consumername",
            summary: "Delete a consumer from a consumer group.",
            complexity: "O(1)"
        ) { deleteConsumer(Call($0)) }

        command(
            "destroy", of: "xgroup", since: "5.0.0", arity: 4, [.write], acl: [.stream],
            keys: [.range(2, [.RW, .delete])],
            syntax: "key groupname",
            summary: "Destroy a consumer group.",
            complexity: """
            O(N) where N is the number of entries in the group's pending entries list (PEL).
            """
        ) { destroyGroup(Call($0)) }

        command(
            "help", of: "xgroup", since: "5.0.0", arity: 2, [.loading, .stale], acl: [.stream],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { groupHelp(Call($0)) }

        command(
            "setid", of: "xgroup", since: "5.0.0", arity: -5, [.write], acl: [.stream],
            keys: [.range(2, [.RW, .update])],
            syntax: """
            key groupname <id: id:string|new_id=$> [ENTRIESREAD entries_read:integer]
            """,
            summary: "Set a consumer group to an arbitrary last delivered ID value.",
            complexity: "O(1)",
            history: "7.0.0 Added the optional `entries_read` argument."
        ) { setGroupID(Call($0)) }
    }
}

extension Call {
    /// The group at arguments `key` and `group`; nil after an error reply that follows `text`.
    func groupOrReply(_ stream: Stream?, _ group: Int, key: Int) -> StreamGroup? {
        if let found = stream?.group(self[group]) { return found }
        reply.error(
            "NOGROUP No such key '\(self[key].string)' or consumer group '\(self[group].string)'")
        return nil
    }

    /// The same for commands that know that the key is there.
    func knownGroupOrReply(_ stream: Stream, _ group: Int, key: Int) -> StreamGroup? {
        if let found = stream.group(self[group]) { return found }
        reply.error(
            """
            NOGROUP No such consumer group '\(self[group].string)' for key name \
            '\(self[key].string)'
            """)
        return nil
    }

    /// A container's subcommand with arguments that it does not take.
    func refuseSubcommand(_ container: StaticString) {
        reply.error(
            """
            ERR unknown subcommand or wrong number of arguments for '\(self[1].string)'. Try \
            \(container) HELP.
            """)
    }
}

// MARK: Groups

/// The options of CREATE and SETID; nil after an error reply.
private func optionsOrReply(
    _ call: Call, takesMakeStream: Bool
) -> (makesStream: Bool, entriesRead: Int64)? {
    var makesStream = false
    var entriesRead = StreamGroup.unknown
    var index = 5
    while index < call.count {
        if takesMakeStream, call[index].matches("mkstream") {
            makesStream = true
            index += 1
        } else if call[index].matches("entriesread"), index + 1 < call.count {
            guard let value = call.integerOrReply(index + 1) else { return nil }
            guard value >= 0 || value == StreamGroup.unknown else {
                call.reply.error(
                    ErrorReply("ERR value for ENTRIESREAD must be positive or -1"))
                return nil
            }
            entriesRead = value
            index += 2
        } else {
            call.refuseSubcommand("XGROUP")
            return nil
        }
    }
    return (makesStream, entriesRead)
}

/// The stream that a subcommand needs; nil after an error reply.
private func streamOrReply(_ call: Call, _ key: KeyRef) -> Stream? {
    guard let entry = call.lookupWrite(key) else {
        call.reply.error(
            ErrorReply(
                """
                ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may \
                want to use the MKSTREAM option to create an empty stream automatically.
                """))
        return nil
    }
    guard let stream = call.streamOrReply(entry) else { return nil }
    call.keyspace.willChange(entry, key)
    return stream
}

private func createGroup(_ call: Call) {
    guard let options = optionsOrReply(call, takesMakeStream: true) else { return }
    guard call.count <= 8 else {
        call.refuseSubcommand("XGROUP")
        return
    }
    let key = call.key(2)
    var stream: Stream?
    if !options.makesStream || call.lookupWrite(key) != nil {
        guard let found = streamOrReply(call, key) else { return }
        stream = found
    }
    var id = stream?.lastID ?? .zero
    if !(call[4] == "$") {
        guard let given = call.streamIDOrReply(4) else { return }
        id = given
    }
    let isNew = stream == nil
    let target = stream ?? call.makeStream(key)
    let group = target.addGroup(
        call[3], lastID: id, entriesRead: options.entriesRead, call.memory)
    guard group != nil else {
        call.reply.error(ErrorReply("BUSYGROUP Consumer Group name already exists"))
        return
    }
    call.reply.ok()
    if isNew {
        call.changed(.stream, "xgroup-create", key)
    } else {
        call.changedQuietly("xgroup-create", key)
    }
}

private func setGroupID(_ call: Call) {
    guard let options = optionsOrReply(call, takesMakeStream: false) else { return }
    let key = call.key(2)
    guard let stream = streamOrReply(call, key),
        let group = call.knownGroupOrReply(stream, 3, key: 2)
    else { return }
    guard call.count == 5 || call.count == 7 else {
        call.refuseSubcommand("XGROUP")
        return
    }
    var id = stream.lastID
    if !(call[4] == "$") {
        guard let given = call.streamIDOrReply(4, takesEnds: true) else { return }
        id = given
    }
    group.lastID = id
    group.entriesRead = options.entriesRead
    call.reply.ok()
    call.changedQuietly("xgroup-setid", key)
}

private func destroyGroup(_ call: Call) {
    let key = call.key(2)
    guard let stream = streamOrReply(call, key) else { return }
    guard let group = stream.group(call[3]) else {
        call.reply.integer(0)
        return
    }
    stream.removeGroup(group, call.memory)
    call.reply.integer(1)
    // Those who wait on behalf of the group must hear of its end.
    call.changed(.stream, "xgroup-destroy", key)
}

// MARK: Consumers

private func createConsumer(_ call: Call) {
    let key = call.key(2)
    guard let stream = streamOrReply(call, key),
        let group = call.knownGroupOrReply(stream, 3, key: 2)
    else { return }
    guard group.consumer(call[4]) == nil else {
        call.reply.integer(0)
        return
    }
    _ = group.addConsumer(call[4], now: call.now.milliseconds, call.memory)
    call.changedQuietly("xgroup-createconsumer", key)
    call.reply.integer(1)
}

private func deleteConsumer(_ call: Call) {
    let key = call.key(2)
    guard let stream = streamOrReply(call, key),
        let group = call.knownGroupOrReply(stream, 3, key: 2)
    else { return }
    guard let consumer = group.consumer(call[4]) else {
        call.reply.integer(0)
        return
    }
    call.reply.integer(consumer.pending.count)
    group.removeConsumer(consumer, call.memory)
    call.changedQuietly("xgroup-delconsumer", key)
}

private func groupHelp(_ call: Call) {
    call.replyHelp([
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
    ])
}
