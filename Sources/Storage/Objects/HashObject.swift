// A hash: a listpack of fields and values in turn while it is small, or a `ShapedHash` when others
// have the same fields; a `FieldTable` beyond that or when a field of it expires. The handle is
// made of an entry, used within one command, and written back to the entry (`store`) when the value
// moved or changed its form.
import Base

public struct HashObject {
    public private(set) var encoding: Encoding
    public private(set) var payload: UnsafeMutableRawPointer

    @inline(__always)
    public init(_ encoding: Encoding, _ payload: UnsafeMutableRawPointer) {
        invariant(
            encoding == .listpack || encoding == .hashTable || encoding == .shaped,
            "no form of a hash")
        self.encoding = encoding
        self.payload = payload
    }

    @inline(__always)
    public init(_ entry: Entry) {
        invariant(entry.type == .hash, "not a hash")
        self.init(entry.encoding, entry.payload)
    }

    /// A new, empty hash, belonging to no key yet.
    public static func make(_ heap: ObjectHeap) -> HashObject {
        HashObject(.listpack, Listpack.make(heap.memory).base)
    }

    /// Says where the value is now.
    @inline(__always)
    public func store(in entry: Entry) { entry.setPayload(payload, encoding: encoding) }

    @inline(__always)
    public var isTable: Bool { encoding == .hashTable }
    @inline(__always)
    private var isListpack: Bool { encoding == .listpack }
    @inline(__always)
    private var isShaped: Bool { encoding == .shaped }
    @inline(__always)
    private var pack: Listpack { Listpack(payload) }
    @inline(__always)
    private var shaped: ShapedHash { ShapedHash(payload) }
    /// The table of a large hash.
    @inline(__always)
    public var fields: FieldTable { FieldTable(payload) }

    // MARK: Reading

    /// Fields, those whose time is over but that are not gone yet included.
    public var count: Int {
        if isListpack { return pack.count / 2 }
        return isTable ? fields.count : shaped.count
    }

    /// The value of a field; one whose time is over at `now` counts as missing.
    @inline(__always)
    public func find(_ field: Bytes, _ heap: ObjectHeap, now: Int64) -> PackedValue? {
        if isListpack {
            guard let position = pack.find(field, from: pack.first, skip: 1) else { return nil }
            guard let value = pack.next(position) else { unreachable("a field without a value") }
            return pack[value]
        }
        if isShaped { return shaped.find(field) }
        guard let entry = fields.find(field, heap), !entry.isExpired(now: now) else { return nil }
        return HashObject.value(of: entry)
    }

    @inline(__always)
    public static func value(of entry: Entry) -> PackedValue {
        guard let bytes = entry.storedBytes else { unreachable("a field without a value") }
        return .bytes(bytes)
    }

    /// Visits all fields whose time is not over at `now`. `visit` must not change the hash.
    @inline(__always)
    public func forEach(now: Int64, _ visit: (PackedValue, PackedValue) -> Void) {
        if isShaped { return shaped.forEach(visit) }
        guard isListpack else {
            fields.forEach { entry in
                guard !entry.isExpired(now: now) else { return }
                visit(.bytes(entry.key), HashObject.value(of: entry))
            }
            return
        }
        let pack = self.pack
        var position = pack.first
        while let field = position {
            guard let value = pack.next(field) else { unreachable("a field without a value") }
            visit(pack[field], pack[value])
            position = pack.next(value)
        }
    }

    /// Visits all fields, and says of each whether it expires.
    func forEachWithExpiry(_ visit: (PackedValue, PackedValue, Bool) -> Void) {
        guard isTable else { return forEach(now: .min) { visit($0, $1, false) } }
        fields.forEach { visit(.bytes($0.key), HashObject.value(of: $0), $0.hasExpiry) }
    }

    /// The name of field number `index` of a small hash.
    public func name(at index: Int) -> PackedValue {
        let names = isShaped ? shaped.shape.names : pack
        guard let position = names.seek(isShaped ? index : index * 2) else {
            unreachable("a field that is not there")
        }
        return names[position]
    }

    /// Calls `body` with a small hash as a listpack of fields and values, valid inside only.
    public func withListpack(_ body: (Bytes) -> Void) {
        isShaped ? shaped.withListpack(body) : body(pack.bytes)
    }

