// COMMANDLOG: what took long, and what came or went in large pieces, the newest first. SLOWLOG is
// the first of these logs under its old name.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerCommandLogCommands() {
        command(
            "commandlog", since: "8.1.0", arity: -2,
            summary: "A container for command log commands.",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "get", of: "commandlog", since: "8.1.0", arity: 4, [.admin, .loading, .stale],
            syntax: "count:integer type",
            summary: "Returns the specified command log's entries.",
            complexity: "O(N) where N is the number of entries returned",
            tips: """
            request_policy:all_nodes
            nondeterministic_output
            """
        ) { get(Call($0)) }

        command(
            "help", of: "commandlog", since: "8.1.0", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands.",
            complexity: "O(1)"
        ) { help(Call($0)) }

        command(
            "len", of: "commandlog", since: "8.1.0", arity: 3, [.admin, .loading, .stale],
            syntax: "type",
            summary: "Returns the number of entries in the specified type of command log.",
            complexity: "O(1)",
            tips: """
            request_policy:all_nodes
            response_policy:agg_sum
            nondeterministic_output
            """
        ) { length(Call($0)) }

        command(
            "reset", of: "commandlog", since: "8.1.0", arity: 3, [.admin, .loading, .stale],
            syntax: "type",
            summary: "Clears all entries from the specified type of command log.",
            complexity: "O(N) where N is the number of entries in the commandlog",
            tips: """
            request_policy:all_nodes
            response_policy:all_succeeded
            """
        ) { reset(Call($0)) }
    }
}

/// The kind that an argument names, or nil after an error reply.
private func kindOrReply(_ call: Call, _ index: Int) -> CommandLogKind? {
    let word = call[index]
    if word.matches("slow") { return .slow }
    if word.matches("large-request") { return .largeRequest }
    if word.matches("large-reply") { return .largeReply }
    call.reply.error("ERR type should be one of the following: slow, large-request, large-reply")
    return nil
}

private func get(_ call: Call) {
    guard let count = commandLogCountOrReply(call, 2), let kind = kindOrReply(call, 3) else {
        return
    }
    replyCommandLog(call, kind, count)
}

private func length(_ call: Call) {
    guard let kind = kindOrReply(call, 2) else { return }
    call.reply.integer(call.executor.pointee.commandLogs[kind].count)
}

private func reset(_ call: Call) {
    guard let kind = kindOrReply(call, 2) else { return }
    call.executor.pointee.commandLogs[kind].removeAll()
    call.reply.ok()
}

private func help(_ call: Call) {
    call.replyHelp([
        "GET <count> <type>",
        "    Return top <count> entries of the specified <type> from the commandlog (-1 mean all).",
        "    Entries are made of:",
        "    id, timestamp,",
        "        time in microseconds for type of slow,",
        "        or size in bytes for type of large-request,",
        "        or size in bytes for type of large-reply",
        "    arguments array, client IP and port,",
        "    client name",
        "LEN <type>",
        "    Return the length of the specified type of commandlog.",
        "RESET <type>",
        "    Reset the specified type of commandlog.",
    ])
}

/// The number of entries that an argument asks for, -1 for all; nil after an error reply.
func commandLogCountOrReply(_ call: Call, _ index: Int) -> Int? {
    let error = ErrorReply("ERR count should be greater than or equal to -1")
    guard let given = call.integerOrReply(index, error) else { return nil }
    guard given >= -1 else {
        call.reply.error(error)
        return nil
    }
    return given == -1 ? Int.max : Int(clamping: given)
}

/// The newest entries of a log.
func replyCommandLog(_ call: Call, _ kind: CommandLogKind, _ count: Int) {
    let log = call.executor.pointee.commandLogs[kind]
    call.reply.array(min(log.count, count))
    for entry in log.newestFirst.prefix(count) {
        call.reply.array(6)
        call.reply.integer(entry.id)
        call.reply.integer(entry.time)
        call.reply.integer(entry.value)
        call.reply.array(entry.arguments.count)
        for argument in entry.arguments { call.reply.bulk(argument) }
        call.reply.bulk(entry.peer)
        call.reply.bulk(entry.clientName)
    }
}
