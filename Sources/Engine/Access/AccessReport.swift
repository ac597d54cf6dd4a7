// What commands show of users: ACL GETUSER and ACL CAT.

/// A user as ACL GETUSER tells of it.
public struct UserFacts {
    public struct Selector {
        public let commands: [UInt8]
        public let keys: [UInt8]
        public let channels: [UInt8]
    }

    public let flags: [StaticString]
    public let passwords: [[UInt8]]
    /// The root first.
    public let selectors: [Selector]
}

extension ExecutorPointer {
    public func userFacts(_ name: [UInt8]) -> UserFacts? {
        guard let user = pointee.access.pointee.find(name) else { return nil }
        let definition = user.pointee.definition
        return UserFacts(
            flags: definition.flags, passwords: definition.passwords,
            selectors: definition.selectors.map { selector in
                UserFacts.Selector(
                    commands: selector.commandsText(pointee.access.pointee.catalogue),
                    keys: selector.keysText, channels: selector.channelsText)
            })
    }

    /// The full names of the commands of a category; nil when there is no such category.
    public func commands(inCategory name: [UInt8]) -> [[UInt8]]? {
        guard let category = CommandCatalogue.category(name) else { return nil }
        return pointee.access.pointee.catalogue.facts
            .filter { !$0.categories.isDisjoint(with: category) }.map(\.fullName)
    }
}
