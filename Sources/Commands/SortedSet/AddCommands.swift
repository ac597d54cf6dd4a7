// ZADD and ZINCRBY. All scores are read before anything changes, so that a command happens as a
// whole or not at all.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSortedSetAddCommands() {
        command(
            "zadd", since: "1.2.0", arity: -4, [.write, .denyOOM, .fast], acl: [.sortedset],
            keys: [.range(1, [.RW, .update])],
            member: 3,
            syntax: """
            key [condition: NX|XX]{3.0.2} [comparison: GT|LT]{6.2.0} [change=CH]{3.0.2} \
            [increment=INCR]{3.0.2} <score_member: score:double member>...
            """,
            summary: """
            Add one or more members to a sorted set, or update its score if it already exists
            """,
            complexity: """
            O(log(N)) for each item added, where N is the number of elements in the sorted set.
            """,
            history: """
            2.4.0 Accepts multiple elements.
            3.0.2 Added the `XX`, `NX`, `CH` and `INCR` options.
            6.2.0 Added the `GT` and `LT` options.
            """
        ) { zadd(Call($0)) }

        command(
            "zincrby", since: "1.2.0", arity: 4, [.write, .denyOOM, .fast], acl: [.sortedset],
            keys: [.range(1, [.RW, .access, .update])],
            member: 3,
            syntax: "key increment:integer member",
            summary: "Increment the score of a member in a sorted set",
            complexity: "O(log(N)) where N is the number of elements in the sorted set."
        ) { zincrby(Call($0)) }
    }
}

private func zadd(_ call: Call) { add(call, []) }

private func zincrby(_ call: Call) { add(call, .increment) }

/// The options, and where the score of the first pair stands.
private struct AddRequest {
    var options: SortedSetAdd
    var countsChanges = false
    var first = 2
    var pairs = 0

    @inline(__always)
    static func orReply(_ call: Call, _ implied: SortedSetAdd) -> AddRequest? {
        var request = AddRequest(options: implied)
        while request.first < call.count, request.take(call[request.first]) { request.first += 1 }
        let rest = call.count &- request.first
        guard rest > 0, rest & 1 == 0 else {
            call.reply.error(.syntax)
            return nil
        }
        request.pairs = rest / 2
        guard request.isConsistentOrReply(call) else { return nil }
        for pair in 0..<request.pairs
        where call.scoreOrReply(request.first &+ pair &* 2) == nil { return nil }
        return request
    }

    @inline(__always)
    private mutating func take(_ word: Bytes) -> Bool {
        // Scores begin with a digit, a sign or a point, except for `inf` and its like.
        guard word.count > 1, word.count < 5, word[0] > 64 else { return false }
        if word.matches("nx") {
            options.insert(.onlyNew)
        } else if word.matches("xx") {
            options.insert(.onlyExisting)
        } else if word.matches("ch") {
            countsChanges = true
        } else if word.matches("incr") {
            options.insert(.increment)
        } else if word.matches("gt") {
            options.insert(.onlyGreater)
        } else if word.matches("lt") {
            options.insert(.onlyLess)
        } else {
            return false
        }
        return true
    }

    private func isConsistentOrReply(_ call: Call) -> Bool {
        if options.isSuperset(of: [.onlyNew, .onlyExisting]) {
            call.reply.error("ERR XX and NX options at the same time are not compatible")
            return false
        }
        let exclusive: SortedSetAdd = [.onlyGreater, .onlyLess, .onlyNew]
        let chosen = options.intersection(exclusive)
        if chosen.rawValue.nonzeroBitCount > 1 {
            call.reply.error("ERR GT, LT, and/or NX options at the same time are not compatible")
            return false
        }
        if options.contains(.increment), pairs > 1 {
            call.reply.error("ERR INCR option supports a single increment-element pair")
            return false
        }
        return true
    }
}

/// What came of the pairs.
private struct AddTally {
    var added = 0
    var updated = 0
    /// The score of the last member that no option excluded.
    var score: Double?
    var isNotNumber = false

    @inline(__always)
    mutating func note(_ outcome: SortedSetOutcome) {
        switch outcome {
        case .added(let score):
            added &+= 1
            self.score = score
        case .updated(let score):
            updated &+= 1
            self.score = score
        case .same(let score): self.score = score
        case .refused: break
        case .notNumber: isNotNumber = true
        }
    }
}

@inline(__always)
private func add(_ call: Call, _ implied: SortedSetAdd) {
    guard let request = AddRequest.orReply(call, implied) else { return }
    let first = request.first
    _ = addMembers(call, request.options, request.countsChanges, request.pairs) { pair in
        let index = first &+ pair &* 2
        guard let score = call[index].score else { unreachable("a score that was one before") }
        return (score, call[index &+ 1])
    }
}

/// Adds so many members to the key at argument 1, as ZADD does, and answers; true when anything
/// changed.
@inline(__always)
func addMembers(
    _ call: Call, _ options: SortedSetAdd, _ countsChanges: Bool, _ count: Int,
    _ pair: (Int) -> (score: Double, member: Bytes)
) -> Bool {
    let key = call.key(1)
    var tally = AddTally()
    if let entry = call.lookupWrite(key) {
        guard call.typeOrReply(entry, .sortedSet) != nil else { return false }
        call.keyspace.willChange(entry, key)
        var set = SortedSet(entry)
        set.prepare(for: count, call.limits, call.heap)
        for index in 0..<count {
            let (score, member) = pair(index)
            tally.note(set.add(member, score, options, call.limits, call.heap))
        }
        call.put(set, in: entry)
    } else if !options.contains(.onlyExisting) {
        var set = SortedSet.make(
            expecting: count, length: pair(0).member.count, call.limits, call.heap)
        for index in 0..<count {
            let (score, member) = pair(index)
            tally.note(set.add(member, score, options, call.limits, call.heap))
        }
        invariant(tally.added > 0, "a new set without members")
        call.announceNew(key)
        _ = call.keyspace.insertObject(key, .sortedSet, set.encoding, set.payload)
    }
    return finish(call, options, countsChanges, tally, key)
}

@inline(__always)
private func finish(
    _ call: Call, _ options: SortedSetAdd, _ countsChanges: Bool, _ tally: AddTally,
    _ key: KeyRef
) -> Bool {
    let isIncrement = options.contains(.increment)
    let changes = tally.added &+ tally.updated
    if tally.isNotNumber {
        invariant(changes == 0, "a refused sum among several")
        call.reply.error("ERR resulting score is not a number (NaN)")
        return false
    }
    if !isIncrement {
        call.reply.integer(countsChanges ? changes : tally.added)
    } else if let score = tally.score {
        call.reply.double(score)
    } else {
        call.reply.null()
    }
    guard changes > 0 else { return false }
    call.executor.pointee.dirty &+= Int64(changes)
    call.signal(.sortedSet, isIncrement ? "zincr" : "zadd", key)
    return true
}
