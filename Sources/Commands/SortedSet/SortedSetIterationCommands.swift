// ZRANDMEMBER and ZSCAN: members in no order, some or all of them.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortedSetIterationCommands() {
        command(
            "zrandmember", since: "6.2.0", arity: -2, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: "key [options: count:integer [WITHSCORES]]",
            summary: "Get one or multiple random elements from a sorted set",
            complexity: "O(N) where N is the number of elements returned",
            tips: "nondeterministic_output"
        ) { zrandmember(Call($0)) }

        command(
            "zscan", since: "2.8.0", arity: -3, [.readonly], acl: [.sortedset],
            keys: [.range(1, [.RO, .access])],
            syntax: "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
            summary: "Incrementally iterate sorted sets elements and associated scores",
            complexity: """
            O(1) for every call. O(N) for a complete iteration, including enough command calls for \
            the cursor to return back to 0. N is the number of elements inside the collection..
            """,
            tips: "nondeterministic_output"
        ) { zscan(Call($0)) }
    }
}

// MARK: ZRANDMEMBER

/// No reply has more members than this: it would not fit in memory.
private let largestSample: Int64 = 1 << 27

private func zrandmember(_ call: Call) {
    guard call.count >= 3 else {
        guard let set = call.sortedSet(call.key(1), orReply: { $0.null() }) else { return }
        call.reply.bulk(set.random(&call.executor.pointee.prng).member)
        return
    }
    guard let count = call.integerOrReply(2, in: -Int64.max...Int64.max) else { return }
    guard call.count == 3 || call.count == 4 && call[3].matches("withscores") else {
        call.reply.error(.syntax)
        return
    }
    let withScores = call.count == 4
    if withScores, count.magnitude > UInt64(Int64.max / 2) {
        call.reply.error("ERR value is out of range")
        return
    }
    guard let set = call.sortedSet(call.key(1), orReply: { $0.array(0) }) else { return }
    sample(call, set, count, withScores)
}

private func sample(_ call: Call, _ set: SortedSet, _ count: Int64, _ withScores: Bool) {
    let reply = call.reply
    if count < 0 || count == 1 {
        guard count.magnitude <= largestSample else {
            reply.error("ERR value is out of range")
            return
        }
        reply.members(Int(count.magnitude), withScores: withScores)
        for _ in 0..<count.magnitude {
            let (member, score) = set.random(&call.executor.pointee.prng)
            reply.member(member, score, withScores: withScores)
            if call.isTooLong { return }
        }
        return
    }
    let size = set.count
    let wanted = Int(min(count, Int64(size)))
    reply.members(wanted, withScores: withScores)
    if wanted == size {
        set.forEach(in: 0..<size, reversed: true) { member, score in
            reply.member(member, score, withScores: withScores)
            return true
        }
    } else if wanted * 3 > size || set.isSmall {
        sampleByWalk(call, set, wanted, withScores)
    } else {
        sampleByRank(call, set, wanted, withScores)
    }
}

private func sampleByWalk(_ call: Call, _ set: SortedSet, _ wanted: Int, _ withScores: Bool) {
    var sampler = SelectionSampler(wanted, of: set.count)
    set.forEach { member, score in
        if sampler.takes(&call.executor.pointee.prng) {
            call.reply.member(member, score, withScores: withScores)
        }
    }
}

/// Few among many: ranks at random, each once.
private func sampleByRank(_ call: Call, _ set: SortedSet, _ wanted: Int, _ withScores: Bool) {
    var seen: Set<Int> = []
    while seen.count < wanted {
        let rank = call.executor.pointee.prng.below(set.count)
        guard seen.insert(rank).inserted else { continue }
        let (member, score) = set.element(rank)
        call.reply.member(member, score, withScores: withScores)
    }
}

// MARK: ZSCAN

private func zscan(_ call: Call) {
    guard let cursor = CollectionScan.cursorOrReply(call) else { return }
    let set = call.sortedSet(call.key(1), orReply: { _ in CollectionScan.replyEmpty(call) })
    guard let set,
        let scan = CollectionScan.orReply(call, cursor: cursor, allowsNoValues: false)
    else { return }
    var found = GatheredReply(call)
    var next = cursor
    var seen = 0
    var steps = 0
    repeat {
        next = set.scan(next) { member, score in
            seen += 1
            guard withText(of: member, { scan.matches($0) }) else { return }
            found.bulk(member)
            found.bulk(score)
        }
        steps += 1
    } while next != 0 && seen < scan.count && steps <= scan.count &* 10
    CollectionScan.reply(call, next, found)
}
