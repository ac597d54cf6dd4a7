// SLOWLOG: what took longer than `slowlog-log-slower-than`, the newest first: the first of the logs
// of COMMANDLOG under its old name.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerSlowLogCommands() {
        command(
            "slowlog", since: "2.2.12", arity: -2,
            summary: "A container for slow log commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "get", of: "slowlog", since: "2.2.12", arity: -2, [.admin, .loading, .stale],
            syntax: "[count:integer]",
            summary: "Get the slow log's entries",
            complexity: "O(N) where N is the number of entries returned",
            history: "4.0.0 Added client IP address, port and name to the reply.",
            tips: """
            request_policy:all_nodes
            nondeterministic_output
            """
        ) { get(Call($0)) }

        command(
            "help", of: "slowlog", since: "6.2.0", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { help(Call($0)) }

        command(
            "len", of: "slowlog", since: "2.2.12", arity: 2, [.admin, .loading, .stale],
            summary: "Get the slow log's length",
            complexity: "O(1)",
            tips: """
            request_policy:all_nodes
            response_policy:agg_sum
            nondeterministic_output
            """
        ) { length(Call($0)) }

        command(
            "reset", of: "slowlog", since: "2.2.12", arity: 2, [.admin, .loading, .stale],
            summary: "Clear all entries from the slow log",
            complexity: "O(N) where N is the number of entries in the slowlog",
            tips: """
            request_policy:all_nodes
            response_policy:all_succeeded
            """
        ) { reset(Call($0)) }
    }
}

private func get(_ call: Call) {
    guard call.count <= 3 else { return call.refuseSubcommand() }
    var count = 10
    if call.count == 3 {
        guard let given = commandLogCountOrReply(call, 2) else { return }
        count = given
    }
    replyCommandLog(call, .slow, count)
}

private func length(_ call: Call) {
    call.reply.integer(call.executor.pointee.commandLogs[.slow].count)
}

private func reset(_ call: Call) {
    call.executor.pointee.commandLogs[.slow].removeAll()
    call.reply.ok()
}

private func help(_ call: Call) {
    call.replyHelp([
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
    ])
}
