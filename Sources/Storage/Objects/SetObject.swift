// A set: an intset while all members are integers, a listpack while it is small, a `FieldTable`
// without values beyond that. It changes its form where the reference (7.2) does. Members are
// given and taken as `PackedValue`, a number or bytes; a number equals its decimal text.
import Base

public struct SetObject {
    public private(set) var encoding: Encoding
    public private(set) var payload: UnsafeMutableRawPointer

    /// However large the setting: what the intset's own count can bear.
    private static let largestIntset = 1 << 30

    @inline(__always)
    public init(_ encoding: Encoding, _ payload: UnsafeMutableRawPointer) {
        invariant(
            encoding == .intset || encoding == .listpack || encoding == .hashTable,
            "no form of a set")
        self.encoding = encoding
        self.payload = payload
    }

    @inline(__always)
    public init(_ entry: Entry) {
        invariant(entry.type == .set, "not a set")
        self.init(entry.encoding, entry.payload)
    }

    /// A new, empty set for numbers, belonging to no key yet.
    public static func make(_ heap: ObjectHeap) -> SetObject {
        SetObject(.intset, Intset.make(heap.memory).base)
    }

    /// A new, empty set in the form that suits its first member and about so many in all.
    public static func make(
        for first: Bytes, expecting count: Int, _ heap: ObjectHeap, _ limits: EncodingLimits
    ) -> SetObject {
        if count <= limits.setIntset, first.decimal != nil { return make(heap) }
        if count <= limits.setEntries {
            return SetObject(.listpack, Listpack.make(heap.memory).base)
        }
        return SetObject(.hashTable, FieldTable.make(heap, reserving: min(count, 1 << 20)).base)
    }

    /// Says where the value is now.
    @inline(__always)
    public func store(in entry: Entry) { entry.setPayload(payload, encoding: encoding) }

    @inline(__always)
    public var isTable: Bool { encoding == .hashTable }
    /// The table of a large set.
    @inline(__always)
    public var fields: FieldTable { FieldTable(payload) }

    // MARK: Reading

    @inline(__always)
    public var count: Int {
        switch encoding {
        case .intset: Intset(payload).count
        case .listpack: Listpack(payload).count
        default: fields.count
        }
    }

    @inline(__always)
    public func contains(_ member: PackedValue, _ heap: ObjectHeap) -> Bool {
        switch encoding {
        case .intset:
            guard let number = member.integer else { return false }
            return Intset(payload).contains(number)
        case .listpack:
            let pack = Listpack(payload)
            return withText(of: member) { pack.find($0, from: pack.first, skip: 0) != nil }
        default: return withText(of: member) { fields.find($0, heap) != nil }
        }
    }

    /// Visits every member once until `visit` gives false. `visit` must not change the set.
    @inline(__always)
    public func forEachWhile(_ visit: (PackedValue) -> Bool) {
        switch encoding {
        case .intset:
            let set = Intset(payload)
            for index in 0..<set.count where !visit(.integer(set[index])) { return }
        case .listpack:
            let pack = Listpack(payload)
            var position = pack.first
            while let member = position {
                guard visit(pack[member]) else { return }
                position = pack.next(member)
            }
        default:
            var goesOn = true
            var cursor: UInt64 = 0
            repeat {
                cursor = fields.scan(cursor) { entry in
                    if goesOn { goesOn = visit(.bytes(entry.key)) }
                }
            } while goesOn && cursor != 0
        }
    }

    /// Visits every member once. `visit` must not change the set.
    @inline(__always)
    public func forEach(_ visit: (PackedValue) -> Void) {
        forEachWhile {
            visit($0)
            return true
        }
    }

    /// A member chosen at random, nearly evenly; valid until the next change.
    public func random(_ prng: inout Prng) -> PackedValue {
        let total = count
        invariant(total > 0, "an empty set has no random member")
        switch encoding {
        case .intset: return .integer(Intset(payload)[prng.below(total)])
        case .listpack:
            let pack = Listpack(payload)
            guard let position = pack.seek(prng.below(total)) else {
                unreachable("a member that is not there")
            }
            return pack[position]
        default:
            guard let entry = fields.random(&prng) else { unreachable("an empty table") }
            return .bytes(entry.key)
        }
    }

    // MARK: Change

    /// Adds a member, which must not lie in this set's memory; false when it was there.
    @discardableResult
    @inline(__always)
    public mutating func add(
        _ member: PackedValue, _ heap: ObjectHeap, _ limits: EncodingLimits
    ) -> Bool {
        if encoding == .hashTable { return withText(of: member) { fields.add($0, heap) } }
        return encoding == .intset
            ? addToIntset(member, heap, limits) : addToListpack(member, heap, limits)
    }

    private mutating func addToIntset(
        _ member: PackedValue, _ heap: ObjectHeap, _ limits: EncodingLimits
    ) -> Bool {
        var set = Intset(payload)
        if let number = member.integer {
            guard set.add(number, heap.memory) else { return false }
            payload = set.base
            if set.count > min(limits.setIntset, SetObject.largestIntset) { convert(heap) }
            return true
        }
        let total = set.count
        var longest = member.byteCount
        if total > 0 {
            longest = max(longest, PackedValue.integer(set[0]).byteCount)
            longest = max(longest, PackedValue.integer(set[total - 1]).byteCount)
        }
        if total < limits.setEntries, longest <= limits.setValue {
            convertToListpack(heap)
        } else {
            convert(heap)
        }
        return add(member, heap, limits)
    }

