// Short moves and comparisons by overlapping words, against the plain meaning, at every length.
import Base
import Testing

@Suite struct RawMemoryTests {
    @Test func shortMovesAtEveryLengthAndOverlap() {
        for count in 0...40 {
            for shift in [-9, -3, -1, 0, 1, 2, 5, 16, 41] {
                let original = (0..<160).map { UInt8($0) }
                var moved = original
                moved.withUnsafeMutableBytes { room in
                    guard let base = room.baseAddress else { return }
                    moveShort(to: base + (60 + shift), from: base + 60, count: count)
                }
                var expected = original
                let source = Array(original[60..<(60 + count)])
                expected.replaceSubrange((60 + shift)..<(60 + shift + count), with: source)
                #expect(moved == expected, "\(count) bytes by \(shift)")
            }
        }
    }

    @Test func shortComparisonsSeeEveryByte() {
        for count in 0...40 {
            let mine = (0..<count).map { UInt8($0 + 1) }
            let isShort = (4...24).contains(count)
            mine.withBytes { mine in
                mine.array.withBytes { #expect(mine.isSameShort(as: $0) == isShort) }
                for index in 0..<count {
                    var other = mine.array
                    other[index] ^= 0x40
                    other.withBytes { #expect(!mine.isSameShort(as: $0)) }
                }
                (mine.array + [7]).withBytes { #expect(!mine.isSameShort(as: $0)) }
            }
        }
    }
}
