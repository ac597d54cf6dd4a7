// The fast slot of a key against the walk that specifies it.
import Base
import HashSlots
import Storage
import Testing

@Suite struct SlotHashTests {
    @Test(arguments: 0..<50 as Range<UInt64>)
    func isTheSlotOfTheSpecification(seed: UInt64) {
        let keyspace = Keyspace(databases: 1, slotted: true, sipKey: SipKey(1, 2))
        defer { keyspace.destroy() }
        var prng = Prng(seed: seed)
        for _ in 0..<200 {
            // Every other key draws from few letters, so that tags of all forms come up.
            let letters = prng.below(2) == 0 ? Array("{}ab".utf8) : Array(UInt8.min...UInt8.max)
            let name = (0..<prng.below(40)).map { _ in letters[prng.below(letters.count)] }
            name.withBytes { bytes in
                let slot = bytes.withSpan { Slot(key: $0) }
                #expect(keyspace.key(bytes, database: 0).slot == slot.index)
            }
        }
    }
}
