// Becoming a fresh process in the same place: DEBUG RESTART. The folder may have changed since the
// start, so program and configuration file are remembered by their absolute paths.
import Base
import CLinux
import Glibc

struct RestartPlan {
    private let program: String
    private let arguments: [String]

    init(arguments: [String], configFile: String?) {
        var words = arguments
        if let configFile, words.count > 1 { words[1] = Self.absolute(configFile) }
        self.arguments = words
        // The link names the running binary however it was found.
        var target = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &target, target.count - 1)
        program =
            length > 0
            ? String(
                decoding: target[..<length].map(UInt8.init(bitPattern:)),
                as: UTF8.self
            )
            : Self.absolute(words.first ?? "")
    }

    /// The path as seen from the root.
    static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let folder = getcwd(nil, 0) else { return path }
        defer { free(folder) }
        return "\(String(cString: folder))/\(path)"
    }

    /// Replaces the process; returns the exit status when that fails.
    func run() -> Int32 {
        clinux_unblock_signals()
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        words.append(nil)
        execv(program, words)
        Syscalls.say("Can't restart \(program): \(errorText(errno))\n", to: STDERR_FILENO)
        return 1
    }
}
