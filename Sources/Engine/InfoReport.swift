// INFO: sections of `name:value` lines. Names, order and formats are the reference's (7.0.15):
// monitoring systems parse them. Values are true; what does not exist here (Lua, forks, the log,
// tracking) is 0. The one section of our own tells of writes that were lost and where they are.
import Base
import Storage

public struct InfoReport {
    /// The sections in the order in which they are shown.
    static let sections = [
        "server", "clients", "memory", "persistence", "stats", "replication", "cpu",
        "module_list", "modules", "commandstats", "errorstats", "latencystats", "cluster",
        "keyspace", "martlet",
    ]
    /// Not among what INFO shows without arguments.
    private static let costly: Set<String> = ["modules", "commandstats", "latencystats"]

    let executor: ExecutorPointer
    let facts: InfoFacts
    var text = ""

    public init(_ executor: ExecutorPointer, _ facts: InfoFacts) {
        self.executor = executor
        self.facts = facts
    }

    /// The report of the sections that `words` name; none is `default`.
    public static func make(
        _ executor: ExecutorPointer, _ facts: InfoFacts, sections words: [String]
    ) -> String {
        var report = InfoReport(executor, facts)
        for section in chosen(words) { report.add(section) }
        return report.text
    }

    /// The sections that INFO's arguments mean, in order.
    static func chosen(_ words: [String]) -> [String] {
        var wanted: Set<String> = []
        for word in words.isEmpty ? ["default"] : words.map({ $0.lowercased() }) {
            switch word {
            case "default": wanted.formUnion(sections.filter { !costly.contains($0) })
            case "all": wanted.formUnion(sections.filter { $0 != "modules" })
            case "everything": wanted.formUnion(sections)
            default: wanted.insert(word)
            }
        }
        return sections.filter(wanted.contains)
    }

    private mutating func add(_ section: String) {
        // Modules have no fields of their own yet.
        guard section != "modules" else { return }
        if !text.isEmpty { text += "\r\n" }
        switch section {
        case "server": addServer()
        case "clients": addClients()
        case "memory": addMemory()
        case "persistence": addPersistence()
        case "stats": addStats()
        case "replication": addReplication()
        case "cpu": addProcessor()
        case "module_list": title("Modules")
        case "commandstats": addCommandStats()
        case "errorstats": addErrorStats()
        case "latencystats": addLatencyStats()
        case "cluster": addCluster()
        case "keyspace": addKeyspace()
        default: addOurs()
        }
    }

    mutating func title(_ name: String) { text += "# \(name)\r\n" }

    mutating func line(_ name: String, _ value: String) { text += "\(name):\(value)\r\n" }

    mutating func line(_ name: String, _ value: some BinaryInteger) {
        text += "\(name):\(value)\r\n"
    }

    mutating func line(_ name: String, _ value: Bool) { line(name, value ? 1 : 0) }

    mutating func line(_ name: String, _ value: Double, decimals: Int = 2) {
        line(name, MemoryText.fixed(value, decimals))
    }

    /// A line, and another with the same in human form.
    mutating func memory(_ name: String, _ bytes: Int) {
        line(name, bytes)
        line(name + "_human", MemoryText.human(bytes))
    }

    mutating func zeros(_ names: String...) { for name in names { line(name, 0) } }

    var now: Now { executor.pointee.now }

    // MARK: Server and clients

    private mutating func addServer() {
        let settings = executor.pointee.settings
        let up = Int64((now.instant - facts.started.instant).count / 1000)
        title("Server")
        line("redis_version", "\(Product.redisVersion)")
        line("redis_git_sha1", "00000000")
        line("redis_git_dirty", 0)
        line("redis_build_id", facts.process.buildID)
        line("redis_mode", settings.mode)
        line("os", facts.process.operatingSystem)
        line("arch_bits", Int.bitWidth)
        line("monotonic_clock", "POSIX clock_gettime")
        line("multiplexing_api", "epoll")
        line("atomicvar_api", "none")
        line("gcc_version", "0.0.0")
        line("process_id", facts.process.processID)
        line("process_supervised", facts.process.supervised)
        line("run_id", facts.runID)
        line("tcp_port", settings.port)
        line("server_time_usec", now.wall.milliseconds * 1000)
        line("uptime_in_seconds", up)
        line("uptime_in_days", up / 86400)
        line("hz", settings.hz)
        line("configured_hz", settings.hz)
        line("lru_clock", (now.wall.seconds) & 0xFF_FFFF)
        line("executable", facts.process.executable)
        line("config_file", facts.configPath)
        line("io_threads_active", 0)
        if let left = facts.shutdownMilliseconds { line("shutdown_in_milliseconds", left) }
    }

