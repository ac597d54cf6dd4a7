// Both sides of replication: carries out what the handshake of our link and the state of our
// replicas ask for, keeps the history in step with the bytes in the backlog, and changes roles.
import Base
import Engine
import Gossip
import Replication

extension NodePointer {
    /// Brings the history up to the bytes that were appended to the backlog.
    func noteStream() {
        let end = executor.pointee.backlog.pointee.endOffset
        let behind = end - pointee.history.offset
        invariant(behind >= 0 || pointee.history.backlog == nil, "the stream went back")
        if behind > 0 { pointee.history.append(Int(behind)) }
    }

    // MARK: Roles

    /// Becomes (or stays) a replica of `address`. With `keepingHistory` the data counts as a part
    /// of the new primary's history if its IDs say so; else only a full copy will do.
    public func follow(_ address: PrimaryAddress, keepingHistory: Bool, failover: Bool = false) {
        if pointee.upstream.primary != address || failover { finishEmbeddedStream() }
        noteStream()
        let wasPrimary = !isReplica
        if wasPrimary {
            noteDemotion(to: address)
            pointee.upstreamDatabase = Swift.max(0, executor.pointee.streamDatabase)
            executor.pointee.alerts.insert(.isReplica)
            refuseAcks()
            // A transaction or wait that only a primary can finish ends here.
            failBlockedSessions(
                "UNBLOCKED force unblock from blocking operation, instance state changed "
                    + "(master -> replica?)")
        } else if pointee.upstream.primary == address, !failover {
            return
        }
        // Our own replicas stay: they hold what we hold, and if the new primary takes us in where
        // we are, they go on as well. They go when the history gets another name, or the data goes.
        var resume = pointee.upstream.resume
        if wasPrimary {
            resume =
                keepingHistory && pointee.history.backlog != nil
                ? ResumePoint(id: pointee.history.id, offset: pointee.history.offset) : nil
        }
        var effects: [ReplicaEffect] = []
        pointee.upstream.follow(
            address, resume: resume, failover: failover, at: instant, into: &effects)
        carryOut(effects, bytes: .empty)
        updateAlerts()
        roleChanged()
        refreshClusterFacts(force: true)
    }

    /// What the process does differently for a replica.
    private func roleChanged() {
        guard settings.oomScoreAdjust != "no" else { return }
        _ = pointee.admin.applySettings?(["oom-score-adj"])
    }

    /// Stops following; goes on under a new replication ID that former fellow replicas accept.
    public func becomePrimary() {
        guard isReplica else { return }
        finishEmbeddedStream()
        noteStream()
        var effects: [ReplicaEffect] = []
        pointee.upstream.unfollow(into: &effects)
        carryOut(effects, bytes: .empty)
        executor.pointee.alerts.remove(.isReplica)
        executor.pointee.heldStream.removeAll()
        executor.pointee.streamDatabase = -1
        // Without replicas yet: keep the stream, for they are about to come over.
        if pointee.history.backlog == nil {
            pointee.history.createBacklog(capacity: Int64(settings.backlogSize))
        }
        executor.pointee.feedsBacklog = true
        let line = pointee.history.shift(to: .random(&executor.pointee.prng))
        log(line.level, line.text)
        // Those that follow us under the old ID could not resume behind this offset.
        disconnectReplicas()
        pointee.primary.becamePrimary(at: instant)
        pointee.demotion = nil
        log(.notice, "MASTER MODE enabled (failover or user request)")
        updateAlerts()
        roleChanged()
        refreshClusterFacts(force: true)
    }

    /// All replicas must connect again to learn that the history changed.
    func disconnectReplicas() {
        var effects: [PrimaryEffect] = []
        pointee.primary.disconnectAll(at: instant, into: &effects)
        carryOut(effects)
    }

    private func failBlockedSessions(_ text: String) {
        var sessions: [UnsafeMutablePointer<Session>] = []
        for index in 0..<executor.pointee.blocked.count {
            sessions.append(executor.pointee.blocked[index])
        }
        for session in sessions {
            switch session.pointee.block {
            case .wait:
                _ = pointee.waiters.remove(session: session.pointee.id)
                executor.writeError(session, text)
                executor.unblock(session)
            case .keys:
                executor.endBlock(session, error: Array(text.utf8))
            case .none, .operation, .shutdown:
                continue
            }
            session.pointee.flags.insert(.closeAfterReply)
        }
    }

    // MARK: The link to our primary

    func upstreamOpened(_ link: LinkID) {
        guard link == pointee.upstreamLink else { return }
        var effects: [ReplicaEffect] = []
        pointee.upstream.linkOpened(at: instant, into: &effects)
        carryOut(effects, bytes: .empty)
    }

    func upstreamClosed(_ link: LinkID, _ failure: LinkFailure) {
        guard link == pointee.upstreamLink else { return }
        finishEmbeddedStream()
        pointee.upstreamLink = nil
        var effects: [ReplicaEffect] = []
        pointee.upstream.linkClosed(failure.text, at: instant, into: &effects)
        carryOut(effects, bytes: .empty)
        updateAlerts()
        refreshClusterFacts(force: true)
    }

