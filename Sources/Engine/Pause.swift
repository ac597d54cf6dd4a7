// CLIENT PAUSE and the pauses that a hand-over needs: which commands wait, and until when. Waiting
// commands stay in their sessions' input and run when the pause ends.
import Base

extension ExecutorPointer {
    /// Pauses clients; a longer or stricter pause that is in force stays.
    public func pauseClients(_ mode: PauseMode, until end: Instant) {
        invariant(mode != .none, "a pause needs a mode")
        if mode.rawValue > pointee.pauseMode.rawValue { pointee.pauseMode = mode }
        if end > pointee.pauseUntil { pointee.pauseUntil = end }
        refreshPause()
    }

    /// Ends CLIENT PAUSE; a pause by a hand-over stays.
    public func unpauseClients() {
        pointee.pauseMode = .none
        pointee.pauseUntil = .start
        refreshPause()
    }

    /// Ends a pause whose time has come.
    public func pauseCron() {
        guard pointee.pauseMode != .none, pointee.now.instant >= pointee.pauseUntil else { return }
        unpauseClients()
    }

    /// Brings the alerts in line and runs what needs to wait no longer.
    private func refreshPause() {
        let before = pointee.alerts
        pointee.alerts.subtract([.pausedAll, .pausedWrites])
        if pointee.pauseMode == .all { pointee.alerts.insert(.pausedAll) }
        if pointee.pauseMode != .none || pointee.internalPause {
            pointee.alerts.insert(.pausedWrites)
        }
        let isLighter =
            !before.intersection([.pausedAll, .pausedWrites]).isSubset(of: pointee.alerts)
        if isLighter { resumePostponed() }
    }
}
