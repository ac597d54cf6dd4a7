// ZRANGE in all its forms, the older commands that it replaces, and ZRANGESTORE. Whatever the range
// is given by, it becomes one of ranks; offset and count, and the direction, are applied to that.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortedSetRangeCommands() {
        command(
            "zrange", since: "1.2.0", arity: -4, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key start stop [sortby: BYSCORE|BYLEX]{6.2.0} [REV]{6.2.0} [LIMIT <offset_count: \
            offset:integer count:integer>]{6.2.0} [WITHSCORES]
            """,
            summary: "Return a range of members in a sorted set",
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements returned.
            """,
            history: "6.2.0 Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options."
        ) { zrange(Call($0)) }

        command(
            "zrangebylex", since: "2.8.9", arity: -4, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: "key min max [LIMIT <offset_count: offset:integer count:integer>]",
            summary: "Return a range of members in a sorted set, by lexicographical range",
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements being returned. If M is constant (e.g. always asking for the first 10 \
            elements with LIMIT), you can consider it O(log(N)).
            """,
            deprecated: "6.2.0 `ZRANGE` with the `BYLEX` argument"
        ) { zrangebylex(Call($0)) }

        command(
            "zrangebyscore", since: "1.0.5", arity: -4, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key min:double max:double [WITHSCORES]{2.0.0} [LIMIT <offset_count: offset:integer \
            count:integer>]
            """,
            summary: "Return a range of members in a sorted set, by score",
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements being returned. If M is constant (e.g. always asking for the first 10 \
            elements with LIMIT), you can consider it O(log(N)).
            """,
            history: "2.0.0 Added the `WITHSCORES` modifier.",
            deprecated: "6.2.0 `ZRANGE` with the `BYSCORE` argument"
        ) { zrangebyscore(Call($0)) }

        command(
            "zrangestore", since: "6.2.0", arity: -5, [.write, .denyOOM], acl: [.sortedset],
            keys: [.range(1, [.OW, .update]), .range(2, [.RO, .access])],
            syntax: """
            dst:key src:key min max [sortby: BYSCORE|BYLEX] [REV] [LIMIT <offset_count: \
            offset:integer count:integer>]
            """,
            summary: "Store a range of members from sorted set into another key",
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements stored into the destination key.
            """
        ) { zrangestore(Call($0)) }

        command(
            "zrevrange", since: "1.2.0", arity: -4, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: "key start:integer stop:integer [WITHSCORES]",
            summary: """
            Return a range of members in a sorted set, by index, with scores ordered from high to \
            low
            """,
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements returned.
            """,
            deprecated: "6.2.0 `ZRANGE` with the `REV` argument"
        ) { zrevrange(Call($0)) }

        command(
            "zrevrangebylex", since: "2.8.9", arity: -4, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: "key max min [LIMIT <offset_count: offset:integer count:integer>]",
            summary: """
            Return a range of members in a sorted set, by lexicographical range, ordered from \
            higher to lower strings.
            """,
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements being returned. If M is constant (e.g. always asking for the first 10 \
            elements with LIMIT), you can consider it O(log(N)).
            """,
            deprecated: "6.2.0 `ZRANGE` with the `REV` and `BYLEX` arguments"
        ) { zrevrangebylex(Call($0)) }

        command(
            "zrevrangebyscore", since: "2.2.0", arity: -4, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key max:double min:double [WITHSCORES] [LIMIT <offset_count: offset:integer \
            count:integer>]
            """,
            summary: """
            Return a range of members in a sorted set, by score, with scores ordered from high to \
            low
            """,
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements being returned. If M is constant (e.g. always asking for the first 10 \
            elements with LIMIT), you can consider it O(log(N)).
            """,
            history: "2.1.6 `min` and `max` can be exclusive.",
            deprecated: "6.2.0 `ZRANGE` with the `REV` and `BYSCORE` arguments"
        ) { zrevrangebyscore(Call($0)) }
    }
}

private enum RangeKind {
    case rank, score, name
}

/// What is asked for, before the range itself is read.
private struct RangeRequest {
    /// Where the source key stands.
    let source: Int
    var kind: RangeKind?
    var isReversed: Bool?
    var withScores = false
    var offset: Int64 = 0
    var limit: Int64 = -1

    var stores: Bool { source == 2 }

    /// Reads the options behind the range; false after an error reply.
    mutating func readOptionsOrReply(_ call: Call) -> Bool {
        var index = source + 3
        while index < call.count {
            let word = call[index]
            if !stores, word.matches("withscores") {
                withScores = true
            } else if word.matches("limit"), index + 2 < call.count {
                guard let offset = call.integerOrReply(index + 1),
                    let limit = call.integerOrReply(index + 2)
                else { return false }
                self.offset = offset
                self.limit = limit
                index += 2
            } else if isReversed == nil, word.matches("rev") {
                isReversed = true
            } else if kind == nil, word.matches("bylex") {
                kind = .name
            } else if kind == nil, word.matches("byscore") {
                kind = .score
            } else {
                call.reply.error(.syntax)
                return false
            }
            index += 1
        }
        return areOptionsConsistentOrReply(call)
    }

