// A run of stream entries in one listpack, in the reference's layout, since RDB files and DUMP
// payloads carry it as it is:
//
//     live · deleted · master field count N · field 1 … field N · 0
//     then per entry:  flags · ms difference · seq difference
//                      · [field count · field 1 · value 1 …]  or just the values
//                      · number of elements of this entry before this one
//
// IDs are differences to the node's master ID, which the index of the stream keeps. An entry whose
// fields are those of the master carries values only. A deleted entry keeps its place with a flag.
// The listpack stands behind a word that says how large its block is: nodes grow by doubling and
// are cut to size when the next one begins.
import Base

public struct StreamNode {
    public private(set) var base: UnsafeMutableRawPointer

    static let blockHeader = 8
    static let packHeader = 6
    static let isDeleted: Int64 = 1
    static let hasMasterFields: Int64 = 2
    /// No listpack grows beyond this.
    public static let sizeLimit = 1 << 30
    private static let firstCapacity = 240

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always)
    init(word: UInt64) {
        guard let pointer = UnsafeMutableRawPointer(bitPattern: UInt(word)) else {
            unreachable("a node without an address")
        }
        base = pointer
    }

    @inline(__always)
    var word: UInt64 { UInt64(UInt(bitPattern: base)) }

    // MARK: The block

    /// Bytes that the listpack may have without growing the block.
    @inline(__always)
    private var capacity: Int { base.load(as: Int.self) }

    @inline(__always)
    var pack: UnsafeMutablePointer<UInt8> {
        (base + StreamNode.blockHeader).assumingMemoryBound(to: UInt8.self)
    }

    @inline(__always)
    private var rawPack: UnsafeMutableRawPointer { base + StreamNode.blockHeader }

    /// Bytes of the listpack, with header and end mark.
    @inline(__always)
    public private(set) var totalBytes: Int {
        get { Int(UInt32(littleEndian: rawPack.loadUnaligned(as: UInt32.self))) }
        nonmutating set {
            rawPack.storeBytes(of: UInt32(newValue).littleEndian, as: UInt32.self)
        }
    }

    /// The listpack, as files and payloads have it.
    public var bytes: Bytes { Bytes(pack, totalBytes) }

    /// Bytes of the block.
    var blockBytes: Int { StreamNode.blockHeader + capacity }

    private static func allocate(_ capacity: Int, _ memory: Memory) -> StreamNode {
        let size = Memory.roundedSize(blockHeader + capacity)
        let node = StreamNode(memory.allocate(size))
        node.base.storeBytes(of: size - blockHeader, as: Int.self)
        return node
    }

    /// A node with a copy of a listpack that was validated.
    static func copy(_ bytes: Bytes, _ memory: Memory) -> StreamNode {
        let node = allocate(bytes.count, memory)
        copyBytes(to: node.pack, from: bytes.base, count: bytes.count)
        invariant(node.totalBytes == bytes.count, "a listpack of another size")
        return node
    }

    func free(_ memory: Memory) { memory.free(base, blockBytes) }

    private mutating func setCapacity(_ wanted: Int, _ memory: Memory) {
        let size = Memory.roundedSize(StreamNode.blockHeader + wanted)
        guard size != blockBytes else { return }
        base = memory.reallocate(base, from: blockBytes, to: size)
        base.storeBytes(of: size - StreamNode.blockHeader, as: Int.self)
    }

    /// Gives back what the listpack does not need.
    mutating func shrink(_ memory: Memory) { setCapacity(totalBytes, memory) }

    private mutating func reserve(_ extra: Int, _ memory: Memory) {
        let needed = totalBytes + extra
        guard needed > capacity else { return }
        setCapacity(max(needed, min(capacity * 2, capacity + 4096)), memory)
    }

    // MARK: Elements

    /// Where the next element goes.
    @inline(__always)
    private var end: Int { totalBytes &- 1 }

    private func note(added count: Int) {
        let old = Int(
            UInt16(littleEndian: rawPack.loadUnaligned(fromByteOffset: 4, as: UInt16.self)))
        let new = old == 65535 ? old : min(old + count, 65535)
        rawPack.storeBytes(
            of: UInt16(truncatingIfNeeded: new).littleEndian, toByteOffset: 4, as: UInt16.self)
    }

    /// The integer at `position`; nodes are validated, so that it is one.
    @inline(__always)
    func integer(_ position: Int) -> Int64 {
        guard let value = PackedElement.read(UnsafePointer(pack + position)).integer else {
            unreachable("a number of a stream node is none")
        }
        return value
    }

    @inline(__always)
    func after(_ position: Int) -> Int {
        position &+ PackedElement.wholeSize(UnsafePointer(pack + position))
    }

    @inline(__always)
    func before(_ position: Int) -> Int {
        let start = UnsafePointer(pack)
        return PackedElement.previous(start + position) - start
    }

    @inline(__always)
    func isEnd(_ position: Int) -> Bool { pack[position] == PackedElement.terminator }

    /// Writes another integer at `position`; what follows moves when it needs other room.
    mutating func replaceInteger(_ position: Int, _ value: Int64, _ memory: Memory) {
        let old = PackedElement.wholeSize(UnsafePointer(pack + position))
        let new = PackedElement.size(of: .integer(value))
        if new != old {
            if new > old { reserve(new - old, memory) }
            let tail = totalBytes - position - old
            moveBytes(to: pack + position + new, from: pack + position + old, count: tail)
            totalBytes += new - old
        }
        PackedElement.write(.integer(value), to: pack + position)
    }

    // MARK: The master entry

    /// Entries that are not deleted.
    var live: Int64 { integer(StreamNode.packHeader) }
    var deleted: Int64 { integer(after(StreamNode.packHeader)) }

    mutating func setCounts(live: Int64, deleted: Int64, _ memory: Memory) {
        invariant(live >= 0 && deleted >= 0, "negative counts of a node")
        replaceInteger(StreamNode.packHeader, live, memory)
        replaceInteger(after(StreamNode.packHeader), deleted, memory)
    }

    /// The number of master fields, and where they start.
    @inline(__always)
    var master: (count: Int, fields: Int) {
        let position = after(after(StreamNode.packHeader))
        return (Int(integer(position)), after(position))
    }

    /// The first entry's flags, or the end.
    var firstEntry: Int {
        var (count, position) = master
        while count > 0 {
            position = after(position)
            count -= 1
        }
        return after(position)
    }

    // MARK: Adding

    /// A node for an entry with these fields; fields and values alternate in `fields`.
    static func make(
        _ fields: UnsafePointer<Bytes>, _ count: Int, _ memory: Memory
    ) -> StreamNode {
        var node = allocate(firstCapacity, memory)
        node.rawPack.storeBytes(of: 0, toByteOffset: 4, as: UInt16.self)
        node.totalBytes = packHeader + 1
        node.pack[packHeader] = PackedElement.terminator
        var size = 0
        for index in 0..<count {
            size += PackedElement.size(of: .compact(fields[index * 2]))
        }
        // The four numbers take at most twelve bytes each.
        node.reserve(size + 48, memory)
        node.write(.integer(0))
        node.write(.integer(0))
        node.write(.integer(Int64(count)))
        for index in 0..<count { node.write(.compact(fields[index * 2])) }
        node.write(.integer(0))
        node.note(added: count + 4)
        return node
    }

    /// Writes an element for which there is room.
    @inline(__always)
    private func write(_ value: PackedValue) {
        let position = end
        let size = PackedElement.write(value, to: pack + position)
        pack[position + size] = PackedElement.terminator
        totalBytes = position + size + 1
        invariant(totalBytes <= capacity, "a node overflows its block")
    }

    /// Adds an entry behind all others; the master ID is the index's key of this node.
    mutating func append(
        _ id: StreamID, master masterID: StreamID, _ fields: UnsafePointer<Bytes>, _ count: Int,
        _ memory: Memory
    ) {
        replaceInteger(StreamNode.packHeader, live + 1, memory)
        let isLikeMaster = hasMasterFields(fields, count)
        var size = 5 * 12
        for index in 0..<count {
            size += PackedElement.size(of: .compact(fields[index * 2 + 1]))
            if !isLikeMaster { size += PackedElement.size(of: .compact(fields[index * 2])) }
        }
        reserve(size, memory)
        write(.integer(isLikeMaster ? StreamNode.hasMasterFields : 0))
        write(.integer(Int64(bitPattern: id.ms &- masterID.ms)))
        write(.integer(Int64(bitPattern: id.seq &- masterID.seq)))
        if !isLikeMaster { write(.integer(Int64(count))) }
        for index in 0..<count {
            if !isLikeMaster { write(.compact(fields[index * 2])) }
            write(.compact(fields[index * 2 + 1]))
        }
        let elements = isLikeMaster ? count + 3 : count * 2 + 4
        write(.integer(Int64(elements)))
        note(added: elements + 1)
    }

    private func hasMasterFields(_ fields: UnsafePointer<Bytes>, _ count: Int) -> Bool {
        var (masterCount, position) = master
        guard masterCount == count else { return false }
        var index = 0
        while masterCount > 0 {
            let field = PackedElement.read(UnsafePointer(pack + position))
            guard field.equals(fields[index]) else { return false }
            position = after(position)
            index += 2
            masterCount -= 1
        }
        return true
    }

    /// Flags an entry as deleted; counts are the caller's business.
    mutating func markDeleted(_ flags: Int, _ memory: Memory) {
        replaceInteger(flags, integer(flags) | StreamNode.isDeleted, memory)
    }

    // MARK: Entries

    /// The ID of the entry whose flags are at `position`.
    @inline(__always)
    func id(at position: Int, master: StreamID) -> StreamID {
        let ms = after(position)
        let seq = after(ms)
        return StreamID(
            master.ms &+ UInt64(bitPattern: integer(ms)),
            master.seq &+ UInt64(bitPattern: integer(seq)))
    }

    /// The flags of the entry behind the one at `position`, or the end.
    func entry(after position: Int, masterCount: Int) -> Int {
        let flags = integer(position)
        var at = after(after(after(position)))
        var skipped = masterCount
        if flags & StreamNode.hasMasterFields == 0 {
            skipped = Int(integer(at)) * 2
            at = after(at)
        }
        while skipped > 0 {
            at = after(at)
            skipped -= 1
        }
        return after(at)
    }

    /// The flags of the entry that ends before `position`; nil when the master entry does.
    func entry(before position: Int) -> Int? {
        var at = before(position)
        var count = integer(at)
        if count == 0 { return nil }
        while count > 0 {
            at = before(at)
            count -= 1
        }
        return at
    }

    /// The ID of the last entry, deleted or not; nil without entries.
    func lastID(master: StreamID) -> StreamID? {
        entry(before: end).map { id(at: $0, master: master) }
    }

    /// Where the end mark is: behind the last entry.
    var endOfEntries: Int { end }
}
