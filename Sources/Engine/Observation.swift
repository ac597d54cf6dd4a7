// Those who watch commands go by: MONITOR's sessions, the slow log, the latency monitor. All of
// them hang on one comparison at the end of a command, of its time with `timer.observedFrom`:
// that is the lowest threshold in force, and 0 while somebody monitors.
import Base
import RESP

extension ExecutorPointer {
    /// Puts the thresholds of the settings in force. To be called when they change, and when the
    /// first monitor comes or the last one goes.
    public func applyObservationSettings() {
        let settings = pointee.settings
        var lowest = UInt64.max
        if settings.slowLogThreshold >= 0 {
            lowest = UInt64(settings.slowLogThreshold).saturatingProduct(1000)
        }
        if settings.latencyMonitorThreshold > 0 {
            let threshold = UInt64(settings.latencyMonitorThreshold)
            lowest = min(lowest, threshold.saturatingProduct(1_000_000))
        }
        pointee.timer.observedFrom = pointee.monitors.isEmpty ? lowest : 0
        let request = settings.largeRequestFrom
        pointee.timer.weighedFrom = request >= 0 ? request : .max
        let reply = settings.largeReplyFrom
        pointee.timer.largeReplyFrom = reply >= 0 ? reply : .max
        applySlotStats()
        if pointee.slotStats != nil { pointee.timer.weighedFrom = 0 }
    }

    /// A command ended that somebody may want to know of.
    @inline(never)
    func observe(_ frame: UnsafeMutablePointer<CallFrame>, nanoseconds: UInt64) {
        guard let session = frame.pointee.session, let command = frame.pointee.command else {
            unreachable("a call has a session and a command")
        }
        let flags = command.pointee.flags
        // A command that waits is timed when it is served.
        if session.pointee.flags.isDisjoint(with: .blocked) {
            if !flags.contains(.skipSlowlog) {
                noteSlow(frame, session, microseconds: Int64(clamping: nanoseconds / 1000))
            }
            noteLatency(
                flags.contains(.fast) ? "fast-command" : "command", nanoseconds: nanoseconds)
        }
        // What was shown when it began to wait is not shown again.
        if !pointee.monitors.isEmpty, pointee.resumedDeadline == nil,
            flags.isDisjoint(with: [.skipMonitor, .admin]), !pointee.alerts.contains(.loading)
        {
            feedMonitors(frame, session)
        }
    }

    private func noteSlow(
        _ frame: UnsafeMutablePointer<CallFrame>, _ session: UnsafeMutablePointer<Session>,
        microseconds: Int64
    ) {
        let settings = pointee.settings
        guard settings.slowLogThreshold >= 0, microseconds >= Int64(settings.slowLogThreshold)
        else { return }
        note(.slow, frame, session, microseconds, settings.slowLogLength)
    }

    // MARK: Monitors

    /// Begins to show `session` every command; false when it is shown them already.
    public func beginMonitor(_ session: UnsafeMutablePointer<Session>) -> Bool {
        guard !session.pointee.flags.contains(.monitor) else { return false }
        session.pointee.flags.insert(.monitor)
        pointee.monitors.append(session)
        applyObservationSettings()
        return true
    }

    public func endMonitor(_ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.flags.contains(.monitor) else { return }
        session.pointee.flags.remove(.monitor)
        pointee.monitors.remove(session)
        applyObservationSettings()
    }

    /// Shows a call to those who monitor before it runs: what it does is shown after it.
    public func showFirst(_ call: Call) {
        guard !pointee.monitors.isEmpty, !pointee.alerts.contains(.loading) else { return }
        feedMonitors(call.frame, call.session)
    }

    private func feedMonitors(
        _ frame: UnsafeMutablePointer<CallFrame>, _ session: UnsafeMutablePointer<Session>
    ) {
        let line = pointee.messages
        line.pointee.removeAll()
        let wall = pointee.now.wall.milliseconds
        let microseconds = (wall % 1000) * 1000 + pointee.now.instant.microseconds % 1000
        let isLocal = session.pointee.flags.contains(.unixSocket)
        let peer = session.pointee.peerAddress
        let digits = String(microseconds + 1_000_000).dropFirst()
        line.pointee.append("+\(wall / 1000).\(digits) [\(session.pointee.database) ")
        line.pointee.append((isLocal ? "unix:\(pointee.settings.unixSocket)" : peer) + "]")
        for index in 0..<frame.pointee.argumentCount {
            line.pointee.append(UInt8(ascii: " "))
            line.pointee.appendQuoted(frame.pointee.shown(index))
        }
        line.pointee.append("\r\n")
        for index in 0..<pointee.monitors.count {
            push(pointee.monitors[index], line.pointee.bytes)
        }
    }
}

extension CallFrame {
    /// An argument as observers may see it.
    func shown(_ index: Int) -> Bytes {
        if (redacted &>> UInt64(min(index, 63))) & 1 != 0 { return Bytes("(redacted)") }
        guard let arguments, index < argumentCount else { return .empty }
        return arguments[index]
    }
}

extension Call {
    /// Hides an argument from monitors and the slow log: a password.
    public func redact(_ index: Int) {
        // What does not fit into the mask is hidden with all that follows.
        frame.pointee.redacted |= UInt64(1) &<< UInt64(min(max(0, index), 63))
    }
}

extension Buffer {
    /// `bytes` between quotes, with escapes: as a line of text.
    mutating func appendQuoted(_ bytes: Bytes) {
        append(UInt8(ascii: "\""))
        for index in 0..<bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\""): append("\\\"")
            case 10: append("\\n")
            case 13: append("\\r")
            case 9: append("\\t")
            case 7: append("\\a")
            case 8: append("\\b")
            case let byte where byte >= 32 && byte < 127: append(byte)
            case let byte:
                append("\\x")
                for digit in [byte &>> 4, byte & 15] {
                    append(digit < 10 ? 48 &+ digit : 87 &+ digit)
                }
            }
        }
        append(UInt8(ascii: "\""))
    }
}

extension UInt64 {
    fileprivate func saturatingProduct(_ factor: UInt64) -> UInt64 {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? .max : product
    }
}
