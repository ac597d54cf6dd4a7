// What a structure of the keyspace needs from outside of itself: the memory that it is made of and
// the key of its hashes. A trivial value, passed to every call that may allocate.
import Base

public struct ObjectHeap {
    public let memory: Memory
    public let sipKey: SipKey
    /// The names that hashes share; nil where none do.
    let shapes: ShapeTable?

    @inline(__always)
    public init(memory: Memory, sipKey: SipKey, shapes: ShapeTable? = nil) {
        self.memory = memory
        self.sipKey = sipKey
        self.shapes = shapes
    }

    /// The heap of the keyspace that the C functions of an `ObjectType` are given.
    public init(raw: UnsafeMutableRawPointer) { self = Keyspace(raw: raw).heap }

    @inline(__always)
    public func hash(_ bytes: Bytes) -> UInt64 { sipHash(bytes.base, bytes.count, key: sipKey) }
}

extension Keyspace {
    /// How many lists of field names small hashes share (INFO `hash_shapes`).
    public var hashShapes: Int { state.pointee.shapes.count }

    @inline(__always)
    public var heap: ObjectHeap {
        ObjectHeap(
            memory: state.pointee.memory, sipKey: state.pointee.sipKey,
            shapes: state.pointee.shapes)
    }
}
