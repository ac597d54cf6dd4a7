// The bytes on their way to the append-only file: the same commands as in the replication stream,
// each encoded once, but with a SELECT of their own, since a file must make sense by itself. Also
// where a replica's file comes from: the commands of its primary's stream that change data.
import Base

public struct LogStream: ~Copyable {
    /// What has not been handed to whoever writes.
    public var buffer = Buffer()
    /// Position in the log, over all of its files since the start, of the first byte of `buffer`.
    public private(set) var taken: Int64 = 0
    /// The database that the file has selected; -1 at the beginning of a file.
    private var database: Int32 = -1
    /// Whether the time is noted in the file (`aof-timestamp-enabled`), and which was the last.
    public var notesTime = false
    private var lastSecond: Int64 = 0
    /// What the running EXEC has changed so far.
    private var transaction = Buffer()
    /// A transaction of the primary whose EXEC has not come.
    private var held = Buffer()
    private var isHeld = false
    private var heldDatabase: Int32 = 0

    init() {}

    /// Position behind the last byte.
    @inline(__always)
    public var end: Int64 { taken &+ Int64(buffer.count) }

    /// Takes up to `count` bytes from the front, to be written.
    public mutating func take(_ count: Int) -> [UInt8] {
        invariant(count <= buffer.count, "more is taken than there is")
        let bytes = buffer.bytes[0..<count].array
        buffer.consume(count)
        taken &+= Int64(count)
        if buffer.isEmpty { buffer.shrink(above: 1 << 20) }
        return bytes
    }

    /// Forgets `count` bytes at the front: they are written.
    public mutating func drop(_ count: Int) {
        invariant(count <= buffer.count, "more is written than there is")
        buffer.consume(count)
        taken &+= Int64(count)
        if buffer.isEmpty { buffer.shrink(above: 1 << 20) }
    }

    /// Drops what nobody will write.
    public mutating func discard() {
        taken &+= Int64(buffer.count)
        buffer.release()
        startFile()
    }

    /// What follows goes to a new file.
    public mutating func startFile() {
        database = -1
        lastSecond = 0
    }

    /// What our primary has begun to send will be sent again.
    public mutating func dropHeld() {
        held.release()
        isHeld = false
    }

    @inline(never)
    private mutating func noteTime(_ seconds: Int64) {
        guard seconds > lastSecond else { return }
        lastSecond = seconds
        buffer.append("#TS:\(seconds)\r\n")
    }

    /// Appends one or more encoded commands; those of a running EXEC (`isInside`) wait for its end.
    mutating func add(_ bytes: Bytes, _ database: Int32, isInside: Bool, at seconds: Int64) {
        if _slowPath(isInside && !transaction.isEmpty) {
            if self.database != database {
                transaction.append(LogStream.selection(database))
                self.database = database
            }
            return transaction.append(bytes)
        }
        open(database, at: seconds)
        if _slowPath(isInside) { transaction.append(bytes) } else { buffer.append(bytes) }
    }

    /// Appends a command that only the file wants: it is encoded in place.
    @inline(__always)
    mutating func add(
        _ arguments: UnsafePointer<Bytes>, _ count: Int, _ database: Int32, at seconds: Int64
    ) {
        open(database, at: seconds)
        withUnsafeMutablePointer(to: &buffer) { StreamWriter($0).command(arguments, count) }
    }

    /// Sees to it that the file tells the time, if it is to, and is in `database`.
    @inline(__always)
    private mutating func open(_ database: Int32, at seconds: Int64) {
        if _slowPath(notesTime) { noteTime(seconds) }
        if _slowPath(self.database != database) { select(database) }
    }

    /// EXEC is over: what it changed goes out as a whole.
    mutating func endTransaction(commands: Int) {
        guard !transaction.isEmpty else { return }
        if commands > 1 { buffer.append("*1\r\n$5\r\nMULTI\r\n") }
        buffer.append(transaction.bytes)
        if commands > 1 { buffer.append("*1\r\n$4\r\nEXEC\r\n") }
        transaction.removeAll()
        transaction.shrink(above: 64 << 10)
    }

    /// What is gathered will never be whole.
    mutating func dropTransaction() { transaction.removeAll() }

    @inline(never)
    private mutating func select(_ database: Int32) {
        self.database = database
        buffer.append(LogStream.selection(database))
    }

    private static func selection(_ database: Int32) -> String {
        let text = String(database)
        return "*2\r\n$6\r\nSELECT\r\n$\(text.utf8.count)\r\n\(text)\r\n"
    }

    // MARK: A primary's stream

    /// One command of our primary's stream that was run: its bytes, and the databases that the
    /// stream had selected before and after it.
    mutating func hand(
        on bytes: Bytes, _ kind: StreamCommand, from before: Int32, to after: Int32,
        at seconds: Int64
    ) {
        switch kind {
        case .plumbing:
            if isHeld { held.append(bytes) }
        case .begin:
            held.removeAll()
            held.append(bytes)
            isHeld = true
            heldDatabase = before
        case .change:
            if isHeld { return held.append(bytes) }
            append(bytes, from: before, at: seconds)
        case .end:
            guard isHeld else { return }
            held.append(bytes)
            isHeld = false
            append(held.bytes, from: heldDatabase, at: seconds)
            database = after
            held.removeAll()
        }
    }

    private mutating func append(_ bytes: Bytes, from before: Int32, at seconds: Int64) {
        if notesTime { noteTime(seconds) }
        if database != before { select(before) }
        buffer.append(bytes)
    }
}

/// What a command of a primary's stream is to the log of a replica.
enum StreamCommand {
    /// PING, SELECT and the like: nothing by itself.
    case plumbing
    case begin
    case end
    case change
}

extension ExecutorPointer {
    /// The link from our primary ran a command: it goes into our own log if it changed data.
    @inline(never)
    func logFromPrimary(
        _ parsed: UnsafeMutablePointer<ParsedCommand>, _ bytes: Bytes, databaseBefore: Int32,
        _ session: UnsafeMutablePointer<Session>
    ) {
        guard let command = parsed.pointee.command else { return }
        let kind: StreamCommand =
            if isNamed(command, "multi") {
                .begin
            } else if isNamed(command, "exec") {
                .end
            } else if command.pointee.flags.isDisjoint(with: [.write, .mayReplicate]) {
                .plumbing
            } else {
                .change
            }
        pointee.log.pointee.hand(
            on: bytes, kind, from: databaseBefore, to: session.pointee.database,
            at: pointee.now.wall.seconds)
    }
}
