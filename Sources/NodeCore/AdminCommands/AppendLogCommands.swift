// BGREWRITEAOF, WAITAOF and DEBUG LOADAOF: what administrators and clients ask of the append-only
// file. Texts are the reference's.
import Base
import Engine
import RESP
import Replication

extension Registry {
    mutating func registerAppendLogCommands() {
        group = .server
        command(
            "bgrewriteaof", since: "1.0.0", arity: 1, [.noAsyncLoading, .admin, .noScript],
            summary: "Asynchronously rewrite the append-only file",
            complexity: "O(1)"
        ) { rewriteLog(Call($0)) }

        command(
            "waitaof", since: "7.2.0", arity: 4, [.noScript], acl: [.connection],
            syntax: "numlocal:integer numreplicas:integer timeout:integer",
            summary: """
            Blocks until all of the preceding write commands sent by the connection are written \
            to the append-only file of the master and/or replicas.
            """,
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            response_policy:agg_min
            """,
            group: .generic
        ) { waitForLog(Call($0)) }
    }
}

private func rewriteLog(_ call: Call) {
    let node = NodePointer.of(call)
    if node.pointee.log.rewrite != nil {
        return call.reply.error(
            "ERR Background append only file rewriting already in progress")
    }
    if node.pointee.snapshot.isRunning || call.executor.pointee.executingTransaction
        || node.pointee.log.change != nil
    {
        node.pointee.log.isScheduled = true
        node.pointee.log.failedInARow = 0
        node.pointee.log.retryRewriteAt = nil
        return call.reply.simple("Background append only file rewriting scheduled")
    }
    guard node.startRewrite() else {
        return call.reply.error(
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more "
                + "information.")
    }
    call.reply.simple("Background append only file rewriting started")
}

private func waitForLog(_ call: Call) {
    let node = NodePointer.of(call)
    guard let local = call.integerOrReply(1, ErrorReply("ERR value is out of range")) else {
        return
    }
    if local < 0 || local > 1 {
        return call.reply.error("ERR value is out of range, value must between 0 and 1")
    }
    guard let replicas = call.integerOrReply(2) else { return }
    if replicas < 0 {
        return call.reply.error("ERR value is out of range, must be positive")
    }
    guard let timeout = call.integerOrReply(
        3, ErrorReply("ERR timeout is not an integer or out of range"))
    else { return }
    if timeout < 0 { return call.reply.error("ERR timeout is negative") }
    let (sum, overflow) = timeout.addingReportingOverflow(node.instant.milliseconds)
    if overflow || sum > Int64.max / 2000 {
        return call.reply.error("ERR timeout is out of range")
    }
    if node.isReplica {
        return call.reply.error(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to "
                + "replicas are just local and are not propagated.")
    }
    if local == 1, node.pointee.log.state == .off {
        return call.reply.error(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
    }
    let session = call.session
    let waiter = LogWaiter(
        session: session.pointee.id, position: session.pointee.lastLogPosition,
        offset: session.pointee.lastWriteOffset, local: local == 1,
        replicas: Int(clamping: replicas),
        deadline: timeout == 0 ? nil : node.instant + Milliseconds(timeout))
    let isSafe = node.logIsOn && node.pointee.log.durable >= waiter.position
    let acknowledged = node.pointee.primary.durableAcknowledgements(of: waiter.offset)
    let isDone = (isSafe || local == 0) && acknowledged >= waiter.replicas
    if isDone || session.pointee.flags.contains(.executing) {
        call.reply.array(2)
        call.reply.integer(isSafe ? 1 : 0)
        return call.reply.integer(acknowledged)
    }
    node.pointee.log.waiters.append(waiter)
    call.executor.block(session, .operation(0))
    if replicas > 0 { node.feedGetAck() }
}

/// False when the subcommand is another.
func debugLog(_ call: Call) -> Bool {
    let node = NodePointer.of(call)
    if call[1].matches("loadaof"), call.count == 2 {
        guard !call.session.pointee.flags.contains(.executing) else {
            call.reply.error("ERR DEBUG LOADAOF is not possible inside a transaction")
            return true
        }
        node.pointee.log.reloading.append(call.session.pointee.id)
        call.executor.block(call.session, .operation(0))
        return true
    }
    // Replies never overtake the log here: there is nothing to slow down for.
    if call[1].matches("aof-flush-sleep"), call.count == 3 {
        call.reply.ok()
        return true
    }
    return false
}
