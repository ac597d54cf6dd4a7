// Looking at files of data without serving them: whether a snapshot or an append-only file is
// whole, up to where it is, and what is in it. Values are built and thrown away, so that what a
// start would refuse is found here. Pure bytes: whoever has the file feeds it.
import Base
import Engine
import Persistence
import Storage

/// What an RDB stream holds, as far as it was read.
public struct RDBFindings: Sendable {
    public var version = 0
    public var auxiliary: [(offset: Int, name: String, value: String)] = []
    public var databases: [(offset: Int, number: Int)] = []
    public var keys: Int64 = 0
    public var expiring: Int64 = 0
    public var expired: Int64 = 0
    public var lastKey = ""
    public var checksum: RDBChecksum?
    public var error: RDBError?
    /// Bytes of whole items.
    public var offset = 0
}

/// Reads an RDB stream.
public struct RDBExamination: ~Copyable {
    private let node: NodePointer
    private var reader: RDBReader
    private let now: Int64
    public private(set) var findings = RDBFindings()
    private var fed: Int64 = 0

    public init(now: Now) {
        self.now = now.wall.milliseconds
        node = NodePointer.make(
            settings: Settings(), now: now, seed: 1, sipKey: SipKey(1, 2))
        reader = RDBReader(
            decoders: node.executor.objectFormats.decoders,
            limits: RDBReader.Limits(largestString: Int(Int32.max), databases: Int(Int32.max)),
            acceptsFunctions: true)
    }

    deinit { node.destroy() }

    public var isComplete: Bool { reader.isComplete }
    /// What was fed behind the end, and where that begins.
    public var rest: [UInt8] { reader.isComplete ? reader.rest.array : [] }
    public var restOffset: Int64 { fed - Int64(rest.count) }

    /// False when nothing that follows can be understood.
    public mutating func feed(_ bytes: Bytes) -> Bool {
        guard findings.error == nil else { return false }
        fed += Int64(bytes.count)
        reader.feed(bytes)
        do throws(RDBError) {
            while let item = try reader.next() { try take(item) }
        } catch {
            findings.error = error
        }
        findings.version = reader.version
        findings.offset = reader.consumed
        return findings.error == nil
    }

    public mutating func finish() {
        guard findings.error == nil else { return }
        do throws(RDBError) { try reader.finish() } catch { findings.error = error }
    }

    private mutating func take(_ item: RDBItem) throws(RDBError) {
        switch item {
        case .auxiliary(let name, let value):
            findings.auxiliary.append((reader.consumed, name.string, value.string))
        case .selectDatabase(let number): findings.databases.append((reader.consumed, number))
        case .entry(let entry): try take(entry)
        case .end(let checksum): findings.checksum = checksum
        case .resize, .functionLibrary: break
        }
    }

    private mutating func take(_ entry: RDBEntry) throws(RDBError) {
        findings.keys += 1
        findings.lastKey = entry.key.string
        if entry.attributes.expireAt >= 0 {
            findings.expiring += 1
            if entry.attributes.expireAt < now { findings.expired += 1 }
        }
        guard case .payload(let bytes) = entry.value else { return }
        let keyspace = node.executor.pointee.keyspace
        let (type, outcome) = node.executor.objectFormats.load(
            code: entry.type, bytes, heap: keyspace.heap, limits: EncodingLimits(),
            largestString: Int(Int32.max))
        switch outcome {
        case .empty: return
        case .damaged:
            throw RDBError(
                .damagedValue(type: entry.type, key: entry.key.string), at: reader.consumed)
        case .loaded(let object):
            let key = keyspace.key(entry.key, database: 0)
            _ = keyspace.replaceObject(
                key, type, object.encoding, object.payload, expiry: .clear)
            _ = keyspace.remove(key)
        }
    }
}

/// What an append-only file holds.
public struct LogFindings: Sendable {
    public var size: Int64 = 0
    public var hasPreamble = false
    public var preamble: RDBFindings?
    /// The file is whole up to here.
    public var wholeUpTo: Int64 = 0
    public var line: Int64 = 1
    public var commands: Int64 = 0
    /// In words, what is wrong behind.
    public var problem: String?
    public var verdict = TailRepair.Verdict.whole
    /// Where the first annotation of a time later than the one that was asked for begins.
    public var laterFrom: Int64?
    /// The times of the first and the last annotation.
    public var firstTime: Int64?
    public var lastTime: Int64?

    public var isWhole: Bool {
        problem == nil && wholeUpTo == size && (preamble?.error == nil)
    }
}

/// Reads an append-only file, with or without a preamble.
public struct LogExamination: ~Copyable {
    private var preamble: RDBExamination?
    private var scanner = AOFScanner(largestString: Int(Int32.max))
    private let until: Int64?
    private let now: Now
    private var findings = LogFindings()
    private var isDone = false

    /// Stops before the commands later than `until` (seconds since 1970), if there is one.
    public init(now: Now, until: Int64? = nil) {
        self.now = now
        self.until = until
    }

    /// False when the rest need not be read.
    public mutating func feed(_ bytes: Bytes) -> Bool {
        guard !isDone, !bytes.isEmpty else { return !isDone }
        if findings.size == 0, bytes[0] == UInt8(ascii: "R") {
            preamble = RDBExamination(now: now)
            findings.hasPreamble = true
        }
        findings.size += Int64(bytes.count)
        if preamble != nil {
            isDone = preamble?.feed(bytes) == false
            guard preamble?.isComplete == true else { return !isDone }
            let rest = preamble?.rest ?? []
            scanner = AOFScanner(
                at: preamble?.restOffset ?? 0, largestString: Int(Int32.max))
            findings.preamble = preamble?.findings
            preamble = nil
            rest.withBytes { scanner.feed($0) }
        } else {
            scanner.feed(bytes)
        }
        scan()
        return !isDone
    }

    private mutating func scan() {
        while !isDone, let item = scanner.next() {
            guard case .annotation(let line) = item, line.count > 4, line[0..<4] == "#TS:",
                let time = line[4..<line.count].decimal
            else { continue }
            findings.firstTime = findings.firstTime ?? time
            findings.lastTime = time
            if let until, time > until {
                findings.laterFrom = scanner.offset
                isDone = true
            }
        }
        // Nothing behind damage can be told from chance.
        if scanner.damage != nil { isDone = true }
    }

    /// What was found. `size` is the file's, `tail` its bytes from `wholeUpTo` on (or many).
    public var progress: LogFindings {
        var out = findings
        out.wholeUpTo = scanner.wholeUpTo
        out.line = scanner.line
        out.commands = scanner.wholeCommands
        return out
    }

    public consuming func finish(size: Int64, tail: [UInt8], bound: Int64) -> LogFindings {
        var out = progress
        out.size = size
        if preamble != nil {
            preamble?.finish()
            out.preamble = preamble?.findings
            out.wholeUpTo = 0
            out.problem = preamble?.findings.error.map { "\($0)" }
            return out
        }
        guard out.laterFrom == nil, size > out.wholeUpTo else { return out }
        if let damage = scanner.damage {
            let digits = String(damage.offset, radix: 16)
            let pad = String(repeating: " ", count: max(0, 16 - digits.count))
            out.problem = "0x\(pad)\(digits): \(damage.reason)"
        } else if scanner.transaction != nil, scanner.unfinished == 0 {
            out.problem = "Reached EOF before reading EXEC for MULTI"
        } else {
            out.problem = "The file ends in the middle of a command"
        }
        out.verdict = tail.withBytes { bytes in
            TailRepair.judge(
                scanner, size: size, tail: bytes, allowsTruncated: true, bound: bound)
        }
        return out
    }
}
