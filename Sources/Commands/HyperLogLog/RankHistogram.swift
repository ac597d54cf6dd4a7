// From registers to a number: how many registers show each rank, and the estimator over that
// (Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", the one that the
// reference uses). The order of the operations is the reference's, for the results must be equal
// to the last digit.
import Base

struct RankHistogram {
    private var counts: [64 of Int] = .init(repeating: 0)

    @inline(__always)
    mutating func add(_ rank: UInt8, _ count: Int) {
        invariant(rank < 64, "ranks have six bits")
        counts[Int(rank)] &+= count
    }

    /// The histogram of 16384 registers of a byte each.
    init(ranks: UnsafePointer<UInt8>) {
        for index in 0..<HyperLogLog.registerCount { add(ranks[index], 1) }
    }

    init() {}

    /// The estimated number of distinct elements.
    var cardinality: Int64 {
        let m = Double(HyperLogLog.registerCount)
        let highest = HyperLogLog.highestRank
        var z = m * RankHistogram.tau((m - Double(counts[highest])) / m)
        var rank = highest - 1
        while rank >= 1 {
            z += Double(counts[rank])
            z *= 0.5
            rank -= 1
        }
        z += m * RankHistogram.sigma(Double(counts[0]) / m)
        let estimate = (0.721347520444481703680 * m * m / z).rounded()
        // Registers that no hash can produce may lead anywhere.
        return Int64(exactly: estimate) ?? .min
    }

    private static func sigma(_ start: Double) -> Double {
        if start == 1 { return .infinity }
        var x = start
        var y = 1.0
        var z = x
        var previous: Double
        repeat {
            x *= x
            previous = z
            z += x * y
            y += y
        } while previous != z
        return z
    }

    private static func tau(_ start: Double) -> Double {
        if start == 0 || start == 1 { return 0 }
        var x = start
        var y = 1.0
        var z = 1 - x
        var previous: Double
        repeat {
            x = x.squareRoot()
            previous = z
            y *= 0.5
            z -= (1 - x) * (1 - x) * y
        } while previous != z
        return z / 3
    }
}
