// The operator's scripts as processes: started with nothing of ours but the standard streams and
// the environment, looked after at each tick. A script that hangs is killed by the machine's word.
import Base
import CLinux
import Glibc
import Sentinel

struct ScriptProcesses {
    /// Those that run.
    var running: [Int32] = []
}

extension SentinelDriverPointer {
    func startScript(_ job: UInt64, _ arguments: [String]) {
        guard let process = Self.spawn(arguments) else {
            step(.scriptFailed(job: job))
            return
        }
        pointee.scripts.running.append(process)
        step(.scriptStarted(job: job, process: process))
    }

    /// A process of its own, without the signal mask that the loop has.
    private static func spawn(_ arguments: [String]) -> Int32? {
        var attributes = posix_spawnattr_t()
        guard posix_spawnattr_init(&attributes) == 0 else { return nil }
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var ignored = sigset_t()
        sigemptyset(&ignored)
        sigaddset(&ignored, SIGPIPE)
        sigaddset(&ignored, SIGHUP)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &ignored)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, arguments[0], nil, &attributes, words, environ)
        return code == 0 ? process : nil
    }

    func reapScripts() {
        guard !pointee.scripts.running.isEmpty else { return }
        for process in pointee.scripts.running {
            var status: Int32 = 0
            let ended = waitpid(process, &status, WNOHANG)
            guard ended != 0 else { continue }
            pointee.scripts.running.removeAll { $0 == process }
            // The low seven bits are the signal, the next byte is the status.
            let signal = ended > 0 ? status & 0x7F : 0
            let code = ended > 0 ? (status >> 8) & 0xFF : 0
            step(.scriptEnded(process: process, exitCode: signal == 0 ? code : 0, signal: signal))
        }
    }
}
