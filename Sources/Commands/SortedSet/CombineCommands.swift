// ZUNION, ZINTER, ZDIFF, their forms that store the result, and ZINTERCARD. Sources are sorted sets
// or plain sets, whose members count as 1. Unions and intersections go through their sources from
// the smallest to the largest, which decides how scores are rounded when they are added up.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortedSetCombineCommands() {
        command(
            "zunion", since: "6.2.0", arity: -3, [.readonly], acl: [.sortedset],
            keys: [KeySpec(.index(1), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access])],
            syntax: """
            numkeys:integer key... [WEIGHTS weight:integer]... [AGGREGATE <aggregate: \
            SUM|MIN|MAX>] [WITHSCORES]
            """,
            summary: "Add multiple sorted sets",
            complexity: """
            O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M \
            being the number of elements in the resulting sorted set.
            """
        ) { zunion(Call($0)) }

        command(
            "zunionstore", since: "2.0.0", arity: -4, [.write, .denyOOM], acl: [.sortedset],
            keys: [
                .range(1, [.OW, .update]),
                KeySpec(.index(2), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access]),
            ],
            syntax: """
            destination:key numkeys:integer key... [WEIGHTS weight:integer]... [AGGREGATE \
            <aggregate: SUM|MIN|MAX>]
            """,
            summary: """
            Add multiple sorted sets and store the resulting sorted set in a new key
            """,
            complexity: """
            O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M \
            being the number of elements in the resulting sorted set.
            """
        ) { zunionstore(Call($0)) }

        command(
            "zinter", since: "6.2.0", arity: -3, [.readonly], acl: [.sortedset],
            keys: [KeySpec(.index(1), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access])],
            syntax: """
            numkeys:integer key... [WEIGHTS weight:integer]... [AGGREGATE <aggregate: \
            SUM|MIN|MAX>] [WITHSCORES]
            """,
            summary: "Intersect multiple sorted sets",
            complexity: """
            O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the \
            number of input sorted sets and M being the number of elements in the resulting sorted \
            set.
            """
        ) { zinter(Call($0)) }

        command(
            "zinterstore", since: "2.0.0", arity: -4, [.write, .denyOOM], acl: [.sortedset],
            keys: [
                .range(1, [.OW, .update]),
                KeySpec(.index(2), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access]),
            ],
            syntax: """
            destination:key numkeys:integer key... [WEIGHTS weight:integer]... [AGGREGATE \
            <aggregate: SUM|MIN|MAX>]
            """,
            summary: """
            Intersect multiple sorted sets and store the resulting sorted set in a new key
            """,
            complexity: """
            O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the \
            number of input sorted sets and M being the number of elements in the resulting sorted \
            set.
            """
        ) { zinterstore(Call($0)) }

        command(
            "zintercard", since: "7.0.0", arity: -3, [.readonly], acl: [.sortedset],
            keys: [KeySpec(.index(1), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access])],
            syntax: "numkeys:integer key... [LIMIT limit:integer]",
            summary: """
            Intersect multiple sorted sets and return the cardinality of the result
            """,
            complexity: """
            O(N*K) worst case with N being the smallest input sorted set, K being the number of \
            input sorted sets.
            """
        ) { zintercard(Call($0)) }

        command(
            "zdiff", since: "6.2.0", arity: -3, [.readonly], acl: [.sortedset],
            keys: [KeySpec(.index(1), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access])],
            syntax: "numkeys:integer key... [WITHSCORES]",
            summary: "Subtract multiple sorted sets",
            complexity: """
            O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, \
            N is the size of the first set, and K is the size of the result set.
            """
        ) { zdiff(Call($0)) }

        command(
            "zdiffstore", since: "6.2.0", arity: -4, [.write, .denyOOM], acl: [.sortedset],
            keys: [
                .range(1, [.OW, .update]),
                KeySpec(.index(2), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access]),
            ],
            syntax: "destination:key numkeys:integer key...",
            summary: """
            Subtract multiple sorted sets and store the resulting sorted set in a new key
            """,
            complexity: """
            O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, \
            N is the size of the first set, and K is the size of the result set.
            """
        ) { zdiffstore(Call($0)) }
    }
}

private enum Combination {
    case union, intersection, difference
}

private enum Aggregate {
    case sum, min, max

