// Ranges of bits: BITCOUNT, BITPOS. Their ranges count bytes or bits and may be negative, from the
// end. A string is followed by zeros without end unless a BITPOS says where to stop.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerBitCountCommands() {
        command(
            "bitcount", since: "2.6.0", arity: -2, [.readonly], acl: [.bitmap],
            keys: [.range(1, [.RO, .access])],
            syntax: "key [index: start:integer end:integer [index_unit: BYTE|BIT]{7.0.0}]",
            summary: "Count set bits in a string",
            complexity: "O(N)",
            history: "7.0.0 Added the `BYTE|BIT` option."
        ) { bitcount(Call($0)) }

        command(
            "bitpos", since: "2.8.7", arity: -3, [.readonly], acl: [.bitmap],
            keys: [.range(1, [.RO, .access])],
            syntax: """
            key bit:integer [index: start:integer [end_index: end:integer [index_unit: \
            BYTE|BIT]{7.0.0}]]
            """,
            summary: "Find first bit set or clear in a string",
            complexity: "O(N)",
            history: "7.0.0 Added the `BYTE|BIT` option."
        ) { bitpos(Call($0)) }
    }
}

/// A range as a client wrote it.
private struct BitRange {
    var start: Int64 = 0
    var end: Int64 = -1
    var inBits = false

    /// First and last bit in a string of `length` bytes; nil when there are none.
    func bits(length: Int) -> (first: Int, last: Int)? {
        let total = Int64(inBits ? length &<< 3 : length)
        let first = max(start < 0 ? total &+ start : start, 0)
        let last = min(max(end < 0 ? total &+ end : end, 0), total &- 1)
        guard first <= last else { return nil }
        if inBits { return (Int(first), Int(last)) }
        return (Int(first) &<< 3, (Int(last) &<< 3) &+ 7)
    }

    /// Reads BYTE or BIT at `index`; false after an error reply.
    mutating func readUnit(_ call: Call, _ index: Int) -> Bool {
        if call[index].matches("bit") {
            inBits = true
        } else if !call[index].matches("byte") {
            call.reply.error(.syntax)
            return false
        }
        return true
    }
}

private func bitcount(_ call: Call) {
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    var range = BitRange()
    switch call.count {
    case 2: break
    case 4, 5:
        guard let start = call.integerOrReply(2), let end = call.integerOrReply(3) else { return }
        if start < 0, end < 0, start > end {
            call.reply.integer(0)
            return
        }
        range.start = start
        range.end = end
        if call.count == 5, !range.readUnit(call, 4) { return }
    default:
        call.reply.error(.syntax)
        return
    }
    let count = withBytes(of: string) { bytes in
        guard let (first, last) = range.bits(length: bytes.count) else { return 0 }
        return bytes.setBitCount(from: first, through: last)
    }
    call.reply.integer(count)
}

private func bitpos(_ call: Call) {
    guard let bit = call.integerOrReply(2) else { return }
    guard bit == 0 || bit == 1 else {
        call.reply.error(ErrorReply("ERR The bit argument must be 1 or 0."))
        return
    }
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.integer(bit == 1 ? -1 : 0)
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    guard call.count <= 6 else {
        call.reply.error(.syntax)
        return
    }
    var range = BitRange()
    if call.count > 3 {
        guard let start = call.integerOrReply(3) else { return }
        range.start = start
        if call.count == 6, !range.readUnit(call, 5) { return }
        if call.count > 4 {
            guard let end = call.integerOrReply(4) else { return }
            range.end = end
        }
    }
    let position = withBytes(of: string) { bytes in
        guard let (first, last) = range.bits(length: bytes.count) else { return -1 }
        if let found = bytes.firstBit(isSet: bit == 1, from: first, through: last) { return found }
        // Zeros follow, but not inside a range that the client closed.
        return bit == 0 && call.count < 5 ? last + 1 : -1
    }
    call.reply.integer(position)
}
