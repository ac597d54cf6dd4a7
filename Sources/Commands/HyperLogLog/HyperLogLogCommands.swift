// PFADD, PFCOUNT, PFMERGE: how many different elements there were, about. A count is kept in the
// string until a register changes, so PFCOUNT may write; that is propagated although the command
// only reads, as in the reference.
import Base
import Engine
import RESP
import Storage

extension Extension {
    /// The PF commands.
    public static let hyperLogLogs = Extension("hyperloglog") { registry in
        registry.group = .hyperloglog
        registry.registerHyperLogLogCommands()
        registry.registerHyperLogLogDebugging()
    }
}

extension Registry {
    mutating func registerHyperLogLogCommands() {
        command(
            "pfadd", since: "2.8.9", arity: -2, [.write, .denyOOM, .fast], acl: [.hyperloglog],
            keys: [.range(1, [.RW, .insert])],
            syntax: "key [element]...",
            summary: "Adds the specified elements to the specified HyperLogLog.",
            complexity: "O(1) to add every element."
        ) { pfadd(Call($0)) }

        command(
            "pfcount", since: "2.8.9", arity: -2, [.readonly, .mayReplicate], acl: [.hyperloglog],
            keys: [
                .range(1, [.RW, .access], last: -1, notes: """
                    RW because it may change the internal representation of the key, and propagate \
                    to replicas
                    """),
            ],
            syntax: "key...",
            summary: """
            Return the approximated cardinality of the set(s) observed by the HyperLogLog at \
            key(s).
            """,
            complexity: """
            O(1) with a very small average constant time when called with a single key. O(N) with \
            N being the number of keys, and much bigger constant times, when called with multiple \
            keys.
            """
        ) { pfcount(Call($0)) }

        command(
            "pfmerge", since: "2.8.9", arity: -2, [.write, .denyOOM], acl: [.hyperloglog],
            keys: [.range(1, [.RW, .access, .insert]), .range(2, [.RO, .access], last: -1)],
            syntax: "destkey:key sourcekey:key...",
            summary: "Merge N different HyperLogLogs into a single one.",
            complexity: "O(N) to merge N HyperLogLogs, but with high constant times."
        ) { pfmerge(Call($0)) }
    }
}

extension Call {
    static var damagedSketch: ErrorReply {
        ErrorReply("INVALIDOBJ Corrupted HLL object detected")
    }

    /// The bytes of an entry that holds a HyperLogLog; nil after an error reply.
    func sketchOrReply(_ entry: Entry) -> Bytes? {
        guard let string = stringOrReply(entry) else { return nil }
        if let bytes = string.storedBytes, HyperLogLog.encoding(of: bytes) != nil { return bytes }
        reply.error(ErrorReply("WRONGTYPE Key is not a valid HyperLogLog string value."))
        return nil
    }

    /// The string of `key`, new and empty when there is none; nil after an error reply.
    func sketchForChangeOrReply(_ key: KeyRef) -> (sketch: StoredSketch, isNew: Bool)? {
        guard let entry = lookupWrite(key) else {
            announceNew(key)
            var sketch = StoredSketch(keyspace, key, count: SparseRegisters.emptySize)
            sketch.makeEmpty()
            return (sketch, true)
        }
        guard let bytes = sketchOrReply(entry) else { return nil }
        return (StoredSketch(keyspace, key, count: bytes.count), false)
    }

    var sparseLimit: Int { limits.hllSparseBytes }
}

/// Whether a dense sketch is as high as all elements of PFADD would raise it, as it mostly is.
private func hasAll(_ call: Call, _ bytes: Bytes) -> Bool {
    guard HyperLogLog.encoding(of: bytes) == .dense else { return false }
    let registers = bytes.base + HyperLogLog.headerSize
    for index in 2..<max(call.count, 2) {
        let (register, rank) = HyperLogLog.place(of: call[index])
        if HyperLogLog.denseRegister(registers, register) < rank { return false }
    }
    return true
}

