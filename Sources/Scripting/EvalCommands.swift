// EVAL and its family, which run a script, and SCRIPT, which manages those that are known.
import Base
import Engine
import RESP

extension Extension {
    /// The scripting group.
    public static let scripting = Extension("scripting") { registry in
        registry.group = .scripting
        registry.registerEvalCommands()
        registry.registerScriptCommands()
        registry.registerFunctionCommands()
        registry.registerCallCommands()
    }
}

extension KeySpec {
    /// Behind the number at argument 2.
    static func scriptKeys(_ flags: KeyFlags, notes: StaticString = "") -> KeySpec {
        KeySpec(.index(2), .keyNumber(at: 0, first: 1, step: 1), flags, notes: notes)
    }

    static let worstNotes: StaticString =
        "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"
    static let readNotes: StaticString =
        "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS"
}

extension CommandFlags {
    static let runsAnyScript: CommandFlags = [
        .noScript, .skipMonitor, .mayReplicate, .noMandatoryKeys, .stale, .movableKeys,
        .runsScript,
    ]
    static let runsReadingScript: CommandFlags = [
        .noScript, .skipMonitor, .noMandatoryKeys, .stale, .readonly, .movableKeys, .runsScript,
    ]
}

extension Registry {
    mutating func registerEvalCommands() {
        command(
            "eval", since: "2.6.0", arity: -3, .runsAnyScript, acl: [.scripting],
            keys: [.scriptKeys([.RW, .access, .update], notes: KeySpec.worstNotes)],
            syntax: "script numkeys:integer [key...] [arg...]",
            summary: "Execute a Lua script server side",
            complexity: "Depends on the script that is executed."
        ) { eval(Call($0), isReadOnly: false) }

        command(
            "evalsha", since: "2.6.0", arity: -3, .runsAnyScript, acl: [.scripting],
            keys: [.scriptKeys([.RW, .access, .update])],
            syntax: "sha1 numkeys:integer [key...] [arg...]",
            summary: "Execute a Lua script server side",
            complexity: "Depends on the script that is executed."
        ) { evalHash(Call($0), isReadOnly: false) }

        command(
            "eval_ro", since: "7.0.0", arity: -3, .runsReadingScript, acl: [.scripting],
            keys: [.scriptKeys([.RO, .access], notes: KeySpec.readNotes)],
            syntax: "script numkeys:integer [key...] [arg...]",
            summary: "Execute a read-only Lua script server side",
            complexity: "Depends on the script that is executed."
        ) { eval(Call($0), isReadOnly: true) }

        command(
            "evalsha_ro", since: "7.0.0", arity: -3, .runsReadingScript, acl: [.scripting],
            keys: [.scriptKeys([.RO, .access])],
            syntax: "sha1 numkeys:integer [key...] [arg...]",
            summary: "Execute a read-only Lua script server side",
            complexity: "Depends on the script that is executed."
        ) { evalHash(Call($0), isReadOnly: true) }
    }

