// What one run looks like: every seed draws its own mixture, because faults that are all likely at
// once hide each other. A few seeds have a narrow mixture on purpose: there the checkers may demand
// more (no acknowledged write lost at all).
import Base
import Engine

/// What may happen in a run.
public enum FaultKind: Int, CaseIterable, Sendable {
    /// kill -9, restarted with what the disk has.
    case crash
    /// kill -9, and the snapshot file is gone.
    case crashLosingData
    case powerCut
    case partition
    case oneWayCut
    case clog
    case resets
    case pause
    case clockJump
    case slowDisk
    case fullDisk
    case orderlyStop
    case manualFailover
    case forcedFailover
    case takeover
    case save

    /// Whether it ends a process that may be the last to hold a write.
    func mayDestroy(withoutFiles: Bool) -> Bool {
        switch self {
        case .crash, .crashLosingData, .powerCut, .fullDisk: true
        case .orderlyStop: withoutFiles
        default: false
        }
    }

    /// Whether it may cost the writes around it: it takes data away, keeps it from a replica, or
    /// puts a primary in office that does not have all of it. The others may cost none.
    var maySeparate: Bool {
        switch self {
        case .clockJump, .slowDisk, .manualFailover, .save, .orderlyStop: false
        case .crash, .crashLosingData, .powerCut, .partition, .oneWayCut, .clog, .resets, .pause,
            .fullDisk, .forcedFailover, .takeover:
            true
        }
    }
}

/// How demanding the checkers are about acknowledged writes.
public enum Profile: Int, CaseIterable, Sendable {
    /// Nothing goes wrong.
    case calm
    /// Nodes are stopped and started by the book, one at a time, while the cluster is whole.
    case orderly
    /// Processes are killed one at a time, while the cluster is whole.
    case kills
    /// Any one fault at a time, with `min-replicas-ack`.
    case guarded
    /// Primaries without replicas, with an append-only file: hosts lose power.
    case powerCuts
    /// Anything.
    case storm

    /// Whether no acknowledged write may be lost.
    var losesNothing: Bool { self != .storm && self != .powerCuts }
}

public struct SwarmOptions: CustomStringConvertible {
    public var profile = Profile.storm
    public var primaries = 3
    public var replicas = 3
    public var clients = 4
    /// Hash tags that all clients write under: each stands for a slot.
    public var tags = 8
    public var nodeTimeout = 1000
    public var settings = Settings()
    public var baseDelay: Int64 = 100
    public var jitter: Int64 = 200
    /// Parts in a million that a clock may be off.
    public var largestDrift: Int64 = 100
    /// Mean pause of a client between two requests.
    public var thinkTime: Int64 = 30_000
    /// Kinds that this run draws from.
    public var kinds: [FaultKind] = []
    /// Mean time between two faults, and how long one lasts at most.
    public var faultInterval: Int64 = 2_000_000
    public var longestFault: Int64 = 5_000_000
    /// Processes that may be down at the same time.
    public var largestOutage = 1
    public var safetyTime: Int64 = 40_000_000
    /// The whole must be well within this time after the last fault.
    public var livenessBound: Int64 = 60_000_000

    /// Sentinels that watch the cluster as voters.
    public var sentinels = 0
    /// Most primaries are killed at once, again and again, and nothing else happens.
    public var losesPrimaries = false

    public var nodes: Int { primaries + replicas }

    public init() {}

    /// The mixture of a seed. `nodes` fixes the size of the cluster, `seconds` the safety phase.
    public init(
        seed: UInt64, nodes: Int? = nil, seconds: Int? = nil, profile wanted: Profile? = nil,
        sentinels: Int = 0
    ) {
        var prng = Prng(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ 17)
        switch prng.below(20) {
        case 0: profile = .calm
        case 1, 2: profile = .orderly
        case 3, 4: profile = .kills
        default: profile = .storm
        }
        // Apart from the other draws, so that a seed goes on meaning what it meant.
        if seed % 10 == 6 { profile = .guarded }
        if seed % 20 == 5 { profile = .powerCuts }
        if let wanted { profile = wanted }
        chooseShape(&prng, nodes)
        chooseSettings(&prng)
        chooseWorld(&prng)
        chooseFaults(&prng)
        chooseDurability(seed)
        if let seconds { safetyTime = Int64(seconds) * 1_000_000 }
        if sentinels > 0 { addSentinels(sentinels, seed) }
    }

    /// A run with sentinels is one of two kinds: any faults, or the loss of most primaries.
    private mutating func addSentinels(_ count: Int, _ seed: UInt64) {
        sentinels = count
        var prng = Prng(seed: seed &+ 0x5E_47)
        losesPrimaries = prng.chance(1, in: 3)
        guard losesPrimaries else { return }
        profile = .storm
        kinds = []
        // Each of them has a replica that can be elected.
        primaries = max(3, nodes / 2)
        replicas = primaries
        settings.clusterReplicaValidityFactor = 10
        settings.clusterAllowReplicaMigration = false
        settings.minReplicasToWrite = 0
        settings.minReplicasAck = min(settings.minReplicasAck, 1)
        safetyTime = max(safetyTime, 30_000_000)
        baseDelay = min(baseDelay, 1000)
        jitter = min(jitter, 5000)
    }

    private mutating func chooseShape(_ prng: inout Prng, _ nodes: Int?) {
        var total = nodes ?? 6
        if profile == .guarded, nodes == nil, prng.chance(1, in: 2) { total = 9 }
        primaries = max(1, (total + 1) / 2)
        if total > 6, prng.chance(1, in: 2) { primaries = max(3, total / 3) }
        if profile == .guarded { primaries = max(1, min(3, total / 2)) }
        if profile == .powerCuts { primaries = total }
        replicas = total - primaries
        clients = 2 + prng.below(5)
        tags = 3 + prng.below(10)
    }

