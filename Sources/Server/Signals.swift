// Signals as input: SIGTERM and SIGINT are read from a descriptor like any other event, the ones
// that a server must survive are ignored, and the ones that a bug causes are reported first.
import CLinux
import Glibc

enum Signals {
    /// Blocks the termination signals and returns the descriptor that delivers them. Call before
    /// any thread exists, so that all threads inherit the mask.
    static func install() throws(SystemError) -> Int32 {
        // A peer that closed is an error of the write; the end of the terminal is no reason to end.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGHUP, SIG_IGN)
        // A file that would grow beyond the process's limit is an error of the write as well.
        signal(SIGXFSZ, SIG_IGN)
        CrashReport.install()
        let descriptor = clinux_signal_descriptor()
        guard descriptor >= 0 else { throw SystemError("signalfd") }
        return descriptor
    }
}
