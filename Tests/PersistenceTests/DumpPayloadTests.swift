import Base
import Persistence
import Testing

@Suite struct DumpPayloadTests {
    private func open(_ payload: [UInt8], verifies: Bool = true) -> Result<String, DumpError> {
        var reader = DumpReader()
        return payload.withBytes { bytes in
            do throws(DumpError) {
                let opened = try reader.open(bytes, verifiesChecksum: verifies)
                switch opened.value {
                case .bytes(let text): return .success(text.string)
                case .integer(let number): return .success(String(number))
                case .payload: return .success("payload")
                }
            } catch {
                return .failure(error)
            }
        }
    }

    private func dump(_ value: [UInt8], compresses: Bool = true) -> [UInt8] {
        var writer = DumpWriter(compresses: compresses)
        var out = Buffer()
        out.append("before")
        value.withBytes { writer.append($0, to: &out) }
        return Array(out.bytes.array.dropFirst(6))
    }

    private func dump(type: UInt8, _ serialized: [UInt8]) -> [UInt8] {
        var writer = DumpWriter()
        var out = Buffer()
        serialized.withBytes { writer.append(type: type, serialized: $0, to: &out) }
        return out.bytes.array
    }

    @Test func readsTheReference() {
        for (value, payload) in Vectors.dumps { #expect(open(payload) == .success(value)) }
    }

    @Test func writesWhatTheReferenceWrites() {
        for (value, payload) in Vectors.dumps where value.count < 20 {
            #expect(dump(Array(value.utf8)) == payload)
        }
        var writer = DumpWriter()
        var out = Buffer()
        writer.append(-70_000, to: &out)
        let bytes = out.bytes.array
        #expect(bytes == Vectors.dumps[2].payload)
    }

    @Test(arguments: Array(1...20) as [UInt64])
    func roundTrips(seed: UInt64) {
        var prng = Prng(seed: seed)
        for _ in 0..<20 {
            let letters = 1 + prng.below(26)
            let value = (0..<prng.below(3_000)).map { _ in UInt8(97 + prng.below(letters)) }
            let text = String(decoding: value, as: UTF8.self)
            let payload = dump(value, compresses: prng.chance(1, in: 2))
            #expect(open(payload) == .success(text))
        }
    }

    @Test func refusesDamage() {
        let payload = Vectors.dumps[7].payload
        for position in payload.indices {
            for bit in 0..<8 {
                var damaged = payload
                damaged[position] ^= UInt8(1 << bit)
                #expect(open(damaged) == .failure(.versionOrChecksum))
            }
            #expect(open(Array(payload.prefix(position))) == .failure(.versionOrChecksum))
        }
    }

    @Test func refusesNewerVersions() {
        var payload = dump(Array("5".utf8))
        payload[payload.count - 10] = 13
        #expect(open(payload, verifies: false) == .failure(.versionOrChecksum))
        let reply = "ERR DUMP payload version or checksum are wrong"
        #expect(DumpError.versionOrChecksum.reply == reply)
        #expect(DumpError.badFormat(.truncated).reply == "ERR Bad data format")
    }

    /// A valid checksum around nonsense: what a hostile client sends.
    @Test(arguments: Array(1...30) as [UInt64])
    func hostileValues(seed: UInt64) {
        var prng = Prng(seed: seed)
        for _ in 0..<200 {
            let noise = (0..<prng.below(40)).map { _ in
                prng.chance(1, in: 3) ? UInt8(0xC0 + prng.below(5)) : UInt8(prng.below(256))
            }
            let type: UInt8 = prng.chance(1, in: 2) ? 0 : UInt8(prng.below(6))
            switch open(dump(type: type, noise)) {
            case .success: #expect(type == 0)
            case .failure(let error):
                #expect(error != .versionOrChecksum)
                if type != 0 {
                    #expect(error.reply.hasPrefix("ERR Bad data format: no support for type "))
                }
            }
        }
    }

    @Test func refusesTrailingBytes() {
        #expect(open(dump(type: 0, [1, 97, 98])) == .failure(.badFormat(.damagedLength)))
    }
}
