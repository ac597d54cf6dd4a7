// The configuration in force, as plain fields: what `ConfigTable` parses into and the rest reads.
// Hot fields are trivial; texts and lists are for cold code. Names follow redis.conf.
import Base
import Storage

/// One class of `client-output-buffer-limit`, in bytes and seconds; 0 is no limit.
public struct OutputLimit: Sendable, Equatable {
    public var hard: Int
    public var soft: Int
    public var softSeconds: Int
    public init(hard: Int, soft: Int, softSeconds: Int) {
        self.hard = hard
        self.soft = soft
        self.softSeconds = softSeconds
    }
}

public struct Settings {
    // MARK: Read while commands run
    public var maxMemory: Int = 0
    public var evictionPolicy: EvictionPolicy = .noEviction
    public var maxMemorySamples = 5
    public var evictionTenacity = 10
    public var maxBulkLength = 512 << 20
    public var queryBufferLimit = 1 << 30
    public var lfuLogFactor = 10
    public var lfuDecayTime = 1
    public var lazyExpire = false
    public var lazyEviction = false
    public var lazyServerDelete = false
    public var lazyUserDelete = false
    public var lazyUserFlush = false
    public var replicaReadOnly = true
    public var replicaServeStaleData = true
    public var replicaIgnoreMaxMemory = true
    public var minReplicasToWrite = 0
    public var minReplicasMaxLag = 10
    public var minReplicasAck = 0
    public var minReplicasAckTimeout = 5000
    public var clusterEnabled = false
    public var clusterAllowReadsWhenDown = false
    public var clusterAllowPubsubshardWhenDown = true
    public var stopWritesOnSaveError = true
    public var latencyTracking = true
    /// Milliseconds after which others are answered while a script runs; 0: never.
    public var busyReplyThreshold = 5000
    /// Up to which size collections stay compact.
    public var limits = EncodingLimits()

    // MARK: Connections
    public var port = 6379
    public var bind: [String] = ["*", "-::*"]
    public var bindSourceAddress = ""
    public var unixSocket = ""
    public var unixSocketPermissions = 0
    public var tcpBacklog = 511
    public var tcpKeepAlive = 300
    public var timeout = 0
    public var maxClients = 10000
    public var protectedMode = true
    public var requirePassword = ""
    /// `user` lines, as words: the name, then rules.
    public var users: [[[UInt8]]] = []
    /// The file that users are kept in; empty for none.
    public var accessFile = ""
    public var accessLogLength = 128
    /// `allchannels` or `resetchannels`: what new users may listen to.
    public var channelsByDefault = "resetchannels"
    public var enableDebugCommand = "no"
    public var enableModuleCommand = "no"
    public var enableProtectedConfigs = "no"
    public var normalOutputLimit = OutputLimit(hard: 0, soft: 0, softSeconds: 0)
    public var replicaOutputLimit = OutputLimit(hard: 256 << 20, soft: 64 << 20, softSeconds: 60)
    public var pubsubOutputLimit = OutputLimit(hard: 32 << 20, soft: 8 << 20, softSeconds: 60)
    public var maxMemoryClients = 0
    public var maxMemoryClientsIsPercentage = false

    // MARK: Process
    /// A sentinel: no data, other commands.
    public var isSentinel = false
    public var databases = 16
    public var hz = 10
    public var dynamicHz = true
    public var daemonize = false
    public var supervised = "no"
    public var pidFile = ""
    public var logFile = ""
    public var logLevel: LogLevel = .notice
    public var syslogEnabled = false
    public var alwaysShowLogo = false
    public var directory = "."
    public var shutdownTimeout = 10
    public var shutdownOnSIGINT = "default"
    public var shutdownOnSIGTERM = "default"
    public var procTitleTemplate = "{title} {listen-addr} {server-mode}"
    public var setProcTitle = true
    public var oomScoreAdjust = "no"
    /// Of a primary, a replica, a child.
    public var oomScoreValues = [0, 200, 800]
    public var activeExpireEffort = 1
    public var activeRehashing = true
    public var activeDefrag = false
    public var defragCycleMin = 1
    public var defragCycleMax = 25
    public var defragThresholdLower = 10
    public var defragThresholdUpper = 100
    public var defragIgnoreBytes = 100 << 20

