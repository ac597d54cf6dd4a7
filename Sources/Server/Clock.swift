// The only reader of the clocks. The loop reads both once per iteration and hands them to the node
// as one value; everything else is told the time.
import Base
import CLinux
import Glibc

package enum Clock {
    /// Both clocks, now. The monotonic one counts from the start of the machine.
    @inline(__always)
    package static func now() -> Now {
        Now(instant: Instant(microseconds: microseconds(CLOCK_MONOTONIC)), wall: wall())
    }

    @inline(__always)
    static func monotonic() -> Instant { Instant(microseconds: microseconds(CLOCK_MONOTONIC)) }

    /// Microseconds since 1970.
    static func wallMicroseconds() -> Int64 { microseconds(CLOCK_REALTIME) }

    @inline(__always)
    static func wall() -> WallTime {
        WallTime(milliseconds: microseconds(CLOCK_REALTIME) / 1000)
    }

    @inline(__always)
    private static func microseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) &* 1_000_000 &+ Int64(time.tv_nsec) / 1000
    }
}
