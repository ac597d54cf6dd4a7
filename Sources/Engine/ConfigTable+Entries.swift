// The directives that have an effect. Defaults are those of `Settings()`.
import Base
import Storage

extension ConfigTable {
    /// All directives, in the order in which a rewritten file gets new lines.
    public static let entries: [ConfigEntry] = {
        var table = ConfigEntries()
        addConnection(&table)
        addProcess(&table)
        addMemory(&table)
        addSnapshots(&table)
        addLog(&table)
        addReplication(&table)
        addCluster(&table)
        addLimits(&table)
        addObservation(&table)
        addInert(&table)
        addUnsupported(&table)
        return table.all
    }()

    static let intMax = Int(Int32.max)

    private static func addConnection(_ table: inout ConfigEntries) {
        addBind(&table)
        table.number("port", \.port, 0...65535, flags: [.process])
        table.text("bind-source-addr", \.bindSourceAddress)
        table.text("unixsocket", \.unixSocket, flags: [.immutable])
        table.number(
            "unixsocketperm", \.unixSocketPermissions, 0...0o777, .octal, flags: [.immutable])
        table.number("tcp-backlog", \.tcpBacklog, 0...intMax, flags: [.immutable])
        table.number("tcp-keepalive", \.tcpKeepAlive, 0...intMax)
        table.number("timeout", \.timeout, 0...intMax)
        table.number("maxclients", \.maxClients, 1...Int(UInt32.max), flags: [.process])
        table.bool("protected-mode", \.protectedMode)
        table.text("requirepass", \.requirePassword, flags: [.sensitive])
        table.text("aclfile", \.accessFile, flags: [.immutable])
        table.number("acllog-max-len", \.accessLogLength, 0...Int.max)
        table.choice(
            "acl-pubsub-default", \.channelsByDefault, ["allchannels", "resetchannels"])
        let guarded = ["no", "yes", "local"]
        table.choice("enable-debug-command", \.enableDebugCommand, guarded, flags: [.immutable])
        table.choice("enable-module-command", \.enableModuleCommand, guarded, flags: [.immutable])
        table.choice(
            "enable-protected-configs", \.enableProtectedConfigs, guarded, flags: [.immutable])
        addOutputLimits(&table)
        table.number(
            "client-query-buffer-limit", \.queryBufferLimit, 1 << 20...Int.max, .memory)
        table.number("proto-max-bulk-len", \.maxBulkLength, 1 << 20...Int.max, .memory)
    }

    private static func addProcess(_ table: inout ConfigEntries) {
        table.number("databases", \.databases, 1...intMax, flags: [.immutable])
        table.number("hz", \.hz, 0...intMax)
        table.bool("dynamic-hz", \.dynamicHz)
        table.bool("daemonize", \.daemonize, flags: [.immutable])
        table.choice(
            "supervised", \.supervised, ["upstart", "systemd", "auto", "no"], flags: [.immutable])
        table.text("pidfile", \.pidFile, flags: [.immutable])
        table.text("logfile", \.logFile, emptyIsUnset: false, flags: [.immutable])
        table.choice(
            "loglevel", ["debug", "verbose", "notice", "warning"], flags: [.process],
            get: { settings in
                switch settings.logLevel {
                case .debug: "debug"
                case .verbose: "verbose"
                case .notice: "notice"
                case .warning, .nothing: "warning"
                }
            },
            set: { settings, name in
                let levels: [String: LogLevel] = [
                    "debug": .debug, "verbose": .verbose, "notice": .notice,
                ]
                settings.logLevel = levels[name] ?? .warning
            })
        table.bool("always-show-logo", \.alwaysShowLogo, flags: [.immutable])
        addDirectory(&table)
        table.number("shutdown-timeout", \.shutdownTimeout, 0...intMax)
        addShutdownSignal(&table, "shutdown-on-sigint", \.shutdownOnSIGINT)
        addShutdownSignal(&table, "shutdown-on-sigterm", \.shutdownOnSIGTERM)
        table.number("active-expire-effort", \.activeExpireEffort, 1...10)
        table.bool("activerehashing", \.activeRehashing)
        table.bool("activedefrag", \.activeDefrag)
        table.number("active-defrag-cycle-min", \.defragCycleMin, 1...99)
        table.number("active-defrag-cycle-max", \.defragCycleMax, 1...99)
        table.number("active-defrag-threshold-lower", \.defragThresholdLower, 0...1000)
        table.number("active-defrag-threshold-upper", \.defragThresholdUpper, 0...1000)
        table.number(
            "active-defrag-ignore-bytes", \.defragIgnoreBytes, 1...Int.max, .memory)
        table.bool("latency-tracking", \.latencyTracking)
        table.bool("set-proc-title", \.setProcTitle, flags: [.immutable])
        table.text(
            "proc-title-template", \.procTitleTemplate, emptyIsUnset: false, flags: [.process],
            check: titleProblem)
        table.choice(
            "oom-score-adj", \.oomScoreAdjust, ["no", "yes", "relative", "absolute"],
            flags: [.process])
        addScoreValues(&table)
        addPercentiles(&table)
    }

