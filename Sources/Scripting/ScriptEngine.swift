// Scripts of one node: two Lua states (one for EVAL, one for functions, so that neither sees what
// the other defines), the scripts that are known by their hash, the libraries of functions, and
// the session in whose name their commands run. The states are made when first needed.
import Base
import CLua
import Engine
import RESP

/// How the engine of scripts is passed about.
public typealias ScriptEnginePointer = UnsafeMutablePointer<ScriptEngine>

/// A script that EVALSHA finds.
struct Script {
    var reference: Int32
    var flags: ScriptFlags
    /// Bytes of its source, which is kept by Lua in its compiled form only.
    var size: Int
}

public struct ScriptEngine: ~Copyable {
    let executor: ExecutorPointer
    var evalState: OpaquePointer?
    var functionState: OpaquePointer?
    let session: UnsafeMutablePointer<Session>
    /// By their hashes in lower case.
    var scripts: [String: Script] = [:]
    var scriptBytes = 0
    var libraries = FunctionLibraries()
    /// The library whose code runs to register its functions.
    var loading: LoadingLibrary?
    /// What the hooks have handed to Lua last.
    let handed: UnsafeMutablePointer<Buffer>
    /// The script or function that runs.
    var runningName = ""
    /// How deep in the reply the value is that is emitted next; 0 outside of arrays.
    var emitted = 0

    init(executor: ExecutorPointer) {
        self.executor = executor
        session = .allocate(capacity: 1)
        session.initialize(
            to: Session(id: 0, peer: "lua", local: "", now: executor.pointee.now.instant))
        handed = .allocate(capacity: 1)
        handed.initialize(to: Buffer())
    }

    deinit {
        clua_close(evalState)
        clua_close(functionState)
        session.deinitialize(count: 1)
        session.deallocate()
        handed.deinitialize(count: 1)
        handed.deallocate()
    }
}

extension ScriptEnginePointer {
    /// Gives an executor its scripts.
    public static func install(on executor: ExecutorPointer) {
        let engine = ScriptEnginePointer.allocate(capacity: 1)
        engine.initialize(to: ScriptEngine(executor: executor))
        executor.pointee.scripts.engine = UnsafeMutableRawPointer(engine)
        executor.pointee.scripts.flags = { engine, call in
            engine.assumingMemoryBound(to: ScriptEngine.self).flags(
                of: call.assumingMemoryBound(to: ScriptCall.self).pointee
            ).rawValue
        }
    }

    public static func remove(from executor: ExecutorPointer) {
        guard let engine = installed(on: executor) else { return }
        executor.pointee.scripts.engine = nil
        engine.deinitialize(count: 1)
        engine.deallocate()
    }

    public static func installed(on executor: ExecutorPointer) -> ScriptEnginePointer? {
        executor.pointee.scripts.engine?.assumingMemoryBound(to: ScriptEngine.self)
    }

    static func of(_ call: Call) -> ScriptEnginePointer {
        guard let engine = installed(on: call.executor) else {
            unreachable("a node that knows these commands has scripts")
        }
        return engine
    }

    var executor: ExecutorPointer { pointee.executor }

    // MARK: States

    var evalState: OpaquePointer {
        if let state = pointee.evalState { return state }
        let state = open(forFunctions: false)
        pointee.evalState = state
        return state
    }

    var functionState: OpaquePointer {
        if let state = pointee.functionState { return state }
        let state = open(forFunctions: true)
        pointee.functionState = state
        return state
    }

    private func open(forFunctions: Bool) -> OpaquePointer {
        var hooks = ScriptHooks.make(context: UnsafeMutableRawPointer(self))
        let version = UnsafeRawPointer(Bytes(Product.redisVersion).base)
            .assumingMemoryBound(to: CChar.self)
        // A literal ends with a zero byte and lives as long as the program.
        guard
            let state = clua_open(
                &hooks, forFunctions ? 1 : 0, version, Int32(ScriptEngine.versionNumber))
        else { unreachable("no memory for Lua") }
        return state
    }

    // MARK: Scripts

    /// The hash of a script, as its name.
    static func hash(_ body: Bytes) -> String {
        String(decoding: SHA1.hex(body), as: UTF8.self)
    }

    /// A hash that a client gave.
    static func name(_ hash: Bytes) -> String {
        String(decoding: (0..<hash.count).map { lowercased(hash[$0]) }, as: UTF8.self)
    }

