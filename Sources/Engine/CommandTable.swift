// All commands by name. Open addressing over the folded name packed into two words; a
// subcommand is found under its container's id. One probe on the hot path, no allocation.
import Base

public struct CommandTable: ~Copyable {
    /// The records, by id. Never moved once the table is built.
    public let commands: UnsafeMutablePointer<Command>
    public private(set) var count = 0
    /// The declarations, by id (cold).
    public private(set) var declarations: [CommandDeclaration] = []
    /// Own key finders, by id (cold).
    public private(set) var keyFinders: [UInt16: KeyFinder] = [:]
    /// The types of values that the families of these commands work on.
    public internal(set) var objectTypes = ObjectTypes()

    private struct Name: Equatable {
        var low: UInt64 = 0
        var high: UInt64 = 0
        /// The container's id, and the length above it, so that zero bytes at the end count.
        var scope = UInt32(CommandTable.noParent)
    }
    private struct Place {
        var name = Name()
        var id: UInt16 = CommandTable.free
    }
    private static let noParent: UInt16 = .max
    private static let free: UInt16 = .max
    private static let placeCount = 4096
    /// How many commands there can be.
    static let limit = 1024
    private let places: UnsafeMutablePointer<Place>
    /// Names longer than 16 bytes, by folded name with their parent (rare).
    private var longNames: [String: UInt16] = [:]

    public init() {
        commands = .allocate(capacity: CommandTable.limit)
        places = .allocate(capacity: CommandTable.placeCount)
        places.initialize(repeating: Place(), count: CommandTable.placeCount)
    }

    deinit {
        for id in 0..<count { (commands + id).pointee.times.free() }
        commands.deallocate()
        places.deallocate()
    }

    /// The command of this name, without regard to case.
    @inline(__always)
    public func find(_ name: Bytes) -> UnsafeMutablePointer<Command>? {
        find(name, parent: CommandTable.noParent)
    }

    /// The subcommand of this name.
    public func find(
        _ name: Bytes, of container: UnsafeMutablePointer<Command>
    ) -> UnsafeMutablePointer<Command>? {
        find(name, parent: container.pointee.id)
    }

    /// The command or subcommand that a call means; nil when there is none.
    public func find(
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> UnsafeMutablePointer<Command>? {
        guard let command = find(arguments[0]) else { return nil }
        guard command.pointee.flags.contains(.container), count > 1 else { return command }
        return find(arguments[1], of: command)
    }

    /// The name of a command, a subcommand's behind that of its container.
    public func fullName(of command: UnsafeMutablePointer<Command>) -> String {
        declarations[Int(command.pointee.id)].fullName
    }

    @inline(__always)
    private func find(_ name: Bytes, parent: UInt16) -> UnsafeMutablePointer<Command>? {
        guard _fastPath(name.count <= 16) else { return findLong(name, parent: parent) }
        let folded = CommandTable.fold(name, parent: parent)
        var place = CommandTable.start(folded)
        while places[place].id != CommandTable.free {
            if places[place].name == folded { return commands + Int(places[place].id) }
            place = (place &+ 1) & (CommandTable.placeCount &- 1)
        }
        return nil
    }

    @inline(never)
    private func findLong(_ name: Bytes, parent: UInt16) -> UnsafeMutablePointer<Command>? {
        guard name.count <= 64, let id = longNames["\(parent)|\(name.string.lowercased())"] else {
            return nil
        }
        return commands + Int(id)
    }

    /// Letters folded to lower case eight at a time, the length mixed in.
    @inline(__always)
    private static func fold(_ name: Bytes, parent: UInt16) -> Name {
        let raw = UnsafeRawPointer(name.base)
        let count = name.count
        var low: UInt64 = 0
        var high: UInt64 = 0
        if count >= 8 {
            low = raw.loadUnaligned(as: UInt64.self)
            if count > 8 {
                // The last eight bytes, shifted so that the overlap with `low` falls out.
                high = raw.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
                high = high &>> UInt64(truncatingIfNeeded: (16 &- count) &* 8)
            }
        } else if count >= 4 {
            low = UInt64(raw.loadUnaligned(as: UInt32.self))
            let end = UInt64(raw.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self))
            low |= end &<< UInt64(truncatingIfNeeded: (count &- 4) &* 8)
        } else if count > 0 {
            // First, middle and last byte: of one to three they are all.
            let middle = count &>> 1
            let last = count &- 1
            low = UInt64(name.base[0])
            low |= UInt64(name.base[middle]) &<< UInt64(truncatingIfNeeded: middle &* 8)
            low |= UInt64(name.base[last]) &<< UInt64(truncatingIfNeeded: last &* 8)
        }
        return Name(
            low: lowered(low), high: count > 8 ? lowered(high) : 0,
            scope: UInt32(parent) | (UInt32(truncatingIfNeeded: count) &<< 16))
    }

