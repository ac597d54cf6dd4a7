// Whether bytes from outside are a stream node: a sound listpack whose elements are a master entry
// and exactly the entries that it counts, their IDs ascending. What passes here is read without
// further checks.
import Base

extension StreamNode {
    /// What validation learns.
    struct Facts {
        var live: Int
        var firstID: StreamID
        var lastID: StreamID
    }

    /// Walks through elements; every read is nil behind the last.
    private struct Walker {
        let bytes: Bytes
        var position = StreamNode.packHeader

        var isAtEnd: Bool { position == bytes.count - 1 }

        mutating func integer() -> Int64? {
            guard !isAtEnd else { return nil }
            let value = PackedElement.read(bytes.base + position).integer
            position += PackedElement.wholeSize(bytes.base + position)
            return value
        }

        mutating func skip(_ count: Int64) -> Bool {
            guard count >= 0 else { return false }
            var left = count
            while left > 0 {
                guard !isAtEnd else { return false }
                position += PackedElement.wholeSize(bytes.base + position)
                left -= 1
            }
            return true
        }
    }

    /// The facts of a sound node; nil when the bytes are none.
    static func validate(_ bytes: Bytes, master: StreamID) -> Facts? {
        guard bytes.count <= sizeLimit * 2, Listpack.isValid(bytes) else { return nil }
        var walker = Walker(bytes: bytes)
        guard let live = walker.integer(), let deleted = walker.integer(),
            let fields = walker.integer(), live >= 0, deleted >= 0, walker.skip(fields),
            walker.integer() == 0
        else { return nil }
        var found = (live: Int64(0), deleted: Int64(0))
        var ids: (first: StreamID, last: StreamID)?
        while !walker.isAtEnd {
            guard let (id, isDeleted) = entry(&walker, fields, master) else { return nil }
            if let last = ids?.last, id <= last { return nil }
            ids = (ids?.first ?? id, id)
            if isDeleted { found.deleted += 1 } else { found.live += 1 }
        }
        guard found.live == live, found.deleted == deleted, let ids, ids.first >= master else {
            return nil
        }
        return Facts(live: Int(live), firstID: ids.first, lastID: ids.last)
    }

    private static func entry(
        _ walker: inout Walker, _ masterFields: Int64, _ master: StreamID
    ) -> (StreamID, Bool)? {
        guard let flags = walker.integer(), let ms = walker.integer(),
            let seq = walker.integer()
        else { return nil }
        var count: Int64 = 3
        if flags & hasMasterFields != 0 {
            guard walker.skip(masterFields) else { return nil }
            count += masterFields
        } else {
            guard let fields = walker.integer(), fields >= 0, fields <= walker.bytes.count,
                walker.skip(fields * 2)
            else { return nil }
            count += fields * 2 + 1
        }
        guard walker.integer() == count else { return nil }
        let id = StreamID(
            master.ms &+ UInt64(bitPattern: ms), master.seq &+ UInt64(bitPattern: seq))
        return (id, flags & isDeleted != 0)
    }
}
