// Members at random: SPOP, SRANDMEMBER. What SPOP took is propagated as SREM, since replicas would
// choose others.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerRandomMemberCommands() {
        command(
            "spop", since: "1.0.0", arity: -2, [.write, .fast], acl: [.set],
            keys: [.range(1, [.RW, .access, .delete])],
            syntax: "key [count:integer]{3.2.0}",
            summary: "Remove and return one or multiple random members from a set",
            complexity: """
            Without the count argument O(1), otherwise O(N) where N is the value of the passed \
            count.
            """,
            history: "3.2.0 Added the `count` argument.",
            tips: "nondeterministic_output"
        ) { spop(Call($0)) }

        command(
            "srandmember", since: "1.0.0", arity: -2, [.readonly], acl: [.set],
            keys: [.range(1, [.RO, .access])],
            syntax: "key [count:integer]{2.6.0}",
            summary: "Get one or multiple random members from a set",
            complexity: """
            Without the count argument O(1), otherwise O(N) where N is the absolute value of the \
            passed count.
            """,
            history: "2.6.0 Added the optional `count` argument.",
            tips: "nondeterministic_output"
        ) { srandmember(Call($0)) }
    }
}

// MARK: SPOP

private func spop(_ call: Call) {
    guard call.count < 4 else { return call.reply.error(.syntax) }
    if call.count == 3 { return popMany(call) }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else { return call.reply.null() }
    guard var set = call.setOrReply(entry) else { return }
    call.keyspace.willChange(entry, key)
    withText(of: set.random(&call.executor.pointee.prng)) { text in
        call.reply.bulk(text)
        call.rewrite(3) { stream in
            stream.argument("SREM")
            stream.argument(key.bytes)
            stream.argument(text)
        }
        // The text may lie in what is removed: its copy in the reply or the stream does not matter
        // any more once both are written.
        set.removeRandom(text, call.heap)
    }
    set.store(in: entry)
    let isEmpty = set.count == 0
    call.changed(.set, "spop", key)
    if isEmpty { call.removeEmptied(key) }
}

extension SetObject {
    /// Removes a member whose text may lie in this set's own memory.
    fileprivate mutating func removeRandom(_ text: Bytes, _ heap: ObjectHeap) {
        let existed = remove(.bytes(text), heap)
        invariant(existed, "a random member is not there")
    }
}

private func popMany(_ call: Call) {
    guard let wanted = call.integerOrReply(2, .notPositive) else { return }
    guard wanted >= 0 else { return call.reply.error(.notPositive) }
    let key = call.key(1)
    guard let entry = call.lookupWrite(key) else { return call.reply.set(0) }
    guard var set = call.setOrReply(entry) else { return }
    guard wanted > 0 else { return call.reply.set(0) }
    guard wanted < set.count else { return popAll(call, key, set) }
    call.keyspace.willChange(entry, key)
    let count = Int(wanted)
    call.reply.set(count)
    var batches = PoppedMembers(call, key, count)
    if set.isTable {
        for _ in 0..<count {
            withText(of: set.random(&call.executor.pointee.prng)) { text in
                batches.append(.bytes(text))
                set.removeRandom(text, call.heap)
            }
        }
    } else {
        var sampler = SelectionSampler(count, of: set.count)
        set.filter(call.heap) { member in
            guard sampler.takes(&call.executor.pointee.prng) else { return true }
            batches.append(member)
            return false
        }
    }
    set.store(in: entry)
    call.changed(.set, "spop", key)
    call.executor.pointee.dirty &+= Int64(count - 1)
}

private func popAll(_ call: Call, _ key: KeyRef, _ set: SetObject) {
    let reply = call.reply
    let count = set.count
    reply.set(count)
    set.forEach { reply.bulk($0) }
    let isLazy = call.executor.pointee.settings.lazyServerDelete
    call.changed(.set, "spop", key)
    call.executor.pointee.dirty &+= Int64(count - 1)
    call.rewrite(2) { stream in
        stream.argument(isLazy ? "UNLINK" : "DEL")
        stream.argument(key.bytes)
    }
    let existed = isLazy ? call.keyspace.unlink(key) : call.keyspace.remove(key)
    invariant(existed, "a key that was found can be removed")
    call.signal(.generic, "del", key)
}

/// What SPOP took, on its way to the client and, as SREMs of a bounded length, to the stream.
private struct PoppedMembers {
    private static let batch = 1024
    private let call: Call
    private let key: KeyRef
    private var left: Int
    private var gathered = 0

    init(_ call: Call, _ key: KeyRef, _ count: Int) {
        self.call = call
        self.key = key
        left = count
        invariant(call.executor.pointee.scratch.pointee.isEmpty, "the work space is in use")
    }

    mutating func append(_ member: PackedValue) {
        invariant(left > 0, "more members than announced")
        ReplyWriter(call.executor.pointee.scratch, version: 2).bulk(member)
        gathered += 1
        left -= 1
        if gathered == PoppedMembers.batch || left == 0 { flush() }
    }

    private mutating func flush() {
        let room = call.executor.pointee.scratch
        call.reply.raw(room.pointee.bytes)
        call.rewrite(gathered + 2) { stream in
            stream.argument("SREM")
            stream.argument(key.bytes)
            stream.encoded(room.pointee.bytes)
        }
        room.pointee.removeAll()
        gathered = 0
    }
}

// MARK: SRANDMEMBER

private func srandmember(_ call: Call) {
    guard call.count < 4 else { return call.reply.error(.syntax) }
    if call.count == 3 { return randomMembers(call) }
    guard let entry = call.lookupRead(call.key(1)) else { return call.reply.null() }
    guard let set = call.setOrReply(entry) else { return }
    call.reply.bulk(set.random(&call.executor.pointee.prng))
}

private func randomMembers(_ call: Call) {
    guard let wanted = call.integerOrReply(2, in: -Int64.max...Int64.max) else { return }
    guard let entry = call.lookupRead(call.key(1)) else { return call.reply.array(0) }
    guard let set = call.setOrReply(entry) else { return }
    let total = set.count
    if wanted < 0 {
        repeating(call, set, Int(0 &- wanted))
    } else if set.isTable, wanted < Int64(total / 4) {
        drawn(call, set.fields, Int(wanted))
    } else {
        let count = Int(min(wanted, Int64(total)))
        var sampler = SelectionSampler(count, of: total)
        call.reply.array(count)
        set.forEach { member in
            if sampler.takes(&call.executor.pointee.prng) { call.reply.bulk(member) }
        }
    }
}

/// Different members of a large table, drawn one by one.
private func drawn(_ call: Call, _ fields: FieldTable, _ wanted: Int) {
    var seen = Set<UnsafeMutableRawPointer>()
    call.reply.array(wanted)
    while seen.count < wanted {
        guard let entry = fields.random(&call.executor.pointee.prng) else { return }
        if seen.insert(entry.base).inserted { call.reply.bulk(entry.key) }
    }
}

/// As many members as asked for, the same one perhaps more than once.
private func repeating(_ call: Call, _ set: SetObject, _ wanted: Int) {
    call.reply.array(wanted)
    guard set.encoding == .listpack else {
        for _ in 0..<wanted {
            call.reply.bulk(set.random(&call.executor.pointee.prng))
            if call.isTooLong { return }
        }
        return
    }
    let pack = Listpack(set.payload)
    var positions: [Int] = []
    var position = pack.first
    while let member = position {
        positions.append(member)
        position = pack.next(member)
    }
    for _ in 0..<wanted {
        call.reply.bulk(pack[positions[call.executor.pointee.prng.below(positions.count)]])
        if call.isTooLong { return }
    }
}