    private func areOptionsConsistentOrReply(_ call: Call) -> Bool {
        if limit != -1, kind ?? .rank == .rank {
            call.reply.error(
                """
                ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                BYLEX
                """)
            return false
        }
        if withScores, kind == .name {
            call.reply.error(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX")
            return false
        }
        return true
    }
}

/// A range as it was given.
private enum RequestedRange {
    case ranks(first: Int64, last: Int64)
    case scores(ScoreRange)
    case names(NameRange)

    static func orReply(_ call: Call, _ request: RangeRequest) -> RequestedRange? {
        let kind = request.kind ?? .rank
        // By score and by name, a reversed range names its upper end first.
        let isSwapped = request.isReversed ?? false && kind != .rank
        let min = request.source + (isSwapped ? 2 : 1)
        let max = request.source + (isSwapped ? 1 : 2)
        switch kind {
        case .rank:
            guard let first = call.integerOrReply(min), let last = call.integerOrReply(max)
            else { return nil }
            return .ranks(first: first, last: last)
        case .score: return call.scoreRangeOrReply(min, max).map { .scores($0) }
        case .name: return call.nameRangeOrReply(min, max).map { .names($0) }
        }
    }

    /// The ranks of `set`, in ascending order, that are asked for.
    func ranks(in set: SortedSet, _ request: RangeRequest) -> Range<Int> {
        let isReversed = request.isReversed ?? false
        switch self {
        case .ranks(let first, let last):
            let range = sortedSetRanks(first, last, of: set.count)
            guard isReversed else { return range }
            return (set.count - range.upperBound)..<(set.count - range.lowerBound)
        case .scores(let range):
            return RequestedRange.limited(set.ranks(range), request, isReversed)
        case .names(let range):
            return RequestedRange.limited(set.ranks(range), request, isReversed)
        }
    }

    private static func limited(
        _ range: Range<Int>, _ request: RangeRequest, _ isReversed: Bool
    ) -> Range<Int> {
        guard request.offset >= 0, request.offset < range.count else { return 0..<0 }
        let offset = Int(request.offset)
        let left = range.count - offset
        let count = request.limit < 0 ? left : Int(min(request.limit, Int64(left)))
        if isReversed {
            let end = range.upperBound - offset
            return (end - count)..<end
        }
        let start = range.lowerBound + offset
        return start..<(start + count)
    }
}

/// Ranks from `first` to `last`, both included, negative ones counted from the end.
func sortedSetRanks(_ first: Int64, _ last: Int64, of count: Int) -> Range<Int> {
    let size = Int64(count)
    let start = max(first < 0 ? first &+ size : first, 0)
    let end = min(last < 0 ? last &+ size : last, size - 1)
    guard start <= end, start < size else { return 0..<0 }
    return Int(start)..<Int(end + 1)
}

// MARK: The commands

private func zrange(_ call: Call) { range(call, RangeRequest(source: 1)) }

private func zrangestore(_ call: Call) { range(call, RangeRequest(source: 2)) }

private func zrevrange(_ call: Call) {
    range(call, RangeRequest(source: 1, kind: .rank, isReversed: true))
}

private func zrangebyscore(_ call: Call) {
    range(call, RangeRequest(source: 1, kind: .score, isReversed: false))
}

private func zrevrangebyscore(_ call: Call) {
    range(call, RangeRequest(source: 1, kind: .score, isReversed: true))
}

private func zrangebylex(_ call: Call) {
    range(call, RangeRequest(source: 1, kind: .name, isReversed: false))
}

private func zrevrangebylex(_ call: Call) {
    range(call, RangeRequest(source: 1, kind: .name, isReversed: true))
}

private func range(_ call: Call, _ asked: RangeRequest) {
    var request = asked
    guard request.readOptionsOrReply(call) else { return }
    guard let range = RequestedRange.orReply(call, request) else { return }
    let entry = call.lookupRead(call.key(request.source))
    if let entry, call.typeOrReply(entry, .sortedSet) == nil { return }
    let set = entry.map { SortedSet($0) }
    let ranks = set.map { range.ranks(in: $0, request) } ?? 0..<0
    let isReversed = request.isReversed ?? false
    if request.stores {
        store(call, set, ranks)
        return
    }
    let reply = call.reply
    reply.members(ranks.count, withScores: request.withScores)
    set?.forEach(in: ranks, reversed: isReversed) { member, score in
        reply.member(member, score, withScores: request.withScores)
        return true
    }
}

private func store(_ call: Call, _ set: SortedSet?, _ ranks: Range<Int>) {
    var result = SortedSet.make(expecting: ranks.count, length: 0, call.limits, call.heap)
    set?.forEach(in: ranks) { member, score in
        withText(of: member) { _ = result.add($0, score, [], call.limits, call.heap) }
        return true
    }
    call.storeResult(result, at: call.key(1), "zrangestore")
}
