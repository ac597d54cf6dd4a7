// Taking the lowest or highest members: ZPOPMIN, ZPOPMAX, ZMPOP, and BZPOPMIN, BZPOPMAX, BZMPOP,
// which wait when there is nothing to take. Those that choose among keys, or wait, are propagated
// as the plain pop that they turned out to be.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortedSetPopCommands() {
        command(
            "zpopmin", since: "5.0.0", arity: -2, [.write, .fast], acl: [.sortedset],
            keys: [.range(1, [.RW, .access, .delete])],
            syntax: "key [count:integer]",
            summary: "Remove and return members with the lowest scores in a sorted set",
            complexity: """
            O(log(N)*M) with N being the number of elements in the sorted set, and M being the \
            number of elements popped.
            """
        ) { zpopmin(Call($0)) }

        command(
            "zpopmax", since: "5.0.0", arity: -2, [.write, .fast], acl: [.sortedset],
            keys: [.range(1, [.RW, .access, .delete])],
            syntax: "key [count:integer]",
            summary: "Remove and return members with the highest scores in a sorted set",
            complexity: """
            O(log(N)*M) with N being the number of elements in the sorted set, and M being the \
            number of elements popped.
            """
        ) { zpopmax(Call($0)) }

        command(
            "zmpop", since: "7.0.0", arity: -4, [.write], acl: [.sortedset],
            keys: [
                KeySpec(.index(1), .keyNumber(at: 0, first: 1, step: 1), [.RW, .access, .delete]),
            ],
            syntax: "numkeys:integer key... <where: MIN|MAX> [COUNT count:integer]",
            summary: "Remove and return members with scores in a sorted set",
            complexity: """
            O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of \
            elements in the sorted set, and M being the number of elements popped.
            """
        ) { zmpop(Call($0)) }

        command(
            "bzpopmin", since: "5.0.0", arity: -3, [.write, .noScript, .fast, .blocking],
            acl: [.sortedset], keys: [.range(1, [.RW, .access, .delete], last: -2)],
            syntax: "key... timeout:double",
            summary: """
            Remove and return the member with the lowest score from one or more sorted sets, or \
            block until one is available
            """,
            complexity: "O(log(N)) with N being the number of elements in the sorted set.",
            history: "6.0.0 `timeout` is interpreted as a double instead of an integer."
        ) { bzpopmin(Call($0)) }

        command(
            "bzpopmax", since: "5.0.0", arity: -3, [.write, .noScript, .fast, .blocking],
            acl: [.sortedset], keys: [.range(1, [.RW, .access, .delete], last: -2)],
            syntax: "key... timeout:double",
            summary: """
            Remove and return the member with the highest score from one or more sorted sets, or \
            block until one is available
            """,
            complexity: "O(log(N)) with N being the number of elements in the sorted set.",
            history: "6.0.0 `timeout` is interpreted as a double instead of an integer."
        ) { bzpopmax(Call($0)) }

        command(
            "bzmpop", since: "7.0.0", arity: -5, [.write, .blocking], acl: [.sortedset],
            keys: [
                KeySpec(.index(2), .keyNumber(at: 0, first: 1, step: 1), [.RW, .access, .delete]),
            ],
            syntax: """
            timeout:double numkeys:integer key... <where: MIN|MAX> [COUNT count:integer]
            """,
            summary: """
            Remove and return members with scores in a sorted set or block until one is available
            """,
            complexity: """
            O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of \
            elements in the sorted set, and M being the number of elements popped.
            """
        ) { bzmpop(Call($0)) }
    }
}

private enum PopEnd {
    case lowest, highest

    var event: StaticString { self == .lowest ? "zpopmin" : "zpopmax" }
    var command: StaticString { self == .lowest ? "ZPOPMIN" : "ZPOPMAX" }
}

/// How popped members are shown.
private struct PopReply {
    /// The key stands in front.
    var namesKey: Bool
    /// Each member and its score in an array of their own.
    var isNested: Bool

    func begin(_ reply: ReplyWriter, _ key: KeyRef, _ count: Int) {
        switch (namesKey, isNested) {
        case (false, false):
            reply.array(count * 2)
        case (false, true):
            reply.array(count)
        case (true, false):
            reply.array(count * 2 + 1)
            reply.bulk(key.bytes)
        case (true, true):
            reply.array(2)
            reply.bulk(key.bytes)
            reply.array(count)
        }
    }
}

/// Pops up to `count` members of the set in `entry`; returns how many.
private func pop(
    _ call: Call, _ entry: Entry, _ key: KeyRef, _ end: PopEnd, _ count: Int64, _ form: PopReply
) -> Int {
    var set = SortedSet(entry)
    let size = set.count
    let taken = Int(min(count, Int64(size)))
    let range = end == .lowest ? 0..<taken : (size - taken)..<size
    let reply = call.reply
    form.begin(reply, key, taken)
    set.forEach(in: range, reversed: end == .highest) { member, score in
        if form.isNested { reply.array(2) }
        reply.bulk(member)
        reply.double(score)
        return true
    }
    call.keyspace.willChange(entry, key)
    set.remove(ranks: range, call.heap)
    call.finishRemoval(of: taken, end.event, set, in: entry, key)
    return taken
}

