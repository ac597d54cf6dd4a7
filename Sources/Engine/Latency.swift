// The latency monitor: for each kind of event that took at least `latency-monitor-threshold`
// milliseconds, the worst of each of the last 160 seconds in which it did, and the worst ever.
// What is recorded here: slow and fast commands, cycles of expiry and eviction and the single
// removals in them.
import Base

/// The samples of one kind of event.
public struct LatencySeries {
    public struct Sample {
        /// Seconds since 1970.
        public var time: Int64
        public var milliseconds: Int64
    }

    private static let limit = 160
    public let event: StaticString
    /// In order of time.
    public private(set) var samples: [Sample] = []
    public private(set) var worst: Int64 = 0

    init(_ event: StaticString) { self.event = event }

    mutating func add(_ milliseconds: Int64, at time: Int64) {
        worst = max(worst, milliseconds)
        if let last = samples.last, last.time == time {
            samples[samples.count - 1].milliseconds = max(last.milliseconds, milliseconds)
            return
        }
        if samples.count == LatencySeries.limit { samples.removeFirst() }
        samples.append(Sample(time: time, milliseconds: milliseconds))
        invariant(samples.count <= LatencySeries.limit, "old samples are dropped")
    }
}

public struct LatencyMonitor {
    public private(set) var series: [LatencySeries] = []

    public init() {}

    public func series(of event: Bytes) -> LatencySeries? { series.first { event == $0.event } }

    mutating func add(_ event: StaticString, _ milliseconds: Int64, at time: Int64) {
        let name = Bytes(event)
        if let index = series.firstIndex(where: { name == $0.event }) {
            series[index].add(milliseconds, at: time)
            return
        }
        var fresh = LatencySeries(event)
        fresh.add(milliseconds, at: time)
        series.append(fresh)
    }

    /// Forgets everything; returns how many kinds of events there were.
    public mutating func reset() -> Int {
        defer { series.removeAll() }
        return series.count
    }

    /// Forgets one kind of event, whatever the case of its name.
    public mutating func reset(_ event: Bytes) -> Int {
        let before = series.count
        series.removeAll { event.matches($0.event) }
        return before - series.count
    }
}

extension ExecutorPointer {
    /// Where the counter stands, for `noteLatency`; nil while nobody wants to know.
    @inline(__always)
    public func latencyStart() -> UInt64? {
        pointee.settings.latencyMonitorThreshold > 0 ? pointee.timer.ticks() : nil
    }

    /// An event ended that began at `start`.
    @inline(__always)
    public func noteLatency(_ event: StaticString, since start: UInt64?) {
        guard let start else { return }
        noteLatency(
            event,
            nanoseconds: pointee.timer.nanoseconds(from: start, to: pointee.timer.ticks()))
    }

    @inline(never)
    func noteLatency(_ event: StaticString, nanoseconds: UInt64) {
        let threshold = Int64(pointee.settings.latencyMonitorThreshold)
        let milliseconds = Int64(clamping: nanoseconds / 1_000_000)
        guard threshold > 0, milliseconds >= threshold else { return }
        pointee.latency.add(event, milliseconds, at: pointee.now.wall.seconds)
    }
}
