// A small collection in one run of bytes, the reference's listpack: 4 bytes of total size, 2 of
// element count (65535: too many to say), the elements, and a terminator. The block is exactly as
// large as the bytes in it, so a handle is one pointer and saving is a copy. Positions are byte
// offsets and stay good until the next edit in front of them. Bytes from outside must pass
// `isValid` before a handle may be made of them; after that nothing is checked again.
import Base

public struct Listpack: Equatable {
    /// The block; edits may move it.
    public internal(set) var base: UnsafeMutableRawPointer

    static let headerSize = 6
    static let unknownCount = 65535
    /// Beyond this a listpack takes no more elements.
    private static let safetyLimit = 1 << 30

    @inline(__always)
    public init(_ base: UnsafeMutableRawPointer) { self.base = base }

    // MARK: Life

    /// An empty listpack.
    public static func make(_ memory: Memory) -> Listpack {
        let size = headerSize + 1
        let pack = Listpack(memory.allocate(size))
        pack.setTotalBytes(size)
        pack.setCount(0)
        pack.bytePointer[headerSize] = PackedElement.terminator
        return pack
    }

    /// A copy of bytes that are known to be valid.
    public static func copy(_ bytes: Bytes, _ memory: Memory) -> Listpack {
        invariant(bytes.count > headerSize, "too short for a listpack")
        let pack = Listpack(memory.allocate(bytes.count))
        copyBytes(to: pack.base, from: bytes.base, count: bytes.count)
        invariant(pack.totalBytes == bytes.count, "a listpack of another size")
        return pack
    }

    public func free(_ memory: Memory) { memory.free(base, totalBytes) }

    // MARK: Facts

    @inline(__always)
    var bytePointer: UnsafeMutablePointer<UInt8> { base.assumingMemoryBound(to: UInt8.self) }

    /// The size of everything, header and terminator included.
    @inline(__always)
    public var totalBytes: Int { Int(UInt32(littleEndian: base.loadUnaligned(as: UInt32.self))) }

    @inline(__always)
    func setTotalBytes(_ count: Int) {
        invariant(count <= Int(UInt32.max), "a listpack is too large")
        base.storeBytes(of: UInt32(truncatingIfNeeded: count).littleEndian, as: UInt32.self)
    }

    /// The count as the header says it.
    @inline(__always)
    var headerCount: Int {
        Int(UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 4, as: UInt16.self)))
    }

    @inline(__always)
    func setCount(_ count: Int) {
        let stored = UInt16(truncatingIfNeeded: min(count, Listpack.unknownCount))
        base.storeBytes(of: stored.littleEndian, toByteOffset: 4, as: UInt16.self)
    }

    public var bytes: Bytes { Bytes(bytePointer, totalBytes) }

    /// The number of elements.
    @inline(__always)
    public var count: Int {
        let known = headerCount
        return _fastPath(known != Listpack.unknownCount) ? known : counted
    }

    private var counted: Int {
        var count = 0
        var position = Listpack.headerSize
        while bytePointer[position] != PackedElement.terminator {
            position += PackedElement.wholeSize(bytePointer + position)
            count += 1
        }
        return count
    }

    @inline(__always)
    public var isEmpty: Bool { bytePointer[Listpack.headerSize] == PackedElement.terminator }

    /// True when `count` more bytes keep it at a size that every copy and file can bear.
    public func allows(adding count: Int) -> Bool {
        count <= Listpack.safetyLimit && totalBytes + count <= Listpack.safetyLimit
    }

    // MARK: Positions

    /// Where an appended element goes.
    @inline(__always)
    public var end: Int { totalBytes &- 1 }

    /// The first element, nil when there is none.
    @inline(__always)
    public var first: Int? { isEmpty ? nil : Listpack.headerSize }

    @inline(__always)
    public var last: Int? { isEmpty ? nil : previousPosition(end) }

    /// The element behind the one at `position`.
    @inline(__always)
    public func next(_ position: Int) -> Int? {
        let next = position &+ PackedElement.wholeSize(bytePointer + position)
        return bytePointer[next] == PackedElement.terminator ? nil : next
    }

    /// The element before `position`, which may be `end`.
    @inline(__always)
    public func previous(_ position: Int) -> Int? {
        position == Listpack.headerSize ? nil : previousPosition(position)
    }

    @inline(__always)
    private func previousPosition(_ position: Int) -> Int {
        let pointer = UnsafePointer(bytePointer)
        let before = PackedElement.previous(pointer + position)
        invariant(before - pointer >= Listpack.headerSize, "an element before the first")
        return before - pointer
    }

    /// Element number `index`, from the end when negative; nil when there is none. Walks from the
    /// nearer end.
    public func seek(_ index: Int) -> Int? {
        let known = headerCount
        var index = index
        if known != Listpack.unknownCount {
            if index < 0 { index += known }
            guard index >= 0, index < known else { return nil }
            if index > known / 2 { index -= known }
        }
        if index < 0 {
            var position = last
            while index < -1, let current = position {
                position = previous(current)
                index += 1
            }
            return position
        }
        var position = first
        while index > 0, let current = position {
            position = next(current)
            index -= 1
        }
        return position
    }

    /// The element at `position`; bytes are valid until the next edit.
    @inline(__always)
    public subscript(_ position: Int) -> PackedValue {
        PackedElement.read(UnsafePointer(bytePointer + position))
    }

    /// The first element from `start` on whose text is `value`, among every `skip` + 1-th one: with
    /// a skip of 1 the fields of a hash, whose values stand between them.
    public func find(_ value: Bytes, from start: Int?, skip: Int) -> Int? {
        guard var position = start else { return nil }
        invariant(skip >= 0, "a negative skip")
        let number = value.count <= 20 ? value.decimal : nil
        if number == nil, value.count < 64 { return findText(value, position, skip) }
        let bytes = UnsafePointer(bytePointer)
        while bytes[position] != PackedElement.terminator {
            switch PackedElement.read(bytes + position) {
            case .bytes(let text): if text == value { return position }
            case .integer(let stored): if stored == number { return position }
            }
            for _ in 0...skip {
                if bytes[position] == PackedElement.terminator { return nil }
                position &+= PackedElement.wholeSize(bytes + position)
            }
        }
        return nil
    }

    /// As `find`, for a short text that is no number: mostly one byte, its kind and length, tells
    /// that an element is another.
    private func findText(_ value: Bytes, _ start: Int, _ skip: Int) -> Int? {
        let bytes = UnsafePointer(bytePointer)
        let wanted: UInt8 = 0x80 | UInt8(truncatingIfNeeded: value.count)
        var position = start
        var skipping = 0
        while true {
            let head = bytes[position]
            if _fastPath(head &- 0x80 < 0x40) {
                if head == wanted, skipping == 0 {
                    let text = Bytes(bytes + (position &+ 1), value.count)
                    if text.isSameShort(as: value) || text == value { return position }
                }
                position &+= Int(head & 0x3F) &+ 2
            } else if head == PackedElement.terminator {
                return nil
            } else {
                // A number, or a text; bytes from outside may have a short one in a long form.
                if skipping == 0, case .bytes(let text) = PackedElement.read(bytes + position),
                    text == value
                {
                    return position
                }
                position &+= PackedElement.wholeSize(bytes + position)
            }
            skipping = skipping == 0 ? skip : skipping &- 1
        }
    }
}
