// The hash group: maps of fields to values under one key.
import Engine
import Persistence
import Storage

extension Extension {
    /// HSET, HGET and everything else about hashes.
    public static let hashes = Extension("hash") { registry in
        registry.group = .hash
        registry.objectType(.hash, operations: HashObject.operations, format: .hash)
        registry.registerHashReadCommands()
        registry.registerHashWriteCommands()
        registry.registerHashWalkCommands()
        registry.registerHashExpiryCommands()
        registry.registerHashTTLCommands()
        registry.registerHashGetAndChangeCommands()
        registry.registerHashSetExCommand()
    }
}
