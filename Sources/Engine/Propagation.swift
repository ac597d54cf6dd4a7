// From "the data changed" to bytes in the backlog. A call that raised `dirty` is propagated as
// its arguments, or as what it asked for instead when it is not deterministic (relative expiry,
// random choices). Replicas propagate nothing of their own: they hand on their primary's bytes.
import Base
import Storage

extension ExecutorPointer {
    /// Propagates the call in `frame`, which changed data or asked for it.
    @inline(__always)
    func propagate(_ frame: UnsafeMutablePointer<CallFrame>, database: Int32) {
        let isReplica = pointee.alerts.contains(.isReplica)
        if _slowPath(isReplica) { noteReplicaKeys(frame, database: database) }
        var toBacklog = pointee.feedsBacklog && !isReplica
        var toLog = feedsLog(frame)
        if _slowPath(!pointee.scripts.withheld.isEmpty) {
            if pointee.scripts.withheld.contains(.replicas) { toBacklog = false }
            if pointee.scripts.withheld.contains(.log) { toLog = false }
        }
        guard toBacklog || toLog else { return dropRewrite(frame) }
        switch frame.pointee.propagation {
        case .nothing:
            break
        case .arguments:
            guard let arguments = frame.pointee.arguments else { break }
            let count = frame.pointee.argumentCount
            if _slowPath(!toBacklog && !pointee.executingTransaction) {
                pointee.log.pointee.add(
                    arguments, count, database, at: pointee.now.wall.seconds)
                break
            }
            StreamWriter(pointee.scratch).command(arguments, count)
            feed(
                pointee.scratch.pointee.bytes, commands: 1, database, toBacklog: toBacklog,
                toLog: toLog)
            pointee.scratch.pointee.removeAll()
        case .rewritten:
            feed(
                pointee.rewrite.pointee.bytes, commands: Int(frame.pointee.rewrites), database,
                toBacklog: toBacklog, toLog: toLog)
        }
        if _slowPath(toLog) {
            frame.pointee.session?.pointee.lastLogPosition = pointee.log.pointee.end
        }
        dropRewrite(frame)
    }

    /// What came from our primary goes into the log as it came; what is replayed never again. A
    /// message is for the replicas alone: nobody is to hear it after a restart.
    @inline(__always)
    private func feedsLog(_ frame: UnsafeMutablePointer<CallFrame>) -> Bool {
        guard _slowPath(pointee.feedsLog), let session = frame.pointee.session,
            let command = frame.pointee.command, !command.pointee.flags.contains(.pubsub)
        else { return false }
        return !session.pointee.flags.contains(.fromPrimary)
    }

    @inline(__always)
    func dropRewrite(_ frame: UnsafeMutablePointer<CallFrame>) {
        if _fastPath(pointee.rewrite.pointee.isEmpty) { return }
        pointee.rewrite.pointee.removeAll()
        frame.pointee.rewrites = 0
    }

    /// Propagates one command that is not a client's call: DEL of an expired or evicted key,
    /// PING to replicas, a function's effect.
    public func propagateCommand(database: Int, _ arguments: [Bytes]) {
        let toBacklog = pointee.feedsBacklog && !pointee.alerts.contains(.isReplica)
        // Without a database it is for replicas only: PING, REPLCONF.
        let toLog = pointee.feedsLog && database >= 0
        guard toBacklog || toLog else { return }
        let pointer = UnsafeMutablePointer<Buffer>.allocate(capacity: 1)
        pointer.initialize(to: Buffer())
        arguments.withUnsafeBufferPointer {
            guard let first = $0.baseAddress else { unreachable("a command has a name") }
            StreamWriter(pointer).command(first, $0.count)
        }
        feed(
            pointer.pointee.bytes, commands: 1, Int32(database), toBacklog: toBacklog,
            toLog: toLog)
        pointer.deinitialize(count: 1)
        pointer.deallocate()
    }

    /// Sees to it that the stream is in `database`.
    @inline(__always)
    func openStream(_ database: Int32) {
        if _slowPath(pointee.streamDatabase != database) { selectInStream(database) }
    }

    @inline(never)
    private func selectInStream(_ database: Int32) {
        pointee.streamDatabase = database
        let text = String(database)
        let command = "*2\r\n$6\r\nSELECT\r\n$\(text.utf8.count)\r\n\(text)\r\n"
        command.withBytes {
            // What selects for the first command of a transaction stands before MULTI.
            if pointee.transactionCommands > 0 {
                pointee.transactionStream.append($0)
            } else {
                pointee.backlog.pointee.append($0)
            }
        }
    }