// MARK: From one key

private func zpopmin(_ call: Call) { pop(call, .lowest) }

private func zpopmax(_ call: Call) { pop(call, .highest) }

private func pop(_ call: Call, _ end: PopEnd) {
    guard call.count <= 3 else {
        call.reply.error(.syntax)
        return
    }
    var count: Int64 = 1
    if call.count == 3 {
        guard let value = call[2].decimal, value >= 0 else {
            call.reply.error(.notPositive)
            return
        }
        count = value
    }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else {
        call.reply.array(0)
        return
    }
    guard call.typeOrReply(entry, .sortedSet) != nil else { return }
    guard count > 0 else {
        call.reply.array(0)
        return
    }
    let isNested = call.count == 3 && call.reply.version > 2
    _ = pop(call, entry, key, end, count, PopReply(namesKey: false, isNested: isNested))
}

// MARK: From the first key that has members

/// A request that names several keys.
private struct MultiPop {
    var keys: Range<Int>
    var end: PopEnd
    /// nil for the commands that always take one.
    var count: Int64?
}

/// The entry of the first key that exists; its type is not looked at.
private func firstEntry(_ call: Call, _ keys: Range<Int>) -> (entry: Entry, key: KeyRef)? {
    for index in keys {
        let key = call.key(index)
        if let entry = call.lookupWrite(key) { return (entry, key) }
    }
    return nil
}

/// Pops from `entry`, and propagates it as the plain command.
private func popOne(_ call: Call, _ entry: Entry, _ key: KeyRef, _ request: MultiPop) {
    let form = PopReply(namesKey: true, isNested: request.count != nil)
    let taken = pop(call, entry, key, request.end, request.count ?? 1, form)
    call.rewrite(request.count == nil ? 2 : 3) { stream in
        stream.argument(request.end.command)
        stream.argument(key.bytes)
        if request.count != nil { stream.argument(decimal: Int64(taken)) }
    }
}

private func zmpop(_ call: Call) {
    guard let request = multiPopOrReply(call, numberAt: 1) else { return }
    guard let (entry, key) = firstEntry(call, request.keys) else {
        call.reply.nullArray()
        return
    }
    guard call.typeOrReply(entry, .sortedSet) != nil else { return }
    popOne(call, entry, key, request)
}

private func multiPopOrReply(_ call: Call, numberAt index: Int) -> MultiPop? {
    guard let number = call[index].decimal, number > 0 else {
        call.reply.error("ERR numkeys should be greater than 0")
        return nil
    }
    guard number < Int64(call.count - index - 1) else {
        call.reply.error(.syntax)
        return nil
    }
    let keys = (index + 1)..<(index + 1 + Int(number))
    let word = call[keys.upperBound]
    guard word.matches("min") || word.matches("max") else {
        call.reply.error(.syntax)
        return nil
    }
    var request = MultiPop(keys: keys, end: word.matches("min") ? .lowest : .highest, count: 1)
    let option = keys.upperBound + 1
    guard option < call.count else { return request }
    guard call[option].matches("count"), option + 1 < call.count else {
        call.reply.error(.syntax)
        return nil
    }
    guard let count = call[option + 1].decimal, count > 0 else {
        call.reply.error("ERR count should be greater than 0")
        return nil
    }
    guard option + 2 == call.count else {
        call.reply.error(.syntax)
        return nil
    }
    request.count = count
    return request
}

// MARK: Waiting

private func bzpopmin(_ call: Call) { wait(call, .lowest) }

private func bzpopmax(_ call: Call) { wait(call, .highest) }

private func wait(_ call: Call, _ end: PopEnd) {
    let request = MultiPop(keys: 1..<(call.count - 1), end: end, count: nil)
    popOrBlock(call, request, timeoutAt: call.count - 1)
}

private func bzmpop(_ call: Call) {
    guard let request = multiPopOrReply(call, numberAt: 2) else { return }
    popOrBlock(call, request, timeoutAt: 1)
}

private func popOrBlock(_ call: Call, _ request: MultiPop, timeoutAt index: Int) {
    guard let deadline = call.timeoutOrReply(index, .seconds) else { return }
    if let (entry, key) = firstEntry(call, request.keys) {
        guard call.typeOrReply(entry, .sortedSet) != nil else { return }
        popOne(call, entry, key, request)
    } else if call.mayNotBlock {
        call.reply.nullArray()
    } else {
        call.block(on: request.keys, holding: .sortedSet, until: deadline)
    }
}
