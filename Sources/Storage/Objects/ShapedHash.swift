// A small hash whose field names are kept elsewhere, once for all hashes that have the same ones:
//
//     address of the shape · u16 bytes of the values · the values as packed elements
//
// in the order of the names. Of an object with ten short fields that is half of a listpack. It is
// the form of hashes that came into being at once, by one command or from a file: values can be
// exchanged in it, and whatever changes the names goes back to a listpack first. To the outside it
// is that listpack, to the byte.
import Base

struct ShapedHash {
    private(set) var base: UnsafeMutableRawPointer
    private static let headerSize = 10
    private static let largestValues = 0xFFFF
    /// Names longer than this in all are not shared.
    private static let largestNames = 1024

    @inline(__always)
    init(_ base: UnsafeMutableRawPointer) { self.base = base }

    // MARK: Life

    /// The hash of a listpack of fields and values in turn, which stays; nil when nothing is won,
    /// or nobody else has these names.
    static func make(from pack: Listpack, _ heap: ObjectHeap) -> ShapedHash? {
        guard let shapes = heap.shapes, pack.count >= 4, pack.totalBytes <= largestValues else {
            return nil
        }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: largestNames) { room in
            guard let start = room.baseAddress, let names = copyNames(of: pack, to: start) else {
                return nil
            }
            let values = pack.totalBytes - Listpack.headerSize - 1 - names.count
            let size = headerSize + values
            guard Memory.roundedSize(size) < Memory.roundedSize(pack.totalBytes),
                let shape = shapes.join(names, count: pack.count / 2, heap)
            else { return nil }
            let hash = ShapedHash(heap.memory.allocate(size))
            hash.base.storeBytes(of: UInt(bitPattern: shape.base), as: UInt.self)
            hash.byteCount = values
            hash.copyValues(of: pack)
            return hash
        }
    }

    private static func copyNames(
        of pack: Listpack, to start: UnsafeMutablePointer<UInt8>
    ) -> Bytes? {
        var size = 0
        var position = pack.first
        while let field = position, let value = pack.next(field) {
            guard size + value - field <= largestNames else { return nil }
            copyBytes(to: start + size, from: pack.bytePointer + field, count: value - field)
            size += value - field
            position = pack.next(value)
        }
        return Bytes(start, size)
    }

    private func copyValues(of pack: Listpack) {
        var to = start
        var position = pack.first
        while let field = position, let value = pack.next(field) {
            let size = PackedElement.wholeSize(pack.bytePointer + value)
            copyBytes(to: to, from: pack.bytePointer + value, count: size)
            to += size
            position = pack.next(value)
        }
        invariant(to == end, "values got lost")
    }

    func copy(_ heap: ObjectHeap) -> ShapedHash {
        shape.retain()
        let copy = ShapedHash(heap.memory.allocate(totalBytes))
        copyBytes(to: copy.base, from: base, count: totalBytes)
        return copy
    }

    func free(_ heap: ObjectHeap) {
        shape.leave(heap)
        heap.memory.free(base, totalBytes)
    }

    // MARK: Facts

    @inline(__always)
    var shape: HashShape {
        let bits = base.loadUnaligned(as: UInt.self)
        guard let pointer = UnsafeMutableRawPointer(bitPattern: bits) else {
            unreachable("a hash without its names")
        }
        return HashShape(pointer)
    }

    @inline(__always)
    private var byteCount: Int {
        get { Int(base.loadUnaligned(fromByteOffset: 8, as: UInt16.self)) }
        nonmutating set {
            invariant(newValue <= ShapedHash.largestValues, "the values are too long")
            let word = UInt16(truncatingIfNeeded: newValue)
            base.storeBytes(of: word, toByteOffset: 8, as: UInt16.self)
        }
    }

    /// The size of the block.
    @inline(__always)
    var totalBytes: Int { ShapedHash.headerSize &+ byteCount }

    @inline(__always)
    private var start: UnsafeMutablePointer<UInt8> {
        (base + ShapedHash.headerSize).assumingMemoryBound(to: UInt8.self)
    }
    @inline(__always)
    private var end: UnsafeMutablePointer<UInt8> { start + byteCount }

    @inline(__always)
    var count: Int { shape.count }

    /// The value of a field.
    @inline(__always)
    func find(_ field: Bytes) -> PackedValue? {
        locate(field).map { PackedElement.read(UnsafePointer($0)) }
    }

    /// Where the value of a field is: as many values on as there are names before the field's.
    @inline(__always)
    private func locate(_ field: Bytes) -> UnsafeMutablePointer<UInt8>? {
        let names = shape.names
        guard let wanted = names.find(field, from: names.first, skip: 0) else { return nil }
        var name = Listpack.headerSize
        var value = start
        while name < wanted {
            name &+= PackedElement.wholeSize(names.bytePointer + name)
            value += PackedElement.wholeSize(value)
        }
        return value
    }

    /// Visits all fields.
    @inline(__always)
    func forEach(_ visit: (PackedValue, PackedValue) -> Void) {
        let names = shape.names
        var position = names.first
        var value = start
        while let name = position {
            visit(names[name], PackedElement.read(UnsafePointer(value)))
            value += PackedElement.wholeSize(value)
            position = names.next(name)
        }
    }

    /// Calls `body` with the listpack that this is to the outside, valid inside only.
    func withListpack<R>(_ body: (Bytes) -> R) -> R {
        let names = shape.names
        let size = names.totalBytes + byteCount
        return withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { room in
            guard let base = room.baseAddress else { unreachable("no room for a listpack") }
            let pack = Listpack(base)
            pack.setTotalBytes(size)
            pack.setCount(names.count * 2)
            var to = pack.bytePointer + Listpack.headerSize
            var value = start
            var position = names.first
            while let name = position {
                let nameSize = PackedElement.wholeSize(names.bytePointer + name)
                copyBytes(to: to, from: names.bytePointer + name, count: nameSize)
                let valueSize = PackedElement.wholeSize(value)
                copyBytes(to: to + nameSize, from: value, count: valueSize)
                to += nameSize + valueSize
                value += valueSize
                position = names.next(name)
            }
            to[0] = PackedElement.terminator
            return body(pack.bytes)
        }
    }

    // MARK: Change

    /// Exchanges the value of a field; false when there is none, or the values would be too long.
    /// The new one must not point into this hash.
    @inline(__always)
    mutating func replace(_ field: Bytes, with text: Bytes, _ memory: Memory) -> Bool {
        guard let place = locate(field) else { return false }
        let value = PackedValue.compact(text)
        let position = UnsafeMutableRawPointer(place) - base
        let old = totalBytes
        let size = PackedElement.wholeSize(place)
        let added = PackedElement.size(of: value)
        let new = old &- size &+ added
        guard new <= ShapedHash.largestValues else { return false }
        if new > old { base = memory.reallocate(base, from: old, to: new) }
        if added != size {
            moveBytes(
                to: base + (position &+ added), from: base + (position &+ size),
                count: old &- position &- size)
        }
        PackedElement.write(
            value, to: (base + position).assumingMemoryBound(to: UInt8.self))
        if new < old { base = memory.reallocate(base, from: old, to: new) }
        byteCount = new &- ShapedHash.headerSize
        return true
    }

    /// Checks the values against the names (tests).
    func checkInvariants() {
        var place = start
        for _ in 0..<count {
            let size = PackedElement.validatedSize(place, room: end - place)
            guard let size else { unreachable("a value is damaged") }
            place += size
        }
        invariant(place == end, "there are more values than names")
        invariant(shape.users > 0, "a hash has names that nobody uses")
    }
}