    /// Appends encoded commands to the streams; while EXEC runs they wait for its end. Without a
    /// database (-1) they may stand anywhere.
    @inline(__always)
    private func feed(
        _ bytes: Bytes, commands: Int, _ database: Int32, toBacklog: Bool, toLog: Bool
    ) {
        if _slowPath(toLog) {
            pointee.log.pointee.add(
                bytes, database, isInside: pointee.executingTransaction,
                at: pointee.now.wall.seconds)
        }
        if _fastPath(toBacklog) {
            if database >= 0 { openStream(database) }
            if _fastPath(!pointee.executingTransaction) {
                return pointee.backlog.pointee.append(bytes)
            }
            pointee.transactionStream.append(bytes)
        }
        if _slowPath(pointee.executingTransaction) { pointee.transactionCommands += commands }
    }

    /// Ends EXEC: what it propagated goes to the stream between MULTI and EXEC, a single command
    /// as it is.
    func closeTransaction() {
        pointee.executingTransaction = false
        let commands = pointee.transactionCommands
        pointee.transactionCommands = 0
        guard commands > 0 else { return }
        if pointee.feedsLog { pointee.log.pointee.endTransaction(commands: commands) }
        guard !pointee.transactionStream.isEmpty else { return }
        defer {
            pointee.transactionStream.removeAll()
            pointee.transactionStream.shrink(above: 64 * 1024)
        }
        // One that made this node a replica has no stream of its own any more.
        guard !pointee.alerts.contains(.isReplica) else { return }
        let backlog = pointee.backlog
        if commands > 1 { backlog.pointee.append(Bytes("*1\r\n$5\r\nMULTI\r\n")) }
        backlog.pointee.append(pointee.transactionStream.bytes)
        if commands > 1 { backlog.pointee.append(Bytes("*1\r\n$4\r\nEXEC\r\n")) }
    }

    /// Drops what a script that never ends has changed: the process is about to.
    func abandonTransaction() {
        pointee.executingTransaction = false
        pointee.transactionCommands = 0
        pointee.transactionStream.removeAll()
        pointee.log.pointee.dropTransaction()
    }

    // MARK: Expiry and eviction

    /// Whether `entry` has expired, so that commands must not see it. A primary deletes it and
    /// says so in the stream; a replica waits for its primary's DEL.
    @inline(never)
    func hideIfExpired(_ key: KeyRef, _ entry: Entry, _ call: Call) -> Bool {
        guard entry.isExpired(now: pointee.now.wall.milliseconds) else { return false }
        if pointee.alerts.contains(.isReplica) {
            // Its own primary's commands must see the key: the primary decided that it lives.
            return !call.session.pointee.flags.contains(.fromPrimary)
        }
        if pointee.alerts.contains(.loading) { return false }
        // While writes are paused nothing may change; the key is only hidden.
        if pointee.pauseMode != .none || pointee.internalPause { return true }
        expire(key)
        return true
    }

    /// Deletes an expired key, in the stream too.
    public func expire(_ key: KeyRef) {
        propagateRemoval(key, lazily: pointee.settings.lazyExpire)
        let begun = latencyStart()
        removeKey(key, lazily: pointee.settings.lazyExpire)
        noteLatency("expire-del", since: begun)
        pointee.stats.expiredKeys &+= 1
        notify(.expired, "expired", key)
    }

    /// Deletes a key to make room, in the stream too.
    public func evict(_ key: KeyRef) {
        propagateRemoval(key, lazily: pointee.settings.lazyEviction)
        let begun = latencyStart()
        removeKey(key, lazily: pointee.settings.lazyEviction)
        noteLatency("eviction-del", since: begun)
        pointee.stats.evictedKeys &+= 1
        notify(.evicted, "evicted", key)
    }

    private func removeKey(_ key: KeyRef, lazily: Bool) {
        let existed = lazily ? pointee.keyspace.unlink(key) : pointee.keyspace.remove(key)
        invariant(existed, "a key that was found can be removed")
    }

    private func propagateRemoval(_ key: KeyRef, lazily: Bool) {
        propagateCommand(
            database: Int(key.database), [Bytes(lazily ? "UNLINK" : "DEL"), key.bytes])
    }

    /// Tells observers of a key that changed outside any command.
    public func notify(_ eventClass: KeyEventClass, _ event: StaticString, _ key: KeyRef) {
        noteChange(key, byCommand: false)
        guard let hook = pointee.keyEvent else { return }
        withUnsafePointer(to: KeyEvent(eventClass: eventClass, name: event, key: key)) { event in
            hook(self, event)
        }
    }

    /// Marks an access of `entry`: LRU clock or LFU counter, unless the session asked not to.
    @inline(__always)
    func touch(_ entry: Entry, _ session: UnsafeMutablePointer<Session>) {
        if _slowPath(session.pointee.flags.contains(.noTouch)) { return }
        pointee.keyspace.touch(entry)
    }
}