    @inline(__always)
    func callAsFunction(_ a: Double, _ b: Double) -> Double {
        switch self {
        case .sum:
            let sum = a + b
            return sum.isNaN ? 0 : sum
        case .min: return b < a ? b : a
        case .max: return b > a ? b : a
        }
    }
}

// MARK: Sources

/// What one of the keys holds.
private enum SourceValue {
    case nothing
    case sortedSet(SortedSet)
    case integers(Intset)
    case pack(Listpack)
    case table(FieldTable)
}

private struct Source {
    let value: SourceValue
    /// The entry's block, to know the same key again.
    let identity: UnsafeMutableRawPointer?
    var weight = 1.0

    /// nil when the entry holds neither a set nor a sorted set.
    init?(_ entry: Entry?) {
        identity = entry?.base
        guard let entry else {
            value = .nothing
            return
        }
        if entry.type == .sortedSet {
            value = .sortedSet(SortedSet(entry))
            return
        }
        guard entry.type == .set else { return nil }
        switch entry.encoding {
        case .intset: value = .integers(Intset(entry.payload))
        case .listpack: value = .pack(Listpack(entry.payload))
        default: value = .table(FieldTable(entry.payload))
        }
    }

    var count: Int {
        switch value {
        case .nothing: 0
        case .sortedSet(let set): set.count
        case .integers(let set): set.count
        case .pack(let set): set.count
        case .table(let set): set.count
        }
    }

    /// Visits members with their scores, until `visit` returns false.
    func forEach(_ visit: (PackedValue, Double) -> Bool) {
        switch value {
        case .nothing: break
        case .sortedSet(let set): set.forEach(in: 0..<set.count, visit)
        case .integers(let set):
            for index in 0..<set.count where !visit(.integer(set[index]), 1) { return }
        case .pack(let set):
            var place = set.first
            while let here = place, visit(set[here], 1) { place = set.next(here) }
        case .table(let set):
            var goesOn = true
            var cursor: UInt64 = 0
            repeat {
                cursor = set.scan(cursor) { if goesOn { goesOn = visit(.bytes($0.key), 1) } }
            } while cursor != 0 && goesOn
        }
    }

    func score(of member: Bytes, _ heap: ObjectHeap) -> Double? {
        switch value {
        case .nothing: nil
        case .sortedSet(let set): set.score(of: member, heap)
        case .integers(let set):
            member.decimal.map { set.contains($0) } ?? false ? 1 : nil
        case .pack(let set): set.find(member, from: set.first, skip: 0).map { _ in 1 }
        case .table(let set): set.find(member, heap).map { _ in 1 }
        }
    }

    @inline(__always)
    func weighted(_ score: Double) -> Double {
        let product = weight * score
        return product.isNaN ? 0 : product
    }
}

// MARK: The request

private struct CombineRequest {
    let combination: Combination
    /// The result replaces the key at argument 1.
    let stores: Bool
    /// Only the number of members is asked for.
    let counts: Bool
    var sources: [Source] = []
    var aggregate = Aggregate.sum
    var withScores = false
    var limit: Int64 = 0

    /// Reads keys and options; false after an error reply.
    mutating func readOrReply(_ call: Call) -> Bool {
        let index = stores ? 2 : 1
        guard let number = call.integerOrReply(index) else { return false }
        guard number > 0 else {
            call.reply.error(
                "ERR at least 1 input key is needed for '\(call.commandName)' command")
            return false
        }
        guard number <= Int64(call.count - index - 1) else {
            call.reply.error(.syntax)
            return false
        }
        let end = index + 1 + Int(number)
        for place in (index + 1)..<end {
            guard let source = Source(call.lookupRead(call.key(place))) else {
                call.reply.error(.wrongType)
                return false
            }
            sources.append(source)
        }
        return readOptionsOrReply(call, from: end)
    }

    private mutating func readOptionsOrReply(_ call: Call, from start: Int) -> Bool {
        var index = start
        while index < call.count {
            let word = call[index]
            let left = call.count - index
            if combination != .difference, !counts, left > sources.count, word.matches("weights") {
                for place in sources.indices {
                    let error = ErrorReply("ERR weight value is not a float")
                    guard let weight = call.scoreOrReply(index + 1 + place, error) else {
                        return false
                    }
                    sources[place].weight = weight
                }
                index += 1 + sources.count
            } else if combination != .difference, !counts, left > 1, word.matches("aggregate"),
                let aggregate = CombineRequest.aggregate(call[index + 1])
            {
                self.aggregate = aggregate
                index += 2
            } else if !stores, !counts, word.matches("withscores") {
                withScores = true
                index += 1
            } else if counts, left > 1, word.matches("limit") {
                guard let limit = call[index + 1].decimal, limit >= 0 else {
                    call.reply.error("ERR LIMIT can't be negative")
                    return false
                }
                self.limit = limit
                index += 2
            } else {
                call.reply.error(.syntax)
                return false
            }
        }
        return true
    }

