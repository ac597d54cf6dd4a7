// What a command is: the hot record that dispatch reads, and the declaration that COMMAND DOCS,
// ACL categories and key extraction are made from. Both come from one statement in a registry.
import Base

/// A context-free entry point; its argument is a `CallFrame`. Wrap it with `Call($0)`.
public typealias CommandHandler = @convention(c) (UnsafeMutableRawPointer) -> Void

/// What dispatch must know of a command. Names as COMMAND INFO prints them.
public struct CommandFlags: OptionSet, Sendable {
    public let rawValue: UInt32
    @inline(__always)
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let write = CommandFlags(rawValue: 1 << 0)
    public static let readonly = CommandFlags(rawValue: 1 << 1)
    public static let denyOOM = CommandFlags(rawValue: 1 << 2)
    public static let module = CommandFlags(rawValue: 1 << 3)
    public static let admin = CommandFlags(rawValue: 1 << 4)
    public static let pubsub = CommandFlags(rawValue: 1 << 5)
    public static let noScript = CommandFlags(rawValue: 1 << 6)
    public static let blocking = CommandFlags(rawValue: 1 << 7)
    public static let loading = CommandFlags(rawValue: 1 << 8)
    public static let stale = CommandFlags(rawValue: 1 << 9)
    public static let skipMonitor = CommandFlags(rawValue: 1 << 10)
    public static let skipSlowlog = CommandFlags(rawValue: 1 << 11)
    public static let asking = CommandFlags(rawValue: 1 << 12)
    public static let fast = CommandFlags(rawValue: 1 << 13)
    public static let noAuth = CommandFlags(rawValue: 1 << 14)
    public static let mayReplicate = CommandFlags(rawValue: 1 << 15)
    public static let noMandatoryKeys = CommandFlags(rawValue: 1 << 16)
    public static let noAsyncLoading = CommandFlags(rawValue: 1 << 17)
    public static let noMulti = CommandFlags(rawValue: 1 << 18)
    public static let allowBusy = CommandFlags(rawValue: 1 << 19)
    public static let movableKeys = CommandFlags(rawValue: 1 << 20)
    public static let protected = CommandFlags(rawValue: 1 << 21)
    /// Not in COMMAND's list: internal to replication.
    public static let sentinelOnly = CommandFlags(rawValue: 1 << 22)
    /// Set by the table: has subcommands.
    public static let container = CommandFlags(rawValue: 1 << 23)
    /// Any flag that makes the gates look closer than the usual checks.
    public static let touchesKeys = CommandFlags(rawValue: 1 << 24)

    /// Can be used, but is in none of COMMAND's lists.
    public static let unlisted = CommandFlags(rawValue: 1 << 25)
    /// Takes about as long each time, unless its request or reply is large: see TimedRun.swift.
    public static let brief = CommandFlags(rawValue: 1 << 27)

    /// Runs a script, whose own flags count as well.
    public static let runsScript = CommandFlags(rawValue: 1 << 26)

    /// The flags that COMMAND INFO prints, in the reference's order.
    public static let printed: [(CommandFlags, StaticString)] = [
        (.write, "write"), (.readonly, "readonly"), (.denyOOM, "denyoom"), (.module, "module"),
        (.admin, "admin"), (.pubsub, "pubsub"), (.noScript, "noscript"), (.blocking, "blocking"),
        (.loading, "loading"), (.stale, "stale"), (.skipMonitor, "skip_monitor"),
        (.skipSlowlog, "skip_slowlog"), (.asking, "asking"), (.fast, "fast"),
        (.noAuth, "no_auth"), (.mayReplicate, "may_replicate"),
        (.noMandatoryKeys, "no_mandatory_keys"), (.protected, "protected"),
        (.noAsyncLoading, "no_async_loading"), (.noMulti, "no_multi"),
        (.allowBusy, "allow_busy"), (.movableKeys, "movablekeys"),
    ]
}

