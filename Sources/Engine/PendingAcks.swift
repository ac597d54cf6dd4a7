// Replies that wait for replicas (`min-replicas-ack`): the reply of a write leaves once enough
// replicas have acknowledged the write; when they have not in time, an error takes its place that
// says what the client must know: the write is applied here, and a failover may still lose it.
//
// The replies of a connection stay in order: what was answered before such a write may leave, what
// comes behind it waits with it. The list below has, for each write that waits, where its reply
// stands in the session's output.
import Base

public struct PendingAcks: ~Copyable {
    public struct Entry: Sendable {
        /// Where the reply stands, counted from the first byte that the list ever saw.
        var start: Int
        var end: Int
        public var offset: Int64
        public var replicas: Int
        /// The write took effect; else its reply rests on what was written before.
        public var isChange: Bool
        /// Nil waits for ever.
        public var deadline: Instant?
    }

    private var entries: [Entry] = []
    private var head = 0
    /// Bytes that have left since the list began.
    private var gone = 0

    public var first: Entry? { head < entries.count ? entries[head] : nil }
    public var count: Int { entries.count - head }

    /// Bytes of the output that may leave.
    var free: Int { (first?.start ?? gone) - gone }

    mutating func add(_ entry: Entry) {
        invariant(entry.start < entry.end, "an empty reply waits for nobody")
        let isInOrder = count == 0 || entry.start >= (entries.last?.end ?? 0)
        invariant(isInOrder, "replies are in order")
        entries.append(entry)
    }

    mutating func consumed(_ count: Int) {
        gone += count
        invariant(gone <= first?.start ?? gone, "a reply left that had to wait")
    }

    /// Where a place in the output is by the list's count.
    func place(_ index: Int) -> Int { gone + index }
    func index(_ place: Int) -> Int { place - gone }

    mutating func removeFirst() -> Entry {
        let entry = entries[head]
        head += 1
        if head > 64, head * 2 > entries.count {
            entries.removeFirst(head)
            head = 0
        }
        return entry
    }

    /// What was answered from `place` on is taken back.
    mutating func removeAll(from place: Int) {
        while count > 0, let last = entries.last, last.start >= place { entries.removeLast() }
    }

    /// What stands behind the replies that are gone has moved.
    mutating func shift(by count: Int) {
        for index in head..<entries.count {
            entries[index].start += count
            entries[index].end += count
        }
    }
}

extension ExecutorPointer {
    /// A write of `session` was run and answered from `start` on: the reply waits.
    @inline(never)
    func awaitAcks(_ session: UnsafeMutablePointer<Session>, from start: Int) {
        session.pointee.triedToWrite = false
        awaitAcks(
            session, from: start, of: session.pointee.lastWriteOffset, isChange: true)
    }

    /// A command that changed nothing was answered from `start` on. If it would have written, the
    /// reply says how things are (the member is there, the lock is taken) because of earlier
    /// writes, its own first attempt perhaps: it waits until these are acknowledged.
    @inline(never)
    func awaitEarlierAcks(
        _ command: UnsafeMutablePointer<Command>, _ session: UnsafeMutablePointer<Session>,
        from start: Int
    ) {
        let isWrite = !command.pointee.flags.isDisjoint(with: [.write, .mayReplicate])
        if session.pointee.flags.contains(.executing) {
            // The reply to EXEC is what waits.
            if isWrite { session.pointee.triedToWrite = true }
            return
        }
        let counts = isWrite || session.pointee.triedToWrite
        session.pointee.triedToWrite = false
        let reply = session.pointee.output.pointee.bytes
        guard counts, start < reply.count, reply[start] != UInt8(ascii: "-") else { return }
        awaitAcks(
            session, from: start, of: pointee.backlog.pointee.endOffset, isChange: false)
    }

