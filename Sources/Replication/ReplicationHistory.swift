// Where a node stands in which history: its replication ID, the ID that it had before (PSYNC2: good
// up to the offset at which the histories part), its offset and its backlog. A failover shifts the
// IDs, so that the replicas of the old primary continue with the new one from where they are.
import Base

public struct ReplicationHistory: Sendable, Equatable {
    public private(set) var id: ReplicationID
    public private(set) var secondID: ReplicationID = .none
    /// The first offset that `secondID` no longer covers for sure; -1 without a second ID.
    public private(set) var secondOffset: Int64 = -1
    /// Bytes of the stream so far (master_repl_offset).
    public private(set) var offset: Int64
    public private(set) var backlog: BacklogWindow?

    public init(id: ReplicationID, offset: Int64 = 0) {
        invariant(offset >= 0, "a negative replication offset")
        self.id = id
        self.offset = offset
    }

    /// `count` bytes were appended to the stream. Without a backlog the offset stands still, as in
    /// the reference: nobody could ask for those bytes.
    public mutating func append(_ count: Int) {
        guard backlog != nil else { return }
        backlog?.append(count)
        offset += Int64(count)
        checkInvariants()
    }

    /// Drops what exceeds the backlog's capacity; see `BacklogWindow.trim`.
    public mutating func trimBacklog(keepingFrom needed: Int64? = nil) -> Int64 {
        backlog?.trim(keepingFrom: needed) ?? 0
    }

    public mutating func resizeBacklog(_ capacity: Int64) { backlog?.resize(capacity) }

    /// Starts to keep the stream. Does nothing when it is being kept.
    public mutating func createBacklog(capacity: Int64) {
        guard backlog == nil else { return }
        backlog = BacklogWindow(after: offset, capacity: capacity)
    }

    public mutating func freeBacklog() { backlog = nil }

    /// A new history that nobody can continue from the old one.
    public mutating func startOver(as fresh: ReplicationID) {
        id = fresh
        clearSecond()
    }

    /// The node becomes a primary: it goes on under a new ID, and the old one stays good for
    /// replicas that ask for the next byte at most. Returns the line for the log.
    public mutating func shift(to fresh: ReplicationID) -> LogLine {
        invariant(fresh != id, "a new history needs a new name")
        secondID = id
        secondOffset = offset + 1
        id = fresh
        return LogLine(
            .warning,
            "Setting secondary replication ID to \(secondID), valid up to offset: "
                + "\(secondOffset). New replication ID is \(id)")
    }

    /// The primary continues our history under another name (`+CONTINUE <id>`). The old name stays
    /// good up to here, for our own replicas.
    public mutating func rename(to newID: ReplicationID) {
        guard newID != id else { return }
        secondID = id
        secondOffset = offset + 1
        id = newID
    }

    /// A full synchronisation ended: the data is that of `newID` at `newOffset`, and the old
    /// backlog describes nothing any more.
    public mutating func restart(as newID: ReplicationID, at newOffset: Int64, capacity: Int64) {
        invariant(newOffset >= 0, "a negative replication offset")
        id = newID
        clearSecond()
        offset = newOffset
        backlog = BacklogWindow(after: newOffset, capacity: capacity)
    }

    /// The stream that we ourselves wrote as a primary turned out to hold `offset` bytes (loaded
    /// from a file at the start).
    public mutating func resume(at newOffset: Int64) {
        invariant(backlog == nil && newOffset >= 0, "resumed in the middle of a stream")
        offset = newOffset
    }

    private mutating func clearSecond() {
        secondID = .none
        secondOffset = -1
    }

    public func checkInvariants() {
        invariant(offset >= 0, "a negative replication offset")
        if let backlog { invariant(backlog.next == offset + 1, "the backlog ends elsewhere") }
        invariant((secondOffset == -1) == (secondID == .none), "half a second replication ID")
    }
}