    // MARK: Snapshots
    public var dbFilename = "dump.rdb"
    public var savePoints: [(seconds: Int, changes: Int)] = [(3600, 1), (300, 100), (60, 10000)]
    public var rdbCompression = true
    public var rdbChecksum = true
    public var rdbDelSyncFiles = false
    /// Microseconds that loading a file at the start takes for each key, also for tests; and the
    /// bytes after which clients are heard meanwhile.
    public var keyLoadDelay = 0
    public var loadingInterval = 2 << 20
    /// Microseconds that a snapshot takes for each key; for tests of what happens meanwhile.
    public var rdbKeySaveDelay = 0
    public var sanitizeDumpPayload = "no"

    // MARK: Append-only file
    public var appendOnly = false
    /// `always`, `everysec` or `no`.
    public var appendSync = "everysec"
    public var appendFilename = "appendonly.aof"
    public var appendFolder = "appendonlydir"
    public var noAppendSyncOnRewrite = false
    public var logLoadTruncated = true
    /// Larger ends than this are not cut without being asked.
    public var logRepairBound = 1 << 20
    public var logUsesPreamble = true
    public var logTimestamps = false
    public var logKeepsHistory = false
    public var logRewritePercentage = 100
    public var logRewriteMinSize = 64 << 20

    // MARK: Replication
    public var replicaOf: (host: String, port: Int)?
    public var masterUser = ""
    public var masterAuth = ""
    public var replicaPriority = 100
    public var replicaAnnounced = true
    public var replicaAnnounceIP = ""
    public var replicaAnnouncePort = 0
    public var replicationTimeout = 60
    public var replicationPingPeriod = 10
    public var replicationDisableNoDelay = false
    public var backlogSize = 1 << 20
    public var backlogTTL = 3600
    public var disklessSync = true
    public var disklessSyncDelay = 5
    public var disklessSyncMaxReplicas = 0
    public var disklessLoad = "disabled"
    public var replicaLazyFlush = false
    public var propagationErrorBehavior = "ignore"
    public var replicaIgnoreDiskWriteErrors = false

    // MARK: Cluster
    public var clusterConfigFile = "nodes.conf"
    public var clusterNodeTimeout = 15000
    public var clusterPort = 0
    public var clusterMigrationBarrier = 1
    public var clusterAllowReplicaMigration = true
    public var clusterReplicaValidityFactor = 10
    public var clusterReplicaNoFailover = false
    public var clusterRequireFullCoverage = true
    public var clusterAnnounceIP = ""
    public var clusterAnnounceHostname = ""
    public var clusterAnnounceHumanNodename = ""
    public var clusterAnnouncePort = 0
    public var clusterAnnounceTLSPort = 0
    public var clusterAnnounceBusPort = 0
    public var clusterPreferredEndpointType = "ip"
    public var clusterLinkSendBufferLimit = 0
    /// 0: derived from the node timeout, so that a hang is noticed soon after it.
    public var clusterPingInterval = 0
    public var clusterAllowEmptyPrimaryRestart = false

    // MARK: Watching the server at work
    public var notifiedEvents: KeyEventClass = []
    /// In milliseconds; 0 is off.
    public var latencyMonitorThreshold = 0
    /// In microseconds; -1 is off.
    public var slowLogThreshold = 10000
    public var slowLogLength = 128
    /// In bytes; -1 is off.
    public var largeRequestFrom = 1_048_576
    public var largeRequestLength = 128
    /// In bytes; -1 is off.
    public var largeReplyFrom = 1_048_576
    public var largeReplyLength = 128
    /// CLUSTER SLOT-STATS tells of processor time and traffic, not only of keys.
    public var clusterSlotStats = false
    /// 0 is no limit.
    public var trackingTableMaxKeys = 1_000_000

    // MARK: Kept for CONFIG only
    /// Values of the directives in `ConfigTable.inertDirectives` that are not the default.
    public var inertValues: [String: String] = [:]
    /// `rename-command` lines, in order; an empty new name removes the command.
    public var renamedCommands: [(from: String, to: String)] = []
    /// `latency-tracking-info-percentiles`.
    public var latencyPercentiles: [Double] = [50, 99, 99.9]

    public init() {}
}

extension Settings {
    /// `redis_mode` of INFO, `mode` of HELLO.
    public var mode: String {
        isSentinel ? "sentinel" : clusterEnabled ? "cluster" : "standalone"
    }
}
