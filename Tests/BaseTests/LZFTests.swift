import Base
import Testing

@Suite struct LZFTests {
    private func compressed(_ input: [UInt8], room: Int) -> [UInt8] {
        var compressor = LZFCompressor()
        var out = Buffer()
        let place = out.reserve(room + 1)
        place[room] = 0xA5
        let size = input.withBytes { compressor.compress($0, to: place, room: room) }
        #expect(place[room] == 0xA5, "wrote past its room")
        out.wrote(size)
        return out.bytes.array
    }

    /// Decompresses into exactly `count` bytes between two guards; nil when refused.
    private func decompressed(_ input: [UInt8], count: Int) -> [UInt8]? {
        var out = Buffer()
        let place = out.reserve(count + 1)
        place[count] = 0xA5
        let fine = input.withBytes { lzfDecompress($0, to: place, count: count) }
        #expect(place[count] == 0xA5, "wrote past its room")
        guard fine else { return nil }
        out.wrote(count)
        return out.bytes.array
    }

    /// What redis-server 7.0 made of `abc` forty times.
    @Test func readsTheReference() {
        let packed: [UInt8] = [
            0x03, 0x61, 0x62, 0x63, 0x61, 0xE0, 0x69, 0x02, 0x01, 0x62, 0x63,
        ]
        let text = Array(String(repeating: "abc", count: 40).utf8)
        #expect(decompressed(packed, count: 120) == text)
        #expect(decompressed(packed, count: 119) == nil)
        #expect(decompressed(packed, count: 121) == nil)
    }

    @Test(arguments: Array(1...40) as [UInt64])
    func roundTrips(seed: UInt64) {
        var prng = Prng(seed: seed)
        let alphabet = [1, 2, 4, 30, 256][prng.below(5)]
        var input: [UInt8] = []
        let count = [5, 40, 300, 5_000, 30_000][prng.below(5)]
        while input.count < count {
            if prng.chance(1, in: 3), input.count > 10 {
                let from = prng.below(input.count - 3)
                let run = min(prng.below(600) + 3, input.count - from)
                input += Array(input[from..<(from + run)])
            } else {
                input.append(UInt8(prng.below(alphabet)))
            }
        }
        let packed = compressed(input, room: input.count * 2)
        #expect(!packed.isEmpty)
        #expect(packed.count <= input.count + input.count / 32 + 1)
        #expect(decompressed(packed, count: input.count) == input)
        #expect(input.count <= lzfLargestOutput(ofCompressed: packed.count))
        #expect(compressed(input, room: packed.count - 1).isEmpty)
        #expect(compressed(input, room: input.count * 2) == packed)
    }

    @Test func refusesTinyInput() {
        #expect(compressed([1, 1, 1], room: 100).isEmpty)
        #expect(compressed([1, 1, 1, 1], room: 0).isEmpty)
    }

    @Test(arguments: Array(1...20) as [UInt64])
    func survivesDamage(seed: UInt64) {
        var prng = Prng(seed: seed)
        let text = Array(String(repeating: "some repeated text, ", count: 20).utf8)
        let packed = compressed(text, room: text.count)
        for cut in 0..<packed.count {
            #expect(decompressed(Array(packed.prefix(cut)), count: text.count) == nil)
        }
        for _ in 0..<200 {
            var damaged = packed
            damaged[prng.below(damaged.count)] ^= UInt8(1 << prng.below(8))
            _ = decompressed(damaged, count: text.count)
            let noise = (0..<prng.below(60)).map { _ in UInt8(prng.below(256)) }
            _ = decompressed(noise, count: prng.below(500))
        }
    }
}
