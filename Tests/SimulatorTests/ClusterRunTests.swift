// Whole clusters in one process: a few seeds of each kind, every seed that once found a fault, and
// the proof that a seed repeats. Many more run through `scripts/simulate`.
import Simulator
import Testing

@Suite struct ClusterRunTests {
    private func run(_ seed: UInt64, seconds: Int, profile: Profile? = nil) -> RunReport {
        let options = SwarmOptions(seed: seed, seconds: seconds, profile: profile)
        return Simulation(seed: seed, options: options).run()
    }

    @Test(arguments: [101, 102] as [UInt64])
    func aClusterSurvivesAStorm(seed: UInt64) {
        let report = run(seed, seconds: 6, profile: .storm)
        #expect(report.failure == nil)
        #expect(report.acknowledged > 0)
    }

    @Test(arguments: [Profile.calm, .orderly, .kills])
    func nothingIsLostWithoutAnExcuse(profile: Profile) {
        let report = run(7, seconds: 6, profile: profile)
        #expect(report.failure == nil)
        #expect(report.lostCount == 0)
        #expect(report.acknowledged > 100)
    }

    /// Seed, and what it found: a primary that restarted with an old snapshot and wiped its
    /// replica (1); a write carried out between hand-over and change of role (51); a primary
    /// without its data that waited for a replica whose data was too old to be elected (28), or for
    /// one that had no keys (592); two elections won in one epoch (403).
    @Test(arguments: [(1, 30), (51, 10), (28, 20), (592, 10), (403, 9)] as [(UInt64, Int)])
    func aSeedThatOnceFailed(seed: UInt64, seconds: Int) {
        #expect(run(seed, seconds: seconds).failure == nil)
    }

    /// Any one fault at a time, and every reply waited for one or two replicas.
    @Test(arguments: [6, 16, 26] as [UInt64])
    func whatReplicasAcknowledgedSurvivesAnyFault(seed: UInt64) {
        let report = run(seed, seconds: 12, profile: .guarded)
        #expect(report.failure == nil)
        #expect(report.lostCount == 0)
        #expect(report.acknowledged > 20)
    }

    /// A primary was back after a partition and served, while its replicas told the others anew
    /// that it had failed; they voted against it, and meanwhile one of its replicas acknowledged
    /// more than the other had compared itself with.
    @Test func nobodyIsReplacedWhoseLeaseRuns() {
        let options = SwarmOptions(seed: 391, profile: .guarded)
        let report = Simulation(seed: 391, options: options).run()
        #expect(report.failure == nil)
        #expect(report.lostCount == 0)
    }

    /// Primaries without replicas that lose power: `always` and `everysec` keep what they promise.
    @Test(arguments: [5, 25, 45, 65] as [UInt64])
    func aPowerCutTakesNoMoreThanTheLogMayLose(seed: UInt64) {
        let report = run(seed, seconds: 12, profile: .powerCuts)
        #expect(report.failure == nil)
        #expect(report.acknowledged > 20)
    }

    /// A connection that never came about was waited for as long as the peer's own link carried
    /// traffic, and the peer was taken for failed meanwhile.
    @Test func aConnectionThatHangsIsTriedAgain() {
        let options = SwarmOptions(seed: 881, profile: .powerCuts)
        #expect(Simulation(seed: 881, options: options).run().failure == nil)
    }

    /// A process was killed, the next one went on in another increment, and a power cut took what
    /// the first had left in the kernel: the log had a hole.
    @Test func whatAKilledProcessLeftIsSyncedBeforeTheLogGoesOn() {
        let options = SwarmOptions(seed: 213, profile: .powerCuts)
        #expect(Simulation(seed: 213, options: options).run().failure == nil)
    }

    /// Nodes, sentinels and clients in one seed: any faults, and the loss of most primaries.
    /// 242: a right to change the voters that came to nothing left two primaries with promises for
    /// which they refused the newer set of the others, for good.
    @Test(arguments: [1, 2, 3, 4, 242] as [UInt64])
    func aClusterWithVotersSurvives(seed: UInt64) {
        let options = SwarmOptions(seed: seed, seconds: 8, sentinels: 3)
        let report = Simulation(seed: seed, options: options).run()
        #expect(report.failure == nil)
        #expect(report.acknowledged > 0)
    }

    /// A primary that took over by order, while a paused one had the slots, died as it acknowledged
    /// its first write: nobody had heard of it.
    @Test func anOrderThatNobodyHeardOfIsNoOverlap() {
        let options = SwarmOptions(seed: 1131, sentinels: 3)
        #expect(Simulation(seed: 1131, options: options).run().failure == nil)
    }

    /// A replica on the smaller side of a partition took over by order. With it that side had two
    /// primaries of three, so the other one served again, although it had been replaced.
    @Test func anOrderMayGiveTheSmallerSideAMajority() {
        let options = SwarmOptions(seed: 841)
        #expect(Simulation(seed: 841, options: options).run().failure == nil)
    }

    /// A replica whose log was being opened when its primary's copy arrived took the end of a
    /// rewrite for a failed start, and left again and again.
    @Test func aReplicaIsNotSentAwayByACancelledRewrite() {
        let options = SwarmOptions(seed: 46, sentinels: 3)
        let report = Simulation(seed: 46, options: options).run()
        #expect(report.failure == nil)
        #expect(report.lostCount == 0)
    }

    @Test(arguments: [11, 12] as [UInt64])
    func theSameSeedEndsTheSame(seed: UInt64) {
        let first = run(seed, seconds: 5, profile: .storm)
        let second = run(seed, seconds: 5, profile: .storm)
        #expect(first.unseed == second.unseed)
        #expect(first.events == second.events)
        #expect(first.acknowledged == second.acknowledged)
        let other = run(seed + 100, seconds: 5, profile: .storm)
        #expect(other.unseed != first.unseed)
    }
}
