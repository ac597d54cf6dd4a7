// An element of a large sorted set: an entry whose key is the member and whose payload word holds
// the bits of the score. Its block stays where it is for the element's whole life, so that the
// order tree and the table can both point to it.
import Base

extension Entry {
    /// A new element.
    @inline(__always)
    package static func member(_ name: Bytes, score: Double, _ memory: Memory) -> Entry {
        let size = Entry.size(
            keyLength: name.count, hasExpiry: false, hasPayload: true, embedded: 0)
        let entry = Entry.write(
            at: memory.allocate(size), key: name, type: .string, encoding: .integer, flags: 0,
            clock: 0, embedded: 0)
        entry.score = score
        return entry
    }

    /// The score of an element.
    @inline(__always)
    package var score: Double {
        get { Double(bitPattern: payloadWord) }
        nonmutating set { payloadWord = newValue.bitPattern }
    }

    /// Gives the block of an element back.
    @inline(__always)
    package func freeMember(_ memory: Memory) { memory.free(base, allocationSize) }
}
