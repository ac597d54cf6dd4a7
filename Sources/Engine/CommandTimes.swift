// How long each command takes, as a histogram with the reference's exactness: two significant
// digits, up to a second. Times between two powers of two fall into 128 buckets of equal width.
// The counts of such an octave are allocated when the first time falls into it; a command's times
// span a few octaves, so a histogram takes 2 or 3 KB where a flat one takes 24. A call costs one
// increment at most (see TimedRun.swift).
import Base

/// Counts calls by the nanoseconds that they took. Owns memory that `free` gives back.
public struct CommandTimes {
    private typealias Octave = UnsafeMutablePointer<UInt32>

    private static let bucketsPerOctave = 128
    /// Octave 0 holds what is below 128 ns, octave n what is from 2^(n+6) on.
    private static let octaveCount = 24
    /// Longer times count as this, as in the reference.
    private static let longest: UInt64 = 1_000_000_000

    private var octaves: [24 of Octave?]

    public init() { octaves = .init(repeating: nil) }

    @inline(__always)
    public mutating func add(_ nanoseconds: UInt64, calls: UInt32 = 1) {
        let time = nanoseconds < CommandTimes.longest ? nanoseconds : CommandTimes.longest
        let bit = Int(truncatingIfNeeded: 63 &- (time | 64).leadingZeroBitCount)
        let octave = bit &- 6
        // The lowest octave has the width of the next: both count single nanoseconds.
        let shift = octave &- (octave > 0 ? 1 : 0)
        let bucket = Int(truncatingIfNeeded: (time &>> UInt64(truncatingIfNeeded: shift)) & 127)
        guard let counts = octaves[octave] else { return addFirst(octave, bucket, calls) }
        counts[bucket] &+= calls
    }

    @inline(never)
    private mutating func addFirst(_ octave: Int, _ bucket: Int, _ calls: UInt32) {
        let counts = Octave.allocate(capacity: CommandTimes.bucketsPerOctave)
        counts.initialize(repeating: 0, count: CommandTimes.bucketsPerOctave)
        counts[bucket] = calls
        octaves[octave] = counts
    }

    /// Forgets all times.
    public mutating func free() {
        for index in 0..<CommandTimes.octaveCount {
            octaves[index]?.deallocate()
            octaves[index] = nil
        }
    }

    public var isEmpty: Bool {
        for index in 0..<CommandTimes.octaveCount where octaves[index] != nil { return false }
        return true
    }

    /// Calls in all.
    public var count: Int64 {
        var total: Int64 = 0
        forEachBucket { _, _, count in
            total += count
            return true
        }
        return total
    }

    /// Visits the buckets that count something, with the lowest and the highest time of each, until
    /// `visit` returns false.
    private func forEachBucket(_ visit: (UInt64, UInt64, Int64) -> Bool) {
        for octave in 0..<CommandTimes.octaveCount {
            guard let counts = octaves[octave] else { continue }
            let width = UInt64(1) &<< UInt64(octave > 0 ? octave - 1 : 0)
            let start = octave > 0 ? width * 128 : 0
            for bucket in 0..<CommandTimes.bucketsPerOctave where counts[bucket] > 0 {
                let low = start + UInt64(bucket) * width
                guard visit(low, low + width - 1, Int64(counts[bucket])) else { return }
            }
        }
    }

    /// Nanoseconds that `percent` of the calls did not exceed: the end of the bucket where they
    /// end, or for no percent the beginning of the first.
    public func percentile(_ percent: Double) -> Double {
        let wanted = Swift.max(1, Int64(min(percent, 100) / 100 * Double(count) + 0.5))
        var seen: Int64 = 0
        var found: UInt64 = 0
        forEachBucket { low, high, count in
            seen += count
            found = percent > 0 ? high : low
            return seen < wanted
        }
        return Double(found)
    }

    /// How many calls took at most so many microseconds, at each step of a power of two from 1024
    /// nanoseconds on where that number grows. A step includes the bucket that begins with it, and
    /// is named after that bucket's end, as in the reference.
    public var cumulative: [(microseconds: Int64, count: Int64)] {
        var out: [(microseconds: Int64, count: Int64)] = []
        var total: Int64 = 0
        var reported: Int64 = 0
        var step: UInt64 = 1024
        func report() {
            guard total > reported else { return }
            out.append((microseconds: Int64((step + step / 128 - 1) / 1000), count: total))
            reported = total
        }
        forEachBucket { low, _, count in
            while low > step {
                report()
                step *= 2
            }
            total += count
            return true
        }
        report()
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
        times.free()
    }
}
