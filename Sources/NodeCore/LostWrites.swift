// A demoted primary may hold writes that its successor never received; resynchronising discards
// them. Before that happens they are written to a file that can be read and replayed, the log says
// so, and INFO counts them. The writes are what the backlog holds beyond the last offset that the
// successor acknowledged while it was our replica: at least what is lost, at times a little more.
import Base
import Engine
import Gossip
import Persistence
import RESP
import Replication

/// What a primary knew when it stepped down.
struct Demotion {
    /// The successor is known to have everything up to here.
    var confirmed: Int64
    /// Our stream ended here.
    var end: Int64
    var id: ReplicationID
    var successor: PrimaryAddress
}

extension NodePointer {
    /// Remembers, before the role changes, what the successor has confirmed.
    func noteDemotion(to successor: PrimaryAddress) {
        pointee.demotion = nil
        guard pointee.history.backlog != nil else { return }
        let match = pointee.primary.replicas.first {
            $0.address.port == successor.port && $0.address.host == successor.host
        }
        let end = pointee.history.offset
        // An unknown successor: the best of our replicas is what an election would have chosen.
        let confirmed =
            match?.acknowledged ?? pointee.primary.replicas.map(\.acknowledged).max()
            ?? pointee.lastConfirmed
        pointee.demotion = Demotion(
            confirmed: Swift.min(confirmed, end), end: end, id: pointee.history.id,
            successor: successor)
    }

    /// The successor does not continue our history: keeps what it lacks.
    func saveLostWrites() {
        guard let demotion = pointee.demotion else { return }
        pointee.demotion = nil
        guard demotion.end > demotion.confirmed else { return }
        let backlog = executor.pointee.backlog
        let from = Swift.max(demotion.confirmed, backlog.pointee.firstOffset)
        var bytes: [UInt8] = []
        var at = from
        while at < demotion.end {
            let piece = backlog.pointee.read(from: at)
            if piece.isEmpty { break }
            let wanted = Swift.min(Int64(piece.count), demotion.end - at)
            bytes += piece[0..<Int(wanted)].array
            at += wanted
        }
        let missing = from - demotion.confirmed
        let commands = StreamCounter.commands(in: bytes)
        // PINGs and SELECTs are no writes: without any, nothing was lost.
        guard commands > 0 || missing > 0 else { return }
        let name = "lost-writes-\(now.wall.milliseconds)-\(demotion.end).aof"
        var file = Buffer()
        var writer = LostWrites()
        writer.header(
            LostWrites.Origin(
                node: pointee.cluster.map { "\($0.myID)" } ?? pointee.runID,
                replicationID: demotion.id.text, firstOffset: from + 1,
                lastOffset: demotion.end, successorID: "\(demotion.successor)",
                savedAt: now.wall.seconds), into: &file)
        bytes.withBytes {
            writer.stream(
                startingIn: StreamCounter.database(before: from, backlog: backlog), $0, into: &file)
        }
        let contents = file.bytes.array
        let ticket = ticket(.lostWrites(commands: commands, bytes: bytes.count, name: name))
        pointee.requests.files.append(
            .replace(name: name, contents: contents, sync: true, ticket: ticket))
        log(
            .warning,
            "This node was a primary and holds \(commands) write commands (\(bytes.count) bytes, "
                + "offsets \(from) to \(demotion.end)) that \(demotion.successor) never "
                + "acknowledged. Saving them to \(name) before resynchronising.")
        if missing > 0 {
            log(
                .warning,
                "\(missing) more bytes of unacknowledged writes had already left the backlog "
                    + "(repl-backlog-size) and cannot be saved.")
        }
    }

    func lostWritesSaved(commands: Int, bytes: Int, name: String, failure: FileFailure?) {
        if let failure {
            log(
                .warning,
                "Could not save \(commands) lost write commands to \(name): \(failure.operation): "
                    + "\(failure.reason)")
            return
        }
        executor.pointee.stats.lostWriteFiles += 1
        executor.pointee.stats.lostWriteCommands += Int64(commands)
        log(.warning, "Saved \(commands) lost write commands to \(name).")
    }
}

/// Reads the encoded stream just enough to count and to find the selected database.
enum StreamCounter {
    /// Commands that write, PING, SELECT, REPLCONF, MULTI and EXEC excepted.
    static func commands(in stream: [UInt8]) -> Int {
        var count = 0
        forEach(stream) { arguments in
            let name = arguments[0]
            for plumbing in ["ping", "select", "replconf", "multi", "exec"] as [StaticString]
            where name.matches(plumbing) { return }
            count += 1
        }
        return count
    }

    /// The database that the stream has selected at `offset`: looks back through what the backlog
    /// holds; 0 when nothing tells.
    static func database(before offset: Int64, backlog: UnsafeMutablePointer<Backlog>) -> Int {
        var bytes: [UInt8] = []
        var at = Swift.max(backlog.pointee.firstOffset, offset - (1 << 20))
        while at < offset {
            let piece = backlog.pointee.read(from: at)
            if piece.isEmpty { break }
            let wanted = Swift.min(Int64(piece.count), offset - at)
            bytes += piece[0..<Int(wanted)].array
            at += wanted
        }
        let marker = Array("*2\r\n$6\r\nSELECT\r\n$".utf8)
        guard bytes.count > marker.count else { return 0 }
        var index = bytes.count - marker.count
        while index >= 0 {
            let end = index + marker.count
            if bytes[index] == marker[0], bytes[index..<end].elementsEqual(marker) {
                let text = String(decoding: bytes[end...].prefix(16), as: UTF8.self)
                let parts = text.split(separator: "\r\n", omittingEmptySubsequences: true)
                if parts.count >= 2, let database = Int(parts[1]) { return database }
            }
            index -= 1
        }
        return 0
    }

    private static func forEach(_ stream: [UInt8], _ body: (ArgumentList.View) -> Void) {
        var copy = stream
        copy.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var parser = RequestParser(base, buffer.count)
            var arguments = ArgumentList()
            while true {
                arguments.truncate(to: 0)
                let result = parser.next(into: &arguments, limits: ParseLimits())
                if result == .empty { continue }
                guard result == .command else { return }
                body(ArgumentList.View(base: UnsafePointer(arguments.base), count: arguments.count))
            }
        }
    }
}