    // MARK: Shared names

    /// Keeps the names of the fields where others with the same ones do. For a hash at rest: the
    /// next new field undoes it.
    public mutating func shareNames(_ heap: ObjectHeap) {
        guard isListpack, let shaped = ShapedHash.make(from: pack, heap) else { return }
        pack.free(heap.memory)
        encoding = .shaped
        payload = shaped.base
    }

    /// Takes the names back.
    private mutating func unshare(_ heap: ObjectHeap) {
        let shaped = self.shaped
        payload = shaped.withListpack { Listpack.copy($0, heap.memory).base }
        encoding = .listpack
        shaped.free(heap)
    }

    // MARK: Change

    /// Gives a field a value, and no expiry; true when the field is new. A hash that outgrows its
    /// compact form changes it.
    @discardableResult
    @inline(__always)
    public mutating func set(
        _ field: Bytes, _ value: Bytes, _ heap: ObjectHeap, _ limits: EncodingLimits
    ) -> Bool {
        if isShaped {
            if value.count <= limits.hashValue, replaceShaped(field, value, heap) { return false }
            unshare(heap)
        }
        if isListpack {
            let longest = max(field.count, value.count)
            if longest <= limits.hashValue, pack.allows(adding: field.count + value.count + 20) {
                return setPacked(field, value, heap, limits)
            }
            convert(heap)
        }
        let isNew = fields.set(field, value, heap)
        if _slowPath(fields.isSmall) { noteSize(max(field.count, value.count), limits) }
        return isNew
    }

    /// A hash that is a table only because its fields expire may outgrow the other reasons too.
    private func noteSize(_ longest: Int, _ limits: EncodingLimits) {
        if longest > limits.hashValue || count > limits.hashEntries { fields.isSmall = false }
    }

    @inline(__always)
    private mutating func replaceShaped(
        _ field: Bytes, _ value: Bytes, _ heap: ObjectHeap
    ) -> Bool {
        var shaped = self.shaped
        guard shaped.replace(field, with: value, heap.memory) else { return false }
        payload = shaped.base
        return true
    }

    private mutating func setPacked(
        _ field: Bytes, _ value: Bytes, _ heap: ObjectHeap, _ limits: EncodingLimits
    ) -> Bool {
        var pack = self.pack
        if let position = pack.find(field, from: pack.first, skip: 1) {
            guard let old = pack.next(position) else { unreachable("a field without a value") }
            pack.replace(at: old, with: value, heap.memory)
            payload = pack.base
            return false
        }
        pack.append(field, heap.memory)
        pack.append(value, heap.memory)
        payload = pack.base
        if pack.count / 2 > limits.hashEntries { convert(heap) }
        return true
    }

    /// Removes a field; false when there is none.
    @discardableResult
    public mutating func remove(_ field: Bytes, _ heap: ObjectHeap) -> Bool {
        if isTable { return fields.remove(field, heap) }
        if isShaped {
            guard shaped.find(field) != nil else { return false }
            unshare(heap)
        }
        var pack = self.pack
        guard let position = pack.find(field, from: pack.first, skip: 1) else { return false }
        pack.delete(at: position, count: 2, heap.memory)
        payload = pack.base
        return true
    }

    /// Sets when a field expires, in milliseconds since 1970, or with nil that it stays. False when
    /// there is no such field.
    @discardableResult
    public mutating func setExpiry(_ field: Bytes, at time: Int64?, _ heap: ObjectHeap) -> Bool {
        if !isTable {
            guard time != nil else { return find(field, heap, now: .min) != nil }
            convert(heap)
            fields.isSmall = true
        }
        return fields.setExpiry(field, at: time, heap) != nil
    }

    /// When a field expires, nil for one that stays or is missing.
    public func expiry(of field: Bytes, _ heap: ObjectHeap) -> Int64? {
        guard isTable, fields.hasExpiringFields else { return nil }
        return fields.find(field, heap)?.expiry
    }

    /// False when surely no field's time is over at `now`.
    @inline(__always)
    public func mayHoldExpired(now: Int64) -> Bool {
        isTable && fields.mayHoldExpired(now: now)
    }