    private mutating func addToListpack(
        _ member: PackedValue, _ heap: ObjectHeap, _ limits: EncodingLimits
    ) -> Bool {
        var pack = Listpack(payload)
        return withText(of: member) { text in
            if pack.find(text, from: pack.first, skip: 0) != nil { return false }
            if pack.count < limits.setEntries, text.count <= limits.setValue,
                pack.allows(adding: text.count + 10)
            {
                pack.append(text, heap.memory)
                payload = pack.base
            } else {
                convert(heap)
                fields.add(text, heap)
            }
            return true
        }
    }

    /// Removes a member; false when it was not there.
    @discardableResult
    public mutating func remove(_ member: PackedValue, _ heap: ObjectHeap) -> Bool {
        switch encoding {
        case .intset:
            guard let number = member.integer else { return false }
            var set = Intset(payload)
            guard set.remove(number, heap.memory) else { return false }
            payload = set.base
            return true
        case .listpack:
            var pack = Listpack(payload)
            let found = withText(of: member) { pack.find($0, from: pack.first, skip: 0) }
            guard let found else { return false }
            pack.delete(at: found, heap.memory)
            payload = pack.base
            return true
        default: return withText(of: member) { fields.remove($0, heap) }
        }
    }

    /// Keeps the members that `keeps` says, in one walk, for the compact forms only.
    public mutating func filter(_ heap: ObjectHeap, _ keeps: (PackedValue) -> Bool) {
        invariant(!isTable, "a table is changed member by member")
        let old = self
        var numbers = Intset.make(heap.memory)
        var pack = Listpack.make(heap.memory)
        forEach { member in
            guard keeps(member) else { return }
            if old.encoding == .intset, case .integer(let number) = member {
                numbers.add(number, heap.memory)
            } else {
                pack.append(member, heap.memory)
            }
        }
        if encoding == .intset {
            payload = numbers.base
            pack.free(heap.memory)
        } else {
            payload = pack.base
            numbers.free(heap.memory)
        }
        old.free(heap.memory)
    }

    // MARK: Forms

    /// Changes the form ahead of a write that is known to need it.
    public mutating func prepare(
        _ heap: ObjectHeap, _ limits: EncodingLimits, adding count: Int
    ) {
        let outgrows =
            encoding == .listpack ? count > limits.setEntries
            : encoding == .intset && count > limits.setIntset
        if outgrows { convert(heap, reserving: min(count, 1 << 20)) }
    }

    /// Goes to the table, which gets room for `reserving` members.
    public mutating func convert(_ heap: ObjectHeap, reserving: Int = 0) {
        invariant(!isTable, "a set is converted to a table once")
        let table = FieldTable.make(heap, reserving: max(count, reserving))
        forEach { member in
            withText(of: member) { _ = table.insert($0, value: .empty, heap) }
        }
        free(heap.memory)
        encoding = .hashTable
        payload = table.base
    }

    private mutating func convertToListpack(_ heap: ObjectHeap) {
        var pack = Listpack.make(heap.memory)
        forEach { pack.append($0, heap.memory) }
        free(heap.memory)
        encoding = .listpack
        payload = pack.base
    }

    /// Frees a value that belongs to no key.
    public func free(_ memory: Memory) {
        switch encoding {
        case .intset: Intset(payload).free(memory)
        case .listpack: Listpack(payload).free(memory)
        default: while !fields.release(memory, effort: .max) {}
        }
    }
}

extension SetObject {
    /// What the keyspace does with sets.
    public static var operations: ObjectType {
        ObjectType(
            free: { payload, encoding, heap, effort in
                let memory = ObjectHeap(raw: heap).memory
                let set = SetObject(Encoding(rawValue: encoding), payload)
                if set.isTable { return set.fields.release(memory, effort: effort) }
                set.free(memory)
                return true
            },
            freeEffort: { payload, encoding in
                let set = SetObject(Encoding(rawValue: encoding), payload)
                return set.isTable ? set.count : 1
            },
            memoryUsage: { payload, encoding, samples in
                switch Encoding(rawValue: encoding) {
                case .intset: Memory.roundedSize(Intset(payload).totalBytes)
                case .listpack: Memory.roundedSize(Listpack(payload).totalBytes)
                default: FieldTable(payload).memoryUsage(samples: samples)
                }
            },
            copy: { payload, encoding, heap in
                let heap = ObjectHeap(raw: heap)
                return switch Encoding(rawValue: encoding) {
                case .intset: Intset.copy(Intset(payload).bytes, heap.memory).base
                case .listpack: Listpack.copy(Listpack(payload).bytes, heap.memory).base
                default: FieldTable(payload).copy(heap).base
                }
            },
            digest: { payload, encoding, digest in
                let set = SetObject(Encoding(rawValue: encoding), payload)
                set.forEach { withText(of: $0) { DigestMixer(digest).add($0) } }
            },
            openWalk: ObjectType.openTableWalk, closeWalk: ObjectType.closeTableWalk,
            defragment: ObjectType.defragmentTable)
    }
}
