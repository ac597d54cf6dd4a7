// A script that runs: on whose behalf, what it may do, and what it has done. The engine knows no
// language; it runs the commands that a script calls and keeps what they change together, to be
// propagated as one transaction.
import Base
import HashSlots
import RESP
import Storage

/// What a script says of itself: `flags=` of its first line, or what its function was registered
/// with.
public struct ScriptFlags: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let noWrites = ScriptFlags(rawValue: 1 << 0)
    public static let allowOOM = ScriptFlags(rawValue: 1 << 1)
    public static let allowStale = ScriptFlags(rawValue: 1 << 2)
    public static let noCluster = ScriptFlags(rawValue: 1 << 3)
    /// It says nothing, as all scripts before version 7: its commands are checked one by one.
    public static let silent = ScriptFlags(rawValue: 1 << 4)
    public static let allowCrossSlot = ScriptFlags(rawValue: 1 << 5)

    /// Of a command that runs such a script: its own flags, with what the script says in place of
    /// what holds for all of them.
    public func replacing(_ flags: CommandFlags) -> CommandFlags {
        guard !contains(.silent) else { return flags }
        var flags = flags.subtracting([.stale, .denyOOM, .write, .mayReplicate])
        if isDisjoint(with: [.allowOOM, .noWrites]) { flags.insert(.denyOOM) }
        if !contains(.noWrites) { flags.insert(.write) }
        if contains(.allowStale) { flags.insert(.stale) }
        return flags
    }
}

/// Where the changes of a script's commands go (`redis.set_repl`).
public struct ScriptStreams: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let log = ScriptStreams(rawValue: 1 << 0)
    public static let replicas = ScriptStreams(rawValue: 1 << 1)
    public static let all: ScriptStreams = [.log, .replicas]
}

public struct ScriptRun {
    /// Who sent EVAL or FCALL.
    public let caller: UnsafeMutablePointer<Session>
    /// In whose name the script's commands run; its output is the latest reply.
    public let session: UnsafeMutablePointer<Session>
    public let isFunction: Bool
    /// Commands that write are refused.
    public let isReadOnly: Bool
    let allowsOOM: Bool
    let allowsCrossSlot: Bool
    /// It has tried to write: from now on nothing may stop it.
    public internal(set) var hasWritten = false
    /// SCRIPT KILL or FUNCTION KILL.
    public var isKilled = false
    /// The slot of the keys so far, -1 before the first.
    var slot: Int32
    let startTicks: UInt64
    /// The effects are gathered by this run itself, not by an EXEC around it.
    let ownsEffects: Bool
    let savedFrame: CallFrame
    /// A part of its reply is an error.
    var hasFailed = false
    /// SHUTDOWN NOSAVE came: what it changed is not to be propagated.
    public internal(set) var isAbandoned = false

    /// The call that it runs for.
    public var argumentCount: Int { savedFrame.argumentCount }
    public func argument(_ index: Int) -> Bytes { savedFrame.shown(index) }
}

/// What scripts hold, for INFO.
public struct ScriptFigures: Sendable {
    /// Bytes of the states.
    public var evalMemory = 0
    public var functionMemory = 0
    public var cachedScripts = 0
    public var scriptBytes = 0
    public var libraries = 0
    public var functions = 0
    public var libraryBytes = 0

    public init() {}
}

/// The engine's side of scripts, and the hooks of whoever has a language.
public struct ScriptHost {
    /// The scripting engine.
    public var engine: UnsafeMutableRawPointer?
    /// Hook: what a script that is about to run says of itself. Arguments: the engine, the call.
    public var flags: (@convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> UInt8)?
    /// Hook: serves clients for a moment while a script runs. Without one (the simulator) a script
    /// runs to its end.
    public var serveMeanwhile: (@convention(c) (UnsafeMutableRawPointer) -> Void)?
    /// Hook: the wall clock in microseconds, which goes on while the time of commands stands still.
    public var clock: (@convention(c) () -> Int64)?
    /// The script that runs.
    public internal(set) var run: UnsafeMutablePointer<ScriptRun>?
    /// Where what its commands change does not go.
    var withheld: ScriptStreams = []
    /// The last command at the gates found memory short.
    var wasOutOfMemory = false
    /// The error that a script replied with is one of its commands', and counted already.
    public var replyIsCounted = false
    /// What scripts have to say to the log.
    public var logLines: [LogLine] = []
    /// DEBUG SET-DISABLE-DENY-SCRIPTS: commands that are not for scripts are.
    public var allowsEverything = false

    public init() {}
}

