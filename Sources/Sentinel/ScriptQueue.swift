// Scripts of the operator: notification scripts for events, client-reconfig scripts for a new
// primary. They run outside, sixteen at a time, one minute at most; one that is killed or ends
// with status 1 is tried again, each time after twice the time. The queue decides; the driver
// starts processes and tells how they ended.
import Base

public struct ScriptJob: Sendable {
    public let number: UInt64
    public let arguments: [String]
    public internal(set) var isRunning = false
    public internal(set) var process: Int32 = 0
    public internal(set) var attempts = 0
    /// Running: since when. Waiting: not before; nil for at once.
    public internal(set) var time: Instant?
}

struct ScriptQueue: Sendable {
    static let lengthLimit = 256
    static let runningLimit = 16
    static let attemptLimit = 10

    var jobs: [ScriptJob] = []
    private var nextNumber: UInt64 = 1

    var running: Int { jobs.reduce(0) { $0 + ($1.isRunning ? 1 : 0) } }

    mutating func add(_ arguments: [String]) {
        jobs.append(ScriptJob(number: nextNumber, arguments: arguments))
        nextNumber += 1
        // The oldest that does not run yet gives way.
        if jobs.count > Self.lengthLimit, let oldest = jobs.firstIndex(where: { !$0.isRunning }) {
            jobs.remove(at: oldest)
        }
        invariant(jobs.count <= Self.lengthLimit, "the queue of scripts has a limit")
    }
}

extension SentinelState {
    public var scriptJobs: [ScriptJob] { scripts.jobs }

    mutating func schedule(_ arguments: [String]) { scripts.add(arguments) }

    /// Runs the script that tells clients about a new primary, if there is one.
    mutating func reconfigureClients(
        _ primary: InstanceID, role: String, from old: SentinelAddress, to new: SentinelAddress
    ) {
        guard let script = self[primary: primary].clientReconfigScript else { return }
        schedule([
            script, self[primary].name, role, "start", announced(old), String(old.port),
            announced(new), String(new.port),
        ])
    }

    mutating func runScripts() {
        var running = scripts.running
        for index in scripts.jobs.indices {
            let job = scripts.jobs[index]
            if job.isRunning {
                if let since = job.time, instant - since > times.scriptMaxRuntime {
                    plainEvent(.warning, "-script-timeout", "\(job.arguments[0]) \(job.process)")
                    output.killScripts.append(job.process)
                    // Said once; the end of the process is reported by the driver.
                    scripts.jobs[index].time = instant
                }
                continue
            }
            guard running < ScriptQueue.runningLimit, job.time.map({ $0 <= instant }) ?? true
            else { continue }
            scripts.jobs[index].isRunning = true
            scripts.jobs[index].time = instant
            scripts.jobs[index].attempts += 1
            output.startScripts.append((job.number, job.arguments))
            running += 1
        }
    }

    mutating func scriptStarted(_ number: UInt64, _ process: Int32) {
        guard let index = scripts.jobs.firstIndex(where: { $0.number == number }) else { return }
        scripts.jobs[index].process = process
        plainEvent(.debug, "+script-child", "\(process)")
    }

    mutating func scriptFailed(_ number: UInt64) {
        guard let index = scripts.jobs.firstIndex(where: { $0.number == number }) else { return }
        plainEvent(.warning, "-script-error", "\(scripts.jobs[index].arguments[0]) 99 0")
        retryOrRemove(index, mayRetry: true)
    }

    mutating func scriptEnded(_ process: Int32, _ code: Int32, _ signal: Int32) {
        plainEvent(.debug, "-script-child", "\(process) \(code) \(signal)")
        guard let index = scripts.jobs.firstIndex(where: { $0.isRunning && $0.process == process })
        else { return }
        let mayRetry = signal != 0 || code == 1
        if !mayRetry || scripts.jobs[index].attempts >= ScriptQueue.attemptLimit {
            if signal != 0 || code != 0 {
                let path = scripts.jobs[index].arguments[0]
                plainEvent(.warning, "-script-error", "\(path) \(signal) \(code)")
            }
        }
        retryOrRemove(index, mayRetry: mayRetry)
    }

    private mutating func retryOrRemove(_ index: Int, mayRetry: Bool) {
        let attempts = scripts.jobs[index].attempts
        guard mayRetry, attempts < ScriptQueue.attemptLimit else {
            scripts.jobs.remove(at: index)
            return
        }
        scripts.jobs[index].isRunning = false
        scripts.jobs[index].process = 0
        let delay = times.scriptRetryDelay * (1 &<< Int64(attempts - 1))
        scripts.jobs[index].time = instant + delay
    }
}
