// The log: one line per write in the reference's format, to a file opened for appending or, with
// `logfile ""`, to standard output. `pid:role DD Mon YYYY HH:MM:SS.mmm level text`.
import Base
import CLinux
import Glibc

package struct LogFile: ~Copyable {
    /// Who speaks: the second field of a line.
    package enum Role: String, Sendable {
        case primary = "M"
        case replica = "S"
        case sentinel = "X"
    }

    private(set) var descriptor: Int32 = STDOUT_FILENO
    package var threshold: LogLevel = .notice
    package var role: Role = .primary

    package init() {}

    deinit { if descriptor != STDOUT_FILENO { Syscalls.close(descriptor) } }

    /// Goes on in the file at `path`, or on standard output when it is empty.
    package mutating func open(_ path: String) throws(SystemError) {
        let old = descriptor
        descriptor =
            path.isEmpty
            ? STDOUT_FILENO : try Syscalls.open(path, O_WRONLY | O_APPEND | O_CREAT)
        CrashReport.log(to: descriptor)
        if old != STDOUT_FILENO { Syscalls.close(old) }
    }

    package func write(_ line: LogLine, at time: WallTime) {
        guard line.level >= threshold else { return }
        let text = Self.format(line, pid: getpid(), role: role, at: LocalTime(time))
        // A full disk or a closed pipe must not stop the server: the line is lost.
        Syscalls.say(text, to: descriptor)
    }

    /// Text without the head of a line: the logo.
    func writeRaw(_ text: String) { Syscalls.say(text, to: descriptor) }

    package static func format(
        _ line: LogLine, pid: Int32, role: Role, at time: LocalTime
    ) -> String {
        "\(pid):\(role.rawValue) \(time.text) \(line.level.mark) \(line.text)\n"
    }
}

/// A point in time as the wall clock of this place shows it.
package struct LocalTime: Equatable {
    package var day: Int
    /// 1 to 12.
    package var month: Int
    package var year: Int
    package var hour: Int
    package var minute: Int
    package var second: Int
    package var millisecond: Int

    package init(
        day: Int,
        month: Int,
        year: Int,
        hour: Int,
        minute: Int,
        second: Int,
        millisecond: Int
    ) {
        self.day = day
        self.month = month
        self.year = year
        self.hour = hour
        self.minute = minute
        self.second = second
        self.millisecond = millisecond
    }

    package init(_ time: WallTime) {
        var seconds = time_t(time.seconds)
        var parts = tm()
        localtime_r(&seconds, &parts)
        self.init(
            day: Int(parts.tm_mday),
            month: Int(parts.tm_mon) + 1,
            year: Int(parts.tm_year) + 1900,
            hour: Int(parts.tm_hour),
            minute: Int(parts.tm_min),
            second: Int(parts.tm_sec),
            millisecond: Int(time.milliseconds % 1000)
        )
    }

    /// `DD Mon YYYY HH:MM:SS.mmm`.
    package var text: String {
        let names = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let clock = "\(padded(hour, 2)):\(padded(minute, 2)):\(padded(second, 2))"
        return "\(padded(day, 2)) \(names[month - 1]) \(year) \(clock).\(padded(millisecond, 3))"
    }

    private func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
