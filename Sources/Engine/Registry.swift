// The one door through which core families and modules add themselves to a node.
import Base
import Persistence
import Storage

/// A family of commands, core or module.
public struct Extension: Sendable {
    public let name: StaticString
    public let register: @Sendable (inout Registry) -> Void

    public init(_ name: StaticString, register: @escaping @Sendable (inout Registry) -> Void) {
        self.name = name
        self.register = register
    }
}

public struct Registry: ~Copyable {
    public private(set) var table = CommandTable()
    /// The group of the commands that are declared next.
    public var group: CommandGroup = .generic
    /// Which commands, by full name, may be declared. Others are passed over: a sentinel shares
    /// some commands of the core families and not the rest.
    public var accepts: (@Sendable (String) -> Bool)?

    public init() {}

    /// Declares one command. Call it as a statement per command: array literals of declarations
    /// take minutes to compile.
    ///
    /// - `acl`: categories beyond those that the flags imply (write, read, fast or slow, …).
    /// - `member`: where the first member or field stands that is looked up in the collection.
    /// - `syntax`: the arguments as COMMAND DOCS describes them, see `CommandSyntax`.
    /// - `history`, `tips`: one per line. `deprecated`: version, a space, the replacement.
    public mutating func command(
        _ name: StaticString, of container: StaticString? = nil, since: StaticString, arity: Int,
        _ flags: CommandFlags = [], acl: CommandCategories = [], keys: [KeySpec] = [],
        member: Int = 0, syntax: StaticString = "", summary: StaticString = "",
        complexity: StaticString = "", history: StaticString = "", tips: StaticString = "",
        deprecated: StaticString = "", system: Bool = false, group: CommandGroup? = nil,
        finder: KeyFinder? = nil,
        handler: @escaping CommandHandler
    ) {
        if let accepts, !accepts(container.map { "\($0)|\(name)" } ?? "\(name)") { return }
        var flags = flags
        if flags.contains(.fast), !flags.contains(.blocking), !keys.isEmpty { flags.insert(.brief) }
        var categories = Registry.implied(flags).union(acl)
        // What runs a script is no mere reading command, whatever it allows the script.
        if acl.contains(.scripting) { categories.subtract(CommandCategories.read.subtracting(acl)) }
        table.insert(
            CommandDeclaration(
                name: name, container: container, group: group ?? self.group, since: since,
                arity: arity, flags: flags, categories: categories,
                keys: keys, member: member, syntax: syntax, summary: summary,
                complexity: complexity, history: history, tips: tips, deprecated: deprecated,
                isSystem: system),
            handler: handler, finder: finder)
    }

    /// Declares a type of values: what the keyspace does with them and how they are written down.
    public mutating func objectType(
        _ type: ValueType, operations: ObjectType, format: ObjectFormat
    ) {
        table.objectTypes.insert(type, operations, format)
    }

    /// The categories that the reference derives from flags.
    private static func implied(_ flags: CommandFlags) -> CommandCategories {
        var out: CommandCategories = []
        if flags.contains(.write) { out.insert(.write) }
        if flags.contains(.readonly) { out.insert(.read) }
        if flags.contains(.admin) { out.formUnion([.admin, .dangerous]) }
        if flags.contains(.pubsub) { out.insert(.pubsub) }
        if flags.contains(.blocking) { out.insert(.blocking) }
        out.insert(flags.contains(.fast) ? .fast : .slow)
        return out
    }

    public consuming func finish() -> CommandTable { table }
}
