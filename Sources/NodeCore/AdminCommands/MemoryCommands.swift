// MEMORY: what a key costs, where the memory of the server is, and whether something looks wrong.
import Base
import Commands
import Engine
import RESP
import Storage

extension Registry {
    mutating func registerMemoryCommands() {
        group = .server
        command(
            "memory", since: "4.0.0", arity: -2,
            summary: "A container for memory diagnostics commands",
            complexity: "Depends on subcommand."
        ) { _ in }

        command(
            "doctor", of: "memory", since: "4.0.0", arity: 2,
            summary: "Outputs memory problems report",
            complexity: "O(1)",
            tips: """
            nondeterministic_output
            request_policy:all_shards
            response_policy:special
            """
        ) { memoryDoctor(Call($0)) }

        command(
            "help", of: "memory", since: "4.0.0", arity: 2, [.loading, .stale],
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)"
        ) { memoryHelp(Call($0)) }

        command(
            "malloc-stats", of: "memory", since: "4.0.0", arity: 2,
            summary: "Show allocator internal stats",
            complexity: "Depends on how much memory is allocated, could be slow",
            tips: """
            nondeterministic_output
            request_policy:all_shards
            response_policy:special
            """
        ) { memoryMallocStats(Call($0)) }

        command(
            "purge", of: "memory", since: "4.0.0", arity: 2,
            summary: "Ask the allocator to release memory",
            complexity: "Depends on how much memory is allocated, could be slow",
            tips: """
            request_policy:all_shards
            response_policy:all_succeeded
            """
        ) { memoryPurge(Call($0)) }

        command(
            "stats", of: "memory", since: "4.0.0", arity: 2,
            summary: "Show memory usage details",
            complexity: "O(1)",
            tips: """
            nondeterministic_output
            request_policy:all_shards
            response_policy:special
            """
        ) { memoryStats(Call($0)) }

        command(
            "usage", of: "memory", since: "4.0.0", arity: -3, [.readonly], keys: [.range(2, [.RO])],
            syntax: "key [SAMPLES count:integer]",
            summary: "Estimate the memory usage of a key",
            complexity: "O(N) where N is the number of samples."
        ) { memoryUsage(Call($0)) }
    }
}

/// Elements of a collection that are measured unless SAMPLES says otherwise.
private let defaultSamples = 5

private func memoryUsage(_ call: Call) {
    var samples = defaultSamples
    var index = 3
    while index < call.count {
        guard call[index].matches("samples"), index + 1 < call.count else {
            return call.reply.error(.syntax)
        }
        guard let count = call.integerOrReply(index + 1) else { return }
        guard count >= 0 else { return call.reply.error(.syntax) }
        samples = Int(count)
        index += 2
    }
    guard let entry = call.keyspace.find(call.key(2)) else { return call.reply.null() }
    call.reply.integer(call.keyspace.memoryUsage(entry, samples: samples))
}

private func memoryMallocStats(_ call: Call) {
    let memory = call.keyspace.memory
    call.reply.verbatim(
        """
        Slabs and large blocks: \(memory.used) bytes used, \(memory.reserved) bytes reserved
        Live blocks: \(memory.liveBlocks)
        Tables: \(memory.tableBytes) bytes

        """)
}

/// Empty slabs give their pages back by themselves; what is left to do is the lazy freeing.
private func memoryPurge(_ call: Call) {
    call.keyspace.drainLazyFree()
    call.keyspace.memory.resetPeak()
    call.reply.ok()
}

private func memoryDoctor(_ call: Call) {
    let memory = call.keyspace.memory
    guard memory.used >= 5 << 20 else {
        return call.reply.verbatim(
            """
            Hi Sam, this instance is empty or is using very little memory, my issues detector \
            can't be used in these conditions. Please, leave for your mission on Earth and fill \
            it with some data. The new Sam and I will be back to our programming as soon as I \
            finished rebooting.

            """)
    }
    var issues = ""
    if Double(memory.peak) / Double(memory.used) > 1.5 {
        issues += " * Peak memory: this instance used more than 150% of what it uses now.\n\n"
    }
    if memory.reserved - memory.used > 10 << 20,
        Double(memory.reserved) / Double(memory.used) > 1.4
    {
        issues += " * Room in slabs: much memory is held for blocks that were freed.\n\n"
    }
    guard !issues.isEmpty else {
        return call.reply.verbatim(
            """
            Hi Sam, I can't find any memory issue in your instance. I can only account for what \
            occurs on this base.

            """)
    }
    call.reply.verbatim(
        "Sam, I detected a few issues in this Redis instance memory implants:\n\n" + issues
            + "I'm here to keep you safe, Sam. I want to help you.\n")
}

