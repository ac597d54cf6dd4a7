// The allocator: blocks do not overlap, counts are exact, empty slabs go back, misuse stops.
import Base
import Testing

@Suite struct SlabTests {
    @Test func everySizeIsRoundedAndAligned() {
        let memory = Memory()
        for size in 1...1024 {
            let before = memory.used
            let block = memory.allocate(size)
            #expect(memory.used - before == Memory.roundedSize(size))
            #expect(UInt(bitPattern: block) % (size % 64 == 0 ? 64 : 8) == 0)
            memory.free(block, size)
            #expect(memory.used == before)
        }
        #expect(memory.liveBlocks == 0)
        memory.destroy()
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func blocksKeepTheirContent(seed: UInt64) {
        let memory = Memory()
        var prng = Prng(seed: seed)
        var live: [(block: UnsafeMutableRawPointer, size: Int, mark: UInt8)] = []
        for round in 0..<30000 {
            let grows = round < 15000 ? 3 : 1
            if live.isEmpty || prng.below(4) < grows {
                let size = prng.below(50) == 0 ? 1 + prng.below(5000) : 1 + prng.below(300)
                let block = memory.allocate(size)
                let mark = UInt8(prng.below(256))
                block.initializeMemory(as: UInt8.self, repeating: mark, count: size)
                live.append((block, size, mark))
            } else {
                let item = live.remove(at: prng.below(live.count))
                let bytes = item.block.assumingMemoryBound(to: UInt8.self)
                #expect(bytes[0] == item.mark && bytes[item.size - 1] == item.mark)
                memory.free(item.block, item.size)
            }
        }
        #expect(memory.liveBlocks == live.count)
        for item in live { memory.free(item.block, item.size) }
        #expect(memory.used == 0 && memory.liveBlocks == 0)
        // One slab per class may wait for the next block.
        #expect(memory.reserved <= 57 * SlabAllocator.slabSize)
        memory.destroy()
    }

    @Test func reallocationKeepsContentAcrossTheLimit() {
        let memory = Memory()
        var size = 16
        var block = memory.allocate(size)
        block.initializeMemory(as: UInt8.self, repeating: 9, count: 16)
        for next in [40, 1000, 1024, 1025, 4000, 90_000, 500, 16] {
            block = memory.reallocate(block, from: size, to: next)
            size = next
            #expect(block.load(fromByteOffset: 15, as: UInt8.self) == 9)
        }
        memory.free(block, size)
        #expect(memory.used == 0)
        memory.destroy()
    }

    @Test func tablesAreZeroedAlignedAndCounted() {
        let memory = Memory()
        for size in [64, 1024, 4096, Memory.mappedTableSize, 1 << 23] {
            let table = memory.allocateTable(size)
            #expect(UInt(bitPattern: table) % 64 == 0)
            #expect(table.load(fromByteOffset: size - 8, as: UInt64.self) == 0)
            #expect(memory.used >= size)
            let piece = size >= 1 << 22 ? 1 << 21 : 0
            if piece > 0 { memory.releaseTablePart(table, piece) }
            memory.freeTable(table, size, released: piece)
            #expect(memory.used == 0)
        }
        #expect(memory.peak >= 1 << 23)
        memory.destroy()
    }

    @Test func freeingWithAnotherSizeStops() async {
        await #expect(processExitsWith: .failure) {
            let memory = Memory()
            let block = memory.allocate(40)
            memory.free(block, 80)
        }
    }

    @Test func hashesAreThoseOfTheStandard() {
        func hex(_ text: String) -> String {
            var out = [UInt8](repeating: 0, count: 20)
            text.withBytes { bytes in
                out.withUnsafeMutableBufferPointer { buffer in
                    if let start = buffer.baseAddress { SHA1.hash(bytes, to: start) }
                }
            }
            let digits = Array("0123456789abcdef")
            return String(out.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
        }
        #expect(hex("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(hex("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709")
        #expect(
            hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
                == "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        )
        #expect(
            hex(String(repeating: "a", count: 1_000_000))
                == "34aa973cd4c4daa4f61eeb2bdbad27316534016f"
        )
    }
}
