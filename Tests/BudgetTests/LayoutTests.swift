// The sizes of what every command reads and writes: a field too many in one of these costs each
// command a cache line, and shows in no other test.
import Base
import Engine
import RESP
import Storage
import Testing

@Suite struct LayoutTests {
    @Test func whatKeysAreMadeOf() {
        #expect(MemoryLayout<Bytes>.size == 16)
        #expect(MemoryLayout<Entry>.size == 8)
        #expect(MemoryLayout<Keyspace>.size == 8)
        #expect(MemoryLayout<KeyRef>.size == 28)
        // The pointer of the bytes is never null, so that a missing key needs no flag.
        #expect(MemoryLayout<KeyRef?>.size == MemoryLayout<KeyRef>.size)
    }

    @Test func whatDispatchReads() {
        #expect(MemoryLayout<Call>.size == 8)
        // All but the histogram of times, which is written and not read, in one cache line.
        #expect(MemoryLayout<Command>.offset(of: \.times) ?? .max <= 64)
        #expect(MemoryLayout<ParsedCommand>.stride <= 64)
        #expect(MemoryLayout<CallFrame>.stride <= 88)
        #expect(MemoryLayout<ReplyWriter>.size <= 16)
        #expect(MemoryLayout<ParseResult>.size == 1)
    }
}
