import Base
import Testing

@Suite struct CRC64Tests {
    @Test func checkValue() {
        #expect(crc64(0, Bytes("123456789")) == 0xE9C6_D914_C4B8_D9CA)
        #expect(crc64(0, .empty) == 0)
    }

    /// Every length and split gives the value of the definition, one bit at a time.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func slicingEqualsTheDefinition(seed: UInt64) {
        var prng = Prng(seed: seed)
        let bytes = (0..<100).map { _ in UInt8(prng.below(256)) }
        for length in 0...bytes.count {
            let part = Array(bytes.prefix(length))
            let whole = part.withBytes { crc64(0, $0) }
            #expect(whole == bitwise(part))
            let cut = prng.below(length + 1)
            let first = Array(part.prefix(cut)).withBytes { crc64(0, $0) }
            #expect(Array(part.dropFirst(cut)).withBytes { crc64(first, $0) } == whole)
        }
    }

    private func bitwise(_ bytes: [UInt8]) -> UInt64 {
        var crc: UInt64 = 0
        for byte in bytes {
            crc ^= UInt64(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x95AC_9329_AC4B_C9B5 : crc >> 1 }
        }
        return crc
    }
}
