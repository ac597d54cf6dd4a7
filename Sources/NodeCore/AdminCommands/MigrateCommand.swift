// MIGRATE: parses as the reference does, then hands over to `MigrateJob`, which never blocks the
// loop. In a transaction or a script nothing can be waited for, so there it is refused.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerMigrateCommand() {
        group = .generic
        command(
            "migrate", since: "2.6.0", arity: -6, [.write], acl: [.keyspace, .dangerous],
            keys: [
                .range(3, [.RW, .access, .delete]),
                KeySpec(
                    .keyword("KEYS", from: -2), .range(last: -1, step: 1, limit: 0),
                    [.RW, .access, .delete, .incomplete]),
            ],
            syntax: """
            host port:integer <key_or_empty_string: key|empty_string=> destination-db:integer \
            timeout:integer [COPY]{3.0.0} [REPLACE]{3.0.0} [authentication: [AUTH \
            password]{4.0.7}|[AUTH2 <username_password: username password>]{6.0.0}] [KEYS \
            key]...{3.0.6}
            """,
            summary: "Atomically transfer a key from a Redis instance to another one.",
            complexity: """
            This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the \
            target instance. See the pages of these commands for time complexity. Also an O(N) \
            data transfer between the two instances is performed.
            """,
            history: """
            3.0.0 Added the `COPY` and `REPLACE` options.
            3.0.6 Added the `KEYS` option.
            4.0.7 Added the `AUTH` option.
            6.0.0 Added the `AUTH2` option.
            """,
            tips: "nondeterministic_output",
            finder: migrateKeyPositions
        ) { migrate(Call($0)) }
    }
}

/// The keys are the third argument, or all that follows KEYS when that one is empty. An AUTH
/// whose password reads KEYS does not confuse this.
private func migrateKeyPositions(
    _ arguments: UnsafePointer<Bytes>, _ count: Int
) -> [KeyPosition]? {
    let flags: KeyFlags = [.RW, .access, .delete]
    var index = 6
    while index < count {
        let word = arguments[index]
        if word.matches("keys") {
            guard arguments[3].isEmpty else { return [] }
            return (index + 1..<count).map { KeyPosition(index: $0, flags: flags) }
        }
        if word.matches("auth") { index += 1 }
        if word.matches("auth2") { index += 2 }
        index += 1
    }
    return [KeyPosition(index: 3, flags: flags)]
}

/// The options, and where the keys are; or nil after an error reply.
private func optionsOrReply(_ call: Call) -> (request: MigrateRequest, keys: Range<Int>)? {
    var request = MigrateRequest(
        target: CommandTarget(
            host: call[1].string, port: call[2].decimal.map { Int(clamping: $0) } ?? 0),
        targetDatabase: 0, timeout: Milliseconds(1000))
    var keys = 3..<4
    var index = 6
    while index < call.count {
        let word = call[index]
        let left = call.count - 1 - index
        if word.matches("copy") {
            request.copies = true
        } else if word.matches("replace") {
            request.replaces = true
        } else if word.matches("auth"), left >= 1 {
            call.redact(index + 1)
            request.target.password = call[index + 1].array
            index += 1
        } else if word.matches("auth2"), left >= 2 {
            call.redact(index + 1)
            call.redact(index + 2)
            request.target.user = call[index + 1].array
            request.target.password = call[index + 2].array
            index += 2
        } else if word.matches("keys") {
            guard call[3].isEmpty else {
                call.reply.error(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the "
                        + "empty string")
                return nil
            }
            keys = index + 1..<call.count
            break
        } else {
            call.reply.error(.syntax)
            return nil
        }
        index += 1
    }
    return (request, keys)
}

private func migrate(_ call: Call) {
    guard let (options, keys) = optionsOrReply(call), let timeout = call.integerOrReply(5),
        let database = call.integerOrReply(4)
    else { return }
    var request = options
    request.targetDatabase = database
    if timeout > 0 { request.timeout = Milliseconds(min(timeout, Int64.max / 4000)) }
    var seen: Set<[UInt8]> = []
    for index in keys {
        guard call.lookupRead(call.keyspace.key(call[index], database: call.database)) != nil
        else { continue }
        let name = call[index].array
        if seen.insert(name).inserted { request.keys.append(name) }
    }
    if request.keys.isEmpty { return call.reply.simple("NOKEY") }
    guard call.session.pointee.flags.isDisjoint(with: [.executing, .fromPrimary]) else {
        return call.reply.error("ERR MIGRATE is not allowed inside a transaction or a script")
    }
    guard (1...65535).contains(request.target.port) else {
        return call.reply.error("IOERR error or timeout connecting to the client")
    }
    NodePointer.of(call).startMigration(request, call.session)
}
