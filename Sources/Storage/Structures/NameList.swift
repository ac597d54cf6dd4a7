// A few records by name, in the order of their names: the groups of a stream, the consumers of a
// group. A sorted array of pointers to blocks that begin with the length and place of their name.
import Base

/// A block that begins with `NamedRecord.Header`.
enum NamedRecord {
    struct Header {
        var nameLength: UInt32
        var nameOffset: UInt32
    }

    /// A block for `State`, whose first field is the header, with the name behind it.
    static func make<State>(
        _ name: Bytes, _ state: State, _ memory: Memory
    ) -> UnsafeMutablePointer<State> {
        invariant(name.count <= Int(UInt32.max), "a name is too long")
        let offset = MemoryLayout<State>.size
        let block = memory.allocate(offset + name.count)
        let pointer = block.bindMemory(to: State.self, capacity: 1)
        pointer.initialize(to: state)
        copyBytes(to: block + offset, from: name.base, count: name.count)
        let header = Header(nameLength: UInt32(name.count), nameOffset: UInt32(offset))
        block.storeBytes(of: header, as: Header.self)
        return pointer
    }

    static func size(_ block: UnsafeMutableRawPointer) -> Int {
        let header = block.load(as: Header.self)
        return Int(header.nameOffset) + Int(header.nameLength)
    }

    static func name(_ block: UnsafeMutableRawPointer) -> Bytes {
        let header = block.load(as: Header.self)
        let start = block + Int(header.nameOffset)
        return Bytes(start.assumingMemoryBound(to: UInt8.self), Int(header.nameLength))
    }
}

/// A value that lives in the block of its owner.
struct NameList {
    private var records: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private(set) var count = 0
    private var capacity = 0

    init() {}

    var bytes: Int { capacity * 8 }

    subscript(_ index: Int) -> UnsafeMutableRawPointer {
        invariant(index >= 0 && index < count, "no such record")
        guard let records else { unreachable("records without memory") }
        return records[index]
    }

    /// The position of the first name that is not below `name`.
    private func lowerBound(_ name: Bytes) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if NamedRecord.name(self[middle]) < name { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func find(_ name: Bytes) -> UnsafeMutableRawPointer? {
        let index = lowerBound(name)
        guard index < count, NamedRecord.name(self[index]) == name else { return nil }
        return self[index]
    }

    /// Adds a record whose name is not there yet.
    mutating func insert(_ record: UnsafeMutableRawPointer, _ memory: Memory) {
        let index = lowerBound(NamedRecord.name(record))
        if index < count {
            invariant(
                !(NamedRecord.name(self[index]) == NamedRecord.name(record)), "a name twice")
        }
        if count == capacity { grow(memory) }
        guard let records else { unreachable("records without memory") }
        let place = records + index
        moveBytes(to: place + 1, from: place, count: (count - index) * 8)
        place.pointee = record
        count += 1
    }

    private mutating func grow(_ memory: Memory) {
        let wider = max(2, capacity * 2)
        let fresh = memory.allocate(wider * 8)
            .bindMemory(to: UnsafeMutableRawPointer.self, capacity: wider)
        if let records {
            copyBytes(to: fresh, from: records, count: count * 8)
            memory.free(records, capacity * 8)
        }
        records = fresh
        capacity = wider
    }

    /// Takes a record out; its block is the caller's.
    mutating func remove(_ record: UnsafeMutableRawPointer) {
        let index = lowerBound(NamedRecord.name(record))
        invariant(index < count && self[index] == record, "no such record")
        guard let records else { unreachable("records without memory") }
        let place = records + index
        moveBytes(to: place, from: place + 1, count: (count - index - 1) * 8)
        count -= 1
    }

    /// Frees the list, not the records.
    mutating func release(_ memory: Memory) {
        if let records { memory.free(records, capacity * 8) }
        self = NameList()
    }
}