    /// True when a field expires.
    @inline(__always)
    public var hasExpiringFields: Bool { isTable && fields.hasExpiringFields }

    /// True when the database may have to be told of changed times: some field expires, or did.
    @inline(__always)
    public var concernsExpiry: Bool { isTable && fields.state.pointee.expiry != nil }

    /// Goes from a small form to the table, which gets room for `reserving` fields.
    public mutating func convert(_ heap: ObjectHeap, reserving: Int = 0) {
        invariant(!isTable, "a hash is converted once")
        let table = FieldTable.make(heap, reserving: max(count, reserving))
        forEach(now: .min) { field, value in
            withText(of: field) { name in
                withText(of: value) { _ = table.insert(name, value: $0, heap) }
            }
        }
        free(heap)
        encoding = .hashTable
        payload = table.base
    }

    /// Changes the form ahead of a write that is known to need it.
    public mutating func prepare(
        _ heap: ObjectHeap, _ limits: EncodingLimits, adding fields: Int, longest: Int
    ) {
        guard !isTable, fields > limits.hashEntries || longest > limits.hashValue else { return }
        convert(heap, reserving: min(fields, 1 << 20))
    }

    /// Frees a value that belongs to no key.
    public func free(_ heap: ObjectHeap) {
        while !release(heap, effort: .max) {}
    }

    /// Frees about `effort` fields; true when all is gone.
    private func release(_ heap: ObjectHeap, effort: Int) -> Bool {
        if isTable { return fields.release(heap.memory, effort: effort) }
        if isShaped { shaped.free(heap) } else { pack.free(heap.memory) }
        return true
    }

    private var memoryOfSmallForm: Int {
        guard isShaped else { return Memory.roundedSize(pack.totalBytes) }
        return Memory.roundedSize(shaped.totalBytes) + shaped.shape.share
    }

    private func copy(_ heap: ObjectHeap) -> UnsafeMutableRawPointer {
        if isTable { return fields.copy(heap).base }
        return isShaped ? shaped.copy(heap).base : Listpack.copy(pack.bytes, heap.memory).base
    }
}

extension HashObject {
    /// What the keyspace does with hashes.
    public static var operations: ObjectType {
        ObjectType(
            free: { payload, encoding, heap, effort in
                if Encoding(rawValue: encoding) == .shape {
                    HashShape(payload).leave(ObjectHeap(raw: heap))
                    return true
                }
                return HashObject(Encoding(rawValue: encoding), payload)
                    .release(ObjectHeap(raw: heap), effort: effort)
            },
            freeEffort: { payload, encoding in
                let isTable = Encoding(rawValue: encoding) == .hashTable
                return isTable ? FieldTable(payload).count : 1
            },
            memoryUsage: { payload, encoding, samples in
                if Encoding(rawValue: encoding) == .shape { return HashShape(payload).share }
                let hash = HashObject(Encoding(rawValue: encoding), payload)
                return hash.isTable
                    ? hash.fields.memoryUsage(samples: samples) : hash.memoryOfSmallForm
            },
            copy: { payload, encoding, heap in
                if Encoding(rawValue: encoding) == .shape {
                    HashShape(payload).retain()
                    return payload
                }
                return HashObject(Encoding(rawValue: encoding), payload).copy(ObjectHeap(raw: heap))
            },
            digest: { payload, encoding, digest in
                let hash = HashObject(Encoding(rawValue: encoding), payload)
                withUnsafeTemporaryAllocation(of: UInt8.self, capacity: DigestMixer.size) { room in
                    guard let start = room.baseAddress else { return }
                    let one = DigestMixer(start)
                    hash.forEachWithExpiry { field, value, expires in
                        one.reset()
                        withText(of: field) { one.mix($0) }
                        withText(of: value) { one.mix($0) }
                        if expires { one.add(Bytes("!!hexpire!!")) }
                        DigestMixer(digest).add(Bytes(start, DigestMixer.size))
                    }
                }
            },
            openWalk: ObjectType.openTableWalk, closeWalk: ObjectType.closeTableWalk,
            defragment: ObjectType.defragmentTable)
    }
}