    private static func addMemory(_ table: inout ConfigEntries) {
        table.number("maxmemory", \.maxMemory, 0...Int.max, .memory)
        addClientMemory(&table)
        table.choice(
            "maxmemory-policy",
            [
                "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru",
                "allkeys-lfu", "allkeys-random", "noeviction",
            ],
            get: { $0.evictionPolicy.name },
            set: { settings, name in
                for policy in EvictionPolicy.allCases where policy.name == name {
                    settings.evictionPolicy = policy
                }
            })
        table.number("maxmemory-samples", \.maxMemorySamples, 1...intMax)
        table.number("maxmemory-eviction-tenacity", \.evictionTenacity, 0...100)
        table.number("lfu-log-factor", \.lfuLogFactor, 0...intMax)
        table.number("lfu-decay-time", \.lfuDecayTime, 0...intMax)
        table.bool("lazyfree-lazy-eviction", \.lazyEviction)
        table.bool("lazyfree-lazy-expire", \.lazyExpire)
        table.bool("lazyfree-lazy-server-del", \.lazyServerDelete)
        table.bool("lazyfree-lazy-user-del", \.lazyUserDelete)
        table.bool("lazyfree-lazy-user-flush", \.lazyUserFlush)
    }

    private static func addSnapshots(_ table: inout ConfigEntries) {
        addSave(&table)
        table.text("dbfilename", \.dbFilename, emptyIsUnset: false, flags: [.protected]) { name in
            isBaseName(name) ? nil : "dbfilename can't be a path, just a filename"
        }
        table.number(
            "key-load-delay", \.keyLoadDelay, Int(Int32.min)...intMax, flags: [.hidden])
        table.number(
            "loading-process-events-interval-bytes", \.loadingInterval, 1024...intMax,
            flags: [.hidden])
        table.bool("rdbcompression", \.rdbCompression)
        table.bool("rdbchecksum", \.rdbChecksum, flags: [.immutable])
        table.bool("rdb-del-sync-files", \.rdbDelSyncFiles)
        table.number(
            "rdb-key-save-delay", \.rdbKeySaveDelay, Int(Int32.min)...intMax, flags: [.hidden])
        table.bool("stop-writes-on-bgsave-error", \.stopWritesOnSaveError)
        table.choice(
            "sanitize-dump-payload", \.sanitizeDumpPayload, ["no", "yes", "clients"])
    }