    private mutating func addClients() {
        var largestInput = 0
        var largestOutput = 0
        var inTimeoutTable = executor.pointee.blockedWithDeadline
        let sessions = executor.pointee.sessions.count
        for index in 0..<sessions {
            let session = executor.pointee.sessions[index]
            largestInput = max(largestInput, session.pointee.input.pointee.capacity)
            largestOutput = max(largestOutput, session.pointee.output.pointee.count)
            if case .wait(_, _, let deadline) = session.pointee.block, deadline != nil {
                inTimeoutTable += 1
            }
        }
        title("Clients")
        line("connected_clients", max(0, sessions - facts.replicaSessions))
        line("cluster_connections", facts.busConnections)
        line("maxclients", executor.pointee.settings.maxClients)
        line("client_recent_max_input_buffer", largestInput)
        line("client_recent_max_output_buffer", largestOutput)
        line(
            "blocked_clients",
            executor.pointee.blocked.count + executor.pointee.postponed.count)
        line("tracking_clients", executor.pointee.tracking.pointee.sessions.count)
        line("clients_in_timeout_table", inTimeoutTable)
        line("total_blocking_keys", executor.pointee.blockedKeyCount)
        line(
            "total_blocking_keys_on_nokey",
            executor.pointee.blockedKeysWakingWhenGone)
    }

    // MARK: Persistence

    private mutating func addPersistence() {
        title("Persistence")
        line("loading", facts.isLoading)
        line("async_loading", facts.isLoadingFromPrimary)
        zeros("current_cow_peak", "current_cow_size", "current_cow_size_age")
        line("current_fork_perc", 0.0)
        zeros("current_save_keys_processed", "current_save_keys_total")
        line("rdb_changes_since_last_save", executor.pointee.dirty)
        line("rdb_bgsave_in_progress", facts.isSaving)
        line("rdb_last_save_time", facts.lastSaveAt.seconds)
        line("rdb_last_bgsave_status", facts.lastSaveFailed ? "err" : "ok")
        line("rdb_last_bgsave_time_sec", facts.lastSaveSeconds)
        line("rdb_current_bgsave_time_sec", facts.saveSecondsSoFar)
        line("rdb_saves", facts.saves)
        line("rdb_last_cow_size", 0)
        line("rdb_last_load_keys_expired", facts.expiredAtLoad)
        line("rdb_last_load_keys_loaded", facts.loadedKeys)
        addLog()
        zeros("aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size")
        addLogSizes()
        guard facts.isLoading || facts.isLoadingFromPrimary else { return }
        let total = facts.loadTotalBytes
        let done = facts.loadedBytes
        let elapsed = max(0, now.wall.seconds - facts.loadStarted.seconds)
        line("loading_start_time", facts.loadStarted.seconds)
        line("loading_total_bytes", total)
        line("loading_rdb_used_mem", 0)
        line("loading_loaded_bytes", done)
        line("loading_loaded_perc", total > 0 ? Double(done) / Double(total) * 100 : 0)
        let left = Double(max(0, total - done))
        let remaining = elapsed == 0 ? 1 : Double(elapsed) * left / Double(done + 1)
        line("loading_eta_seconds", Int64(remaining))
    }

    private mutating func addLog() {
        let log = facts.log
        line("aof_enabled", log.isEnabled)
        line("aof_rewrite_in_progress", log.isRewriting)
        line("aof_rewrite_scheduled", log.isScheduled)
        line("aof_last_rewrite_time_sec", log.lastRewriteSeconds)
        line("aof_current_rewrite_time_sec", log.rewriteSecondsSoFar)
        line("aof_last_bgrewrite_status", log.lastRewriteFailed ? "err" : "ok")
        line("aof_rewrites", log.rewrites)
        line("aof_rewrites_consecutive_failures", log.failedInARow)
        line("aof_last_write_status", log.isFailing ? "err" : "ok")
    }

