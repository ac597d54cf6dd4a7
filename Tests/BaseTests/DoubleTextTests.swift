// Scores as text: what is written reads back the same, the short cuts agree with C, and what the
// reference refuses is refused.
import Base
import Testing

private func text(_ value: Double) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: doubleTextRoom) { room in
        guard let start = room.baseAddress else { return "" }
        return Bytes(start, writeDouble(value, to: start)).string
    }
}

private func score(_ text: String) -> Double? { text.withBytes { $0.score } }

@Suite struct DoubleTextTests {
    @Test func textsAreTheReferences() {
        let texts: [(Double, String)] = [
            (0, "0"), (-0.0, "-0"), (3, "3"), (-17, "-17"), (1.5, "1.5"),
            (0.1, "0.10000000000000001"), (1e17, "1e+17"),
            (4_503_599_627_370_496, "4503599627370496"), (.infinity, "inf"), (-.infinity, "-inf"),
            (.nan, "nan"), (.leastNonzeroMagnitude, "4.9406564584124654e-324"),
            (-.greatestFiniteMagnitude, "-1.7976931348623157e+308"),
        ]
        for (value, expected) in texts {
            #expect(text(value) == expected && formatDouble(value) == expected)
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func whatIsWrittenReadsBack(seed: UInt64) {
        var prng = Prng(seed: seed)
        for _ in 0..<3000 {
            let value = Double(bitPattern: prng.next())
            guard value.isFinite else { continue }
            #expect(score(text(value)) == value)
            let short = Double(prng.below(2_000_000) - 1_000_000) / [1, 10, 1000, 8][prng.below(4)]
            #expect(score("\(short)") == short && score(text(short)) == short)
        }
    }

    @Test(arguments: [1, 2] as [UInt64])
    func shortCutsAgreeWithC(seed: UInt64) {
        var prng = Prng(seed: seed)
        for _ in 0..<3000 {
            var digits = prng.chance(1, in: 2) ? "-" : ""
            for _ in 0..<prng.below(9) { digits += "\(prng.below(10))" }
            if prng.chance(2, in: 3) { digits += "." }
            for _ in 0..<prng.below(8) { digits += "\(prng.below(10))" }
            let mine = score(digits)
            let theirs = digits.withBytes { $0.double }
            #expect(mine == theirs, "\(digits)")
            #expect(mine?.sign == theirs?.sign, "\(digits)")
        }
    }

    @Test func strictAndLenient() {
        for word in ["", " 1", "1 ", "x", "nan", "1e400", "-1e400", "1e-400", "1.5.", "--1", "."] {
            #expect(score(word) == nil, "\(word)")
        }
        for word in ["+1", "0x10", "1e3", "inf", "-Inf", "infinity", ".5", "5."] {
            #expect(score(word) != nil, "\(word)")
        }
        func lenient(_ text: String) -> Double? { text.withBytes { $0.lenientDouble } }
        #expect(lenient("") == 0 && lenient(" 5") == 5 && lenient("1e400") == .infinity)
        #expect(lenient("5 ") == nil && lenient("nan") == nil && lenient(" ") == nil)
    }

    @Test func fixedNotation() {
        func fixed(_ value: Double, _ digits: Int) -> String {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: fixedTextRoom) { room in
                guard let start = room.baseAddress else { return "" }
                return Bytes(start, writeFixed(value, digits: digits, to: start)).string
            }
        }
        #expect(fixed(1.5, 4) == "1.5000" && fixed(-1e300, 6).utf8.count == 309)
        #expect(fixed(.infinity, 2) == "inf")
    }
}
