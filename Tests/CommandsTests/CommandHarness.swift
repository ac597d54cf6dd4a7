// A node's engine without sockets: feed a command to a session, read the reply. Shared by the
// tests of all command groups.
import Base
import Commands
import Engine
import RESP
import Storage

/// A reply as the client sees it.
indirect enum Reply: Equatable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    case simple(String)
    case error(String)
    case integer(Int64)
    case bulk(String)
    case null
    case array([Reply])
    case map([Reply])
    case set([Reply])
    case push([Reply])
    case double(String)
    case boolean(Bool)
    case bigNumber(String)
    case verbatim(String)

    /// A literal text stands for a bulk string.
    init(stringLiteral value: String) { self = .bulk(value) }
    init(integerLiteral value: Int64) { self = .integer(value) }

    static let ok = Reply.simple("OK")

    /// The text of any reply that has one.
    var text: String? {
        switch self {
        case .simple(let text), .error(let text), .bulk(let text), .verbatim(let text),
            .double(let text), .bigNumber(let text):
            text
        default: nil
        }
    }
    var isError: Bool { if case .error = self { true } else { false } }
    var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
    /// The elements of an aggregate; keys and values alternate in a map.
    var elements: [Reply] {
        switch self {
        case .array(let all), .map(let all), .set(let all), .push(let all): all
        default: []
        }
    }
    /// The value that follows `key` in a map, or in an array that stands for one.
    subscript(_ key: String) -> Reply? {
        let all = elements
        for index in stride(from: 0, to: all.count - 1, by: 2) where all[index].text == key {
            return all[index + 1]
        }
        return nil
    }
}

/// Reads replies from bytes.
struct ReplyReader {
    let bytes: [UInt8]
    var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position >= bytes.count }

    private mutating func line() -> String {
        let start = position
        while position < bytes.count, bytes[position] != 13 { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        position += 2
        return text
    }

    private mutating func many(_ count: Int) -> [Reply] {
        var out: [Reply] = []
        for _ in 0..<max(0, count) { out.append(next()) }
        return out
    }

    mutating func next() -> Reply {
        guard position < bytes.count else { return .error("NOREPLY") }
        let mark = bytes[position]
        position += 1
        let head = line()
        let count = Int(head) ?? -1
        switch mark {
        case UInt8(ascii: "+"): return .simple(head)
        case UInt8(ascii: "-"): return .error(head)
        case UInt8(ascii: ":"): return .integer(Int64(head) ?? 0)
        case UInt8(ascii: "_"): return .null
        case UInt8(ascii: ","): return .double(head)
        case UInt8(ascii: "("): return .bigNumber(head)
        case UInt8(ascii: "#"): return .boolean(head == "t")
        case UInt8(ascii: "*"): return count < 0 ? .null : .array(many(count))
        case UInt8(ascii: "%"): return .map(many(count * 2))
        case UInt8(ascii: "~"): return .set(many(count))
        case UInt8(ascii: ">"): return .push(many(count))
        case UInt8(ascii: "$"), UInt8(ascii: "="):
            if count < 0 { return .null }
            let text = String(decoding: bytes[position..<(position + count)], as: UTF8.self)
            position += count + 2
            return mark == UInt8(ascii: "$") ? .bulk(text) : .verbatim(String(text.dropFirst(4)))
        default: return .error("BADREPLY \(mark) \(head)")
        }
    }
}

/// One engine with the core commands and any number of sessions.
final class CommandHarness {
    let executor: ExecutorPointer
    let keyspace: Keyspace
    /// The session that `run` uses.
    var session: UnsafeMutablePointer<Session>

    init(
        _ extensions: [Extension] = CoreCommands.extensions, slotted: Bool = false,
        databases: Int = 16, seed: UInt64 = 1
    ) {
        var registry = Registry()
        for each in extensions { each.register(&registry) }
        let commands = UnsafeMutablePointer<CommandTable>.allocate(capacity: 1)
        commands.initialize(to: registry.finish())
        keyspace = Keyspace(
            databases: databases, slotted: slotted, sipKey: SipKey(seed, ~seed))
        executor = .allocate(capacity: 1)
        executor.initialize(
            to: Executor(
                keyspace: keyspace, commands: commands,
                now: Now(
                    instant: Instant(microseconds: 1_000_000),
                    wall: WallTime(milliseconds: 1_700_000_000_000)),
                seed: seed))
        executor.pointee.feedsBacklog = true
        executor.pointee.settings.databases = databases
        session = executor.openSession(peer: "127.0.0.1:50000", local: "127.0.0.1:6379")
    }

    deinit {
        while executor.pointee.sessions.count > 0 {
            executor.freeSession(executor.pointee.sessions[0])
        }
        let commands = executor.pointee.commands
        executor.deinitialize(count: 1)
        executor.deallocate()
        commands.deinitialize(count: 1)
        commands.deallocate()
        keyspace.destroy()
    }

    /// Another client.
    func connect(peer: String = "127.0.0.1:50001") -> UnsafeMutablePointer<Session> {
        executor.openSession(peer: peer, local: "127.0.0.1:6379")
    }

    /// Both clocks go on.
    func advance(milliseconds: Int64) {
        executor.pointee.now.instant =
            executor.pointee.now.instant + Milliseconds(milliseconds)
        executor.pointee.now.wall = executor.pointee.now.wall + Milliseconds(milliseconds)
    }

    /// Feeds raw bytes and runs what is complete.
    func feed(_ bytes: [UInt8], _ client: UnsafeMutablePointer<Session>? = nil) {
        let client = client ?? session
        bytes.withBytes { client.pointee.input.pointee.append($0) }
        executor.process(client)
    }

    /// Everything that was answered since the last time.
    func replies(_ client: UnsafeMutablePointer<Session>? = nil) -> [Reply] {
        let client = client ?? session
        let bytes = client.pointee.output.pointee.bytes.array
        client.pointee.output.pointee.removeAll()
        client.pointee.flags.remove(.pendingWrite)
        executor.pointee.pendingWrites.remove(client)
        var reader = ReplyReader(bytes)
        var out: [Reply] = []
        while !reader.isAtEnd { out.append(reader.next()) }
        return out
    }

    static func encode(_ words: [[UInt8]]) -> [UInt8] {
        var out = Array("*\(words.count)\r\n".utf8)
        for word in words { out += Array("$\(word.count)\r\n".utf8) + word + [13, 10] }
        return out
    }

    /// Runs one command and returns its reply; `.error("NOREPLY")` when there is none.
    @discardableResult
    func run(_ words: String...) -> Reply { run(words) }

    @discardableResult
    func run(_ words: [String], on client: UnsafeMutablePointer<Session>? = nil) -> Reply {
        run(bytes: words.map { Array($0.utf8) }, on: client)
    }

    @discardableResult
    func run(bytes words: [[UInt8]], on client: UnsafeMutablePointer<Session>? = nil) -> Reply {
        feed(CommandHarness.encode(words), client)
        return replies(client).first ?? .error("NOREPLY")
    }

    /// The replication stream since `offset`, as commands.
    func stream(from offset: Int64) -> [[String]] {
        var bytes: [UInt8] = []
        var at = offset
        while at < executor.pointee.backlog.pointee.endOffset {
            let piece = executor.pointee.backlog.pointee.read(from: at)
            bytes += piece.array
            at += Int64(piece.count)
        }
        var reader = ReplyReader(bytes)
        var out: [[String]] = []
        while !reader.isAtEnd { out.append(reader.next().elements.compactMap(\.text)) }
        return out
    }

    var streamEnd: Int64 { executor.pointee.backlog.pointee.endOffset }
}
