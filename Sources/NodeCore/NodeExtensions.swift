// The command families that need the whole node, not only the engine.
import Engine

/// Everything that `NodeCore` itself declares.
public var nodeExtensions: [Extension] {
    [
        Extension("replication") { $0.registerReplicationCommands() },
        Extension("client") { $0.registerClientUnblock() },
        Extension("cluster") { $0.registerClusterCommands() },
        Extension("migrate") { $0.registerMigrateCommand() },
        Extension("config") { $0.registerConfigCommands() },
        Extension("access") { $0.registerAccessCommands() },
        Extension("info") { $0.registerInfoCommand() },
        Extension("memory") { $0.registerMemoryCommands() },
        Extension("debug") { $0.registerDebugCommand() },
        Extension("append-log") { $0.registerAppendLogCommands() },
        Extension("persistence") { $0.registerPersistenceCommands() },
    ]
}
