// Commands about the connection itself: PING, ECHO, HELLO, AUTH, SELECT, RESET, QUIT. CLIENT has
// its own files.
import Base
import Engine
import RESP
import Storage

extension Extension {
    /// The connection group.
    public static let connection = Extension("connection") { registry in
        registry.group = .connection
        registry.registerConnectionCommands()
        registry.registerClientCommands()
    }
}

extension Registry {
    mutating func registerConnectionCommands() {
        command(
            "auth", since: "1.0.0", arity: -2,
            [.noScript, .loading, .stale, .fast, .noAuth, .allowBusy], acl: [.connection],
            syntax: "[username]{6.0.0} password",
            summary: "Authenticate to the server",
            complexity: "O(N) where N is the number of passwords defined for the user",
            history: "6.0.0 Added ACL style (username and password)."
        ) { auth(Call($0)) }

        command(
            "echo", since: "1.0.0", arity: 2, [.loading, .stale, .fast], acl: [.connection],
            syntax: "message",
            summary: "Echo the given string",
            complexity: "O(1)"
        ) { echo(Call($0)) }

        command(
            "hello", since: "6.0.0", arity: -1,
            [.noScript, .loading, .stale, .fast, .noAuth, .allowBusy], acl: [.connection],
            syntax: """
            [arguments: protover:integer [AUTH <username_password: username password>] [SETNAME \
            clientname]]
            """,
            summary: "Handshake with Redis",
            complexity: "O(1)",
            history: """
            6.2.0 `protover` made optional; when called without arguments the command reports the \
            current connection's context.
            """
        ) { hello(Call($0)) }

        command(
            "ping", since: "1.0.0", arity: -1, [.fast], acl: [.connection],
            syntax: "[message]",
            summary: "Ping the server",
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { ping(Call($0)) }

        command(
            "quit", since: "1.0.0", arity: -1,
            [.allowBusy, .noScript, .loading, .stale, .fast, .noAuth], acl: [.connection],
            summary: "Close the connection",
            complexity: "O(1)"
        ) { quit(Call($0)) }

        command(
            "reset", since: "6.2.0", arity: 1,
            [.noScript, .loading, .stale, .fast, .noAuth, .allowBusy], acl: [.connection],
            summary: "Reset the connection",
            complexity: "O(1)"
        ) { reset(Call($0)) }

        command(
            "select", since: "1.0.0", arity: 2, [.loading, .stale, .fast], acl: [.connection],
            syntax: "index:integer",
            summary: "Change the selected database for the current connection",
            complexity: "O(1)"
        ) { select(Call($0)) }
    }
}

private func ping(_ call: Call) {
    guard call.count <= 2 else {
        call.reply.error("ERR wrong number of arguments for 'ping' command")
        return
    }
    let session = call.session
    if session.pointee.flags.contains(.pubsub), session.pointee.protocolVersion == 2 {
        // A RESP2 subscriber reads only arrays.
        call.reply.array(2)
        call.reply.bulk("pong")
        call.reply.bulk(call.count == 2 ? call[1] : .empty)
    } else if call.count == 2 {
        call.reply.bulk(call[1])
    } else {
        call.reply.raw("+PONG\r\n")
    }
}

private func echo(_ call: Call) { call.reply.bulk(call[1]) }

private func quit(_ call: Call) {
    call.reply.ok()
    call.session.pointee.flags.insert(.closeAfterReply)
}

private func select(_ call: Call) {
    guard let index = call.integerOrReply(1) else { return }
    if call.executor.pointee.settings.clusterEnabled, index != 0 {
        call.reply.error("ERR SELECT is not allowed in cluster mode")
    } else if index < 0 || index >= Int64(call.keyspace.databaseCount) {
        call.reply.error(.dbIndex)
    } else {
        call.session.pointee.database = Int32(index)
        call.reply.ok()
    }
}

// MARK: Authentication

private func auth(_ call: Call) {
    guard call.count <= 3 else {
        call.reply.error(.syntax)
        return
    }
    for index in 1..<call.count { call.redact(index) }
    if call.count == 2, call.executor.pointee.access.pointee.defaultNeedsNoPassword {
        call.reply.error(
            """
            ERR AUTH <password> called without any password configured for the default user. \
            Are you sure your configuration is correct?
            """ as StaticString)
        return
    }
    let user = call.count == 3 ? call[1] : Bytes("default")
    if authenticate(call, user: user, password: call[call.count - 1]) {
        call.reply.ok()
    } else {
        call.reply.error(.wrongPass)
    }
}

private func authenticate(_ call: Call, user: Bytes, password: Bytes) -> Bool {
    call.executor.authenticate(call.session, user: user, password: password, command: call[0])
}

private func hello(_ call: Call) {
    var version: Int64?
    if call.count >= 2 {
        let error = ErrorReply("ERR Protocol version is not an integer or out of range")
        guard let wanted = call.integerOrReply(1, error) else { return }
        guard wanted == 2 || wanted == 3 else {
            call.reply.error(.noProto)
            return
        }
        version = wanted
    }
    var index = 2
    while index < call.count {
        let left = call.count - 1 - index
        if call[index].matches("auth"), left >= 2 {
            call.redact(index + 1)
            call.redact(index + 2)
            guard authenticate(call, user: call[index + 1], password: call[index + 2]) else {
                call.reply.error(.wrongPass)
                return
            }
            index += 3
        } else if call[index].matches("setname"), left >= 1 {
            guard setNameOrReply(call, call[index + 1]) else { return }
            index += 2
        } else {
            call.reply.error("ERR Syntax error in HELLO option '\(call[index].string)'")
            return
        }
    }
    guard call.session.pointee.isLoggedIn else {
        call.reply.error(
            """
            NOAUTH HELLO must be called with the client already authenticated, otherwise the \
            HELLO AUTH <user> <pass> option can be used to authenticate the client and select the \
            RESP protocol version at the same time
            """ as StaticString)
        return
    }
    if let version { call.session.pointee.protocolVersion = UInt8(version) }
    writeGreeting(call)
}

private func writeGreeting(_ call: Call) {
    let executor = call.executor
    let reply = call.reply
    let isSentinel = executor.pointee.settings.isSentinel
    reply.map(isSentinel ? 6 : 7)
    reply.bulk("server")
    reply.bulk("redis")
    reply.bulk("version")
    reply.bulk(Product.redisVersion)
    reply.bulk("proto")
    reply.integer(Int(call.session.pointee.protocolVersion))
    reply.bulk("id")
    reply.integer(Int64(call.session.pointee.id))
    reply.bulk("mode")
    reply.bulk(executor.pointee.settings.mode)
    if !isSentinel {
        reply.bulk("role")
        reply.bulk(executor.pointee.alerts.contains(.isReplica) ? "replica" : "master")
    }
    reply.bulk("modules")
    reply.array(0)
}

// MARK: Reset

/// RESET: the session becomes as if it had just connected.
private func reset(_ call: Call) {
    let session = call.session
    guard session.pointee.flags.isDisjoint(with: [.replica, .fromPrimary]) else {
        call.reply.error("ERR can only reset normal client connections")
        return
    }
    call.executor.discardTransaction(session)
    call.executor.unsubscribeAll(session)
    call.executor.endMonitor(session)
    call.executor.disableTracking(session)
    session.pointee.flags.subtract([
        .asking, .readOnly, .pubsub, .replyOff, .replySkip, .replySkipNext,
        .noTouch, .noEvict,
    ])
    call.executor.resetAccess(session)
    session.pointee.database = 0
    session.pointee.protocolVersion = 2
    session.pointee.name = ""
    call.reply.raw("+RESET\r\n")
}