    private static func aggregate(_ word: Bytes) -> Aggregate? {
        if word.matches("sum") { return .sum }
        if word.matches("min") { return .min }
        return word.matches("max") ? .max : nil
    }
}

// MARK: The commands

private func zunion(_ call: Call) { combine(call, .union) }

private func zinter(_ call: Call) { combine(call, .intersection) }

private func zdiff(_ call: Call) { combine(call, .difference) }

private func zunionstore(_ call: Call) { combine(call, .union, stores: true) }

private func zinterstore(_ call: Call) { combine(call, .intersection, stores: true) }

private func zdiffstore(_ call: Call) { combine(call, .difference, stores: true) }

private func zintercard(_ call: Call) { combine(call, .intersection, counts: true) }

private func combine(
    _ call: Call, _ combination: Combination, stores: Bool = false, counts: Bool = false
) {
    var request = CombineRequest(combination: combination, stores: stores, counts: counts)
    guard request.readOrReply(call) else { return }
    if combination != .difference {
        request.sources = sortedByCount(request.sources)
    }
    if counts {
        var count: Int64 = 0
        intersect(request, call.heap) { _, _ in
            count += 1
            return count != request.limit
        }
        call.reply.integer(count)
        return
    }
    var result = combined(request, call.heap)
    if stores {
        result.compact(call.limits, call.heap)
        let event: StaticString
        switch combination {
        case .union: event = "zunionstore"
        case .intersection: event = "zinterstore"
        case .difference: event = "zdiffstore"
        }
        call.storeResult(result, at: call.key(1), event)
        return
    }
    let reply = call.reply
    reply.members(result.count, withScores: request.withScores)
    result.forEach { reply.member($0, $1, withScores: request.withScores) }
    result.free(call.heap)
}

/// Stable: sources of the same size keep their order.
private func sortedByCount(_ sources: [Source]) -> [Source] {
    let counts: [Int] = sources.map { $0.count }
    var order: [Int] = Array(sources.indices)
    order.sort { (a: Int, b: Int) -> Bool in
        counts[a] == counts[b] ? a < b : counts[a] < counts[b]
    }
    return order.map { sources[$0] }
}

private func combined(_ request: CombineRequest, _ heap: ObjectHeap) -> SortedSet {
    let builder = SortedSetBuilder(heap)
    switch request.combination {
    case .union:
        for source in request.sources {
            source.forEach { member, score in
                withText(of: member) {
                    builder.merge($0, source.weighted(score)) { request.aggregate($0, $1) }
                }
                return true
            }
        }
    case .intersection:
        intersect(request, heap) { member, score in
            builder.insert(member, score)
            return true
        }
    case .difference:
        subtract(request.sources, heap) { builder.insert($0, $1) }
    }
    return builder.finish()
}

/// Visits what all sources have in common, until `visit` returns false.
private func intersect(
    _ request: CombineRequest, _ heap: ObjectHeap, _ visit: (Bytes, Double) -> Bool
) {
    guard let first = request.sources.first else { return }
    let others = request.sources.dropFirst()
    first.forEach { member, score in
        withText(of: member) { name in
            var total = first.weighted(score)
            for source in others {
                guard let other = source.score(of: name, heap) else { return true }
                total = request.aggregate(total, other * source.weight)
            }
            return visit(name, total)
        }
    }
}

/// Visits what the first source has and no other.
private func subtract(
    _ sources: [Source], _ heap: ObjectHeap, _ visit: (Bytes, Double) -> Void
) {
    guard let first = sources.first, first.count > 0 else { return }
    let others = sources.dropFirst().filter { $0.count > 0 }
    // A set without itself is empty, and the walk below would only find that out slowly.
    guard !others.contains(where: { $0.identity == first.identity }) else { return }
    first.forEach { member, score in
        withText(of: member) { name in
            if !others.contains(where: { $0.score(of: name, heap) != nil }) { visit(name, score) }
        }
        return true
    }
}
