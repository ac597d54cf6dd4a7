// BITOP: AND, OR, XOR and NOT of whole strings, eight bytes at a time. Strings that are too short
// count as if they went on with zeros. The result is worked out beside the keyspace, for the
// destination may be one of the sources.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerBitopCommand() {
        command(
            "bitop", since: "2.6.0", arity: -4, [.write, .denyOOM], acl: [.bitmap],
            keys: [.range(2, [.OW, .update]), .range(3, [.RO, .access], last: -1)],
            syntax: "operation destkey:key key...",
            summary: "Perform bitwise operations between strings",
            complexity: "O(N)"
        ) { bitop(Call($0)) }
    }
}

private enum BitOperation {
    case and, or, xor, not

    init?(_ word: Bytes) {
        if word.matches("and") {
            self = .and
        } else if word.matches("or") {
            self = .or
        } else if word.matches("xor") {
            self = .xor
        } else if word.matches("not") {
            self = .not
        } else {
            return nil
        }
    }
}

private func bitop(_ call: Call) {
    guard let operation = BitOperation(call[1]) else {
        call.reply.error(.syntax)
        return
    }
    if case .not = operation, call.count != 4 {
        call.reply.error(
            ErrorReply("ERR BITOP NOT must be called with a single source key."))
        return
    }
    let sources = call.count - 3
    withUnsafeTemporaryAllocation(of: Bytes.self, capacity: sources) { room in
        // Integers have no bytes of their own: 24 bytes of room for the digits of each.
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: sources * 24) { digits in
            guard let list = room.baseAddress, let scratch = digits.baseAddress,
                let length = collectOrReply(call, list, scratch)
            else { return }
            let all = UnsafeBufferPointer(start: UnsafePointer(list), count: sources)
            store(call, operation, all, length)
        }
    }
}

/// Finds the sources; returns the length of the longest, or nil after an error reply. Blocks of
/// entries stay where they are while other keys are looked up.
private func collectOrReply(
    _ call: Call, _ list: UnsafeMutablePointer<Bytes>, _ scratch: UnsafeMutablePointer<UInt8>
) -> Int? {
    var longest = 0
    for index in 0..<(call.count - 3) {
        var bytes = Bytes.empty
        if let entry = call.lookupRead(call.key(index + 3)) {
            guard let string = call.stringOrReply(entry) else { return nil }
            bytes = string.bytes(scratch: scratch + index * 24)
        }
        (list + index).initialize(to: bytes)
        longest = max(longest, bytes.count)
    }
    return longest
}

private func store(
    _ call: Call, _ operation: BitOperation, _ sources: UnsafeBufferPointer<Bytes>, _ length: Int
) {
    let key = call.key(2)
    let existed = call.lookupWrite(key) != nil
    guard length > 0 else {
        if existed {
            call.keyspace.remove(key)
            call.changed(.generic, "del", key)
        }
        call.reply.integer(0)
        return
    }
    guard let result = TransientMemory.allocate(length) else {
        call.reply.error(ErrorReply("ERR Insufficient memory, failed allocating the result"))
        return
    }
    defer { TransientMemory.free(result) }
    combine(operation, sources, into: result, length)
    if !existed { call.announceNew(key) }
    let bytes = Bytes(result.assumingMemoryBound(to: UInt8.self), length)
    call.keyspace.setString(key, bytes, expiry: .clear, asBytes: true)
    // Says that the string was made in place: OBJECT ENCODING answers `raw`, as in the reference.
    _ = call.keyspace.resizeString(key, to: length)
    call.changed(.string, "set", key)
    call.reply.integer(length)
}

private func combine(
    _ operation: BitOperation, _ sources: UnsafeBufferPointer<Bytes>,
    into result: UnsafeMutableRawPointer, _ length: Int
) {
    let first = sources[0]
    invariant(first.count <= length, "a source is longer than the longest")
    copyBytes(to: result, from: first.base, count: first.count)
    clearBytes(result + first.count, count: length - first.count)
    if case .not = operation {
        complement(result, length)
        return
    }
    for index in 1..<max(sources.count, 1) {
        let source = sources[index]
        let from = UnsafeRawPointer(source.base)
        switch operation {
        case .and:
            merge(result, from, source.count) { $0 & $1 }
            clearBytes(result + source.count, count: length - source.count)
        case .or: merge(result, from, source.count) { $0 | $1 }
        case .xor: merge(result, from, source.count) { $0 ^ $1 }
        case .not: break
        }
    }
}

@inline(__always)
private func merge(
    _ result: UnsafeMutableRawPointer, _ source: UnsafeRawPointer, _ count: Int,
    _ operation: (UInt64, UInt64) -> UInt64
) {
    var position = 0
    while position &+ 8 <= count {
        let a = result.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        let b = source.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        result.storeBytes(of: operation(a, b), toByteOffset: position, as: UInt64.self)
        position &+= 8
    }
    while position < count {
        let a = UInt64(result.load(fromByteOffset: position, as: UInt8.self))
        let b = UInt64(source.load(fromByteOffset: position, as: UInt8.self))
        let byte = UInt8(truncatingIfNeeded: operation(a, b))
        result.storeBytes(of: byte, toByteOffset: position, as: UInt8.self)
        position &+= 1
    }
}

private func complement(_ result: UnsafeMutableRawPointer, _ count: Int) {
    var position = 0
    while position &+ 8 <= count {
        let word = result.loadUnaligned(fromByteOffset: position, as: UInt64.self)
        result.storeBytes(of: ~word, toByteOffset: position, as: UInt64.self)
        position &+= 8
    }
    while position < count {
        let byte = result.load(fromByteOffset: position, as: UInt8.self)
        result.storeBytes(of: ~byte, toByteOffset: position, as: UInt8.self)
        position &+= 1
    }
}
