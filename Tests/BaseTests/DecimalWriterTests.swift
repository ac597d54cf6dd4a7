// Integers to text: every length and every border, against the standard library.
import Base
import Testing

@Suite struct DecimalWriterTests {
    private func text(_ value: Int64) -> String {
        var out = Buffer()
        let room = out.reserve(64)
        for index in 0..<64 { room[index] = 0xA5 }
        let count = writeDecimal(value, to: room)
        // Twenty bytes are promised to be enough, whatever is written behind the digits.
        for index in 20..<64 { #expect(room[index] == 0xA5, "\(value) is written too far") }
        out.wrote(count)
        return out.bytes.string
    }

    @Test func borders() {
        var power: Int64 = 1
        for _ in 0..<19 {
            for value in [power - 1, power, power + 1, 9 * (power / 10)] {
                #expect(text(value) == String(value))
                #expect(text(-value) == String(-value))
            }
            power = power.multipliedReportingOverflow(by: 10).partialValue
        }
        for value in [Int64.max, .min, .min + 1, 99_999_999, 100_000_000] {
            #expect(text(value) == String(value))
        }
    }

    @Test(arguments: Array(1...10) as [UInt64])
    func anyNumber(seed: UInt64) {
        var prng = Prng(seed: seed)
        for _ in 0..<20_000 {
            let shift = UInt64(prng.below(64))
            let value = Int64(bitPattern: prng.next() >> shift)
            #expect(text(value) == String(value))
            #expect(text(0 &- value) == String(0 &- value))
        }
    }
}
