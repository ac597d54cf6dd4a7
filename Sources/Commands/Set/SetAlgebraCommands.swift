// Several sets at once: SINTER, SUNION, SDIFF, their STORE forms, SINTERCARD. A missing key is an
// empty set; an empty result removes the key that it would be stored in.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerSetAlgebraCommands() {
        command(
            "sinter", since: "1.0.0", arity: -2, [.readonly], acl: [.set],
            keys: [.range(1, [.RO, .access], last: -1)],
            syntax: "key...",
            summary: "Intersect multiple sets",
            complexity: """
            O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
            of sets.
            """,
            tips: "nondeterministic_output_order"
        ) { sinter(Call($0)) }

        command(
            "sinterstore", since: "1.0.0", arity: -3, [.write, .denyOOM], acl: [.set],
            keys: [.range(1, [.RW, .update]), .range(2, [.RO, .access], last: -1)],
            syntax: "destination:key key...",
            summary: "Intersect multiple sets and store the resulting set in a key",
            complexity: """
            O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
            of sets.
            """
        ) { sinterstore(Call($0)) }

        command(
            "sintercard", since: "7.0.0", arity: -3, [.readonly], acl: [.set],
            keys: [KeySpec(.index(1), .keyNumber(at: 0, first: 1, step: 1), [.RO, .access])],
            syntax: "numkeys:integer key... [LIMIT limit:integer]",
            summary: "Intersect multiple sets and return the cardinality of the result",
            complexity: """
            O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
            of sets.
            """
        ) { sintercard(Call($0)) }

        command(
            "sunion", since: "1.0.0", arity: -2, [.readonly], acl: [.set],
            keys: [.range(1, [.RO, .access], last: -1)],
            syntax: "key...",
            summary: "Add multiple sets",
            complexity: "O(N) where N is the total number of elements in all given sets.",
            tips: "nondeterministic_output_order"
        ) { sunion(Call($0)) }

        command(
            "sunionstore", since: "1.0.0", arity: -3, [.write, .denyOOM], acl: [.set],
            keys: [.range(1, [.OW, .update]), .range(2, [.RO, .access], last: -1)],
            syntax: "destination:key key...",
            summary: "Add multiple sets and store the resulting set in a key",
            complexity: "O(N) where N is the total number of elements in all given sets."
        ) { sunionstore(Call($0)) }

        command(
            "sdiff", since: "1.0.0", arity: -2, [.readonly], acl: [.set],
            keys: [.range(1, [.RO, .access], last: -1)],
            syntax: "key...",
            summary: "Subtract multiple sets",
            complexity: "O(N) where N is the total number of elements in all given sets.",
            tips: "nondeterministic_output_order"
        ) { sdiff(Call($0)) }

        command(
            "sdiffstore", since: "1.0.0", arity: -3, [.write, .denyOOM], acl: [.set],
            keys: [.range(1, [.OW, .update]), .range(2, [.RO, .access], last: -1)],
            syntax: "destination:key key...",
            summary: "Subtract multiple sets and store the resulting set in a key",
            complexity: "O(N) where N is the total number of elements in all given sets."
        ) { sdiffstore(Call($0)) }
    }
}

/// The sets under a run of keys, in their order; nil stands for a missing key.
private struct Operands {
    var sets: [SetObject?] = []

    /// nil after an error reply.
    static func orReply(_ call: Call, _ range: Range<Int>) -> Operands? {
        var operands = Operands()
        operands.sets.reserveCapacity(range.count)
        for index in range {
            guard let entry = call.lookupRead(call.key(index)) else {
                operands.sets.append(nil)
                continue
            }
            guard let set = call.setOrReply(entry) else { return nil }
            operands.sets.append(set)
        }
        return operands
    }
}

// MARK: Intersection

private func sinter(_ call: Call) {
    guard let operands = Operands.orReply(call, 1..<call.count) else { return }
    var found = GatheredReply(call)
    intersect(operands, call.heap) { member in
        found.bulk(member)
        return true
    }
    found.reply { $0.set($1) }
}

private func sinterstore(_ call: Call) {
    guard let operands = Operands.orReply(call, 2..<call.count) else { return }
    var result = SetObject.make(call.heap)
    intersect(operands, call.heap) { member in
        result.add(member, call.heap, call.limits)
        return true
    }
    store(call, result, "sinterstore")
}

