// The keyspace against a dictionary: random commands, compared after each step and as a whole.
import Base
import HashSlots
import Storage
import Testing

@Suite struct KeyspaceModelTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func randomCommandsMatchADictionary(seed: UInt64) {
        let slotted = seed % 2 == 0
        var model = Model(databases: slotted ? 1 : 3, slotted: slotted, seed: seed)
        for round in 0..<30 {
            let keys = [10, 300, 2000][round % 3]
            for _ in 0..<300 { model.step(keys: keys) }
            if round % 10 == 9 { model.keyspace.rehashSlice(buckets: 50) }
            model.expectEqual("seed \(seed) round \(round)")
        }
        model.keyspace.destroy()
    }
}
