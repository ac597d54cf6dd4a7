// MONITOR: a session that is shown every command that other sessions run.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerMonitorCommand() {
        command(
            "monitor", since: "1.0.0", arity: 1, [.admin, .noScript, .loading, .stale],
            summary: "Listen for all requests received by the server in real time"
        ) { monitor(Call($0)) }
    }
}

private func monitor(_ call: Call) {
    // A script expects one reply per command.
    guard !call.session.pointee.flags.contains(.denyBlocking) else {
        return call.reply.error("ERR MONITOR isn't allowed for DENY BLOCKING client")
    }
    if call.executor.beginMonitor(call.session) { call.reply.ok() }
}
