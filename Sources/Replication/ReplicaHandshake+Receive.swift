// What a replica makes of the bytes of its primary: replies of the handshake, the size of the
// snapshot, the snapshot, and the start of the stream, in whatever pieces they arrive. A peer that
// sends nonsense costs the link, never more: lines and offsets are bounded.
import Base

extension ReplicaHandshake {
    /// The longest reply that is read, as in the reference.
    static let longestLine = 1024
    /// Offsets beyond this would overflow some day; no honest primary is there.
    private static let largestOffset: Int64 = 1 << 62

    /// Bytes arrived before or during the transfer of the snapshot. The ranges in the effects refer
    /// to `bytes`. Once streaming the caller reads the stream itself and calls `streamed` instead;
    /// what follows a reply in the same chunk comes back as `.stream`.
    public mutating func received(
        _ bytes: Span<UInt8>, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        var position = 0
        while position < bytes.count {
            let before = (position, phase)
            switch phase {
            case .none, .waiting, .connecting: return
            case .receivingSnapshot:
                lastIO = now
                position = takeSnapshot(bytes, from: position, at: now, into: &effects)
            case .loading:
                streamedWhileLoading += Int64(bytes.count - position)
                effects.append(.stream(position..<bytes.count))
                return
            case .streaming:
                streamed(bytes.count - position, at: now)
                effects.append(.stream(position..<bytes.count))
                return
            default:
                lastIO = now
                guard let end = takeLine(bytes, from: position, at: now, into: &effects) else {
                    return
                }
                position = end
            }
            invariant(position > before.0 || phase != before.1, "no progress on received bytes")
        }
        checkInvariants()
    }

    /// The same for an array.
    public mutating func received(
        _ bytes: [UInt8], at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        received(bytes.span, at: now, into: &effects)
    }

    // MARK: Lines

    /// Reads up to a newline and acts on the line; nil when the chunk ends before or the link
    /// failed.
    private mutating func takeLine(
        _ bytes: Span<UInt8>, from start: Int, at now: Instant, into effects: inout [ReplicaEffect]
    ) -> Int? {
        var position = start
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte != UInt8(ascii: "\n") {
                guard line.count < Self.longestLine else {
                    fail(
                        "Failed to read response from the server: the line is too long",
                        at: now, into: &effects)
                    return nil
                }
                line.append(byte)
                continue
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            let text = String(decoding: line, as: UTF8.self)
            line.removeAll(keepingCapacity: true)
            // An empty line is the primary's sign of life while it prepares an answer.
            if !text.isEmpty { handleLine(text, at: now, into: &effects) }
            return position
        }
        return nil
    }

    private mutating func handleLine(
        _ text: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        switch phase {
        case .awaitingPong: handlePong(text, at: now, into: &effects)
        case .awaitingAuth:
            guard !text.hasPrefix("-") else {
                return fail(
                    "Unable to AUTH to MASTER: \(printable(text))", at: now, into: &effects)
            }
            phase = .awaitingPort
        case .awaitingPort:
            noteRefusal(text, of: "listening-port", into: &effects)
            phase = config.announcedIP == nil ? .awaitingCapabilities : .awaitingIP
        case .awaitingIP:
            noteRefusal(text, of: "ip-address", into: &effects)
            phase = .awaitingCapabilities
        case .awaitingCapabilities:
            noteRefusal(text, of: "capa", into: &effects)
            sendPSync(into: &effects)
        case .awaitingPSync: handlePSyncReply(text, at: now, into: &effects)
        case .awaitingSnapshot: handleSnapshotHeader(text, at: now, into: &effects)
        default: unreachable("a line in a phase without lines")
        }
    }

