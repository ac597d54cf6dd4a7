// Replies byte for byte, in both versions of the protocol.
import Base
import RESP
import Testing

private func written(_ version: UInt8, _ body: (ReplyWriter) -> Void) -> String {
    let out = UnsafeMutablePointer<Buffer>.allocate(capacity: 1)
    out.initialize(to: Buffer())
    defer {
        out.deinitialize(count: 1)
        out.deallocate()
    }
    body(ReplyWriter(out, version: version))
    return out.pointee.bytes.string
}

@Suite struct ReplyWriterTests {
    @Test func scalars() {
        #expect(written(2) { $0.ok() } == "+OK\r\n")
        #expect(written(2) { $0.integer(-42) } == ":-42\r\n")
        #expect(written(2) { $0.integer(Int64.min) } == ":-9223372036854775808\r\n")
        #expect(written(2) { $0.bulk("hey" as StaticString) } == "$3\r\nhey\r\n")
        #expect(written(2) { $0.bulk(decimal: -7) } == "$2\r\n-7\r\n")
        #expect(written(2) { $0.error("ERR a\r\nb" as String) } == "-ERR a  b\r\n")
    }

    @Test func nothingInBothVersions() {
        #expect(written(2) { $0.null() } == "$-1\r\n")
        #expect(written(3) { $0.null() } == "_\r\n")
        #expect(written(2) { $0.nullArray() } == "*-1\r\n")
        #expect(written(3) { $0.nullArray() } == "_\r\n")
    }

    @Test func aggregates() {
        #expect(written(2) { $0.map(2) } == "*4\r\n")
        #expect(written(3) { $0.map(2) } == "%2\r\n")
        #expect(written(3) { $0.set(3) } == "~3\r\n")
        #expect(written(3) { $0.push(1) } == ">1\r\n")
        #expect(written(2) { $0.boolean(true) } == ":1\r\n")
        #expect(written(3) { $0.boolean(false) } == "#f\r\n")
        #expect(written(3) { $0.double(1.5) } == ",1.5\r\n")
        #expect(written(2) { $0.double(3) } == "$1\r\n3\r\n")
        #expect(written(3) { $0.verbatim("hi") } == "=6\r\ntxt:hi\r\n")
    }

    @Test(arguments: [0, 9, 10, 99, 100, 12345, 999_999_999, 1_000_000_000_000, Int64.max])
    func decimals(value: Int64) {
        for signed in [value, -value] {
            #expect(written(2) { $0.integer(signed) } == ":\(signed)\r\n")
            let parsed = Array("\(signed)".utf8).withBytes { $0.decimal }
            #expect(parsed == signed)
        }
    }
}
