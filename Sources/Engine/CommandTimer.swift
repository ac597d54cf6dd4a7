// How long commands take, at the cost of one reading of a counter each: the end of one command is
// the beginning of the next in its batch. The engine reads no clock itself; the counter is a
// function that the shell hands in, in a unit that is measured against the clock as time goes by.
// Without one (tests, the simulator) nothing takes any time.
import Base

public struct CommandTimer {
    /// The shell's counter: cheap, monotonic, of any unit.
    public var ticks: @convention(c) () -> UInt64 = { 0 }
    /// Where the counter stood when the last command ended or the batch began.
    var last: UInt64 = 0
    /// The commands that are timed together now.
    var run = TimedRun()
    /// Nanoseconds per tick, in units of 2^-20. A guess until it is measured.
    private var scale: UInt64 = 1 &<< 19
    /// Commands of at least so many nanoseconds are told to whoever observes; see `Observation`.
    var observedFrom: UInt64 = .max
    /// Batches of at least so many bytes are weighed command by command; see `BatchObservation`.
    var weighedFrom = Int.max
    /// Replies of at least so many bytes are logged.
    var largeReplyFrom = Int.max

    private static let fraction: UInt64 = 20

    public init() {}

    /// The next command starts now.
    @inline(__always)
    mutating func start() { last = ticks() }

    @inline(__always)
    public func nanoseconds(from start: UInt64, to end: UInt64) -> UInt64 {
        ((end &- start) &* scale) &>> CommandTimer.fraction
    }

    /// So many ticks were so many microseconds.
    public mutating func calibrate(ticks: UInt64, microseconds: Int64) {
        guard ticks > 0, microseconds > 0 else { return }
        let ratio = Double(microseconds) * 1000 / Double(ticks)
        scale = UInt64(min(max(ratio, 1e-3), 1e6) * Double(1 &<< CommandTimer.fraction))
        invariant(scale > 0, "time stands still")
    }
}