    private mutating func handlePong(
        _ text: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        let wantsAuth =
            text.hasPrefix("-NOAUTH") || text.hasPrefix("-NOPERM")
            || text.hasPrefix("-ERR operation not permitted")
        guard text.hasPrefix("+") || wantsAuth else {
            return fail(
                "Error reply to PING from master: '\(printable(text))'", at: now, into: &effects)
        }
        note(.notice, "Master replied to PING, replication can continue...", into: &effects)
        var batch: [UInt8] = []
        if let password = config.password {
            batch += command(["AUTH"] + (config.user.map { [$0] } ?? []) + [password])
        }
        batch += command(["REPLCONF", "listening-port", String(config.listeningPort)])
        if let ip = config.announcedIP { batch += command(["REPLCONF", "ip-address", ip]) }
        batch += command(["REPLCONF", "capa", "eof", "capa", "psync2", "capa", "embedded-stream"])
        effects.append(.send(batch))
        phase = config.password == nil ? .awaitingPort : .awaitingAuth
    }

    /// Old primaries do not know every REPLCONF option, and need not.
    private func noteRefusal(
        _ text: String, of option: String, into effects: inout [ReplicaEffect]
    ) {
        guard text.hasPrefix("-") else { return }
        note(
            .notice,
            "(Non critical) Master does not understand REPLCONF \(option): \(printable(text))",
            into: &effects)
    }

    // MARK: PSYNC

    private mutating func sendPSync(into effects: inout [ReplicaEffect]) {
        var words = ["PSYNC", "?", "-1"]
        if let resume {
            words = ["PSYNC", resume.id.text, String(resume.offset + 1)]
            note(
                .notice,
                "Trying a partial resynchronization (request \(resume.id):\(resume.offset + 1)).",
                into: &effects)
        } else {
            note(
                .notice, "Partial resynchronization not possible (no cached master)",
                into: &effects)
        }
        if asksForFailover { words.append("FAILOVER") }
        effects.append(.send(command(words)))
        phase = .awaitingPSync
    }

    private mutating func handlePSyncReply(
        _ text: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        let isFull = text.hasPrefix("+FULLRESYNC")
        let isPartial = text.hasPrefix("+CONTINUE")
        if asksForFailover {
            asksForFailover = false
            guard isFull || isPartial else {
                noteRefusedPSync(text, into: &effects)
                effects.append(.failoverRejected("Failover target rejected psync request"))
                return
            }
            effects.append(.failoverAccepted)
        }
        if isFull { return beginFullSync(text, at: now, into: &effects) }
        if isPartial { return continueStream(text, at: now, into: &effects) }
        if text.hasPrefix("-NOMASTERLINK") || text.hasPrefix("-LOADING") {
            return fail(
                "Master is currently unable to PSYNC but should be in the future: "
                    + printable(text), at: now, into: &effects)
        }
        noteRefusedPSync(text, into: &effects)
        note(.notice, "Retrying with SYNC...", into: &effects)
        primaryLacksPSync = true
        incoming = (nil, -1)
        effects.append(.beginFullSync(id: nil, offset: -1))
        effects.append(.send(Array("SYNC\r\n".utf8)))
        phase = .awaitingSnapshot
    }

    private func noteRefusedPSync(_ text: String, into effects: inout [ReplicaEffect]) {
        if text.hasPrefix("-ERR") {
            note(
                .notice,
                "Master does not support PSYNC or is in error state (reply: \(printable(text)))",
                into: &effects)
        } else {
            note(
                .warning, "Unexpected reply to PSYNC from master: \(printable(text))",
                into: &effects)
        }
    }

    private mutating func beginFullSync(
        _ text: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, let id = ReplicationID(String(words[1])),
            let offset = Int64(words[2]), offset >= 0, offset <= Self.largestOffset
        else {
            return fail(
                "Master replied with wrong +FULLRESYNC syntax.", at: now, into: &effects)
        }
        note(.notice, "Full resync from master: \(id):\(offset)", into: &effects)
        incoming = (id, offset)
        framing = .endMark
        transferred = 0
        effects.append(.beginFullSync(id: id, offset: offset))
        phase = .awaitingSnapshot
    }