    private func awaitAcks(
        _ session: UnsafeMutablePointer<Session>, from start: Int, of offset: Int64,
        isChange: Bool
    ) {
        let output = session.pointee.output
        let end = output.pointee.count
        // Inside EXEC its own reply is what waits; a replica writes for itself alone.
        guard end > start, !pointee.alerts.contains(.isReplica),
            session.pointee.flags.isDisjoint(
                with: [.executing, .fromPrimary, .replica, .replyOff, .replySkip, .detached])
        else { return }
        if session.pointee.acks == nil {
            let list = UnsafeMutablePointer<PendingAcks>.allocate(capacity: 1)
            list.initialize(to: PendingAcks())
            session.pointee.acks = list
            session.pointee.flags.insert(.awaitsAcks)
            pointee.awaitingAcks.append(session)
        }
        guard let list = session.pointee.acks else { return }
        let timeout = pointee.settings.minReplicasAckTimeout
        let deadline =
            timeout > 0 ? pointee.now.instant + Milliseconds(Int64(timeout)) : nil
        list.pointee.add(
            PendingAcks.Entry(
                start: list.pointee.place(start), end: list.pointee.place(end),
                offset: offset, replicas: Int(session.pointee.requiredAcks), isChange: isChange,
                deadline: deadline))
        if let deadline {
            pointee.nextAckDeadline = Swift.min(pointee.nextAckDeadline ?? deadline, deadline)
        }
        pointee.wantsAcks = true
    }

    /// The output is about to be cut at `index`: nobody will see what follows.
    func forgetAcks(_ session: UnsafeMutablePointer<Session>, from index: Int) {
        guard let list = session.pointee.acks else { return }
        list.pointee.removeAll(from: list.pointee.place(index))
    }

    /// What may be written of the output of a session with replies that wait.
    @inline(never)
    public func freeOutput(_ session: UnsafeMutablePointer<Session>) -> Bytes {
        let bytes = session.pointee.output.pointee.bytes
        guard let list = session.pointee.acks else { return bytes }
        return list.pointee.count == 0 ? bytes : bytes[0..<list.pointee.free]
    }

    /// So many bytes of its output were written.
    public func noteAckedOutput(_ session: UnsafeMutablePointer<Session>, _ count: Int) {
        session.pointee.acks?.pointee.consumed(count)
    }

    /// Lets go the replies for which `judge` has a verdict, from the front. False when some stay.
    public func settleAcks(
        _ session: UnsafeMutablePointer<Session>, _ judge: (PendingAcks.Entry) -> AckVerdict
    ) -> Bool {
        guard let list = session.pointee.acks else { return true }
        settling: while let entry = list.pointee.first {
            switch judge(entry) {
            case .wait: break settling
            case .release: _ = list.pointee.removeFirst()
            case .refuse(let line):
                _ = list.pointee.removeFirst()
                replaceReply(session, list, entry, by: line)
            }
        }
        if !session.pointee.output.pointee.isEmpty { queueWrite(session) }
        guard list.pointee.count == 0 else { return false }
        dropAcks(session)
        return true
    }

    private func replaceReply(
        _ session: UnsafeMutablePointer<Session>, _ list: UnsafeMutablePointer<PendingAcks>,
        _ entry: PendingAcks.Entry, by line: [UInt8]
    ) {
        let output = session.pointee.output
        let start = list.pointee.index(entry.start)
        let rest = output.pointee.bytes[list.pointee.index(entry.end)..<output.pointee.count].array
        output.pointee.truncate(to: start)
        output.pointee.append(line)
        output.pointee.append(rest)
        list.pointee.shift(by: line.count - (entry.end - entry.start))
        countError(String(decoding: line.dropFirst().dropLast(2), as: UTF8.self))
    }

    /// Nothing of this session waits any more. The caller takes it out of `awaitingAcks`.
    public func dropAcks(_ session: UnsafeMutablePointer<Session>) {
        session.pointee.flags.remove(.awaitsAcks)
        guard let list = session.pointee.acks else { return }
        list.deinitialize(count: 1)
        list.deallocate()
        session.pointee.acks = nil
    }

    /// The setting changed: for those that did not choose by themselves.
    public func applyAckSettings() {
        let count = Int32(clamping: pointee.settings.minReplicasAck)
        for index in 0..<pointee.sessions.count {
            let session = pointee.sessions[index]
            if !session.pointee.choseAcks { session.pointee.requiredAcks = count }
        }
    }
}

/// What becomes of a reply that waits.
public enum AckVerdict {
    case wait
    case release
    /// This error line takes its place.
    case refuse([UInt8])
}
