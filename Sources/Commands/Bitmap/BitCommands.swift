// Single bits: SETBIT, GETBIT. Setting a bit to what it is changes nothing and is not propagated,
// unless the string grew for it.
import Base
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerBitCommands() {
        command(
            "getbit", since: "2.2.0", arity: 3, [.readonly, .fast], acl: [.bitmap],
            keys: [.range(1, [.RO, .access])],
            syntax: "key offset:integer",
            summary: "Returns the bit value at offset in the string value stored at key",
            complexity: "O(1)"
        ) { getbit(Call($0)) }

        command(
            "setbit", since: "2.2.0", arity: 4, [.write, .denyOOM], acl: [.bitmap],
            keys: [.range(1, [.RW, .access, .update])],
            syntax: "key offset:integer value:integer",
            summary: "Sets or clears the bit at offset in the string value stored at key",
            complexity: "O(1)"
        ) { setbit(Call($0)) }
    }
}

private func getbit(_ call: Call) {
    guard let offset = call.bitOffsetOrReply(2) else { return }
    guard let entry = call.lookupRead(call.key(1)) else {
        call.reply.integer(0)
        return
    }
    guard let string = call.stringOrReply(entry) else { return }
    let bit = withBytes(of: string) { bytes in
        let byte = offset &>> 3
        guard byte < bytes.count else { return 0 }
        return Int((bytes[byte] &>> UInt8(7 &- (offset & 7))) & 1)
    }
    call.reply.integer(bit)
}

private func setbit(_ call: Call) {
    guard let offset = call.bitOffsetOrReply(2) else { return }
    let notBit = ErrorReply("ERR bit is not an integer or out of range")
    guard let value = call.integerOrReply(3, notBit) else { return }
    guard value == 0 || value == 1 else {
        call.reply.error(notBit)
        return
    }
    let key = call.key(1)
    guard let (bytes, grew) = call.growForBitOrReply(key, last: offset) else { return }
    let mask: UInt8 = 0x80 &>> UInt8(offset & 7)
    let byte = bytes + (offset &>> 3)
    let wasSet = byte.pointee & mask != 0
    if grew || wasSet != (value == 1) {
        if value == 1 { byte.pointee |= mask } else { byte.pointee &= ~mask }
        call.changed(.string, "setbit", key)
    }
    call.reply.integer(wasSet ? 1 : 0)
}
