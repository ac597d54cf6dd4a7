// FUNCTION: loading, listing, removing, dumping and restoring libraries.
import Base
import Engine
import Persistence
import RESP

extension Registry {
    mutating func registerFunctionCommands() {
        command(
            "function", since: "7.0.0", arity: -2,
            summary: "A container for function commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "delete", of: "function", since: "7.0.0", arity: 3, [.noScript, .write],
            acl: [.scripting],
            syntax: "library-name",
            summary: "Delete a function by name",
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { delete(Call($0)) }

        command(
            "dump", of: "function", since: "7.0.0", arity: 2, [.noScript], acl: [.scripting],
            summary: "Dump all functions into a serialized binary payload",
            complexity: "O(N) where N is the number of functions"
        ) { dumpLibraries(Call($0)) }

        command(
            "flush", of: "function", since: "7.0.0", arity: -2, [.noScript, .write],
            acl: [.scripting],
            syntax: "[async: ASYNC|SYNC]",
            summary: "Deleting all functions",
            complexity: "O(N) where N is the number of functions deleted",
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { flush(Call($0)) }

        command(
            "help", of: "function", since: "7.0.0", arity: 2, [.loading, .stale],
            acl: [.scripting],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { help(Call($0)) }

        command(
            "kill", of: "function", since: "7.0.0", arity: 2, [.noScript, .allowBusy],
            acl: [.scripting],
            summary: "Kill the function currently in execution.",
            complexity: "O(1)",
            tips: """
            request_policy:all_shards
            response_policy:one_succeeded
            """
        ) { killScript(Call($0), isFunction: true) }

        registerMoreFunctionCommands()
    }

    private mutating func registerMoreFunctionCommands() {
        command(
            "list", of: "function", since: "7.0.0", arity: -2, [.noScript], acl: [.scripting],
            syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
            summary: "List information about all the functions",
            complexity: "O(N) where N is the number of functions",
            tips: "nondeterministic_output_order"
        ) { list(Call($0)) }

        command(
            "load", of: "function", since: "7.0.0", arity: -3, [.noScript, .write, .denyOOM],
            acl: [.scripting],
            syntax: "[REPLACE] function-code",
            summary: "Create a function with the given arguments (name, code, description)",
            complexity: "O(1) (considering compilation time is redundant)",
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { load(Call($0)) }

        command(
            "restore", of: "function", since: "7.0.0", arity: -3, [.noScript, .write, .denyOOM],
            acl: [.scripting],
            syntax: "serialized-value [policy: FLUSH|APPEND|REPLACE]",
            summary: "Restore all the functions on the given payload",
            complexity: "O(N) where N is the number of functions on the payload",
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { restore(Call($0)) }

        command(
            "stats", of: "function", since: "7.0.0", arity: 2, [.noScript, .allowBusy],
            acl: [.scripting],
            summary: """
            Return information about the function currently running (name, description, duration)
            """,
            complexity: "O(1)",
            tips: """
            nondeterministic_output
            request_policy:all_shards
            response_policy:special
            """
        ) { stats(Call($0)) }
    }
}

private func load(_ call: Call) {
    var replaces = false
    for index in 2..<(call.count - 1) {
        guard call[index].matches("replace") else {
            return call.reply.error(Array("ERR Unknown option given: ".utf8) + call[index].array)
        }
        replaces = true
    }
    let obeys = call.session.pointee.flags.contains(.fromPrimary)
    do throws(ShebangError) {
        let name = try ScriptEnginePointer.of(call).loadLibrary(
            call[call.count - 1], replaces: replaces, isLimited: !obeys)
        call.executor.pointee.dirty += 1
        call.reply.bulk(name)
    } catch {
        call.reply.error("ERR \(error.text)")
    }
}

private func delete(_ call: Call) {
    let engine = ScriptEnginePointer.of(call)
    guard let library = engine.pointee.libraries.remove(call[2].string) else {
        return call.reply.error("ERR Library not found")
    }
    engine.release(library)
    call.executor.pointee.dirty += 1
    call.reply.ok()
}

private func flush(_ call: Call) {
    guard call.count <= 3 else { return call.refuseSubcommand() }
    let isPlain = call.count == 2
    guard isPlain || call[2].matches("sync") || call[2].matches("async") else {
        return call.reply.error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    }
    ScriptEnginePointer.of(call).flushLibraries()
    call.executor.pointee.dirty += 1
    call.reply.ok()
}

// MARK: Reports

private func list(_ call: Call) {
    var withCode = false
    var pattern: Bytes?
    var index = 2
    while index < call.count {
        if !withCode, call[index].matches("withcode") {
            withCode = true
        } else if pattern == nil, call[index].matches("libraryname") {
            guard index + 1 < call.count else {
                return call.reply.error("ERR library name argument was not given")
            }
            index += 1
            pattern = call[index]
        } else {
            return call.reply.error(Array("ERR Unknown argument ".utf8) + call[index].array)
        }
        index += 1
    }
    var libraries = ScriptEnginePointer.of(call).pointee.libraries.libraries.values
    if let pattern {
        libraries = libraries.filter { library in
            library.name.withBytes { $0.matches(glob: pattern, ignoringCase: true) }
        }
    }
    call.reply.array(libraries.count)
    for library in libraries { describe(call, library, withCode: withCode) }
}

private func describe(_ call: Call, _ library: FunctionLibrary, withCode: Bool) {
    let reply = call.reply
    reply.map(withCode ? 4 : 3)
    reply.bulk("library_name")
    reply.bulk(library.name)
    reply.bulk("engine")
    reply.bulk("LUA")
    reply.bulk("functions")
    reply.array(library.functions.count)
    for function in library.functions.values {
        reply.map(3)
        reply.bulk("name")
        reply.bulk(function.name)
        reply.bulk("description")
        if let description = function.description {
            reply.bulk(description)
        } else {
            reply.null()
        }
        reply.bulk("flags")
        let flags = Shebang.flagNames.filter { function.flags.contains($0.flag) }
        reply.set(flags.count)
        for flag in flags { reply.simple(flag.name) }
    }
    guard withCode else { return }
    reply.bulk("library_code")
    reply.bulk(library.source)
}

private func stats(_ call: Call) {
    let executor = call.executor
    let engine = ScriptEnginePointer.of(call)
    let run = executor.pointee.scripts.run
    if let run, !run.pointee.isFunction { return call.reply.error(executor.busyText) }
    let reply = call.reply
    reply.map(2)
    reply.bulk("running_script")
    if let run {
        reply.map(3)
        reply.bulk("name")
        reply.bulk(engine.pointee.runningName)
        reply.bulk("command")
        reply.array(run.pointee.argumentCount)
        for index in 0..<run.pointee.argumentCount { reply.bulk(run.pointee.argument(index)) }
        reply.bulk("duration_ms")
        reply.integer(executor.scriptMilliseconds)
    } else {
        reply.null()
    }
    reply.bulk("engines")
    reply.map(1)
    reply.bulk("LUA")
    reply.map(2)
    reply.bulk("libraries_count")
    reply.integer(engine.pointee.libraries.libraries.count)
    reply.bulk("functions_count")
    reply.integer(engine.pointee.libraries.functions.count)
}

// MARK: DUMP and RESTORE

private func dumpLibraries(_ call: Call) {
    var out = Buffer()
    FunctionPayload.append(
        ScriptEnginePointer.of(call).librarySources,
        compresses: call.executor.pointee.settings.rdbCompression, to: &out)
    call.reply.bulk(out.bytes)
}

private func restore(_ call: Call) {
    guard call.count <= 4 else { return call.refuseSubcommand() }
    var policy = ScriptEnginePointer.RestorePolicy.append
    if call.count == 4 {
        if call[3].matches("append") {
            policy = .append
        } else if call[3].matches("replace") {
            policy = .replace
        } else if call[3].matches("flush") {
            policy = .flush
        } else {
            return call.reply.error(
                """
                ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.
                """ as StaticString)
        }
    }
    let sources: [[UInt8]]
    do throws(FunctionPayload.Problem) {
        sources = try FunctionPayload.sources(
            call[2], verifiesChecksum: call.executor.pointee.checksDumpPayloads)
    } catch {
        return call.reply.error("ERR \(error.text)")
    }
    do throws(ShebangError) {
        try ScriptEnginePointer.of(call).restoreLibraries(sources, policy)
        call.executor.pointee.dirty += 1
        call.reply.ok()
    } catch {
        call.reply.error("ERR \(error.text)")
    }
}

private func help(_ call: Call) {
    call.replyHelp([
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Return general information on all the libraries:",
        "    * Library name",
        "    * The engine used to run the Library",
        "    * Library description",
        "    * Functions list",
        "    * Library code (if WITHCODE is given)",
        """
            It also possible to get only function that matches a pattern using LIBRARYNAME argument.
        """,
        "STATS",
        "    Return information about the current function running:",
        "    * Function name",
        "    * Command used to run the function",
        "    * Duration in MS that the function is running",
        "    If no function is running, return nil",
        "    In addition, returns a list of available engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the libraries.",
        "    * SYNC: Synchronously flush the libraries.",
        "DUMP",
        """
            Return a serialized payload representing the current libraries, can be restored using \
        FUNCTION RESTORE command
        """,
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        """
            Restore the libraries represented by the given payload, it is possible to give a \
        restore policy to
        """,
        "    control how to handle existing libraries (default APPEND):",
        "    * FLUSH: delete all existing libraries.",
        """
            * APPEND: appends the restored libraries to the existing libraries. On collision, abort.
        """,
        """
            * REPLACE: appends the restored libraries to the existing libraries, On collision, \
        replace the old
        """,
        """
              libraries with the new libraries (notice that even on this option there is a chance \
        of failure
        """,
        "      in case of functions name collision with another library).",
    ])
}
