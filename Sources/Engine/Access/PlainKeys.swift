// The short way for the usual restricted user: one selector with patterns of keys, and commands
// whose keys are a plain range of arguments. It only grants; whatever does not fit takes the long
// way, which knows what is denied and why. Nothing here allocates once the user is made.
import Base

struct PlainKeys: ~Copyable {
    private struct Pattern {
        let bytes: UnsafeMutablePointer<UInt8>
        let count: Int
        let use: KeyUse
    }

    /// For each command: allowed, with keys that one look can tell.
    private let commands: UnsafeMutablePointer<UInt64>
    private let patterns: UnsafeMutablePointer<Pattern>
    private let patternCount: Int

    init(_ definition: AccessDefinition, _ catalogue: CommandCatalogue) {
        let root = definition.root
        let isUsable = definition.selectors.count == 1
        commands = .allocate(capacity: CommandBits.words)
        commands.initialize(repeating: 0, count: CommandBits.words)
        for (id, fact) in catalogue.facts.enumerated() where isUsable && fact.plainUse != nil {
            guard fact.channels == nil, root.hasAllCommands || root.commands[UInt16(id)] else {
                continue
            }
            commands[id / 64] |= 1 << UInt64(id % 64)
        }
        patternCount = root.keys.count
        patterns = .allocate(capacity: max(1, patternCount))
        for (index, key) in root.keys.enumerated() {
            let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, key.pattern.count))
            for (at, byte) in key.pattern.enumerated() { bytes[at] = byte }
            (patterns + index).initialize(
                to: Pattern(bytes: bytes, count: key.pattern.count, use: key.use))
        }
    }

    deinit {
        for index in 0..<patternCount { patterns[index].bytes.deallocate() }
        patterns.deallocate()
        commands.deallocate()
    }

    /// True when the call is certainly allowed. `use` is what the command does with its keys.
    func grants(
        _ command: UnsafeMutablePointer<Command>, _ use: KeyUse,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> Bool {
        let id = command.pointee.id
        guard commands[Int(id &>> 6)] & (1 &<< UInt64(id & 63)) != 0 else { return false }
        let end = Int(command.pointee.lastKey)
        let last = end < 0 ? count + end : end
        let step = Int(command.pointee.keyStep)
        var index = Int(command.pointee.firstKey)
        guard index > 0, step > 0, last >= index, last < count else { return false }
        while index <= last {
            if !allows(arguments[index], use) { return false }
            index += step
        }
        return true
    }

    private func allows(_ key: Bytes, _ use: KeyUse) -> Bool {
        for index in 0..<patternCount where patterns[index].use.isSuperset(of: use) {
            if key.matches(channelPattern: Bytes(patterns[index].bytes, patterns[index].count)) {
                return true
            }
        }
        return false
    }
}

/// What every command does with its keys, for one look: those with a plain range of keys only.
struct PlainUses: ~Copyable {
    private let uses: UnsafeMutablePointer<KeyUse>

    init(_ catalogue: CommandCatalogue) {
        uses = .allocate(capacity: CommandTable.limit)
        uses.initialize(repeating: .all, count: CommandTable.limit)
        for (id, fact) in catalogue.facts.enumerated() { uses[id] = fact.plainUse ?? .all }
    }

    deinit { uses.deallocate() }

    subscript(_ id: UInt16) -> KeyUse { uses[Int(id)] }
}