private func sintercard(_ call: Call) {
    let few: StaticString = "ERR numkeys should be greater than 0"
    guard let count = call.integerOrReply(1, ErrorReply(few)) else { return }
    guard count > 0 else { return call.reply.error(few) }
    guard count <= Int64(call.count - 2) else {
        return call.reply.error("ERR Number of keys can't be greater than number of args")
    }
    var limit: Int64 = 0
    var index = 2 + Int(count)
    while index < call.count {
        guard call[index].matches("limit"), index + 1 < call.count else {
            return call.reply.error(.syntax)
        }
        let negative: StaticString = "ERR LIMIT can't be negative"
        guard let value = call.integerOrReply(index + 1, ErrorReply(negative)) else { return }
        guard value >= 0 else { return call.reply.error(negative) }
        limit = value
        index += 2
    }
    guard let operands = Operands.orReply(call, 2..<(2 + Int(count))) else { return }
    var cardinality: Int64 = 0
    intersect(operands, call.heap) { _ in
        cardinality += 1
        return cardinality != limit
    }
    call.reply.integer(cardinality)
}

/// Visits the members that all sets have until `visit` gives false: walks the smallest set and asks
/// the others, the next smallest first.
private func intersect(_ operands: Operands, _ heap: ObjectHeap, _ visit: (PackedValue) -> Bool) {
    var sets = operands.sets.compactMap { $0 }
    guard sets.count == operands.sets.count else { return }
    sets.sort { $0.count < $1.count }
    let smallest = sets[0]
    let others = sets.dropFirst().filter { $0.payload != smallest.payload }
    if others.count == 1 {
        var probe = SetProbe(others[0], questions: smallest.count, heap)
        defer { probe.free() }
        smallest.forEachWhile { probe.contains($0) ? visit($0) : true }
        return
    }
    var probes = others.map { SetProbe($0, questions: smallest.count, heap) }
    defer { for probe in probes { probe.free() } }
    smallest.forEachWhile { member in
        for index in probes.indices {
            guard probes[index].contains(member) else { return true }
        }
        return visit(member)
    }
}

// MARK: Union and difference

private func sunion(_ call: Call) { answer(call, united(call, 1..<call.count)) }

private func sunionstore(_ call: Call) {
    guard let result = united(call, 2..<call.count) else { return }
    store(call, result, "sunionstore")
}

private func sdiff(_ call: Call) { answer(call, subtracted(call, 1..<call.count)) }

private func sdiffstore(_ call: Call) {
    guard let result = subtracted(call, 2..<call.count) else { return }
    store(call, result, "sdiffstore")
}

/// The members of any of the sets; nil after an error reply.
private func united(_ call: Call, _ range: Range<Int>) -> SetObject? {
    guard let operands = Operands.orReply(call, range) else { return nil }
    var result = SetObject.make(call.heap)
    for case let set? in operands.sets {
        set.forEach { result.add($0, call.heap, call.limits) }
    }
    return result
}

/// The members of the first set that no other has; nil after an error reply.
private func subtracted(_ call: Call, _ range: Range<Int>) -> SetObject? {
    guard let operands = Operands.orReply(call, range) else { return nil }
    var result = SetObject.make(call.heap)
    guard let first = operands.sets[0] else { return result }
    let others = operands.sets.dropFirst().compactMap { $0 }
    guard !others.contains(where: { $0.payload == first.payload }) else { return result }
    // Either each member is looked for in the others, or the others are walked and removed.
    let asking = first.count * (others.count + 1) / 2
    let walking = others.reduce(first.count) { $0 + $1.count }
    if asking <= walking {
        let byCount = others.sorted { $0.count > $1.count }
        var probes = byCount.map { SetProbe($0, questions: first.count, call.heap) }
        defer { for probe in probes { probe.free() } }
        first.forEach { member in
            for index in probes.indices where probes[index].contains(member) { return }
            result.add(member, call.heap, call.limits)
        }
        return result
    }
    first.forEach { result.add($0, call.heap, call.limits) }
    for other in others {
        other.forEachWhile { member in
            result.remove(member, call.heap)
            return result.count > 0
        }
    }
    return result
}

// MARK: Results

private func answer(_ call: Call, _ result: SetObject?) {
    guard let result else { return }
    let reply = call.reply
    reply.set(result.count)
    result.forEach { reply.bulk($0) }
    result.free(call.heap.memory)
}

/// Puts a result under the key at argument 1.
private func store(_ call: Call, _ result: SetObject, _ event: StaticString) {
    let key = call.key(1)
    let count = result.count
    let existed = call.lookupWrite(key) != nil
    call.reply.integer(count)
    guard count > 0 else {
        result.free(call.heap.memory)
        guard existed else { return }
        call.keyspace.remove(key)
        call.changed(.generic, "del", key)
        return
    }
    if !existed { call.announceNew(key) }
    call.keyspace.replaceObject(key, .set, result.encoding, result.payload, expiry: .clear)
    call.changed(.set, event, key)
}
