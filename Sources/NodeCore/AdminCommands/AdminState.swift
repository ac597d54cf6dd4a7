// What CONFIG, INFO and DEBUG keep in the node between calls, and the few things that they need
// at once from the process: a closure each, because a queued request would answer too late. The
// simulator leaves them nil.
import Base
import Engine
import Replication

/// What a primary's replicas asked for, counted.
struct SynchronisationCounts {
    var full = 0
    var partial = 0
    var refused = 0

    init() {}
    init(_ primary: PrimaryState) {
        full = primary.fullSyncs
        partial = primary.partialSyncs
        refused = primary.refusedPartialSyncs
    }
}

public struct AdminState {
    /// The rates of INFO stats.
    public var samples = Samples()
    /// What only the process knows of itself; refreshed by `refreshProcess` before it is shown.
    public var process = ProcessFacts()
    public var refreshProcess: ((inout ProcessFacts) -> Void)?
    /// Puts changed settings into effect in the process, or says why that is impossible (then
    /// CONFIG SET takes all of it back). Without it the change is queued as `applySettings`.
    public var applySettings: (([String]) -> (name: String, reason: String)?)?
    /// Bytes that the process holds for links to peers.
    public var linkMemory: (() -> Int)?
    /// Stands still for so many microseconds (DEBUG SLEEP).
    public var sleep: ((Int64) -> Void)?
    /// Serves clients for a moment while a script runs for long.
    public var serveMeanwhile: (() -> Void)?
    /// The contents of a file in the node's folder (DEBUG RELOAD NOSAVE).
    public var readFile: ((String) -> [UInt8]?)?

    /// The contents of a file, or why it cannot be read (ACL LOAD).
    public var readAccessFile: ((String) -> Result<[UInt8], FileFailure>)?
    /// Random bytes that nobody can guess (ACL GENPASS).
    public var secretBytes: ((Int) -> [UInt8])?

    /// Loads the append-only file again (DEBUG LOADAOF); what was wrong, or nil.
    public var reloadLog: (() -> String?)?

    /// DEBUG DROP-CLUSTER-PACKET-FILTER and CLOSE-CLUSTER-LINK-ON-PACKET-DROP.
    var droppedPacketType: Int?
    var dropsCloseLinks = false
    /// Synchronisations before the last CONFIG RESETSTAT.
    var synchronisations = SynchronisationCounts()

    /// Where the ticks and the clock stood at the start: their ratio is the unit of time.
    private var firstTicks: UInt64 = 0
    private var firstInstant: Instant?

    public init() {}

    /// Called by cron.
    mutating func sample(_ executor: ExecutorPointer, at now: Instant) {
        samples.take(executor.pointee.stats, at: now)
        let ticks = executor.pointee.timer.ticks()
        guard let firstInstant else {
            firstInstant = now
            firstTicks = ticks
            return
        }
        executor.pointee.timer.calibrate(
            ticks: ticks &- firstTicks,
            microseconds: now.microseconds - firstInstant.microseconds)
    }
}