    private static func addReplication(_ table: inout ConfigEntries) {
        addReplicaOf(&table)
        table.text("masteruser", \.masterUser, flags: [.sensitive])
        table.text("masterauth", \.masterAuth, flags: [.sensitive])
        table.bool(
            "replica-serve-stale-data", \.replicaServeStaleData, alias: "slave-serve-stale-data")
        table.bool("replica-read-only", \.replicaReadOnly, alias: "slave-read-only")
        table.bool(
            "replica-ignore-maxmemory", \.replicaIgnoreMaxMemory, alias: "slave-ignore-maxmemory")
        table.bool("replica-lazy-flush", \.replicaLazyFlush, alias: "slave-lazy-flush")
        table.bool("replica-announced", \.replicaAnnounced)
        table.bool("replica-ignore-disk-write-errors", \.replicaIgnoreDiskWriteErrors)
        table.number("replica-priority", \.replicaPriority, 0...intMax, alias: "slave-priority")
        table.text("replica-announce-ip", \.replicaAnnounceIP, alias: "slave-announce-ip")
        table.number(
            "replica-announce-port", \.replicaAnnouncePort, 0...65535,
            alias: "slave-announce-port")
        table.number(
            "min-replicas-to-write", \.minReplicasToWrite, 0...intMax,
            alias: "min-slaves-to-write")
        table.number(
            "min-replicas-max-lag", \.minReplicasMaxLag, 0...intMax, alias: "min-slaves-max-lag")
        table.number("min-replicas-ack", \.minReplicasAck, 0...intMax)
        table.number("min-replicas-ack-timeout", \.minReplicasAckTimeout, 0...intMax)
        table.number("repl-timeout", \.replicationTimeout, 1...intMax)
        table.number(
            "repl-ping-replica-period", \.replicationPingPeriod, 1...intMax,
            alias: "repl-ping-slave-period")
        table.number("repl-backlog-size", \.backlogSize, 1...Int.max, .memory)
        table.number("repl-backlog-ttl", \.backlogTTL, 0...Int.max)
        table.bool("repl-disable-tcp-nodelay", \.replicationDisableNoDelay)
        table.bool("repl-diskless-sync", \.disklessSync)
        table.number("repl-diskless-sync-delay", \.disklessSyncDelay, 0...intMax)
        table.number("repl-diskless-sync-max-replicas", \.disklessSyncMaxReplicas, 0...intMax)
        table.choice(
            "repl-diskless-load", \.disklessLoad, ["disabled", "on-empty-db", "swapdb"],
            flags: [.denyLoading])
        table.choice(
            "propagation-error-behavior", \.propagationErrorBehavior,
            ["ignore", "panic", "panic-on-replicas"])
    }

    private static func addCluster(_ table: inout ConfigEntries) {
        table.bool("cluster-enabled", \.clusterEnabled, flags: [.immutable])
        table.text(
            "cluster-config-file", \.clusterConfigFile, emptyIsUnset: false, flags: [.immutable])
        table.number("cluster-node-timeout", \.clusterNodeTimeout, 0...Int.max)
        table.number("cluster-port", \.clusterPort, 0...65535, flags: [.immutable])
        table.number("cluster-migration-barrier", \.clusterMigrationBarrier, 0...intMax)
        table.bool("cluster-allow-replica-migration", \.clusterAllowReplicaMigration)
        table.number(
            "cluster-replica-validity-factor", \.clusterReplicaValidityFactor, 0...intMax,
            alias: "cluster-slave-validity-factor")
        table.bool(
            "cluster-replica-no-failover", \.clusterReplicaNoFailover,
            alias: "cluster-slave-no-failover")
        table.bool("cluster-require-full-coverage", \.clusterRequireFullCoverage)
        table.bool("cluster-allow-reads-when-down", \.clusterAllowReadsWhenDown)
        table.bool("cluster-allow-pubsubshard-when-down", \.clusterAllowPubsubshardWhenDown)
        table.text("cluster-announce-ip", \.clusterAnnounceIP)
        table.text("cluster-announce-hostname", \.clusterAnnounceHostname, check: hostnameProblem)
        table.text(
            "cluster-announce-human-nodename", \.clusterAnnounceHumanNodename,
            check: nodenameProblem)
        table.number("cluster-announce-port", \.clusterAnnouncePort, 0...65535)
        table.number("cluster-announce-tls-port", \.clusterAnnounceTLSPort, 0...65535)
        table.number("cluster-announce-bus-port", \.clusterAnnounceBusPort, 0...65535)
        table.choice(
            "cluster-preferred-endpoint-type", \.clusterPreferredEndpointType,
            ["ip", "hostname", "unknown-endpoint"])
        table.number(
            "cluster-link-sendbuf-limit", \.clusterLinkSendBufferLimit, 0...Int.max, .memory)
        table.number("cluster-ping-interval", \.clusterPingInterval, 0...Int.max, flags: [.hidden])
        table.bool(
            "cluster-allow-empty-primary-restart", \.clusterAllowEmptyPrimaryRestart)
        table.bool("cluster-slot-stats-enabled", \.clusterSlotStats)
    }

