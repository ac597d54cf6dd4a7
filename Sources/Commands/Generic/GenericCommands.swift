// The generic group: commands on keys of any type. WAIT and MIGRATE need more than the data and
// are declared where the node is composed.
import Engine

extension Extension {
    /// DEL, EXPIRE, SCAN, RENAME, OBJECT, DUMP and their kin.
    public static let generic = Extension("generic") { registry in
        registry.group = .generic
        registry.registerKeyCommands()
        registry.registerPresenceCommands()
        registry.registerExpiryCommands()
        registry.registerTTLCommands()
        registry.registerRenameCommands()
        registry.registerIterationCommands()
        registry.registerObjectCommands()
        registry.registerDumpCommands()
        registry.registerSortCommands()
    }
}
