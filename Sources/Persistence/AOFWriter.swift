// Writes a data set as commands: the base of a log when `aof-use-rdb-preamble` is no. Strings,
// hashes, sets, lists and sorted sets become the commands that build them, a few elements at a
// time; a value of any other type becomes RESTORE with its DUMP payload, which every server of the
// same or a later version loads. Also the annotation lines of a log.
import Base
import Storage

public struct AOFWriter: ~Copyable {
    /// Elements per command, as in the reference.
    static let elementsPerCommand = 64

    private var selected = -1
    private var payload = Buffer()
    private var dump = DumpWriter()

    public init() {}

    /// The line that says when the following commands ran.
    public static func timestamp(_ seconds: Int64, into out: inout Buffer) {
        out.append("#TS:\(seconds)\r\n")
    }

    /// One key: SELECT if need be, what builds the value, its deadline.
    public mutating func entry(
        _ entry: Entry, database: Int, _ formats: ObjectFormats, into out: inout Buffer
    ) {
        invariant(database >= 0, "a database has a number")
        if database != selected {
            selected = database
            RESPText.begin(2, into: &out)
            RESPText.argument("SELECT", into: &out)
            RESPText.argument(Int64(database), into: &out)
        }
        if entry.isString {
            RESPText.begin(3, into: &out)
            RESPText.argument("SET", into: &out)
            RESPText.argument(entry.key, into: &out)
            if let value = entry.integer {
                RESPText.argument(value, into: &out)
            } else {
                RESPText.argument(entry.storedBytes ?? .empty, into: &out)
            }
        } else if let rewrite = formats[entry.type]?.rewrite {
            withUnsafeMutablePointer(to: &out) {
                rewrite(
                    entry.payload, entry.encoding, CommandSink(out: $0, key: entry.key))
            }
        } else {
            restore(entry, formats, into: &out)
            return
        }
        guard let deadline = entry.expiry else { return }
        RESPText.begin(3, into: &out)
        RESPText.argument("PEXPIREAT", into: &out)
        RESPText.argument(entry.key, into: &out)
        RESPText.argument(deadline, into: &out)
    }

    private mutating func restore(
        _ entry: Entry, _ formats: ObjectFormats, into out: inout Buffer
    ) {
        payload.removeAll()
        dump.append(entry, formats, to: &payload)
        let deadline = entry.expiry
        RESPText.begin(deadline == nil ? 4 : 5, into: &out)
        RESPText.argument("RESTORE", into: &out)
        RESPText.argument(entry.key, into: &out)
        RESPText.argument(deadline ?? 0, into: &out)
        RESPText.argument(payload.bytes, into: &out)
        if deadline != nil { RESPText.argument("ABSTTL", into: &out) }
    }
}

/// Where the commands that rebuild one value go. Elements are given one by one; the sink begins a
/// new command whenever the last one is full. A trivial handle, valid during `rewrite`.
public struct CommandSink {
    let out: UnsafeMutablePointer<Buffer>
    let key: Bytes

    /// Says what follows: `total` groups of `arity` arguments each, for `name key …`.
    public func begin(_ name: StaticString, total: Int, arity: Int = 1) -> Groups {
        Groups(out: out, key: key, name: name, total: total, arity: arity)
    }

    public struct Groups {
        let out: UnsafeMutablePointer<Buffer>
        let key: Bytes
        let name: StaticString
        let total: Int
        let arity: Int
        private var done = 0

        init(
            out: UnsafeMutablePointer<Buffer>, key: Bytes, name: StaticString, total: Int,
            arity: Int
        ) {
            self.out = out
            self.key = key
            self.name = name
            self.total = total
            self.arity = arity
        }

        /// Opens the next group; its arguments follow.
        public mutating func next() {
            invariant(done < total, "more elements than were announced")
            if done % AOFWriter.elementsPerCommand == 0 {
                let count = min(AOFWriter.elementsPerCommand, total - done)
                RESPText.begin(2 + count * arity, into: &out.pointee)
                RESPText.argument(Bytes(name), into: &out.pointee)
                RESPText.argument(key, into: &out.pointee)
            }
            done += 1
        }

        public func argument(_ bytes: Bytes) { RESPText.argument(bytes, into: &out.pointee) }
        public func argument(_ value: Int64) { RESPText.argument(value, into: &out.pointee) }
        public func argument(_ value: PackedValue) {
            withText(of: value) { RESPText.argument($0, into: &out.pointee) }
        }
    }
}

/// Requests as RESP arrays of bulk strings.
enum RESPText {
    static func begin(_ count: Int, into out: inout Buffer) {
        head(UInt8(ascii: "*"), count, into: &out)
    }

    static func argument(_ bytes: Bytes, into out: inout Buffer) {
        head(UInt8(ascii: "$"), bytes.count, into: &out)
        out.append(bytes)
        out.append("\r\n")
    }

    static func argument(_ literal: StaticString, into out: inout Buffer) {
        argument(Bytes(literal), into: &out)
    }

    static func argument(_ value: Int64, into out: inout Buffer) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { room in
            guard let base = room.baseAddress else { return }
            let count = writeDecimal(value, to: base)
            argument(Bytes(UnsafePointer(base), count), into: &out)
        }
    }

    private static func head(_ mark: UInt8, _ count: Int, into out: inout Buffer) {
        out.append(mark)
        out.wrote(writeDecimal(Int64(count), to: out.reserve(20)))
        out.append("\r\n")
    }
}
