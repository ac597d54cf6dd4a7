// The pace of the snapshot walk beside clients: half of the time, whatever entries and commands
// cost, and undisturbed by a kernel that takes the processor away now and then.
import Base
import NodeCore
import Testing

@Suite struct SnapshotPaceTests {
    /// Iterations whose other work takes `bare` microseconds, at `speed` bytes per microsecond of
    /// walking; returns the microseconds of an average slice in the second half.
    private func run(
        _ pace: inout SnapshotPace, from start: Int64, bare: Int64, speed: Int, seed: UInt64
    ) -> (slice: Int64, end: Int64) {
        var prng = Prng(seed: seed)
        var time = start
        var spent: Int64 = 0
        var slices: Int64 = 0
        for round in 0..<4000 {
            let budget = pace.next(at: Instant(microseconds: time))
            let slice = Int64((budget ?? 0) / speed)
            if round >= 2000, budget != nil {
                spent += slice
                slices += 1
            }
            time += bare + slice + (prng.chance(1, in: 10) ? 4000 : 0)
        }
        return (spent / max(1, slices), time)
    }

    @Test(arguments: Array(1...20) as [UInt64])
    func takesHalfOfTheTime(seed: UInt64) {
        check(SnapshotPace(), share: 1, seed: seed)
    }

    @Test(arguments: Array(1...20) as [UInt64])
    func takesAQuarterOfThatWhereThereIsNoHurry(seed: UInt64) {
        check(SnapshotPace(hasTime: true), share: 4, seed: seed)
    }

    private func check(_ start: SnapshotPace, share: Int64, seed: UInt64) {
        var prng = Prng(seed: seed)
        var pace = start
        var time: Int64 = 1
        for _ in 0..<4 {
            let bare = Int64([3, 40, 150, 800][prng.below(4)])
            let speed = [60, 300, 1500][prng.below(3)]
            let (slice, end) = run(&pace, from: time, bare: bare, speed: speed, seed: seed)
            let shortest = Int64(SnapshotPace.budgets.lowerBound / speed)
            let wanted = max(shortest, max(SnapshotPace.shortestSlice, bare) / share)
            #expect(slice > wanted / 2 && slice < wanted * 2, "\(slice) instead of \(wanted)")
            time = end
        }
    }

    @Test func leavesOutEveryEighthIteration() {
        var pace = SnapshotPace()
        var bare = 0
        for round in 1...800 {
            if pace.next(at: Instant(microseconds: Int64(round) * 50)) == nil { bare += 1 }
        }
        #expect(bare == 800 / SnapshotPace.bareEvery)
    }

    /// A clock that stands still, or leaps, keeps the budget within its bounds.
    @Test func staysWithinItsBounds() {
        for leap in [0, 60_000_000] as [Int64] {
            var pace = SnapshotPace()
            for round in 0..<1000 {
                _ = pace.next(at: Instant(microseconds: Int64(round) * leap))
                if round % 7 == 0 { pace.skip() }
                #expect(SnapshotPace.budgets.contains(pace.budget))
            }
        }
    }
}
