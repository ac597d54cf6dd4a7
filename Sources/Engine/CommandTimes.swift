// How long each command takes, as a histogram of powers of two: enough for the percentiles of INFO
// latencystats, at the cost of one increment per call.
import Base

/// Counts calls by the highest bit of the cycles that they took.
public struct CommandTimes {
    private var buckets: [40 of UInt32]
    private var longest: UInt64 = 0

    public init() { buckets = .init(repeating: 0) }

    @inline(__always)
    public mutating func add(_ cycles: UInt64) {
        let bit = Int(truncatingIfNeeded: 63 &- (cycles | 1).leadingZeroBitCount)
        let index = bit < 40 ? bit : 39
        buckets[index] &+= 1
        if _slowPath(cycles > longest) { longest = cycles }
    }

    public var isEmpty: Bool {
        for index in 0..<40 where buckets[index] > 0 { return false }
        return true
    }

    /// Cycles that `percent` of the calls did not exceed: the end of the bucket where they end.
    public func percentile(_ percent: Double) -> Double {
        var total = 0.0
        for index in 0..<40 { total += Double(buckets[index]) }
        let wanted = total * percent / 100
        var seen = 0.0
        for index in 0..<40 where buckets[index] > 0 {
            seen += Double(buckets[index])
            if seen >= wanted {
                return Double(Swift.min(longest, UInt64(2) &<< UInt64(index)))
            }
        }
        return 0
    }
}

extension Command {
    /// CONFIG RESETSTAT.
    public mutating func resetStatistics() {
        calls = 0
        cycles = 0
        rejectedCalls = 0
        failedCalls = 0
        times = CommandTimes()
    }
}
