// A selector as the rules that would make it again, the way ACL LIST, GETUSER and files show it:
// keys, channels, then commands. Commands are described by categories as far as these come close,
// and by single commands for the rest.
import Base

extension AccessSelector {
    func text(_ catalogue: CommandCatalogue) -> [UInt8] {
        var words: [[UInt8]] = hasAllKeys ? [Array("~*".utf8)] : keys.map(\.text)
        words +=
            hasAllChannels
            ? [Array("&*".utf8)]
            : [Array("resetchannels".utf8)] + channels.map { [UInt8(ascii: "&")] + $0 }
        return AccessSelector.joined(words + commandRules(catalogue))
    }

    var keysText: [UInt8] {
        hasAllKeys ? Array("~*".utf8) : AccessSelector.joined(keys.map(\.text))
    }

    var channelsText: [UInt8] {
        hasAllChannels
            ? Array("&*".utf8)
            : AccessSelector.joined(channels.map { [UInt8(ascii: "&")] + $0 })
    }

    func commandsText(_ catalogue: CommandCatalogue) -> [UInt8] {
        AccessSelector.joined(commandRules(catalogue))
    }

    static func joined(_ words: [[UInt8]]) -> [UInt8] {
        Array(words.joined(separator: [UInt8(ascii: " ")]))
    }

    /// As rules are found they are applied to a copy that began as the first rule says: what still
    /// differs in the end is named command by command.
    private func commandRules(_ catalogue: CommandCatalogue) -> [[UInt8]] {
        var described = AccessSelector()
        described.commands = allowsFuture ? .all : .none
        var rules = [Array((allowsFuture ? "+@all" : "-@all").utf8)]
        var rest = self
        var left = Array(CommandCategories.names.indices)
        while let best = closestCategory(rest, left, catalogue) {
            left.removeAll { $0 == best }
            let category = CommandCategories(rawValue: 1 << UInt32(best))
            described.set(category, !allowsFuture, catalogue)
            rest.set(category, allowsFuture, catalogue)
            rules.append(
                Array((allowsFuture ? "-@" : "+@").utf8)
                    + Bytes(CommandCategories.names[best]).array)
        }
        for top in catalogue.tops { describe(top, catalogue, &described, &rules) }
        // Better no answer than rules that allow something else.
        for id in catalogue.facts.indices {
            invariant(
                described.commands[UInt16(id)] == commands[UInt16(id)], "rules describe the user")
        }
        return rules
    }

    private func describe(
        _ id: UInt16, _ catalogue: CommandCatalogue, _ described: inout AccessSelector,
        _ rules: inout [[UInt8]]
    ) {
        let fact = catalogue.facts[Int(id)]
        let isAllowed = commands[id]
        if isAllowed != described.commands[id] {
            rules.append([UInt8(ascii: isAllowed ? "+" : "-")] + fact.fullName)
            described.set(id, isAllowed, catalogue)
        }
        for part in fact.parts { describe(part, catalogue, &described, &rules) }
        guard !isAllowed else { return }
        for word in firstArguments[id] ?? [] {
            rules.append(
                [UInt8(ascii: "+")] + fact.fullName + [UInt8(ascii: "|")] + word)
        }
    }

    /// The category of `left` that has more commands to describe than others, and the fewest of
    /// those; of several the one that describes most.
    private func closestCategory(
        _ rest: AccessSelector, _ left: [Int], _ catalogue: CommandCatalogue
    ) -> Int? {
        var best: (index: Int, wrong: Int, right: Int)?
        for index in left {
            let category = catalogue.categories[index]
            let on = rest.commands.common(category)
            let off = category.common(category) - on
            let wrong = allowsFuture ? on : off
            let right = allowsFuture ? off : on
            guard right > wrong else { continue }
            if let best, (wrong, -right) >= (best.wrong, -best.right) { continue }
            best = (index, wrong, right)
        }
        return best?.index
    }
}
