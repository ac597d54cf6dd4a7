// Which key to give up when maxmemory is reached. LRU and LFU are approximated as in the reference:
// a few random keys per call compete in a pool of the best candidates seen so far. volatile-ttl is
// exact, from the expiry index. The pool holds no key copies: a candidate counts only while its
// entry still stands where its hash says, unused since it was sampled.
import Base

/// maxmemory-policy.
public enum EvictionPolicy: Int, Sendable, CaseIterable {
    case noEviction
    case allKeysLRU
    case allKeysLFU
    case allKeysRandom
    case volatileLRU
    case volatileLFU
    case volatileRandom
    case volatileTTL

    /// True when only keys that expire may go.
    public var isVolatile: Bool { rawValue >= EvictionPolicy.volatileLRU.rawValue }
    @inline(__always)
    public var usesFrequency: Bool { self == .allKeysLFU || self == .volatileLFU }
    public var usesTime: Bool { self == .allKeysLRU || self == .volatileLRU }
}

/// A sampled entry that may be evicted later.
struct EvictionCandidate {
    var base: UnsafeMutableRawPointer
    var hash: UInt64
    /// Higher goes first.
    var score: Int
    var clock: UInt32
    var slot: UInt16
    var database: UInt16

    static let poolSize = 16
}

/// The key to evict and its database.
public struct EvictionVictim {
    public let database: Int
    public let entry: Entry
}

extension Keyspace {
    /// The key to evict next, or nil when the policy finds none. The engine deletes it.
    public func evictionCandidate(_ policy: EvictionPolicy, samples: Int) -> EvictionVictim? {
        invariant(samples > 0, "eviction needs samples")
        switch policy {
        case .noEviction: return nil
        case .volatileTTL: return earliestToExpire()
        case .allKeysRandom, .volatileRandom: return randomVictim(policy)
        case .allKeysLRU, .allKeysLFU, .volatileLRU, .volatileLFU:
            return pooledVictim(policy, samples)
        }
    }

    private func earliestToExpire() -> EvictionVictim? {
        var best: EvictionVictim?
        for index in 0..<databaseCount {
            guard let entry = database(index).pointee.expiry.first() else { continue }
            if best.map({ entry.expiresAt < $0.entry.expiresAt }) ?? true {
                best = EvictionVictim(database: index, entry: entry)
            }
        }
        return best
    }

    /// A random key of the next database that has one.
    private func randomVictim(_ policy: EvictionPolicy) -> EvictionVictim? {
        for _ in 0..<databaseCount {
            let index = state.pointee.evictionDatabase % databaseCount
            state.pointee.evictionDatabase = index + 1
            if let entry = sample(policy, index) {
                return EvictionVictim(database: index, entry: entry)
            }
        }
        return nil
    }

    private func sample(_ policy: EvictionPolicy, _ index: Int) -> Entry? {
        guard policy.isVolatile else { return randomEntry(database: index) }
        return database(index).pointee.expiry.random(&state.pointee.prng)
    }

    private func pooledVictim(_ policy: EvictionPolicy, _ samples: Int) -> EvictionVictim? {
        // The pool may be full of candidates that are gone; each round empties it or finds one.
        for _ in 0..<3 {
            for index in 0..<databaseCount {
                for _ in 0..<samples {
                    guard let entry = sample(policy, index) else { break }
                    consider(entry, index)
                }
            }
            while let best = takeBest() {
                guard let entry = current(best) else { continue }
                if policy.isVolatile && !entry.hasExpiry { continue }
                return EvictionVictim(database: Int(best.database), entry: entry)
            }
        }
        return nil
    }

    /// Forgets the candidates, as after a change of policy.
    public func resetEviction() { state.pointee.evictionPoolCount = 0 }

    private func score(_ entry: Entry) -> Int {
        state.pointee.access.usesFrequency ? 255 - frequency(entry) : idleSeconds(entry)
    }

    private func consider(_ entry: Entry, _ index: Int) {
        let pool = state.pointee.evictionPool
        var count = state.pointee.evictionPoolCount
        var lowest = 0
        for position in 0..<count {
            if pool[position].base == entry.base { return }
            if pool[position].score < pool[lowest].score { lowest = position }
        }
        let score = score(entry)
        if count == EvictionCandidate.poolSize {
            guard score > pool[lowest].score else { return }
            count -= 1
            pool[lowest] = pool[count]
        }
        let key = self.key(of: entry, database: index)
        pool[count] = EvictionCandidate(
            base: entry.base,
            hash: key.hash,
            score: score,
            clock: entry.accessClock,
            slot: key.slot,
            database: key.database
        )
        state.pointee.evictionPoolCount = count + 1
    }

    private func takeBest() -> EvictionCandidate? {
        let pool = state.pointee.evictionPool
        let count = state.pointee.evictionPoolCount
        guard count > 0 else { return nil }
        var best = 0
        for position in 1..<max(count, 1) where pool[position].score > pool[best].score {
            best = position
        }
        let candidate = pool[best]
        pool[best] = pool[count - 1]
        state.pointee.evictionPoolCount = count - 1
        return candidate
    }

    /// The candidate's entry, if it is still there and was not used since. A block that was freed
    /// and taken by another key of the same bucket is an entry like any other: nothing is lost.
    private func current(_ candidate: EvictionCandidate) -> Entry? {
        let tables = database(Int(candidate.database)).pointee.tables
        let place = tables[Int(candidate.slot)].locate(candidate.base, hash: candidate.hash)
        guard place != nil else { return nil }
        let entry = Entry(candidate.base)
        return entry.accessClock == candidate.clock ? entry : nil
    }
}
