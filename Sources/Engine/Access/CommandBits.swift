// A set of commands by their IDs, and what rules must know of all commands: names as they were
// before any renaming, parts, categories, and what the arguments of each name.
import Base

public struct CommandBits: Equatable, Sendable {
    static let words = CommandTable.limit / 64
    private(set) var words = [UInt64](repeating: 0, count: CommandBits.words)

    static let none = CommandBits()
    static let all: CommandBits = {
        var bits = CommandBits()
        bits.words = [UInt64](repeating: .max, count: words)
        return bits
    }()

    /// How many commands are in both.
    func common(_ other: CommandBits) -> Int {
        zip(words, other.words).reduce(0) { $0 + ($1.0 & $1.1).nonzeroBitCount }
    }

    subscript(_ id: UInt16) -> Bool {
        get { words[Int(id) / 64] & (1 << UInt64(id % 64)) != 0 }
        set {
            let bit: UInt64 = 1 << UInt64(id % 64)
            if newValue { words[Int(id) / 64] |= bit } else { words[Int(id) / 64] &= ~bit }
        }
    }
}

/// How a command treats the channels among its arguments.
struct ChannelUse {
    /// The first, the last (negative from the end).
    let first: Int
    let last: Int
    let isPattern: Bool
}

/// What rules must know of all commands. Made once.
struct CommandCatalogue {
    struct Fact {
        let fullName: [UInt8]
        let categories: CommandCategories
        /// Its subcommands.
        var parts: [UInt16] = []
        let isPart: Bool
        let hasKeys: Bool
        let channels: ChannelUse?
        /// What is at most done with its keys, when these are one plain range of arguments.
        let plainUse: KeyUse?
        /// Allowed to everybody, for it is how one becomes somebody.
        let isFree: Bool
    }

    private(set) var facts: [Fact] = []
    private var ids: [[UInt8]: UInt16] = [:]
    /// The commands that are no part of another, in the order of their declaration.
    private(set) var tops: [UInt16] = []
    /// The commands of each category, in the order of their names.
    private(set) var categories = [CommandBits](
        repeating: .none, count: CommandCategories.names.count)

    init(_ table: UnsafeMutablePointer<CommandTable>) {
        for id in 0..<table.pointee.count {
            let command = table.pointee.commands[id]
            let declaration = table.pointee.declarations[id]
            let isPart = Int(command.parent) != id
            let name = AccessWords.lowercased(Array(declaration.fullName.utf8))
            let hasKeys =
                !declaration.keys.isEmpty || table.pointee.keyFinders[UInt16(id)] != nil
            facts.append(
                Fact(
                    fullName: name, categories: declaration.categories, isPart: isPart,
                    hasKeys: hasKeys, channels: CommandCatalogue.channels(of: declaration),
                    plainUse: CommandCatalogue.plainUse(
                        declaration, hasFinder: table.pointee.keyFinders[UInt16(id)] != nil),
                    isFree: command.flags.contains(.noAuth)))
            ids[name] = UInt16(id)
            for index in categories.indices
            where declaration.categories.rawValue & (1 << UInt32(index)) != 0 {
                categories[index][UInt16(id)] = true
            }
            if isPart {
                facts[Int(command.parent)].parts.append(UInt16(id))
            } else {
                tops.append(UInt16(id))
            }
        }
    }

    func id(_ name: [UInt8]) -> UInt16? { ids[AccessWords.lowercased(name)] }

    static func category(_ name: [UInt8]) -> CommandCategories? {
        let wanted = AccessWords.lowercased(name)
        let index = CommandCategories.names.firstIndex { Bytes($0).array == wanted }
        return index.map { CommandCategories(rawValue: 1 << UInt32($0)) }
    }

    private static func plainUse(_ declaration: CommandDeclaration, hasFinder: Bool) -> KeyUse? {
        guard declaration.keys.count == 1, let spec = declaration.keys.first,
            case .index = spec.begin, case .range(_, _, let limit) = spec.find, limit == 0,
            spec.flags.isDisjoint(with: [.incomplete, .notKey])
        else { return nil }
        // Where it depends on other arguments: whoever may do all may do it anyhow.
        if spec.flags.contains(.variableFlags) { return .all }
        return hasFinder ? nil : KeyUse(spec.flags)
    }

    /// Who leaves a channel needs no permission.
    private static func channels(of declaration: CommandDeclaration) -> ChannelUse? {
        switch declaration.fullName {
        case "publish", "spublish": ChannelUse(first: 1, last: 1, isPattern: false)
        case "subscribe", "ssubscribe": ChannelUse(first: 1, last: -1, isPattern: false)
        case "psubscribe": ChannelUse(first: 1, last: -1, isPattern: true)
        default: nil
        }
    }
}