private func pfadd(_ call: Call) {
    let key = call.key(1)
    if let entry = call.lookupWrite(key), entry.isString, let bytes = entry.storedBytes,
        hasAll(call, bytes)
    {
        return call.reply.integer(0)
    }
    guard let found = call.sketchForChangeOrReply(key) else { return }
    var sketch = found.sketch
    var changes: Int64 = found.isNew ? 1 : 0
    let limit = call.sparseLimit
    for index in 2..<max(call.count, 2) {
        switch sketch.add(call[index], sparseLimit: limit) {
        case .unchanged: break
        case .raised: changes += 1
        case .damaged:
            call.reply.error(Call.damagedSketch)
            return
        }
    }
    if changes > 0 {
        HyperLogLog.markStale(sketch.bytes)
        call.signal(.string, "pfadd", key)
        call.executor.pointee.dirty &+= changes
    }
    call.reply.integer(changes > 0 ? 1 : 0)
}

// MARK: Counting

private func pfcount(_ call: Call) {
    if call.count > 2 {
        countUnion(call)
        return
    }
    let key = call.key(1)
    guard let entry = call.lookupRead(key) else {
        call.reply.integer(0)
        return
    }
    guard let bytes = call.sketchOrReply(entry) else { return }
    if let count = HyperLogLog.cachedCount(bytes) {
        call.reply.integer(count)
        return
    }
    guard let count = HyperLogLog.estimate(bytes) else {
        call.reply.error(Call.damagedSketch)
        return
    }
    let sketch = StoredSketch(call.keyspace, key, count: bytes.count)
    HyperLogLog.setCachedCount(sketch.bytes, count)
    // No event, for no element came or went; yet the bytes of the string are others.
    call.touchWatchers(key)
    call.executor.pointee.dirty &+= 1
    call.reply.integer(count)
}

private func countUnion(_ call: Call) {
    withRanks { ranks in
        for index in 1..<call.count {
            guard let entry = call.lookupRead(call.key(index)) else { continue }
            guard let bytes = call.sketchOrReply(entry) else { return }
            guard HyperLogLog.merge(bytes, into: ranks) else {
                call.reply.error(Call.damagedSketch)
                return
            }
        }
        call.reply.integer(RankHistogram(ranks: UnsafePointer(ranks)).cardinality)
    }
}

/// Room for a byte per register, all zero.
private func withRanks(_ body: (UnsafeMutablePointer<UInt8>) -> Void) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HyperLogLog.registerCount) { room in
        guard let ranks = room.baseAddress else { return }
        clearBytes(ranks, count: HyperLogLog.registerCount)
        body(ranks)
    }
}

// MARK: Merging

private func pfmerge(_ call: Call) {
    withRanks { ranks in
        var isDense = false
        for index in 1..<call.count {
            guard let entry = call.lookupRead(call.key(index)) else { continue }
            guard let bytes = call.sketchOrReply(entry) else { return }
            if HyperLogLog.encoding(of: bytes) == .dense { isDense = true }
            guard HyperLogLog.merge(bytes, into: ranks) else {
                call.reply.error(Call.damagedSketch)
                return
            }
        }
        store(call, ranks, asDense: isDense)
    }
}

private func store(_ call: Call, _ ranks: UnsafeMutablePointer<UInt8>, asDense: Bool) {
    let key = call.key(1)
    guard var sketch = call.sketchForChangeOrReply(key)?.sketch else { return }
    if asDense {
        let isSound = sketch.makeDense()
        invariant(isSound, "registers that were just merged are damaged")
    }
    let limit = call.sparseLimit
    for register in 0..<HyperLogLog.registerCount where ranks[register] > 0 {
        _ = sketch.raise(register, ranks[register], sparseLimit: limit)
    }
    HyperLogLog.markStale(sketch.bytes)
    call.changed(.string, "pfadd", key)
    call.reply.ok()
}
