// Listpacks, intsets and field tables against plain models, by seeds; and bytes from outside, which
// are refused or harmless, never a crash.
import Base
import Storage
import Testing

private func heapOf(_ keyspace: Keyspace) -> ObjectHeap { keyspace.heap }

private func keyspace() -> Keyspace {
    Keyspace(databases: 1, slotted: false, sipKey: SipKey(1, 2))
}

/// Text that is often a number, at the bounds of the encodings.
private func text(_ prng: inout Prng) -> [UInt8] {
    let bounds: [Int64] = [
        0, 127, 128, 4095, 4096, -4096, -4097, 32767, 32768, 8_388_607, 8_388_608, -8_388_609,
        2_147_483_647, 2_147_483_648, .max, .min,
    ]
    switch prng.below(6) {
    case 0: return Array(String(bounds[prng.below(bounds.count)]).utf8)
    case 1: return Array(String(prng.below(300) - 150).utf8)
    case 2: return Array("0\(prng.below(10))".utf8)
    case 3: return [UInt8](repeating: 120, count: [0, 62, 63, 64, 4095, 4096][prng.below(6)])
    default: return (0..<prng.below(20)).map { _ in UInt8(prng.below(256)) }
    }
}

private func contents(_ pack: Listpack) -> [[UInt8]] {
    var out: [[UInt8]] = []
    var position = pack.first
    while let element = position {
        out.append(withText(of: pack[element]) { $0.array })
        position = pack.next(element)
    }
    return out
}

private func reversed(_ pack: Listpack) -> [[UInt8]] {
    var out: [[UInt8]] = []
    var position = pack.last
    while let element = position {
        out.append(withText(of: pack[element]) { $0.array })
        position = pack.previous(element)
    }
    return out
}

@Suite struct PackedTests {
    @Test(arguments: Array(1...20) as [UInt64])
    func listpackLikeAnArray(seed: UInt64) {
        var prng = Prng(seed: seed)
        let keyspace = keyspace()
        let memory = keyspace.memory
        var pack = Listpack.make(memory)
        var model: [[UInt8]] = []
        for _ in 0..<400 {
            let value = text(&prng)
            let index = model.isEmpty ? 0 : prng.below(model.count)
            value.withBytes { value in
                switch prng.below(6) {
                case 0:
                    pack.append(value, memory)
                    model.append(value.array)
                case 1:
                    pack.prepend(value, memory)
                    model.insert(value.array, at: 0)
                case 2:
                    pack.insert(value, before: pack.seek(index) ?? pack.end, memory)
                    model.insert(value.array, at: index)
                case 3:
                    guard let position = pack.seek(index) else { return }
                    pack.replace(at: position, with: value, memory)
                    model[index] = value.array
                case 4:
                    guard let position = pack.seek(index - model.count) else { return }
                    let count = min(1 + prng.below(3), model.count - index)
                    pack.delete(at: position, count: count, memory)
                    model.removeSubrange(index..<(index + count))
                default:
                    let found = pack.find(value, from: pack.first, skip: 0)
                    let expected = model.firstIndex(of: value.array).flatMap { pack.seek($0) }
                    #expect(found == expected)
                }
            }
            #expect(pack.count == model.count && Listpack.validCount(pack.bytes) == model.count)
        }
        #expect(contents(pack) == model && reversed(pack) == model.reversed())
        pack.free(memory)
        keyspace.destroy()
    }

    @Test(arguments: Array(1...40) as [UInt64])
    func damagedListpacksAreRefusedOrSound(seed: UInt64) {
        var prng = Prng(seed: seed)
        let keyspace = keyspace()
        var pack = Listpack.make(keyspace.memory)
        for _ in 0..<(1 + prng.below(12)) {
            text(&prng).withBytes { pack.append($0, keyspace.memory) }
        }
        for _ in 0..<200 {
            var bytes = pack.bytes.array
            for _ in 0..<(1 + prng.below(3)) {
                bytes[prng.below(bytes.count)] = UInt8(prng.below(256))
            }
            if prng.chance(1, in: 4) { bytes.removeLast(prng.below(bytes.count)) }
            bytes.withBytes { bytes in
                guard let count = Listpack.validCount(bytes) else { return }
                let copy = Listpack.copy(bytes, keyspace.memory)
                #expect(contents(copy).count == count && reversed(copy).count == count)
                copy.free(keyspace.memory)
            }
        }
        pack.free(keyspace.memory)
        keyspace.destroy()
    }

    @Test(arguments: Array(1...20) as [UInt64])
    func intsetLikeASet(seed: UInt64) {
        var prng = Prng(seed: seed)
        let keyspace = keyspace()
        var set = Intset.make(keyspace.memory)
        var model = Set<Int64>()
        let shift = Int64([52, 40, 20, 1][prng.below(4)])
        for _ in 0..<500 {
            let number = Int64(bitPattern: prng.next()) &>> shift
            let near = prng.chance(1, in: 2) ? model.randomElement() ?? number : number
            if prng.chance(2, in: 3) {
                #expect(set.add(near, keyspace.memory) == model.insert(near).inserted)
            } else {
                #expect(set.remove(near, keyspace.memory) == (model.remove(near) != nil))
            }
            #expect(set.contains(near) == model.contains(near))
        }
        #expect((0..<set.count).map { set[$0] } == model.sorted())
        #expect(Intset.isValid(set.bytes))
        set.free(keyspace.memory)
        keyspace.destroy()
    }

    @Test(arguments: Array(1...10) as [UInt64])
    func fieldTableLikeADictionary(seed: UInt64) {
        var prng = Prng(seed: seed)
        let keyspace = keyspace()
        let heap = heapOf(keyspace)
        let table = FieldTable.make(heap)
        var model: [[UInt8]: (value: [UInt8], deadline: Int64?)] = [:]
        for _ in 0..<3000 {
            let field = Array("f\(prng.below(400))".utf8)
            field.withBytes { bytes in
                switch prng.below(5) {
                case 0:
                    #expect(table.remove(bytes, heap) == (model.removeValue(forKey: field) != nil))
                case 1:
                    let time = prng.chance(1, in: 3) ? nil : Int64(prng.below(1000))
                    let found = table.setExpiry(bytes, at: time, heap)
                    #expect(found?.expiry == (model[field] == nil ? nil : time))
                    model[field]?.deadline = time
                default:
                    let size = prng.chance(1, in: 20) ? 2000 : prng.below(40)
                    let value = [UInt8](repeating: UInt8(prng.below(256)), count: size)
                    let isNew = value.withBytes { table.set(bytes, $0, heap) }
                    #expect(isNew == (model[field] == nil))
                    model[field] = (value, nil)
                }
                #expect(table.find(bytes, heap)?.storedBytes?.array == model[field]?.value)
            }
        }
        #expect(table.count == model.count)
        #expect(table.earliestExpiry == model.values.compactMap(\.deadline).min())
        table.checkInvariants(heap)
        let copy = table.copy(heap)
        copy.checkInvariants(heap)
        while !copy.release(heap.memory, effort: 10) {}
        while !table.release(heap.memory, effort: 100) {}
        keyspace.destroy()
    }
}
