// What INFO shows and the engine does not know: the process's own figures, the state of saving, of
// replication and of the cluster. Whoever owns the node fills it in before a report.
import Base

/// What only the process can tell.
public struct ProcessFacts: Sendable {
    /// Such as `Linux 6.1.0 x86_64`.
    public var operatingSystem = "Linux"
    public var processID: Int64 = 0
    public var executable = ""
    public var buildID = "0"
    public var supervised = "no"
    public var residentBytes = 0
    public var systemMemory = 0
    /// Seconds of processor time of the whole process, and of the thread that owns the data.
    public var systemSeconds = 0.0
    public var userSeconds = 0.0
    public var mainSystemSeconds = 0.0
    public var mainUserSeconds = 0.0

    public init() {}
}

/// The append-only file.
public struct LogFacts: Sendable {
    public var isEnabled = false
    public var isRewriting = false
    public var isScheduled = false
    public var lastRewriteSeconds: Int64 = -1
    public var rewriteSecondsSoFar: Int64 = -1
    public var lastRewriteFailed = false
    public var rewrites: Int64 = 0
    public var failedInARow: Int64 = 0
    public var isFailing = false
    public var currentSize: Int64 = 0
    public var baseSize: Int64 = 0
    public var buffered: Int64 = 0
    /// Writes whose sync has not been answered.
    public var pendingSyncs = 0
    public var delayedSyncs: Int64 = 0
    /// Bytes and commands that the last start cut from the end of the log.
    public var cutBytes: Int64 = 0
    public var cutCommands: Int64 = 0

    public init() {}
}

public struct InfoFacts: Sendable {
    public var process = ProcessFacts()
    public var rates = Samples.Rates()
    public var started = Now(instant: .start, wall: WallTime(milliseconds: 0))
    public var runID = ""
    public var configPath = ""
    /// How much longer a shutdown waits for replicas, while one does.
    public var shutdownMilliseconds: Int64?

    // MARK: Connections
    public var replicaSessions = 0
    public var busConnections = 0
    /// Links to targets of MIGRATE that are kept open.
    public var migrateLinks = 0

    // MARK: Memory
    public var backlogMemory = 0
    public var busMemory = 0
    /// Active defragmentation: its share of the processor, and how long it has run, in
    /// milliseconds: now, and in all.
    public var defragPercent = 0
    public var defragRunning: Int64 = 0
    public var defragTotal: Int64 = 0

    public var scripts = ScriptFigures()

    // MARK: Persistence
    public var isLoading = false
    public var isLoadingFromPrimary = false
    public var loadStarted: WallTime = WallTime(milliseconds: 0)
    public var loadTotalBytes: Int64 = 0
    public var loadedBytes: Int64 = 0
    public var isSaving = false
    public var saveSecondsSoFar: Int64 = -1
    public var lastSaveSeconds: Int64 = -1
    public var lastSaveAt: WallTime = WallTime(milliseconds: 0)
    public var lastSaveFailed = false
    public var saves: Int64 = 0
    public var loadedKeys: Int64 = 0
    public var expiredAtLoad: Int64 = 0

    public var log = LogFacts()

    // MARK: Replication
    /// All lines of the section after its title, as the machines of replication write them.
    public var replicationLines = ""
    public var fullSyncs = 0
    public var partialSyncs = 0
    public var refusedPartialSyncs = 0

    public init() {}
}
