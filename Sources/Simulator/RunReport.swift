// What came of a run, for people and for the totals of many runs.
import Base

public struct RunReport {
    public let seed: UInt64
    public let options: SwarmOptions
    /// The first failed check, or nil.
    public private(set) var failure: String?
    /// Equal for equal runs: the world's dice and the trace at the end.
    public let unseed: UInt64
    public let virtualSeconds: Double
    public let events: Int
    public let faults: Int
    public let starts: Int
    public let failovers: Int
    public let votes: Int
    public let acknowledged: Int
    public let unsure: Int
    public let errors: Int
    public let reads: Int
    /// Lost acknowledged writes by what excuses them.
    public let lost: [(reason: String, count: Int)]
    public let longestOverlap: Int
    /// How often most primaries were killed at once, and the longest time in milliseconds until all
    /// slots were served again.
    public let majorityLosses: Int
    public let slowestRecovery: Int

    init(of run: Simulation) {
        seed = run.seed
        options = run.options
        failure = run.checks.failure
        unseed = run.prng.fingerprint ^ run.trace.value
        virtualSeconds = Double(run.time) / 1_000_000
        events = run.eventCount
        faults = run.faults.log.count
        starts = run.checks.starts
        failovers = run.checks.failovers
        votes = run.checks.votes.count
        acknowledged = run.checks.writes.acknowledged
        unsure = run.checks.writes.unsure
        errors = run.checks.writes.errors
        reads = run.checks.writes.reads
        lost = run.checks.writes.lost.map { ($0.0, $0.1) }
        majorityLosses = run.losses.count
        slowestRecovery = Int(run.losses.slowest / 1000)
        longestOverlap = Int(run.checks.writes.longestOverlap / 1000)
    }

    public var lostCount: Int { lost.reduce(0) { $0 + $1.count } }

    /// One line for a table of runs.
    public var line: String {
        let seconds = Double(Int(virtualSeconds * 10)) / 10
        return "seed \(seed): \(failure == nil ? "ok" : "failed") \(options.profile) "
            + "virtual=\(seconds)s events=\(events) faults=\(faults) starts=\(starts) "
            + "failovers=\(failovers) votes=\(votes) acknowledged=\(acknowledged) "
            + "unsure=\(unsure) errors=\(errors) reads=\(reads) lost=\(lostCount) "
            + (majorityLosses == 0
                ? "" : "majority-losses=\(majorityLosses) recovery=\(slowestRecovery)ms ")
            + "overlap=\(longestOverlap)ms unseed=\(String(unseed, radix: 16))"
    }

    func failing(_ why: String) -> RunReport {
        var copy = self
        copy.failure = why
        return copy
    }
}
