// The two clocks of a simulated host. The monotonic one runs a little fast or slow and never goes
// back; the wall clock follows it and jumps when a fault says so.
import Base

struct SimClock {
    /// Microseconds that this clock gains in a second.
    private let drift: Int64
    /// What the monotonic clock showed when the run began.
    private let origin: Int64
    /// Wall clock at the start, jumps included.
    private(set) var wallOffset: Int64

    init(drift: Int64, prng: inout Prng) {
        invariant(abs(drift) < 100_000, "a clock that is off by a tenth is broken")
        self.drift = drift
        origin = 1_000_000 + Int64(prng.below(1_000_000_000))
        wallOffset = 1_700_000_000_000 + Int64(prng.below(60_000))
    }

    func now(_ time: Microseconds) -> Now {
        let local = time + time / 1_000_000 * drift + (time % 1_000_000) * drift / 1_000_000
        return Now(
            instant: Instant(microseconds: origin + local),
            wall: WallTime(milliseconds: wallOffset + local / 1000))
    }

    mutating func jumpWall(by milliseconds: Int64) { wallOffset += milliseconds }
}
