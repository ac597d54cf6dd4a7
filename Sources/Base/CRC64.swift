// CRC-64/REDIS (the "Jones" polynomial, reflected, start 0, no final inversion): the checksum at
// the end of RDB files and DUMP payloads. Eight bytes per step by slicing tables of 16 KB, computed
// once.
import Glibc

private let reflectedPolynomial: UInt64 = 0x95AC_9329_AC4B_C9B5

/// `tables[k * 256 + b]`: what byte `b` contributes when `k` more bytes follow it in the word.
nonisolated(unsafe) private let tables: UnsafePointer<UInt64> = makeTables()

private func makeTables() -> UnsafePointer<UInt64> {
    let table = UnsafeMutablePointer<UInt64>.allocate(capacity: 8 * 256)
    for byte in 0..<256 {
        var crc = UInt64(byte)
        for _ in 0..<8 {
            crc = crc & 1 == 1 ? (crc &>> 1) ^ reflectedPolynomial : crc &>> 1
        }
        table[byte] = crc
    }
    for slice in 1..<8 {
        for byte in 0..<256 {
            let before = table[(slice - 1) * 256 + byte]
            table[slice * 256 + byte] = (before &>> 8) ^ table[Int(before & 0xFF)]
        }
    }
    return UnsafePointer(table)
}

/// The checksum of what `crc` covers followed by `bytes`. Start with 0.
public func crc64(_ crc: UInt64, _ bytes: Bytes) -> UInt64 {
    let table = tables
    var crc = crc
    var next = UnsafeRawPointer(bytes.base)
    var left = bytes.count
    invariant(left >= 0, "a negative count of bytes")
    while left >= 8 {
        let word = crc ^ UInt64(littleEndian: next.loadUnaligned(as: UInt64.self))
        let low =
            table[7 &* 256 &+ Int(word & 0xFF)]
            ^ table[6 &* 256 &+ Int((word &>> 8) & 0xFF)]
            ^ table[5 &* 256 &+ Int((word &>> 16) & 0xFF)]
            ^ table[4 &* 256 &+ Int((word &>> 24) & 0xFF)]
        let high =
            table[3 &* 256 &+ Int((word &>> 32) & 0xFF)]
            ^ table[2 &* 256 &+ Int((word &>> 40) & 0xFF)]
            ^ table[1 &* 256 &+ Int((word &>> 48) & 0xFF)]
            ^ table[Int(word &>> 56)]
        crc = low ^ high
        next += 8
        left &-= 8
    }
    while left > 0 {
        let byte = UInt64(next.load(as: UInt8.self))
        crc = table[Int((crc ^ byte) & 0xFF)] ^ (crc &>> 8)
        next += 1
        left &-= 1
    }
    return crc
}
