// When, or how often, a key was used: 24 bits per entry, kept as the reference keeps them. LRU: the
// seconds of the wall clock, wrapping. LFU: the minutes of the last decrement (16 bits) and a
// logarithmic counter (8 bits) that grows ever less likely and decays with time.
import Base

struct AccessClock {
    var usesFrequency = false
    /// Seconds of the wall clock, 24 bits of them.
    var seconds: UInt32 = 0
    /// Minutes of the wall clock, 16 bits of them.
    var minutes: UInt32 = 0
    var logFactor: Int64 = 10
    var decayMinutes: UInt32 = 1

    private static let initialCounter: UInt32 = 5
    private static let mask: UInt32 = 0xFF_FFFF

    /// Takes over the time of the loop iteration.
    mutating func advance(milliseconds: Int64) {
        seconds = UInt32(truncatingIfNeeded: milliseconds / 1000) & AccessClock.mask
        minutes = UInt32(truncatingIfNeeded: milliseconds / 60_000) & 0xFFFF
    }

    /// What a new entry starts with.
    @inline(__always)
    var created: UInt32 {
        usesFrequency ? (minutes &<< 8) | AccessClock.initialCounter : seconds
    }

    /// What an entry has after its value was replaced: how often it is used does not change.
    @inline(__always)
    func overwritten(_ old: UInt32) -> UInt32 { usesFrequency ? old : seconds }

    /// What an entry has after a look-up.
    @inline(__always)
    func touched(_ old: UInt32, _ prng: inout Prng) -> UInt32 {
        guard usesFrequency else { return seconds }
        return (minutes &<< 8) | increment(frequency(old), &prng)
    }

    /// The counter as it is now, after the decay since it was last written.
    func frequency(_ clock: UInt32) -> UInt32 {
        let counter = clock & 0xFF
        guard decayMinutes > 0 else { return counter }
        let last = clock &>> 8
        let elapsed = minutes >= last ? minutes - last : 65535 - last + minutes
        let periods = elapsed / decayMinutes
        return periods > counter ? 0 : counter - periods
    }

    private func increment(_ counter: UInt32, _ prng: inout Prng) -> UInt32 {
        guard counter < 255 else { return 255 }
        let above = Int64(counter > AccessClock.initialCounter ? counter - 5 : 0)
        let odds = above * max(logFactor, 0) + 1
        return prng.below(Int(odds)) == 0 ? counter + 1 : counter
    }

    /// Seconds since the entry was used; the clock wraps once.
    func idleSeconds(_ clock: UInt32) -> Int {
        if seconds >= clock { return Int(seconds - clock) }
        return Int(seconds + (AccessClock.mask - clock))
    }
}

extension Keyspace {
    /// Tells the wall clock, once per loop iteration.
    public func advanceClock(milliseconds: Int64) {
        state.pointee.access.advance(milliseconds: milliseconds)
    }

    /// Chooses what the access bits mean: frequency under an LFU policy, else time. As in the
    /// reference, bits written under the other meaning are not translated.
    public func configureAccess(usesFrequency: Bool, logFactor: Int, decayMinutes: Int) {
        invariant(logFactor >= 0 && decayMinutes >= 0, "LFU settings are not negative")
        state.pointee.access.usesFrequency = usesFrequency
        state.pointee.access.logFactor = Int64(logFactor)
        state.pointee.access.decayMinutes = UInt32(clamping: decayMinutes)
    }

    /// Notes a use of the entry by a command.
    @inline(__always)
    public func touch(_ entry: Entry) {
        let old = entry.accessClock
        let new = state.pointee.access.touched(old, &state.pointee.prng)
        if old != new { entry.accessClock = new }
    }

    /// OBJECT IDLETIME, in seconds. Only without an LFU policy.
    public func idleSeconds(_ entry: Entry) -> Int {
        state.pointee.access.idleSeconds(entry.accessClock)
    }

    /// OBJECT FREQ. Only with an LFU policy.
    public func frequency(_ entry: Entry) -> Int {
        Int(state.pointee.access.frequency(entry.accessClock))
    }

    /// RESTORE's IDLETIME.
    public func setIdleSeconds(_ entry: Entry, _ idle: Int) {
        invariant(idle >= 0, "idle times are not negative")
        let seconds = Int64(state.pointee.access.seconds) - Int64(idle)
        let wrapped = seconds < 0 ? seconds + 0xFF_FFFF : seconds
        entry.accessClock = UInt32(clamping: wrapped)
    }

    /// RESTORE's FREQ.
    public func setFrequency(_ entry: Entry, _ frequency: Int) {
        invariant(frequency >= 0 && frequency <= 255, "a frequency has 8 bits")
        entry.accessClock = (state.pointee.access.minutes &<< 8) | UInt32(frequency)
    }
}
