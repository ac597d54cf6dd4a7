// FCALL and FCALL_RO: run a function of a library.
import Base
import Engine
import RESP

extension Registry {
    mutating func registerCallCommands() {
        command(
            "fcall", since: "7.0.0", arity: -3, .runsAnyScript, acl: [.scripting],
            keys: [.scriptKeys([.RW, .access, .update], notes: KeySpec.worstNotes)],
            syntax: "function numkeys:integer [key...] [arg...]",
            summary: "Invoke a function",
            complexity: "Depends on the function that is executed."
        ) { callFunction(Call($0), isReadOnly: false) }

        command(
            "fcall_ro", since: "7.0.0", arity: -3, .runsReadingScript, acl: [.scripting],
            keys: [.scriptKeys([.RO, .access], notes: KeySpec.readNotes)],
            syntax: "function numkeys:integer [key...] [arg...]",
            summary: "Invoke a read-only function",
            complexity: "Depends on the function that is executed."
        ) { callFunction(Call($0), isReadOnly: true) }
    }
}

private func callFunction(_ call: Call, isReadOnly: Bool) {
    call.executor.showFirst(call)
    let engine = ScriptEnginePointer.of(call)
    guard let function = engine.pointee.libraries.function(call[1]) else {
        return call.reply.error("ERR Function not found")
    }
    guard let number = call[2].decimal else {
        return call.reply.error("ERR Bad number of keys provided")
    }
    guard let keyCount = ScriptEnginePointer.keyCountOrReply(call, number) else { return }
    engine.run(
        call, engine.functionState, function.reference, name: function.name, function.flags,
        keyCount: keyCount, isFunction: true, isReadOnlyCommand: isReadOnly)
}
