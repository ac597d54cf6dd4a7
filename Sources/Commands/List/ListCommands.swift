// The list group: what it registers, and what its commands share.
import Base
import Engine
import Persistence
import RESP
import Storage

extension Extension {
    /// The list group.
    public static let lists = Extension("lists") { registry in
        registry.group = .list
        registry.objectType(.list, operations: .list, format: .list)
        registry.registerListPushCommands()
        registry.registerListPopCommands()
        registry.registerListReadCommands()
        registry.registerListEditCommands()
        registry.registerListMoveCommands()
    }
}

extension Call {
    @inline(__always)
    func list(_ entry: Entry) -> ListObject { ListObject(entry, heap, limits) }

    /// The entry's list; answers and returns nil when it holds something else.
    @inline(__always)
    func listOrReply(_ entry: Entry) -> ListObject? {
        typeOrReply(entry, .list).map { list($0) }
    }

    /// The list of a key for a change that adds elements: the one that was found, or a new one.
    /// Answers and returns nil when the key holds something else.
    @inline(__always)
    func listForChangeOrReply(_ found: Entry?, _ key: KeyRef) -> ListObject? {
        guard let found else {
            announceNew(key)
            let payload = ListObject.makePayload(heap)
            return list(keyspace.insertObject(key, .list, .listpack, payload))
        }
        return listOrReply(found).map { willChange($0, key) }
    }

    /// To be called before the first change of a list: a running snapshot sees it as it was, and
    /// what was inside the block of its key comes out. The list that was given is gone then; the
    /// one that is returned takes its place.
    @inline(__always)
    func willChange(_ found: ListObject, _ key: KeyRef) -> ListObject {
        let entry = keyspace.takeOut(found.entry, key)
        keyspace.willChange(entry, key)
        return list(entry)
    }

    /// LEFT or RIGHT at `index`: whether it is the front. Answers and returns nil otherwise.
    func listEndOrReply(_ index: Int) -> Bool? {
        if self[index].matches("left") { return true }
        if self[index].matches("right") { return false }
        reply.error(.syntax)
        return nil
    }

    /// A chunk's sizes are 32 bits wide; no element may exceed that whatever the protocol allows.
    @inline(__always)
    func fitsListOrReply(_ bytes: Int) -> Bool {
        if _fastPath(bytes < 1 &<< 31) { return true }
        return fitsListSlowly()
    }

    @inline(never)
    private func fitsListSlowly() -> Bool {
        for index in 2..<count where self[index].count >= 1 &<< 31 {
            reply.error(.tooLong)
            return false
        }
        return true
    }

    /// Copies the element at an end of a list.
    func keepEndOfList(_ key: KeyRef, atFront: Bool, in out: UnsafeMutablePointer<Buffer>) {
        invariant(out.pointee.isEmpty, "the work space is in use")
        guard let entry = keyspace.find(key), let value = list(entry)[atFront ? 0 : -1] else {
            unreachable("a key with an empty list")
        }
        withText(of: value) { out.pointee.append($0) }
    }
}

extension ReplyWriter {
    /// An element of a collection as a bulk string.
    @inline(__always)
    func element(_ value: PackedValue) {
        switch value {
        case .bytes(let bytes): bulk(bytes)
        case .integer(let number): bulk(decimal: number)
        }
    }
}

/// What `start` and `stop` mean in a list of `length` elements, as everywhere in the list group:
/// negative numbers count from the end, both ends belong to the range. nil when it is empty.
func listRange(_ start: Int64, _ stop: Int64, length: Int) -> Range<Int>? {
    let length = Int64(length)
    var first = start < 0 ? start &+ length : start
    var last = stop < 0 ? stop &+ length : stop
    first = max(first, 0)
    last = min(last, length - 1)
    guard first <= last, first < length else { return nil }
    return Int(first)..<(Int(last) + 1)
}
