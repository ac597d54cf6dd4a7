// The field names of small hashes, kept once for all hashes that have the same ones in the same
// order: objects of one kind, as most hashes are. A shape is one block, counted by its users, in
// the table that finds it by its names:
//
//     next in its bucket · u64 hash of the names · u64 users · listpack of the names
//
// A shape comes into being when its names are met for the second time (the first time leaves a
// fingerprint in a small table that forgets), and ends with its last user: hashes whose names are
// all different cost nothing here.
import Base

struct HashShape: Equatable {
    let base: UnsafeMutableRawPointer
    fileprivate static let headerSize = 24

    @inline(__always)
    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always)
    var names: Listpack { Listpack(base + HashShape.headerSize) }

    /// How many fields there are.
    @inline(__always)
    var count: Int { names.count }

    /// The size of the block.
    var totalBytes: Int { HashShape.headerSize + names.totalBytes }

    /// What each of them has to bear of the block.
    var share: Int { Memory.roundedSize(totalBytes) / users }

    /// How many hashes have these names.
    fileprivate(set) var users: Int {
        get { base.load(fromByteOffset: 16, as: Int.self) }
        nonmutating set { base.storeBytes(of: newValue, toByteOffset: 16, as: Int.self) }
    }

    /// One more hash has these names.
    func retain() { users += 1 }

    /// One hash less has these names.
    func leave(_ heap: ObjectHeap) {
        guard let shapes = heap.shapes else { unreachable("a shape without a table") }
        shapes.leave(self, heap.memory)
    }

    fileprivate var next: HashShape? {
        get {
            let bits = base.load(as: UInt.self)
            return UnsafeMutableRawPointer(bitPattern: bits).map { HashShape($0) }
        }
        nonmutating set {
            let bits = newValue.map { UInt(bitPattern: $0.base) } ?? 0
            base.storeBytes(of: bits, as: UInt.self)
        }
    }

    fileprivate var hash: UInt64 {
        get { base.load(fromByteOffset: 8, as: UInt64.self) }
        nonmutating set { base.storeBytes(of: newValue, toByteOffset: 8, as: UInt64.self) }
    }

    /// The elements of the names, without the listpack's frame.
    fileprivate var elements: Bytes {
        let names = self.names
        return names.bytes[Listpack.headerSize..<names.end]
    }
}

private struct ShapeTableState {
    var buckets: [1024 of HashShape?] = .init(repeating: nil)
    /// Fingerprints of names that were met once.
    var met: [256 of UInt32] = .init(repeating: 0)
    var count = 0
}

/// All shapes of a keyspace.
public struct ShapeTable {
    private let state: UnsafeMutablePointer<ShapeTableState>
    /// More kinds of objects than this share no names.
    static let limit = 8192

    init() {
        state = .allocate(capacity: 1)
        state.initialize(to: ShapeTableState())
    }

    func destroy() {
        invariant(state.pointee.count == 0, "a shape outlives its keyspace")
        state.deinitialize(count: 1)
        state.deallocate()
    }

    var count: Int { state.pointee.count }

    /// The shape of these names, with one user more; nil when they are not shared (yet). The names
    /// are `count` packed elements.
    func join(_ elements: Bytes, count: Int, _ heap: ObjectHeap) -> HashShape? {
        let hash = heap.hash(elements)
        var shape = state.pointee.buckets[ShapeTable.bucket(hash)]
        while let current = shape {
            if current.hash == hash, current.elements == elements {
                current.retain()
                return current
            }
            shape = current.next
        }
        let place = Int((hash &>> 10) % 256)
        let fingerprint = UInt32(truncatingIfNeeded: hash &>> 32)
        guard state.pointee.met[place] == fingerprint, self.count < ShapeTable.limit else {
            state.pointee.met[place] = fingerprint
            return nil
        }
        return make(elements, count: count, hash, heap.memory)
    }

    @inline(__always)
    private static func bucket(_ hash: UInt64) -> Int { Int(hash % 1024) }

    private func make(
        _ elements: Bytes, count: Int, _ hash: UInt64, _ memory: Memory
    ) -> HashShape {
        let bucket = ShapeTable.bucket(hash)
        let size = Listpack.headerSize + elements.count + 1
        let shape = HashShape(memory.allocate(HashShape.headerSize + size))
        shape.users = 1
        shape.hash = hash
        shape.next = state.pointee.buckets[bucket]
        state.pointee.buckets[bucket] = shape
        state.pointee.count += 1
        let names = shape.names
        names.setTotalBytes(size)
        names.setCount(count)
        copyBytes(
            to: names.base + Listpack.headerSize, from: elements.base, count: elements.count)
        names.bytePointer[size - 1] = PackedElement.terminator
        return shape
    }

    fileprivate func leave(_ shape: HashShape, _ memory: Memory) {
        shape.users -= 1
        guard shape.users == 0 else { return }
        let bucket = ShapeTable.bucket(shape.hash)
        if state.pointee.buckets[bucket] == shape {
            state.pointee.buckets[bucket] = shape.next
        } else {
            var before = state.pointee.buckets[bucket]
            while let current = before, current.next != shape { before = current.next }
            guard let before else { unreachable("a shape that is not in its table") }
            before.next = shape.next
        }
        state.pointee.count -= 1
        memory.free(shape.base, shape.totalBytes)
    }
}