/// ACL categories, in the order of the reference's bits.
public struct CommandCategories: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let keyspace = CommandCategories(rawValue: 1 << 0)
    public static let read = CommandCategories(rawValue: 1 << 1)
    public static let write = CommandCategories(rawValue: 1 << 2)
    public static let set = CommandCategories(rawValue: 1 << 3)
    public static let sortedset = CommandCategories(rawValue: 1 << 4)
    public static let list = CommandCategories(rawValue: 1 << 5)
    public static let hash = CommandCategories(rawValue: 1 << 6)
    public static let string = CommandCategories(rawValue: 1 << 7)
    public static let bitmap = CommandCategories(rawValue: 1 << 8)
    public static let hyperloglog = CommandCategories(rawValue: 1 << 9)
    public static let geo = CommandCategories(rawValue: 1 << 10)
    public static let stream = CommandCategories(rawValue: 1 << 11)
    public static let pubsub = CommandCategories(rawValue: 1 << 12)
    public static let admin = CommandCategories(rawValue: 1 << 13)
    public static let fast = CommandCategories(rawValue: 1 << 14)
    public static let slow = CommandCategories(rawValue: 1 << 15)
    public static let blocking = CommandCategories(rawValue: 1 << 16)
    public static let dangerous = CommandCategories(rawValue: 1 << 17)
    public static let connection = CommandCategories(rawValue: 1 << 18)
    public static let transaction = CommandCategories(rawValue: 1 << 19)
    public static let scripting = CommandCategories(rawValue: 1 << 20)

    public static let names: [StaticString] = [
        "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap",
        "hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking",
        "dangerous", "connection", "transaction", "scripting",
    ]
}

/// The group that COMMAND DOCS reports.
public enum CommandGroup: String, Sendable {
    case generic, string, list, set, sortedSet = "sorted-set", hash, pubsub, transactions
    case connection, server, scripting, hyperloglog, cluster, geo, stream, bitmap, sentinel
}

/// The record that dispatch reads: one cache line and a half, in unsafe memory, never moved.
public struct Command {
    public let handler: CommandHandler
    public internal(set) var flags: CommandFlags
    /// Exact when positive, a minimum when negative; counts the command's name.
    public let arity: Int16
    /// Positions of the keys when they are a plain range: first, last (negative from the end),
    /// step; first is 0 when there is none or the positions need `keySpecs`.
    public let firstKey: Int16
    public let lastKey: Int16
    public let keyStep: Int16
    /// Index of the declaration, and identity of the command.
    public let id: UInt16
    /// Id of the container command, or the command's own.
    public let parent: UInt16
    /// Position of the first member (or field) that is looked up in the collection at `firstKey`;
    /// 0 when there is none.
    public let member: Int16
    public let categories: CommandCategories
    // Statistics (INFO commandstats).
    public var calls: Int64 = 0
    public var nanoseconds: UInt64 = 0
    public var rejectedCalls: Int64 = 0
    public var failedCalls: Int64 = 0
    /// Latency (INFO latencystats).
    public var times = CommandTimes()

    /// Whether a call of `count` words, its name among them, has as many as it must.
    @inline(__always)
    public func accepts(_ count: Int) -> Bool {
        let arity = Int(self.arity)
        return arity >= 0 ? count == arity : count >= 0 &- arity
    }
}

/// All that is said of a command, once. Read by COMMAND, ACL and the documentation tests.
public struct CommandDeclaration {
    /// Lower case; for a subcommand its own name only.
    public let name: StaticString
    public let container: StaticString?
    public let group: CommandGroup
    public let since: StaticString
    public let arity: Int
    public let flags: CommandFlags
    public let categories: CommandCategories
    public let keys: [KeySpec]
    /// As in `Command`: what a batch asks for ahead.
    public let member: Int
    public let syntax: StaticString
    public let summary: StaticString
    public let complexity: StaticString
    /// One change per line: version, a space, what changed.
    public let history: StaticString
    /// One per line.
    public let tips: StaticString
    /// The version that deprecated it and what to use instead, separated by a space.
    public let deprecated: StaticString
    /// True for `syscmd`-like marks in COMMAND DOCS.
    public let isSystem: Bool

    /// `config|get` or `get`.
    public var fullName: String {
        container.map { "\($0)|\(name)" } ?? "\(name)"
    }
}
