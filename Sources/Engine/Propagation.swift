// From "the data changed" to bytes in the backlog. A call that raised `dirty` is propagated as
// its arguments, or as what it asked for instead when it is not deterministic (relative expiry,
// random choices). Replicas propagate nothing of their own: they hand on their primary's bytes.
import Base
import Storage

extension ExecutorPointer {
    /// Propagates the call in `frame`, which changed data or asked for it.
    @inline(__always)
    func propagate(_ frame: UnsafeMutablePointer<CallFrame>, database: Int32) {
        guard pointee.feedsBacklog, !pointee.alerts.contains(.isReplica) else {
            if !pointee.rewrite.pointee.isEmpty { pointee.rewrite.pointee.removeAll() }
            return
        }
        switch frame.pointee.propagation {
        case .nothing:
            break
        case .arguments:
            guard let arguments = frame.pointee.arguments else { break }
            openStream(database)
            let encoded = StreamWriter(pointee.scratch)
            encoded.begin(frame.pointee.argumentCount)
            for index in 0..<frame.pointee.argumentCount { encoded.argument(arguments[index]) }
            pointee.backlog.pointee.append(pointee.scratch.pointee.bytes)
            pointee.scratch.pointee.removeAll()
        case .rewritten:
            openStream(database)
            pointee.backlog.pointee.append(pointee.rewrite.pointee.bytes)
        }
        if !pointee.rewrite.pointee.isEmpty { pointee.rewrite.pointee.removeAll() }
    }

    /// Propagates one command that is not a client's call: DEL of an expired or evicted key,
    /// PING to replicas, a function's effect.
    public func propagateCommand(database: Int, _ arguments: [Bytes]) {
        guard pointee.feedsBacklog, !pointee.alerts.contains(.isReplica) else { return }
        if database >= 0 { openStream(Int32(database)) }
        let held = Buffer()
        appendEncoded(arguments, held)
    }

    private func appendEncoded(_ arguments: [Bytes], _ work: consuming Buffer) {
        let pointer = UnsafeMutablePointer<Buffer>.allocate(capacity: 1)
        pointer.initialize(to: work)
        let stream = StreamWriter(pointer)
        stream.begin(arguments.count)
        for argument in arguments { stream.argument(argument) }
        pointee.backlog.pointee.append(pointer.pointee.bytes)
        pointer.deinitialize(count: 1)
        pointer.deallocate()
    }

    /// Sees to it that the stream is in `database`, and inside MULTI while EXEC runs.
    @inline(__always)
    func openStream(_ database: Int32) {
        if _slowPath(pointee.streamDatabase != database) { selectInStream(database) }
        if _slowPath(pointee.executingTransaction && !pointee.transactionOpen) {
            pointee.transactionOpen = true
            pointee.backlog.pointee.append(Bytes("*1\r\n$5\r\nMULTI\r\n"))
        }
    }

    @inline(never)
    private func selectInStream(_ database: Int32) {
        pointee.streamDatabase = database
        let text = String(database)
        pointee.backlog.pointee.append(Bytes("*2\r\n$6\r\nSELECT\r\n$"))
        "\(text.utf8.count)\r\n\(text)\r\n".withBytes { pointee.backlog.pointee.append($0) }
    }

    /// Ends EXEC: closes the transaction in the stream if anything was propagated in it.
    func closeTransaction() {
        pointee.executingTransaction = false
        guard pointee.transactionOpen else { return }
        pointee.transactionOpen = false
        pointee.backlog.pointee.append(Bytes("*1\r\n$4\r\nEXEC\r\n"))
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
        noteChange(key)
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
