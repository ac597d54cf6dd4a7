// The file in which a demoted primary leaves the writes that its successor lacks, before it throws
// them away to resynchronise: nothing that was acknowledged disappears without a trace. The format
// is that of an append-only file, so `redis-cli --pipe`, a server's AOF loader and redis-check-aof
// all read it. The first line is an annotation (`#…`), which AOF loaders skip; `redis-cli --pipe`
// reports it as one error and goes on. Formatting only: the caller has the file.
import Base

public struct LostWrites: ~Copyable {
    /// What the annotation says.
    public struct Origin: Sendable, Equatable {
        /// Our node or run ID.
        public var node: String
        public var replicationID: String
        /// The first byte of the stream that the successor lacks, and the last one that we wrote.
        public var firstOffset: Int64
        public var lastOffset: Int64
        /// The history that goes on without these writes.
        public var successorID: String
        /// Seconds since 1970.
        public var savedAt: Int64

        public init(
            node: String,
            replicationID: String,
            firstOffset: Int64,
            lastOffset: Int64,
            successorID: String,
            savedAt: Int64
        ) {
            self.node = node
            self.replicationID = replicationID
            self.firstOffset = firstOffset
            self.lastOffset = lastOffset
            self.successorID = successorID
            self.savedAt = savedAt
        }
    }

    private var selected: Int?
    /// Commands written, without the SELECTs that were added.
    public private(set) var commands = 0

    public init() {}

    /// The annotation; comes first.
    public func header(_ origin: Origin, into out: inout Buffer) {
        invariant(selected == nil && commands == 0, "a header comes first")
        out.append("#lost-writes node=\(word(origin.node)) ")
        out.append("replid=\(word(origin.replicationID)) ")
        out.append("offsets=\(origin.firstOffset)-\(origin.lastOffset) ")
        out.append("successor=\(word(origin.successorID)) saved-at=\(origin.savedAt)\r\n")
    }

    /// One command, as its words.
    public mutating func command(
        database: Int, _ words: [Bytes], into out: inout Buffer
    ) {
        invariant(!words.isEmpty, "a command without a name")
        select(database, into: &out)
        append(count: words.count, into: &out)
        for word in words { append(bulk: word, into: &out) }
        commands += 1
    }

    /// A piece of the replication stream as it is, which starts in `database`; it may select others
    /// itself, and may end inside a command only if the next piece goes on there.
    public mutating func stream(
        startingIn database: Int?, _ bytes: Bytes, into out: inout Buffer
    ) {
        if let database { select(database, into: &out) }
        out.append(bytes)
        // The piece may have selected anything.
        selected = nil
    }

    private mutating func select(_ database: Int, into out: inout Buffer) {
        guard selected != database else { return }
        append(count: 2, into: &out)
        append(bulk: Bytes("SELECT"), into: &out)
        String(database).withBytes { append(bulk: $0, into: &out) }
        selected = database
    }

    private func append(count: Int, into out: inout Buffer) {
        out.append(UInt8(ascii: "*"))
        out.wrote(writeDecimal(Int64(count), to: out.reserve(20)))
        out.append("\r\n")
    }

    private func append(bulk: Bytes, into out: inout Buffer) {
        out.append(UInt8(ascii: "$"))
        out.wrote(writeDecimal(Int64(bulk.count), to: out.reserve(20)))
        out.append("\r\n")
        out.append(bulk)
        out.append("\r\n")
    }

    /// Text that cannot end the line, nor open a quote for those who read it as a command.
    private func word(_ text: String) -> String {
        String(text.prefix(128).map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
    }
}
