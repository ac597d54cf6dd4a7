// All users of a node, by name, and the log of what they were denied. The user `default` is always
// there: every connection begins as it.
import Base

public typealias AccessUserPointer = UnsafeMutablePointer<AccessUser>

public struct AccessControl: ~Copyable {
    let catalogue: CommandCatalogue
    let plainUses: PlainUses
    /// In the order of their names.
    public private(set) var users: [AccessUserPointer]
    public let defaultUser: AccessUserPointer
    public var log = AccessLog()
    /// `acl-pubsub-default`: new users may use all channels.
    public var channelsByDefault = false

    init(_ table: UnsafeMutablePointer<CommandTable>) {
        catalogue = CommandCatalogue(table)
        plainUses = PlainUses(catalogue)
        defaultUser = .allocate(capacity: 1)
        defaultUser.initialize(
            to: AccessUser(name: AccessControl.defaultName, .unlimited, catalogue))
        users = [defaultUser]
    }

    deinit {
        for user in users {
            user.deinitialize(count: 1)
            user.deallocate()
        }
    }

    static let defaultName = Array("default".utf8)

    public func find(_ name: [UInt8]) -> AccessUserPointer? {
        let index = place(of: name)
        return index < users.count && users[index].pointee.name == name ? users[index] : nil
    }

    /// The index of the first user whose name is not before `name`.
    private func place(of name: [UInt8]) -> Int {
        var low = 0
        var high = users.count
        while low < high {
            let middle = (low + high) / 2
            if users[middle].pointee.name.lexicographicallyPrecedes(name) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }

    /// Makes a user, or gives it another definition.
    mutating func set(_ name: [UInt8], _ definition: AccessDefinition) {
        if let known = find(name) { return known.pointee.set(definition, catalogue) }
        let user = AccessUserPointer.allocate(capacity: 1)
        user.initialize(to: AccessUser(name: name, definition, catalogue))
        users.insert(user, at: place(of: name))
    }

    /// Forgets a user; no session may be it any more.
    mutating func remove(_ user: AccessUserPointer) {
        invariant(user != defaultUser, "the default user stays")
        users.removeAll { $0 == user }
        user.deinitialize(count: 1)
        user.deallocate()
    }

    // MARK: Definitions

    var newDefinition: AccessDefinition { AccessDefinition(channelsByDefault: channelsByDefault) }

    /// The first offence, if any, leaves `definition` as it may be.
    func apply(
        _ word: [UInt8], to definition: inout AccessDefinition
    ) throws(AccessProblem) {
        try definition.apply(word, catalogue, channelsByDefault: channelsByDefault)
    }

    // MARK: Text

    /// `user name rules…` of each user, in the form of ACL LIST and of the ACL file.
    public var lines: [[UInt8]] { users.map { line($0) } }

    private func line(_ user: AccessUserPointer) -> [UInt8] {
        let words = [Array("user".utf8), user.pointee.name]
        return AccessSelector.joined(words + user.pointee.definition.rules(catalogue))
    }

    /// The same for a configuration file, whose words may need quotes.
    public var configurationLines: [String] {
        lines.map { line in
            line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
                .map { ConfigValue.quotedIfNeeded(Array($0)) }.joined(separator: " ")
        }
    }

    /// AUTH without a name makes no sense then.
    public var defaultNeedsNoPassword: Bool { defaultUser.pointee.definition.hasNoPassword }

    /// Whether there is nothing to write down: one user, as at the first start.
    public var isUntouched: Bool {
        users.count == 1 && defaultUser.pointee.definition == .unlimited
    }
}
