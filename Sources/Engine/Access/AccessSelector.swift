// A selector: commands together with the keys and channels that they may name. Each user has one,
// its root, and may have more; a command runs if any one of them allows all of it.
import Base

/// A pattern of keys, and what those that fit may be used for.
struct KeyPattern: Equatable {
    var use: KeyUse
    let pattern: [UInt8]

    /// As a rule.
    var text: [UInt8] {
        let mark: StaticString = use == .all ? "~" : use == .read ? "%R~" : "%W~"
        return Bytes(mark).array + pattern
    }
}

struct AccessSelector: Equatable {
    var hasAllKeys = false
    var hasAllChannels = false
    /// Every command of today, and of modules to come.
    var hasAllCommands = false
    /// Began with all commands: what is not named is allowed.
    var allowsFuture = false
    var commands = CommandBits.none
    /// Where a command is not allowed: first arguments that it is allowed with.
    var firstArguments: [UInt16: [[UInt8]]] = [:]
    var keys: [KeyPattern] = []
    var channels: [[UInt8]] = []

    init(channelsByDefault: Bool = false) { hasAllChannels = channelsByDefault }

    /// Without a catalogue, which a configuration has not yet when it is read, commands are not
    /// looked up.
    mutating func apply(
        _ rule: SelectorRule, _ catalogue: CommandCatalogue?
    ) throws(AccessProblem) {
        switch rule {
        case .allKeys:
            hasAllKeys = true
            keys = []
        case .resetKeys:
            hasAllKeys = false
            keys = []
        case .allChannels:
            hasAllChannels = true
            channels = []
        case .resetChannels:
            hasAllChannels = false
            channels = []
        case .allCommands, .noCommands:
            let isAllowed = rule == .allCommands
            commands = isAllowed ? .all : .none
            hasAllCommands = isAllowed
            allowsFuture = isAllowed
            firstArguments = [:]
        case .keys(let use, let pattern):
            if hasAllKeys { throw .patternAfterAll }
            if let index = keys.firstIndex(where: { $0.pattern == pattern }) {
                keys[index].use.formUnion(use)
            } else {
                keys.append(KeyPattern(use: use, pattern: pattern))
            }
        case .channels(let pattern):
            if hasAllChannels { throw .channelAfterAll }
            if !channels.contains(pattern) { channels.append(pattern) }
        case .command(let name, let isAllowed):
            guard let catalogue else { return }
            guard let id = catalogue.id(name) else { throw .unknownCommand }
            set(id, isAllowed, catalogue)
        case .part(let name, let word):
            try allowPart(name, word, catalogue)
        case .category(let name, let isAllowed):
            guard let category = CommandCatalogue.category(name) else { throw .unknownCommand }
            if let catalogue { set(category, isAllowed, catalogue) }
        }
    }

    private mutating func allowPart(
        _ name: [UInt8], _ word: [UInt8], _ catalogue: CommandCatalogue?
    ) throws(AccessProblem) {
        guard let catalogue else { return }
        guard let id = catalogue.id(name) else { throw .unknownCommand }
        let fact = catalogue.facts[Int(id)]
        if fact.isPart { throw .firstArgumentOfSubcommand }
        if word.isEmpty { throw .syntax }
        if !fact.parts.isEmpty {
            guard let part = catalogue.id(name + [UInt8(ascii: "|")] + word) else {
                throw .unknownCommand
            }
            return set(part, true, catalogue)
        }
        // It could not be read again from the file that it is saved in.
        if AccessWords.hasSpaces(word) { throw .syntax }
        let known = firstArguments[id, default: []]
        let folded = AccessWords.lowercased(word)
        if known.contains(where: { AccessWords.lowercased($0) == folded }) { return }
        firstArguments[id, default: []].append(word)
    }

    /// Allows or forbids a command with all of its subcommands.
    mutating func set(_ id: UInt16, _ isAllowed: Bool, _ catalogue: CommandCatalogue) {
        for one in [id] + catalogue.facts[Int(id)].parts { commands[one] = isAllowed }
        if !isAllowed { hasAllCommands = false }
        firstArguments[id] = nil
    }

    mutating func set(
        _ category: CommandCategories, _ isAllowed: Bool, _ catalogue: CommandCatalogue
    ) {
        for top in catalogue.tops {
            let fact = catalogue.facts[Int(top)]
            if !fact.categories.isDisjoint(with: category) { set(top, isAllowed, catalogue) }
            for part in fact.parts
            where !catalogue.facts[Int(part)].categories.isDisjoint(with: category) {
                set(part, isAllowed, catalogue)
            }
        }
    }

    /// The commands that it allows whatever their arguments are.
    func freeCommands(_ catalogue: CommandCatalogue) -> CommandBits {
        var bits = CommandBits.none
        for (id, fact) in catalogue.facts.enumerated() {
            let isAllowed = hasAllCommands || commands[UInt16(id)] || fact.isFree
            bits[UInt16(id)] =
                isAllowed && (hasAllKeys || !fact.hasKeys)
                && (hasAllChannels || fact.channels == nil)
        }
        return bits
    }

    // MARK: Keys and channels

    func allowsKey(_ key: Bytes, _ use: KeyUse) -> Bool {
        hasAllKeys
            || keys.contains { entry in
                entry.use.isSuperset(of: use)
                    && entry.pattern.withBytes { key.matches(channelPattern: $0) }
            }
    }

    /// Whether every key may be used in this way.
    func allowsAnyKey(_ use: KeyUse) -> Bool {
        hasAllKeys
            || keys.contains { $0.use.isSuperset(of: use) && $0.pattern == [UInt8(ascii: "*")] }
    }

    func allowsChannel(_ channel: Bytes, isPattern: Bool) -> Bool {
        hasAllChannels
            || AccessSelector.allows(channel, isPattern: isPattern, by: channels)
    }

    /// A pattern that is subscribed to must be one of `patterns` to the letter: what else would
    /// fit it cannot be known.
    static func allows(_ channel: Bytes, isPattern: Bool, by patterns: [[UInt8]]) -> Bool {
        patterns.contains { pattern in
            pattern.withBytes {
                isPattern ? $0 == channel : channel.matches(channelPattern: $0)
            }
        }
    }
}
