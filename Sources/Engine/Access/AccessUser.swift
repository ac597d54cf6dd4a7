// A user: whether one may log in as it, with which passwords, and what it may do. Its definition is
// a value, so that a change is tried on a copy and counts as a whole or not at all.
import Base

struct AccessDefinition: Equatable {
    enum Sanitize { case unsaid, skipped, done }

    var isOn = false
    /// Any password will do.
    var hasNoPassword = false
    var sanitize = Sanitize.unsaid
    /// Hashes, in hexadecimal digits.
    var passwords: [[UInt8]] = []
    /// The first is the root.
    private(set) var selectors: [AccessSelector]

    /// A new user may do nothing.
    init(channelsByDefault: Bool) {
        selectors = [AccessSelector(channelsByDefault: channelsByDefault)]
    }

    /// The default user of a server that says nothing of users.
    static let unlimited: AccessDefinition = {
        var user = AccessDefinition(channelsByDefault: true)
        user.isOn = true
        user.hasNoPassword = true
        user.selectors[0].hasAllKeys = true
        user.selectors[0].hasAllCommands = true
        user.selectors[0].allowsFuture = true
        user.selectors[0].commands = .all
        return user
    }()

    var root: AccessSelector { selectors[0] }

    /// May do everything with everything.
    var isUnlimited: Bool {
        selectors.contains { $0.hasAllCommands && $0.hasAllKeys && $0.hasAllChannels }
    }

    mutating func apply(
        _ word: [UInt8], _ catalogue: CommandCatalogue?, channelsByDefault: Bool
    ) throws(AccessProblem) {
        switch try UserRule.parse(word) {
        case .nothing: break
        case .on: isOn = true
        case .off: isOn = false
        case .skipSanitize: sanitize = .skipped
        case .sanitize: sanitize = .done
        case .noPassword:
            hasNoPassword = true
            passwords = []
        case .resetPasswords:
            hasNoPassword = false
            passwords = []
        case .addPassword(let hash):
            if !passwords.contains(hash) { passwords.append(hash) }
            hasNoPassword = false
        case .removePassword(let hash):
            guard let index = passwords.firstIndex(of: hash) else { throw .noSuchPassword }
            passwords.remove(at: index)
        case .selector(let rules):
            var selector = AccessSelector(channelsByDefault: channelsByDefault)
            for rule in rules { try selector.apply(try SelectorRule.parse(rule), catalogue) }
            selectors.append(selector)
        case .clearSelectors:
            selectors.removeSubrange(1...)
        case .reset:
            self = AccessDefinition(channelsByDefault: channelsByDefault)
            sanitize = .done
        case .root(let rule):
            try selectors[0].apply(rule, catalogue)
        }
    }

    /// The words before passwords and selectors.
    var flags: [StaticString] {
        var out: [StaticString] = [isOn ? "on" : "off"]
        if hasNoPassword { out.append("nopass") }
        switch sanitize {
        case .unsaid: break
        case .skipped: out.append("skip-sanitize-payload")
        case .done: out.append("sanitize-payload")
        }
        return out
    }

    /// The rules that make this user, as words.
    func rules(_ catalogue: CommandCatalogue) -> [[UInt8]] {
        var words = flags.map { Bytes($0).array }
        words += passwords.map { [UInt8(ascii: "#")] + $0 }
        words.append(root.text(catalogue))
        for selector in selectors.dropFirst() {
            words.append(
                [UInt8(ascii: "(")] + selector.text(catalogue) + [UInt8(ascii: ")")])
        }
        return words
    }

    /// The channel patterns of all selectors; nil when one of them allows every channel.
    var channels: [[UInt8]]? {
        if selectors.contains(where: \.hasAllChannels) { return nil }
        return selectors.flatMap(\.channels)
    }
}

/// A user as sessions point to it. What each command costs is worked out beforehand.
public struct AccessUser: ~Copyable {
    public let name: [UInt8]
    var definition: AccessDefinition
    /// For each command: allowed, whatever its arguments are.
    private let free: UnsafeMutablePointer<UInt64>
    private var plain: PlainKeys
    public private(set) var isUnlimited = false

    init(name: [UInt8], _ definition: AccessDefinition, _ catalogue: CommandCatalogue) {
        self.name = name
        self.definition = definition
        free = .allocate(capacity: CommandBits.words)
        plain = PlainKeys(definition, catalogue)
        update(catalogue)
    }

    deinit { free.deallocate() }

    mutating func set(_ definition: AccessDefinition, _ catalogue: CommandCatalogue) {
        self.definition = definition
        plain = PlainKeys(definition, catalogue)
        update(catalogue)
    }

    private mutating func update(_ catalogue: CommandCatalogue) {
        isUnlimited = definition.isUnlimited
        free.initialize(repeating: 0, count: CommandBits.words)
        for selector in definition.selectors {
            let bits = selector.freeCommands(catalogue)
            for (index, word) in bits.words.enumerated() { free[index] |= word }
        }
    }

    @inline(__always)
    func mayRunAnyhow(_ id: UInt16) -> Bool {
        free[Int(id &>> 6)] & (1 &<< UInt64(id & 63)) != 0
    }

    /// True when a look at plain arguments is enough to allow the call.
    @inline(__always)
    func certainlyMayRun(
        _ command: UnsafeMutablePointer<Command>, _ use: KeyUse,
        _ arguments: UnsafePointer<Bytes>, _ count: Int
    ) -> Bool { plain.grants(command, use, arguments, count) }

    public var nameText: String { String(decoding: name, as: UTF8.self) }
    /// Clients are this user without asking.
    var isOpen: Bool { definition.isOn && definition.hasNoPassword }
}