/// A call whose script's flags are asked for.
public struct ScriptCall {
    public let command: UnsafeMutablePointer<Command>
    public let arguments: UnsafePointer<Bytes>
    public let count: Int
}

extension ExecutorPointer {
    /// True while a script runs for longer than `busy-reply-threshold`.
    public var isBusy: Bool { pointee.alerts.contains(.busy) }

    /// Flags of the call with what the script itself says.
    func scriptFlags(
        _ command: UnsafeMutablePointer<Command>, _ arguments: UnsafePointer<Bytes>, _ count: Int,
        _ flags: CommandFlags
    ) -> CommandFlags {
        guard let hook = pointee.scripts.flags, let engine = pointee.scripts.engine else {
            return flags
        }
        let call = ScriptCall(command: command, arguments: arguments, count: count)
        return withUnsafePointer(to: call) {
            ScriptFlags(rawValue: hook(engine, $0)).replacing(flags)
        }
    }

    // MARK: Beginning and end

    /// Refuses a script that must not run now. Nil: it may.
    public func scriptRefusal(
        _ flags: ScriptFlags, isReadOnlyCommand: Bool, _ caller: UnsafeMutablePointer<Session>
    ) -> String? {
        let alerts = pointee.alerts
        let obeys = caller.pointee.flags.contains(.fromPrimary)
        if flags.contains(.silent) {
            return alerts.contains(.stale) ? "\(ErrorReply.masterDown.text)" : nil
        }
        if flags.contains(.noCluster), pointee.routing != nil {
            return "ERR Can not run script on cluster, 'no-cluster' flag is set."
        }
        if alerts.contains(.stale), !flags.contains(.allowStale) {
            return "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' "
                + "and 'allow-stale' flag is not set on the script."
        }
        if !flags.contains(.noWrites) {
            if let refusal = writingScriptRefusal(isReadOnlyCommand, obeys: obeys) {
                return refusal
            }
        }
        if pointee.scripts.wasOutOfMemory, alerts.contains(.memoryLimited),
            flags.isDisjoint(with: [.allowOOM, .noWrites])
        {
            return "OOM allow-oom flag is not set on the script, can not run it when used memory "
                + "> 'maxmemory'"
        }
        return nil
    }

    private func writingScriptRefusal(_ isReadOnlyCommand: Bool, obeys: Bool) -> String? {
        let alerts = pointee.alerts
        if alerts.contains(.readOnly), !obeys {
            return "READONLY Can not run script with write flag on readonly replica"
        }
        if alerts.contains(.saveFailed), !obeys {
            return "MISCONF Redis is configured to save RDB snapshots, but it's currently unable "
                + "to persist to disk. Writable scripts are blocked. Use 'no-writes' flag for read "
                + "only scripts."
        }
        if alerts.contains(.logFailed), !obeys {
            return "MISCONF Redis is configured to persist data to AOF, but it's currently unable "
                + "to persist to disk. Writable scripts are blocked. Use 'no-writes' flag for read "
                + "only scripts. AOF error: \(pointee.logProblem)"
        }
        if isReadOnlyCommand {
            return "ERR Can not execute a script with write flag using *_ro command."
        }
        if alerts.contains(.tooFewReplicas) { return "\(ErrorReply.noReplicas.text)" }
        return nil
    }

    /// A script begins on behalf of the running call. `run` is made here and ends with
    /// `endScript`.
    public func beginScript(
        _ run: UnsafeMutablePointer<ScriptRun>, _ flags: ScriptFlags, isFunction: Bool,
        isReadOnlyCommand: Bool, session: UnsafeMutablePointer<Session>, _ call: Call
    ) {
        invariant(pointee.scripts.run == nil, "one script at a time")
        let caller = call.session
        let isSilent = flags.contains(.silent)
        let fromPrimary = caller.pointee.flags.contains(.fromPrimary)
        session.pointee.database = caller.pointee.database
        session.pointee.protocolVersion = 2
        session.pointee.user = caller.pointee.user
        session.pointee.flags = [.detached, .authenticated, .denyBlocking, .pendingWrite]
        session.pointee.flags.formUnion(
            caller.pointee.flags.intersection(
                [.fromPrimary, .fromLog, .readOnly, .asking, .noTouch]))
        run.initialize(
            to: ScriptRun(
                caller: caller, session: session, isFunction: isFunction,
                isReadOnly: isReadOnlyCommand || (!isSilent && flags.contains(.noWrites)),
                allowsOOM: !isSilent && flags.contains(.allowOOM),
                allowsCrossSlot: isSilent || flags.contains(.allowCrossSlot),
                slot: declaredSlot(call), startTicks: pointee.timer.ticks(),
                ownsEffects: !pointee.executingTransaction && !fromPrimary,
                savedFrame: pointee.frame.pointee))
        pointee.scripts.run = run
        pointee.scripts.withheld = []
        pointee.scripts.replyIsCounted = false
        if run.pointee.ownsEffects { pointee.executingTransaction = true }
    }

