// Questions about single members and about sizes: ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCARD, ZCOUNT,
// ZLEXCOUNT.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortedSetReadCommands() {
        command(
            "zcard", since: "1.2.0", arity: 2, [.readonly, .fast], acl: [.sortedset],
            keys: [.range(1, [.RO])],
            syntax: "key",
            summary: "Get the number of members in a sorted set",
            complexity: "O(1)"
        ) { zcard(Call($0)) }

        command(
            "zscore", since: "1.2.0", arity: 3, [.readonly, .fast], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            member: 2,
            syntax: "key member",
            summary: "Get the score associated with the given member in a sorted set",
            complexity: "O(1)"
        ) { zscore(Call($0)) }

        command(
            "zmscore", since: "6.2.0", arity: -3, [.readonly, .fast], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            member: 2,
            syntax: "key member...",
            summary: "Get the score associated with the given members in a sorted set",
            complexity: "O(N) where N is the number of members being requested."
        ) { zmscore(Call($0)) }

        command(
            "zrank", since: "2.0.0", arity: -3, [.readonly, .fast], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            member: 2,
            syntax: "key member [WITHSCORE]{7.2.0}",
            summary: "Determine the index of a member in a sorted set",
            complexity: "O(log(N))",
            history: "7.2.0 Added the optional `WITHSCORE` argument."
        ) { zrank(Call($0)) }

        command(
            "zrevrank", since: "2.0.0", arity: -3, [.readonly, .fast], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            member: 2,
            syntax: "key member [WITHSCORE]{7.2.0}",
            summary: """
            Determine the index of a member in a sorted set, with scores ordered from high to low
            """,
            complexity: "O(log(N))",
            history: "7.2.0 Added the optional `WITHSCORE` argument."
        ) { zrevrank(Call($0)) }

        command(
            "zcount", since: "2.0.0", arity: 4, [.readonly, .fast], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: "key min:double max:double",
            summary: "Count the members in a sorted set with scores within the given values",
            complexity: "O(log(N)) with N being the number of elements in the sorted set."
        ) { zcount(Call($0)) }

        command(
            "zlexcount", since: "2.8.9", arity: 4, [.readonly, .fast], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: "key min max",
            summary: """
            Count the number of members in a sorted set between a given lexicographical range
            """,
            complexity: "O(log(N)) with N being the number of elements in the sorted set."
        ) { zlexcount(Call($0)) }
    }
}

private func zcard(_ call: Call) {
    guard let set = call.sortedSet(call.key(1), orReply: { $0.integer(0) }) else { return }
    call.reply.integer(set.count)
}

private func zscore(_ call: Call) {
    guard let set = call.sortedSet(call.key(1), orReply: { $0.null() }) else { return }
    reply(call, set.score(of: call[2], call.heap))
}

@inline(__always)
private func reply(_ call: Call, _ score: Double?) {
    if let score { call.reply.double(score) } else { call.reply.null() }
}

private func zmscore(_ call: Call) {
    let entry = call.lookupRead(call.key(1))
    if let entry, call.typeOrReply(entry, .sortedSet) == nil { return }
    let set = entry.map { SortedSet($0) }
    call.reply.array(call.count - 2)
    for index in 2..<call.count {
        reply(call, set.flatMap { $0.score(of: call[index], call.heap) })
    }
}

// MARK: Ranks

private func zrank(_ call: Call) { rank(call, fromHighest: false) }

private func zrevrank(_ call: Call) { rank(call, fromHighest: true) }

private func rank(_ call: Call, fromHighest: Bool) {
    guard call.count <= 4 else {
        call.refuseArity()
        return
    }
    guard call.count == 3 || call[3].matches("withscore") else {
        call.reply.error(.syntax)
        return
    }
    let withScore = call.count == 4
    let missing = { (reply: ReplyWriter) in
        if withScore { reply.nullArray() } else { reply.null() }
    }
    guard let set = call.sortedSet(call.key(1), orReply: missing) else { return }
    guard let (rank, score) = set.rank(of: call[2], call.heap) else {
        missing(call.reply)
        return
    }
    if withScore { call.reply.array(2) }
    call.reply.integer(fromHighest ? set.count - 1 - rank : rank)
    if withScore { call.reply.double(score) }
}

// MARK: Counts

private func zcount(_ call: Call) {
    guard let range = call.scoreRangeOrReply(2, 3) else { return }
    guard let set = call.sortedSet(call.key(1), orReply: { $0.integer(0) }) else { return }
    call.reply.integer(set.ranks(range).count)
}

private func zlexcount(_ call: Call) {
    guard let range = call.nameRangeOrReply(2, 3) else { return }
    guard let set = call.sortedSet(call.key(1), orReply: { $0.integer(0) }) else { return }
    call.reply.integer(set.ranks(range).count)
}
