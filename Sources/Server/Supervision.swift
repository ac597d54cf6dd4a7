// How the process stands to what started it: in the background of a shell, under systemd or
// upstart, with a pid file. The background is the only place that forks, before any thread exists.
import Base
import CLinux
import Glibc

enum Supervision {
    enum Mode: Equatable {
        case none
        case systemd
        case upstart
    }

    /// Resolves `supervised`, and says so to whom it concerns. Returns lines for the log.
    static func begin(_ setting: String) -> (mode: Mode, lines: [LogLine]) {
        var lines: [LogLine] = []
        var mode = Mode.none
        switch setting {
        case "systemd": mode = .systemd
        case "upstart": mode = .upstart
        case "auto":
            if getenv("UPSTART_JOB") != nil {
                lines.append(LogLine(.verbose, "Upstart supervision detected."))
                mode = .upstart
            } else if getenv("NOTIFY_SOCKET") != nil {
                lines.append(LogLine(.verbose, "Systemd supervision detected."))
                mode = .systemd
            }
        default: break
        }
        switch mode {
        case .none: break
        case .upstart:
            guard getenv("UPSTART_JOB") != nil else {
                lines.append(
                    LogLine(
                        .warning,
                        "upstart supervision requested, but UPSTART_JOB not found!"
                    )
                )
                return (.none, lines)
            }
            lines.append(
                LogLine(.notice, "supervised by upstart, will stop to signal readiness.")
            )
            raise(SIGSTOP)
            unsetenv("UPSTART_JOB")
        case .systemd:
            lines.append(
                LogLine(
                    .warning,
                    "supervised by systemd. Please make sure you set appropriate values for "
                        + "TimeoutStartSec and TimeoutStopSec in your service unit."
                )
            )
            guard notify("STATUS=Martlet is loading...\n") else {
                lines.append(
                    LogLine(.warning, "systemd supervision error: NOTIFY_SOCKET not found!")
                )
                return (.none, lines)
            }
        }
        return (mode, lines)
    }

    /// Tells systemd; false when there is no one to tell.
    @discardableResult
    static func notify(_ message: String) -> Bool {
        guard let value = getenv("NOTIFY_SOCKET") else { return false }
        var path = Array(String(cString: value).utf8)
        guard let first = path.first, path.count > 1 else { return false }
        // `@` stands for the zero byte of an abstract address.
        if first == UInt8(ascii: "@") { path[0] = 0 }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let descriptor = clinux_datagram_socket()
        guard descriptor >= 0 else { return false }
        defer { Syscalls.close(descriptor) }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let text = Array(message.utf8)
        let sent = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, text, text.count, Int32(MSG_NOSIGNAL), $0, size)
            }
        }
        return sent == text.count
    }

    /// Leaves the terminal: the parent ends, the child goes on in a session of its own, silent.
    static func daemonize() throws(SystemError) {
        let child = fork()
        if child < 0 { throw SystemError("fork") }
        if child > 0 { _exit(0) }
        setsid()
        let null = try Syscalls.open("/dev/null", O_RDWR)
        for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] { dup2(null, stream) }
        if null > STDERR_FILENO { Syscalls.close(null) }
    }

    /// Best effort, as the reference does: a folder that cannot be written stops nobody.
    static func writePidFile(_ path: String) -> LogLine? {
        do {
            let descriptor = try Syscalls.open(path, O_WRONLY | O_CREAT | O_TRUNC)
            defer { Syscalls.close(descriptor) }
            Syscalls.say("\(getpid())\n", to: descriptor)
            return nil
        } catch {
            return LogLine(.verbose, "Can't write the pid file: \(error.text)")
        }
    }
}
