// Tilt: the process stood still, so everything looks timed out. For a while the sentinel goes on
// watching but decides nothing and tells nobody that a primary is down. The reference also tilts
// when the wall clock jumps; the times here are monotonic, so such a jump means nothing.
import Base

struct Tilt: Sendable {
    var isOn = false
    var since = Instant.start
    var lastTick = Instant.start
}

extension SentinelState {
    public var isTilted: Bool { tilt.isOn }

    /// How long it has been tilted.
    public var tiltTime: Milliseconds? { tilt.isOn ? instant - tilt.since : nil }

    mutating func noteTilt() {
        let gap = instant - tilt.lastTick
        tilt.lastTick = instant
        guard gap > times.tiltTrigger else { return }
        tilt.isOn = true
        tilt.since = instant
        plainEvent(.warning, "+tilt", "#tilt mode entered")
    }

    mutating func endTiltIfDue() {
        guard tilt.isOn, instant - tilt.since >= times.tiltPeriod else { return }
        tilt.isOn = false
        plainEvent(.warning, "-tilt", "#tilt mode exited")
    }
}