    private mutating func addLogSizes() {
        let log = facts.log
        guard log.isEnabled else { return }
        line("aof_current_size", log.currentSize)
        line("aof_base_size", log.baseSize)
        line("aof_pending_rewrite", 0)
        line("aof_buffer_length", log.buffered)
        line("aof_pending_bio_fsync", log.pendingSyncs)
        line("aof_delayed_fsync", log.delayedSyncs)
        line("aof_last_load_cut_bytes", log.cutBytes)
        line("aof_last_load_cut_commands", log.cutCommands)
    }

    // MARK: Statistics

    private mutating func addStats() {
        let stats = executor.pointee.stats
        title("Stats")
        line("total_connections_received", stats.connectionsReceived)
        line("total_commands_processed", stats.commandsProcessed)
        line("instantaneous_ops_per_sec", facts.rates.commands)
        line("total_net_input_bytes", stats.netInputBytes + stats.netReplicationInputBytes)
        line("total_net_output_bytes", stats.netOutputBytes + stats.netReplicationOutputBytes)
        line("total_net_repl_input_bytes", stats.netReplicationInputBytes)
        line("total_net_repl_output_bytes", stats.netReplicationOutputBytes)
        line("instantaneous_input_kbps", Double(facts.rates.inputBytes) / 1024)
        line("instantaneous_output_kbps", Double(facts.rates.outputBytes) / 1024)
        line(
            "instantaneous_input_repl_kbps", Double(facts.rates.replicationInputBytes) / 1024)
        line(
            "instantaneous_output_repl_kbps", Double(facts.rates.replicationOutputBytes) / 1024)
        line("rejected_connections", stats.rejectedConnections)
        line("sync_full", facts.fullSyncs)
        line("sync_partial_ok", facts.partialSyncs)
        line("sync_partial_err", facts.refusedPartialSyncs)
        line("expired_keys", stats.expiredKeys)
        line("expired_subkeys", stats.expiredFields)
        line("expired_stale_perc", 0.0)
        line("expired_time_cap_reached_count", stats.expireCyclesCutShort)
        line("expire_cycle_cpu_milliseconds", 0)
        line("evicted_keys", stats.evictedKeys)
        line("evicted_clients", stats.evictedClients)
        zeros("total_eviction_exceeded_time", "current_eviction_exceeded_time")
        line("keyspace_hits", stats.keyspaceHits)
        line("keyspace_misses", stats.keyspaceMisses)
        line("pubsub_channels", executor.pointee.pubsub.pointee.channels.count)
        line("pubsub_patterns", executor.pointee.pubsub.pointee.patterns.count)
        line("pubsubshard_channels", executor.pointee.pubsub.pointee.shardChannels.count)
        zeros("latest_fork_usec", "total_forks")
        line("migrate_cached_sockets", facts.migrateLinks)
        zeros("slave_expires_tracked_keys")
        let defrag = executor.pointee.keyspace.defragCounts
        line("active_defrag_hits", defrag.hits)
        line("active_defrag_misses", defrag.misses)
        line("active_defrag_key_hits", defrag.keyHits)
        line("active_defrag_key_misses", defrag.keyMisses)
        line("total_active_defrag_time", facts.defragTotal)
        line("current_active_defrag_time", facts.defragRunning)
        let tracking = executor.pointee.tracking
        line("tracking_total_keys", tracking.pointee.keyCount)
        line("tracking_total_items", tracking.pointee.items)
        line("tracking_total_prefixes", tracking.pointee.prefixCount)
        line("unexpected_error_replies", stats.unexpectedErrorReplies)
        line("total_error_replies", stats.errorReplies)
        line("acl_access_denied_auth", stats.deniedLogins)
        line("acl_access_denied_cmd", stats.deniedCommands)
        line("acl_access_denied_key", stats.deniedKeys)
        line("acl_access_denied_channel", stats.deniedChannels)
        line("dump_payload_sanitizations", stats.dumpPayloadSanitizations)
        line("total_reads_processed", stats.readsProcessed)
        line("total_writes_processed", stats.writesProcessed)
        zeros(
            "io_threaded_reads_processed", "io_threaded_writes_processed",
            "reply_buffer_shrinks", "reply_buffer_expands")
    }

