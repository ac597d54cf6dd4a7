// Changes that come inside of a full copy. A copy takes as long as it takes, and what is written
// meanwhile must be kept for the replica: in the primary's memory, if the stream may only follow
// behind. A replica that says so (REPLCONF capa embedded-stream; ours does) gets the stream between
// the entries of the snapshot instead, as auxiliary fields, keeps the bytes and applies them after
// the load. So the primary, which serves clients, needs no memory for it, and may take its time.
// Valkey's second channel for the snapshot does the same with another connection.
import Base
import Engine
import Persistence
import Replication

struct EmbeddedStream: ~Copyable {
    /// The name of the auxiliary field. It may stand between any two entries.
    static let field: StaticString = "repl-stream"
    /// Bytes that the primary puts into one slice of the snapshot at most.
    static let largestShare = 1 << 20
    /// Bytes that a replica applies per iteration.
    static let appliedShare = 256 << 10

    /// On the primary: the stream is in the running snapshot up to this offset; nil when none runs
    /// that may have it.
    var sentThrough: Int64?
    /// On the replica: what is to be applied, in order.
    private var kept: [[UInt8]] = []
    private var next = 0
    /// Bytes in it.
    private(set) var count: Int64 = 0

    var isEmpty: Bool { count == 0 }

    mutating func keep(_ bytes: Bytes) {
        guard !bytes.isEmpty else { return }
        kept.append(bytes.array)
        count += Int64(bytes.count)
    }

    mutating func takeFirst() -> [UInt8] {
        invariant(next < kept.count, "nothing is kept")
        let first = kept[next]
        kept[next] = []
        next += 1
        count -= Int64(first.count)
        if next == kept.count { drop() }
        return first
    }

    /// Nothing of it counts any more.
    mutating func drop() {
        kept = []
        next = 0
        count = 0
    }
}

extension NodePointer {
    // MARK: The primary's side

    /// Puts what was written since the last time behind the entries of this slice.
    func embedStream() {
        guard let start = pointee.embedded.sentThrough, !pointee.snapshot.pieces.isInside else {
            return
        }
        let backlog = executor.pointee.backlog
        var offset = start
        while offset < backlog.pointee.endOffset,
            offset - start < Int64(EmbeddedStream.largestShare)
        {
            let piece = backlog.pointee.read(from: offset)
            pointee.snapshot.writer.auxiliary(
                "\(EmbeddedStream.field)", uncompressed: piece, into: &pointee.snapshot.buffer)
            offset += Int64(piece.count)
        }
        guard offset > start else { return }
        pointee.embedded.sentThrough = offset
        pointee.primary.embedded(through: offset)
    }

    // MARK: The replica's side

    /// Bytes of the stream came: behind what is still to be applied, if there is something.
    func takeStream(_ bytes: Bytes, _ session: UnsafeMutablePointer<Session>) {
        guard pointee.embedded.isEmpty else { return pointee.embedded.keep(bytes) }
        applyStream(bytes, session)
    }

    /// Applies a share of what came with the copy; true when more is left.
    func advanceEmbeddedStream() -> Bool {
        guard !pointee.embedded.isEmpty, pointee.upstreamSession != nil, !upstreamIsKilled
        else { return false }
        applyEmbedded(atMost: EmbeddedStream.appliedShare)
        return !pointee.embedded.isEmpty
    }

    /// Applies all of it: the link ends, or this node's role does, by a client's command perhaps.
    func finishEmbeddedStream() {
        guard !pointee.embedded.isEmpty else { return }
        // What came with a copy counts even if a client has just killed the link.
        pointee.upstreamSession?.pointee.flags.remove(.closeNow)
        executor.apart { applyEmbedded(atMost: .max) }
    }

    /// The link ended while the copy was being loaded: what came with it counts all the same, and
    /// the next link goes on behind it.
    func keepEmbeddedStream() {
        guard !pointee.embedded.isEmpty else { return }
        finishEmbeddedStream()
        pointee.embedded.drop()
        guard let session = pointee.upstreamSession, pointee.upstream.primary != nil,
            let resume = pointee.upstream.resume
        else { return }
        let applied = session.pointee.appliedOffset
        pointee.upstream.continueFrom(ResumePoint(id: resume.id, offset: applied))
    }

    private func applyEmbedded(atMost limit: Int) {
        var applied = 0
        while !pointee.embedded.isEmpty, applied < limit {
            guard let session = pointee.upstreamSession else { return }
            let bytes = pointee.embedded.takeFirst()
            applied += bytes.count
            bytes.withBytes { applyStream($0, session) }
        }
    }
}