    mutating func registerScriptCommands() {
        command(
            "script", since: "2.6.0", arity: -2,
            summary: "A container for Lua scripts management commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "debug", of: "script", since: "3.2.0", arity: 3, [.noScript], acl: [.scripting],
            syntax: "<mode: YES|SYNC|NO>",
            summary: "Set the debug mode for executed scripts.",
            complexity: "O(1)"
        ) { debug(Call($0)) }

        command(
            "exists", of: "script", since: "2.6.0", arity: -3, [.noScript], acl: [.scripting],
            syntax: "sha1...",
            summary: "Check existence of scripts in the script cache.",
            complexity: """
            O(N) with N being the number of scripts to check (so checking a single script is an \
            O(1) operation).
            """,
            tips: """
            request_policy:all_shards
            response_policy:agg_logical_and
            """
        ) { exists(Call($0)) }

        command(
            "flush", of: "script", since: "2.6.0", arity: -2, [.noScript], acl: [.scripting],
            syntax: "[async: ASYNC|SYNC]{6.2.0}",
            summary: "Remove all the scripts from the script cache.",
            complexity: "O(N) with N being the number of scripts in cache",
            history: "6.2.0 Added the `ASYNC` and `SYNC` flushing mode modifiers.",
            tips: """
            request_policy:all_nodes
            response_policy:all_succeeded
            """
        ) { flush(Call($0)) }

        command(
            "help", of: "script", since: "5.0.0", arity: 2, [.loading, .stale],
            acl: [.scripting],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { help(Call($0)) }

        command(
            "kill", of: "script", since: "2.6.0", arity: 2, [.noScript, .allowBusy],
            acl: [.scripting],
            summary: "Kill the script currently in execution.",
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            response_policy:one_succeeded
            """
        ) { killScript(Call($0), isFunction: false) }

        command(
            "load", of: "script", since: "2.6.0", arity: 3, [.noScript, .stale],
            acl: [.scripting],
            syntax: "script",
            summary: "Load the specified Lua script into the script cache.",
            complexity: "O(N) with N being the length in bytes of the script body.",
            tips: """
            request_policy:all_nodes
            response_policy:all_succeeded
            """
        ) { load(Call($0)) }
    }
}

// MARK: EVAL

private func eval(_ call: Call, isReadOnly: Bool) {
    call.executor.showFirst(call)
    guard let number = call.integerOrReply(2),
        let keyCount = ScriptEnginePointer.keyCountOrReply(call, number)
    else { return }
    let engine = ScriptEnginePointer.of(call)
    let name = ScriptEnginePointer.hash(call[1])
    guard let script = engine.scriptOrReply(call[1], name, call) else { return }
    engine.run(
        call, engine.evalState, script.reference, name: name, script.flags, keyCount: keyCount,
        isFunction: false, isReadOnlyCommand: isReadOnly)
}

private func evalHash(_ call: Call, isReadOnly: Bool) {
    call.executor.showFirst(call)
    // Nothing else can be the name of a script.
    guard call[1].count == 40 else { return call.reply.error(noScript) }
    guard let number = call.integerOrReply(2),
        let keyCount = ScriptEnginePointer.keyCountOrReply(call, number)
    else { return }
    let engine = ScriptEnginePointer.of(call)
    let name = ScriptEnginePointer.name(call[1])
    guard let script = engine.pointee.scripts[name] else { return call.reply.error(noScript) }
    engine.run(
        call, engine.evalState, script.reference, name: name, script.flags, keyCount: keyCount,
        isFunction: false, isReadOnlyCommand: isReadOnly)
}

private let noScript = ErrorReply("NOSCRIPT No matching script. Please use EVAL.")

// MARK: SCRIPT

private func load(_ call: Call) {
    let name = ScriptEnginePointer.hash(call[2])
    guard ScriptEnginePointer.of(call).scriptOrReply(call[2], name, call) != nil else { return }
    call.reply.bulk(name)
}

private func exists(_ call: Call) {
    let engine = ScriptEnginePointer.of(call)
    call.reply.array(call.count - 2)
    for index in 2..<call.count {
        let isKnown = engine.pointee.scripts[ScriptEnginePointer.name(call[index])] != nil
        call.reply.integer(isKnown ? 1 : 0)
    }
}

private func flush(_ call: Call) {
    let isPlain = call.count == 2
    guard isPlain || call.count == 3 && (call[2].matches("sync") || call[2].matches("async"))
    else { return call.reply.error("ERR SCRIPT FLUSH only support SYNC|ASYNC option") }
    ScriptEnginePointer.of(call).flushScripts()
    call.reply.ok()
}

func killScript(_ call: Call, isFunction: Bool) {
    if let refusal = call.executor.killScript(isFunction: isFunction) {
        call.reply.error(refusal)
    } else {
        call.reply.ok()
    }
}

/// There is no debugger to begin a session with.
private func debug(_ call: Call) {
    if call[2].matches("no") { return call.reply.ok() }
    guard call[2].matches("yes") || call[2].matches("sync") else {
        return call.reply.error("ERR Use SCRIPT DEBUG YES/SYNC/NO")
    }
    call.reply.error("ERR SCRIPT DEBUG is not supported")
}

private func help(_ call: Call) {
    call.replyHelp([
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
    ])
}
