// Large values in a snapshot: the keyspace hands them over piece by piece. While one of them is
// under way nothing else may stand in the stream of bytes, so other keys that must be serialised
// now, because a command is about to change them, are written aside and follow behind it, a share
// per slice.
import Base
import Engine
import Persistence
import Storage

struct SnapshotPieces: ~Copyable {
    /// The stream is inside of a value.
    var isInside = false
    /// Whole entries that wait for the end of that value.
    var aside = Buffer()
    private var writer = RDBWriter(compresses: true, checksums: false)
    /// The database that entries written aside go on in.
    private var database = -1

    /// Bytes that one look at what waits aside takes over.
    static let share = 16 << 10

    var isEmpty: Bool { !isInside && aside.isEmpty }

    /// Entries cannot go straight into the stream.
    @inline(__always)
    var blocksEntries: Bool { isInside || !aside.isEmpty }

    mutating func append(
        _ entry: Entry, database: Int, _ attributes: RDBAttributes, _ formats: ObjectFormats
    ) {
        if self.database != database {
            self.database = database
            writer.selectDatabase(database, keys: 0, expires: 0, into: &aside)
        }
        writer.entry(entry, attributes, formats, into: &aside)
    }

    /// Takes up to a share of what waits; returns the database that the stream is in at its end.
    mutating func take(_ body: (Bytes) -> Void) -> Int? {
        let bytes = aside.bytes
        let count = min(bytes.count, SnapshotPieces.share)
        body(bytes[0..<count])
        aside.consume(count)
        guard aside.isEmpty else { return nil }
        aside.release()
        defer { database = -1 }
        return database
    }
}

/// Receives pieces from the keyspace's walk; the context is the node.
let snapshotPieceSink: SnapshotPieceSink = { context, database, entry, walk, effort in
    guard let context else { return true }
    let node = context.assumingMemoryBound(to: Node.self)
    return node.serialisePiece(Entry(entry), walk, database: database, effort: effort)
}

extension NodePointer {
    /// Writes an entry behind the value that is under way.
    func serialiseAside(_ entry: Entry, database: Int) {
        pointee.snapshot.pieces.append(
            entry, database: database, snapshotAttributes(entry), executor.objectFormats)
    }

    /// Moves a share of what was written aside into the stream; false when that is not its turn.
    func spliceAside() -> Bool {
        guard !pointee.snapshot.pieces.isInside, !pointee.snapshot.pieces.aside.isEmpty else {
            return false
        }
        let database = pointee.snapshot.pieces.take { bytes in
            pointee.snapshot.writer.splice(bytes, into: &pointee.snapshot.buffer)
            pointee.snapshot.visited &+= bytes.count
        }
        if let database { pointee.snapshot.database = database }
        return true
    }

    fileprivate func serialisePiece(
        _ entry: Entry, _ walk: UnsafeMutableRawPointer, database: Int, effort: Int
    ) -> Bool {
        guard let pieces = executor.objectFormats[entry.type]?.pieces else {
            unreachable("a value is walked whose type has no format for pieces")
        }
        let mark = pointee.snapshot.buffer.count
        if !pointee.snapshot.pieces.isInside {
            // What waits aside goes first: this value may take long.
            if spliceAside() { return false }
            pointee.snapshot.keys &+= 1
            selectSnapshotDatabase(database)
            pointee.snapshot.writer.beginPieces(
                entry, walk, snapshotAttributes(entry), pieces, into: &pointee.snapshot.buffer)
            pointee.snapshot.pieces.isInside = true
        }
        let isDone = pointee.snapshot.writer.nextPiece(
            walk, executor.pointee.keyspace.memory, effort: effort, pieces,
            into: &pointee.snapshot.buffer)
        if isDone { pointee.snapshot.pieces.isInside = false }
        pointee.snapshot.visited &+= pointee.snapshot.buffer.count &- mark
        return isDone
    }
}