    /// CLIENT KILL of the primary's link: it breaks off like any other, and the next one follows.
    func closeKilledUpstream() {
        guard upstreamIsKilled, let link = pointee.upstreamLink,
            pointee.upstreamSession?.pointee.flags.contains(.running) == false
        else { return }
        closeLink(link)
        upstreamClosed(link, .local)
    }

    /// Whether a client has killed the primary's link in this iteration.
    var upstreamIsKilled: Bool {
        guard let session = pointee.upstreamSession else { return false }
        return session.pointee.flags.contains(.closeNow)
    }

    func upstreamReceived(_ link: LinkID, _ bytes: Bytes) {
        // What still comes over a killed link comes again over the next.
        guard link == pointee.upstreamLink, !upstreamIsKilled else { return }
        executor.pointee.stats.netReplicationInputBytes += Int64(bytes.count)
        if pointee.upstream.phase == .streaming, let session = pointee.upstreamSession {
            pointee.upstream.streamed(bytes.count, at: instant)
            takeStream(bytes, session)
            return
        }
        var effects: [ReplicaEffect] = []
        bytes.withSpan { pointee.upstream.received($0, at: instant, into: &effects) }
        carryOut(effects, bytes: bytes)
    }

    /// Runs commands of the stream and remembers how far it is applied.
    func applyStream(_ bytes: Bytes, _ session: UnsafeMutablePointer<Session>) {
        session.pointee.input.pointee.append(bytes)
        executor.process(session)
        // A session that failed to parse its primary's stream must not guess: start over.
        if !session.pointee.flags.isDisjoint(with: [.closeAfterReply, .closeNow]) {
            pointee.embedded.drop()
            var effects: [ReplicaEffect] = []
            pointee.upstream.abandon(
                because: "Protocol error in the stream of the primary, reconnecting.",
                at: instant, into: &effects)
            return carryOut(effects, bytes: .empty)
        }
        noteStream()
        if pointee.upstream.phase == .streaming, pointee.upstreamSession == session {
            pointee.upstream.applied(through: session.pointee.appliedOffset)
            if pointee.owesAck { acknowledge() }
        }
    }

    /// REPLCONF GETACK arrived in the stream. It is answered when the batch that it came in is
    /// accounted for: what stands before it is often what its sender asks about.
    func acknowledgeNow() { pointee.owesAck = true }

    private func acknowledge() {
        pointee.owesAck = false
        guard let session = pointee.upstreamSession else { return }
        pointee.upstream.applied(through: session.pointee.appliedOffset)
        pointee.upstream.durableOffset = durableOffset
        var effects: [ReplicaEffect] = []
        pointee.upstream.ackRequested(at: instant, into: &effects)
        carryOut(effects, bytes: .empty)
    }

    func carryOut(_ effects: [ReplicaEffect], bytes: Bytes) {
        for effect in effects { carryOut(effect, bytes) }
    }

    private func carryOut(_ effect: ReplicaEffect, _ bytes: Bytes) {
        switch effect {
        case .connect(let address):
            let link = newLink(.primary)
            pointee.upstreamLink = link
            openLink(link, .primary, address.host, address.port)
        case .send(let bytes):
            if let link = pointee.upstreamLink { sendOnLink(link, bytes) }
        case .close:
            if let link = pointee.upstreamLink { closeLink(link) }
            pointee.upstreamLink = nil
        case .beginFullSync: saveLostWrites()
        case .detachReplicas: disconnectReplicas()
        case .snapshotStarted: beginReplicaLoad()
        case .snapshotRange(let range): loadFromPrimary(bytes[range])
        case .snapshotBytes(let held): held.withBytes { loadFromPrimary($0) }
        case .snapshotEnded: finishReplicaLoad()
        case .abortFullSync: abandonReplicaLoad()
        case .restartHistory(let id, let offset): restartHistory(id, offset)
        case .continueHistory(let newID):
            if let newID { pointee.history.rename(to: newID) }
            // What we wrote as a primary was accepted: nothing is lost.
            pointee.demotion = nil
        case .disconnectReplicas: disconnectReplicas()
        case .stream(let range):
            if let session = pointee.upstreamSession { takeStream(bytes[range], session) }
        case .online: upstreamIsOnline()
        case .linkLost:
            keepEmbeddedStream()
            closeUpstreamSession()
        case .failoverAccepted:
            var outcome: [FailoverEffect] = []
            pointee.failover.accepted(into: &outcome)
            carryOut(outcome)
        case .failoverRejected(let why):
            var outcome: [FailoverEffect] = []
            pointee.failover.abort(why, into: &outcome)
            carryOut(outcome)
        case .log(let line): log(line.level, line.text)
        }
    }

