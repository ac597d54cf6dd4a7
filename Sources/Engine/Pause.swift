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

    /// Brings the alerts in line. What needs to wait no longer runs at the end of the iteration,
    /// when whatever ended the pause (a new owner of the slots, say) is in force.
    private func refreshPause() {
        pointee.mayResume = true
        pointee.alerts.subtract([.pausedAll, .pausedWrites])
        if pointee.pauseMode == .all { pointee.alerts.insert(.pausedAll) }
        if pointee.pauseMode != .none || pointee.internalPause {
            pointee.alerts.insert(.pausedWrites)
        }
    }
}