private func memoryHelp(_ call: Call) {
    call.replyHelp([
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
    ])
}

// MARK: STATS

/// The figures are those of INFO, under other names.
private func memoryStats(_ call: Call) {
    let text = NodePointer.of(call).infoText(["memory"])
    var figures: [Substring: Substring] = [:]
    for line in text.split(whereSeparator: \.isNewline) {
        let parts = line.split(separator: ":", maxSplits: 1)
        if parts.count == 2 { figures[parts[0]] = parts[1] }
    }
    let keyspace = call.keyspace
    let databases = (0..<keyspace.databaseCount).filter { keyspace.count(database: $0) > 0 }
    let writer = MemoryStatsWriter(reply: call.reply, figures: figures)
    call.reply.map(27 + databases.count)
    writer.integers([
        ("peak.allocated", "used_memory_peak"), ("total.allocated", "used_memory"),
        ("startup.allocated", "used_memory_startup"),
        ("replication.backlog", "mem_replication_backlog"),
        ("clients.slaves", "mem_clients_slaves"), ("clients.normal", "mem_clients_normal"),
        ("cluster.links", "mem_cluster_links"), ("aof.buffer", "mem_aof_buffer"),
        ("lua.caches", "used_memory_scripts"), ("functions.caches", "used_memory_functions"),
    ])
    for database in databases {
        call.reply.bulk("db.\(database)")
        call.reply.map(3)
        call.reply.bulk("overhead.hashtable.main" as StaticString)
        call.reply.integer(keyspace.tableBytes(database: database))
        call.reply.bulk("overhead.hashtable.expires" as StaticString)
        call.reply.integer(keyspace.expiryIndexBytes(database: database))
        call.reply.bulk("overhead.hashtable.slot-to-keys" as StaticString)
        call.reply.integer(0)
    }
    writer.integers([("overhead.total", "used_memory_overhead")])
    let keys = databases.reduce(0) { $0 + keyspace.count(database: $1) }
    let used = writer.integer("used_memory") - writer.integer("used_memory_startup")
    writer.pair("keys.count", keys)
    writer.pair("keys.bytes-per-key", keys == 0 ? 0 : Int(used) / keys)
    writer.integers([("dataset.bytes", "used_memory_dataset")])
    writer.doubles([
        ("dataset.percentage", "used_memory_dataset_perc"),
        ("peak.percentage", "used_memory_peak_perc"),
    ])
    writer.integers([
        ("allocator.allocated", "allocator_allocated"), ("allocator.active", "allocator_active"),
        ("allocator.resident", "allocator_resident"),
    ])
    for (name, figure) in [
        ("allocator-fragmentation", "allocator_frag"), ("allocator-rss", "allocator_rss"),
        ("rss-overhead", "rss_overhead"),
    ] {
        writer.doubles([(name + ".ratio", figure + "_ratio")])
        writer.integers([(name + ".bytes", figure + "_bytes")])
    }
    writer.doubles([("fragmentation", "mem_fragmentation_ratio")])
    writer.integers([("fragmentation.bytes", "mem_fragmentation_bytes")])
}

private struct MemoryStatsWriter {
    let reply: ReplyWriter
    let figures: [Substring: Substring]

    func integer(_ figure: String) -> Int64 {
        figures[figure[...]].flatMap { Int64($0) } ?? 0
    }

    func pair(_ name: String, _ value: Int) {
        reply.bulk(name)
        reply.integer(value)
    }

    func integers(_ list: [(String, String)]) {
        for (name, figure) in list {
            reply.bulk(name)
            reply.integer(integer(figure))
        }
    }

    func doubles(_ list: [(String, String)]) {
        for (name, figure) in list {
            reply.bulk(name)
            let text = figures[figure[...]]?.filter { $0 != "%" } ?? "0"
            reply.double(Double(text) ?? 0)
        }
    }
}
