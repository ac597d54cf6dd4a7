import Base
import Persistence
import Testing

@Suite struct RDBWriterTests {
    private func bytes(_ body: (inout RDBWriter, inout Buffer) -> Void) -> [UInt8] {
        var writer = RDBWriter()
        var out = Buffer()
        body(&writer, &out)
        let written = writer.bytesWritten
        #expect(written == out.bytes.count)
        return out.bytes.array
    }

    /// The same keys as in the reference's file give the same bytes.
    @Test func writesWhatTheReferenceWrites() {
        let ours = bytes { writer, out in
            writer.header(
                RDBInfo(serverVersion: "7.0.15", createdAt: 1_795_372_347, usedMemory: 1_063_648),
                into: &out)
            writer.selectDatabase(0, keys: 10, expires: 1, into: &out)
            writer.entry(key: Bytes("int64"), value: 5_000_000_000, into: &out)
            writer.entry(key: Bytes("int32"), value: -70_000, into: &out)
            writer.entry(key: Bytes("lead"), value: Bytes("007"), into: &out)
            writer.entry(key: Bytes("int8"), value: Bytes("-5"), into: &out)
            String(repeating: "abc", count: 40).withBytes {
                writer.entry(key: Bytes("long"), value: $0, into: &out)
            }
            writer.entry(
                key: Bytes("exp"), value: Bytes("v"), RDBAttributes(expireAt: 4_102_444_800_123),
                into: &out)
            writer.entry(key: Bytes("int16"), value: 1_000, into: &out)
            writer.entry(key: Bytes("empty"), value: .empty, into: &out)
            writer.entry(key: Bytes("12345"), value: Bytes("numkey"), into: &out)
            writer.entry(key: Bytes("text"), value: Bytes("hello"), into: &out)
            writer.selectDatabase(3, keys: 1, expires: 0, into: &out)
            writer.entry(key: Bytes("other"), value: Bytes("127"), into: &out)
            writer.end(into: &out)
        }
        let reading = readAtOnce(ours)
        #expect(reading.error == nil)
        #expect(reading.items == Vectors.stringItems)
        // Compression may find other matches than the reference; all else is equal.
        #expect(ours.count <= Vectors.strings.count + 2)
        #expect(Array(ours.prefix(136)) == Array(Vectors.strings.prefix(136)))
    }

    @Test func eviction() {
        let ours = bytes { writer, out in
            writer.header(
                RDBInfo(serverVersion: "7.0.15", createdAt: 1_795_372_347, usedMemory: 1_112_112),
                into: &out)
            writer.selectDatabase(0, keys: 1, expires: 0, into: &out)
            writer.entry(
                key: Bytes("freq"), value: Bytes("v"), RDBAttributes(idleSeconds: 7_142_709),
                into: &out)
            writer.end(into: &out)
        }
        #expect(ours == Vectors.idle)
    }

    @Test func replicationFields() {
        let id = String(repeating: "a1", count: 20)
        let ours = bytes { writer, out in
            writer.header(
                RDBInfo(
                    serverVersion: "7.0.15", createdAt: 1, usedMemory: 2,
                    replication: .init(streamDatabase: 0, replicationID: id, offset: 14),
                    isAOFBase: true), into: &out)
            writer.end(into: &out)
        }
        #expect(
            readAtOnce(ours).items == [
                "aux redis-ver=7.0.15", "aux redis-bits=64", "aux ctime=1", "aux used-mem=2",
                "aux repl-stream-db=0", "aux repl-id=\(id)", "aux repl-offset=14",
                "aux aof-base=1", "end verified",
            ])
    }

    @Test func withoutChecksum() {
        var writer = RDBWriter(compresses: false, checksums: false)
        var out = Buffer()
        writer.header(RDBInfo(serverVersion: "x", createdAt: 0, usedMemory: 0), into: &out)
        writer.end(into: &out)
        let bytes = out.bytes.array
        #expect(Array(bytes.suffix(8)) == [UInt8](repeating: 0, count: 8))
        #expect(readAtOnce(bytes).items.last == "end disabledByWriter")
    }

    /// Random keys, drained in random places, read back in random pieces.
    @Test(arguments: Array(1...25) as [UInt64])
    func roundTrips(seed: UInt64) {
        var prng = Prng(seed: seed)
        var writer = RDBWriter(compresses: prng.chance(1, in: 2))
        var out = Buffer()
        var file: [UInt8] = []
        var expected: [String] = []
        writer.header(RDBInfo(serverVersion: "7.0.15", createdAt: 0, usedMemory: 0), into: &out)
        for index in 0..<200 {
            let key = Array("key:\(index)".utf8)
            let attributes = RDBAttributes(
                expireAt: prng.chance(1, in: 2) ? -1 : Int64(prng.below(1 << 50)),
                idleSeconds: prng.chance(1, in: 2) ? -1 : Int64(prng.below(1 << 40)),
                frequency: prng.chance(1, in: 2) ? -1 : prng.below(256))
            var line = ""
            if prng.chance(1, in: 3) {
                let value = Int64(bitPattern: prng.next()) >> Int64(prng.below(64))
                key.withBytes { writer.entry(key: $0, value: value, attributes, into: &out) }
                let fits = Int32(exactly: value) != nil
                line = "0 'key:\(index)' = " + (fits ? "\(value)" : "'\(value)'")
            } else {
                let size = [0, 1, 12, 63, 64, 300, 20_000][prng.below(7)]
                let letters = 1 + prng.below(20)
                let value = (0..<size).map { _ in UInt8(97 + prng.below(letters)) }
                key.withBytes { name in
                    value.withBytes {
                        writer.entry(key: name, value: $0, attributes, into: &out)
                    }
                }
                line = "0 'key:\(index)' = '\(String(decoding: value, as: UTF8.self))'"
            }
            if attributes.expireAt != -1 { line += " expires \(attributes.expireAt)" }
            if attributes.idleSeconds != -1 { line += " idle \(attributes.idleSeconds)" }
            if attributes.frequency != -1 { line += " freq \(attributes.frequency)" }
            expected.append(line)
            if prng.chance(1, in: 4) {
                file += out.bytes.array
                out.removeAll()
            }
        }
        writer.end(into: &out)
        file += out.bytes.array
        let reading = read(file) { 1 + prng.below(5_000) }
        #expect(reading.error == nil)
        #expect(reading.items.filter { $0.hasPrefix("0 ") } == expected)
        #expect(reading.items.last == "end verified")
    }

    @Test func partsOfOtherTypes() {
        let ours = bytes { writer, out in
            writer.header(RDBInfo(serverVersion: "x", createdAt: 0, usedMemory: 0), into: &out)
            writer.beginEntry(type: RDBType.sortedSet, key: Bytes("z"), into: &out)
            writer.length(2, into: &out)
            writer.string(Bytes("a"), into: &out)
            writer.double(1.5, into: &out)
            writer.integer(70_000, into: &out)
            writer.double(-.infinity, into: &out)
            writer.end(into: &out)
        }
        let decoders = ObjectDecoders([
            ObjectDecoder(code: RDBType.sortedSet, layout: .repeated([.string, .double]))
        ])
        let reading = readAtOnce(ours, decoders: decoders)
        #expect(reading.error == nil)
        #expect(Array(reading.items.suffix(2)) == ["5 'z' = payload(24)", "end verified"])
    }
}
