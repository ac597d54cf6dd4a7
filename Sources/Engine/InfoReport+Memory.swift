// INFO memory. `used_memory` is the data and everything that serves it: clients' buffers and the
// replication backlog. What replication holds does not count for `maxmemory`: giving up keys sends
// their DELs to the replicas, so counting it would feed on itself.
import Base
import Storage

extension ExecutorPointer {
    /// What sessions hold, replicas apart. Visits them all.
    public var sessionMemory: (normal: Int, replicas: Int) {
        var normal = 0
        var replicas = 0
        for index in 0..<pointee.sessions.count {
            let session = pointee.sessions[index]
            let size = session.memory
            if session.pointee.flags.contains(.replica) { replicas += size } else { normal += size }
        }
        return (normal, replicas)
    }

    /// Bytes of the stream that replicas have not been given yet; they share the backlog's memory.
    fileprivate var replicaStream: Int {
        var bytes = 0
        for index in 0..<pointee.sessions.count {
            let session = pointee.sessions[index]
            guard session.pointee.flags.contains(.replica), session.pointee.replicaSent >= 0 else {
                continue
            }
            bytes += Int(pointee.backlog.pointee.endOffset - session.pointee.replicaSent)
        }
        return bytes
    }

    /// What there is before the first client and the first key.
    var startupMemory: Int { pointee.commands.pointee.count * MemoryLayout<Command>.size }

    /// The memory that `maxmemory` limits. Clients' buffers are those of the last look.
    @inline(__always)
    public var limitedMemory: Int {
        pointee.keyspace.memory.used &+ pointee.clientMemory &+ startupMemory
    }
}

extension InfoReport {
    mutating func addMemory() {
        let keyspace = executor.pointee.keyspace
        let memory = keyspace.memory
        let sessions = executor.sessionMemory
        let tables = executor.startupMemory
        let buffers =
            sessions.normal + sessions.replicas + facts.backlogMemory + facts.busMemory
        let scripts = facts.scripts.scriptBytes + facts.scripts.libraryBytes
        let used = memory.used + buffers + tables + scripts
        let overhead = memory.tableBytes + buffers + tables + scripts
        let peak = max(used, memory.peak + buffers + tables + scripts)
        let dataset = max(0, used - overhead)
        let resident = max(facts.process.residentBytes, used)
        let limit = executor.pointee.settings.maxMemory
        title("Memory")
        self.memory("used_memory", used)
        self.memory("used_memory_rss", resident)
        self.memory("used_memory_peak", peak)
        line("used_memory_peak_perc", percent(used, of: peak))
        line("used_memory_overhead", overhead)
        line("used_memory_startup", tables)
        line("used_memory_dataset", dataset)
        line("used_memory_dataset_perc", percent(dataset, of: used - tables))
        line("allocator_allocated", memory.used)
        line("allocator_active", memory.reserved)
        line("allocator_resident", memory.reserved)
        self.memory("total_system_memory", facts.process.systemMemory)
        addScripts()
        self.memory("maxmemory", limit)
        line("maxmemory_policy", executor.pointee.settings.evictionPolicy.name)
        ratio("allocator_frag", memory.reserved, memory.used)
        ratio("allocator_rss", memory.reserved, memory.reserved)
        ratio("rss_overhead", resident, memory.reserved)
        line("mem_fragmentation_ratio", Double(resident) / Double(max(1, used)))
        line("mem_fragmentation_bytes", resident - used)
        line("mem_not_counted_for_evict", buffers - sessions.normal)
        line("mem_replication_backlog", facts.backlogMemory)
        line("mem_total_replication_buffers", facts.backlogMemory)
        line("mem_clients_slaves", sessions.replicas + executor.replicaStream)
        line("mem_clients_normal", sessions.normal)
        line("mem_cluster_links", facts.busMemory)
        line("mem_aof_buffer", 0)
        line("mem_allocator", "slab")
        line("active_defrag_running", facts.defragPercent)
        line("lazyfree_pending_objects", keyspace.lazyFreePending)
        line("lazyfreed_objects", keyspace.lazyFreed)
        line("hash_shapes", keyspace.hashShapes)
    }

    private mutating func addScripts() {
        let scripts = facts.scripts
        let states = scripts.evalMemory + scripts.functionMemory
        memory("used_memory_lua", scripts.evalMemory)
        line("used_memory_vm_eval", scripts.evalMemory)
        line("used_memory_scripts_eval", scripts.scriptBytes)
        line("number_of_cached_scripts", scripts.cachedScripts)
        line("number_of_functions", scripts.functions)
        line("number_of_libraries", scripts.libraries)
        line("used_memory_vm_functions", scripts.functionMemory)
        memory("used_memory_vm_total", states)
        line("used_memory_functions", scripts.libraryBytes)
        memory("used_memory_scripts", scripts.scriptBytes + scripts.libraryBytes)
    }

    private mutating func ratio(_ name: String, _ larger: Int, _ smaller: Int) {
        line(name + "_ratio", Double(larger) / Double(max(1, smaller)))
        line(name + "_bytes", larger - smaller)
    }

    private func percent(_ part: Int, of whole: Int) -> String {
        MemoryText.fixed(Double(part) / Double(max(1, whole)) * 100, 2) + "%"
    }
}
