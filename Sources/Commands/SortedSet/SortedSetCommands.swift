// The sorted-set group: its object type, its format, and its commands.
import Engine
import Persistence
import Storage

extension Extension {
    /// ZADD and everything else about sorted sets.
    public static let sortedSets = Extension("sorted-set") { registry in
        registry.group = .sortedSet
        registry.objectType(.sortedSet, operations: .sortedSets, format: .sortedSets)
        registry.registerSortedSetAddCommands()
        registry.registerSortedSetReadCommands()
        registry.registerSortedSetRangeCommands()
        registry.registerSortedSetRemoveCommands()
        registry.registerSortedSetPopCommands()
        registry.registerSortedSetCombineCommands()
        registry.registerSortedSetIterationCommands()
    }
}
