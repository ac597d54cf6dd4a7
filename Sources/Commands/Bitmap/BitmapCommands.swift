// The bitmap group: strings as arrays of bits, the first bit being the highest of the first byte.
import Base
import Engine
import RESP
import Storage

extension Extension {
    /// SETBIT, BITCOUNT, BITOP, BITFIELD and the rest.
    public static let bitmaps = Extension("bitmap") { registry in
        registry.group = .bitmap
        registry.registerBitCommands()
        registry.registerBitCountCommands()
        registry.registerBitopCommand()
        registry.registerBitfieldCommands()
    }
}

extension Call {
    /// The bit offset at argument `index`, or nil after an error reply. `#n` means the n-th field
    /// of `width` bits, where that is allowed. What our primary could store, so can we.
    func bitOffsetOrReply(_ index: Int, fieldWidth width: Int = 0) -> Int? {
        var text = self[index]
        let isFieldNumber = width > 0 && !text.isEmpty && text[0] == UInt8(ascii: "#")
        if isFieldNumber { text = text[1..<text.count] }
        let (offset, overflows) =
            (text.decimal ?? -1).multipliedReportingOverflow(by: isFieldNumber ? Int64(width) : 1)
        let isTooFar =
            (offset &>> 3) >= Int64(executor.pointee.settings.maxBulkLength)
            && !session.pointee.flags.contains(.fromPrimary)
        guard !overflows, offset >= 0, !isTooFar else {
            reply.error(ErrorReply("ERR bit offset is not an integer or out of range"))
            return nil
        }
        return Int(offset)
    }

    /// The bytes of the string at `key`, long enough for bit `last`; nil after an error reply.
    /// `isNew` tells whether a key or length came into being.
    @inline(__always)
    func growForBitOrReply(
        _ key: KeyRef, last: Int
    ) -> (bytes: UnsafeMutablePointer<UInt8>, grew: Bool)? {
        invariant(last >= 0, "there are no bits before the first")
        let entry = lookupWrite(key)
        var length = 0
        if let entry {
            guard let string = stringOrReply(entry) else { return nil }
            length = string.stringLength
        } else {
            announceNew(key)
        }
        let size = max(length, (last &>> 3) &+ 1)
        let bytes = keyspace.resizeString(key, to: size)
        return (bytes, entry == nil || size > length)
    }
}
