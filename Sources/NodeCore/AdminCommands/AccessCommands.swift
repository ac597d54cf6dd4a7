// ACL: the declarations of its subcommands, and those that show users. What changes users or files
// is in AccessCommands+Changes.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerAccessCommands() {
        group = .server
        command(
            "acl", since: "6.0.0", arity: -2,
            summary: "A container for Access List Control commands ",
            complexity: "Depends on subcommand."
        ) { _ in }
        registerAccessQueries()
        registerAccessChanges()
    }

    private mutating func registerAccessQueries() {
        command(
            "cat", of: "acl", since: "6.0.0", arity: -2, [.noScript, .loading, .stale],
            syntax: "[categoryname]",
            summary: "List the ACL categories or the commands inside a category",
            complexity: "O(1) since the categories and commands are a fixed set."
        ) { accessCategories(Call($0)) }

        command(
            "dryrun", of: "acl", since: "7.0.0", arity: -4, [.admin, .noScript, .loading, .stale],
            syntax: "username command [arg...]",
            summary: """
            Returns whether the user can execute the given command without executing the command.
            """,
            complexity: "O(1)."
        ) { accessDryRun(Call($0)) }

        command(
            "genpass", of: "acl", since: "6.0.0", arity: -2, [.noScript, .loading, .stale],
            syntax: "[bits:integer]",
            summary: "Generate a pseudorandom secure password to use for ACL users",
            complexity: "O(1)"
        ) { accessPassword(Call($0)) }

        command(
            "getuser", of: "acl", since: "6.0.0", arity: 3, [.admin, .noScript, .loading, .stale],
            syntax: "username",
            summary: "Get the rules for a specific ACL user",
            complexity: """
            O(N). Where N is the number of password, command and pattern rules that the user has.
            """,
            history: """
            6.2.0 Added Pub/Sub channel patterns.
            7.0.0 Added selectors and changed the format of key and channel patterns from a list \
            to their rule representation.
            """
        ) { accessUser(Call($0)) }

        command(
            "help", of: "acl", since: "6.0.0", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { accessHelp(Call($0)) }

        command(
            "list", of: "acl", since: "6.0.0", arity: 2, [.admin, .noScript, .loading, .stale],
            summary: "List the current ACL rules in ACL config file format",
            complexity: "O(N). Where N is the number of configured users."
        ) { accessList(Call($0)) }

        command(
            "log", of: "acl", since: "6.0.0", arity: -2, [.admin, .noScript, .loading, .stale],
            syntax: "[operation: count:integer|RESET]",
            summary: "List latest events denied because of ACLs in place",
            complexity: "O(N) with N being the number of entries shown."
        ) { accessLog(Call($0)) }

        command(
            "users", of: "acl", since: "6.0.0", arity: 2, [.admin, .noScript, .loading, .stale],
            summary: "List the username of all the configured ACL rules",
            complexity: "O(N). Where N is the number of configured users."
        ) { accessUsers(Call($0)) }

        command(
            "whoami", of: "acl", since: "6.0.0", arity: 2, [.noScript, .loading, .stale],
            summary: "Return the name of the user associated to the current connection",
            complexity: "O(1)"
        ) { accessIdentity(Call($0)) }
    }
}

private func accessList(_ call: Call) {
    let lines = call.executor.pointee.access.pointee.lines
    call.reply.array(lines.count)
    for line in lines { call.reply.bulk(line) }
}

private func accessUsers(_ call: Call) {
    let users = call.executor.pointee.access.pointee.users
    call.reply.array(users.count)
    for user in users { call.reply.bulk(user.pointee.name) }
}

private func accessIdentity(_ call: Call) {
    guard let user = call.session.pointee.user else { return call.reply.null() }
    call.reply.bulk(user.pointee.name)
}

private func accessUser(_ call: Call) {
    guard let facts = call.executor.userFacts(call[2].array) else { return call.reply.null() }
    call.reply.map(6)
    call.reply.bulk("flags")
    call.reply.set(facts.flags.count)
    for flag in facts.flags { call.reply.bulk(flag) }
    call.reply.bulk("passwords")
    call.reply.array(facts.passwords.count)
    for password in facts.passwords { call.reply.bulk(password) }
    for (index, selector) in facts.selectors.enumerated() {
        if index == 1 {
            call.reply.bulk("selectors")
            call.reply.array(facts.selectors.count - 1)
        }
        if index > 0 { call.reply.map(3) }
        call.reply.bulk("commands")
        call.reply.bulk(selector.commands)
        call.reply.bulk("keys")
        call.reply.bulk(selector.keys)
        call.reply.bulk("channels")
        call.reply.bulk(selector.channels)
    }
    if facts.selectors.count == 1 {
        call.reply.bulk("selectors")
        call.reply.array(0)
    }
}

