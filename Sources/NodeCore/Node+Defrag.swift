// Active defragmentation (`activedefrag yes`): when the slabs hold more free room than the settings
// bear, a walk over the keys moves blocks together. It takes a share of the processor between
// `active-defrag-cycle-min` and `-max`, the more the worse it is, in slices of half a millisecond
// at most. No clock is read: a slice is so many entries.
import Base
import Engine
import Storage

struct DefragJob {
    /// The share of the processor in percent while a walk runs, else 0.
    var percent = 0
    /// When the next slice, or the next look at the fragmentation, is due.
    var next: Instant = .start
    var started: Instant = .start
    /// Time of the walks that ended.
    var total = Milliseconds(0)
    /// Blocks moved before the running pass over the keyspace.
    var movedBefore = 0

    /// Between two slices.
    static let pause = Milliseconds(2)
    /// Entries that a slice visits for each percent of the processor.
    static let entriesPerPercent = 60
    /// Between two looks at the fragmentation.
    static let watch = Milliseconds(100)
    /// A pass that moved nothing is not repeated at once.
    static let rest = Milliseconds(10_000)
}

extension NodePointer {
    /// One slice, if one is due.
    func advanceDefrag() {
        guard executor.pointee.settings.activeDefrag else { return endDefrag(at: instant) }
        guard instant >= pointee.defrag.next else { return }
        let keyspace = executor.pointee.keyspace
        guard !keyspace.isSnapshotRunning, !pointee.loader.isBlocking else {
            pointee.defrag.next = instant + DefragJob.watch
            return
        }
        if pointee.defrag.percent == 0 {
            pointee.defrag.percent = defragPercent
            guard pointee.defrag.percent > 0 else {
                pointee.defrag.next = instant + DefragJob.watch
                return
            }
            pointee.defrag.started = instant
            pointee.defrag.movedBefore = keyspace.defragCounts.hits
        }
        let begun = executor.latencyStart()
        let effort = pointee.defrag.percent * DefragJob.entriesPerPercent
        let isComplete = keyspace.defragSlice(effort: effort)
        executor.noteLatency("active-defrag-cycle", since: begun)
        pointee.defrag.next = instant + DefragJob.pause
        if isComplete { endPass(keyspace) }
    }

    /// The walk came round: is another one worth it?
    private func endPass(_ keyspace: Keyspace) {
        let moved = keyspace.defragCounts.hits - pointee.defrag.movedBefore
        pointee.defrag.movedBefore = keyspace.defragCounts.hits
        let percent = defragPercent
        if moved == 0 || percent == 0 {
            endDefrag(at: instant)
            pointee.defrag.next = instant + (moved == 0 ? DefragJob.rest : DefragJob.watch)
        } else {
            pointee.defrag.percent = percent
        }
    }

    private func endDefrag(at now: Instant) {
        guard pointee.defrag.percent > 0 else { return }
        pointee.defrag.percent = 0
        pointee.defrag.total = pointee.defrag.total + (now - pointee.defrag.started)
    }

    /// How much of the processor the fragmentation is worth; 0 for none.
    private var defragPercent: Int {
        let memory = executor.pointee.keyspace.memory
        let wasted = memory.wasted
        guard wasted > executor.pointee.settings.defragIgnoreBytes else { return 0 }
        let share = Int(Double(wasted) / Double(Swift.max(1, memory.slabUsed)) * 100)
        let lower = executor.pointee.settings.defragThresholdLower
        let upper = executor.pointee.settings.defragThresholdUpper
        guard share >= lower else { return 0 }
        let least = executor.pointee.settings.defragCycleMin
        let most = Swift.max(least, executor.pointee.settings.defragCycleMax)
        guard share < upper else { return most }
        return least + (most - least) * (share - lower) / Swift.max(1, upper - lower)
    }

    /// When the loop has to come back for it; nil while nothing is under way.
    var nextDefrag: Instant? {
        executor.pointee.settings.activeDefrag && pointee.defrag.percent > 0
            ? pointee.defrag.next : nil
    }

    func addDefrag(_ facts: inout InfoFacts) {
        facts.defragPercent = pointee.defrag.percent
        let running =
            pointee.defrag.percent > 0 ? instant - pointee.defrag.started : Milliseconds(0)
        facts.defragRunning = running.count
        facts.defragTotal = (pointee.defrag.total + running).count
    }
}
