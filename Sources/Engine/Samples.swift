// The rates that INFO calls instantaneous: counters are looked at ten times a second, and the mean
// of the last sixteen differences is what is shown.
import Base

public struct Samples {
    /// What is measured, per second.
    public struct Rates: Sendable, Equatable {
        public var commands: Int64 = 0
        public var inputBytes: Int64 = 0
        public var outputBytes: Int64 = 0
        public var replicationInputBytes: Int64 = 0
        public var replicationOutputBytes: Int64 = 0
        public init() {}
    }

    private static let kept = 16
    private static let period = Milliseconds(100)
    private typealias Row = [5 of Int64]

    private var rates: [Row] = []
    private var next = 0
    private var last: Row = .init(repeating: 0)
    private var lastTime: Instant?

    public init() {}

    /// To be called by cron, as often as it likes.
    public mutating func take(_ stats: Stats, at now: Instant) {
        guard let before = lastTime else {
            last = Samples.row(stats)
            lastTime = now
            return
        }
        let elapsed = (now - before).count
        guard elapsed >= Samples.period.count else { return }
        let current = Samples.row(stats)
        var rate = Row(repeating: 0)
        for index in 0..<5 {
            rate[index] = max(0, current[index] - last[index]) * 1000 / elapsed
        }
        if rates.count < Samples.kept { rates.append(rate) } else { rates[next] = rate }
        next = (next + 1) % Samples.kept
        last = current
        lastTime = now
        invariant(rates.count <= Samples.kept, "old samples are replaced")
    }

    /// The means; the time before there were so many samples counts as idle.
    public var means: Rates {
        var sums = Row(repeating: 0)
        for rate in rates { for index in 0..<5 { sums[index] += rate[index] } }
        var out = Rates()
        let count = Int64(Samples.kept)
        out.commands = sums[0] / count
        out.inputBytes = sums[1] / count
        out.outputBytes = sums[2] / count
        out.replicationInputBytes = sums[3] / count
        out.replicationOutputBytes = sums[4] / count
        return out
    }

    private static func row(_ stats: Stats) -> Row {
        [
            stats.commandsProcessed, stats.netInputBytes, stats.netOutputBytes,
            stats.netReplicationInputBytes, stats.netReplicationOutputBytes,
        ]
    }
}