    private static func addLimits(_ table: inout ConfigEntries) {
        let long = 0...Int.max
        table.number(
            "hash-max-listpack-entries", \.limits.hashEntries, long,
            alias: "hash-max-ziplist-entries")
        table.number(
            "hash-max-listpack-value", \.limits.hashValue, long, .memory,
            alias: "hash-max-ziplist-value")
        table.number(
            "list-max-listpack-size", \.limits.listSize, Int(Int32.min)...intMax,
            alias: "list-max-ziplist-size")
        table.number("list-compress-depth", \.limits.listCompressDepth, 0...intMax)
        table.number("set-max-intset-entries", \.limits.setIntset, long)
        table.number("set-max-listpack-entries", \.limits.setEntries, long)
        table.number("set-max-listpack-value", \.limits.setValue, long)
        table.number(
            "zset-max-listpack-entries", \.limits.zsetEntries, long,
            alias: "zset-max-ziplist-entries")
        table.number(
            "zset-max-listpack-value", \.limits.zsetValue, long, .memory,
            alias: "zset-max-ziplist-value")
        table.number("hll-sparse-max-bytes", \.limits.hllSparseBytes, long, .memory)
        table.number("stream-node-max-bytes", \.limits.streamNodeBytes, long, .memory)
        table.number("stream-node-max-entries", \.limits.streamNodeEntries, long)
    }

    // MARK: Checks

    static func isBaseName(_ name: String) -> Bool {
        !name.contains("/") && !name.contains("\\")
    }

    @Sendable
    static func hostnameProblem(_ name: String) -> String? {
        if name.utf8.count >= 256 { return "Hostnames must be less than 256 characters" }
        let isFine = name.utf8.allSatisfy { byte in
            (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90)
                || (byte >= 97 && byte <= 122) || byte == 45 || byte == 46
        }
        return isFine
            ? nil : "Hostnames may only contain alphanumeric characters, hyphens or dots"
    }

    /// Bytes that would break a line of CLUSTER NODES or of nodes.conf are refused.
    @Sendable
    static func nodenameProblem(_ name: String) -> String? {
        let isFine = name.utf8.allSatisfy { byte in
            byte >= 33 && byte <= 126 && !"!\"#$%&'()*+;:<>?@[]{|}=,\\".utf8.contains(byte)
        }
        return isFine ? nil : "Announced human node name contained invalid character"
    }
}

extension EvictionPolicy {
    /// Its name in the configuration.
    public var name: String {
        switch self {
        case .noEviction: "noeviction"
        case .allKeysLRU: "allkeys-lru"
        case .allKeysLFU: "allkeys-lfu"
        case .allKeysRandom: "allkeys-random"
        case .volatileLRU: "volatile-lru"
        case .volatileLFU: "volatile-lfu"
        case .volatileRandom: "volatile-random"
        case .volatileTTL: "volatile-ttl"
        }
    }
}
