// How long each command takes, as a histogram of powers of two: enough for the percentiles of INFO
// latencystats and for LATENCY HISTOGRAM, at the cost of one increment per call.
import Base

/// Counts calls by the highest bit of the nanoseconds that they took.
public struct CommandTimes {
    private static let size = 40
    private var buckets: [40 of UInt32]
    private var longest: UInt64 = 0

    public init() { buckets = .init(repeating: 0) }

    @inline(__always)
    public mutating func add(_ nanoseconds: UInt64) {
        let bit = Int(truncatingIfNeeded: 63 &- (nanoseconds | 1).leadingZeroBitCount)
        let index = bit < 40 ? bit : 39
        buckets[index] &+= 1
        if _slowPath(nanoseconds > longest) { longest = nanoseconds }
    }

    public var isEmpty: Bool { count == 0 }

    /// Calls in all.
    public var count: Int64 {
        var total: Int64 = 0
        for index in 0..<CommandTimes.size { total += Int64(buckets[index]) }
        return total
    }

    /// Nanoseconds that `percent` of the calls did not exceed: the end of the bucket where they
    /// end.
    public func percentile(_ percent: Double) -> Double {
        let wanted = Double(count) * percent / 100
        var seen = 0.0
        for index in 0..<CommandTimes.size where buckets[index] > 0 {
            seen += Double(buckets[index])
            if seen >= wanted {
                return Double(Swift.min(longest, UInt64(2) &<< UInt64(index)))
            }
        }
        return 0
    }

    /// How many calls took at most so many microseconds, at each step of a power of two where
    /// that number grows. The steps are named as the reference's histograms name theirs.
    public var cumulative: [(microseconds: Int64, count: Int64)] {
        var out: [(microseconds: Int64, count: Int64)] = []
        var total: Int64 = 0
        for index in 0..<CommandTimes.size {
            total += Int64(buckets[index])
            // What took less than a microsecond belongs to the first step.
            guard index >= 9, total > (out.last?.count ?? 0) else { continue }
            let end = Int64(2) &<< Int64(index)
            out.append((microseconds: (end + end / 128 - 1) / 1000, count: total))
        }
        return out
    }
}

extension Command {
    /// CONFIG RESETSTAT.
    public mutating func resetStatistics() {
        calls = 0
        nanoseconds = 0
        rejectedCalls = 0
        failedCalls = 0
        times = CommandTimes()
    }
}
