// Which keys cost the most: by requests, by bytes (request and reply), by processor time. One
// command in 64, on average, is looked at; its first key goes into one of three summaries of 128
// keys each, in turn. A newcomer takes the place of the lightest and inherits its weight as a
// possible error ("space saving"), so that no key with more than 1/128 of the whole is missed.
// Weights halve every minute: what is shown is what is hot now, as rates.
import Base
import Storage

/// What the summaries are ordered by.
public enum HotKeyOrder: Int, CaseIterable, Sendable {
    case requests
    case bytes
    case time
}

/// A hot key as it is shown; the numbers are per second.
public struct HotKey {
    public let key: [UInt8]
    public let database: Int
    public let requests: Double
    public let bytes: Double
    public let microseconds: Double
    /// The part of all requests, bytes or time that is this key's.
    public let share: Double
}

public struct HotKeys {
    /// One of so many commands is looked at.
    static let sampledPart = 64
    private static let halfLife = 60.0
    /// Weights are reduced this often.
    private static let step = Milliseconds(5000)

    private var summaries = Array(
        repeating: HotKeySummary(), count: HotKeyOrder.allCases.count)
    /// The summary that the next sample goes into.
    private var turn = HotKeyOrder.requests
    /// Seconds that the weights stand for.
    private var window = 0.0
    private var agedAt: Instant?

    public init() {}

    /// Commands until the next one that is looked at: not a fixed number, lest a pipeline with the
    /// same period hide keys.
    static func interval(_ prng: inout Prng) -> Int { prng.below(2 * sampledPart - 1) }

    /// Forgets everything.
    public mutating func reset(at now: Instant) {
        self = HotKeys()
        agedAt = now
    }

    /// A command on `key` cost this and stands for `commands` commands.
    mutating func add(
        _ key: KeyRef, commands: Double, bytes: Double, nanoseconds: Double, at now: Instant
    ) {
        age(at: now)
        // Each summary sees one sample in three, which stands for all three.
        let requests = commands * Double(HotKeyOrder.allCases.count)
        var weight = HotKeySummary.Costs(
            requests: requests, bytes: requests * bytes, nanoseconds: requests * nanoseconds)
        switch turn {
        case .requests: weight.total = weight.requests
        case .bytes: weight.total = weight.bytes
        case .time: weight.total = weight.nanoseconds
        }
        summaries[turn.rawValue].add(key, weight)
        turn = HotKeyOrder(rawValue: turn.rawValue + 1) ?? .requests
    }

    /// Lets the past weigh less.
    private mutating func age(at now: Instant) {
        guard let before = agedAt else {
            agedAt = now
            return
        }
        let elapsed = now - before
        guard elapsed >= Self.step else { return }
        agedAt = now
        let seconds = Double(elapsed.count) / 1000
        let factor = HotKeys.powerOfTwo(-seconds / Self.halfLife)
        window = (window + seconds) * factor
        for order in summaries.indices { summaries[order].scale(by: factor) }
    }

    /// The hottest keys, the hottest first.
    public mutating func hottest(_ order: HotKeyOrder, count: Int, at now: Instant) -> [HotKey] {
        age(at: now)
        let sinceAged = agedAt.map { Double((now - $0).count) / 1000 } ?? 0
        let seconds = Swift.max(window + sinceAged, 0.1)
        return summaries[order.rawValue].heaviest(count).map { found in
            HotKey(
                key: found.key, database: found.database,
                requests: found.costs.requests / seconds, bytes: found.costs.bytes / seconds,
                microseconds: found.costs.nanoseconds / seconds / 1000, share: found.share)
        }
    }

    /// 2 to the power of a number that is not positive.
    private static func powerOfTwo(_ exponent: Double) -> Double {
        var rest = Swift.max(exponent, -60)
        var result = 1.0
        while rest <= -1 {
            result /= 2
            rest += 1
        }
        // e^x by its series, for x in -0.7 ... 0.
        let x = rest * 0.6931471805599453
        var term = 1.0
        var sum = 1.0
        for index in 1...12 {
            term *= x / Double(index)
            sum += term
        }
        return result * sum
    }
}

/// The heaviest of many keys, with the weights that they had at least.
struct HotKeySummary {
    struct Costs {
        var requests = 0.0
        var bytes = 0.0
        var nanoseconds = 0.0
        /// The one of them that counts here.
        var total = 0.0
    }

    struct Name {
        var key: [UInt8]
        var database: UInt16
    }

    private static let capacity = 128
    private static let keyLimit = 1024

    /// Hashes and weights by themselves: they are searched for each sample.
    private var hashes: [UInt64] = []
    /// With what was inherited from keys that lost their place.
    private var weights: [Double] = []
    private var names: [Name] = []
    private var costs: [Costs] = []
    private var total = 0.0

    mutating func add(_ key: KeyRef, _ cost: Costs) {
        total += cost.total
        // Databases have keys of the same name.
        let hash = key.hash &+ UInt64(key.database) &* 0x9E37_79B9_7F4A_7C15
        if let place = hashes.firstIndex(of: hash) {
            weights[place] += cost.total
            costs[place].requests += cost.requests
            costs[place].bytes += cost.bytes
            costs[place].nanoseconds += cost.nanoseconds
            return
        }
        guard cost.total > 0 else { return }
        let kept = key.bytes[0..<min(key.bytes.count, HotKeySummary.keyLimit)].array
        let name = Name(key: kept, database: key.database)
        guard hashes.count == HotKeySummary.capacity else {
            hashes.append(hash)
            weights.append(cost.total)
            names.append(name)
            costs.append(cost)
            return
        }
        var lightest = 0
        for index in weights.indices where weights[index] < weights[lightest] { lightest = index }
        hashes[lightest] = hash
        weights[lightest] += cost.total
        names[lightest] = name
        costs[lightest] = cost
    }

    mutating func scale(by factor: Double) {
        total *= factor
        for index in weights.indices {
            weights[index] *= factor
            costs[index].requests *= factor
            costs[index].bytes *= factor
            costs[index].nanoseconds *= factor
        }
    }

    func heaviest(
        _ count: Int
    ) -> [(key: [UInt8], database: Int, costs: Costs, share: Double)] {
        let order = weights.indices.sorted { a, b in
            weights[a] == weights[b] ? hashes[a] < hashes[b] : weights[a] > weights[b]
        }
        return order.prefix(count).map { index in
            let share = total > 0 ? Swift.min(1, weights[index] / total) : 0
            return (names[index].key, Int(names[index].database), costs[index], share)
        }
    }
}
