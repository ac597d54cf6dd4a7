// The format of a log line, which scripts and test suites parse.
import Base
import Server
import Testing

@Suite struct LogFileTests {
    private let time = LocalTime(
        day: 3, month: 9, year: 2024, hour: 7, minute: 5, second: 0, millisecond: 42)

    @Test(
        arguments: [
            (LogLevel.debug, "."), (.verbose, "-"), (.notice, "*"), (.warning, "#"),
        ])
    func aLine(_ level: LogLevel, _ mark: String) {
        let line = LogFile.format(
            LogLine(level, "Ready"), pid: 17, role: .primary, at: time)
        #expect(line == "17:M 03 Sep 2024 07:05:00.042 \(mark) Ready\n")
    }

    @Test func aReplicaSaysSo() {
        let line = LogFile.format(LogLine(.notice, "x"), pid: 1, role: .replica, at: time)
        #expect(line.hasPrefix("1:S "))
    }

    @Test func linesAreAppendedAndFiltered() throws {
        let folder = Folder()
        folder.write("log", "before\n")
        var log = LogFile()
        try log.open(folder / "log")
        log.threshold = .notice
        log.write(LogLine(.verbose, "quiet"), at: WallTime(milliseconds: 0))
        log.write(LogLine(.warning, "loud"), at: WallTime(milliseconds: 1_700_000_000_123))
        let text = folder.read("log") ?? ""
        #expect(text.hasPrefix("before\n"))
        #expect(text.hasSuffix(".123 # loud\n"))
        #expect(!text.contains("quiet"))
    }

    @Test func aFolderThatIsMissingIsAnError() {
        var log = LogFile()
        var failure: SystemError?
        do {
            try log.open("/nonexistent/folder/log")
        } catch {
            failure = error
        }
        #expect(failure?.path == "/nonexistent/folder/log")
    }
}
