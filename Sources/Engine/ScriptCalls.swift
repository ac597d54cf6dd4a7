// `redis.call`: one command of a script. The questions that it must pass are those of the gates,
// asked in the reference's order and answered with the texts that scripts are given; what it
// replies is left in the output of the script's session.
import Base
import HashSlots
import RESP
import Storage

extension ExecutorPointer {
    /// Runs a command of the script that runs. Nil: its reply is in the session's output.
    /// Otherwise the error: with its code behind a dash, or without a code.
    public func callFromScript(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> String? {
        guard let run = pointee.scripts.run else { unreachable("no script runs") }
        let session = run.pointee.session
        session.pointee.output.pointee.removeAll()
        guard let command = pointee.commands.pointee.find(arguments, count) else {
            return refuseInScript(nil, "Unknown Redis command called from script")
        }
        guard command.pointee.accepts(count) else {
            return refuseInScript(
                command, "Wrong number of args calling Redis command from script")
        }
        if let text = scriptCallRefusal(run, command, arguments, count) {
            return refuseInScript(command, text)
        }
        call(command, arguments, count, session, nil)
        if _slowPath(run.pointee.caller.pointee.flags.contains(.tracking)) {
            trackReads(command, arguments, count, run.pointee.caller)
        }
        return nil
    }

    private func refuseInScript(
        _ command: UnsafeMutablePointer<Command>?, _ text: String
    ) -> String {
        command?.pointee.rejectedCalls &+= 1
        countError(text.hasPrefix("-") ? String(text.dropFirst()) : "ERR " + text)
        return text
    }

    private func scriptCallRefusal(
        _ run: UnsafeMutablePointer<ScriptRun>, _ command: UnsafeMutablePointer<Command>,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> String? {
        let flags = command.pointee.flags
        if flags.contains(.noScript), !pointee.scripts.allowsEverything {
            return "This Redis command is not allowed from script"
        }
        if pointee.alerts.contains(.stale), !flags.contains(.stale) {
            return "Can not execute the command on a stale replica"
        }
        let caller = run.pointee.caller
        let permission = permission(of: caller, command, arguments, count)
        if permission != .granted {
            noteDenied(permission, caller, command, arguments, in: .lua)
            return permission.refusalInScript
        }
        if run.pointee.isReadOnly, !flags.isDisjoint(with: [.write, .mayReplicate]) {
            return "Write commands are not allowed from read-only scripts."
        }
        let obeys = run.pointee.caller.pointee.flags.contains(.fromPrimary)
        if flags.contains(.write), !run.pointee.hasWritten,
            let text = writeRefusalInScript(obeys: obeys)
        {
            return text
        }
        if !run.pointee.allowsOOM, !obeys, !run.pointee.hasWritten, flags.contains(.denyOOM),
            pointee.alerts.contains(.memoryLimited), pointee.scripts.wasOutOfMemory
        {
            return "-\(ErrorReply.outOfMemory.text)"
        }
        if flags.contains(.write) { run.pointee.hasWritten = true }
        return clusterRefusalInScript(run, command, arguments, count)
    }

    /// `redis.acl_check_cmd`: whether the caller's user may run this; nil for no such command.
    public func scriptMayCall(_ arguments: UnsafePointer<Bytes>, _ count: Int) -> Bool? {
        guard let run = pointee.scripts.run,
            let command = pointee.commands.pointee.find(arguments, count)
        else { return nil }
        return permission(of: run.pointee.caller, command, arguments, count) == .granted
    }

    private func writeRefusalInScript(obeys: Bool) -> String? {
        if pointee.alerts.contains(.readOnly), !obeys { return "-\(ErrorReply.readOnly.text)" }
        if pointee.alerts.contains(.saveFailed) { return "-\(ErrorReply.saveFailed.text)" }
        if pointee.alerts.contains(.logFailed) {
            return "-MISCONF Errors writing to the AOF file: \(pointee.logProblem)"
        }
        if pointee.alerts.contains(.tooFewReplicas) { return "-\(ErrorReply.noReplicas.text)" }
        return nil
    }

    private func clusterRefusalInScript(
        _ run: UnsafeMutablePointer<ScriptRun>, _ command: UnsafeMutablePointer<Command>,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> String? {
        guard pointee.routing != nil,
            !run.pointee.caller.pointee.flags.contains(.fromPrimary)
        else { return nil }
        let keys = keysOfCall(command, arguments, count, run.pointee.session)
        guard let first = keys.first else { return nil }
        switch redirect(command, command.pointee.flags, keys, run.pointee.session) {
        case .serve: break
        case .downForWrites:
            return "Script attempted to execute a write command while the cluster is down and "
                + "readonly"
        case .down: return "Script attempted to execute a command while the cluster is down"
        default: return "Script attempted to access a non local key in a cluster node"
        }
        guard !run.pointee.allowsCrossSlot else { return nil }
        if run.pointee.slot < 0 {
            run.pointee.slot = Int32(first.slot)
        } else if run.pointee.slot != Int32(first.slot) {
            return "Script attempted to access keys that do not hash to the same slot"
        }
        return nil
    }
}
