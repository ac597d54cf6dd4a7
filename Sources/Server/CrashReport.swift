// What a crash leaves in the log: the reference's frame ("BUG REPORT START"), the signal, the
// address and the stack. Runs in a signal handler: no allocation, no lock, no runtime call, only
// bytes in static memory and on the stack.
import Base
import CLinux
import Engine
import Glibc
import Synchronization

enum CrashReport {
    /// Where the report goes; the handler can reach nothing but this.
    private static let descriptor = Atomic<Int32>(STDOUT_FILENO)
    /// Seconds east of Greenwich when the handler was installed: no time zone rules in a handler.
    private static let zone = Atomic<Int>(0)

    static func log(to other: Int32) { descriptor.store(other, ordering: .relaxed) }

    static func install() {
        var seconds = time_t(Clock.wall().seconds)
        var parts = tm()
        localtime_r(&seconds, &parts)
        zone.store(parts.tm_gmtoff, ordering: .relaxed)
        clinux_prepare_backtrace()
        // A stack that overflowed cannot run its own report.
        let size = 64 << 10
        clinux_use_crash_stack(
            UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16),
            size
        )
        for number in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT] {
            clinux_on_crash(number) { number, info, _ in CrashReport.write(number, info) }
        }
    }

    /// Writes the report, then dies of the same signal: the handler was for one time.
    private static func write(_ number: Int32, _ info: UnsafeMutablePointer<siginfo_t>?) {
        let out = descriptor.load(ordering: .relaxed)
        var line = StaticLine(out)
        line.add("\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n")
        line.addHead(zone: zone.load(ordering: .relaxed))
        line.add("Martlet ")
        line.add(Product.redisVersion)
        line.add(" crashed by signal: ")
        line.add(Int64(number))
        if let info {
            line.add(", si_code: ")
            line.add(Int64(info.pointee.si_code))
            if number == SIGSEGV || number == SIGBUS {
                line.add("\n")
                line.addHead(zone: zone.load(ordering: .relaxed))
                line.add("Accessing address: 0x")
                line.addHexadecimal(UInt64(clinux_fault_address(info)))
            }
            let sender = clinux_sender(info)
            if sender >= 0 {
                line.add("\n")
                line.addHead(zone: zone.load(ordering: .relaxed))
                line.add("Killed by PID: ")
                line.add(Int64(sender))
            }
        }
        line.add("\n\n------ STACK TRACE ------\n")
        line.flush()
        clinux_write_backtrace(out)
        line.add("\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n")
        line.flush()
        raise(number)
    }
}

/// Text assembled on the stack, for signal handlers.
private struct StaticLine {
    private let descriptor: Int32
    private var bytes: [512 of UInt8] = .init(repeating: 0)
    private var count = 0

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    mutating func add(_ byte: UInt8) {
        if count == 512 { flush() }
        bytes[count] = byte
        count += 1
    }

    mutating func add(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { add(text.utf8Start[index]) }
    }

    mutating func add(_ value: Int64, width: Int = 1) {
        var digits: [20 of UInt8] = .init(repeating: 48)
        var rest = value.magnitude
        var length = 0
        while rest > 0 {
            digits[length] = UInt8(48 + rest % 10)
            rest /= 10
            length += 1
        }
        if value < 0 { add(45) }
        for index in (0..<max(length, width)).reversed() { add(digits[index]) }
    }

    mutating func addHexadecimal(_ value: UInt64) {
        var shift = 60
        while shift >= 0 {
            let digit = UInt8((value &>> UInt64(shift)) & 15)
            add(digit < 10 ? 48 + digit : 87 + digit)
            shift -= 4
        }
    }

    /// The head of a log line: process, date, `#`.
    mutating func addHead(zone: Int) {
        let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
        let now = Clock.wall()
        let local = now.seconds + Int64(zone)
        let (year, month, day) = civil(days: local / 86400)
        add(Int64(getpid()))
        add(":M ")
        add(day, width: 2)
        add(32)
        for index in 0..<3 { add(months.utf8Start[Int(month - 1) * 3 + index]) }
        add(32)
        add(year)
        add(32)
        add(local % 86400 / 3600, width: 2)
        add(58)
        add(local % 3600 / 60, width: 2)
        add(58)
        add(local % 60, width: 2)
        add(46)
        add(now.milliseconds % 1000, width: 3)
        add(" # ")
    }

    mutating func flush() {
        withUnsafeBytes(of: &bytes) { raw in
            guard let base = raw.baseAddress, count > 0 else { return }
            _ = Glibc.write(descriptor, base, count)
        }
        count = 0
    }
}

/// The Gregorian date of a day since 1970 (Howard Hinnant's `civil_from_days`, for days >= 0).
private func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra =
        (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}
