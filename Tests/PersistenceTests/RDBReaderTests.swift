import Base
import Persistence
import Testing

@Suite struct RDBReaderTests {
    @Test func readsTheReferencesStrings() {
        let reading = readAtOnce(Vectors.strings)
        #expect(reading.items == Vectors.stringItems)
        #expect(reading.error == nil)
        #expect(reading.isComplete)
    }

    @Test func oneByteAtATime() {
        #expect(read(Vectors.strings) { 1 } == readAtOnce(Vectors.strings))
    }

    @Test(arguments: Array(1...10) as [UInt64])
    func piecesOfAnySize(seed: UInt64) {
        var prng = Prng(seed: seed)
        #expect(read(Vectors.strings) { 1 + prng.below(30) } == readAtOnce(Vectors.strings))
    }

    @Test func evictionState() {
        #expect(readAtOnce(Vectors.frequency).items.contains("0 'freq' = 'v' freq 5"))
        #expect(readAtOnce(Vectors.idle).items.contains("0 'freq' = 'v' idle 7142709"))
    }

    @Test func namesUnsupportedTypes() {
        let reading = readAtOnce(Vectors.collections)
        let reason = RDBError.Reason.unsupportedType(
            code: 17, name: "sorted set (listpack)", key: "bz")
        #expect(reading.error?.reason == reason)
        #expect(reading.items.last == "resize 8 0")
    }

    @Test func decodersSlotIn() {
        let decoders = ObjectDecoders([
            ObjectDecoder(code: RDBType.set, layout: .repeated([.string])),
            ObjectDecoder(code: RDBType.setIntset, layout: .parts([.string])),
            ObjectDecoder(code: RDBType.hashListpack, layout: .parts([.string])),
            ObjectDecoder(code: RDBType.sortedSetListpack, layout: .parts([.string])),
            ObjectDecoder(code: RDBType.listQuicklist2, layout: .repeated([.length, .string])),
        ])
        let expected = [
            "17 'bz' = payload(21)", "11 'bs' = payload(15)", "2 's' = payload(7)",
            "18 'l' = payload(19)", "11 'is' = payload(13)", "16 'bh' = payload(20)",
            "16 'h' = payload(20)", "17 'z' = payload(21)", "end verified",
        ]
        let reading = readAtOnce(Vectors.collections, decoders: decoders)
        #expect(reading.error == nil)
        #expect(Array(reading.items.suffix(9)) == expected)
        #expect(read(Vectors.collections, decoders: decoders) { 1 } == reading)
    }

    @Test func functionsAreNamedOrHandedOver() {
        let refused = readAtOnce(Vectors.function)
        #expect(refused.error?.reason == .functionLibrary(name: "mylib"))
        let accepted = read(Vectors.function, acceptsFunctions: true) { 1 }
        #expect(accepted.items.contains { $0.hasPrefix("function #!lua name=mylib\n") })
        #expect(accepted.items.last == "end verified")
    }

    @Test func truncatedAtEveryByte() {
        let whole = readAtOnce(Vectors.strings)
        for count in 0..<Vectors.strings.count {
            let part = readAtOnce(Array(Vectors.strings.prefix(count)))
            #expect(part.error == RDBError(.truncated, at: count))
            #expect(part.items == Array(whole.items.prefix(part.items.count)))
        }
    }

    @Test func everyFlippedBitIsNoticed() {
        for position in Vectors.strings.indices {
            for bit in 0..<8 {
                var damaged = Vectors.strings
                damaged[position] ^= UInt8(1 << bit)
                #expect(readAtOnce(damaged).error != nil, "byte \(position) bit \(bit)")
            }
        }
    }

    @Test(arguments: Array(1...30) as [UInt64])
    func noiseGivesTheSameInPieces(seed: UInt64) {
        var prng = Prng(seed: seed)
        var bytes = Array("REDIS0010".utf8)
        bytes += (0..<2_000).map { _ in
            prng.chance(1, in: 3) ? UInt8(240 + prng.below(16)) : UInt8(prng.below(256))
        }
        let whole = readAtOnce(bytes)
        let pieces = read(bytes) { 1 + prng.below(7) }
        #expect(whole.error != nil)
        #expect(whole.items == pieces.items)
        #expect(whole.error == pieces.error)
    }

    @Test func versions() {
        for version in 0...99 {
            var bytes = Array("REDIS00".utf8) + [UInt8(48 + version / 10), UInt8(48 + version % 10)]
            bytes += [RDBOpcode.end]
            if version >= 5 { bytes += [UInt8](repeating: 0, count: 8) }
            let reading = readAtOnce(bytes)
            if RDBFormat.readableVersions.contains(version) {
                #expect(reading.error == nil)
                #expect(reading.items == [version < 5 ? "end absent" : "end disabledByWriter"])
            } else {
                #expect(reading.error?.reason == .unsupportedVersion(version))
            }
        }
        #expect(readAtOnce(Array("REDISX010".utf8)).error?.reason == .notAnRDB)
        #expect(readAtOnce(Array("RES!".utf8)).error?.reason == .notAnRDB)
    }

    @Test func secondsOfOldVersions() {
        let bytes =
            Array("REDIS0002".utf8) + [0xFE, 0, RDBOpcode.expireSeconds, 10, 0, 0, 0, 0, 1, 107]
            + [1, 118, 0xFF]
        #expect(readAtOnce(bytes).items == ["db 0", "0 'k' = 'v' expires 10000", "end absent"])
    }

    @Test func hostileLengths() {
        let head = Array("REDIS0010".utf8) + [0, 1, 107]
        let cases: [([UInt8], RDBError.Reason)] = [
            // A string of 2^63 bytes.
            (
                [0x81, 0x80, 0, 0, 0, 0, 0, 0, 0],
                .tooLarge(what: "string", size: 1 << 63, limit: 512 << 20)
            ),
            // Four compressed bytes that claim to be 100 MB.
            ([0xC3, 4, 0x80, 6, 0, 0, 0, 1, 2, 3, 4], .damagedString),
            ([0xC4], .damagedString),
            ([0x82], .damagedLength),
        ]
        for (tail, reason) in cases {
            #expect(readAtOnce(head + tail).error?.reason == reason)
        }
        let prefix = Array("REDIS0010".utf8)
        #expect(readAtOnce(prefix + [0xFE, 16]).error?.reason == .invalidDatabase(16))
        #expect(readAtOnce(prefix + [200]).error?.reason == .unknownOpcode(200))
        #expect(
            readAtOnce(prefix + [247, 0x81, 0, 0, 0, 0, 0, 0, 4, 0]).error?.reason
                == .moduleData(name: "AAAAAAAAB"))
        #expect(
            readAtOnce(prefix + [252, 0, 0, 0, 0, 0, 0, 0, 0x80]).error?.reason
                == .invalidExpiry(.min))
    }

    @Test func keepsWhatFollowsTheEnd() {
        let reading = readAtOnce(Vectors.strings + Array("*1\r\n".utf8))
        #expect(reading.error == nil)
        #expect(reading.rest == Array("*1\r\n".utf8))
    }

    @Test func errorsStay() {
        var reader = RDBReader()
        Array("nonsense!".utf8).withBytes { reader.feed($0) }
        for _ in 0..<2 {
            do throws(RDBError) {
                _ = try reader.next()
                Issue.record("no error")
            } catch {
                #expect(error.reason == .notAnRDB)
            }
        }
    }
}
