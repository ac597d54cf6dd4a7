// What Lua's functions ask of the server. Each hook returns before anything is raised, so that no
// Lua error ever passes through a frame of Swift.
import Base
import CLua
import Engine
import RESP

/// The context of the hooks.
private func engine(_ context: UnsafeMutableRawPointer?) -> ScriptEnginePointer {
    guard let context else { unreachable("hooks have a context") }
    return context.assumingMemoryBound(to: ScriptEngine.self)
}

enum ScriptHooks {
    static func make(context: UnsafeMutableRawPointer) -> clua_hooks {
        var hooks = clua_hooks()
        hooks.context = context
        hooks.call = { context, arguments, count, out in
            guard let arguments, let out else { return 0 }
            return engine(context).call(arguments, count, out)
        }
        hooks.interrupt = { context in engine(context).mustEnd() ? 1 : 0 }
        hooks.set_resp = { context, version in
            engine(context).pointee.session.pointee.protocolVersion = UInt8(version)
        }
        hooks.set_replication = { context, flags in
            engine(context).executor.setScriptStreams(
                ScriptStreams(rawValue: UInt8(truncatingIfNeeded: flags)))
        }
        hooks.check_command = { context, arguments, count in
            guard let arguments else { return -1 }
            return engine(context).check(arguments, count)
        }
        hooks.log = { context, level, text in
            guard let level = LogLevel(rawValue: Int(level)) else { return }
            engine(context).executor.pointee.scripts.logLines.append(
                LogLine(level, text.bytes.string))
        }
        hooks.sha1_hex = { _, text, out in
            guard let out else { return }
            for (index, digit) in SHA1.hex(text.bytes).enumerated() {
                out[index] = CChar(bitPattern: digit)
            }
        }
        hooks.register_function = { context, function, error in
            guard let function, let error else { return -1 }
            guard let text = engine(context).register(function.pointee) else { return 0 }
            error.pointee = engine(context).hand(text)
            return 1
        }
        hooks.emit = { context, kind, text, extra, number, real in
            engine(context).emit(kind, text.bytes, extra.bytes, number, real)
        }
        return hooks
    }
}

extension ScriptEnginePointer {
    /// Keeps a text for Lua until the next one.
    fileprivate func hand(_ text: String) -> clua_bytes {
        pointee.handed.pointee.removeAll()
        pointee.handed.pointee.append(text)
        return clua_bytes(pointee.handed.pointee.bytes)
    }

    fileprivate func call(
        _ arguments: UnsafePointer<clua_bytes>, _ count: Int,
        _ out: UnsafeMutablePointer<clua_bytes>
    ) -> Int32 {
        withUnsafeTemporaryAllocation(of: Bytes.self, capacity: count) { room in
            guard let words = room.baseAddress else { return 0 }
            for index in 0..<count { (words + index).initialize(to: arguments[index].bytes) }
            if let refusal = executor.callFromScript(UnsafePointer(words), count) {
                out.pointee = hand(refusal)
                return 1
            }
            let output = pointee.session.pointee.output
            invariant(!output.pointee.isEmpty, "a command without a reply")
            // Behind the last line, so that whoever looks for the end of a line finds one.
            output.pointee.append(0)
            out.pointee = clua_bytes(output.pointee.bytes)
            return 0
        }
    }

    fileprivate func check(_ arguments: UnsafePointer<clua_bytes>, _ count: Int) -> Int32 {
        withUnsafeTemporaryAllocation(of: Bytes.self, capacity: count) { room in
            guard let words = room.baseAddress else { return -1 }
            for index in 0..<count { (words + index).initialize(to: arguments[index].bytes) }
            switch executor.scriptMayCall(UnsafePointer(words), count) {
            case .some(true): return 1
            case .some(false): return 0
            case nil: return -1
            }
        }
    }

    fileprivate func mustEnd() -> Bool {
        if let loading = pointee.loading { return loading.hasTakenTooLong(executor) }
        return executor.scriptMustEnd(named: pointee.runningName)
    }

    /// A part of the result, straight into the caller's output.
    fileprivate func emit(
        _ kind: Int32, _ text: Bytes, _ extra: Bytes, _ number: Int64, _ real: Double
    ) {
        // Of a script that SHUTDOWN NOSAVE ended nobody hears more than the end of its connection.
        guard let run = executor.pointee.scripts.run, !run.pointee.isAbandoned else { return }
        let caller = run.pointee.caller
        let reply = ReplyWriter(
            caller.pointee.output, version: caller.pointee.protocolVersion)
        let isFirst = pointee.emitted == 0
        pointee.emitted += 1
        switch clua_kind(rawValue: UInt32(kind)) {
        case clua_bulk: reply.bulk(text)
        case clua_integer: reply.integer(number)
        case clua_null: reply.null()
        case clua_boolean: reply.boolean(number != 0)
        case clua_double: reply.double(real)
        case clua_big_number: reply.bigNumber(text.array.onOneLine.string)
        case clua_verbatim: verbatim(reply, text, format: extra)
        case clua_status:
            reply.raw("+")
            text.array.onOneLine.withBytes { reply.raw($0) }
            reply.raw("\r\n")
        case clua_error: error(reply, text, isCounted: number != 0, isFirst: isFirst)
        case clua_array: reply.array(Int(number))
        case clua_map: reply.map(Int(number))
        case clua_set: reply.set(Int(number))
        default: unreachable("an unknown kind of reply")
        }
    }

    /// Who reads the whole reply counts its first error; a command of the script that failed has
    /// been counted already.
    private func error(_ reply: ReplyWriter, _ text: Bytes, isCounted: Bool, isFirst: Bool) {
        if isFirst {
            executor.pointee.scripts.replyIsCounted = isCounted
        } else {
            executor.noteScriptError(text.string, isCounted: isCounted)
        }
        reply.error(text.array)
    }

    private func verbatim(_ reply: ReplyWriter, _ text: Bytes, format: Bytes) {
        guard reply.version > 2 else { return reply.bulk(text) }
        // Three letters, whatever the script gave.
        var mark = [UInt8](repeating: 32, count: 3)
        for index in 0..<min(3, format.count) { mark[index] = format[index] }
        reply.out.pointee.append("=\(text.count + 4)\r\n")
        mark.withBytes { reply.raw($0) }
        reply.raw(":")
        reply.raw(text)
        reply.raw("\r\n")
    }
}

extension Array where Element == UInt8 {
    fileprivate var string: String { String(decoding: self, as: UTF8.self) }
}
