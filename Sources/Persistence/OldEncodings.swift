// The compact forms that versions before 7.0 wrote: ziplists (lists, hashes, sorted sets) and
// zipmaps (hashes of versions before 2.6). They are only read, element by element, into what we
// have now; every length is checked, since the bytes come from outside.
import Base
import Storage

/// Calls `visit` with each element of a ziplist; false when the bytes are damaged, or as soon as
/// `visit` says so.
public func forEachZiplistEntry(_ bytes: Bytes, _ visit: (PackedValue) -> Bool) -> Bool {
    let headerSize = 10
    guard bytes.count > headerSize else { return false }
    let raw = UnsafeRawPointer(bytes.base)
    let total = UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self))
    let said = Int(UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt16.self)))
    guard Int(total) == bytes.count, bytes[bytes.count - 1] == 0xFF else { return false }
    let end = bytes.count - 1
    var position = headerSize
    let tail = Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
    var previous = 0
    var count = 0
    var last = headerSize
    while position < end {
        let start = position
        last = start
        guard let size = ziplistSize(bytes, &position, end), size == previous,
            let value = ziplistValue(bytes, &position, end), visit(value)
        else { return false }
        previous = position - start
        count += 1
    }
    // The header also says where the last one begins.
    guard count == 0 || last == tail else { return false }
    return said == 65535 || said == count
}

/// The size of the element before, which stands in front of each.
private func ziplistSize(_ bytes: Bytes, _ position: inout Int, _ end: Int) -> Int? {
    let first = bytes[position]
    if first < 254 {
        position += 1
        return Int(first)
    }
    guard first == 254, end - position >= 5 else { return nil }
    let word = UnsafeRawPointer(bytes.base + position + 1).loadUnaligned(as: UInt32.self)
    position += 5
    return Int(UInt32(littleEndian: word))
}

private func ziplistValue(_ bytes: Bytes, _ position: inout Int, _ end: Int) -> PackedValue? {
    guard position < end else { return nil }
    let head = bytes[position]
    var headSize = 1
    var count: Int
    switch head &>> 6 {
    case 0: count = Int(head & 0x3F)
    case 1:
        guard end - position >= 2 else { return nil }
        count = (Int(head & 0x3F) &<< 8) | Int(bytes[position + 1])
        headSize = 2
    case 2:
        guard head == 0x80, end - position >= 5 else { return nil }
        let word = UnsafeRawPointer(bytes.base + position + 1).loadUnaligned(as: UInt32.self)
        count = Int(word.byteSwapped)
        headSize = 5
    default: return ziplistInteger(bytes, &position, end, head)
    }
    guard end - position - headSize >= count else { return nil }
    let start = position + headSize
    position = start + count
    return .bytes(bytes[start..<position])
}

private func ziplistInteger(
    _ bytes: Bytes, _ position: inout Int, _ end: Int, _ head: UInt8
) -> PackedValue? {
    let size: Int
    switch head {
    case 0xC0: size = 2
    case 0xD0: size = 4
    case 0xE0: size = 8
    case 0xF0: size = 3
    case 0xFE: size = 1
    case 0xF1...0xFD:
        position += 1
        return .integer(Int64(head & 0x0F) - 1)
    default: return nil
    }
    guard end - position >= 1 + size else { return nil }
    var word: UInt64 = 0
    for index in 0..<size { word |= UInt64(bytes[position + 1 + index]) &<< UInt64(8 * index) }
    position += 1 + size
    let shift = Int64(64 - 8 * size)
    return .integer((Int64(bitPattern: word) &<< shift) &>> shift)
}

/// Calls `visit` with each field and value of a zipmap; false when the bytes are damaged, or as
/// soon as `visit` says so.
public func forEachZipmapPair(_ bytes: Bytes, _ visit: (Bytes, Bytes) -> Bool) -> Bool {
    guard bytes.count >= 2, bytes[bytes.count - 1] == 0xFF else { return false }
    let end = bytes.count - 1
    let said = Int(bytes[0])
    var position = 1
    var count = 0
    while position < end {
        guard let field = zipmapText(bytes, &position, end, hasRoom: false),
            let value = zipmapText(bytes, &position, end, hasRoom: true), visit(field, value)
        else { return false }
        count += 1
    }
    return position == end && (said >= 254 || said == count)
}

/// A length, for values a byte of unused room, the text, that room.
private func zipmapText(
    _ bytes: Bytes, _ position: inout Int, _ end: Int, hasRoom: Bool
) -> Bytes? {
    guard position < end else { return nil }
    var count = Int(bytes[position])
    position += 1
    if count == 254 {
        guard end - position >= 4 else { return nil }
        let word = UnsafeRawPointer(bytes.base + position).loadUnaligned(as: UInt32.self)
        count = Int(UInt32(littleEndian: word))
        position += 4
    } else if count > 254 {
        return nil
    }
    var room = 0
    if hasRoom {
        guard position < end else { return nil }
        room = Int(bytes[position])
        position += 1
    }
    guard end - position >= count + room else { return nil }
    let start = position
    position += count + room
    return bytes[start..<(start + count)]
}
