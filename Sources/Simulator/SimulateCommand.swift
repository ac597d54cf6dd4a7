// The command line of the simulator: which seeds, how large, what to print. One process runs its
// seeds one after the other; `scripts/simulate` spreads many seeds over processes.
import Base
import Engine

public struct SimulateCommand {
    static let usage = """
        usage: simulate SEEDS [options]

        Runs a simulated cluster with faults for each seed and checks it.

        SEEDS            a seed (7), a range (500-600) or seeds (7,12,99)
          --nodes N      nodes of the cluster (default 6)
          --time S       seconds of virtual time with faults (default: each seed draws its own)
          --sentinels N  sentinels that are voters of the cluster (default 0)
          --profile P    calm, orderly, kills, guarded, powerCuts or storm
          --verbose      print the transcript: log lines and faults with their virtual time
          --twice        run each seed twice and compare how it ends
          --help

        Exit code: 0 no seed failed, 1 one failed, 2 wrong usage.
        """

    private let arguments: [String]
    private let say: (String) -> Void
    private var seeds: [ClosedRange<UInt64>] = []
    private var nodes: Int?
    private var seconds: Int?
    private var sentinels = 0
    private var profile: Profile?
    private var isVerbose = false
    private var runsTwice = false

    /// Runs the command and returns its exit code.
    public static func run(_ arguments: [String], say: @escaping (String) -> Void) -> Int32 {
        var command = SimulateCommand(arguments: arguments, say: say)
        return command.run()
    }

    private init(arguments: [String], say: @escaping (String) -> Void) {
        self.arguments = arguments
        self.say = say
    }

    private mutating func run() -> Int32 {
        if arguments.contains("--help") || arguments.contains("-h") {
            say(SimulateCommand.usage)
            return 0
        }
        if let problem = parse() {
            say("error: \(problem)\n\n\(SimulateCommand.usage)")
            return 2
        }
        var totals = Totals()
        for range in seeds {
            for seed in range { totals.add(runSeed(seed)) }
        }
        say(totals.line)
        for line in totals.lostLines { say(line) }
        return totals.failed == 0 ? 0 : 1
    }

    // MARK: Arguments

    private mutating func parse() -> String? {
        var rest = arguments.dropFirst()
        var text: String?
        while let word = rest.popFirst() {
            switch word {
            case "--verbose", "-v": isVerbose = true
            case "--twice": runsTwice = true
            case "--nodes", "--time", "--profile", "--sentinels":
                guard let value = rest.popFirst() else { return "\(word) needs a value" }
                if let problem = set(word, to: value) { return problem }
            default:
                if word.hasPrefix("-") { return "unknown option \(word)" }
                if text != nil { return "one list of seeds, not also \(word)" }
                text = word
            }
        }
        guard let text else { return "which seeds?" }
        return parseSeeds(text)
    }

    private mutating func set(_ option: String, to value: String) -> String? {
        if option == "--profile" {
            profile = Profile.allCases.first { "\($0)" == value }
            return profile == nil ? "no profile is called \(value)" : nil
        }
        guard let number = Int(value), number > 0 else { return "\(option) needs a number" }
        if option == "--sentinels" {
            guard (1...9).contains(number) else { return "--sentinels must be from 1 to 9" }
            sentinels = number
        } else if option == "--nodes" {
            guard (2...100).contains(number) else { return "--nodes must be from 2 to 100" }
            nodes = number
        } else {
            seconds = number
        }
        return nil
    }

    private mutating func parseSeeds(_ text: String) -> String? {
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false)
            guard ends.count <= 2, let first = ends.first.flatMap({ UInt64($0) }),
                let last = ends.last.flatMap({ UInt64($0) }), first <= last
            else { return "a seed is a number, a range is a-b: \(part)" }
            seeds.append(first...last)
        }
        return nil
    }

    // MARK: Runs

    private func runSeed(_ seed: UInt64) -> RunReport {
        var options = SwarmOptions(
            seed: seed, nodes: nodes, seconds: seconds, profile: profile, sentinels: sentinels)
        options.settings.logLevel = isVerbose ? .verbose : .notice
        let report = Simulation(seed: seed, options: options, transcript: isVerbose ? say : nil)
            .run()
        say(report.line)
        if let failure = report.failure {
            say("seed \(seed) FAILED: \(failure)")
            say("    \(options)")
            say("    again: simulate \(seed)\(extraOptions) --verbose")
        }
        if runsTwice {
            let second = Simulation(seed: seed, options: options).run()
            if second.unseed != report.unseed || second.events != report.events {
                say("seed \(seed) FAILED: two runs differ")
                return report.failing("two runs differ")
            }
        }
        return report
    }

    private var extraOptions: String {
        var out = ""
        if let nodes { out += " --nodes \(nodes)" }
        if let seconds { out += " --time \(seconds)" }
        if sentinels > 0 { out += " --sentinels \(sentinels)" }
        if let profile { out += " --profile \(profile)" }
        return out
    }
}

/// What several runs come to.
private struct Totals {
    var runs = 0
    var failed = 0
    private var virtualSeconds = 0.0
    private var failovers = 0
    private var losses = 0
    private var slowest = 0
    private var faults = 0
    private var acknowledged = 0
    private var lost = SortedTable<String, Int>()

    mutating func add(_ report: RunReport) {
        runs += 1
        if report.failure != nil { failed += 1 }
        virtualSeconds += report.virtualSeconds
        failovers += report.failovers
        losses += report.majorityLosses
        slowest = max(slowest, report.slowestRecovery)
        faults += report.faults
        acknowledged += report.acknowledged
        for (reason, count) in report.lost { lost[reason] = (lost[reason] ?? 0) + count }
    }

    var line: String {
        return "total: seeds=\(runs) failed=\(failed) virtual-seconds=\(Int(virtualSeconds)) "
            + "faults=\(faults) "
            + "failovers=\(failovers) acknowledged=\(acknowledged) "
            + "lost=\(lost.values.reduce(0, +))"
            + (losses == 0 ? "" : " majority-losses=\(losses) slowest-recovery=\(slowest)ms")
    }

    var lostLines: [String] { lost.map { "lost to \($0.0): \($0.1)" } }
}
