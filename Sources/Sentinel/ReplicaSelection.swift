// Which replica becomes the primary: of those that answer, whose INFO is fresh and whose link to
// the primary has not been down for too long, the one with the lowest priority number (0 means
// never), then the one with the most data, then the one with the smallest run ID.
import Base

extension SentinelState {
    func bestReplica(of primary: InstanceID) -> InstanceID? {
        let monitored = self[primary: primary]
        let record = self[primary]
        var longestGap = monitored.downAfter * 10
        if record.isDown, let since = record.downSince {
            longestGap = longestGap + (instant - since)
        }
        let infoAge = record.isDown ? times.pingPeriod * 5 : times.infoPeriod * 3
        let fit = monitored.replicas.filter { id in
            let replica = self[id]
            let link = self[link: replica.link]
            guard !replica.isDown, !link.isDisconnected, replica.priority != 0,
                instant - link.available <= times.pingPeriod * 5,
                let received = replica.infoReceived
            else { return false }
            return instant - received <= infoAge && replica.primaryLinkDownTime <= longestGap
        }
        return fit.min { isBetter(self[$0], self[$1]) }
    }

    private func isBetter(_ a: InstanceRecord, _ b: InstanceRecord) -> Bool {
        if a.priority != b.priority { return a.priority < b.priority }
        if a.offset != b.offset { return a.offset > b.offset }
        switch (a.runID, b.runID) {
        case (nil, _): return false
        case (_, nil): return true
        case (let mine?, let other?): return mine.lowercased() < other.lowercased()
        }
    }
}
