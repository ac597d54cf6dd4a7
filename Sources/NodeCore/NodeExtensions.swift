// The command families that need the whole node, not only the engine.
import Engine

/// Everything that `NodeCore` itself declares.
public var nodeExtensions: [Extension] {
    [
        Extension("replication") { $0.registerReplicationCommands() },
        Extension("client") { $0.registerClientUnblock() },
        Extension("cluster") { $0.registerClusterCommands() },
        Extension("migrate") { $0.registerMigrateCommand() },
        Extension("persistence") { $0.registerPersistenceCommands() },
    ]
}
