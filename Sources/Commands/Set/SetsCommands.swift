// The set group: unordered collections of different members.
import Engine
import Persistence
import Storage

extension Extension {
    /// SADD, SINTER and everything else about sets.
    public static let sets = Extension("set") { registry in
        registry.group = .set
        registry.objectType(.set, operations: SetObject.operations, format: .set)
        registry.registerMemberCommands()
        registry.registerRandomMemberCommands()
        registry.registerSetAlgebraCommands()
    }
}
