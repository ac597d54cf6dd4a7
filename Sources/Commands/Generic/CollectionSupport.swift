// What the commands of all collections share: elements as replies, replies whose length is known
// only at the end, HSCAN, SSCAN and ZSCAN, and ranges of integers in arguments.
import Base
import Engine
import RESP
import Storage

extension ReplyWriter {
    /// An element of a listpack as a bulk string.
    @inline(__always)
    func bulk(_ value: PackedValue) {
        switch value {
        case .bytes(let bytes): bulk(bytes)
        case .integer(let number): bulk(decimal: number)
        }
    }
}

/// Replies that are gathered in the executor's work space because their number comes first.
struct GatheredReply {
    private let call: Call
    private let room: UnsafeMutablePointer<Buffer>
    private(set) var count = 0

    init(_ call: Call) {
        self.call = call
        room = call.executor.pointee.scratch
        invariant(room.pointee.isEmpty, "the work space is in use")
    }

    /// Writes to the work space; say with `added` how many replies it was.
    var writer: ReplyWriter {
        ReplyWriter(room, version: call.session.pointee.protocolVersion)
    }

    mutating func added(_ replies: Int = 1) { count += replies }

    @inline(__always)
    mutating func bulk(_ value: PackedValue) {
        writer.bulk(value)
        count += 1
    }

    mutating func bulk(_ bytes: Bytes) {
        writer.bulk(bytes)
        count += 1
    }

    /// Hands the replies to the client, behind their heading.
    func reply(_ heading: (ReplyWriter, Int) -> Void = { $0.array($1) }) {
        heading(call.reply, count)
        call.reply.raw(room.pointee.bytes)
        room.pointee.removeAll()
        room.pointee.shrink(above: 64 * 1024)
    }
}

/// The arguments of HSCAN, SSCAN and ZSCAN behind the cursor.
struct CollectionScan {
    var cursor: UInt64
    var count = 10
    var pattern: Glob?
    /// HSCAN: fields without their values.
    var omitsValues = false

    /// Reads the cursor; nil after an error reply. The options come later, as in the reference: a
    /// missing key is answered before they are looked at.
    static func cursorOrReply(_ call: Call) -> UInt64? {
        guard let cursor = scanCursor(call[2]) else {
            call.reply.error("ERR invalid cursor")
            return nil
        }
        return cursor
    }

    static func orReply(_ call: Call, cursor: UInt64, allowsNoValues: Bool) -> CollectionScan? {
        var scan = CollectionScan(cursor: cursor)
        var index = 3
        while index < call.count {
            let word = call[index]
            let hasMore = index + 1 < call.count
            if hasMore, word.matches("count") {
                guard let count = call.integerOrReply(index + 1) else { return nil }
                guard count >= 1 else {
                    call.reply.error(.syntax)
                    return nil
                }
                scan.count = Int(min(count, 1 << 40))
                index += 2
            } else if hasMore, word.matches("match") {
                let glob = Glob(call[index + 1])
                scan.pattern = glob.matchesAll ? nil : glob
                index += 2
            } else if allowsNoValues, word.matches("novalues") {
                scan.omitsValues = true
                index += 1
            } else {
                call.reply.error(.syntax)
                return nil
            }
        }
        return scan
    }

    /// The reply for a key that does not exist.
    static func replyEmpty(_ call: Call) { call.reply.raw("*2\r\n$1\r\n0\r\n*0\r\n") }

    @inline(__always)
    func matches(_ text: Bytes) -> Bool { pattern.map { $0.matches(text) } ?? true }

    /// Walks a table from the cursor on until enough fields were looked at, and replies; `append`
    /// writes what matches.
    func reply(
        _ call: Call, _ fields: FieldTable, now: Int64,
        _ append: (inout GatheredReply, Entry) -> Void
    ) {
        var found = GatheredReply(call)
        var cursor = self.cursor
        var seen = 0
        var steps = 0
        repeat {
            cursor = fields.scan(cursor) { entry in
                seen += 1
                if !entry.isExpired(now: now), matches(entry.key) { append(&found, entry) }
            }
            steps += 1
        } while cursor != 0 && seen < count && steps <= count &* 10
        CollectionScan.reply(call, cursor, found)
    }

    /// The cursor of the next call and what was found.
    static func reply(_ call: Call, _ cursor: UInt64, _ found: GatheredReply) {
        call.reply.array(2)
        call.reply.bulk(String(cursor))
        found.reply()
    }
}

extension Call {
    /// The integer at `index` when it lies in `range`; else answers and returns nil.
    func integerOrReply(_ index: Int, in range: ClosedRange<Int64>) -> Int64? {
        guard let value = integerOrReply(index) else { return nil }
        guard range.contains(value) else {
            reply.error(
                "ERR value is out of range, value must between \(range.lowerBound) "
                    + "and \(range.upperBound)")
            return nil
        }
        return value
    }
}

/// Chooses `wanted` of `total` elements that are visited one after the other, each with the same
/// chance, without remembering any.
struct SelectionSampler {
    private var wanted: Int
    private var left: Int

    init(_ wanted: Int, of total: Int) {
        self.wanted = min(wanted, total)
        left = total
    }

    /// Whether the next element is one of them.
    mutating func takes(_ prng: inout Prng) -> Bool {
        guard wanted > 0, left > 0 else { return false }
        let isChosen = prng.below(left) < wanted
        left -= 1
        if isChosen { wanted -= 1 }
        return isChosen
    }
}
