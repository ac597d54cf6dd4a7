// Collections of sessions as plain pointers in unsafe memory: no reference counting, O(1) removal.
import Base

/// An unordered list of session pointers.
public struct PointerList: ~Copyable {
    private var storage: UnsafeMutablePointer<UnsafeMutablePointer<Session>>
    public private(set) var count = 0
    private var capacity = 16

    public init() { storage = .allocate(capacity: capacity) }
    deinit { storage.deallocate() }

    @inline(__always)
    public var isEmpty: Bool { count == 0 }

    @inline(__always)
    public subscript(_ index: Int) -> UnsafeMutablePointer<Session> {
        invariant(index >= 0 && index < count, "session index out of range")
        return storage[index]
    }

    @inline(__always)
    public mutating func append(_ session: UnsafeMutablePointer<Session>) {
        if _slowPath(count == capacity) {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<Session>>.allocate(
                capacity: capacity * 2)
            larger.update(from: storage, count: count)
            storage.deallocate()
            storage = larger
            capacity *= 2
        }
        (storage + count).initialize(to: session)
        count &+= 1
    }

    /// Removes the element at `index`; the last takes its place.
    public mutating func swapRemove(_ index: Int) {
        invariant(index >= 0 && index < count, "session index out of range")
        count -= 1
        storage[index] = storage[count]
    }

    /// Removes `session` wherever it is, keeping the order of the rest.
    public mutating func remove(_ session: UnsafeMutablePointer<Session>) {
        for index in 0..<count where storage[index] == session {
            for later in index..<(count - 1) { storage[later] = storage[later + 1] }
            count -= 1
            return
        }
    }

    @inline(__always)
    public mutating func removeAll() { count = 0 }

    /// Removes and returns the last.
    public mutating func popLast() -> UnsafeMutablePointer<Session>? {
        guard count > 0 else { return nil }
        count -= 1
        return storage[count]
    }
}

/// All sessions of a node. A session knows its position, so that leaving is O(1).
public struct SessionTable: ~Copyable {
    private var list = PointerList()

    public init() {}

    public var count: Int { list.count }

    public subscript(_ index: Int) -> UnsafeMutablePointer<Session> { list[index] }

    public mutating func insert(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.index = list.count
        list.append(session)
    }

    public mutating func remove(_ session: UnsafeMutablePointer<Session>) {
        let index = session.pointee.index
        invariant(index < list.count && list[index] == session, "session is not in the table")
        list.swapRemove(index)
        if index < list.count { list[index].pointee.index = index }
    }

    /// The session with this client ID (cold: linear).
    public func find(id: UInt64) -> UnsafeMutablePointer<Session>? {
        for index in 0..<list.count where list[index].pointee.id == id { return list[index] }
        return nil
    }
}
