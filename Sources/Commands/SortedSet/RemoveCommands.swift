// Removing members by name, and by ranges of ranks, scores and names.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortedSetRemoveCommands() {
        command(
            "zrem", since: "1.2.0", arity: -3, [.write, .fast], acl: [.sortedset],
            keys: [.range(1, [.RW, .delete])],
            member: 2,
            syntax: "key member...",
            summary: "Remove one or more members from a sorted set",
            complexity: """
            O(M*log(N)) with N being the number of elements in the sorted set and M the number of \
            elements to be removed.
            """,
            history: "2.4.0 Accepts multiple elements."
        ) { zrem(Call($0)) }

        command(
            "zremrangebylex", since: "2.8.9", arity: 4, [.write], acl: [.sortedset],
            keys: [.range(1, [.RW, .delete])],
            syntax: "key min max",
            summary: """
            Remove all members in a sorted set between the given lexicographical range
            """,
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements removed by the operation.
            """
        ) { zremrangebylex(Call($0)) }

        command(
            "zremrangebyrank", since: "2.0.0", arity: 4, [.write], acl: [.sortedset],
            keys: [.range(1, [.RW, .delete])],
            syntax: "key start:integer stop:integer",
            summary: "Remove all members in a sorted set within the given indexes",
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements removed by the operation.
            """
        ) { zremrangebyrank(Call($0)) }

        command(
            "zremrangebyscore", since: "1.2.0", arity: 4, [.write], acl: [.sortedset],
            keys: [.range(1, [.RW, .delete])],
            syntax: "key min:double max:double",
            summary: "Remove all members in a sorted set within the given scores",
            complexity: """
            O(log(N)+M) with N being the number of elements in the sorted set and M the number of \
            elements removed by the operation.
            """
        ) { zremrangebyscore(Call($0)) }
    }
}

private func zrem(_ call: Call) {
    let key = call.key(1)
    guard let entry = call.sortedSetEntry(key, orReply: { $0.integer(0) }) else { return }
    var set = SortedSet(entry)
    var removed = 0
    var index = 2
    while index < call.count, set.count > 0 {
        if set.remove(call[index], call.heap) { removed &+= 1 }
        index &+= 1
    }
    call.reply.integer(removed)
    call.finishRemoval(of: removed, "zrem", set, in: entry, key)
}

private func zremrangebyrank(_ call: Call) {
    guard let first = call.integerOrReply(2), let last = call.integerOrReply(3) else { return }
    removeRange(call, "zremrangebyrank") { sortedSetRanks(first, last, of: $0.count) }
}

private func zremrangebyscore(_ call: Call) {
    guard let range = call.scoreRangeOrReply(2, 3) else { return }
    removeRange(call, "zremrangebyscore") { $0.ranks(range) }
}

private func zremrangebylex(_ call: Call) {
    guard let range = call.nameRangeOrReply(2, 3) else { return }
    removeRange(call, "zremrangebylex") { $0.ranks(range) }
}

private func removeRange(
    _ call: Call, _ event: StaticString, _ ranks: (SortedSet) -> Range<Int>
) {
    let key = call.key(1)
    guard let entry = call.sortedSetEntry(key, orReply: { $0.integer(0) }) else { return }
    var set = SortedSet(entry)
    let range = ranks(set)
    set.remove(ranks: range, call.heap)
    call.reply.integer(range.count)
    call.finishRemoval(of: range.count, event, set, in: entry, key)
}