    private mutating func chooseSettings(_ prng: inout Prng) {
        nodeTimeout = [500, 800, 1000, 1500, 2000][prng.below(5)]
        settings.clusterEnabled = true
        settings.clusterNodeTimeout = nodeTimeout
        settings.clusterPingInterval = [0, 100, 500, 1000][prng.below(4)]
        settings.clusterReplicaValidityFactor = [10, 10, 0, 2][prng.below(4)]
        settings.clusterRequireFullCoverage = prng.chance(1, in: 2)
        settings.clusterAllowReadsWhenDown = prng.chance(1, in: 3)
        settings.clusterAllowReplicaMigration = prng.chance(2, in: 3)
        settings.clusterMigrationBarrier = 1
        settings.minReplicasToWrite = profile == .storm && prng.chance(1, in: 8) ? 1 : 0
        settings.minReplicasMaxLag = 10
        settings.backlogSize = [16 << 10, 64 << 10, 1 << 20][prng.below(3)]
        settings.backlogTTL = prng.chance(1, in: 4) ? 5 : 3600
        settings.disklessSyncDelay = prng.below(2)
        settings.disklessSync = prng.chance(1, in: 2)
        settings.replicationTimeout = 2 + prng.below(9)
        settings.replicationPingPeriod = 1
        settings.shutdownTimeout = 2 + prng.below(9)
        settings.savePoints = prng.chance(1, in: 2) ? [] : [(1 + prng.below(10), 1)]
        settings.databases = 1
        settings.protectedMode = false
        settings.logLevel = .notice
        settings.hz = [10, 10, 50][prng.below(3)]
    }

    private mutating func chooseDurability(_ seed: UInt64) {
        var prng = Prng(seed: seed &* 0xD1B5_4A32_D192_ED03 &+ 5)
        let logs = prng.chance(1, in: 3)
        let isStrict = prng.chance(1, in: 2)
        let rewritesOften = prng.chance(1, in: 2)
        let preamble = prng.chance(2, in: 3)
        let wait = [300, 1000, 5000][prng.below(3)]
        settings.minReplicasAckTimeout = wait
        // Few keys are copied in no time: one seed in seven has copies that take about a second.
        if seed % 7 == 3 { settings.rdbKeySaveDelay = Int(seed / 7 % 3 + 1) * 10_000 }
        switch profile {
        case .calm, .orderly, .kills: return
        case .guarded:
            settings.minReplicasAck = replicas >= 2 * primaries && isStrict ? 2 : 1
            settings.minReplicasToWrite = 0
            settings.appendOnly = logs
        case .powerCuts:
            settings.appendOnly = true
            settings.savePoints = []
            settings.minReplicasToWrite = 0
        case .storm:
            guard seed % 10 == 4 else { return }
            settings.minReplicasAck = prng.below(2)
            settings.appendOnly = true
        }
        settings.appendSync = isStrict ? "always" : "everysec"
        settings.logUsesPreamble = preamble
        settings.logRewriteMinSize = rewritesOften ? 2048 : 64 << 20
        settings.logRewritePercentage = 50
    }

    private mutating func chooseWorld(_ prng: inout Prng) {
        baseDelay = [50, 200, 1000, 5000][prng.below(4)]
        jitter = [20, 500, 5000, 20_000][prng.below(4)]
        largestDrift = [0, 50, 500][prng.below(3)]
        thinkTime = [10_000, 30_000, 100_000][prng.below(3)]
        safetyTime = [20_000_000, 40_000_000, 60_000_000][prng.below(3)]
    }

    private mutating func chooseFaults(_ prng: inout Prng) {
        faultInterval = [500_000, 2_000_000, 5_000_000][prng.below(3)]
        longestFault = [500_000, 3_000_000, 8_000_000][prng.below(3)]
        largestOutage = [1, 1, 2, nodes][prng.below(4)]
        switch profile {
        case .calm: kinds = []
        case .orderly: kinds = [.orderlyStop]
        case .kills: kinds = [.crash]
        case .guarded:
            let orders: [FaultKind] = [.forcedFailover, .takeover]
            for kind in FaultKind.allCases where !orders.contains(kind) && prng.chance(1, in: 2) {
                kinds.append(kind)
            }
            if kinds.isEmpty { kinds = [.crash, .partition] }
        case .powerCuts:
            kinds = [.powerCut, .crash]
            if prng.chance(1, in: 2) { kinds.append(.slowDisk) }
            if prng.chance(1, in: 3) { kinds.append(.fullDisk) }
            if prng.chance(1, in: 3) { kinds.append(.clockJump) }
            largestOutage = [1, 2, nodes][prng.below(3)]
        case .storm:
            for kind in FaultKind.allCases where prng.chance(1, in: 2) { kinds.append(kind) }
            if kinds.isEmpty { kinds = [.crash, .partition] }
        }
        if profile.losesNothing { largestOutage = 1 }
    }

    public var description: String {
        let faults = kinds.map { "\($0)" }.joined(separator: " ")
        let watched = sentinels == 0
            ? "" : "\(sentinels) sentinels\(losesPrimaries ? ", most primaries lost" : ""), "
        return watched
            + "\(profile), \(primaries)+\(replicas) nodes, \(clients) clients, node timeout "
            + "\(nodeTimeout) ms, faults every \(faultInterval / 1000) ms up to "
            + "\(longestFault / 1000) ms: \(faults.isEmpty ? "none" : faults)"
    }
}
