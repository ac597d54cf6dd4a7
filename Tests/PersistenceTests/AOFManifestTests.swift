// The manifest: what it says after rewrites that succeed and fail, and every way to be damaged.
import Base
import Persistence
import Testing

private func parse(_ text: String) -> Result<AOFManifest, AOFManifestError> {
    do throws(AOFManifestError) {
        return .success(try AOFManifest(parsing: Array(text.utf8)))
    } catch {
        return .failure(error)
    }
}

private func reason(_ text: String) -> String? {
    if case .failure(let error) = parse(text) { return error.reason }
    return nil
}

private func text(_ manifest: AOFManifest) -> String {
    String(decoding: manifest.contents, as: UTF8.self)
}

@Suite struct AOFManifestTests {
    @Test func filesFollowEachOtherThroughRewrites() {
        var manifest = AOFManifest()
        #expect(manifest.isEmpty)
        #expect(manifest.addBase(for: "a.aof", isRDB: true) == "a.aof.1.base.rdb")
        #expect(manifest.addIncrement(for: "a.aof") == "a.aof.1.incr.aof")
        #expect(
            text(manifest)
                == "file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n")
        for _ in 0..<2 {
            _ = manifest.addIncrement(for: "a.aof")
            _ = manifest.addBase(for: "a.aof", isRDB: true)
            manifest.retireIncrements(keepsLast: true)
        }
        #expect(
            text(manifest) == """
                file a.aof.3.base.rdb seq 3 type b
                file a.aof.2.incr.aof seq 2 type h
                file a.aof.2.base.rdb seq 2 type h
                file a.aof.1.incr.aof seq 1 type h
                file a.aof.1.base.rdb seq 1 type h
                file a.aof.3.incr.aof seq 3 type i

                """)
        #expect(manifest.dropHistory().count == 4)
        #expect(manifest.files.map(\.sequence) == [3, 3])
    }

    @Test func failedRewritesLeaveIncrements() throws {
        var manifest = AOFManifest()
        _ = manifest.addBase(for: "a", isRDB: false)
        for _ in 0..<4 { _ = manifest.addIncrement(for: "a") }
        let again = try AOFManifest(parsing: manifest.contents)
        #expect(again == manifest)
        #expect(again.files.count == 5)
    }

    @Test(arguments: ["plain.aof", " file seq \n\n.aof ", "quo\"te", "back\\slash", "\u{7}\t\r"])
    func namesSurvive(name: String) throws {
        var manifest = AOFManifest()
        _ = manifest.addBase(for: name, isRDB: true)
        _ = manifest.addIncrement(for: name)
        let again = try AOFManifest(parsing: manifest.contents)
        #expect(again.base?.name == "\(name).1.base.rdb")
        #expect(again == manifest)
    }

    @Test func damageIsNamed() {
        #expect(reason("") == "Found an empty AOF manifest")
        let base = "file a.1.base.rdb seq 1 type b\n"
        let malformed = "Invalid AOF manifest file format"
        #expect(reason(base + "\n") == malformed)
        #expect(reason("filx a seq 1 type b\n") == malformed)
        #expect(reason("file a seq 1\n") == malformed)
        #expect(reason("file a seq 0 type b\n") == malformed)
        #expect(reason("file a seq 1 type b odd\n") == malformed)
        #expect(reason("file \"a seq 1 type b\n") == malformed)
        #expect(reason(base + base) == "Found duplicate base file information")
        #expect(reason("file a seq 1 type x\n") == "Unknown AOF file type")
        #expect(
            reason("file a seq 2 type i\nfile b seq 1 type i\n")
                == "Found a non-monotonic sequence number")
        #expect(reason("file a seq 1 type i\nfile a seq 2 type i\n") == "Found duplicate file name")
        #expect(reason("file ../a seq 1 type b\n") == "File can't be a path, just a filename")
        let long = String(repeating: "x", count: 1100)
        #expect(
            reason("file \(long) seq 1 type b\n")
                == "The AOF manifest file contains too long line")
        #expect(reason("file a seq 1 type b") == "The AOF manifest file contains too long line")
    }

    @Test func wordsOfLaterVersionsAndCommentsAreSkipped() throws {
        let manifest = try AOFManifest(
            parsing: Array("# hello\nfile a seq 1 type b size 100\n".utf8))
        #expect(manifest.files.map(\.name) == ["a"])
    }

    @Test func aFileInUseIsNeverRemoved() throws {
        var manifest = try AOFManifest(
            parsing: Array("file a seq 1 type b\nfile a seq 1 type h\nfile c seq 1 type h\n".utf8))
        #expect(manifest.dropHistory() == ["c"])
    }

    @Test(arguments: [UInt64(1), 2, 3]) func anyBytesParseOrFail(seed: UInt64) {
        var prng = Prng(seed: seed)
        let whole = Array("file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i\n".utf8)
        for _ in 0..<2000 {
            var bytes = whole
            for _ in 0...prng.below(3) {
                bytes[prng.below(bytes.count)] = UInt8(truncatingIfNeeded: prng.next())
            }
            bytes.removeLast(prng.below(bytes.count))
            guard let manifest = try? AOFManifest(parsing: bytes) else { continue }
            #expect(manifest.files.allSatisfy { !$0.name.contains("/") })
        }
    }
}