    private mutating func continueStream(
        _ text: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        guard let current = resume else {
            return fail(
                "Unexpected reply to PSYNC from master: \(printable(text))", at: now,
                into: &effects)
        }
        note(.notice, "Successful partial resynchronization with master.", into: &effects)
        // An old primary sends no ID, and any other rest of the line means nothing.
        let id = ReplicationID(String(text.dropFirst("+CONTINUE ".count)))
        if let id, id != current.id {
            note(.warning, "Master replication ID changed to \(id)", into: &effects)
            resume = ResumePoint(id: id, offset: current.offset)
            effects.append(.continueHistory(newID: id))
            effects.append(.disconnectReplicas)
        } else {
            effects.append(.continueHistory(newID: nil))
        }
        note(
            .notice, "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.",
            into: &effects)
        readOffset = current.offset
        goOnline(at: now, into: &effects)
    }

    // MARK: The snapshot

    private mutating func handleSnapshotHeader(
        _ text: String, at now: Instant, into effects: inout [ReplicaEffect]
    ) {
        if text.hasPrefix("-") {
            return fail(
                "MASTER aborted replication with an error: \(printable(String(text.dropFirst())))",
                at: now, into: &effects)
        }
        let target = config.loadsFromLink ? "to parser" : "to disk"
        let mark = text.hasPrefix("$EOF:") ? Array(text.utf8.dropFirst(5).prefix(40)) : []
        if mark.count == EndMarkScanner.length {
            framing = .endMark
            scanner = EndMarkScanner(mark: mark)
            note(
                .notice,
                "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF \(target)",
                into: &effects)
        } else if text.hasPrefix("$"), let size = Int64(text.dropFirst()), size >= 0 {
            framing = .length(size)
            scanner = nil
            note(
                .notice,
                "MASTER <-> REPLICA sync: receiving \(size) bytes from master \(target)",
                into: &effects)
        } else {
            return fail(
                "Bad protocol from MASTER, the first byte is not '$' (we received "
                    + "'\(printable(text))'), are you sure the host and port are right?",
                at: now, into: &effects)
        }
        transferred = 0
        phase = .receivingSnapshot
        if config.loadsFromLink { noteLoading(into: &effects) }
        effects.append(.snapshotStarted(framing))
        if framing == .length(0) { endSnapshot(at: now, into: &effects) }
    }

    /// Takes what belongs to the snapshot; returns where the rest starts.
    private mutating func takeSnapshot(
        _ bytes: Span<UInt8>, from start: Int, at now: Instant, into effects: inout [ReplicaEffect]
    ) -> Int {
        switch framing {
        case .length(let size):
            let take = Int(min(size - transferred, Int64(bytes.count - start)))
            transferred += Int64(take)
            effects.append(.snapshotRange(start..<(start + take)))
            if transferred == size { endSnapshot(at: now, into: &effects) }
            return start + take
        case .endMark:
            guard let finding = scanner?.scan(bytes, from: start) else {
                unreachable("a snapshot with a mark but without a scanner")
            }
            transferred += Int64(finding.earlier.count + finding.range.count)
            if !finding.earlier.isEmpty { effects.append(.snapshotBytes(finding.earlier)) }
            if !finding.range.isEmpty { effects.append(.snapshotRange(finding.range)) }
            guard let rest = finding.endsBefore else { return bytes.count }
            endSnapshot(at: now, into: &effects)
            return rest
        }
    }

    private mutating func endSnapshot(at now: Instant, into effects: inout [ReplicaEffect]) {
        if !config.loadsFromLink { noteLoading(into: &effects) }
        scanner = nil
        lastNewline = now
        streamedWhileLoading = 0
        phase = .loading
        effects.append(.snapshotEnded)
    }

    /// The snapshot goes into memory from here on: the old data and what hangs on it must go first,
    /// unless it stays until the end.
    private mutating func noteLoading(into effects: inout [ReplicaEffect]) {
        if !config.keepsOldData {
            if resume != nil {
                note(.notice, "Discarding previously cached master state.", into: &effects)
                resume = nil
                readOffset = 0
            }
            effects.append(.detachReplicas)
            note(.notice, "MASTER <-> REPLICA sync: Flushing old data", into: &effects)
        }
        note(.notice, "MASTER <-> REPLICA sync: Loading DB in memory", into: &effects)
    }

    private func note(
        _ level: LogLevel, _ text: String, into effects: inout [ReplicaEffect]
    ) {
        effects.append(.log(LogLine(level, text)))
    }
}
