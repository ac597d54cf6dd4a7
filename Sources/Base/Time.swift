// Time as values. Nothing below `Server` reads a clock: every machine is told the time.

/// A span of time in milliseconds.
public struct Milliseconds: Comparable, Hashable, Sendable {
    public var count: Int64

    @inline(__always)
    public init(_ count: Int64) { self.count = count }

    public static let zero = Milliseconds(0)

    @inline(__always)
    public static func < (a: Milliseconds, b: Milliseconds) -> Bool { a.count < b.count }
    @inline(__always)
    public static func + (a: Milliseconds, b: Milliseconds) -> Milliseconds {
        Milliseconds(a.count &+ b.count)
    }
    @inline(__always)
    public static func - (a: Milliseconds, b: Milliseconds) -> Milliseconds {
        Milliseconds(a.count &- b.count)
    }
    @inline(__always)
    public static func * (a: Milliseconds, times: Int64) -> Milliseconds {
        Milliseconds(a.count &* times)
    }
    @inline(__always)
    public static func / (a: Milliseconds, by: Int64) -> Milliseconds {
        Milliseconds(a.count / by)
    }
}

/// A point on a monotonic clock, in microseconds since an arbitrary start. Never goes back.
public struct Instant: Comparable, Hashable, Sendable {
    public var microseconds: Int64

    @inline(__always)
    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// The start of the clock: before everything that happens.
    public static let start = Instant(microseconds: 0)

    public var milliseconds: Int64 { microseconds / 1000 }

    @inline(__always)
    public static func < (a: Instant, b: Instant) -> Bool { a.microseconds < b.microseconds }
    @inline(__always)
    public static func + (a: Instant, b: Milliseconds) -> Instant {
        Instant(microseconds: a.microseconds &+ (b.count &* 1000))
    }
    /// The whole milliseconds from `b` to `a`.
    @inline(__always)
    public static func - (a: Instant, b: Instant) -> Milliseconds {
        Milliseconds((a.microseconds &- b.microseconds) / 1000)
    }
}

/// A point on the wall clock, in milliseconds since 1970. May jump both ways.
public struct WallTime: Comparable, Hashable, Sendable {
    public var milliseconds: Int64

    @inline(__always)
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public var seconds: Int64 { milliseconds / 1000 }

    @inline(__always)
    public static func < (a: WallTime, b: WallTime) -> Bool { a.milliseconds < b.milliseconds }
    @inline(__always)
    public static func + (a: WallTime, b: Milliseconds) -> WallTime {
        WallTime(milliseconds: a.milliseconds &+ b.count)
    }
}

/// Both clocks, read once per loop iteration and handed to the node as one value.
public struct Now: Sendable {
    public var instant: Instant
    public var wall: WallTime

    @inline(__always)
    public init(instant: Instant, wall: WallTime) {
        self.instant = instant
        self.wall = wall
    }
}
