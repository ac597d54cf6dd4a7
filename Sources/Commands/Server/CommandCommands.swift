// COMMAND: what commands exist, what they take and where their keys are. All of it comes from the
// declarations; see `CommandReport` for the forms of the reply.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerCommandCommands() {
        command(
            "command", since: "2.8.13", arity: -1, [.loading, .stale], acl: [.connection],
            summary: "Get array of Redis command details",
            complexity: "O(N) where N is the total number of Redis commands",
            tips: "nondeterministic_output_order"
        ) { commandAll(Call($0)) }

        command(
            "count", of: "command", since: "2.8.13", arity: 2, [.loading, .stale],
            acl: [.connection],
            summary: "Get total number of Redis commands",
            complexity: "O(1)"
        ) { commandCount(Call($0)) }

        command(
            "docs", of: "command", since: "7.0.0", arity: -2, [.loading, .stale],
            acl: [.connection],
            syntax: "[command-name]...",
            summary: "Get array of specific Redis command documentation",
            complexity: "O(N) where N is the number of commands to look up",
            tips: "nondeterministic_output_order"
        ) { commandDocs(Call($0)) }

        command(
            "getkeys", of: "command", since: "2.8.13", arity: -4, [.loading, .stale],
            acl: [.connection],
            summary: "Extract keys given a full Redis command",
            complexity: "O(N) where N is the number of arguments to the command"
        ) { commandGetKeys(Call($0)) }

        command(
            "getkeysandflags", of: "command", since: "7.0.0", arity: -4, [.loading, .stale],
            acl: [.connection],
            summary: "Extract keys and access flags given a full Redis command",
            complexity: "O(N) where N is the number of arguments to the command"
        ) { commandGetKeysAndFlags(Call($0)) }

        command(
            "help", of: "command", since: "5.0.0", arity: 2, [.loading, .stale], acl: [.connection],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { commandHelp(Call($0)) }

        command(
            "info", of: "command", since: "2.8.13", arity: -2, [.loading, .stale],
            acl: [.connection],
            syntax: "[command-name]...",
            summary: """
            Get array of specific Redis command details, or all when no argument is given.
            """,
            complexity: "O(N) where N is the number of commands to look up",
            history: """
            7.0.0 Allowed to be called with no argument to get info on all commands.
            """,
            tips: "nondeterministic_output_order"
        ) { commandInfo(Call($0)) }

        command(
            "list", of: "command", since: "7.0.0", arity: -2, [.loading, .stale],
            acl: [.connection],
            syntax: """
            [FILTERBY <filterby: MODULE module-name|ACLCAT category|PATTERN pattern:pattern>]
            """,
            summary: "Get an array of Redis command names",
            complexity: "O(N) where N is the total number of Redis commands",
            tips: "nondeterministic_output_order"
        ) { commandList(Call($0)) }
    }
}

private func report(_ call: Call) -> CommandReport {
    CommandReport(call.executor.pointee.commands, call.reply)
}

/// The command that `name` means, `container|subcommand` included.
private func lookup(_ call: Call, _ name: Bytes) -> UnsafeMutablePointer<Command>? {
    let table = call.executor.pointee.commands
    for index in 0..<name.count where name[index] == UInt8(ascii: "|") {
        guard let container = table.pointee.find(name[0..<index]) else { return nil }
        return table.pointee.find(name[(index + 1)..<name.count], of: container)
    }
    return table.pointee.find(name)
}

private func commandAll(_ call: Call) {
    let report = report(call)
    let all = report.topLevel
    call.reply.array(all.count)
    for command in all { report.info(command) }
}

private func commandCount(_ call: Call) { call.reply.integer(report(call).topLevel.count) }

private func commandInfo(_ call: Call) {
    guard call.count > 2 else {
        commandAll(call)
        return
    }
    call.reply.array(call.count - 2)
    for index in 2..<call.count { report(call).info(lookup(call, call[index])) }
}

private func commandDocs(_ call: Call) {
    let report = report(call)
    var found = report.topLevel
    if call.count > 2 { found = (2..<call.count).compactMap { lookup(call, call[$0]) } }
    call.reply.map(found.count)
    for command in found {
        call.reply.bulk(report.declaration(command).fullName)
        report.docs(command)
    }
}

private func commandList(_ call: Call) {
    let report = report(call)
    guard call.count > 2 else {
        let names = report.names { _ in true }
        call.reply.array(names.count)
        for name in names { call.reply.bulk(name) }
        return
    }
    guard call.count == 5, call[2].matches("filterby") else {
        call.reply.error(.syntax)
        return
    }
    let argument = call[4]
    let names: [String]
    if call[3].matches("module") {
        // No modules yet: nothing belongs to one.
        names = []
    } else if call[3].matches("aclcat") {
        let index = CommandCategories.names.firstIndex { argument.matches($0) }
        let category = index.map { CommandCategories(rawValue: UInt32(1) << UInt32($0)) } ?? []
        names = report.names { !$0.pointee.categories.isDisjoint(with: category) }
    } else if call[3].matches("pattern") {
        names = report.names { command in
            report.declaration(command).fullName.withBytes {
                $0.matches(glob: argument, ignoringCase: true)
            }
        }
    } else {
        call.reply.error(.syntax)
        return
    }
    call.reply.array(names.count)
    for name in names { call.reply.bulk(name) }
}

// MARK: Keys

private func commandGetKeys(_ call: Call) { getKeys(call, withFlags: false) }

private func commandGetKeysAndFlags(_ call: Call) { getKeys(call, withFlags: true) }

private func getKeys(_ call: Call, withFlags: Bool) {
    let count = call.count - 2
    let commands = call.executor.pointee.commands
    guard let command = commands.pointee.find(call.arguments + 2, count) else {
        call.reply.error("ERR Invalid command specified" as StaticString)
        return
    }
    guard command.pointee.flags.contains(.touchesKeys) else {
        call.reply.error("ERR The command has no key arguments" as StaticString)
        return
    }
    guard command.pointee.accepts(count) else {
        call.reply.error("ERR Invalid number of arguments specified for command" as StaticString)
        return
    }
    let positions = call.executor.keyPositions(command, call.arguments + 2, count) ?? []
    guard !positions.isEmpty else {
        if command.pointee.flags.contains(.noMandatoryKeys) {
            call.reply.array(0)
        } else {
            call.reply.error("ERR Invalid arguments specified for command" as StaticString)
        }
        return
    }
    call.reply.array(positions.count)
    for position in positions {
        if withFlags { call.reply.array(2) }
        call.reply.bulk(call[position.index + 2])
        if withFlags { report(call).keyFlags(position.flags) }
    }
}

private func commandHelp(_ call: Call) {
    call.replyHelp([
        "(no subcommand)",
        "    Return details about all Redis commands.",
        "COUNT",
        "    Return the total number of commands in this Redis server.",
        "LIST",
        "    Return a list of all commands in this Redis server.",
        "INFO [<command-name> ...]",
        "    Return details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "GETKEYS <full-command>",
        "    Return the keys from a full Redis command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys and the access flags from a full Redis command.",
    ])
}
