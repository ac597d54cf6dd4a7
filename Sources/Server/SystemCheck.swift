// What about the machine makes a server slow or unsafe: the same warnings at start-up that
// operators of the reference know, and the report of `--check-system`.
import Base
import CLinux
import Glibc

enum SystemCheck {
    /// The listen backlog that the kernel will not give.
    static func backlogWarnings(_ backlog: Int) -> [String] {
        let path = "/proc/sys/net/core/somaxconn"
        guard let limit = number(path), limit > 0, limit < backlog else { return [] }
        return [
            "WARNING: The TCP backlog setting of \(backlog) cannot be enforced because \(path) is "
                + "set to the lower value of \(limit)."
        ]
    }

    /// Snapshots do not fork here, so only the strictest overcommit mode is worth a word.
    static func memoryWarnings() -> [String] {
        guard number("/proc/sys/vm/overcommit_memory") == 2 else { return [] }
        return [
            "overcommit_memory is set to 2: allocations fail as soon as the commit limit is "
                + "reached, even while memory is free. Set it to 0 or 1 in /etc/sysctl.conf."
        ]
    }

    /// `--check-system`: prints what it finds; 0 when all is well.
    static func run() -> Int32 {
        var findings = memoryWarnings()
        let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        if let clock = text(source), clock == "xen" || clock == "hpet" {
            findings.append("the clock source is '\(clock)', which makes reading the time slow")
        }
        for finding in findings { Syscalls.say("WARNING: \(finding)\n", to: STDOUT_FILENO) }
        if findings.isEmpty { Syscalls.say("[ok] nothing found\n", to: STDOUT_FILENO) }
        return findings.isEmpty ? 0 : 1
    }

    private static func text(_ path: String) -> String? {
        do throws(SystemError) {
            guard let bytes = try Syscalls.contents(ofFile: path) else { return nil }
            return String(decoding: bytes.filter { $0 > 32 }, as: UTF8.self)
        } catch {
            return nil
        }
    }

    private static func number(_ path: String) -> Int? { text(path).flatMap { Int($0) } }
}
