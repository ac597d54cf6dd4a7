// Aggregates whose length is known only once their elements are written: the header is put in front
// of them afterwards. The elements move once by a few bytes, which is cheap beside having written
// them.
import Base

extension ReplyWriter {
    /// Where an aggregate of unknown length will begin. Valid while only replies are added.
    @inline(__always)
    public func mark() -> Int { out.pointee.count }

    /// What was written since `mark` are the `count` elements of an array.
    public func closeArray(_ count: Int, since mark: Int) { insert(at: mark) { $0.array(count) } }

    /// What was written since `mark` are `count` pairs.
    public func closeMap(_ count: Int, since mark: Int) { insert(at: mark) { $0.map(count) } }

    /// Puts the short replies that `body` writes before what was written since `mark`.
    public func insert(at mark: Int, _ body: (ReplyWriter) -> Void) {
        let end = out.pointee.count
        invariant(mark >= 0 && mark <= end, "an aggregate begins before its mark")
        body(self)
        let size = out.pointee.count - end
        guard size > 0, mark < end else { return }
        guard let storage = out.pointee.storage else { unreachable("a buffer without memory") }
        let start = storage + out.pointee.start
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) { room in
            guard let copy = room.baseAddress else { return }
            copyBytes(to: copy, from: start + end, count: size)
            moveBytes(to: start + mark + size, from: start + mark, count: end - mark)
            copyBytes(to: start + mark, from: copy, count: size)
        }
    }
}
