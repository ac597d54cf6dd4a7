// PFDEBUG and PFSELFTEST, which the reference's test suite and curious operators use.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerHyperLogLogDebugging() {
        command(
            "pfdebug", since: "2.8.9", arity: 3, [.write, .denyOOM, .admin], acl: [.hyperloglog],
            keys: [.range(2, [.RW, .access])],
            syntax: "subcommand key",
            summary: "Internal commands for debugging HyperLogLog values",
            complexity: "N/A",
            system: true
        ) { pfdebug(Call($0)) }

        command(
            "pfselftest", since: "2.8.9", arity: 1, [.admin], acl: [.hyperloglog],
            summary: "An internal command for testing HyperLogLog values",
            complexity: "N/A",
            system: true
        ) { pfselftest(Call($0)) }
    }
}

private func pfdebug(_ call: Call) {
    let key = call.key(2)
    guard let entry = call.lookupWrite(key) else {
        call.reply.error(ErrorReply("ERR The specified key does not exist"))
        return
    }
    guard let bytes = call.sketchOrReply(entry) else { return }
    let isSparse = HyperLogLog.encoding(of: bytes) == .sparse
    let name = call[1]
    if name.matches("getreg") {
        guard let sketch = denseOrReply(call, key, bytes.count) else { return }
        call.reply.array(HyperLogLog.registerCount)
        let registers = UnsafePointer(sketch.bytes) + HyperLogLog.headerSize
        for index in 0..<HyperLogLog.registerCount {
            call.reply.integer(Int(HyperLogLog.denseRegister(registers, index)))
        }
    } else if name.matches("decode") {
        decode(call, bytes, isSparse)
    } else if name.matches("encoding") {
        call.reply.simple(isSparse ? "sparse" : "dense")
    } else if name.matches("todense") {
        guard denseOrReply(call, key, bytes.count) != nil else { return }
        call.reply.integer(isSparse ? 1 : 0)
    } else {
        call.reply.error("ERR Unknown PFDEBUG subcommand '\(name.string)'")
    }
}

/// The string in the dense encoding; a change of it is propagated. nil after an error reply.
private func denseOrReply(_ call: Call, _ key: KeyRef, _ count: Int) -> StoredSketch? {
    var sketch = StoredSketch(call.keyspace, key, count: count)
    guard sketch.makeDense() else {
        call.reply.error(Call.damagedSketch)
        return nil
    }
    if sketch.count != count { call.executor.pointee.dirty &+= 1 }
    return sketch
}

/// `z:5 Z:16000 v:3,1`: short and long runs of zeros, and runs of a rank.
private func decode(_ call: Call, _ bytes: Bytes, _ isSparse: Bool) {
    guard isSparse else {
        call.reply.error(ErrorReply("ERR HLL encoding is not sparse"))
        return
    }
    var words: [String] = []
    var position = HyperLogLog.headerSize
    while position < bytes.count {
        let run = SparseRegisters.Run(bytes.base, position, end: bytes.count)
        if run.rank > 0 {
            words.append("v:\(run.rank),\(run.count)")
        } else {
            words.append((run.size == 2 ? "Z:" : "z:") + "\(run.count)")
        }
        position += run.size
    }
    call.reply.bulk(words.joined(separator: " "))
}

// MARK: Self test

/// Registers keep what they are given, both encodings agree, and estimates are near the truth.
/// Takes a fraction of a second: less than the reference, since nobody else is served meanwhile.
private func pfselftest(_ call: Call) {
    let size = HyperLogLog.denseSize
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size * 2) { room in
        guard let dense = room.baseAddress else { return }
        clearBytes(dense, count: size * 2)
        var prng = Prng(seed: call.executor.pointee.prng.next())
        if let text = failureOfRegisters(dense, &prng) ?? failureOfEstimates(call, dense, &prng) {
            call.reply.error(text)
        } else {
            call.reply.ok()
        }
    }
}

private func failureOfRegisters(
    _ dense: UnsafeMutablePointer<UInt8>, _ prng: inout Prng
) -> String? {
    let registers = dense + HyperLogLog.headerSize
    let seed = prng.next()
    var source = Prng(seed: seed)
    for index in 0..<HyperLogLog.registerCount {
        HyperLogLog.setDenseRegister(registers, index, UInt8(source.next() & 63))
    }
    source = Prng(seed: seed)
    for index in 0..<HyperLogLog.registerCount {
        let expected = UInt8(source.next() & 63)
        let found = HyperLogLog.denseRegister(UnsafePointer(registers), index)
        guard found == expected else {
            return "TESTFAILED Register \(index) should be \(expected) but is \(found)"
        }
    }
    return nil
}

private func failureOfEstimates(
    _ call: Call, _ dense: UnsafeMutablePointer<UInt8>, _ prng: inout Prng
) -> String? {
    let size = HyperLogLog.denseSize
    clearBytes(dense, count: size)
    let registers = dense + HyperLogLog.headerSize
    var sketch = ScratchSketch(dense + size, count: SparseRegisters.emptySize)
    sketch.makeEmpty()
    copyBytes(to: dense, from: sketch.bytes, count: 4)
    let seed = prng.next()
    let limit = call.sparseLimit
    var checkpoint = 1
    for number in 1...100_000 {
        var element = UInt64(number) ^ seed
        withUnsafeBytes(of: &element) { raw in
            guard let start = raw.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
            let bytes = Bytes(start, 8)
            let (register, rank) = HyperLogLog.place(of: bytes)
            _ = HyperLogLog.raiseDense(registers, register, rank)
            _ = sketch.add(bytes, sparseLimit: limit)
        }
        guard number == checkpoint else { continue }
        if number < limit / 2, HyperLogLog.encoding(of: sketch.view) != .sparse {
            return "TESTFAILED sparse encoding not used"
        }
        guard let count = HyperLogLog.estimate(Bytes(UnsafePointer(dense), size)),
            count == HyperLogLog.estimate(sketch.view)
        else { return "TESTFAILED dense/sparse disagree" }
        // A small sketch is off by one now and then, when two elements meet.
        let allowed = number == 10 ? 1 : Int64((1.04 / 128 * 6 * Double(number)).rounded(.up))
        let error = abs(Int64(number) - count)
        guard error <= allowed else {
            return "TESTFAILED Too big error. card:\(number) abserr:\(error)"
        }
        checkpoint *= 10
    }
    return nil
}
