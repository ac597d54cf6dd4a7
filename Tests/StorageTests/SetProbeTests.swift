// Many questions to one set: the passing index over a listpack answers as the set itself does, also
// for numbers, colliding members, and numbers that bytes from outside hold as text.
import Base
import Storage
import Testing

private let limits = EncodingLimits()

@Suite struct SetProbeTests {
    private func check(_ members: [[UInt8]], asked: [[UInt8]]) {
        let keyspace = Keyspace(databases: 1, slotted: false, sipKey: SipKey(1, 2))
        let heap = keyspace.heap
        var set = SetObject.make(heap)
        for member in members {
            _ = member.withBytes { set.add(.compact($0), heap, limits) }
        }
        let model = Set(members)
        var probe = SetProbe(set, questions: 100, heap)
        for question in asked + members {
            question.withBytes { bytes in
                #expect(probe.contains(.compact(bytes)) == model.contains(question))
                #expect(probe.contains(.bytes(bytes)) == model.contains(question))
            }
        }
        probe.free()
        set.free(keyspace.memory)
        keyspace.destroy()
    }

    @Test(arguments: Array(1...20) as [UInt64])
    func likeASet(seed: UInt64) {
        var prng = Prng(seed: seed)
        func text() -> [UInt8] {
            switch prng.below(4) {
            case 0: return Array(String(prng.below(200) - 100).utf8)
            case 1: return Array("member:\(prng.below(100))".utf8)
            case 2: return (0..<prng.below(64)).map { _ in UInt8(97 + prng.below(2)) }
            default: return (0..<prng.below(4)).map { _ in UInt8(prng.below(256)) }
            }
        }
        let members = (0..<(1 + prng.below(128))).map { _ in text() }
        check(members, asked: (0..<200).map { _ in text() })
    }

    @Test func membersThatDifferWhereTheHashDoesNotLook() {
        // Beginning, middle and end are the same; only bytes between them differ.
        let members = (0..<100).map { number -> [UInt8] in
            var text = [UInt8](repeating: 120, count: 60)
            text[12] = UInt8(number)
            return text
        }
        check(Array(members[0..<50]), asked: members)
    }
}