private func accessCategories(_ call: Call) {
    guard call.count <= 3 else { return call.refuseSubcommand() }
    if call.count == 2 {
        call.reply.array(CommandCategories.names.count)
        for name in CommandCategories.names { call.reply.bulk(name) }
        return
    }
    guard let commands = call.executor.commands(inCategory: call[2].array) else {
        let shown = call[2].array.prefix(128).prefix { $0 != 0 }
        return call.reply.error(
            Array("ERR Unknown category '".utf8) + shown + Array("'".utf8))
    }
    call.reply.array(commands.count)
    for name in commands { call.reply.bulk(name) }
}

private func accessDryRun(_ call: Call) {
    let executor = call.executor
    let arguments = call.arguments + 3
    let count = call.count - 3
    guard let user = executor.pointee.access.pointee.find(call[2].array) else {
        return call.reply.error(
            Array("ERR User '".utf8) + call[2].array + Array("' not found".utf8))
    }
    let table = executor.pointee.commands
    guard let command = table.pointee.find(arguments, count) else {
        return call.reply.error(
            Array("ERR Command '".utf8) + arguments[0].array + Array("' not found".utf8))
    }
    let name = table.pointee.fullName(of: command)
    guard command.pointee.accepts(count) else {
        return call.reply.error("ERR wrong number of arguments for '\(name)' command")
    }
    let start = "This user has no permissions to "
    switch executor.permission(of: user, command, arguments, count) {
    case .granted: call.reply.ok()
    case .deniedCommand: call.reply.bulk("\(start)run the '\(name)' command")
    case .deniedKey(let index):
        call.reply.bulk(
            Array("\(start)access the '".utf8) + arguments[index].array + Array("' key".utf8))
    case .deniedChannel(let index):
        call.reply.bulk(
            Array("\(start)access the '".utf8) + arguments[index].array
                + Array("' channel".utf8))
    }
}

private func accessPassword(_ call: Call) {
    guard call.count <= 3 else { return call.refuseSubcommand() }
    var bits: Int64 = 256
    if call.count == 3 {
        guard let wanted = call.integerOrReply(2) else { return }
        bits = wanted
    }
    guard bits > 0, bits <= 4096 else {
        return call.reply.error(
            """
            ERR ACL GENPASS argument must be the number of bits for the output password, a \
            positive number up to 4096
            """ as StaticString)
    }
    let digits = Int(bits + 3) / 4
    let node = NodePointer.of(call)
    // Without a process around it (in a simulation) nothing is secret.
    let bytes =
        node.pointee.admin.secretBytes?((digits + 1) / 2)
        ?? (0..<(digits + 1) / 2).map { _ in
            UInt8(truncatingIfNeeded: call.executor.pointee.prng.next())
        }
    call.reply.bulk(Array(Hexadecimal.digits(of: bytes).prefix(digits)))
}

private func accessLog(_ call: Call) {
    guard call.count <= 3 else { return call.refuseSubcommand() }
    var wanted: Int64 = 10
    if call.count == 3 {
        if call[2].matches("reset") {
            call.executor.pointee.access.pointee.log.removeAll()
            return call.reply.ok()
        }
        guard let count = call.integerOrReply(2) else { return }
        wanted = max(0, count)
    }
    let entries = call.executor.pointee.access.pointee.log.entries
    let shown = entries.prefix(Int(min(wanted, Int64(entries.count))))
    call.reply.array(shown.count)
    for entry in shown {
        call.reply.map(7)
        call.reply.bulk("count")
        call.reply.integer(entry.count)
        call.reply.bulk("reason")
        call.reply.bulk(entry.reason)
        call.reply.bulk("context")
        call.reply.bulk(entry.context.rawValue)
        call.reply.bulk("object")
        call.reply.bulk(entry.object)
        call.reply.bulk("username")
        call.reply.bulk(entry.user)
        call.reply.bulk("age-seconds")
        call.reply.double(Double(call.now.milliseconds - entry.at.milliseconds) / 1000)
        call.reply.bulk("client-info")
        call.reply.bulk(entry.client)
    }
}

private func accessHelp(_ call: Call) {
    call.replyHelp([
        "CAT [<category>]",
        "    List all commands that belong to <category>, or all command categories",
        "    when no category is specified.",
        "DELUSER <username> [<username> ...]",
        "    Delete a list of users.",
        "DRYRUN <username> <command> [<arg> ...]",
        """
            Returns whether the user can execute the given command without executing the command.
        """,
        "GETUSER <username>",
        "    Get the user's details.",
        "GENPASS [<bits>]",
        "    Generate a secure 256-bit user password. The optional `bits` argument can",
        "    be used to specify a different size.",
        "LIST",
        "    Show users details in config file format.",
        "LOAD",
        "    Reload users from the ACL file.",
        "LOG [<count> | RESET]",
        "    Show the ACL log entries.",
        "SAVE",
        "    Save the current config to the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Create or modify a user with the specified attributes.",
        "USERS",
        "    List all the registered usernames.",
        "WHOAMI",
        "    Return the current connection username.",
    ])
}