    private mutating func addReplication() {
        title("Replication")
        text += facts.replicationLines
    }

    private mutating func addProcessor() {
        let process = facts.process
        title("CPU")
        line("used_cpu_sys", process.systemSeconds, decimals: 6)
        line("used_cpu_user", process.userSeconds, decimals: 6)
        line("used_cpu_sys_children", 0.0, decimals: 6)
        line("used_cpu_user_children", 0.0, decimals: 6)
        line("used_cpu_sys_main_thread", process.mainSystemSeconds, decimals: 6)
        line("used_cpu_user_main_thread", process.mainUserSeconds, decimals: 6)
    }

    // MARK: Commands

    /// Calls `body` with each command and its full name.
    private func forEachCommand(_ body: (UnsafeMutablePointer<Command>, String) -> Void) {
        let table = executor.pointee.commands
        for index in 0..<table.pointee.count {
            body(table.pointee.commands + index, table.pointee.declarations[index].fullName)
        }
    }

    private mutating func addCommandStats() {
        title("Commandstats")
        var lines = ""
        forEachCommand { command, name in
            let calls = command.pointee.calls
            let rejected = command.pointee.rejectedCalls
            let failed = command.pointee.failedCalls
            guard calls != 0 || rejected != 0 || failed != 0 else { return }
            let spent = Double(command.pointee.nanoseconds) / 1000
            let each = calls == 0 ? 0 : spent / Double(calls)
            lines += "cmdstat_\(name):calls=\(calls),usec=\(Int64(spent)),"
            lines += "usec_per_call=\(MemoryText.fixed(each, 2)),"
            lines += "rejected_calls=\(rejected),failed_calls=\(failed)\r\n"
        }
        text += lines
    }

    private mutating func addErrorStats() {
        title("Errorstats")
        let counts = executor.pointee.stats.errorsByCode
        for code in counts.keys.sorted() {
            line("errorstat_\(code)", "count=\(counts[code] ?? 0)")
        }
    }

    private mutating func addLatencyStats() {
        title("Latencystats")
        guard executor.pointee.settings.latencyTracking else { return }
        let percents = executor.pointee.settings.latencyPercentiles
        var lines = ""
        forEachCommand { command, name in
            guard !command.pointee.times.isEmpty else { return }
            let shown = percents.map { percent in
                let time = command.pointee.times.percentile(percent) / 1000
                return "p\(ConfigTable.percentileText(percent))=\(MemoryText.fixed(time, 3))"
            }
            lines += "latency_percentiles_usec_\(name):\(shown.joined(separator: ","))\r\n"
        }
        text += lines
    }

    // MARK: Cluster and key space

    private mutating func addCluster() {
        title("Cluster")
        line("cluster_enabled", executor.pointee.settings.clusterEnabled)
    }

    private mutating func addKeyspace() {
        title("Keyspace")
        let keyspace = executor.pointee.keyspace
        for database in 0..<keyspace.databaseCount where keyspace.count(database: database) > 0 {
            let ttl = keyspace.averageTTL(database: database, now: now.wall.milliseconds)
            line(
                "db\(database)",
                "keys=\(keyspace.count(database: database)),"
                    + "expires=\(keyspace.expiringCount(database: database)),avg_ttl=\(ttl),"
                    + "subexpiry=\(keyspace.expiringHashes(database: database))")
        }
    }

    private mutating func addOurs() {
        let stats = executor.pointee.stats
        title("\(Product.name)")
        line("martlet_version", "\(Product.version)")
        line("lost_write_files", stats.lostWriteFiles)
        line("lost_write_commands", stats.lostWriteCommands)
        line("query_buffer_limit_disconnections", stats.queryBufferDisconnections)
        line("output_buffer_limit_disconnections", stats.outputLimitDisconnections)
        line("protocol_errors", stats.protocolErrors)
    }
}
