// maxmemory: before a command that may need memory runs, keys are given up as the policy says
// until the data and the clients' buffers fit. Those are looked at ten times a second only.
import Base
import Engine
import Storage

/// Frees memory until below `maxmemory`; false when that cannot be done.
func makeRoomForWrites(_ executor: ExecutorPointer) -> Bool {
    let limit = executor.pointee.settings.maxMemory
    guard limit > 0 else { return true }
    let keyspace = executor.pointee.keyspace
    if executor.limitedMemory <= limit { return true }
    guard !executor.pointee.alerts.contains(.isReplica),
        !executor.pointee.alerts.contains(.loading)
    else { return false }
    let policy = executor.pointee.settings.evictionPolicy
    let begun = executor.latencyStart()
    defer { executor.noteLatency("eviction-cycle", since: begun) }
    // Clients that track keys are told of each that goes, and what they are told takes memory:
    // that must not cost more keys.
    let target = keyspace.memory.used - (executor.limitedMemory - limit)
    // What waits to be freed goes before living keys do.
    while keyspace.memory.used > target, keyspace.lazyFreeSlice(effort: 10_000) {}
    while keyspace.memory.used > target {
        guard
            let victim = keyspace.evictionCandidate(
                policy, samples: executor.pointee.settings.maxMemorySamples)
        else { return false }
        victim.entry.key.array.withBytes { bytes in
            executor.evict(keyspace.key(bytes, database: victim.database))
        }
        while keyspace.memory.used > target, keyspace.lazyFreeSlice(effort: 10_000) {}
    }
    return true
}
