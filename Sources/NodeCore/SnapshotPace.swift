// How much of a snapshot one loop iteration may do. The walk competes with clients for one thread:
// too large a slice and everybody waits for it, too small a one and the copy takes so long that the
// stream of changes behind it fills the memory. So a slice gets as long as all other work of an
// iteration takes, and at least a tenth of a millisecond: latencies at most double under load, and
// the walk has half of the time or more. Where the changes go along with the copy
// (EmbeddedStream.swift) nothing fills, and a quarter of that is enough.
//
// No clock is read for it. The node knows when its iterations begin; one of them in eight does
// without a slice and so shows what the other work takes. Both measurements move by a fixed share
// towards the side that a sample falls on, which finds the median: an iteration that the kernel
// interrupted for milliseconds counts no more than any other.
import Base

public struct SnapshotPace {
    /// A slice may always take this long, in microseconds; a quarter of it when there is no hurry.
    public static let shortestSlice: Int64 = 100
    public static let budgets = (4 << 10)...(4 << 20)
    /// Every so many iterations one does without a slice.
    public static let bareEvery = 8

    private enum Iteration {
        /// Not measured: the first, or one that may have slept.
        case unknown
        case bare
        case walked
    }

    /// Work for one slice, in bytes visited.
    public private(set) var budget = 32 << 10
    /// Microseconds that an iteration takes without a slice.
    public private(set) var bareMicroseconds: Int64 = 0
    private var last = Iteration.unknown
    private var lastBegan = Instant.start
    private var count = 0

    private let hasTime: Bool

    /// `hasTime`: nothing grows while the copy is under way.
    public init(hasTime: Bool = false) { self.hasTime = hasTime }

    /// The work that the iteration which began at `now` may do; nil for one without.
    public mutating func next(at now: Instant) -> Int? {
        let elapsed = now.microseconds - lastBegan.microseconds
        invariant(elapsed >= 0, "time must not go back")
        switch last {
        case .unknown: break
        case .bare:
            let step = max(1, bareMicroseconds / 8)
            bareMicroseconds += elapsed > bareMicroseconds ? step : -min(step, bareMicroseconds)
        case .walked:
            let slice = max(Self.shortestSlice, bareMicroseconds)
            let allowed = bareMicroseconds + (hasTime ? slice / 4 : slice)
            budget += elapsed > allowed ? -budget / 8 : budget / 8
            budget = min(max(budget, Self.budgets.lowerBound), Self.budgets.upperBound)
        }
        lastBegan = now
        count += 1
        last = count % Self.bareEvery == 0 ? .bare : .walked
        return last == .bare ? nil : budget
    }

    /// The iteration does no slice for another reason and may sleep: its length says nothing.
    public mutating func skip() { last = .unknown }
}
