// SAVE, BGSAVE, LASTSAVE and SHUTDOWN. There is no child process: both saves are the same walk, and
// SAVE answers when the file is in place.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerPersistenceCommands() {
        group = .server
        command(
            "save", since: "1.0.0", arity: 1, [.noAsyncLoading, .admin, .noScript, .noMulti],
            summary: "Synchronously save the dataset to disk",
            complexity: "O(N) where N is the total number of keys in all databases"
        ) { save(Call($0)) }

        command(
            "bgsave", since: "1.0.0", arity: -1, [.noAsyncLoading, .admin, .noScript],
            syntax: "[SCHEDULE]{3.2.2}",
            summary: "Asynchronously save the dataset to disk",
            complexity: "O(1)",
            history: "3.2.2 Added the `SCHEDULE` option."
        ) { backgroundSave(Call($0)) }

        command(
            "lastsave", since: "1.0.0", arity: 1, [.loading, .stale, .fast],
            acl: [.admin, .dangerous],
            summary: "Get the UNIX time stamp of the last successful save to disk",
            complexity: "O(1)",
            tips: "nondeterministic_output"
        ) { lastSave(Call($0)) }

        command(
            "shutdown", since: "1.0.0", arity: -1,
            [.admin, .noScript, .loading, .stale, .noMulti, .allowBusy],
            syntax: "[nosave_save: NOSAVE|SAVE] [NOW]{7.0.0} [FORCE]{7.0.0} [ABORT]{7.0.0}",
            summary: "Synchronously save the dataset to disk and then shut down the server",
            complexity: """
            O(N) when saving, where N is the total number of keys in all databases when saving \
            data, otherwise O(1)
            """,
            history: "7.0.0 Added the `NOW`, `FORCE` and `ABORT` modifiers."
        ) { shutdown(Call($0)) }
    }
}

private func save(_ call: Call) {
    let node = NodePointer.of(call)
    guard node.startSave(isAwaited: true) else {
        return call.reply.error("ERR Background save already in progress")
    }
    node.pointee.snapshot.waiting.append(call.session.pointee.id)
    call.executor.block(call.session, .operation(0))
}

private func backgroundSave(_ call: Call) {
    let node = NodePointer.of(call)
    var schedule = false
    if call.count > 1 {
        guard call.count == 2, call[1].matches("schedule") else {
            return call.reply.error(.syntax)
        }
        schedule = true
    }
    if node.pointee.snapshot.isRunning {
        if schedule {
            node.pointee.persistence.saveScheduled = true
            return call.reply.simple("Background saving scheduled")
        }
        if node.pointee.log.rewrite != nil {
            return call.reply.error(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE "
                    + "SCHEDULE in order to schedule a BGSAVE whenever possible.")
        }
        return call.reply.error("ERR Background save already in progress")
    }
    _ = node.startSave()
    call.reply.simple("Background saving started")
}

private func lastSave(_ call: Call) {
    call.reply.integer(NodePointer.of(call).pointee.persistence.lastSaveAt.seconds)
}

private func shutdown(_ call: Call) {
    let node = NodePointer.of(call)
    var options = ShutdownOptions()
    var abort = false
    for index in 1..<call.count {
        let word = call[index]
        if word.matches("nosave") {
            options.noSave = true
        } else if word.matches("save") {
            options.save = true
        } else if word.matches("now") {
            options.now = true
        } else if word.matches("force") {
            options.force = true
        } else if word.matches("abort") {
            abort = true
        } else {
            return call.reply.error(.syntax)
        }
    }
    let others = options.noSave || options.save || options.now || options.force
    if (abort && others) || (options.noSave && options.save) {
        return call.reply.error(.syntax)
    }
    if abort {
        return node.cancelShutdown(failed: false)
            ? call.reply.ok() : call.reply.error("ERR No shutdown in progress.")
    }
    if call.executor.isBusy {
        // Only what does not wait for the script, and then the script does not go on. What it
        // changed so far is nowhere but here, so nothing may stop the shutdown any more.
        guard options.noSave else { return call.reply.error(call.executor.busyText) }
        options.now = true
        options.force = true
        call.executor.abandonScript()
    }
    if node.isShuttingDown {
        node.pointee.shutdown?.sessions.append(call.session.pointee.id)
        return call.executor.block(call.session, .shutdown)
    }
    call.executor.block(call.session, .shutdown)
    node.beginShutdown(options, session: call.session.pointee.id)
}
