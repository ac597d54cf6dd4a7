// Large values in RDB, piece by piece: how the walk of a snapshot over one value becomes bytes. The
// bytes of all pieces in a row are what `ObjectFormat.save` would have written at the beginning of
// the walk, up to the order of elements that have none.
import Base
import Storage

public struct ObjectPieces: Sendable {
    /// The type code, as of the beginning of the walk.
    public let code: @Sendable (_ walk: UnsafeMutableRawPointer) -> UInt8
    /// Writes what stands before the elements.
    public let begin: @Sendable (_ walk: UnsafeMutableRawPointer, ObjectWriter) -> Void
    /// Writes about so many elements; true when the value is complete.
    public let next:
        @Sendable (_ walk: UnsafeMutableRawPointer, Memory, _ effort: Int, ObjectWriter) -> Bool

    public init(
        code: @escaping @Sendable (UnsafeMutableRawPointer) -> UInt8,
        begin: @escaping @Sendable (UnsafeMutableRawPointer, ObjectWriter) -> Void,
        next: @escaping @Sendable (UnsafeMutableRawPointer, Memory, Int, ObjectWriter) -> Bool
    ) {
        self.code = code
        self.begin = begin
        self.next = next
    }
}

extension RDBWriter {
    /// The start of a value that is written in pieces.
    public mutating func beginPieces(
        _ entry: Entry, _ walk: UnsafeMutableRawPointer, _ attributes: RDBAttributes,
        _ pieces: ObjectPieces, into out: inout Buffer
    ) {
        beginEntry(type: pieces.code(walk), key: entry.key, attributes, into: &out)
        object(into: &out) { pieces.begin(walk, $0) }
    }

    /// The next elements; true when the value is complete.
    public mutating func nextPiece(
        _ walk: UnsafeMutableRawPointer, _ memory: Memory, effort: Int, _ pieces: ObjectPieces,
        into out: inout Buffer
    ) -> Bool {
        var isDone = false
        object(into: &out) { isDone = pieces.next(walk, memory, effort, $0) }
        return isDone
    }
}