    /// Eight ASCII bytes to lower case (SWAR); bytes above 127 stay.
    @inline(__always)
    private static func lowered(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let ascii: UInt64 = word & (0x7F &* ones)
        let fromA: UInt64 = ascii &+ ((0x80 &- 65) &* ones)
        let pastZ: UInt64 = ascii &+ ((0x80 &- 91) &* ones)
        let upper: UInt64 = (fromA & ~pastZ & ~word) & (0x80 &* ones)
        return word | (upper &>> 2)
    }

    @inline(__always)
    private static func start(_ name: Name) -> Int {
        let mixed: UInt64 =
            (name.low ^ (name.high &* 0x9E37_79B9_7F4A_7C15) ^ UInt64(name.scope))
            &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed &>> 52)
    }

    /// Adds a command; its container, if any, must have been added before.
    mutating func insert(
        _ declaration: CommandDeclaration, handler: @escaping CommandHandler, finder: KeyFinder?
    ) {
        invariant(count < CommandTable.limit, "too many commands")
        let id = UInt16(count)
        let parentCommand = declaration.container.map { container in
            find(Bytes(container))
        }
        var parent = CommandTable.noParent
        if let parentCommand {
            guard let found = parentCommand else { unreachable("container not declared yet") }
            found.pointee.flags.insert(.container)
            parent = found.pointee.id
        }
        (commands + count).initialize(
            to: CommandTable.record(declaration, handler, id, parent, finder != nil))
        declarations.append(declaration)
        if let finder { keyFinders[id] = finder }
        let name = Bytes(declaration.name)
        invariant(find(name, parent: parent) == nil, "command declared twice")
        count += 1
        if name.count > 16 {
            longNames["\(parent)|\(name.string)"] = id
            return
        }
        let folded = CommandTable.fold(name, parent: parent)
        var place = CommandTable.start(folded)
        while places[place].id != CommandTable.free {
            place = (place &+ 1) & (CommandTable.placeCount &- 1)
        }
        places[place] = Place(name: folded, id: id)
    }

    private static func record(
        _ declaration: CommandDeclaration, _ handler: @escaping CommandHandler, _ id: UInt16,
        _ parent: UInt16, _ hasFinder: Bool
    ) -> Command {
        var flags = declaration.flags
        var first = 0
        var last = 0
        var step = 0
        if let spec = declaration.keys.first, case .index(let index) = spec.begin,
            case .range(let to, let every, let limit) = spec.find, limit == 0
        {
            first = index
            last = to >= 0 ? index + to : to
            step = every
        }
        // Several plain ranges that continue each other are one range to old clients.
        for spec in declaration.keys.dropFirst() {
            guard case .index(let index) = spec.begin, case .range(let to, _, _) = spec.find else {
                flags.insert(.movableKeys)
                continue
            }
            if last >= 0, index == last + 1 {
                last = to >= 0 ? index + to : to
            }
        }
        // A finder that only tells what is done with the one key does not move it (SET, BITFIELD).
        let onlyVariesFlags =
            declaration.keys.count == 1 && declaration.keys[0].flags.contains(.variableFlags)
        if hasFinder, !onlyVariesFlags { flags.insert(.movableKeys) }
        for spec in declaration.keys {
            if case .index = spec.begin, case .range = spec.find {
                if spec.flags.contains(.incomplete) { flags.insert(.movableKeys) }
            } else {
                flags.insert(.movableKeys)
            }
        }
        if !declaration.keys.isEmpty { flags.insert(.touchesKeys) }
        return Command(
            handler: handler, flags: flags, arity: Int16(declaration.arity),
            firstKey: Int16(first), lastKey: Int16(last), keyStep: Int16(step), id: id,
            parent: parent == noParent ? id : parent, member: Int16(declaration.member),
            categories: declaration.categories)
    }

    /// Takes a command, by its full name, out of COMMAND's lists. It goes on working.
    public mutating func hide(_ fullName: String) {
        for id in 0..<count where declarations[id].fullName == fullName {
            commands[id].flags.insert(.unlisted)
        }
    }

    /// Renames or removes (`to` empty) a command, as `rename-command` asks. False when `from` is
    /// unknown or `to` is taken.
    public mutating func rename(_ from: Bytes, to: Bytes) -> Bool {
        guard from.count <= 16, to.count <= 16, let command = find(from) else { return false }
        if to.count > 0, find(to) != nil { return false }
        let id = command.pointee.id
        var kept: [Place] = []
        for index in 0..<CommandTable.placeCount where places[index].id != CommandTable.free {
            if places[index].id != id { kept.append(places[index]) }
            places[index] = Place()
        }
        if to.count > 0 {
            kept.append(Place(name: CommandTable.fold(to, parent: CommandTable.noParent), id: id))
        }
        for place in kept {
            var index = CommandTable.start(place.name)
            while places[index].id != CommandTable.free {
                index = (index &+ 1) & (CommandTable.placeCount &- 1)
            }
            places[index] = place
        }
        return true
    }
}
