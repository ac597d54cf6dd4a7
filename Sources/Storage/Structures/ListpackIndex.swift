// A passing index over the members of a listpack, for who asks for many of them in a row (SINTER,
// SDIFF): a walk through a hundred members for each of a hundred questions takes longer than to
// build a small table first. The hash is a weak one without a secret. Members that are made to
// collide make it a walk again, no more: where many could come together, the form is no listpack.
import Base

struct ListpackIndex {
    private let pack: Listpack
    /// Positions in the listpack, 0 for none; linear probing, at most half full.
    private let places: UnsafeMutablePointer<UInt32>
    private let mask: Int

    /// To be freed with `free`, before the listpack changes. nil when an element is a number that
    /// is kept as text, as only bytes from outside may have it: then a walk must do.
    static func make(_ pack: Listpack) -> ListpackIndex? {
        var capacity = 16
        while capacity < pack.count * 2 { capacity *= 2 }
        let places = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity)
        places.initialize(repeating: 0, count: capacity)
        let index = ListpackIndex(pack: pack, places: places, mask: capacity - 1)
        var position = pack.first
        while let member = position {
            let value = pack[member]
            if case .bytes(let text) = value, text.count <= 20, text.decimal != nil {
                index.free()
                return nil
            }
            var place = ListpackIndex.hash(value) & index.mask
            while places[place] != 0 { place = (place &+ 1) & index.mask }
            places[place] = UInt32(truncatingIfNeeded: member)
            position = pack.next(member)
        }
        return index
    }

    func free() { places.deallocate() }

    /// The position of a member, given in stored form.
    @inline(__always)
    func find(_ wanted: PackedValue) -> Int? {
        var place = ListpackIndex.hash(wanted) & mask
        while places[place] != 0 {
            let position = Int(places[place])
            if wanted.isSame(as: pack[position]) { return position }
            place = (place &+ 1) & mask
        }
        return nil
    }

    /// Mixes length, beginning, middle and end.
    @inline(__always)
    private static func hash(_ value: PackedValue) -> Int {
        let factor: UInt64 = 0x9E37_79B9_7F4A_7C15
        let mixed: UInt64
        switch value {
        case .integer(let number): mixed = UInt64(bitPattern: number) &* factor
        case .bytes(let text): mixed = (sample(text) ^ UInt64(text.count)) &* factor
        }
        return Int(truncatingIfNeeded: mixed &>> 40)
    }

    @inline(__always)
    private static func sample(_ text: Bytes) -> UInt64 {
        let raw = UnsafeRawPointer(text.base)
        let count = text.count
        let factor: UInt64 = 0xC2B2_AE3D_27D4_EB4F
        if count >= 8 {
            let first: UInt64 = raw.loadUnaligned(as: UInt64.self)
            let last: UInt64 = raw.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            let middle: UInt64 = raw.loadUnaligned(
                fromByteOffset: (count &>> 1) &- 4, as: UInt64.self)
            let ends: UInt64 = (first &* factor) ^ last
            let whole: UInt64 = ends ^ (middle &>> 3)
            return whole ^ (whole &>> 32)
        }
        var word: UInt64 = 0
        for index in 0..<count { word = (word &<< 8) | UInt64(text.base[index]) }
        return word &* factor ^ (word &>> 29)
    }
}

extension PackedValue {
    /// A number where it is one, as a listpack of our own would hold it.
    @inline(__always)
    var inStoredForm: PackedValue {
        if case .bytes(let text) = self { return .compact(text) }
        return self
    }

    /// Equal, when both are in stored form.
    @inline(__always)
    func isSame(as other: PackedValue) -> Bool {
        switch (self, other) {
        case (.integer(let mine), .integer(let theirs)): return mine == theirs
        case (.bytes(let mine), .bytes(let theirs)):
            return mine.isSameShort(as: theirs) || mine == theirs
        default: return false
        }
    }
}

/// A set that is asked for many members in a row, and meanwhile does not change.
///
/// Small sets of one origin often have their members in the same order: the member behind the one
/// that was found last is looked at first, and the index is made when that was wrong for the first
/// time.
public struct SetProbe {
    private let set: SetObject
    private let heap: ObjectHeap
    /// The listpack of a set that is worth an index, and can have one.
    private var pack: Listpack?
    private var index: ListpackIndex?
    /// The member behind the one that was found last.
    private var next: Int?

    /// For about `questions` questions. To be freed with `free`.
    public init(_ set: SetObject, questions: Int, _ heap: ObjectHeap) {
        self.set = set
        self.heap = heap
        let pays = set.encoding == .listpack && min(questions, set.count) >= 8
        pack = pays ? Listpack(set.payload) : nil
        next = pack?.first
    }

    @inline(__always)
    public mutating func contains(_ member: PackedValue) -> Bool {
        guard let pack else { return set.contains(member, heap) }
        let wanted = member.inStoredForm
        if let likely = next, wanted.isSame(as: pack[likely]) {
            next = pack.next(likely)
            return true
        }
        return search(wanted, in: pack)
    }

    @inline(__always)
    private mutating func search(_ wanted: PackedValue, in pack: Listpack) -> Bool {
        if index == nil { index = ListpackIndex.make(pack) }
        guard let index else {
            // There are numbers kept as text, which only the set compares well.
            self.pack = nil
            return set.contains(wanted, heap)
        }
        guard let found = index.find(wanted) else { return false }
        next = pack.next(found)
        return true
    }

    public func free() { index?.free() }
}
