// The maximal runs of a set, at the edges of its words and of the space.
import HashSlots
import Testing

@Suite struct SlotSetTests {
    @Test(arguments: [
        [], [0...0], [16383...16383], [0...16383], [63...64], [0...62, 64...127],
        [5...5, 7...190, 192...16383],
    ] as [[ClosedRange<Int>]])
    func rangesAreMaximalRuns(ranges: [ClosedRange<Int>]) {
        let set = SlotSet(ranges.joined().map { Slot(hash: UInt16($0)) })
        #expect(set.ranges == ranges)
    }
}
