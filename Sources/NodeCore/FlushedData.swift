// FLUSHALL and the file: the reference saves the empty data set at once, so that a restart does not
// bring back what was meant to be gone. Here the next iteration of the cron does it.
import Base
import Engine

extension NodePointer {
    /// Everything was flushed by a client or by our primary.
    func dataFlushed() {
        guard !pointee.loader.isBlocking, !pointee.log.isStarting else { return }
        // A save that runs writes what nobody wants any more.
        if case .file = pointee.snapshot.target, !pointee.snapshot.isCommitting {
            cancelSnapshot()
        }
        guard !settings.savePoints.isEmpty else { return }
        pointee.persistence.saveScheduled = true
        pointee.persistence.dirtySetAside += executor.pointee.dirty
        executor.pointee.dirty = 0
    }
}