    /// The script with this body, compiled unless it is known; nil after an error reply.
    func scriptOrReply(_ body: Bytes, _ name: String, _ call: Call) -> Script? {
        if let known = pointee.scripts[name] { return known }
        let shebang: Shebang
        do throws(ShebangError) {
            shebang = try Shebang.ofScript(body)
        } catch {
            call.reply.error("ERR \(error.text)")
            return nil
        }
        var reason = clua_bytes()
        let source = body[shebang.length..<body.count]
        let reference = clua_compile(evalState, clua_bytes(source), &reason)
        guard reference >= 0 else {
            call.reply.error(
                Array("ERR Error compiling script (new function): ".utf8) + reason.array)
            return nil
        }
        let script = Script(reference: reference, flags: shebang.flags, size: body.count)
        pointee.scripts[name] = script
        pointee.scriptBytes += body.count + name.utf8.count
        return script
    }

    /// SCRIPT FLUSH: a new state, too.
    func flushScripts() {
        pointee.scripts = [:]
        pointee.scriptBytes = 0
        clua_close(pointee.evalState)
        pointee.evalState = nil
    }

    // MARK: Running

    /// What the script of a call says of itself, before it runs.
    func flags(of call: ScriptCall) -> ScriptFlags {
        guard call.count > 1 else { return .silent }
        let declarations = executor.pointee.commands.pointee.declarations
        let word = call.arguments[1]
        switch "\(declarations[Int(call.command.pointee.id)].name)" {
        case "fcall", "fcall_ro": return pointee.libraries.function(word)?.flags ?? .silent
        case "evalsha", "evalsha_ro":
            guard word.count == 40 else { return .silent }
            return pointee.scripts[ScriptEnginePointer.name(word)]?.flags ?? .silent
        default:
            // What is wrong with its first line it will be told when it is compiled.
            do throws(ShebangError) { return try Shebang.ofScript(word).flags } catch {
                return .silent
            }
        }
    }

    /// Runs a script or function on behalf of a call whose keys begin at argument 3.
    func run(
        _ call: Call, _ state: OpaquePointer, _ reference: Int32, name: String,
        _ flags: ScriptFlags, keyCount: Int, isFunction: Bool, isReadOnlyCommand: Bool
    ) {
        if let refusal = executor.scriptRefusal(
            flags, isReadOnlyCommand: isReadOnlyCommand, call.session)
        {
            return call.reply.error(refusal)
        }
        let count = call.count - 3
        withUnsafeTemporaryAllocation(of: clua_bytes.self, capacity: max(1, count)) { room in
            guard let values = room.baseAddress else { return }
            for index in 0..<count { (values + index).initialize(to: clua_bytes(call[index + 3])) }
            withUnsafeTemporaryAllocation(of: ScriptRun.self, capacity: 1) { place in
                guard let run = place.baseAddress else { return }
                executor.beginScript(
                    run, flags, isFunction: isFunction, isReadOnlyCommand: isReadOnlyCommand,
                    session: pointee.session, call)
                pointee.runningName = name
                pointee.emitted = 0
                name.withBytes { name in
                    var request = clua_run_request()
                    request.reference = reference
                    request.name = clua_bytes(name)
                    request.keys = UnsafePointer(values)
                    request.key_count = keyCount
                    request.arguments = UnsafePointer(values + keyCount)
                    request.argument_count = count - keyCount
                    request.has_globals = isFunction ? 0 : 1
                    request.is_interruptible =
                        executor.pointee.settings.busyReplyThreshold > 0 ? 1 : 0
                    clua_run(state, &request)
                }
                executor.endScript()
                run.deinitialize(count: 1)
            }
        }
    }

    /// How many of the arguments are keys; nil after an error reply.
    static func keyCountOrReply(_ call: Call, _ number: Int64) -> Int? {
        if number > Int64(call.count - 3) {
            call.reply.error("ERR Number of keys can't be greater than number of args")
            return nil
        }
        if number < 0 {
            call.reply.error("ERR Number of keys can't be negative")
            return nil
        }
        return Int(number)
    }
}

extension ScriptEngine {
    /// Such as 0x0007000F for 7.0.15.
    static var versionNumber: Int {
        let parts = "\(Product.redisVersion)".split(separator: ".").map { Int($0) ?? 0 }
        return parts.reduce(0) { $0 << 8 | $1 }
    }
}

extension clua_bytes {
    init(_ bytes: Bytes) { self.init(base: bytes.base, count: bytes.count) }

    /// As the rest of the server sees bytes.
    var bytes: Bytes { base.map { Bytes($0, count) } ?? .empty }
    var array: [UInt8] { bytes.array }
}
