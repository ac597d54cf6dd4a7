// CLIENT UNBLOCK. What a blocked session waits for is the node's knowledge: WAIT and waiting for
// keys can be ended from outside; SAVE, SHUTDOWN and MIGRATE end with their work.
import Base
import Engine
import RESP
import Replication

extension Registry {
    /// To be registered after the connection group, which declares CLIENT itself.
    mutating func registerClientUnblock() {
        group = .connection
        command(
            "unblock", of: "client", since: "5.0.0", arity: -3,
            [.admin, .noScript, .loading, .stale], acl: [.connection],
            syntax: "client-id:integer [timeout_error: TIMEOUT|ERROR]",
            summary: """
            Unblock a client blocked in a blocking command from a different connection
            """,
            complexity: "O(log N) where N is the number of client connections"
        ) { clientUnblock(Call($0)) }
    }
}

private func clientUnblock(_ call: Call) {
    let node = NodePointer.of(call)
    var withError = false
    if call.count == 4 {
        withError = call[3].matches("error")
        guard withError || call[3].matches("timeout") else {
            return call.reply.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        }
    } else if call.count > 4 {
        return call.reply.error(.syntax)
    }
    guard let id = call.integerOrReply(2) else { return }
    guard let target = call.executor.pointee.sessions.find(id: UInt64(bitPattern: id)) else {
        return call.reply.integer(0)
    }
    let error = "UNBLOCKED client unblocked via CLIENT UNBLOCK"
    switch target.pointee.block {
    case .keys:
        call.executor.endBlock(target, error: withError ? Array(error.utf8) : nil)
    case .wait(let offset, _, _):
        _ = node.pointee.waiters.remove(session: target.pointee.id)
        if withError {
            call.executor.writeError(target, error)
        } else {
            let replicas = node.pointee.primary.acknowledgements(of: offset)
            target.pointee.output.pointee.append(":\(replicas)\r\n")
        }
        call.executor.unblock(target)
    case .none, .operation, .shutdown:
        return call.reply.integer(0)
    }
    call.reply.integer(1)
}