    func restartHistory(_ id: ReplicationID?, _ offset: Int64) {
        let capacity = Int64(settings.backlogSize)
        let name = id ?? .random(&executor.pointee.prng)
        pointee.history.restart(as: name, at: offset, capacity: capacity)
        executor.pointee.backlog.pointee.reset(to: offset)
        executor.pointee.heldStream.removeAll()
        executor.pointee.feedsBacklog = true
    }

    private func upstreamIsOnline() {
        closeUpstreamSession()
        let offset = pointee.upstream.resume?.offset ?? pointee.history.offset
        let session = executor.openSession(
            peer: pointee.upstream.primary.map { "\($0)" } ?? "", local: "")
        executor.makeSuperuser(session)
        session.pointee.flags.formUnion([.fromPrimary, .detached])
        session.pointee.appliedOffset = offset
        session.pointee.database = pointee.upstreamDatabase
        pointee.upstreamSession = session
        if pointee.history.backlog == nil {
            pointee.history.createBacklog(capacity: Int64(settings.backlogSize))
        }
        executor.pointee.feedsBacklog = true
        updateAlerts()
        refreshClusterFacts(force: true)
    }

    /// The stream broke off: an unfinished command or transaction will be sent again.
    private func closeUpstreamSession() {
        guard let session = pointee.upstreamSession else { return }
        pointee.upstreamSession = nil
        pointee.upstreamDatabase = session.pointee.database
        executor.pointee.heldStream.removeAll()
        executor.pointee.log.pointee.dropHeld()
        executor.freeSession(session)
    }

    // MARK: Our replicas

    func carryOut(_ effects: [PrimaryEffect]) {
        for effect in effects { carryOut(effect) }
    }

    private func carryOut(_ effect: PrimaryEffect) {
        switch effect {
        case .send(let id, let bytes):
            guard let session = executor.pointee.sessions.find(id: id) else { return }
            session.pointee.output.pointee.append(bytes)
            executor.queueWrite(session)
        case .startStream(let id, let offset):
            guard let session = executor.pointee.sessions.find(id: id) else { return }
            session.pointee.flags.insert(.replica)
            // Offsets on the wire count from 1: byte n is the n-th.
            session.pointee.replicaSent = offset - 1
            executor.queueWrite(session)
        case .startSnapshot(let sessions, let contents, let endMark, let embedsStream):
            startReplicaSnapshot(
                ReplicaSnapshot(
                    sessions: sessions, contents: contents, endMark: endMark,
                    embedsStream: embedsStream))
        case .close(let id):
            guard let session = executor.pointee.sessions.find(id: id) else { return }
            executor.close(session)
        case .feedPing: executor.propagateCommand(database: -1, [Bytes("PING")])
        case .backlogCreated:
            executor.pointee.backlog.pointee.reset(to: pointee.history.offset)
            executor.pointee.feedsBacklog = true
            executor.pointee.streamDatabase = -1
        case .backlogFreed:
            executor.pointee.feedsBacklog = false
            executor.pointee.backlog.pointee.reset(to: pointee.history.offset)
        case .replicaOnline(let id):
            if let session = executor.pointee.sessions.find(id: id) {
                session.pointee.flags.insert(.replica)
            }
            updateAlerts()
        case .log(let line): log(line.level, line.text)
        }
    }

    /// Asks the replicas to say at once how far they are.
    func feedGetAck() {
        executor.propagateCommand(
            database: -1, [Bytes("REPLCONF"), Bytes("GETACK"), Bytes("*")])
    }

    // MARK: FAILOVER

    func carryOut(_ effects: [FailoverEffect]) {
        for effect in effects {
            switch effect {
            case .pauseWrites: setInternalPause(true)
            case .unpauseWrites: setInternalPause(false)
            case .handOver(let target): follow(target, keepingHistory: true, failover: true)
            case .resumeAsPrimary: becomePrimary()
            case .log(let line): log(line.level, line.text)
            }
        }
    }

    /// Looks whether the target of FAILOVER has everything.
    func advanceFailover() {
        guard pointee.failover.state == .waitingForSync else { return }
        noteStream()
        var effects: [FailoverEffect] = []
        pointee.failover.tick(
            replicas: pointee.primary.failoverCandidates, offset: pointee.history.offset,
            at: instant, into: &effects)
        carryOut(effects)
    }

    // MARK: WAIT

    /// Answers the WAITs that are satisfied or whose time is over.
    func advanceWaiters() {
        guard !pointee.waiters.isEmpty else { return }
        let primary = pointee.primary
        var released = pointee.waiters.acknowledgementsChanged { primary.acknowledgements(of: $0) }
        released += pointee.waiters.expire(at: instant) { primary.acknowledgements(of: $0) }
        for release in released {
            guard let session = executor.pointee.sessions.find(id: release.session) else {
                continue
            }
            session.pointee.output.pointee.append(":\(release.replicas)\r\n")
            executor.unblock(session)
        }
    }
}