    /// The slot of the keys that the call names.
    private func declaredSlot(_ call: Call) -> Int32 {
        guard pointee.routing != nil,
            let first = keyPositions(call.command, call.arguments, call.count)?.first
        else { return -1 }
        return Int32(pointee.keyspace.slot(of: call[first.index]))
    }

    /// The script is over: what it changed goes out as one piece, and the call that ran it goes on.
    public func endScript() {
        guard let run = pointee.scripts.run else { return }
        pointee.scripts.run = nil
        pointee.scripts.withheld = []
        pointee.frame.pointee = run.pointee.savedFrame
        // Its commands have propagated themselves.
        pointee.frame.pointee.propagation = .nothing
        run.pointee.session.pointee.output.pointee.removeAll()
        run.pointee.session.pointee.output.pointee.shrink(above: 64 << 10)
        if pointee.alerts.contains(.busy) { endBusy() }
        guard run.pointee.ownsEffects else { return }
        if run.pointee.isAbandoned { abandonTransaction() } else { closeTransaction() }
        if pointee.feedsLog {
            run.pointee.caller.pointee.lastLogPosition = pointee.log.pointee.end
        }
    }

    /// `redis.set_repl`.
    public func setScriptStreams(_ streams: ScriptStreams) {
        pointee.scripts.withheld = ScriptStreams.all.subtracting(streams)
    }

    // MARK: A script that takes long

    /// Milliseconds since the script began, by the clock that stands for commands.
    public var scriptMilliseconds: Int {
        guard let run = pointee.scripts.run else { return 0 }
        let spent = pointee.timer.nanoseconds(
            from: run.pointee.startTicks, to: pointee.timer.ticks())
        return Int(clamping: spent / 1_000_000)
    }

    /// From time to time while a script runs: past the threshold, others are answered. True: it is
    /// to end.
    public func scriptMustEnd(named name: String) -> Bool {
        guard let run = pointee.scripts.run else { return false }
        guard let serve = pointee.scripts.serveMeanwhile else { return run.pointee.isKilled }
        if !pointee.alerts.contains(.busy) {
            let elapsed = scriptMilliseconds
            let threshold = pointee.settings.busyReplyThreshold
            guard threshold > 0, elapsed >= threshold else { return false }
            let kill = run.pointee.isFunction ? "FUNCTION KILL" : "SCRIPT KILL"
            pointee.scripts.logLines.append(
                LogLine(
                    .warning,
                    "Slow script detected: still in execution after \(elapsed) milliseconds. You "
                        + "can try killing the script using the \(kill) command. Script name is: "
                        + "\(name)."))
            pointee.alerts.insert(.busy)
        }
        let database = run.pointee.session.pointee.database
        apart { serve(self) }
        run.pointee.session.pointee.database = database
        return run.pointee.isKilled || run.pointee.isAbandoned
    }

    private func endBusy() {
        pointee.alerts.remove(.busy)
        // What was kept back meanwhile.
        pointee.mayResume = true
    }

    /// SHUTDOWN NOSAVE: the script ends here, and nothing of it is written anywhere.
    public func abandonScript() { pointee.scripts.run?.pointee.isAbandoned = true }

    /// SCRIPT KILL or FUNCTION KILL; the error, if it cannot be.
    public func killScript(isFunction: Bool) -> String? {
        guard let run = pointee.scripts.run else {
            return "NOTBUSY No scripts in execution right now."
        }
        if run.pointee.caller.pointee.flags.contains(.fromPrimary) {
            return "UNKILLABLE The busy script was sent by a master instance in the context of "
                + "replication and cannot be killed."
        }
        if run.pointee.hasWritten {
            return "UNKILLABLE Sorry the script already executed write commands against the "
                + "dataset. You can either wait the script termination or kill the server in a "
                + "hard way using the SHUTDOWN NOSAVE command."
        }
        if run.pointee.isFunction != isFunction { return busyText(isFunction: !isFunction) }
        run.pointee.isKilled = true
        return nil
    }

    /// What others are told while a script runs.
    public var busyText: String {
        busyText(isFunction: pointee.scripts.run?.pointee.isFunction ?? false)
    }

    private func busyText(isFunction: Bool) -> String {
        "BUSY Redis is busy running a script. You can only call "
            + (isFunction ? "FUNCTION" : "SCRIPT") + " KILL or SHUTDOWN NOSAVE."
    }
}
